//! Unit tests of the phase against the test host.

use rehome_sdk::files::{Comparison, Space, SyncReport};
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
fn a_hot_pass_that_finds_next_to_nothing_is_one_pass_as_often_as_it_is_called() {
    let mut host = host();
    host.sync("hot").gives(report(50));
    host.apply::<Maildir>(hot()).unwrap();
    host.apply::<Maildir>(hot()).unwrap();
    assert_eq!(host.effects(), ["sync.hot", "sync.hot"]);
}

#[test]
fn hot_passes_are_repeated_until_one_finds_next_to_nothing() {
    let mut host = host();
    let renamed = SyncReport { renamed: 30, set_aside: 21, ..report(0) };
    host.sync("hot").gives(report(3000)).gives(renamed).gives(report(4)).gives(report(0));
    host.apply::<Maildir>(hot()).unwrap();
    assert_eq!(host.effects(), ["sync.hot", "sync.hot", "sync.hot"]);
    let said = host.reported();
    assert!(said[0].contains("pass 1: copied 3000 files (3.0 MB), of 3000 looked at, in 7 ms"), "{said:?}");
    assert!(said[1].contains("pass 2: copied 0 files (0 bytes), 30 renamed, 21 set aside"), "{said:?}");
    assert!(said[3].contains("converged: the last one found 4 changes"), "{said:?}");
}

#[test]
fn hot_passes_that_old_outruns_end_and_say_how_much_is_left_to_the_cutover() {
    let mut host = host();
    host.sync("hot").gives(report(300));
    host.apply::<Maildir>(json!({ "pass": "hot", "passes": 3, "converged": 10 })).unwrap();
    assert_eq!(host.effects().len(), 3);
    let said = host.reported();
    assert!(said[3].starts_with("warning: pass 3 still found 300 changes, more than the 10"), "{said:?}");
    // There is no plan with which no pass is made at all.
    host.forget_calls();
    host.apply::<Maildir>(json!({ "pass": "hot", "passes": 0 })).unwrap();
    assert_eq!(host.effects().len(), 1);
}

#[test]
fn the_cutover_is_expected_to_take_what_the_last_hot_pass_measured() {
    let mut host = host();
    host.comparison("cold").gives(compared(3, 0, 0));
    host.comparison("hot").gives(compared(3, 0, 0));
    let preview = |host: &mut Host, config: Value| host.preview::<Maildir>(config).unwrap();
    for config in [hot(), cold()] {
        let unknown = preview(&mut host, config);
        assert_eq!(unknown.cutover_milliseconds, None);
        assert!(unknown.not_known_yet[0].starts_with("how long"), "{unknown:?}");
    }

    let slow = SyncReport { milliseconds: 90_000, ..report(3000) };
    let quick = SyncReport { milliseconds: 120, ..report(4) };
    host.sync("hot").gives(slow).gives(quick);
    host.apply::<Maildir>(json!({ "pass": "hot", "domains": ["example.org"] })).unwrap();
    let known = preview(&mut host, cold());
    assert_eq!(known.cutover_milliseconds, Some(240));
    assert!(known.not_known_yet.is_empty(), "{known:?}");
    // Nothing stands still for a hot pass, and nobody has measured another folder.
    assert_eq!(preview(&mut host, hot()).cutover_milliseconds, None);
    let elsewhere = json!({ "pass": "cold", "domains": ["example.org"], "path": "/srv/mail" });
    assert_eq!(preview(&mut host, elsewhere).cutover_milliseconds, None);

    let notes: Vec<String> = host.check::<Maildir>(cold()).unwrap().into_iter().map(|finding| finding.text).collect();
    let note =
        "the last pass found 4 changes in 120 ms (2023-11-14 22:13:20 UTC): the cold pass should take about 240 ms";
    assert_eq!(notes.last().map(String::as_str), Some(note));
}

