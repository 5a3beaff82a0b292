//! The example's whole plan, with DNS and the queues: one `approve`, and `apply` again after each gate. The gates are really
//! waited for, by a clock that is moved; mail keeps arriving at the old address all the time.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec, Machine};
use rehome_tests::oracle::imap;
use rehome_tests::process::run;
use rehome_tests::seed::accounts;
use rehome_tests::traffic::{Sent, Traffic};
use rehome_tests::{harness, lab_tests};

use crate::rehome::{Reach, Rehome, whole};

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![a_whole_plan_moves_a_server_and_not_a_mail_is_lost]
}

pub(crate) const DAY: u64 = 86_400;

pub(crate) fn install(lab: &Lab) -> Result<Rehome<'_>> {
    let plan = whole(&Reach::Ssh("old"), &Reach::Local)?;
    Rehome::install_whole(lab.new(), &plan, &lab.tsig_key()?)
}

/// What the world is told about the host that all MX records name.
pub(crate) fn address(lab: &Lab) -> Result<String> {
    dig(lab, &["+short", "mail.lab.test", "A"])
}

pub(crate) fn ttl(lab: &Lab) -> Result<String> {
    let answer = dig(lab, &["+noall", "+answer", "mail.lab.test", "A"])?;
    Ok(answer.split_whitespace().nth(1).unwrap_or_default().to_string())
}

pub(crate) fn dig(lab: &Lab, words: &[&str]) -> Result<String> {
    let mut command = lab.command("kdig")?;
    let ran = run(command.arg("@10.77.0.1").args(words))?;
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

/// Up to the gate before the cutover: a day of waiting, and the question.
pub(crate) fn up_to_the_cutover(lab: &Lab, rehome: &Rehome<'_>) -> Result<()> {
    rehome.approve()?;
    ensure!(ttl(lab)?.trim() == "86400", "the lab's TTL is {}", ttl(lab)?);
    rehome.expect(5, &["apply"])?;
    ensure!(rehome.waits_at()? == "dns-wait", "it waits at {}", rehome.waits_at()?);
    ensure!(ttl(lab)?.trim() == "60", "the TTL was not lowered: {}", ttl(lab)?);
    rehome.pass(DAY - 600);
    rehome.expect(5, &["apply"])?;
    ensure!(rehome.waits_at()? == "dns-wait", "ten minutes before the old TTL has run out it went on");
    rehome.pass(660);
    rehome.expect(5, &["apply"])?;
    ensure!(rehome.waits_at()? == "downtime", "it waits at {}", rehome.waits_at()?);
    Ok(())
}

/// Every mail that got a 250 is in a mailbox of this machine, once.
fn each_is_there_once(lab: &Lab, machine: &Machine, sent: &Sent) -> Result<()> {
    harness::queue_runs_dry(machine)?;
    let dump = imap::dump(lab, machine, &accounts().users)?;
    let count = sent.accepted().count();
    ensure!(count > 20, "only {count} mails were accepted: too few to prove anything");
    for mail in sent.accepted() {
        let found = dump.count_of_subject(&mail.token);
        ensure!(found == 1, "{} to {} was accepted and is there {found} times", mail.token, mail.recipient);
    }
    Ok(())
}

pub(crate) fn recipients() -> Vec<&'static str> {
    accounts().users.iter().map(|user| user.email.as_str()).take(12).collect()
}

/// `verify` finds no mismatch, and says what it compared.
pub(crate) fn compared(rehome: &Rehome<'_>, what: &[&str]) -> Result<()> {
    let ran = rehome.expect(0, &["verify"])?;
    // Lines are broken where the terminal ends.
    let said = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in what {
        ensure!(said.contains(words), "`{words}` is not said\n{}", ran.stdout);
    }
    ensure!(ran.stderr.contains("both sides are alike"), "{}", ran.stderr);
    Ok(())
}

fn a_whole_plan_moves_a_server_and_not_a_mail_is_lost() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    moves_a_server(&lab, &install(&lab)?)
}

/// The whole plan, from `approve` to the retirement of old.
pub(crate) fn moves_a_server(lab: &Lab, rehome: &Rehome<'_>) -> Result<()> {
    // A sender that never learns of the new address: from before the first phase until after the switch.
    let stragglers = Traffic::start(lab, lab.old(), "old", 4.0, &recipients())?;
    up_to_the_cutover(lab, rehome)?;
    compared(
        rehome,
        &["virtual_users on new: 30 rows, as on old", "6 of 6 are as on old", "DKIM keys on new: 3 files"],
    )?;
    rehome.expect(0, &["answer", "downtime", "go-on", "yes"])?;
    rehome.expect(5, &["apply"])?;
    ensure!(rehome.waits_at()? == "watch", "it waits at {}", rehome.waits_at()?);
    compared(rehome, &["of 30 users hold what they held on old", "nothing of old is missing on new", "imap.lab.test"])?;
    ensure!(address(lab)?.trim() == "10.77.0.12", "the world still goes to {}", address(lab)?);
    let newcomers = Traffic::start(lab, lab.new(), "new", 4.0, &recipients())?;
    std::thread::sleep(std::time::Duration::from_secs(8));
    let (old, new) = (stragglers.stop()?, newcomers.stop()?);
    harness::queue_runs_dry(lab.old())?;

    rehome.pass(6 * DAY);
    rehome.expect(5, &["apply"])?;
    ensure!(rehome.waits_at()? == "watch", "after six quiet days it went on");
    rehome.pass(DAY + 600);
    rehome.expect(5, &["apply"])?;
    ensure!(rehome.waits_at()? == "retire", "it waits at {}", rehome.waits_at()?);
    rehome.expect(0, &["answer", "retire", "go-on", "yes"])?;
    rehome.expect(0, &["apply"])?;
    compared(rehome, &["of 30 users hold what they held on old", "its files are as they were"])?;
    ensure!(ttl(lab)?.trim() == "86400", "the TTL was not put back: {}", ttl(lab)?);
    for machine in [lab.old(), lab.new()] {
        let soft = machine.sh("postconf -h soft_bounce")?;
        ensure!(soft.trim() == "no", "soft_bounce on {} is {soft}", machine.name());
    }
    each_is_there_once(lab, lab.new(), &old)?;
    each_is_there_once(lab, lab.new(), &new)?;
    let left = lab.old().sh("{ grep -rlE '^Subject: traffic-new-' /var/vmail || true; } | wc -l")?;
    ensure!(left.trim() == "0", "{left} mails of the new address are in the old maildirs");
    Ok(())
}
