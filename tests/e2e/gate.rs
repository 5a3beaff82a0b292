//! Old holds rehome's key to what was approved: a migration passes by it, there and back, and whoever steals the machine that
//! rehome runs on can do no more to old than the phases could.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec};
use rehome_tests::lab_tests;
use rehome_tests::oracle::listing::{DOVECOT_CACHES, listing};
use rehome_tests::oracle::{database, same};

use crate::rehome::{Reach, Rehome, mail_only, up_to, whole};
use crate::{undo, whole as whole_plan};

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![
        a_whole_plan_passes_by_a_key_that_old_holds_to_what_was_approved,
        mail_goes_back_to_old_by_that_key,
        whoever_steals_that_key_can_do_no_more_than_was_approved
    ]
}

fn install(lab: &Lab) -> Result<Rehome<'_>> {
    let plan = whole(&Reach::Ssh("old"), &Reach::Local)?;
    Rehome::install_whole(lab.new(), &plan, &lab.tsig_key()?)?.behind_a_gate(&plan)
}

fn a_whole_plan_passes_by_a_key_that_old_holds_to_what_was_approved() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    whole_plan::moves_a_server(&lab, &install(&lab)?)?;
    let refused = lab
        .old()
        .sh("journalctl --no-pager -o cat -t rehome-gate | grep -v 'refused: a command line that is not' || true")?;
    ensure!(refused.trim().is_empty(), "the gate refused what was approved: {refused}");
    Ok(())
}

fn mail_goes_back_to_old_by_that_key() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    undo::from_settle_brings_users_back(&lab, &install(&lab)?)
}

/// What a thief types on the machine that rehome ran on, with everything that lies there.
const TRIES: [&str; 14] = [
    "ssh old id",
    "ssh old",
    "ssh -tt old",
    "scp -O /etc/hostname old:/tmp/stolen",
    "echo put /etc/hostname /tmp/stolen | sftp -b - old",
    "scp -O old:/etc/shadow /tmp/stolen",
    "ssh old \"exec '/bin/sh' '-c' 'touch /tmp/stolen'\"",
    "ssh old 'relay /run/mysqld/mysqld.sock'",
    "ssh old relay /run/mysqld/mysqld.sock",
    "timeout 4 ssh -N -o ExitOnForwardFailure=yes -R 2222:127.0.0.1:22 old",
    "ssh -W 127.0.0.1:25 old </dev/null",
    "ssh -o ControlMaster=no -L /tmp/sock:/run/mysqld/mysqld.sock old true",
    "rsync -a old:/etc/shadow /tmp/stolen",
    "ssh -A old true",
];

/// Where something could have been put or changed; what changes by itself is not below these.
const PLACES: &[&str] = &["/boot", "/etc", "/home", "/opt", "/root", "/srv", "/usr", "/var/spool/cron", "/var/vmail"];

fn whoever_steals_that_key_can_do_no_more_than_was_approved() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    let plan = up_to(&mail_only(&Reach::Ssh("old"), &Reach::Local)?, "mail-hot")?;
    let rehome = Rehome::install(lab.new(), &plan)?.behind_a_gate(&plan)?;
    rehome.approve()?;
    rehome.expect(0, &["check"])?;
    let of_old = || listing(lab.old(), PLACES, DOVECOT_CACHES);
    let (files, rows) = (of_old()?, database::dump(lab.old(), "mailserver")?);

    for words in TRIES {
        let tried = lab.new().ssh(&["sh", "-c", &format!("cd /root; rm -f /tmp/stolen; timeout 20 {words}")])?;
        ensure!(!tried.status.success(), "`{words}` was let pass: {tried:?}");
        let stolen = "for m in /tmp/stolen; do [ ! -s $m ] || echo $m; done";
        ensure!(lab.new().sh(stolen)?.is_empty() && lab.old().sh(stolen)?.is_empty(), "`{words}` got something");
    }
    let log = lab.old().sh("journalctl --sync; journalctl --no-pager -o cat -t rehome-gate")?;
    ensure!(log.lines().count() >= 6 && log.contains("refused: "), "old's log does not tell of it: {log}");

    // The database: the socket is reached as nobody, whom no account knows, and the account that reads only reads.
    let (host, user) = (lab.new(), "rehome_reader");
    host.sh("cd /root/rehome && test -s reader.secret")?;
    for statement in
        ["DELETE FROM mailserver.virtual_users", "SELECT * FROM mysql.user", "SELECT 1 INTO OUTFILE '/tmp/stolen'"]
    {
        let tried = lab.old().ssh(&["mysql", &format!("-u{user}"), "-preads-and-no-more", "-e", statement])?;
        ensure!(!tried.status.success(), "{statement}: {tried:?}");
    }
    let as_root = "setpriv --reuid nobody --regid nogroup --clear-groups mysql -uroot -e 'SELECT 1'";
    ensure!(lab.old().sh(as_root).is_err(), "nobody is root of the database");

    same("files of old", &files.diff(&of_old()?))?;
    same("the database of old", &database::diff(&rows, &database::dump(lab.old(), "mailserver")?))?;

    // What is approved afterwards is another thing than the gate was made for: that is said, not tried.
    rehome.expect(0, &["approve", "--yes", "--deny", "mail-hot:exec.active"])?;
    let refused = rehome.run(&["check"])?;
    ensure!(refused.stderr.contains("rehome gate old"), "{}", refused.stderr);
    // And taken away it lets nobody in.
    rehome
        .machine
        .sh("cd /root/rehome && ./rehome gate old --remove > gone.sh && ssh -F none root@old sh < gone.sh")?;
    ensure!(
        !lab.new().ssh(&["ssh", "-o", "BatchMode=yes", "old", "true"])?.status.success(),
        "the key is still let in"
    );
    let left = lab.old().sh("ls /usr/local/sbin /var/lib; cat /root/.ssh/authorized_keys")?;
    ensure!(!left.contains("rehome-gate"), "left behind: {left}");
    Ok(())
}
