//! Postfix while a server moves: stragglers, what new gets too early, the safety net, the queue that an operator looks
//! through, and the way back. Short plans, on real machines; what became of a mail is read from queues, logs and IMAP.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec, Machine};
use rehome_tests::oracle::imap;
use rehome_tests::process::run;
use rehome_tests::seed::user;
use rehome_tests::{harness, lab_tests};

use crate::rehome::{Reach, Rehome, up_to, whole};

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![
        a_straggler_reaches_its_new_mailbox_and_is_not_judged_by_the_address_of_old,
        what_new_gets_too_early_is_with_its_user_once,
        nothing_bounces_while_the_net_is_on_and_only_what_the_operator_named_is_deleted,
        undo_of_the_net_delivers_what_waited_to_every_alias_once,
    ]
}

const DAY: u64 = 86_400;
/// Sends one mail by SMTP: host, recipient, token.
const POST: &str = "import smtplib, sys; host, to, token = sys.argv[1:]; \
    smtplib.SMTP(host, 25, 'outside.lab.test', timeout=20).sendmail('sender@elsewhere.lab.test', to, \
    'From: sender@elsewhere.lab.test\\r\\nTo: %s\\r\\nSubject: %s\\r\\nMessage-ID: <%s@post.lab.test>\\r\\n\\r\\nhello\\r\\n' % (to, token, token))";
/// An LMTP server that takes nobody.
const REFUSING: &str = r#"import socketserver
class Refuse(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b'220 lmtp\r\n')
        for line in self.rfile:
            verb = line.split()[0].upper() if line.split() else b''
            self.wfile.write({b'LHLO': b'250 lmtp\r\n', b'MAIL': b'250 ok\r\n', b'QUIT': b'221 bye\r\n',
                              b'RSET': b'250 ok\r\n'}.get(verb, b'550 5.2.0 broken on purpose\r\n'))
socketserver.ThreadingTCPServer(('127.0.0.1', 2424), Refuse).serve_forever()
"#;

fn post(lab: &Lab, to: &Machine, recipient: &str, token: &str) -> Result<()> {
    run(lab.command("python3")?.args(["-c", POST, to.address(), recipient, token])).map(drop)
}

/// The example's plan without DNS and without what is only looked at: accounts, mail and Postfix.
pub(crate) fn plan(kept: &[&str]) -> Result<String> {
    let all = whole(&Reach::Ssh("old"), &Reach::Local)?;
    let mut phases = all.split("[[phase]]");
    let mut plan = phases.next().unwrap_or_default().to_string();
    for phase in phases.filter(|phase| kept.iter().any(|id| phase.contains(&format!("id = \"{id}\"")))) {
        plan.push_str("[[phase]]");
        plan.push_str(phase);
    }
    Ok(plan)
}

const MOVE: [&str; 10] = [
    "to-old",
    "accounts",
    "net-on",
    "dovecot-stop",
    "mail-cold",
    "indexes",
    "dovecot-open",
    "forward",
    "watch",
    "net-off",
];

fn start() -> Result<Lab> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    // An alias that keeps a copy.
    let row = |to: &str| {
        format!("INSERT INTO virtual_aliases (domain_id, source, destination) VALUES (1, 'elena@example.org', '{to}');")
    };
    lab.old().sh(&format!("mysql mailserver -e \"{}{}\"", row("elena@example.org"), row("frank@example.org")))?;
    Ok(lab)
}

fn install<'lab>(lab: &'lab Lab, plan: &str) -> Result<Rehome<'lab>> {
    let rehome = Rehome::install_whole(lab.new(), plan, &lab.tsig_key()?)?;
    rehome.approve()?;
    Ok(rehome)
}

/// How often each of these users has this mail.
fn counts(lab: &Lab, machine: &Machine, users: &[&str], token: &str) -> Result<Vec<usize>> {
    let dump = imap::dump(lab, machine, &users.iter().map(|name| user(name).clone()).collect::<Vec<_>>())?;
    let of = |name: &&str| dump.messages().filter(|(user, _, mail)| user == name && mail.subject == token).count();
    Ok(users.iter().map(of).collect())
}

