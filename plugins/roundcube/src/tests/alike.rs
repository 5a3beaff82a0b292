//! The copy of the cutover: nothing is done where neither side has changed since the first one, and all of it where one has.

use super::copies::WHOLE;
use super::*;

/// After the copy ahead; the phase of the cutover comes next.
fn copied() -> Host {
    let mut host = host();
    host.apply::<Roundcube>(json!({})).unwrap();
    host.forget_calls();
    host.phase = "webmail-again".into();
    host.stage = Stage::Cutover;
    host
}

fn sum(host: &mut Host, side: Side, of: &str) {
    host.query("sums", side).anew().holds(["Table", "Checksum"], &[["roundcube.users", of]]);
}

/// As the copy brings old's tables, and the script those of new.
fn works_again(host: &mut Host) {
    host.query("version", Side::New).anew().gives(version(NEWER)).gives(version(OLDER)).gives(version(NEWER));
}

#[test]
fn where_nothing_has_changed_nothing_is_copied_and_no_script_runs() {
    let mut host = copied();
    assert!(host.preview::<Roundcube>(json!({})).unwrap().changes.is_empty());
    host.forget_calls();
    host.apply::<Roundcube>(json!({})).unwrap();
    assert_eq!(host.effects(), Vec::<String>::new());
    assert!(said(&host, "nothing to copy"), "{:?}", host.reported());
    // Undo of a phase that has done nothing puts nothing back.
    host.undo::<Roundcube>(json!({})).unwrap();
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn what_no_count_shows_shows_in_a_sum() {
    for side in SIDES {
        let mut host = copied();
        sum(&mut host, side, "2");
        works_again(&mut host);
        host.apply::<Roundcube>(json!({})).unwrap();
        assert_eq!(host.effects(), WHOLE, "{side} has changed");
    }
}

#[test]
fn a_side_that_tells_no_sums_and_tables_that_the_sums_leave_out_are_copied_again() {
    let mut host = copied();
    host.query("sums", Side::Old).anew().fails(Failure::Denied("sql.sums is not approved".into()));
    works_again(&mut host);
    host.apply::<Roundcube>(json!({})).unwrap();
    assert_eq!(host.effects(), WHOLE);

    let mut host = copied();
    host.schema("webmail", Side::Old).anew().gives(described(&["calendar"]));
    works_again(&mut host);
    host.apply::<Roundcube>(json!({})).unwrap();
    assert_eq!(host.effects(), WHOLE);
}

#[test]
fn a_roundcube_that_was_upgraded_on_new_gets_its_tables() {
    let mut host = copied();
    host.list("updates", Side::New).anew().gives(vec![file("2024010100.sql")]);
    // Asked whether anything is to be done, before the copy, after it, after the script.
    let versions = [NEWER, NEWER, OLDER, "2024010100"].map(version);
    let mut replies = host.query("version", Side::New).anew();
    for version in versions {
        replies = replies.gives(version);
    }
    host.apply::<Roundcube>(json!({})).unwrap();
    assert_eq!(host.effects(), WHOLE);
}

#[test]
fn what_was_cut_off_is_not_taken_for_what_was_brought() {
    let mut host = copied();
    sum(&mut host, Side::Old, "2");
    works_again(&mut host);
    host.copy("whole")
        .fails(Failure::Unreachable("new went away".into()))
        .gives(rehome_sdk::sql::Copied { tables: vec![], milliseconds: 1 });
    assert!(host.apply::<Roundcube>(json!({})).is_err());
    // Old is again what it was: new is not.
    sum(&mut host, Side::Old, "1");
    host.query("version", Side::New).anew().gives(version(OLDER)).gives(version(NEWER));
    host.forget_calls();
    host.apply::<Roundcube>(json!({})).unwrap();
    assert_eq!(host.effects(), WHOLE[1..]);
}

#[test]
fn the_cutover_is_expected_to_take_a_look_or_what_the_copy_took() {
    let mut host = host();
    host.each_takes(100);
    host.stage = Stage::Cutover;
    assert_eq!(host.preview::<Roundcube>(json!({})).unwrap().cutover_milliseconds, None);
    host.stage = Stage::Copy;
    works_again(&mut host);
    host.query("ledger", Side::New).anew().gives(users(&[])).gives(users(&[moved(JANE), moved(JOHN)]));
    host.apply::<Roundcube>(json!({})).unwrap();
    host.stage = Stage::Cutover;
    host.each_takes(10);
    let looking = host.preview::<Roundcube>(json!({})).unwrap().cutover_milliseconds;
    assert!(looking.is_some_and(|took| (50..300).contains(&took)), "{looking:?}");
    host.query("ledger", Side::Old).anew().gives(users(&[JANE]));
    host.query("ledger", Side::New).anew().gives(users(&[]));
    let copying = host.preview::<Roundcube>(json!({})).unwrap().cutover_milliseconds;
    assert!(copying.is_some_and(|took| took > 1500), "{copying:?}");
}
