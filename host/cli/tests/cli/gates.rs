//! A gate: `apply` stops with status 5 and says what to type; `status` says the same later.

use crate::rehome::{Here, phase};

fn here() -> Here {
    let question = "question = \"Shall mail stop now?\"";
    let here = Here::with_plan(&format!(
        "{}{}",
        phase("confirm", "confirm", "cutover", question),
        phase("mail-hot", "maildir", "cutover", "pass = \"hot\"")
    ));
    assert_eq!(here.rehome("approve --yes").code, 0);
    here
}

#[test]
fn status_before_anything_says_how_to_begin() {
    insta::assert_snapshot!(here().rehome("status").all());
}

#[test]
fn apply_waits_and_says_what_to_type() {
    let here = here();
    insta::assert_snapshot!("waiting", here.rehome("apply").all());
    insta::assert_snapshot!("status_while_waiting", here.rehome_with("status", &[("COLUMNS", "80")]).all());
}

#[test]
fn after_the_answer_apply_goes_on() {
    let here = here();
    assert_eq!(here.rehome("apply").code, 5);
    insta::assert_snapshot!(here.rehome("answer confirm go-on yes").all());
    assert_eq!(here.rehome("preview --exit-code").code, 4);
    let said = here.rehome("apply");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(here.rehome("preview --exit-code").code, 0);
    assert_eq!(here.rehome("verify").code, 0);
    insta::assert_snapshot!("status_when_done", here.rehome("status").all());
    assert_eq!(here.rehome("answer confirm go-on yes").code, 2);
}

#[test]
fn json_is_one_versioned_event_a_line() {
    let here = here();
    let said = here.rehome("--json apply");
    assert_eq!(said.code, 5);
    let events: Vec<serde_json::Value> =
        said.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(events.iter().all(|event| event["v"] == 1));
    let waiting = events.iter().find(|event| event["event"] == "waiting").expect("it waits");
    assert_eq!(waiting["phase"], "confirm");
    assert_eq!(waiting["command"], "rehome answer confirm go-on yes");
    assert_eq!(waiting["question"], "Shall mail stop now?");
    let status: serde_json::Value = serde_json::from_str(here.rehome("--json status").stdout.trim()).expect("one line");
    let phase = &status["status"]["phases"][0];
    assert_eq!((phase["standing"].as_str(), phase["key"].as_str()), (Some("waiting"), Some("go-on")));
}
