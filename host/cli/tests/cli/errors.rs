//! What goes wrong is told with the place and the remedy, and nothing is changed.

use crate::rehome::{Here, components, phase};

#[test]
fn no_plan() {
    insta::assert_snapshot!(Here::new().rehome("status").all());
}

#[test]
fn unknown_key() {
    let here = Here::with_plan(&phase("mail-hot", "maildir", "copy", "pass = \"hot\"").replace("stage", "stages"));
    insta::assert_snapshot!(here.rehome("check").all());
}

#[test]
fn wrong_type() {
    let here = Here::with_plan(
        &phase("mail-hot", "maildir", "copy", "pass = \"hot\"").replace("\"maildir\"", "[\"maildir\"]"),
    );
    insta::assert_snapshot!(here.rehome("check").all());
}

#[test]
fn config_of_the_wrong_type() {
    let here = Here::with_plan(&phase("mail-hot", "maildir", "copy", "pass = \"lukewarm\""));
    insta::assert_snapshot!(here.rehome("approve --yes").all());
}

#[test]
fn unknown_config_key() {
    let here = Here::with_plan(&phase("mail-hot", "maildir", "copy", "pass = \"hot\"\ndomain = [\"example.org\"]"));
    insta::assert_snapshot!(here.rehome("approve --yes").all());
}

#[test]
fn missing_component() {
    let here = Here::with_plan(&phase("mail-hot", "mialdir", "copy", ""));
    insta::assert_snapshot!(here.rehome("approve --yes").all());
}

#[test]
fn a_file_that_is_no_component() {
    let here = Here::with_plan(&phase("mail-hot", "./broken.wasm", "copy", ""));
    here.write("broken.wasm", "#!/bin/sh\n");
    insta::assert_snapshot!(here.rehome("approve --yes").all());
}

#[test]
fn not_approved() {
    let here = Here::with_plan(&phase("mail-hot", "maildir", "copy", "pass = \"hot\""));
    insta::assert_snapshot!(here.rehome("apply").all());
    assert!(!here.path(".rehome").exists());
}

#[test]
fn an_unreachable_host() {
    components();
    let here = Here::new();
    here.write("plan.toml", &format!(
        "[migration]\nname = \"a test\"\n[old]\nssh = \"ssh://root@127.0.0.1:1\"\ncontrol-dir = \"c\"\n[new]\nfolder = \"new\"\n{}",
        phase("confirm", "confirm", "cutover", "")
    ));
    std::fs::create_dir(here.path("new")).unwrap();
    assert_eq!(here.rehome("approve --yes").code, 0);
    let said = here.rehome("apply");
    assert_eq!(said.code, 1);
    assert!(said.stderr.starts_with("error: cannot reach ssh://root@127.0.0.1:1\n"), "{}", said.stderr);
    assert!(said.stderr.contains("nothing was changed") && said.stderr.contains("\nhint: "), "{}", said.stderr);
    assert_eq!(said.stdout, "");
}

#[test]
fn a_blocker_stops_apply() {
    let here = Here::with_plan(&phase("mail-hot", "maildir", "copy", "pass = \"hot\""));
    assert_eq!(here.rehome("approve --yes").code, 0);
    std::fs::remove_dir(here.path("old/var/vmail")).unwrap();
    insta::assert_snapshot!(here.rehome("apply").all());
}

#[test]
fn unknown_phases_on_the_command_line() {
    let here = Here::with_plan(&phase("mail-hot", "maildir", "copy", "pass = \"hot\""));
    assert_eq!(here.rehome("approve --yes").code, 0);
    insta::assert_snapshot!(here.rehome("apply --again mail-hott").all());
}

#[test]
fn errors_are_events_too() {
    let here = Here::with_plan(&phase("mail-hot", "maildir", "copy", "pass = \"hot\""));
    let said = here.rehome("--json apply");
    assert_eq!(said.code, 8);
    let line: serde_json::Value = serde_json::from_str(said.stdout.trim()).expect("one line of JSON");
    assert_eq!(
        (line["v"].as_u64(), line["event"].as_str(), line["exit_code"].as_u64()),
        (Some(1), Some("error"), Some(8))
    );
}
