//! Programs and name servers that lie: a queue with IDs that nobody should hand to postsuper, a queue without end, and names
//! that lead to each other for ever.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec, Machine};
use rehome_tests::{harness, lab_tests};
use std::time::{Duration, Instant};

use super::{all, put, safely};
use crate::postfix;
use crate::rehome::{Reach, Rehome, whole};
use crate::troubles::update;

pub(super) fn tests() -> Vec<Trial> {
    lab_tests![no_queue_id_deletes_more_than_the_operator_named, names_that_lead_in_a_circle_end_in_an_error]
}

const PATIENCE: Duration = Duration::from_secs(120);

/// postqueue, which lists what is in /root/queue, or what that writes, if it is there.
const POSTQUEUE: &str = "#!/bin/sh
if [ \"$1\" = -j ] && [ -e /root/queue ]; then echo >> /root/queue.told; . /root/queue; exit; fi
exec /usr/sbin/postqueue.real \"$@\"
";

/// IDs as a queue may tell them, in JSON; all that postsuper would make of them is more than one mail, or an option.
const IDS: [&str; 8] = [
    "ALL",
    "-",
    "-d",
    "../../../etc/passwd",
    "ABCDEF012345\\nALL",
    "\\u001b[31337mABCDEF",
    "abcdef012345",
    "\\u202eABCDEF",
];

fn listed(id: &str) -> String {
    format!(
        r#"{{"queue_name": "deferred", "queue_id": "{id}", "arrival_time": 1600000000, "message_size": 5, "sender": "\u001b]0;pwned\u0007@b.example", "recipients": [{{"address": "anna@example.org", "delay_reason": "\u009b31337m \u202egnp.exe"}}]}}"#
    )
}

/// What postqueue is to say, as lines of a shell.
fn says(lines: &[String]) -> String {
    format!("cat <<'END'\n{}\nEND\n", lines.join("\n"))
}

fn mails(machine: &Machine) -> Result<String> {
    machine.sh("find /var/spool/postfix/hold -type f -printf '%f %s %C@\\n' | sort")
}

fn no_queue_id_deletes_more_than_the_operator_named() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().without_rspamd().ssh_keys_on("new"))?;
    let rehome = Rehome::install(lab.new(), &postfix::plan(&["accounts", "forward", "watch"])?)?;
    rehome.approve()?;
    rehome.expect(5, &["apply"])?;
    for machine in [lab.old(), lab.new()] {
        machine.sh("postconf defer_transports=lmtp,smtp; postfix reload
             for n in 1 2 3; do echo mail | sendmail -i -f root anna@example.org; done")?;
        harness::eventually("three mails wait", || {
            Ok(machine.sh("postqueue -j | grep -c deferred || true")?.trim() == "3")
        })?;
        machine.sh("postsuper -h ALL; mv /usr/sbin/postqueue /usr/sbin/postqueue.real")?;
        put(machine, "/usr/sbin/postqueue", POSTQUEUE)?;
    }
    let before = [mails(lab.old())?, mails(lab.new())?];
    let crafted: Vec<String> =
        IDS.iter().chain(&["ABCDEF012345", "ABCDEF012345", &"A".repeat(5000)]).map(|id| listed(id)).collect();
    for machine in [lab.old(), lab.new()] {
        put(machine, "/root/queue", &says(&crafted))?;
    }
    rehome.pass(400);
    let ran = safely(&rehome, &["apply"])?;
    ensure!(ran.status == Some(5) && all(&ran).contains("\\u{1b}[31337mABCDEF"), "{}", all(&ran));
    for id in IDS {
        let id: String = serde_json::from_str(&format!("\"{id}\""))?;
        // The operator is led to name it, or the answer is refused already.
        let answered = safely(&rehome, &["answer", "watch", "delete", "--", &id])?;
        let ran = safely(&rehome, &["apply"])?;
        // One with a line feed is no mail's that was offered: it is not even tried.
        let is_refused = ran.status == Some(1) && all(&ran).contains("`exec.delete-queued`");
        ensure!(answered.status != Some(0) || is_refused || id.contains('\n'), "{id:?}: {}", all(&ran));
        ensure!(ran.status != Some(0), "{id:?} was obeyed: {}", all(&ran));
        ensure!([mails(lab.old())?, mails(lab.new())?] == before, "{id:?} deleted something");
    }
    // A good ID that is no mail's: postsuper says yes, and the queue still lists it.
    rehome.expect(0, &["answer", "watch", "delete", "ABCDEF012345"])?;
    let ran = safely(&rehome, &["apply"])?;
    ensure!(ran.status == Some(1) && all(&ran).contains("is still in the queue"), "{}", all(&ran));
    ensure!([mails(lab.old())?, mails(lab.new())?] == before, "something was deleted");

    without_end(&lab, &rehome)?;
    ensure!([mails(lab.old())?, mails(lab.new())?] == before, "something was deleted");
    for machine in [lab.old(), lab.new()] {
        let told: usize = machine.sh("rm -f /root/queue; wc -l < /root/queue.told")?.trim().parse()?;
        ensure!(told > IDS.len(), "postqueue on {} was asked {told} times only", machine.name());
    }
    // And one that is a mail's deletes that one.
    rehome.pass(400);
    rehome.expect(5, &["apply"])?;
    let id = before[1].split(' ').next().unwrap_or_default();
    rehome.expect(0, &["answer", "watch", "delete", id])?;
    rehome.expect(5, &["apply"])?;
    let left: Vec<&str> = before[1].lines().filter(|line| !line.starts_with(id)).collect();
    ensure!(
        mails(lab.new())? == left.join("\n") + "\n" && mails(lab.old())? == before[0],
        "not {id} alone was deleted"
    );
    Ok(())
}

