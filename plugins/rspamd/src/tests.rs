//! The phase against scripted sides. What rspamd and Redis really do is for the tests in the lab.

use rehome_sdk::dns::{Answer, Rrset};
use rehome_sdk::files::{Comparison, Entry, Kind};
use rehome_sdk::redis::{Differences, Tally};
use rehome_sdk::test::Host;
use serde_json::{Value, json};

use super::*;

mod alike;
mod checks;

/// The public half of a key, and the TXT record that goes with it.
const PEM: &str = "-----BEGIN PUBLIC KEY-----\nAQIDBAUGBwgJ\nCgsMDQ4PEA==\n-----END PUBLIC KEY-----\n";
const RECORD: &str = "\"v=DKIM1; k=rsa; p=AQIDBAUGBwgJ\" \"CgsMDQ4PEA==\"";
const OTHER: &str = "\"v=DKIM1; k=rsa; p=AAAA\"";

fn key(name: &str) -> Entry {
    Entry {
        path: name.as_bytes().to_vec(),
        kind: Kind::File,
        size: 1704,
        modified: 1_700_000_000,
        mode: 0o440,
        owner: "_rspamd".into(),
        links: 1,
    }
}

fn compared(missing: u64, different: u64) -> Comparison {
    let example = |what: &str| format!("example.org.2024.key: {what}");
    let examples = (0..missing).map(|_| example("missing on the target"));
    let examples = examples.chain((0..different).map(|_| example("owner (should be _rspamd:_rspamd)"))).collect();
    Comparison { examined: 1, missing, missing_bytes: missing * 1704, extra: 0, different, examples }
}

fn differences(equal: u64, only_old: u64, different: u64) -> Differences {
    Differences { equal, only_old, only_new: 0, different }
}

fn stat(ham: u64, spam: u64) -> String {
    let class = |symbol: &str, count: u64| json!({ "symbol": symbol, "revision": count, "type": "redis" });
    let stat = json!({ "version": "2.7", "statfiles": [class("BAYES_SPAM", spam), class("BAYES_HAM", ham)] });
    format!("Results for command: stat (0.000 seconds)\n{stat:#}\n")
}

fn signing(more: Value) -> String {
    let mut settings = json!({
        "selector": "dkim",
        "path": "/var/lib/rspamd/dkim/$domain.$selector.key",
        "selector_map": "/etc/rspamd/dkim_selectors.map"
    });
    for (name, value) in more.as_object().unwrap() {
        settings[name] = value.clone();
    }
    settings.to_string()
}

fn answers(record: Option<&str>) -> Vec<Answer> {
    let rrset = record.map(|record| Rrset {
        owner: "2024._domainkey.example.org.".into(),
        kind: "TXT".into(),
        ttl: 3600,
        data: vec![record.into()],
    });
    vec![Answer { server: "ns1 (192.0.2.53)".into(), serial: 1, rrset }]
}

