//! Unit tests of the phase against the test host.

use rehome_sdk::exec::Output;
use rehome_sdk::files::{Entry, Kind};
use rehome_sdk::test::Host;
use serde_json::{Value, json};

use super::*;

mod repeated;

const JOHN: &str = "john@example.org";

/// What Dovecot on new says it runs, open and closed.
const RUNS_OPEN: &str = "name\tprocess_count\nlmtp\t0\nimap\t0\nimap-login\t0\nmanagesieve\t0\nauth\t1\n";
const RUNS_CLOSED: &str = "name\tprocess_count\nauth\t1\n";

fn part(part: &str) -> Value {
    json!({ "part": part })
}

fn imap(messages: u32, uid_validity: u32) -> String {
    let next = messages + 1;
    format!(
        "* PREAUTH ready\r\n* STATUS INBOX (MESSAGES {messages} UIDNEXT {next} UIDVALIDITY {uid_validity})\r\na OK\r\n"
    )
}

/// Both sides run; John and Jane have mail; a pass has touched John's.
fn host() -> Host {
    let mut host = Host::new(requests::MANIFEST);
    for side in SIDES {
        host.exec("users", side).says("jane@example.org\njohn@example.org\n");
        host.exec("counts", side).says(&imap(3, 7));
        host.exec("active", side).says("active\n");
    }
    host.exec("enabled", Side::Old).says("enabled\n");
    host.exec("protocols", Side::New).says("imap lmtp\n");
    host.exec("plugins", Side::New).says("\n");
    host.exec("services", Side::New).says(RUNS_OPEN);
    host.exec("loaded", Side::Old).says("LoadState=loaded\n").says("LoadState=masked\n");
    host.touched("mail").gives(vec![b"example.org/john/Maildir/.Sent".to_vec()]);
    host
}

/// As [`host`], but Dovecot on new is closed.
fn closed() -> Host {
    let mut host = host();
    host.exec("protocols", Side::New).anew().says("\n");
    host
}

fn active(host: &mut Host, side: Side, states: &[&str]) {
    let mut replies = host.exec("active", side).anew();
    for state in states {
        replies = replies.ends(if *state == "active" { 0 } else { 3 }, state, "");
    }
}

#[test]
fn ahead_closes_new_and_rebuilds_only_what_was_touched() {
    let mut host = closed();
    active(&mut host, Side::New, &["active", "inactive", "active"]);
    host.apply::<Dovecot>(part("ahead")).unwrap();
    assert_eq!(
        host.effects(),
        [
            "file.closed on new put",
            "exec.stop on new",
            "exec.start on new",
            "aside.indexes on new: example.org/john/Maildir/.Sent",
            "aside.lists on new: example.org/john/Maildir",
            "exec.resync on new: john@example.org",
        ]
    );
    // A second time it runs closed already: no restart.
    host.forget_calls();
    host.apply::<Dovecot>(part("ahead")).unwrap();
    assert!(!host.effects().iter().any(|call| call.starts_with("exec.st")), "{:?}", host.effects());
}

#[test]
fn a_closing_file_that_closes_nothing_stops_before_dovecot_is_restarted() {
    let mut host = host();
    let why = host.apply::<Dovecot>(part("ahead")).unwrap_err().words();
    assert!(why.contains("would still listen for imap lmtp"), "{why}");
    assert_eq!(host.effects(), ["file.closed on new put"]);
}

#[test]
fn indexes_are_set_aside_before_they_are_rebuilt() {
    let mut host = closed();
    host.remember("new-runs-closed", "yes");
    host.apply::<Dovecot>(part("ahead")).unwrap();
    let calls = host.calls();
    let at = |text: &str| calls.iter().position(|call| call.starts_with(text)).unwrap();
    assert!(at("aside.indexes") < at("exec.resync"), "{calls:?}");
}

#[test]
fn quotas_are_counted_anew_where_there_are_any() {
    let mut host = closed();
    host.remember("new-runs-closed", "yes");
    host.exec("plugins", Side::New).anew().says(" quota\n");
    host.exec("quota", Side::New).ends(75, "", "quota: no such user");
    host.apply::<Dovecot>(part("ahead")).unwrap();
    assert!(host.calls().contains(&format!("exec.quota on new: {JOHN}")));
    assert!(host.reported().iter().any(|line| line.starts_with("warning: quota of john")), "{:?}", host.reported());
}

