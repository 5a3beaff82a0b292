//! `check`, `preview` and `verify`: what is said of which trap, and that nothing is changed by looking.

use super::*;

#[test]
fn two_sides_that_fit_have_no_blocker_and_their_numbers_are_said() {
    let mut host = host();
    let found = host.check::<Roundcube>(json!({})).unwrap();
    assert!(of(&found, Severity::Blocker).is_empty() && of(&found, Severity::Warning).is_empty(), "{found:?}");
    let ok = of(&found, Severity::Ok);
    assert!(ok.iter().any(|line| line.contains("2 users, 7 contacts in 2 groups")), "{ok:?}");
    assert!(ok.iter().any(|line| line.contains("old.example on old and new.example on new")), "{ok:?}");
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn preview_says_how_many_under_which_name_and_in_which_version() {
    let mut host = host();
    let changes = host.preview::<Roundcube>(json!({})).unwrap().changes;
    let lines: Vec<String> = changes
        .iter()
        .map(|c| format!("{}: {} -> {}", c.subject, c.before.as_deref().unwrap_or_default(), c.after))
        .collect();
    assert_eq!(
        lines,
        [
            "Roundcube's tables on new: version 2022081200 -> those of old (version 2019092900), brought to 2022081200 by Roundcube's update script",
            "webmail on new: no users -> 2 users, 7 contacts in 2 groups, 2 identities, as on old",
            "users.mail_host of 2 users on new: old.example -> new.example",
        ]
    );
    assert!(changes.iter().all(|change| change.reversible));
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn an_older_roundcube_on_new_is_a_blocker() {
    let mut host = host();
    host.query("version", Side::Old).anew().gives(version("2024010100"));
    let found = blockers(&mut host, json!({}));
    assert!(found[0].contains("is older than on old") && found[0].contains("install a newer"), "{found:?}");
}

#[test]
fn a_missing_update_script_is_a_blocker_where_it_is_needed() {
    let mut host = host();
    host.list("programs", Side::New).anew().gives(vec![file("update.sh")]);
    let found = blockers(&mut host, json!({}));
    assert!(found[0].contains("update script") && found[0].contains("roundcube-core"), "{found:?}");
    host.query("version", Side::Old).anew().gives(version(NEWER));
    assert_eq!(blockers(&mut host, json!({})), Vec::<String>::new());
}

#[test]
fn tables_without_a_number_are_those_of_before_0_9() {
    let mut host = host();
    let mut ancient = described(&[]);
    ancient.tables.retain(|table| table.name != "system" && table.name != "filestore");
    let mut older = ancient.clone();
    host.schema("webmail", Side::Old).anew().gives(ancient);
    let found = of(&host.check::<Roundcube>(json!({})).unwrap(), Severity::Note);
    assert!(found[0].contains("version 2012080700 on old, 2022081200 on new"), "{found:?}");
    let alias = Column { name: "alias".into(), ..older.tables[0].columns[0].clone() };
    older.tables[0].columns.push(alias);
    host.schema("webmail", Side::Old).anew().gives(older);
    let found = of(&host.check::<Roundcube>(json!({})).unwrap(), Severity::Note);
    assert!(found[0].contains("version 2011111600 on old"), "{found:?}");
}

#[test]
fn a_database_that_is_not_roundcubes_is_a_blocker_with_a_remedy() {
    let mut host = host();
    let mut other = described(&[]);
    other.tables.retain(|table| table.name != "contacts");
    host.schema("webmail", Side::Old).anew().gives(other);
    let found = blockers(&mut host, json!({}));
    assert!(found[0].starts_with("contacts on old: is not there") && found[0].contains("Set `database`"), "{found:?}");
}

#[test]
fn a_refused_login_is_a_blocker_with_the_servers_remedy() {
    let mut host = host();
    let refused = rehome_sdk::Tool {
        request: "schema.webmail".into(),
        status: None,
        diagnostic: "1698 (28000): Access denied for user 'root'@'localhost'\nhint: give the plan a login".into(),
    };
    host.schema("webmail", Side::New).anew().fails(Failure::EndedBadly(refused));
    let found = blockers(&mut host, json!({}));
    assert!(
        found[0].starts_with("database roundcube on new: ") && found[0].contains("give the plan a login"),
        "{found:?}"
    );
}

#[test]
fn a_host_that_the_configuration_does_not_tell_is_asked_of_the_plan() {
    let mut host = host();
    host.exec("imap-host", Side::New).anew().says("$config['imap_host'] = 'tls://%n:143';\n");
    let found = blockers(&mut host, json!({}));
    assert!(found[0].contains("IMAP server on new") && found[0].contains("set `mail-host` in the plan"), "{found:?}");
    assert_eq!(blockers(&mut host, json!({ "mail-host": "new.example" })), Vec::<String>::new());
}

#[test]
fn an_unreadable_configuration_on_old_is_made_up_for_by_its_users() {
    let mut host = host();
    host.exec("imap-host", Side::Old).anew().ends(2, "", "grep: /etc/roundcube/config.inc.php: No such file");
    assert_eq!(blockers(&mut host, json!({})), Vec::<String>::new());
    let elsewhere = ("kim@example.org", "imap.example", "", 1);
    host.query("ledger", Side::Old).anew().gives(users(&[JANE, elsewhere]));
    let found = blockers(&mut host, json!({}));
    assert!(found[0].contains("old.example (1)") && found[0].contains("set `old-mail-host`"), "{found:?}");
}

#[test]
fn entries_for_a_server_that_nobody_looks_for_are_noted() {
    let mut host = host();
    host.query("ledger", Side::Old).anew().gives(users(&[JANE, JOHN, ("kim@example.org", "imap.example", "", 1)]));
    let found = of(&host.check::<Roundcube>(json!({})).unwrap(), Severity::Note);
    assert!(found.iter().any(|line| line.contains("imap.example") && line.contains("kept as they are")), "{found:?}");
}

#[test]
fn tables_of_plugins_are_copied_with_all_the_rest_and_stay_behind_where_only_rows_move() {
    let mut whole = host();
    whole.schema("webmail", Side::Old).anew().gives(described(&["calendar_events"]));
    let found = of(&whole.check::<Roundcube>(json!({})).unwrap(), Severity::Note);
    assert!(found.iter().any(|line| line.contains("calendar_events: copied with the rest")), "{found:?}");
    let mut rows = merging();
    rows.schema("webmail", Side::Old).anew().gives(described(&["calendar_events"]));
    let found = of(&rows.check::<Roundcube>(named()).unwrap(), Severity::Warning);
    assert!(found.iter().any(|line| line.contains("calendar_events: they stay behind")), "{found:?}");
}

#[test]
fn rows_move_only_into_tables_of_the_version_that_new_needs() {
    let mut host = merging();
    host.query("version", Side::New).anew().gives(version(OLDER));
    let found = blockers(&mut host, named());
    assert!(found[0].contains("updatedb.sh"), "{found:?}");
}

#[test]
fn a_user_that_only_new_has_is_never_lost() {
    for (mut host, config) in [(host(), json!({})), (merging(), named())] {
        host.query("ledger", Side::New).anew().gives(users(&[("zed@example.org", "new.example", "", 3)]));
        let found = blockers(&mut host, config.clone());
        assert!(found[0].contains("zed@example.org") && found[0].contains("lost with 3 contacts"), "{found:?}");
        assert!(found[0].contains("DELETE FROM users WHERE username = 'zed@example.org'"), "{found:?}");
        assert!(matches!(host.apply::<Roundcube>(config), Err(Failure::Stopped(_))));
        assert_eq!(host.effects(), Vec::<String>::new());
    }
}

#[test]
fn users_of_other_domains_on_new_are_nobodys_business() {
    let mut host = merging();
    host.query("ledger", Side::New).anew().gives(users(&[("zed@other.example", "new.example", "", 3)]));
    assert_eq!(blockers(&mut host, named()), Vec::<String>::new());
}

#[test]
fn a_user_that_an_earlier_copy_brought_may_go_when_old_has_deleted_it() {
    let mut host = host();
    host.remember("copied-users", "1");
    host.remember("copied-users/0", "gone@example.org");
    host.query("ledger", Side::New).anew().gives(users(&[("gone@example.org", "new.example", "", 3)]));
    assert_eq!(blockers(&mut host, json!({})), Vec::<String>::new());
}

/// John has been on new since an earlier copy, and has so many contacts there.
fn used(contacts: i64) -> Host {
    let mut host = host();
    host.stage = Stage::Cutover;
    host.remember("copied-users", "1");
    host.remember("copied-users/0", "john@example.org\njane@example.org");
    let john = ("john@example.org", "new.example", "2024-06-01 10:00:00", contacts);
    host.query("ledger", Side::New).anew().gives(users(&[moved(JANE), john])).gives(users(&[moved(JANE), moved(JOHN)]));
    host
}

#[test]
fn contacts_that_somebody_has_added_on_new_already_are_not_copied_over() {
    let mut host = used(6);
    let why = host.apply::<Roundcube>(json!({})).unwrap_err().words();
    assert!(why.contains("6 contacts there, 5 on old"), "{why}");
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn a_trial_on_new_between_two_copies_is_replaced_and_said() {
    let mut host = used(4);
    host.apply::<Roundcube>(json!({})).unwrap();
    assert!(said(&host, "warning: webmail user john@example.org on new has used Roundcube"), "{:?}", host.reported());
}

#[test]
fn a_copy_asked_for_again_after_the_cutover_takes_nobodys_changes() {
    let mut host = used(4);
    host.run = 2;
    assert!(matches!(host.apply::<Roundcube>(json!({})), Err(Failure::Stopped(_))));
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn verify_names_who_lacks_contacts_and_who_is_known_by_another_server() {
    let mut host = host();
    host.stage = Stage::Cutover;
    host.query("version", Side::New).anew().gives(version(NEWER));
    host.query("ledger", Side::New).anew().gives(users(&[JANE, ("john@example.org", "new.example", JOHN.2, 4)]));
    let found = of(&host.verify::<Roundcube>(json!({})).unwrap(), Severity::Blocker);
    assert!(
        found[0].contains("jane@example.org: is on new for old.example, and Roundcube there looks for new.example")
    );
    assert!(found[1].contains("john@example.org: 5 contacts on old, 4 on new"), "{found:?}");
}

#[test]
fn verify_leaves_to_users_what_they_changed_on_new_and_minds_only_less() {
    let mut host = host();
    host.stage = Stage::Cutover;
    host.query("version", Side::New).anew().gives(version(NEWER));
    let more = ("john@example.org", "new.example", "2024-06-01 10:00:00", 9);
    host.query("ledger", Side::New).anew().gives(users(&[moved(JANE), more]));
    let found = host.verify::<Roundcube>(json!({})).unwrap();
    assert!(of(&found, Severity::Blocker).is_empty() && of(&found, Severity::Warning).is_empty(), "{found:?}");
    assert!(of(&found, Severity::Note)[0].contains("1 user has logged in since"), "{found:?}");
    let less = ("john@example.org", "new.example", "2024-06-01 10:00:00", 1);
    host.query("ledger", Side::New).anew().gives(users(&[moved(JANE), less]));
    let found = of(&host.verify::<Roundcube>(json!({})).unwrap(), Severity::Warning);
    assert!(found[0].contains("5 contacts on old, 1 on new"), "{found:?}");
}

#[test]
fn verify_finds_tables_that_were_not_brought_up() {
    let mut host = host();
    host.query("version", Side::New).anew().gives(version(OLDER));
    host.query("ledger", Side::New).anew().gives(users(&[moved(JANE), moved(JOHN)]));
    let found = of(&host.verify::<Roundcube>(json!({})).unwrap(), Severity::Blocker);
    assert!(found[0].contains("2019092900") && found[0].contains("updatedb.sh"), "{found:?}");
}
