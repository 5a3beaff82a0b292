//! `ahead`, again and again, and what is left to the cutover: only what passes have touched since, only users whose mail has
//! changed since; nothing is left out where something was cut off.

use super::*;

fn ahead_as(phase: &str, host: &mut Host) {
    host.phase = phase.into();
    host.apply::<Dovecot>(part("ahead")).unwrap();
}

/// New runs closed.
fn running_closed() -> Host {
    let mut host = closed();
    host.remember("new-runs-closed", "yes");
    host
}

#[test]
fn each_ahead_asks_for_what_was_touched_since_the_one_before() {
    let mut host = running_closed();
    ahead_as("indexes-ahead", &mut host);
    ahead_as("indexes-ahead-again", &mut host);
    let asked: Vec<String> = host.calls().into_iter().filter(|call| call.contains("touched")).collect();
    assert_eq!(asked, ["tree.mail touched", "tree.mail touched: 1"]);
}

#[test]
fn where_nothing_was_touched_nobody_is_listed_and_nothing_is_read() {
    let mut host = running_closed();
    host.touched("mail").anew().gives(vec![]);
    host.apply::<Dovecot>(part("ahead")).unwrap();
    assert_eq!(host.effects(), Vec::<String>::new());
    assert!(!host.calls().iter().any(|call| call.starts_with("exec.users")), "{:?}", host.calls());
}

#[test]
fn what_was_cut_off_before_it_was_counted_is_rebuilt_again() {
    let mut host = running_closed();
    let lost = Failure::Unreachable("new went away".into());
    host.exec("counts", Side::New).anew().fails(lost).says(&imap(3, 7));
    assert!(host.apply::<Dovecot>(part("ahead")).is_err());
    assert_eq!(host.remembered("indexes rebuilt up to"), None);
    host.forget_calls();
    host.apply::<Dovecot>(part("ahead")).unwrap();
    assert!(host.effects().contains(&format!("exec.resync on new: {JOHN}")), "{:?}", host.effects());
    assert_eq!(host.remembered("indexes rebuilt up to").as_deref(), Some("1"));
}