#[test]
fn a_failed_resync_names_the_user_and_stops() {
    let mut host = closed();
    host.remember("new-runs-closed", "yes");
    host.exec("resync", Side::New).ends(134, "", "Panic: no userdb");
    let why = host.apply::<Dovecot>(part("ahead")).unwrap_err().words();
    assert!(why.contains(JOHN) && why.contains("no userdb"), "{why}");
}

#[test]
fn without_a_working_list_of_users_the_database_says_who_they_are() {
    let mut host = closed();
    host.remember("new-runs-closed", "yes");
    host.exec("users", Side::New).anew().ends(75, "", "Error: User listing returned failure");
    host.query("accounts", Side::New).holds(["email"], &[[JOHN]]);
    host.query("accounts", Side::Old).holds(["email"], &[[JOHN]]);
    host.apply::<Dovecot>(part("ahead")).unwrap();
    assert!(host.effects().contains(&format!("exec.resync on new: {JOHN}")));

    host.exec("users", Side::Old).anew().says("");
    let found = host.check::<Dovecot>(part("ahead")).unwrap();
    let warnings: Vec<&Finding> = found.iter().filter(|f| f.severity == Severity::Warning).collect();
    assert_eq!(warnings.len(), 2, "{found:?}");
    assert!(warnings[1].text.contains("User listing returned failure"));
    assert!(warnings[0].hint.as_deref().unwrap_or_default().contains("iterate_query"));
}

#[test]
fn stop_counts_then_bars_then_stops_old() {
    let mut host = host();
    active(&mut host, Side::New, &["active", "inactive"]);
    active(&mut host, Side::Old, &["active", "active", "inactive"]);
    host.exec("enabled", Side::Old).anew().says("enabled").says("masked");
    host.apply::<Dovecot>(part("stop")).unwrap();
    assert_eq!(host.effects(), ["exec.stop on new", "exec.bar on old", "exec.stop-old on old"]);
    let calls = host.calls();
    let at = |text: &str| calls.iter().position(|call| call.starts_with(text)).unwrap();
    assert!(at("exec.counts on old") < at("exec.stop on new"), "users of old are counted while they work: {calls:?}");
    assert!(host.remembered("counts-of-old/0").unwrap().contains(JOHN));
    assert_eq!(host.verify::<Dovecot>(part("stop")).unwrap()[0].severity, Severity::Ok);

    // Called again after a crash: nothing is left, and the counts stay.
    host.forget_calls();
    host.apply::<Dovecot>(part("stop")).unwrap();
    assert_eq!(host.effects(), Vec::<String>::new());
    assert!(host.preview::<Dovecot>(part("stop")).unwrap().changes.is_empty());
}

#[test]
fn a_dovecot_that_does_not_stop_is_not_taken_for_stopped() {
    let mut host = host();
    active(&mut host, Side::New, &["inactive"]);
    host.exec("enabled", Side::Old).anew().says("enabled").says("masked");
    let why = host.apply::<Dovecot>(part("stop")).unwrap_err().words();
    assert!(why.contains("still runs"), "{why}");
}

#[test]
fn a_dovecot_that_cannot_be_barred_is_not_stopped() {
    let mut host = host();
    active(&mut host, Side::New, &["inactive"]);
    let why = host.apply::<Dovecot>(part("stop")).unwrap_err().words();
    assert!(why.contains("is not masked, and runs as before"), "{why}");
    assert_eq!(host.effects(), ["exec.bar on old"]);
}

/// After `stop` with John's and Jane's counts remembered; new is closed and stopped.
fn after_stop(messages: u32, uid_validity: u32) -> Host {
    let mut host = host();
    host.remember("ahead-is-done", "test");
    active(&mut host, Side::New, &["inactive"]);
    active(&mut host, Side::Old, &["active", "active", "inactive"]);
    host.exec("enabled", Side::Old).anew().says("enabled").says("masked");
    host.apply::<Dovecot>(part("stop")).unwrap();
    host.forget_calls();
    host.exec("protocols", Side::New).anew().says("");
    host.remember("new-runs-closed", "yes");
    active(&mut host, Side::New, &["inactive", "active"]);
    let answer = imap(messages, uid_validity);
    host.exec("counts", Side::New)
        .anew()
        .by(move |_| Ok(Output { status: 0, stdout: answer.clone().into_bytes(), stderr: Vec::new() }));
    host
}