/// A queue that never ends, and one that is no JSON: an error that names the side, soon.
fn without_end(lab: &Lab, rehome: &Rehome<'_>) -> Result<()> {
    for (queue, says) in [
        (format!("yes '{}'\n", listed("ABCDEF012345")), "64"),
        ("head -c 100000 /dev/urandom\n".to_string(), "queue of old"),
    ] {
        put(lab.old(), "/root/queue", &queue)?;
        let begun = Instant::now();
        let ran = safely(rehome, &["apply"])?;
        ensure!(begun.elapsed() < PATIENCE, "it took {:?}", begun.elapsed());
        ensure!(
            ran.status == Some(1) && all(&ran).contains(says) && all(&ran).contains("old"),
            "{:?} {}",
            ran.status,
            all(&ran)
        );
    }
    Ok(())
}

/// The example's phases of DNS and the last one, with a name that leads in a circle.
fn circling() -> Result<String> {
    let all = whole(&Reach::Ssh("old"), &Reach::Local)?;
    let mut phases = all.split("[[phase]]");
    let head = phases.next().unwrap_or_default();
    let kept = phases.filter(|phase| {
        ["dns-lower", "dns-switch", "retire"].iter().any(|id| phase.contains(&format!("id = \"{id}\"")))
    });
    let kept: Vec<String> =
        kept.map(|phase| format!("[[phase]]{}", phase.replace("mail.lab.test", "imap.lab.test"))).collect();
    Ok(format!("{head}{}", kept.concat()))
}

fn names_that_lead_in_a_circle_end_in_an_error() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().without_rspamd().ssh_keys_on("new"))?;
    let rehome = Rehome::install_whole(lab.new(), &circling()?, &lab.tsig_key()?)?;
    rehome.approve()?;
    update(
        &lab,
        "zone lab.test\ndel imap.lab.test CNAME\nadd imap.lab.test 60 CNAME circle.lab.test.\nadd circle.lab.test 60 CNAME imap.lab.test.\n",
    )?;
    update(&lab, "zone example.net\ndel example.net MX\nadd example.net 60 MX 10 circle.lab.test.\n")?;
    let zone = || -> Result<String> {
        let said = crate::whole::dig(&lab, &["+noall", "+answer", "imap.lab.test", "CNAME"])?;
        Ok(said + &crate::whole::dig(&lab, &["+short", "lab.test", "SOA"])?)
    };
    let before = zone()?;
    ensure!(before.contains("circle.lab.test."), "there is no circle: {before}");
    for (words, status) in [(&["check"][..], 3), (&["--json", "check"], 3), (&["preview"], 0), (&["apply"], 3)] {
        let begun = Instant::now();
        let ran = safely(&rehome, words)?;
        ensure!(begun.elapsed() < PATIENCE, "{words:?} took {:?}", begun.elapsed());
        ensure!(ran.status == Some(status), "{words:?} ended with {:?}:\n{}", ran.status, all(&ran));
        if status == 3 {
            for says in ["no record names 10.77.0.11", "circle.lab.test", "is an alias (CNAME) of imap.lab.test."] {
                ensure!(all(&ran).contains(says), "{words:?} does not say `{says}`:\n{}", all(&ran));
            }
        }
    }
    ensure!(zone()? == before, "the zone has changed: {}", zone()?);
    // Where even the name server leads in a circle.
    update(&lab, "zone lab.test\ndel ns.lab.test A\nadd ns.lab.test 60 CNAME imap.lab.test.\n")?;
    let begun = Instant::now();
    let ran = safely(&rehome, &["check"])?;
    ensure!(begun.elapsed() < PATIENCE, "it took {:?}", begun.elapsed());
    ensure!(!matches!(ran.status, Some(0) | None) && all(&ran).contains("ns.lab.test"), "{}", all(&ran));
    Ok(())
}
