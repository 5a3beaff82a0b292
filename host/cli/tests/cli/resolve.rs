//! `resolve`: what is asked, what is refused, and a journal that is rebuilt.

use crate::rehome::{Here, phase};

fn here() -> Here {
    let here = Here::with_plan(&phase("mail-hot", "maildir", "copy", "pass = \"hot\""));
    assert_eq!(here.rehome("approve --yes").code, 0);
    assert_eq!(here.rehome("apply").code, 0);
    here
}

#[test]
fn there_is_nothing_to_resolve_and_words_that_mean_nothing_are_usage() {
    let here = here();
    insta::assert_snapshot!("nothing_to_resolve", here.rehome("resolve").all());
    insta::assert_snapshot!("what_can_be_resolved", here.rehome("resolve mail-hot").all());
    for line in
        ["resolve mail-hot did", "resolve machine odl", "resolve machine old", "resolve journal", "resolve a b c"]
    {
        assert_eq!(here.rehome(line).code, 2, "{line}");
    }
}

#[test]
fn a_journal_that_is_something_else_is_rebuilt() {
    let here = here();
    // What is only in the `-wal` yet would mend it.
    let _ = std::fs::remove_file(here.path(".rehome/journal.db-wal"));
    here.write(".rehome/journal.db", &"something else ".repeat(500));
    insta::assert_snapshot!("a_damaged_journal", here.rehome("apply").all());
    assert_eq!(here.rehome("status").code, 1);
    let asked = here.rehome("resolve journal");
    assert!(asked.code == 2 && asked.stderr.contains("--yes"), "{}", asked.stderr);
    let said = here.rehome("resolve journal --yes");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(
        said.stderr.contains("no phase counts as done") && said.stderr.contains("journal.lost-"),
        "{}",
        said.stderr
    );
    assert_eq!(here.rehome("preview --exit-code").code, 4);
    assert_eq!(here.rehome("apply").code, 0);
    let event = here.rehome("--json status").stdout;
    let status: serde_json::Value = serde_json::from_str(event.trim()).unwrap();
    assert!(status["status"]["claim"].is_null(), "folders are claimed by nobody: {status}");
}
