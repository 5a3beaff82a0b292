//! `apply` and `undo`: what is done, in which order, and what is not done twice.

use super::*;

pub(super) const WHOLE: [&str; 6] = [
    "snapshot.target on new",
    "sql.clear-newer on new",
    "copy.whole",
    "exec.update on new",
    "sql.keep-former on new: old.example, new.example",
    "sql.set-host on new: new.example, old.example",
];

#[test]
fn a_snapshot_comes_first_then_the_tables_the_update_script_and_the_name_of_the_server() {
    let mut host = host();
    host.apply::<Roundcube>(json!({})).unwrap();
    assert_eq!(host.effects(), WHOLE);
    assert!(said(&host, "from version 2019092900 to 2022081200"), "{:?}", host.reported());
    assert!(said(&host, "2 users, 7 contacts in 2 groups, 2 identities"), "{:?}", host.reported());
}

#[test]
fn apply_again_copies_nothing_twice_within_a_run() {
    let mut host = host();
    host.query("sums", Side::New).anew().fails(Failure::Other(Tool {
        request: "sql.sums".into(),
        status: None,
        diagnostic: "no such statement".into(),
    }));
    host.apply::<Roundcube>(json!({})).unwrap();
    host.forget_calls();
    host.apply::<Roundcube>(json!({})).unwrap();
    assert_eq!(host.effects(), WHOLE[4..], "what may be written twice, and nothing else");
}

#[test]
fn a_copy_that_was_cut_off_is_made_anew() {
    let mut host = host();
    let lost = Failure::Unreachable("new went away".into());
    let copied = rehome_sdk::sql::Copied { tables: vec![("users".into(), 2)], milliseconds: 12 };
    host.copy("whole").fails(lost).gives(copied);
    host.query("version", Side::New).anew().gives(version(NEWER)).gives(version(OLDER)).gives(version(NEWER));
    assert!(host.apply::<Roundcube>(json!({})).is_err());
    host.forget_calls();
    let mut host = again(host, &[JANE, JOHN], &[moved(JANE), moved(JOHN)]);
    host.query("version", Side::New).anew().gives(version(OLDER)).gives(version(NEWER));
    host.apply::<Roundcube>(json!({})).unwrap();
    assert_eq!(host.effects(), WHOLE[1..]);
}

#[test]
fn a_script_that_was_cut_off_cannot_go_on_and_the_tables_are_copied_anew() {
    let mut host = host();
    host.exec("update", Side::New).fails(Failure::Unreachable("new went away".into())).says("");
    assert!(host.apply::<Roundcube>(json!({})).is_err());
    host.forget_calls();
    host.query("version", Side::New).anew().gives(version(OLDER)).gives(version(NEWER));
    host.apply::<Roundcube>(json!({})).unwrap();
    assert_eq!(host.effects(), WHOLE[1..]);
}

#[test]
fn a_second_run_copies_again_and_keeps_the_first_snapshot() {
    let mut host = host();
    host.apply::<Roundcube>(json!({})).unwrap();
    host.forget_calls();
    host.run = 2;
    host.query("version", Side::New).anew().gives(version(OLDER)).gives(version(NEWER));
    host.apply::<Roundcube>(json!({})).unwrap();
    assert_eq!(host.effects(), WHOLE[1..]);
}

#[test]
fn tables_of_the_same_version_need_no_script() {
    let mut host = host();
    host.query("version", Side::Old).anew().gives(version(NEWER));
    host.query("version", Side::New).anew().gives(version(NEWER));
    host.apply::<Roundcube>(json!({})).unwrap();
    assert!(!host.effects().contains(&"exec.update on new".to_string()), "{:?}", host.effects());
}

#[test]
fn the_script_is_told_of_tables_that_are_older_than_it_would_take_them_for() {
    let mut host = host();
    let mut ancient = described(&[]);
    ancient.tables.retain(|table| table.name != "system");
    let alias = Column { name: "alias".into(), ..ancient.tables[0].columns[0].clone() };
    ancient.tables[0].columns.push(alias);
    let newest = described(&[]);
    host.schema("webmail", Side::Old).anew().gives(ancient.clone());
    host.schema("webmail", Side::New).anew().gives(newest.clone()).gives(ancient).gives(newest);
    host.query("version", Side::New).anew().gives(version(NEWER));
    host.apply::<Roundcube>(json!({})).unwrap();
    assert_eq!(host.effects()[3], "exec.update-from-0-7 on new");
}

#[test]
fn a_script_that_leaves_the_tables_as_they_are_stops_the_phase_with_its_words() {
    let mut host = host();
    host.query("version", Side::New).anew().gives(version(NEWER)).gives(version(OLDER));
    host.exec("update", Side::New).ends(0, "", "ERROR: Error in DDL upgrade 2020020101");
    let why = host.apply::<Roundcube>(json!({})).unwrap_err().words();
    assert!(why.contains("version 2019092900") && why.contains("2022081200") && why.contains("Error in DDL"), "{why}");
    assert!(!host.effects().iter().any(|call| call.starts_with("sql.set-host")), "{:?}", host.effects());
}

