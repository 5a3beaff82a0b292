//! The end of old: gates that are really closed, a backup that is really there, services that are really stopped, and undo.
//! Read by systemctl, by rsync and by what stands in the backup's folder, not by asking rehome.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec};
use rehome_tests::process::run;
use rehome_tests::{harness, lab_tests};

use crate::rehome::Rehome;

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![old_is_retired_after_its_gates_and_its_backup_and_undo_starts_it_again]
}

const PLAN: &str = r#"[migration]
name = "in the lab"
[old]
ssh = "root@old"
[new]
local = true

[[phase]]
id = "retire"
component = "retire"
stage = "retire"
[phase.config]
old-addresses = ["10.77.0.11"]
names = ["imap.lab.test"]
"#;

/// The world's DNS names new: an update as any administrator's nsupdate would send it.
fn switch_dns(lab: &Lab) -> Result<()> {
    let key = lab.tsig_key()?;
    let mut command = lab.command("knsupdate")?;
    command.args(["-y", &key]);
    let script = "server 10.77.0.1\nzone lab.test\nupdate delete mail.lab.test. A\n\
                  update add mail.lab.test. 60 A 10.77.0.12\nsend\nquit\n";
    let file = lab.folder().join("switch");
    std::fs::write(&file, script)?;
    run(command.arg(&file)).map(drop)
}

const STATES: &str = "for unit in postfix dovecot rspamd; do echo $unit $(systemctl is-active $unit) $(systemctl is-enabled $unit); done";

fn said(rehome: &Rehome<'_>, status: i32, words: &[&str]) -> Result<String> {
    let ran = rehome.expect(status, words)?;
    Ok(ran.stdout + &ran.stderr)
}

fn old_is_retired_after_its_gates_and_its_backup_and_undo_starts_it_again() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    let before = lab.old().sh(STATES)?;
    let rehome = Rehome::install(lab.new(), PLAN)?;
    rehome.approve()?;
    // While old works, nothing of this is a blocker.
    let checked = said(&rehome, 0, &["check"])?;
    ensure!(checked.contains("not yet: still leads to old") && checked.contains("imap.lab.test"), "{checked}");
    let preview = said(&rehome, 0, &["preview"])?;
    ensure!(preview.contains("stopped and disabled") && !preview.contains("irreversible"), "{preview}");

    gates_are_closed_one_after_the_other(&lab, &rehome)?;
    let waits = said(&rehome, 5, &["apply"])?;
    ensure!(waits.contains("compared by contents") && waits.contains("Stop and disable"), "{waits}");
    ensure!(lab.old().sh(STATES)? == before, "something was stopped before the operator said yes");
    rehome.expect(0, &["answer", "retire", "go-on", "yes"])?;
    rehome.expect(0, &["apply"])?;
    let after = lab.old().sh(STATES)?;
    ensure!(after == "postfix inactive disabled\ndovecot inactive disabled\nrspamd inactive disabled\n", "{after}");
    the_backup_is_whole(&lab)?;
    let verified = said(&rehome, 0, &["verify"])?;
    ensure!(verified.contains("it served 3 domains with 30 accounts"), "{verified}");

    rehome.expect(0, &["undo", "--yes"])?;
    harness::eventually("old is what it was", || Ok(lab.old().sh(STATES)? == before))?;
    ensure!(lab.old().port_is_open(25)? && lab.old().port_is_open(143)?, "old answers nobody after undo");
    lab.new().sh("test -f /var/backups/rehome-old/etc/postfix/main.cf").map(drop)
}

/// A mail that cannot leave, a name that leads to old, a user who is logged in there: all are named, and each holds.
fn gates_are_closed_one_after_the_other(lab: &Lab, rehome: &Rehome<'_>) -> Result<()> {
    lab.old().sh("postconf defer_transports=smtp && postfix reload && echo x | sendmail someone@elsewhere.test")?;
    harness::eventually("the mail waits", || Ok(lab.old().sh("postqueue -j")?.contains("someone@elsewhere.test")))?;
    let mut login = login(lab)?;
    let refused = said(rehome, 1, &["apply"]);
    switch_dns(lab)?;
    let still_in = said(rehome, 1, &["apply"]);
    login.kill().context("the login cannot be ended")?;
    login.wait()?;
    let refused = refused?;
    for what in ["the queue of old", "holds 1 mail", "imap.lab.test (10.77.0.11", "has users logged in"] {
        ensure!(refused.contains(what), "`{what}` is not in\n{refused}");
    }
    let still_in = still_in?;
    ensure!(still_in.contains("has users logged in") && !still_in.contains("leads to old"), "{still_in}");
    let gone = || Ok(lab.old().sh("doveadm who | grep -v ^username || true")?.trim().is_empty());
    harness::eventually("the user has gone", gone)?;
    // Mail that is under way is nobody's mistake: it is waited for.
    let still_queued = said(rehome, 5, &["apply"])?;
    ensure!(still_queued.contains("the queue of old holds 1 mail"), "{still_queued}");
    lab.old().sh("postconf -X defer_transports && postsuper -d ALL && postfix reload").map(drop)
}

/// A mail program that is logged in on old, idle.
fn login(lab: &Lab) -> Result<std::process::Child> {
    let user = &rehome_tests::seed::accounts().users[0];
    let script = format!(
        "import imaplib, ssl, time\nc = imaplib.IMAP4_SSL('10.77.0.11', ssl_context=ssl._create_unverified_context())\nc.login('{}', '{}')\nc.select()\nprint('in', flush=True)\ntime.sleep(600)\n",
        user.email, user.password
    );
    let mut command = lab.command("python3")?;
    let mut child = command.args(["-c", &script]).stdout(std::process::Stdio::piped()).spawn()?;
    let mut line = String::new();
    let out = child.stdout.take().context("no output")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line)?;
    ensure!(line.trim() == "in", "the login did not succeed: {line}");
    Ok(child)
}

/// rsync, by contents, finds nothing to do but what a boot starts: the backup has it as it was. The databases are kept.
fn the_backup_is_whole(lab: &Lab) -> Result<()> {
    for (from, into, more) in [
        ("/var/vmail/", "mail", "--owner --group"),
        ("/etc/", "etc", "--exclude rc?.d --exclude multi-user.target.wants"),
        ("/var/lib/rspamd/", "var-lib/rspamd", ""),
    ] {
        let script = format!(
            "rsync -rlptn --checksum --delete --itemize-changes --no-specials --no-devices --exclude rspamd.rrd --exclude rspamd.sock {more} root@old:{from} /var/backups/rehome-old/{into}/ | grep -v '^\\.d..t' || true"
        );
        let differs = lab.new().sh(&script)?;
        ensure!(differs.trim().is_empty(), "{from} and its backup differ:\n{differs}");
    }
    let modes = lab.new().sh("stat -c '%a %U' /var/backups/rehome-old /var/backups/rehome-old/etc/shadow")?;
    ensure!(modes.lines().next() == Some("700 root"), "the backup is open to others: {modes}");
    let kept = lab.new().sh("ls /root/rehome/.rehome/snapshots")?;
    ensure!(kept.contains("accounts-old") && kept.contains("webmail-old"), "no database was kept: {kept}");
    Ok(())
}
