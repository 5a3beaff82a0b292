//! Unit tests of the phase against the test host.

use rehome_sdk::sql::{Column, Description, Table};
use rehome_sdk::test::Host;
use serde_json::json;

use super::*;

fn described(with_quota: bool, password: &str) -> Description {
    let column =
        |name: &str, kind: &str| Column { name: name.into(), kind: kind.into(), nullable: false, default: None };
    let table = |name: &str, columns: Vec<Column>| Table { name: name.into(), columns };
    let mut users = vec![
        column("id", "int(11)"),
        column("domain_id", "int(11)"),
        column("email", "varchar(100)"),
        column("password", password),
    ];
    if with_quota {
        users.push(column("quota", "bigint(11)"));
    }
    let aliases = ["id", "domain_id", "source", "destination"].map(|name| column(name, "varchar(100)")).to_vec();
    Description {
        product: "mariadb".into(),
        version: "10.5.29".into(),
        tables: vec![
            table("virtual_domains", vec![column("id", "int(11)"), column("name", "varchar(50)")]),
            table("virtual_users", users),
            table("virtual_aliases", aliases),
        ],
    }
}

fn difference(table: &str, old_rows: u64, new_rows: u64) -> Difference {
    Difference { table: table.into(), old_rows, new_rows, equal: old_rows == new_rows }
}

/// Old has one domain, new has `new_domains`; the copy `copy` finds a difference once, then none.
fn host(new_domains: &[[&str; 1]], copy: &str) -> Host {
    let mut host = Host::new(requests::MANIFEST);
    host.schema("accounts", Side::Old).gives(described(true, "varchar(150)"));
    host.schema("accounts", Side::New).gives(described(true, "varchar(150)"));
    host.query("domains", Side::Old).holds(["name"], &[["example.org"]]);
    host.query("domains", Side::New).holds(["name"], new_domains);
    host.difference(copy).gives(vec![difference("virtual_users", 30, 0)]).gives(vec![difference(
        "virtual_users",
        30,
        30,
    )]);
    host.snapshot("target", Side::New).gives("s1".into());
    host
}

#[test]
fn the_cutover_is_expected_to_take_a_look_or_what_the_copy_took() {
    let mut host = host(&[], "accounts");
    host.stage = Stage::Cutover;
    host.difference("accounts").anew().gives(vec![difference("virtual_users", 30, 0)]);
    assert_eq!(host.preview::<Database>(json!({})).unwrap().cutover_milliseconds, None, "it was never copied");
    host.each_takes(100);
    let differ = || vec![difference("virtual_users", 30, 29)];
    let alike = || vec![difference("virtual_users", 30, 30)];
    host.difference("accounts").anew().gives(differ()).gives(alike()).gives(differ()).gives(alike());
    host.apply::<Database>(json!({})).unwrap();
    host.each_takes(10);
    let copying = host.preview::<Database>(json!({})).unwrap().cutover_milliseconds;
    assert!(copying.is_some_and(|took| took >= 500), "{copying:?}");
    assert_eq!(
        host.preview::<Database>(json!({})).unwrap().cutover_milliseconds,
        Some(30),
        "two schemas, one comparison"
    );
    host.stage = Stage::Copy;
    assert_eq!(host.preview::<Database>(json!({})).unwrap().cutover_milliseconds, None);
}

#[test]
fn a_snapshot_comes_before_the_copy_and_a_second_apply_does_nothing() {
    let mut host = host(&[], "accounts");
    host.apply::<Database>(json!({})).unwrap();
    assert_eq!(host.effects(), ["snapshot.target on new", "copy.accounts"]);
    host.forget_calls();
    host.apply::<Database>(json!({})).unwrap();
    assert_eq!(host.effects(), Vec::<String>::new());
    assert!(host.preview::<Database>(json!({})).unwrap().changes.is_empty());
}

