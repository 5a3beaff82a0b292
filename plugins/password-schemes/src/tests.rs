//! Unit tests of the phase against the test host. What its statements do to real tables is tried on real servers, in
//! `host/gatekeeper/tests/sql/phases.rs`.

use rehome_sdk::sql::{Column, Description, Rows, Table, Value};
use rehome_sdk::test::Host;
use serde_json::json;

use super::*;

fn described(kind: &str) -> Description {
    let column = Column { name: "password".into(), kind: kind.into(), nullable: false, default: None };
    let table = Table { name: "virtual_users".into(), columns: vec![column] };
    Description { product: "mariadb".into(), version: "10.11.14".into(), tables: vec![table] }
}

fn counted(schemes: &[(&str, i64)]) -> Rows {
    let row = |(scheme, users): &(&str, i64)| vec![Value::from(*scheme), Value::Integer(*users)];
    Rows { columns: vec!["scheme".into(), "users".into()], rows: schemes.iter().map(row).collect() }
}

const MIXED: [(&str, i64); 4] = [("$6$", 1), ("PLAIN-MD5", 2), ("SHA256-CRYPT", 3), ("bare MD5", 12)];
const DONE: [(&str, i64); 3] = [("$6$", 1), ("PLAIN-MD5", 14), ("SHA256-CRYPT", 3)];

/// A mixed table on both sides, in a narrow column on new; the update helps.
fn host() -> Host {
    let mut host = Host::new(requests::MANIFEST);
    host.stage = Stage::Cutover;
    host.schema("accounts", Side::New).gives(described("varchar(32)")).gives(described("varchar(150)"));
    host.query("schemes", Side::Old).gives(counted(&MIXED));
    host.query("schemes", Side::New).gives(counted(&MIXED)).gives(counted(&DONE));
    host.query("bare", Side::New).holds(["email"], &[["jane@example.org"], ["john@example.org"]]);
    host.statement("prefix", Side::New).gives(12);
    host.exec("version", Side::New).says("2.3.19.1 (9b53102964)\n");
    host.exec("known", Side::New).says("SHA1 SHA256-CRYPT CRYPT PLAIN PLAIN-MD5 MD5-CRYPT\n");
    host
}

fn of(found: &[Finding], severity: Severity) -> Vec<&Finding> {
    found.iter().filter(|finding| finding.severity == severity).collect()
}

#[test]
fn bare_hashes_get_their_prefix_once_in_a_column_that_holds_it() {
    let mut host = host();
    host.apply::<PasswordSchemes>(json!({})).unwrap();
    assert_eq!(host.effects(), ["sql.widen on new", "sql.prefix on new"]);
    let said = host.reported();
    assert!(said[0].contains("1 $6$, 2 PLAIN-MD5, 3 SHA256-CRYPT, 12 bare MD5 (18 users)"), "{said:?}");
    assert!(said.last().unwrap().contains("now 1 $6$, 14 PLAIN-MD5, 3 SHA256-CRYPT (18 users)"), "{said:?}");
    host.forget_calls();
    host.apply::<PasswordSchemes>(json!({})).unwrap();
    assert_eq!(host.effects(), Vec::<String>::new());
    assert!(host.preview::<PasswordSchemes>(json!({})).unwrap().changes.is_empty());
}