pub(crate) fn queue(machine: &Machine) -> Result<Vec<serde_json::Value>> {
    machine.sh("postqueue -j")?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn a_straggler_reaches_its_new_mailbox_and_is_not_judged_by_the_address_of_old() -> Result<()> {
    let lab = start()?;
    let rehome = install(&lab, &plan(&MOVE)?)?;
    // Whatever new's rspamd gets from old's address it puts off: as greylisting would.
    lab.new().sh("echo 10.77.0.11 > /etc/rspamd/old.map
         echo 'JUDGED { type = \"ip\"; map = \"/etc/rspamd/old.map\"; prefilter = true; action = \"soft reject\"; }' \
           > /etc/rspamd/local.d/multimap.conf
         systemctl restart rspamd")?;
    rehome.expect(5, &["apply"])?;
    ensure!(rehome.waits_at()? == "watch", "it waits at {}", rehome.waits_at()?);
    for (recipient, token) in
        [("anna@example.org", "late-1"), ("team@example.org", "late-2"), ("elena@example.org", "late-3")]
    {
        post(&lab, lab.old(), recipient, token)?;
    }
    harness::queue_runs_dry(lab.old())?;
    harness::queue_runs_dry(lab.new())?;
    ensure!(counts(&lab, lab.new(), &["anna@example.org"], "late-1")? == [1]);
    ensure!(counts(&lab, lab.new(), &["bernd@example.org", "carla@example.org"], "late-2")? == [1, 1]);
    ensure!(counts(&lab, lab.new(), &["elena@example.org", "frank@example.org"], "late-3")? == [1, 1]);
    let on_old = lab.old().sh("{ grep -rlE '^Subject: late-' /var/vmail || true; } | wc -l")?;
    ensure!(on_old.trim() == "0", "{on_old} stragglers are in the old maildirs");
    let handed = lab.old().sh("journalctl --no-pager -o cat -t postfix/smtp")?;
    ensure!(handed.contains("to=<team@example.org>, relay=10.77.0.12["), "old expanded the alias itself:\n{handed}");
    // The proof that it would have been judged: without the exception it is put off.
    let exception = lab.new().sh("postconf smtpd_milter_maps")?;
    lab.new().sh("postconf smtpd_milter_maps= && postfix reload")?;
    post(&lab, lab.old(), "anna@example.org", "late-4")?;
    harness::eventually("the straggler is put off by new's rspamd", || {
        Ok(queue(lab.old())?
            .iter()
            .any(|mail| mail["recipients"][0]["delay_reason"].as_str().is_some_and(|why| why.contains("10.77.0.12"))))
    })?;
    lab.new().sh(&format!("postconf '{}' && postfix reload", exception.trim()))?;
    harness::flush(lab.old())?;
    harness::queue_runs_dry(lab.new())?;
    ensure!(counts(&lab, lab.new(), &["anna@example.org"], "late-4")? == [1]);
    Ok(())
}

fn what_new_gets_too_early_is_with_its_user_once() -> Result<()> {
    let mut kept = MOVE.to_vec();
    kept.push("downtime");
    let lab = start()?;
    let rehome = install(&lab, &plan(&kept)?)?;
    rehome.expect(5, &["apply"])?;
    ensure!(rehome.waits_at()? == "downtime", "it waits at {}", rehome.waits_at()?);
    for (recipient, token) in [("anna@example.org", "early-1"), ("elena@example.org", "early-2")] {
        let mail = format!("printf 'Subject: {token}\\n\\nfrom cron of new\\n' | sendmail -i -f root {recipient}");
        lab.new().sh(&mail)?;
    }
    harness::queue_runs_dry(lab.new())?;
    harness::queue_runs_dry(lab.old())?;
    ensure!(counts(&lab, lab.old(), &["anna@example.org"], "early-1")? == [1], "its user does not see it on old");
    rehome.expect(0, &["answer", "downtime", "go-on", "yes"])?;
    rehome.expect(5, &["apply"])?;
    ensure!(rehome.waits_at()? == "watch", "it waits at {}", rehome.waits_at()?);
    ensure!(counts(&lab, lab.new(), &["anna@example.org"], "early-1")? == [1]);
    ensure!(counts(&lab, lab.new(), &["elena@example.org", "frank@example.org"], "early-2")? == [1, 1]);
    let transport = lab.new().sh("postconf -h virtual_transport receive_override_options")?;
    ensure!(transport == "lmtp:unix:private/dovecot-lmtp\n\n", "new is not as it was: {transport}");
    Ok(())
}

fn nothing_bounces_while_the_net_is_on_and_only_what_the_operator_named_is_deleted() -> Result<()> {
    let lab = start()?;
    let rehome = install(&lab, &plan(&MOVE)?)?;
    rehome.expect(5, &["apply"])?;
    break_the_transport(lab.new())?;
    for token in ["stuck-1", "stuck-2", "stuck-3"] {
        post(&lab, lab.new(), "anna@example.org", token)?;
    }
    post(&lab, lab.old(), "anna@example.org", "stuck-4")?;
    let stuck = || -> Result<Vec<String>> {
        let all = queue(lab.new())?.into_iter().filter(|mail| mail["recipients"][0]["delay_reason"].is_string());
        Ok(all.filter_map(|mail| mail["queue_id"].as_str().map(String::from)).collect())
    };
    harness::eventually("four mails are stuck on new", || Ok(stuck()?.len() == 4))?;
    let ids = stuck()?;
    rehome.pass(400);
    let said = rehome.expect(5, &["apply"])?.stderr;
    for id in &ids {
        let line = said.lines().find(|line| line.contains(id)).unwrap_or_default();
        ensure!(
            line.contains("anna@example.org") && line.contains("broken on purpose"),
            "{id} without a reason:\n{said}"
        );
    }
    // Nothing but an ID that was shown is an answer. One of digits alone is the same in small letters.
    let small = ids.iter().map(|id| id.to_lowercase()).find(|id| !ids.contains(id));
    for wrong in ["ALL", "ABCDEF012345", "-d", "*", small.as_deref().unwrap_or("abcdef012345")] {
        rehome.expect(2, &["answer", "watch", "delete", wrong])?;
    }
    rehome.expect(5, &["apply"])?;
    ensure!(stuck()?.len() == 4, "a mail went that nobody named");
    rehome.expect(0, &["answer", "watch", "delete", &ids[1]])?;
    let said = rehome.expect(5, &["apply"])?.stderr;
    ensure!(said.contains(&format!("deleted {}", ids[1])), "{said}");
    let left: Vec<String> = ids.iter().filter(|id| **id != ids[1]).cloned().collect();
    let mut now = stuck()?;
    now.sort();
    ensure!(
        now == {
            let mut left = left.clone();
            left.sort();
            left
        },
        "{now:?} instead of {left:?}"
    );
    let bounced = lab.new().sh("journalctl --no-pager -o cat -u 'postfix*' -g status=bounced || true")?;
    ensure!(!bounced.contains("status=bounced"), "it bounced:\n{bounced}");
    // Another one may be named later: the first answer does not stand for it. rehome is killed while it is deleted: the
    // next one deletes nothing, and asks nobody.
    rehome.expect(0, &["answer", "watch", "delete", &left[0]])?;
    let slow = lab.new().ssh_with_input(&["tee", "/usr/local/sbin/postsuper"], SLOW.as_bytes())?;
    ensure!(slow.status.success());
    lab.new().sh("chmod 755 /usr/local/sbin/postsuper")?;
    rehome.kill_after(&["apply"], &["\"request-began\"", "\"exec.delete-queued\""], "1.5")?;
    rehome.expect(5, &["apply"])?;
    ensure!(stuck()?.len() == 2, "the second one was not deleted");
    let times = lab.new().sh("rm /usr/local/sbin/postsuper; cat /root/deleted")?;
    ensure!(times == format!("-d {}\n", left[0]), "it was not deleted once: {times}");

    lab.new().sh("postconf virtual_transport=lmtp:unix:private/dovecot-lmtp && postfix reload")?;
    harness::flush(lab.new())?;
    let mut there = Vec::new();
    for token in ["stuck-1", "stuck-2", "stuck-3", "stuck-4"] {
        there.extend(counts(&lab, lab.new(), &["anna@example.org"], token)?);
    }
    there.sort_unstable();
    ensure!(there == [0, 0, 1, 1], "after the repair: {there:?}");
    rehome.pass(8 * DAY);
    rehome.expect(0, &["apply"])?;
    ensure!(lab.new().sh("postconf -h soft_bounce")?.trim() == "no");
    Ok(())
}

/// Deletes, and takes its time.
const SLOW: &str = "#!/bin/sh\necho \"$@\" >> /root/deleted\n/usr/sbin/postsuper \"$@\"; s=$?\nsleep 5\nexit $s\n";

fn break_the_transport(machine: &Machine) -> Result<()> {
    let done = machine.ssh_with_input(&["tee", "/root/refusing.py"], REFUSING.as_bytes())?;
    ensure!(done.status.success());
    machine.sh("systemd-run --quiet --unit refusing python3 /root/refusing.py
         postconf virtual_transport=lmtp:inet:127.0.0.1:2424 && postfix reload")?;
    Ok(())
}

fn undo_of_the_net_delivers_what_waited_to_every_alias_once() -> Result<()> {
    let lab = start()?;
    let rehome = install(&lab, &up_to(&plan(&MOVE)?, "dovecot-stop")?)?;
    let settings = "postconf 2>/dev/null | grep -v ^process_id";
    let before = lab.old().sh(settings)?;
    rehome.expect(0, &["apply"])?;
    for (recipient, token) in
        [("team@example.org", "held-1"), ("elena@example.org", "held-2"), ("anna@example.org", "held-3")]
    {
        post(&lab, lab.old(), recipient, token)?;
    }
    harness::eventually("three mails are held", || Ok(queue(lab.old())?.len() == 3))?;
    rehome.expect(0, &["undo", "--yes"])?;
    harness::queue_runs_dry(lab.old())?;
    let after = lab.old().sh(settings)?;
    ensure!(before == after, "old is set otherwise\nbefore:\n{before}\nafter:\n{after}");
    ensure!(counts(&lab, lab.old(), &["bernd@example.org", "carla@example.org"], "held-1")? == [1, 1]);
    ensure!(counts(&lab, lab.old(), &["elena@example.org", "frank@example.org"], "held-2")? == [1, 1]);
    ensure!(counts(&lab, lab.old(), &["anna@example.org"], "held-3")? == [1]);
    Ok(())
}