#[test]
fn a_user_whom_new_does_not_know_yet_is_read_once_it_does() {
    let mut host = running_closed();
    host.exec("users", Side::New).anew().says("jane@example.org\n");
    host.apply::<Dovecot>(part("ahead")).unwrap();
    assert!(!host.effects().iter().any(|call| call.starts_with("exec.resync")), "{:?}", host.effects());
    assert!(host.reported().iter().any(|line| line.contains("1 of the users")), "{:?}", host.reported());

    // The account came, and no pass has touched the mail since.
    host.forget_calls();
    host.touched("mail").anew().gives(vec![]);
    host.exec("users", Side::New).anew().says("jane@example.org\nJohn@example.org\n");
    host.apply::<Dovecot>(part("ahead")).unwrap();
    assert_eq!(host.effects(), ["exec.resync on new: John@example.org"]);
    host.forget_calls();
    host.apply::<Dovecot>(part("ahead")).unwrap();
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn only_the_undo_of_the_first_ahead_opens_new_again() {
    let mut host = closed();
    active(&mut host, Side::New, &["active", "inactive", "active"]);
    ahead_as("indexes-ahead", &mut host);
    ahead_as("indexes-ahead-again", &mut host);
    host.forget_calls();
    host.undo::<Dovecot>(part("ahead")).unwrap();
    assert_eq!(host.effects(), Vec::<String>::new());
    host.phase = "indexes-ahead".into();
    host.exec("protocols", Side::New).anew().says("imap lmtp");
    active(&mut host, Side::New, &["active", "inactive", "active"]);
    host.undo::<Dovecot>(part("ahead")).unwrap();
    assert_eq!(host.effects(), ["file.closed on new restore", "exec.stop on new", "exec.start on new"]);
}

/// `ahead` has read and counted Jane's and John's mail on new; old then counted so many of each, and stopped; a pass has touched
/// John's mail since.
fn in_the_cutover(jane_on_old: u32) -> Host {
    let mut host = running_closed();
    host.touched("mail").anew().gives(vec![b"example.org/jane/Maildir".to_vec(), b"example.org/john/Maildir".to_vec()]);
    host.apply::<Dovecot>(part("ahead")).unwrap();
    let of_user =
        |values: &[String], jane: u32| imap(if values[0].starts_with("jane") { jane } else { 3 }, 7).into_bytes();
    let answer =
        move |values: &[String]| Ok(Output { status: 0, stdout: of_user(values, jane_on_old), stderr: Vec::new() });
    host.exec("counts", Side::Old).anew().by(answer);
    active(&mut host, Side::Old, &["active", "active", "inactive"]);
    active(&mut host, Side::New, &["active", "inactive", "inactive", "active"]);
    host.exec("enabled", Side::Old).anew().says("enabled").says("masked");
    host.apply::<Dovecot>(part("stop")).unwrap();
    host.touched("mail").anew().gives(vec![b"example.org/john/Maildir".to_vec()]);
    host.forget_calls();
    host
}

fn counted(host: &Host) -> Vec<String> {
    host.calls().into_iter().filter(|call| call.starts_with("exec.counts on new")).collect()
}

#[test]
fn the_cutover_counts_only_users_whose_mail_has_changed_since_ahead() {
    let mut host = in_the_cutover(3);
    host.apply::<Dovecot>(part("resync")).unwrap();
    assert_eq!(counted(&host), ["exec.counts on new: john@example.org"]);
    assert!(!host.calls().contains(&"exec.plugins on new".to_string()), "`ahead` knows it: {:?}", host.calls());
}

#[test]
fn a_user_who_had_less_on_new_in_ahead_is_asked_again_and_keeps_new_closed() {
    let mut host = in_the_cutover(4);
    host.list("mail", Side::Old).gives(files(&["1.a", "2.b", "3.c", "4.d"])).gives(files(&[]));
    let said = host.apply::<Dovecot>(part("resync")).unwrap_err().words();
    assert!(said.contains("mailbox INBOX of jane@example.org: holds 3 messages on new, and held 4"), "{said}");
    let both = ["exec.counts on new: jane@example.org", "exec.counts on new: john@example.org"];
    assert!(counted(&host).iter().all(|call| both.contains(&call.as_str())) && counted(&host).len() == 2);
    // What was only late is there by the next attempt.
    host.exec("counts", Side::New).anew().says(&imap(4, 7));
    active(&mut host, Side::New, &["active"]);
    host.apply::<Dovecot>(part("resync")).unwrap();
}

#[test]
fn a_mailbox_that_its_user_deleted_after_the_count_is_not_missing() {
    let mut host = in_the_cutover(3);
    let gone = "* PREAUTH ready\r\n* STATUS INBOX (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 7)\r\na OK\r\n";
    let kept = format!("* STATUS \"Old&AOk-.2020\" (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 7)\r\n{}", imap(3, 7));
    host.exec("counts", Side::New).anew().says(gone);
    host.exec("counts", Side::Old).anew().says(&kept);
    active(&mut host, Side::Old, &["active", "active", "inactive"]);
    host.apply::<Dovecot>(part("stop")).unwrap();
    let folders = |names: &[&str]| files(names);
    let maildir = "example.org/john/Maildir";
    let there = [".Sent", "cur"].map(|name| format!("{maildir}/{name}"));
    host.list("mail", Side::Old).gives(folders(&there.each_ref().map(String::as_str)));
    active(&mut host, Side::New, &["inactive", "active"]);
    host.apply::<Dovecot>(part("resync")).unwrap();

    for still in [".Old&AOk-.2020", "Old&AOk-"] {
        let there = [".Sent", still].map(|name| format!("{maildir}/{name}"));
        host.list("mail", Side::Old).anew().gives(folders(&there.each_ref().map(String::as_str)));
        let said = host.apply::<Dovecot>(part("resync")).unwrap_err().words();
        assert!(said.contains("is not there on new"), "{still}: {said}");
    }
}

#[test]
fn previews_of_the_cutover_say_what_stops_starts_and_rebuilding_took_ahead() {
    let mut host = closed();
    let standstill = |host: &mut Host, of: &str| host.preview::<Dovecot>(part(of)).unwrap().cutover_milliseconds;
    for of in ["stop", "resync", "open"] {
        assert_eq!(standstill(&mut host, of), None, "{of}: nothing was measured");
    }
    host.each_takes(100);
    active(&mut host, Side::New, &["active", "inactive", "active"]);
    host.touched("mail").anew().gives(vec![b"example.org/jane/Maildir".to_vec(), b"example.org/john/Maildir".to_vec()]);
    host.apply::<Dovecot>(part("ahead")).unwrap();
    assert_eq!(standstill(&mut host, "ahead"), None, "users still work");
    assert_eq!(standstill(&mut host, "stop"), Some(200));
    assert_eq!(standstill(&mut host, "open"), Some(200), "no more than a start");
    // One of the two users whose mail it took 0.9 s to read, list of users, settings and counts included.
    host.touched("mail").anew().gives(vec![b"example.org/john/Maildir".to_vec()]);
    let rebuilding = 900 / 2;
    assert_eq!(standstill(&mut host, "resync"), Some(200 + rebuilding));
}