/// Both sides in good order: old is trained and signs for one domain, new has the same already.
fn host() -> Host {
    let mut host = Host::new(requests::MANIFEST);
    for side in SIDES {
        host.exec("running", side).says("active");
        host.exec("classifier", side).says(r#"{"bayes": {"backend": "redis"}}"#);
        host.exec("redis", side).says(r#"{"servers": "127.0.0.1:6379"}"#);
        host.exec("signing", side).says(&signing(json!({})));
        host.exec("stat", side).says(&stat(25, 25));
        host.exec("selectors", side).says("# ours\nexample.org\t2024\n");
        host.exec("public", side).says(PEM);
        host.list("keys", side).gives(vec![key("example.org.2024.key")]);
    }
    host.exec("sound", Side::New).says("syntax OK");
    host.exec("dovecot", Side::New).ends(3, "inactive", "");
    host.redis_version("learned", Side::Old).gives("6.0.16".into());
    host.redis_version("learned", Side::New).gives("7.0.15".into());
    host.redis_count("learned", Side::Old).gives(vec![Tally { pattern: "RS*".into(), keys: 4400 }]);
    host.redis_count("learned", Side::New).gives(vec![Tally { pattern: "RS*".into(), keys: 4400 }]);
    host.redis_difference("learned").gives(differences(4400, 0, 0));
    host.redis_difference("passing").gives(differences(20, 0, 0));
    host.comparison("keys").gives(compared(0, 0));
    host.comparison("owners").gives(compared(0, 0));
    host.query("domains", Side::Old).holds(["name"], &[["example.org"]]);
    host.lookup("published").gives(answers(Some(RECORD)));
    host
}

/// What `check` says from this severity on, as "subject: text".
fn troubles(host: &mut Host, config: Value) -> Vec<(Severity, String)> {
    let found = host.check::<Rspamd>(config).unwrap();
    let bad = found.into_iter().filter(|finding| matches!(finding.severity, Severity::Warning | Severity::Blocker));
    bad.map(|finding| (finding.severity, format!("{}: {}", finding.subject, finding.text))).collect()
}

fn only_blocker(host: &mut Host) -> String {
    match troubles(host, json!({})).as_slice() {
        [(Severity::Blocker, text)] => text.clone(),
        others => panic!("{others:?}"),
    }
}

#[test]
fn sides_in_good_order_have_no_trouble_and_nothing_left_to_do() {
    let mut host = host();
    assert_eq!(troubles(&mut host, json!({})), []);
    let forecast = host.preview::<Rspamd>(json!({})).unwrap();
    assert!(forecast.changes.is_empty(), "{:?}", forecast.changes);
    let found = host.verify::<Rspamd>(json!({})).unwrap();
    assert!(found.iter().all(|finding| finding.severity == Severity::Ok), "{found:?}");
    assert_eq!(host.effects(), Vec::<String>::new());
}

/// New as it is after a fresh installation.
fn fresh() -> Host {
    let mut host = host();
    host.list("keys", Side::New).anew().gives(vec![]);
    host.comparison("owners").anew().gives(compared(1, 0)).gives(compared(0, 0));
    host.exec("selectors", Side::New).anew().says("own.example own\n").says("own.example own\nexample.org 2024\n");
    host
}

#[test]
fn apply_brings_keys_selectors_and_training_and_reloads_last() {
    let mut host = fresh();
    let five = || differences(0, 5, 0);
    host.redis_difference("learned").anew().gives(five()).gives(differences(3, 2, 0)).gives(differences(5, 0, 0));
    host.redis_difference("passing").anew().gives(five()).gives(differences(5, 0, 0));
    host.apply::<Rspamd>(json!({})).unwrap();
    assert_eq!(
        host.effects(),
        [
            "sync.keys",
            "sync.owners",
            "file.selector-map on new put",
            "redis-copy.learned",
            "redis-copy.learned",
            "redis-copy.passing",
            "exec.reload on new"
        ]
    );
}

#[test]
fn old_that_goes_on_learning_does_not_keep_a_pass_from_ending() {
    let mut host = host();
    host.redis_difference("learned").anew().gives(differences(100, 0, 1));
    host.apply::<Rspamd>(json!({})).unwrap();
    assert_eq!(host.effects().iter().filter(|effect| *effect == "redis-copy.learned").count(), 3);
    assert!(host.reported().iter().any(|line| line.contains("goes on learning")), "{:?}", host.reported());
}

#[test]
fn a_key_that_rspamd_could_not_read_stops_the_phase() {
    let mut host = host();
    host.comparison("owners").anew().gives(compared(0, 1));
    let why = host.apply::<Rspamd>(json!({})).unwrap_err().words();
    assert!(why.contains("owner (should be _rspamd:_rspamd)"), "{why}");
}

#[test]
fn a_rspamd_that_does_not_come_back_is_named() {
    let mut host = host();
    host.exec("running", Side::New).anew().ends(3, "failed", "");
    assert!(host.apply::<Rspamd>(json!({})).unwrap_err().words().contains("rspamd on new"));
    host.redis_difference("passing").anew().gives(differences(9, 1, 0));
    assert!(host.apply::<Rspamd>(json!({})).unwrap_err().words().contains("after it was reloaded"));
}

#[test]
fn preview_says_what_undo_cannot_take_back() {
    let mut host = host();
    host.stage = Stage::Cutover;
    host.comparison("keys").anew().gives(compared(0, 1));
    host.redis_difference("learned").anew().gives(differences(10, 2, 1));
    let forecast = host.preview::<Rspamd>(json!({})).unwrap();
    let not_back: Vec<&str> = forecast.changes.iter().filter(|c| !c.reversible).map(|c| c.after.as_str()).collect();
    assert_eq!(not_back.len(), 2, "{not_back:?}");
    assert!(not_back[0].contains("kept aside") && not_back[1].contains("does not carry it to old"));
    assert!(forecast.changes.iter().any(|change| change.reversible && change.after == "3 keys more from old"));
}

#[test]
fn differences_are_a_warning_while_old_learns_and_a_mismatch_once_it_is_over() {
    let worst = |host: &mut Host| {
        let found = host.verify::<Rspamd>(json!({})).unwrap();
        let blocks = found.iter().any(|finding| finding.severity == Severity::Blocker);
        let warns = found.iter().any(|finding| finding.severity == Severity::Warning);
        if blocks {
            "blocker"
        } else if warns {
            "warning"
        } else {
            "ok"
        }
    };
    let mut host = host();
    host.apply::<Rspamd>(json!({})).unwrap();
    host.redis_difference("learned").anew().gives(differences(4399, 1, 0));
    assert_eq!(worst(&mut host), "warning");

    host.stage = Stage::Cutover;
    assert_eq!(worst(&mut host), "blocker", "nothing was learned since, and a key is missing");
    host.exec("stat", Side::Old).anew().says(&stat(26, 25));
    assert_eq!(worst(&mut host), "warning", "old has learned of mail that still arrives there");

    host.exec("dovecot", Side::New).anew().says("active");
    host.exec("stat", Side::New).anew().says(&stat(27, 25));
    assert_eq!(worst(&mut host), "ok", "users teach new");
    host.exec("stat", Side::New).anew().says(&stat(2, 0));
    assert_eq!(worst(&mut host), "blocker", "what was copied is gone");
}

#[test]
fn rspamd_is_late_with_its_counts_and_is_waited_for() {
    let mut host = host();
    host.exec("stat", Side::New)
        .anew()
        .says(&stat(0, 0))
        .ends(1, "", "Connection refused")
        .says(&stat(0, 25))
        .says(&stat(25, 25));
    let before = host.now();
    let found = host.verify::<Rspamd>(json!({})).unwrap();
    assert!(found.iter().all(|finding| finding.severity == Severity::Ok), "{found:?}");
    assert_eq!(host.now() - before, 15);
}

#[test]
fn a_pass_before_the_last_one_is_compared_no_more() {
    let mut host = host();
    host.stage = Stage::Cutover;
    host.apply::<Rspamd>(json!({})).unwrap();
    host.stage = Stage::Copy;
    host.redis_difference("learned").anew().gives(differences(1, 9, 9));
    assert_eq!(host.verify::<Rspamd>(json!({})).unwrap().len(), 1);
    host.undo::<Rspamd>(json!({})).unwrap();
    assert!(host.verify::<Rspamd>(json!({})).unwrap().len() > 1);
}

#[test]
fn lines_of_the_map_that_say_something_else_are_told_and_not_guessed() {
    let mut host = host();
    host.exec("selectors", Side::Old).anew().says("example.org 2024\nexample.net 2024 # new\n");
    host.apply::<Rspamd>(json!({})).unwrap();
    assert!(host.reported().iter().any(|line| line.contains("example.net 2024 # new")), "{:?}", host.reported());
    let found = host.verify::<Rspamd>(json!({})).unwrap();
    assert!(found.iter().any(|finding| finding.text.contains("example.net 2024 # new")), "{found:?}");
}

#[test]
fn undo_moves_keys_away_where_new_had_none_and_leaves_them_where_it_had() {
    let mut host = fresh();
    host.apply::<Rspamd>(json!({})).unwrap();
    host.forget_calls();
    host.undo::<Rspamd>(json!({})).unwrap();
    let back = ["redis-copy.learned restore", "redis-copy.passing restore", "file.selector-map on new restore"];
    let away = ["aside.keys on new: ", "exec.reload on new"];
    assert_eq!(host.effects(), [back.as_slice(), away.as_slice()].concat());
    host.forget_calls();
    host.undo::<Rspamd>(json!({})).unwrap();
    assert!(!host.effects().contains(&"aside.keys on new: ".to_string()), "there is nothing left to move");

    let mut host = self::host();
    host.list("keys", Side::New)
        .anew()
        .gives(vec![key("own.key")])
        .gives(vec![key("own.key"), key("example.org.2024.key")]);
    host.apply::<Rspamd>(json!({})).unwrap();
    host.forget_calls();
    host.undo::<Rspamd>(json!({})).unwrap();
    assert!(!host.effects().iter().any(|effect| effect.starts_with("aside")), "{:?}", host.effects());
    assert!(
        host.reported().iter().any(|line| line.ends_with("those it had: example.org.2024.key")),
        "{:?}",
        host.reported()
    );
}

#[test]
fn a_server_without_keys_has_its_training_moved_all_the_same() {
    let mut host = host();
    host.list("keys", Side::Old).anew().fails(Failure::NotFound("no such folder".into()));
    for side in SIDES {
        host.exec("signing", side).anew().says("Section dkim_signing NOT FOUND");
    }
    assert_eq!(troubles(&mut host, json!({})), []);
    host.redis_difference("learned").anew().gives(differences(0, 9, 0)).gives(differences(9, 0, 0));
    host.redis_difference("passing").anew().gives(differences(0, 9, 0));
    host.apply::<Rspamd>(json!({})).unwrap();
    assert_eq!(host.effects(), ["redis-copy.learned", "redis-copy.passing", "exec.reload on new"]);
}
