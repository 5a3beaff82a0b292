//! Unit tests of the phase against the test host.

use rehome_sdk::files::{Comparison, Space};
use rehome_sdk::test::Host;
use serde_json::{Value, json};

use super::*;

fn compared(missing: u64, extra: u64, different: u64) -> Comparison {
    Comparison {
        examined: 3000,
        missing,
        missing_bytes: missing * 1000,
        extra,
        different,
        examples: if missing > 0 { vec!["example.org/john/Maildir/cur/1: missing".into()] } else { Vec::new() },
    }
}

fn host() -> Host {
    let mut host = Host::new(requests::MANIFEST);
    host.exec("active", Side::Old).ends(3, "inactive\n", "");
    host.exec("active", Side::New).ends(3, "inactive\n", "");
    host.free("mail", Side::New).gives(Space { bytes: 1_000_000_000, inodes: 1_000_000 });
    host
}

fn hot() -> Value {
    json!({ "pass": "hot" })
}

fn cold() -> Value {
    json!({ "pass": "cold", "domains": ["example.org"] })
}

#[test]
fn a_hot_pass_copies_as_often_as_it_is_called() {
    let mut host = host();
    host.apply::<Maildir>(hot()).unwrap();
    host.apply::<Maildir>(hot()).unwrap();
    assert_eq!(host.effects(), ["sync.hot", "sync.hot"]);
}

fn report(copied: u64) -> SyncReport {
    SyncReport {
        examined: 3000,
        copied,
        bytes: copied * 1000,
        renamed: 0,
        set_aside: 0,
        vanished: 0,
        milliseconds: 7,
        mark: "1".into(),
    }
}