#[test]
fn preview_shows_the_rows_of_each_table_and_changes_nothing() {
    let mut host = host(&[], "accounts");
    let changes = host.preview::<Database>(json!({})).unwrap().changes;
    assert_eq!(changes[0].subject, "virtual_users on new");
    assert_eq!(changes[0].before.as_deref(), Some("0 rows"));
    assert_eq!(changes[0].after, "30 rows, as on old");
    assert!(changes[0].reversible);
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn a_side_without_quota_takes_the_copy_without_it() {
    let mut host = host(&[], "accounts-without-quota");
    host.schema("accounts", Side::Old).anew().gives(described(false, "varchar(150)"));
    host.apply::<Database>(json!({})).unwrap();
    assert_eq!(host.effects(), ["snapshot.target on new", "copy.accounts-without-quota"]);
    let found = host.check::<Database>(json!({})).unwrap();
    assert!(found.iter().any(|f| f.severity == Severity::Note && f.subject == "virtual_users.quota"), "{found:?}");
}

#[test]
fn a_domain_that_only_new_has_is_never_deleted() {
    let mut host = host(&[["example.org"], ["other.example"]], "accounts");
    let found = host.check::<Database>(json!({})).unwrap();
    assert!(found.iter().any(|f| f.severity == Severity::Blocker && f.subject == "domain other.example on new"));
    assert!(matches!(host.apply::<Database>(json!({})), Err(Failure::Stopped(_))));
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn named_domains_are_copied_beside_what_only_new_has() {
    let mut host = host(&[["example.org"], ["other.example"]], "accounts-of-domains");
    host.apply::<Database>(json!({ "domains": ["example.org"] })).unwrap();
    assert_eq!(host.effects(), ["snapshot.target on new", "copy.accounts-of-domains"]);
}

#[test]
fn a_domain_that_an_earlier_copy_brought_may_go() {
    let mut host = host(&[["example.org"], ["gone.example"]], "accounts");
    host.remember("copied-domains", "1");
    host.remember("copied-domains/0", "example.org\ngone.example");
    host.apply::<Database>(json!({})).unwrap();
}

#[test]
fn an_empty_database_on_old_copies_nothing() {
    let mut host = host(&[["example.org"]], "accounts");
    host.query("domains", Side::Old).anew().holds(["name"], &[]);
    assert!(matches!(host.apply::<Database>(json!({})), Err(Failure::Stopped(_))));
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn a_copy_that_still_differs_is_repeated_and_then_stops() {
    let mut host = host(&[], "accounts");
    host.difference("accounts").anew().gives(vec![difference("virtual_users", 30, 29)]);
    let why = host.apply::<Database>(json!({})).unwrap_err().words();
    assert!(why.contains("30 rows on old, 29 on new"), "{why}");
    assert_eq!(host.effects().iter().filter(|call| *call == "copy.accounts").count(), 3);
}

#[test]
fn a_shorter_password_column_on_new_is_a_blocker() {
    let mut host = host(&[], "accounts");
    host.schema("accounts", Side::New).anew().gives(described(true, "varchar(32)"));
    let found = host.check::<Database>(json!({})).unwrap();
    assert!(
        found.iter().any(|f| f.severity == Severity::Blocker && f.subject == "virtual_users.password"),
        "{found:?}"
    );
}

#[test]
fn a_refused_login_is_a_blocker_with_the_servers_words() {
    let mut host = host(&[], "accounts");
    let refused = rehome_sdk::Tool {
        request: "schema.accounts".into(),
        status: None,
        diagnostic: "1698 (28000): Access denied for user 'root'@'localhost'\nhint: give the plan a login".into(),
    };
    host.schema("accounts", Side::Old).anew().fails(Failure::EndedBadly(refused));
    let found = host.check::<Database>(json!({})).unwrap();
    assert_eq!(found[0].subject, "database mailserver on old");
    assert!(found[0].text.contains("Access denied") && !found[0].text.contains("hint"), "{}", found[0].text);
    assert_eq!(found[0].hint.as_deref(), Some("give the plan a login"));
}

#[test]
fn undo_puts_the_first_snapshot_back() {
    let mut host = host(&[], "accounts");
    host.apply::<Database>(json!({})).unwrap();
    host.forget_calls();
    host.undo::<Database>(json!({})).unwrap();
    assert_eq!(host.effects(), ["snapshot.target on new restore: s1"]);
    host.forget_calls();
    host.undo::<Database>(json!({})).unwrap();
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn undo_of_named_domains_leaves_the_others_alone() {
    let mut host = host(&[["other.example"]], "accounts-of-domains");
    let config = json!({ "domains": ["example.org"] });
    host.apply::<Database>(config.clone()).unwrap();
    host.forget_calls();
    host.undo::<Database>(config).unwrap();
    assert_eq!(host.effects(), ["sql.remove-aliases on new", "sql.remove-users on new", "sql.remove-domains on new"]);
}

#[test]
fn verify_takes_a_difference_seriously_once_mail_has_stopped() {
    let mut host = host(&[], "accounts");
    host.difference("accounts").anew().gives(vec![difference("virtual_users", 30, 29)]);
    assert_eq!(host.verify::<Database>(json!({})).unwrap()[0].severity, Severity::Warning);
    host.stage = Stage::Cutover;
    assert_eq!(host.verify::<Database>(json!({})).unwrap()[0].severity, Severity::Blocker);
}