#[test]
fn a_script_that_fails_stops_the_phase_with_its_words() {
    let mut host = host();
    host.exec("update", Side::New).ends(255, "", "PHP Fatal error: Uncaught Error: Class not found");
    let why = host.apply::<Roundcube>(json!({})).unwrap_err().words();
    assert!(why.contains("Class not found"), "{why}");
}

#[test]
fn an_entry_from_long_ago_makes_room_for_the_one_in_use() {
    let mut host = host();
    let former: User<'_> = ("john@example.org", "new.example", "2019-01-01 00:00:00", 1);
    host.query("ledger", Side::Old).anew().gives(users(&[JANE, JOHN, former]));
    let kept: User<'_> = ("john@example.org", "new.example.former", "2019-01-01 00:00:00", 1);
    host.query("ledger", Side::New).anew().gives(users(&[])).gives(users(&[moved(JANE), moved(JOHN), kept]));
    host.statement("keep-former", Side::New).gives(1);
    let found = of(&host.check::<Roundcube>(json!({})).unwrap(), Severity::Warning);
    assert!(found[0].contains("john@example.org") && found[0].contains("new.example.former"), "{found:?}");
    let mut host = again(host, &[JANE, JOHN, former], &[moved(JANE), moved(JOHN), kept]);
    host.apply::<Roundcube>(json!({})).unwrap();
    let effects = host.effects();
    let place = |name: &str| effects.iter().position(|call| call.starts_with(name));
    assert!(place("sql.keep-former").unwrap() < place("sql.set-host").unwrap(), "{effects:?}");
    assert!(said(&host, "1 user kept as new.example.former"), "{:?}", host.reported());
}

/// The same with new as it was before anything, then as `after`.
fn again(mut host: Host, old: &[User<'_>], after: &[User<'_>]) -> Host {
    host.query("ledger", Side::Old).anew().gives(users(old));
    host.query("ledger", Side::New).anew().gives(users(&[])).gives(users(after));
    host.query("version", Side::New).anew().gives(version(NEWER)).gives(version(OLDER)).gives(version(NEWER));
    host
}

#[test]
fn a_user_without_her_contacts_on_new_stops_the_cutover_and_is_a_warning_while_old_is_in_use() {
    let fewer = ("john@example.org", "new.example", JOHN.2, 4);
    let mut host = again(host(), &[JANE, JOHN], &[moved(JANE), fewer]);
    host.apply::<Roundcube>(json!({})).unwrap();
    assert!(said(&host, "john@example.org: 5 contacts on old, 4 on new"), "{:?}", host.reported());
    let mut host = again(super::host(), &[JANE, JOHN], &[moved(JANE), fewer]);
    host.stage = Stage::Cutover;
    let why = host.apply::<Roundcube>(json!({})).unwrap_err().words();
    assert!(why.contains("john@example.org: 5 contacts on old, 4 on new"), "{why}");
}

#[test]
fn nobody_is_copied_where_nobody_has_used_webmail() {
    let mut host = again(host(), &[], &[]);
    host.apply::<Roundcube>(json!({})).unwrap();
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn users_of_some_domains_come_as_rows_and_no_table_is_replaced() {
    let mut host = merging();
    host.apply::<Roundcube>(named()).unwrap();
    assert_eq!(host.effects()[..4], ["snapshot.target on new", "copy.people", "copy.files", "copy.recent"]);
    assert_eq!(
        host.effects()[4..6],
        [
            "sql.keep-former-of-domains on new: old.example, new.example",
            "sql.set-host-of-domains on new: new.example, old.example"
        ]
    );
    host.forget_calls();
    host.apply::<Roundcube>(named()).unwrap();
    assert!(!host.effects().iter().any(|call| call.starts_with("copy.")), "{:?}", host.effects());
}

#[test]
fn tables_that_only_one_side_has_are_left_out_of_the_rows() {
    let mut host = merging();
    host.schema("webmail", Side::Old).anew().gives(described(&[]));
    host.apply::<Roundcube>(named()).unwrap();
    assert!(!host.effects().contains(&"copy.recent".to_string()), "{:?}", host.effects());
}

#[test]
fn undo_puts_new_back_as_it_was_and_the_next_run_copies_again() {
    let mut host = host();
    host.apply::<Roundcube>(json!({})).unwrap();
    host.forget_calls();
    host.undo::<Roundcube>(json!({})).unwrap();
    assert_eq!(host.effects(), ["snapshot.target on new restore: s1"]);
    host.forget_calls();
    host.undo::<Roundcube>(json!({})).unwrap();
    assert_eq!(host.effects(), Vec::<String>::new());
    let mut host = again(host, &[JANE, JOHN], &[moved(JANE), moved(JOHN)]);
    host.apply::<Roundcube>(json!({})).unwrap();
    assert_eq!(host.effects(), WHOLE);
}

#[test]
fn undo_of_some_domains_takes_their_users_off_and_leaves_the_others_alone() {
    let mut host = merging();
    host.apply::<Roundcube>(named()).unwrap();
    host.forget_calls();
    host.undo::<Roundcube>(named()).unwrap();
    assert_eq!(host.effects(), ["sql.remove-users on new"]);
}