#[test]
fn preview_says_how_many_and_what_cannot_be_taken_back() {
    let mut host = host();
    let forecast = host.preview::<PasswordSchemes>(json!({})).unwrap();
    assert_eq!(forecast.changes[0].before.as_deref(), Some("varchar(32)"));
    assert!(!forecast.changes[0].reversible);
    assert!(forecast.changes[1].after.contains("14 PLAIN-MD5") && forecast.changes[1].reversible);
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn before_the_copy_preview_says_that_more_will_come() {
    let mut host = host();
    host.query("schemes", Side::New).anew().gives(counted(&[]));
    host.schema("accounts", Side::New).anew().gives(described("varchar(150)"));
    let forecast = host.preview::<PasswordSchemes>(json!({})).unwrap();
    assert!(forecast.changes.is_empty());
    assert_eq!(forecast.not_known_yet, ["12 bare MD5 hashes more, which the copy of the accounts brings"]);
}

#[test]
fn named_domains_are_the_only_ones_asked_for_and_changed() {
    let mut host = host();
    host.query("schemes-of-domains", Side::New).gives(counted(&MIXED)).gives(counted(&DONE));
    host.query("bare-of-domains", Side::New).holds(["email"], &[["john@example.org"]]);
    host.apply::<PasswordSchemes>(json!({ "domains": ["example.org"] })).unwrap();
    assert_eq!(host.effects(), ["sql.widen on new", "sql.prefix-of-domains on new"]);
}

#[test]
fn a_hash_that_is_still_bare_stops_the_phase() {
    let mut host = host();
    host.query("schemes", Side::New).anew().gives(counted(&MIXED));
    let why = host.apply::<PasswordSchemes>(json!({})).unwrap_err().words();
    assert!(why.contains("12 bare MD5 hashes are still there"), "{why}");
}

#[test]
fn verify_finds_a_later_copy_that_brought_bare_hashes_back() {
    let mut host = host();
    host.apply::<PasswordSchemes>(json!({})).unwrap();
    let found = host.verify::<PasswordSchemes>(json!({})).unwrap();
    assert!(of(&found, Severity::Blocker).is_empty() && of(&found, Severity::Warning).is_empty(), "{found:?}");
    assert!(found[0].text.contains("12 bare MD5"), "what was there before: {found:?}");
    host.query("schemes", Side::New).anew().gives(counted(&MIXED));
    let found = host.verify::<PasswordSchemes>(json!({})).unwrap();
    let blockers = of(&found, Severity::Blocker);
    assert!(blockers[0].text.contains("12 users have bare MD5 hashes"), "{found:?}");
    assert_eq!(blockers[0].hint.as_deref().map(|hint| hint.contains("rehome apply --again test")), Some(true));
}

#[test]
fn dovecot_2_4_is_a_blocker_until_it_is_told_to_allow_weak_schemes() {
    let mut host = host();
    host.exec("version", Side::New).anew().says("2.4.1-4 (7d8c0e5759)\n");
    host.exec("weak", Side::New).says("no\n").says("yes\n");
    let found = host.check::<PasswordSchemes>(json!({})).unwrap();
    let blockers = of(&found, Severity::Blocker);
    assert!(blockers[0].text.contains("PLAIN-MD5 of 14 users cannot log in"), "{found:?}");
    assert!(blockers[0].hint.as_deref().unwrap().contains("auth_allow_weak_schemes = yes"));
    let found = host.check::<PasswordSchemes>(json!({})).unwrap();
    assert!(of(&found, Severity::Blocker).is_empty(), "{found:?}");
}

#[test]
fn dovecot_2_3_is_not_asked_for_a_setting_it_does_not_have() {
    let mut host = host();
    let found = host.check::<PasswordSchemes>(json!({})).unwrap();
    assert!(of(&found, Severity::Blocker).is_empty(), "{found:?}");
    assert!(!host.calls().iter().any(|call| call.starts_with("exec.weak")));
}

#[test]
fn schemes_that_new_does_not_know_are_named_with_their_users() {
    let mut host = host();
    host.query("schemes", Side::Old).anew().gives(counted(&[
        ("SSHA.HEX", 2),
        ("SHA1.HEX", 1),
        ("empty", 1),
        ("unnamed", 4),
    ]));
    let found = host.check::<PasswordSchemes>(json!({})).unwrap();
    let warnings: Vec<String> =
        of(&found, Severity::Warning).iter().map(|found| format!("{}: {}", found.subject, found.text)).collect();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings.iter().any(|line| line.starts_with("password scheme SSHA.HEX: ") && line.contains("2 users")));
    assert!(warnings.iter().any(|line| line.contains("passwords of 4 users have no scheme's name")), "{warnings:?}");
}

#[test]
fn undo_names_only_those_that_this_phase_changed() {
    let mut host = host();
    let bare: Vec<[String; 1]> = (0..12).map(|n| [format!("user{n:02}@example.org")]).collect();
    let rows = bare.iter().map(|[email]| vec![Value::from(email.as_str())]).collect();
    host.query("bare", Side::New).anew().gives(Rows { columns: vec!["email".into()], rows });
    host.statement("strip", Side::New).gives(10).gives(2);
    host.apply::<PasswordSchemes>(json!({})).unwrap();
    host.forget_calls();
    host.undo::<PasswordSchemes>(json!({})).unwrap();
    assert_eq!(host.effects().len(), 2, "{:?}", host.effects());
    assert!(
        host.reported().iter().any(|line| line.contains("took {PLAIN-MD5} off 12 hashes")),
        "{:?}",
        host.reported()
    );
    host.forget_calls();
    host.undo::<PasswordSchemes>(json!({})).unwrap();
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn undo_of_a_phase_that_changed_nothing_changes_nothing() {
    let mut host = host();
    host.query("schemes", Side::New).anew().gives(counted(&DONE));
    host.apply::<PasswordSchemes>(json!({})).unwrap();
    host.undo::<PasswordSchemes>(json!({})).unwrap();
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn a_database_that_is_not_the_guides_is_a_blocker() {
    let mut host = host();
    host.schema("accounts", Side::New).anew().gives(Description { product: "sqlite".into(), ..described("TEXT") });
    let found = host.check::<PasswordSchemes>(json!({})).unwrap();
    assert!(found[0].severity == Severity::Blocker && found[0].text.contains("sqlite"), "{found:?}");
}