#[test]
fn a_cold_pass_is_repeated_until_it_finds_nothing() {
    let mut host = host();
    host.sync("cold").gives(report(3)).gives(report(0));
    host.apply::<Maildir>(cold()).unwrap();
    assert_eq!(host.effects(), ["sync.cold", "sync.cold"]);
    assert!(host.reported()[0].contains("copied 3 files (3.0 kB)"), "{:?}", host.reported());

    host.comparison("cold").gives(compared(0, 0, 0));
    host.forget_calls();
    host.apply::<Maildir>(cold()).unwrap();
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn a_cold_pass_that_never_settles_stops_and_is_not_done() {
    let mut host = host();
    host.sync("cold").gives(report(1));
    let why = host.apply::<Maildir>(cold()).unwrap_err().words();
    assert!(why.contains("still found changes"), "{why}");
    host.forget_calls();
    host.sync("cold").anew().gives(report(0));
    host.apply::<Maildir>(cold()).unwrap();
    assert_eq!(host.effects(), ["sync.cold"]);
}

#[test]
fn a_cold_pass_refuses_while_dovecot_runs() {
    let mut host = host();
    host.exec("active", Side::New).anew().says("active\n");
    let why = host.apply::<Maildir>(cold()).unwrap_err().words();
    assert!(why.contains("Dovecot on new"), "{why}");
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn folders_as_sides_run_no_dovecot() {
    let mut host = host();
    host.exec("active", Side::Old).anew().is_unsupported();
    host.exec("active", Side::New).anew().is_unsupported();
    host.apply::<Maildir>(cold()).unwrap();
    host.comparison("cold").gives(compared(0, 0, 0));
    assert!(host.preview::<Maildir>(cold()).unwrap().changes.is_empty());
}

#[test]
fn mail_that_arrived_on_new_after_the_cold_pass_is_never_set_aside() {
    let mut host = host();
    host.apply::<Maildir>(cold()).unwrap();
    host.forget_calls();
    for (config, request) in [(hot(), "hot"), (cold(), "cold")] {
        host.comparison(request).gives(compared(0, 2, 0));
        let why = host.apply::<Maildir>(config.clone()).unwrap_err().words();
        assert!(why.contains("2 only on new"), "{why}");
        let found = host.check::<Maildir>(config).unwrap();
        assert!(found.iter().any(|finding| finding.severity == Severity::Blocker), "{found:?}");
    }
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn a_full_disk_and_missing_inodes_are_blockers_with_numbers() {
    let mut host = host();
    host.comparison("hot").gives(compared(1000, 0, 0));
    host.free("mail", Side::New).anew().gives(Space { bytes: 500_000, inodes: 10 });
    let found = host.check::<Maildir>(hot()).unwrap();
    let texts: Vec<&str> = found.iter().filter(|f| f.severity == Severity::Blocker).map(|f| f.text.as_str()).collect();
    assert_eq!(texts, ["has 500.0 kB left, and the mail needs 1.1 MB", "has 10 inodes left, and the mail needs 1050"]);
}

#[test]
fn preview_tells_what_moves_and_what_undo_cannot_take_back() {
    let mut host = host();
    host.comparison("cold").gives(compared(3, 1, 2));
    let forecast = host.preview::<Maildir>(cold()).unwrap();
    assert_eq!(forecast.changes[0].after, "3 files copied, 3.0 kB");
    assert!(forecast.changes[0].reversible);
    let irreversible: Vec<&str> = forecast.changes.iter().filter(|c| !c.reversible).map(|c| c.after.as_str()).collect();
    assert_eq!(irreversible.len(), 2);
    assert!(irreversible[0].contains("1 file set aside"), "{irreversible:?}");
}

#[test]
fn verify_is_strict_while_nothing_runs_on_new() {
    let mut host = host();
    host.comparison("cold").gives(compared(0, 0, 1));
    assert_eq!(host.verify::<Maildir>(cold()).unwrap()[0].severity, Severity::Blocker);
    host.comparison("hot").gives(compared(5, 0, 0));
    assert_eq!(host.verify::<Maildir>(hot()).unwrap()[0].severity, Severity::Note);
}

#[test]
fn verify_of_a_side_in_use_cares_for_what_is_missing() {
    let mut host = host();
    host.exec("active", Side::New).anew().says("active\n");
    host.comparison("cold").gives(compared(0, 4, 3)).gives(compared(1, 4, 3));
    assert_eq!(host.verify::<Maildir>(cold()).unwrap()[0].severity, Severity::Ok);
    let found = host.verify::<Maildir>(cold()).unwrap();
    assert_eq!(found[0].severity, Severity::Blocker);
    assert!(found[0].hint.is_some());
}

#[test]
fn undo_of_a_finished_cold_pass_brings_new_mail_back_once() {
    let mut host = host();
    host.undo::<Maildir>(cold()).unwrap();
    assert_eq!(host.effects(), Vec::<String>::new());
    host.apply::<Maildir>(cold()).unwrap();
    host.forget_calls();
    host.undo::<Maildir>(cold()).unwrap();
    host.undo::<Maildir>(cold()).unwrap();
    assert_eq!(host.effects(), ["sync.back"]);
    host.undo::<Maildir>(hot()).unwrap();
    assert_eq!(host.effects(), ["sync.back"]);
}

#[test]
fn a_limit_that_is_no_limit_is_found_before_anything_moves() {
    for (text, fits) in
        [("5%", true), ("0", true), ("200", true), ("12.5%", true), ("x", false), ("101%", false), ("%", false)]
    {
        assert_eq!(is_limit(text), fits, "{text}");
    }
    let mut host = host();
    let found = host.check::<Maildir>(json!({ "pass": "hot", "delete-limit": "many" })).unwrap();
    assert_eq!(found[0].severity, Severity::Blocker);
}

#[test]
fn a_cold_pass_of_one_domain_leaves_the_passes_of_another_alone() {
    let mut host = host();
    host.apply::<Maildir>(cold()).unwrap();
    host.forget_calls();
    host.apply::<Maildir>(json!({ "pass": "hot", "domains": ["other.example"] })).unwrap();
    host.apply::<Maildir>(json!({ "pass": "hot", "path": "/srv/mail" })).unwrap();
    assert_eq!(host.effects(), ["sync.hot", "sync.hot"]);
    host.comparison("hot").gives(compared(1, 0, 0));
    for domains in [json!([]), json!(["EXAMPLE.org", "other.example"])] {
        assert!(host.apply::<Maildir>(json!({ "pass": "hot", "domains": domains })).is_err());
    }
}

#[test]
fn a_missing_mail_folder_is_a_blocker_and_no_failure() {
    let mut host = host();
    host.comparison("hot").fails(Failure::NotFound("/var/vmail is not there on new".into()));
    let found = host.check::<Maildir>(hot()).unwrap();
    assert_eq!(found[0].severity, Severity::Blocker);
    assert!(found[0].text.contains("on new"));
}
