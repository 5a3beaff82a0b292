//! A migration whose journal is damaged, gone or an older copy: that is found out, and `apply` goes on from a new one.

use anyhow::Result;
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec};
use rehome_tests::lab_tests;

use crate::migration::{Before, moved};
use crate::rehome::{Reach, Rehome, mail_only};

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![a_journal_that_is_gone_older_or_damaged_is_found_out_and_begun_anew]
}

fn a_journal_that_is_gone_older_or_damaged_is_found_out_and_begun_anew() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().without_rspamd().ssh_keys_on("new"))?;
    let rehome = Rehome::install(lab.new(), &mail_only(&Reach::Ssh("old"), &Reach::Local)?)?;
    rehome.approve()?;
    rehome.kill_after(&["apply"], &["\"request-began\"", "\"sync.hot\"", "\"repeatable\""], "0.2")?;

    lab.new().sh("cp -a /root/rehome/.rehome /root/kept && rm -rf /root/rehome/.rehome")?;
    let refused = rehome.expect(7, &["apply"])?;
    refused.says(&["its state is gone", "done, say the sides: ", "accounts", "begun, say the sides: mail-hot"])?;
    rehome.expect(0, &["resolve", "journal", "--yes"])?;
    rehome.expect(5, &["apply"])?;

    // The copy from before comes back: it is neither the newest nor what the sides go on with.
    lab.new().sh("cd /root/rehome && mv .rehome newest && cp -a /root/kept .rehome")?;
    rehome.expect(7, &["apply"])?.says(&["was taken over", "its epoch is 2; this state knows 1"])?;
    lab.new().sh("cd /root/rehome && rm -rf .rehome && cp -a newest .rehome")?;
    rehome.expect(5, &["apply"])?;
    lab.new().sh("cd /root/rehome && rm -rf .rehome && mv newest .rehome")?;
    rehome.expect(1, &["apply"])?.says(&["is an older copy", "the journal here ends at"])?;
    rehome.expect(0, &["resolve", "journal", "--yes"])?;
    rehome.expect(5, &["apply"])?;

    // A page of the file is something else.
    lab.new().sh("cd /root/rehome/.rehome && \
         python3 -c 'import sqlite3; sqlite3.connect(\"journal.db\").execute(\"PRAGMA wal_checkpoint(TRUNCATE)\")' && \
         at=$(grep -abo sync.hot journal.db | head -n 1 | cut -d: -f1) && \
         dd if=/dev/urandom of=journal.db bs=4096 seek=$((at / 4096)) count=1 conv=notrunc status=none")?;
    let refused = rehome.expect(1, &["apply"])?;
    refused.says(&["the journal of this migration is damaged", "rehome resolve journal"])?;
    let rebuilt = rehome.expect(0, &["resolve", "journal", "--yes"])?;
    rebuilt.says(&["no phase counts as done", "taken over: ", "the former journal is"])?;

    rehome.expect(5, &["apply"])?;
    let before = Before::of(lab.old())?;
    rehome.expect(0, &["answer", "downtime", "go-on", "yes"])?;
    rehome.expect(0, &["apply"])?;
    rehome.expect(0, &["verify"])?;
    moved(&lab, &before).map(drop)
}
