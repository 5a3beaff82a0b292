//! `verify`: what differs afterwards is a mismatch.

use crate::rehome::{Here, phase};

#[test]
fn a_mail_that_only_old_has_after_the_cold_pass_is_a_mismatch() {
    let here = Here::with_plan(&phase("mail-cold", "maildir", "cutover", "pass = \"cold\""));
    let cur = "old/var/vmail/example.org/john/Maildir/cur";
    std::fs::create_dir_all(here.path(cur)).unwrap();
    here.write(&format!("{cur}/1.M1P1.old:2,S"), "Subject: one\n\n");
    assert_eq!(here.rehome("approve --yes").code, 0);
    assert_eq!(here.rehome("verify").code, 0, "nothing was applied: nothing to compare");
    let said = here.rehome("apply");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(here.rehome("verify").code, 0);
    here.write(&format!("{cur}/2.M2P2.old:2,S"), "Subject: two\n\n");
    let said = here.rehome("verify");
    assert_eq!(said.code, 6, "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("blocker") && said.stderr.contains("1 mismatch"), "{}{}", said.stdout, said.stderr);
}