#[test]
fn resync_starts_new_closed_and_compares_before_anybody_can_reach_it() {
    let mut host = after_stop(3, 7);
    host.apply::<Dovecot>(part("resync")).unwrap();
    let effects = host.effects();
    assert_eq!(effects[0], "exec.start on new", "the closing file is in place, and not written again");
    assert_eq!(effects.last().map(String::as_str), Some("exec.resync on new: john@example.org"));
    assert!(host.calls().contains(&format!("exec.counts on new: {JOHN}")));
    assert!(!host.calls().contains(&"exec.counts on new: jane@example.org".to_string()));
}

fn files(names: &[&str]) -> Vec<Entry> {
    let file = |name: &&str| Entry {
        path: name.as_bytes().to_vec(),
        kind: Kind::File,
        size: 1,
        modified: 0,
        mode: 0o600,
        owner: "vmail".into(),
        links: 1,
    };
    names.iter().map(file).collect()
}

#[test]
fn fewer_messages_or_another_uidvalidity_keep_new_closed() {
    for (messages, uid_validity, why) in [(2, 7, "holds 2 messages on new, and held 3"), (3, 8, "UIDVALIDITY")] {
        let mut host = after_stop(messages, uid_validity);
        host.list("mail", Side::Old).gives(files(&["1.a:2,S", "2.b:2,S", "3.c:2,"])).gives(files(&[]));
        let said = host.apply::<Dovecot>(part("resync")).unwrap_err().words();
        assert!(said.contains(why) && said.contains("mailbox INBOX of john"), "{said}");
        assert_eq!(host.remembered("indexes rebuilt up to"), None, "the next attempt would find nothing to compare");
    }
}

#[test]
fn what_a_user_deleted_after_the_count_is_not_missing() {
    let mut host = after_stop(2, 7);
    host.exec("counts", Side::New).anew().says(&imap(2, 7).replace("UIDNEXT 3", "UIDNEXT 4"));
    host.list("mail", Side::Old).gives(files(&["1.a:2,S"])).gives(files(&["2.b"]));
    host.apply::<Dovecot>(part("resync")).unwrap();
    assert!(host.calls().iter().any(|call| call.contains("tree.mail on old")), "{:?}", host.calls());
}

#[test]
fn open_restores_the_file_reloads_and_is_verified_for_everybody() {
    let mut host = after_stop(5, 7);
    host.exec("protocols", Side::New).anew().says("imap lmtp sieve");
    host.exec("services", Side::New).anew().says(RUNS_CLOSED).says(RUNS_OPEN);
    active(&mut host, Side::New, &["active"]);
    host.apply::<Dovecot>(part("open")).unwrap();
    assert_eq!(host.effects(), ["file.closed on new restore", "exec.reload on new", "exec.bar-now on old"]);
    let found = host.verify::<Dovecot>(part("open")).unwrap();
    assert!(found.iter().all(|finding| finding.severity == Severity::Ok), "{found:?}");
    assert_eq!(found[1].text, "all 2 of 2 users hold what they held on old");
    assert_eq!(host.preview::<Dovecot>(part("open")).unwrap(), Forecast::default());

    host.forget_calls();
    host.apply::<Dovecot>(part("open")).unwrap();
    assert_eq!(host.effects(), ["file.closed on new restore"]);
}

#[test]
fn a_dovecot_that_does_not_reload_or_does_not_say_what_it_runs_is_restarted() {
    let restarted = |prepare: fn(&mut Host)| {
        let mut host = after_stop(3, 7);
        host.exec("protocols", Side::New).anew().says("imap lmtp");
        active(&mut host, Side::New, &["active", "inactive", "active"]);
        prepare(&mut host);
        host.apply::<Dovecot>(part("open")).unwrap();
        let effects = host.effects();
        assert!(effects[1].starts_with("exec.reload"), "{effects:?}");
        assert_eq!(effects[3..5], ["exec.stop on new", "exec.start on new"], "{effects:?}");
        assert_eq!(host.remembered("new-runs-open").as_deref(), Some("yes"));
    };
    restarted(|host| _ = host.exec("services", Side::New).anew().says(RUNS_CLOSED));
    restarted(|host| _ = host.exec("services", Side::New).anew().ends(64, "", "unknown command"));
    restarted(|host| {
        host.exec("reload", Side::New).anew().ends(1, "", "Job for dovecot.service failed");
        host.exec("services", Side::New).anew().says(RUNS_CLOSED);
    });
}

