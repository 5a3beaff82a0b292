//! kill -9 in the middle of what moves data: `rehome apply` again ends where an undisturbed run ends.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec};
use rehome_tests::lab_tests;

use crate::migration::{Before, moved};
use crate::rehome::{Reach, Rehome, mail_only};

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![apply_goes_on_after_kill_9_in_the_copies]
}

fn apply_goes_on_after_kill_9_in_the_copies() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().without_rspamd().ssh_keys_on("new"))?;
    // Enough accounts that their copy takes a while, so that the kill falls into its transaction.
    lab.old().sh("mysql mailserver -e \"INSERT INTO virtual_aliases (domain_id, source, destination) \
         SELECT 1, CONCAT('list-', seq, '@example.org'), 'anna@example.org' FROM seq_1_to_20000\"")?;
    let rehome = Rehome::install(lab.new(), &mail_only(&Reach::Ssh("old"), &Reach::Local)?)?;
    rehome.approve()?;

    rehome.kill_after(&["apply"], &["\"request-began\"", "\"copy.accounts\""], "0.3")?;
    let status = rehome.expect(0, &["status"])?;
    ensure!(status.stdout.contains("accounts"), "status does not name the phase under way:\n{}", status.stdout);
    let half = lab.new().sh("mysql -N mailserver -e 'SELECT count(*) FROM virtual_aliases'")?;
    ensure!(half.trim() == "0", "a broken copy left {} aliases", half.trim());

    rehome.kill_after(&["apply"], &["\"request-began\"", "\"sync.hot\""], "0.7")?;
    let partial = lab.new().sh("find /var/vmail -path '*/cur/*' -type f | wc -l")?;
    ensure!(partial.trim().parse::<u32>()? < 3000, "the hot copy was over before it was killed");
    ensure!(rehome.expect(0, &["status"])?.stdout.contains("mail-hot"), "status does not name the phase under way");

    rehome.expect(5, &["apply"])?;
    rehome.expect(0, &["answer", "downtime", "go-on", "yes"])?;
    // Up to where mail stops, before it does on old: the passes that come before are over.
    rehome.kill_at(&["apply"], &["\"request-began\"", "\"exec.stop\""], "0.0")?;
    // Something for the cold pass to do, as a night's mail would be.
    lab.old().sh("cd /var/vmail/example.org/anna/Maildir/cur && for i in $(seq 2000); do \
         printf 'Subject: late %s\\n\\nlate\\n' $i > 1700000000.M${i}P1.old:2,; done && chown vmail:vmail . *")?;
    lab.old().sh("doveadm index -u anna@example.org INBOX")?;
    let before = Before::of(lab.old())?;
    // Not the look that `check` takes with the same request.
    rehome.kill_after(&["apply"], &["\"request-began\"", "\"sync.cold\"", "\"repeatable\""], "0.2")?;
    rehome.expect(0, &["apply"])?;
    rehome.expect(0, &["verify"])?;
    let new = moved(&lab, &before)?;
    ensure!(new.count_of_subject("late 1999") == 1);
    Ok(())
}