#[test]
fn a_hot_pass_that_was_cut_off_has_measured_nothing() {
    let mut host = host();
    host.comparison("cold").gives(compared(3, 0, 0));
    host.sync("hot").gives(report(3000)).fails(Failure::Unreachable("old went away".into()));
    assert!(host.apply::<Maildir>(json!({ "pass": "hot", "domains": ["example.org"] })).is_err());
    assert_eq!(host.preview::<Maildir>(cold()).unwrap().cutover_milliseconds, None);
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
fn while_dovecot_on_old_is_on_its_way_down_a_pass_brings_what_there_is_and_another_one_follows() {
    let mut host = host();
    let ends = |host: &mut Host, last: &str| {
        host.exec("active", Side::Old)
            .anew()
            .ends(3, "deactivating\n", "")
            .ends(3, "deactivating\n", "")
            .ends(3, last, "");
    };
    ends(&mut host, "inactive\n");
    host.sync("cold").gives(report(0));
    host.apply::<Maildir>(cold()).unwrap();
    let calls: Vec<String> = host.calls().into_iter().filter(|call| !call.ends_with("on new")).collect();
    let look = "exec.active on old";
    assert_eq!(calls, [look, "sync.cold", look, look, "sync.cold"], "what the first one found proves nothing");

    // One that never ends is not taken for stopped.
    let mut host = self::host();
    host.exec("active", Side::Old).anew().ends(3, "deactivating\n", "");
    host.each_takes(1000);
    let why = host.apply::<Maildir>(cold()).unwrap_err().words();
    assert!(why.contains("has not ended within"), "{why}");
    assert_eq!(host.effects(), ["sync.cold"]);
}

#[test]
fn a_cold_pass_refuses_while_old_lets_users_in() {
    let mut host = host();
    host.exec("active", Side::Old).anew().says("active\n");
    host.exec("active", Side::New).anew().says("active\n");
    let why = host.apply::<Maildir>(cold()).unwrap_err().words();
    assert!(why.contains("Dovecot on old"), "{why}");
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn a_dovecot_that_a_reboot_of_new_brought_back_is_stopped_before_the_cold_pass() {
    let mut host = host();
    host.exec("active", Side::New).anew().says("active\n").says("active\n").ends(3, "inactive\n", "");
    host.exec("stop-new", Side::New).says("");
    host.apply::<Maildir>(cold()).unwrap();
    assert_eq!(host.effects(), ["exec.stop-new on new", "sync.cold"]);
    assert!(host.reported()[0].contains("runs again"), "{:?}", host.reported());

    let mut host = self::host();
    host.exec("active", Side::New).anew().says("active\n");
    host.exec("stop-new", Side::New).says("");
    host.each_takes(1000);
    let why = host.apply::<Maildir>(cold()).unwrap_err().words();
    assert!(why.contains("Dovecot on new"), "{why}");
    assert_eq!(host.effects(), ["exec.stop-new on new"]);
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

fn full(pass: &str) -> Value {
    json!({ "pass": pass, "verify": "full" })
}

/// Compared by contents: these examples, and nothing else differs.
fn other_bytes(examples: &[&str]) -> Comparison {
    let examples: Vec<String> = examples.iter().map(|example| example.to_string()).collect();
    Comparison { different: examples.len() as u64, examples, ..compared(0, 0, 0) }
}

#[test]
fn a_message_with_other_bytes_is_told_before_the_cutover_and_is_a_mismatch_after_it() {
    let message = "example.org/john/Maildir/cur/1.a:2,S: content";
    for (pass, severity, says) in [
        ("hot", Severity::Warning, "`rehome apply --again test`"),
        ("cold", Severity::Blocker, "old's files are still there"),
    ] {
        let mut host = host();
        host.exec("active", Side::New).anew().says("active\n");
        host.comparison(pass).gives(other_bytes(&[message, "example.org/john/Maildir/dovecot-uidlist: content"]));
        let found = host.verify::<Maildir>(full(pass)).unwrap();
        assert_eq!(found[0].severity, severity, "{found:?}");
        assert!(found[0].text.ends_with("time: example.org/john/Maildir/cur/1.a:2,S"), "{found:?}");
        assert!(found[0].hint.as_deref().unwrap_or_default().contains(says), "{found:?}");
    }
}

#[test]
fn contents_are_read_by_verify_where_the_plan_says_so_and_never_by_anything_else() {
    let mut host = host();
    host.comparison("cold").gives(compared(0, 0, 0));
    let found = host.verify::<Maildir>(full("cold")).unwrap();
    assert!(found[0].text.ends_with("contents included"), "{found:?}");
    assert_eq!(host.calls(), ["sync.cold compare contents"]);
    host.forget_calls();
    host.verify::<Maildir>(cold()).unwrap();
    host.check::<Maildir>(full("cold")).unwrap();
    host.preview::<Maildir>(full("cold")).unwrap();
    host.apply::<Maildir>(full("cold")).unwrap();
    host.apply::<Maildir>(full("cold")).unwrap();
    assert!(!host.calls().iter().any(|call| call.contains("contents")), "{:?}", host.calls());
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