#[test]
fn a_user_that_new_does_not_know_is_a_mismatch() {
    let mut host = after_stop(3, 7);
    active(&mut host, Side::New, &["active"]);
    host.exec("protocols", Side::New).anew().says("imap");
    host.exec("users", Side::New).anew().says(JOHN);
    let found = host.verify::<Dovecot>(part("open")).unwrap();
    assert!(found.iter().any(|f| f.severity == Severity::Blocker && f.subject == "user jane@example.org"), "{found:?}");
}

#[test]
fn undo_goes_back_part_by_part() {
    let mut host = after_stop(3, 7);
    host.exec("protocols", Side::New).anew().says("imap lmtp");
    active(&mut host, Side::New, &["active", "inactive", "active"]);
    host.apply::<Dovecot>(part("open")).unwrap();
    host.forget_calls();

    host.exec("protocols", Side::New).anew().says("");
    active(&mut host, Side::New, &["active", "inactive", "active"]);
    host.undo::<Dovecot>(part("open")).unwrap();
    assert_eq!(host.effects(), ["file.closed on new put", "exec.stop on new", "exec.start on new"]);
    host.forget_calls();
    host.undo::<Dovecot>(part("resync")).unwrap();

    active(&mut host, Side::Old, &["inactive", "active"]);
    host.undo::<Dovecot>(part("stop")).unwrap();
    assert_eq!(
        host.effects(),
        [
            "aside.indexes-on-old on old: example.org/john/Maildir, example.org/john/Maildir/.Sent",
            "exec.unbar on old",
            "exec.start-old on old",
        ]
    );
    host.forget_calls();
    host.exec("protocols", Side::New).anew().says("imap lmtp");
    active(&mut host, Side::New, &["active", "inactive", "active"]);
    host.undo::<Dovecot>(part("ahead")).unwrap();
    assert_eq!(host.effects(), ["file.closed on new restore", "exec.stop on new", "exec.start on new"]);
}

#[test]
fn undo_of_stop_opens_new_again_where_no_ahead_would() {
    let mut host = after_stop(3, 7);
    host.forget("ahead-is-done");
    host.exec("protocols", Side::New).anew().says("imap lmtp");
    active(&mut host, Side::Old, &["inactive", "active"]);
    active(&mut host, Side::New, &["active", "inactive", "active"]);
    host.undo::<Dovecot>(part("stop")).unwrap();
    assert_eq!(
        host.effects(),
        [
            "exec.unbar on old",
            "exec.start-old on old",
            "file.closed on new restore",
            "exec.stop on new",
            "exec.start on new"
        ]
    );
}

#[test]
fn an_unmask_that_was_cut_off_after_its_file_was_gone_is_made_again() {
    let mut host = after_stop(3, 7);
    host.exec("enabled", Side::Old).anew().says("enabled");
    active(&mut host, Side::Old, &["inactive", "active"]);
    host.undo::<Dovecot>(part("stop")).unwrap();
    assert_eq!(host.effects(), ["exec.unbar on old", "exec.start-old on old"]);
}

#[test]
fn undo_of_stop_leaves_the_indexes_of_old_alone_if_new_was_never_open() {
    let mut host = after_stop(3, 7);
    active(&mut host, Side::Old, &["inactive", "active"]);
    host.undo::<Dovecot>(part("stop")).unwrap();
    assert_eq!(host.effects(), ["exec.unbar on old", "exec.start-old on old"]);
}

#[test]
fn previews_say_what_stands_still_and_what_is_not_known_yet() {
    let mut host = host();
    let ahead = host.preview::<Dovecot>(part("ahead")).unwrap();
    assert_eq!(ahead.changes[0].before.as_deref(), Some("listens for imap lmtp"));
    assert_eq!(ahead.changes[1].after, "rebuilt for 1 mailbox of 1 user");
    assert_eq!(host.preview::<Dovecot>(part("stop")).unwrap().changes.len(), 2);
    assert_eq!(host.preview::<Dovecot>(part("resync")).unwrap().not_known_yet.len(), 1);
    assert_eq!(host.preview::<Dovecot>(part("open")).unwrap().not_known_yet.len(), 1);
    assert_eq!(host.effects(), Vec::<String>::new());
}
