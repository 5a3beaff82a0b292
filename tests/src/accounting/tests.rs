//! The numbers can be wrong: a planted lost mail, a planted doubled one and whatever else must not be is counted.

use super::*;

const HOST: &str = "mail.lab.test[10.77.0.11]:25";

/// Three mails to anna, one to an alias of two, one to nobody: all as it must be.
fn facts() -> Facts {
    let mut facts = Facts::default();
    let at = |name: &str| format!("{name}@example.org");
    for (token, name) in [("t0", "anna"), ("t1", "anna"), ("t2", "anna"), ("t3", "team"), ("t4", "nobody")] {
        facts.injected.push((token.into(), at(name)));
        facts.fates.insert(token.into(), Fate::Sent(HOST.into()));
    }
    facts.fates.insert("t4".into(), Fate::Bounced("said: 550 5.1.1".into()));
    facts.returned.insert("t4".into());
    facts.destinations.insert(at("anna"), [at("anna")].into());
    facts.destinations.insert(at("team"), [at("bernd"), at("carla")].into());
    for (name, token) in [("anna", "t0"), ("anna", "t1"), ("anna", "t2"), ("bernd", "t3"), ("carla", "t3")] {
        deliver(&mut facts, name, &id_of(token), "INBOX");
    }
    facts.before.insert((at("anna"), "<seed@x>".into()), vec![copy("Sent"), copy("Sent")]);
    facts.after.insert((at("anna"), "<seed@x>".into()), vec![copy("Sent"), copy("Sent")]);
    facts
}

fn copy(folder: &str) -> Copy {
    Copy { folder: folder.into(), flags: BTreeSet::new() }
}

fn deliver(facts: &mut Facts, name: &str, id: &str, folder: &str) {
    facts.after.entry((format!("{name}@example.org"), id.to_string())).or_default().push(copy(folder));
}

fn did(op: Op, id: &str, to: &str, state: &str) -> Change {
    let text = String::from;
    Change {
        user: text("anna@example.org"),
        op,
        id: id.into(),
        folder: text("INBOX"),
        to: to.into(),
        flag: String::new(),
        state: state.into(),
    }
}

fn anna(id: &str) -> (String, String) {
    ("anna@example.org".into(), id.into())
}

#[test]
fn what_is_right_is_settled() {
    let account = settle(&facts());
    assert!(account.is_settled(), "{account}");
    assert_eq!(
        account.line(12.34),
        "accounting: accepted 5 = delivered 4 + refused 1; lost 0, doubled 0; downtime 12.3 s"
    );
}

#[test]
fn a_planted_lost_mail_is_counted() {
    let mut facts = facts();
    facts.after.remove(&anna(&id_of("t1")));
    let account = settle(&facts);
    assert_eq!((account.lost.len(), account.doubled.len(), account.delivered), (1, 0, 3), "{account}");
    assert!(!account.is_settled() && account.lost[0].contains("it is nowhere"));
    facts.on_old.insert(id_of("t1"));
    assert!(settle(&facts).lost[0].contains("in the old maildirs alone"));
}

#[test]
fn a_mail_to_two_that_reached_one_is_lost() {
    let mut facts = facts();
    facts.after.remove(&("carla@example.org".to_string(), id_of("t3")));
    let account = settle(&facts);
    assert!(account.lost.len() == 1 && account.lost[0].contains("carla"), "{account}");
}

#[test]
fn a_planted_doubled_mail_is_counted() {
    let mut facts = facts();
    deliver(&mut facts, "anna", &id_of("t1"), "Archive");
    let account = settle(&facts);
    assert_eq!((account.lost.len(), account.doubled.len(), account.delivered), (0, 1, 4), "{account}");
    assert!(!account.is_settled());
}

#[test]
fn a_mail_with_somebody_else_is_counted_as_doubled() {
    let mut facts = facts();
    deliver(&mut facts, "bernd", &id_of("t1"), "INBOX");
    assert_eq!(settle(&facts).doubled.len(), 1);
}

#[test]
fn a_refused_mail_whose_sender_was_not_told_is_lost() {
    let mut facts = facts();
    facts.returned.clear();
    assert_eq!(settle(&facts).lost.len(), 1);
}

#[test]
fn a_mail_that_was_reported_as_failed_and_is_there_breaks_the_sums() {
    let mut facts = facts();
    facts.returned.insert("t1".into());
    let account = settle(&facts);
    assert!(account.accepted != account.delivered + account.refused && !account.is_settled());
}

#[test]
fn a_mail_that_got_a_250_and_then_a_report_is_refused() {
    let mut facts = facts();
    facts.returned.insert("t1".into());
    facts.after.remove(&anna(&id_of("t1")));
    let account = settle(&facts);
    assert!(account.is_settled() && account.refused == 2, "{account}");
}

#[test]
fn a_user_that_exists_must_not_be_refused_and_a_mail_without_an_end_is_wrong() {
    let mut facts = facts();
    facts.fates.insert("t1".into(), Fate::Bounced("said: 550".into()));
    facts.fates.insert("t2".into(), Fate::Deferred("timed out".into()));
    facts.fates.remove("t0");
    assert!(settle(&facts).wrong.len() >= 3, "{}", settle(&facts));
}

#[test]
fn what_users_did_is_taken_into_account() {
    let mut facts = facts();
    facts.changes = vec![did(Op::Expunge, &id_of("t0"), "", "ok"), did(Op::Copy, &id_of("t1"), "Filed", "ok")];
    assert!(!settle(&facts).is_settled(), "a deleted mail is back, a copy is missing");
    facts.after.remove(&anna(&id_of("t0")));
    deliver(&mut facts, "anna", &id_of("t1"), "Filed");
    assert!(settle(&facts).is_settled(), "{}", settle(&facts));
}

#[test]
fn a_change_without_an_answer_may_have_happened_or_not() {
    let mut facts = facts();
    facts.changes = vec![did(Op::Expunge, &id_of("t0"), "", "unknown")];
    assert!(settle(&facts).is_settled());
    facts.after.remove(&anna(&id_of("t0")));
    assert!(settle(&facts).is_settled());
}

#[test]
fn a_lost_mail_of_before_and_a_move_that_did_not_stay_are_wrong() {
    let mut facts = facts();
    facts.after.remove(&anna("<seed@x>"));
    facts.changes = vec![did(Op::Move, &id_of("t1"), "Filed", "ok")];
    assert_eq!(settle(&facts).wrong.len(), 2, "{}", settle(&facts));
}

#[test]
fn a_flag_that_was_set_is_set() {
    let mut facts = facts();
    facts.changes = vec![Change { flag: "\\Flagged".into(), ..did(Op::Flag, &id_of("t1"), "", "ok") }];
    assert_eq!(settle(&facts).wrong.len(), 1);
    for copy in facts.after.get_mut(&anna(&id_of("t1"))).into_iter().flatten() {
        copy.flags.insert("\\Flagged".into());
    }
    assert!(settle(&facts).is_settled());
}

#[test]
fn the_log_says_last_what_became_of_a_mail_even_where_queue_ids_come_again() {
    let log = "\
A1: message-id=<t0@traffic.lab.test>
A1: to=<anna@example.org>, relay=none, delay=1, dsn=4.4.1, status=deferred (connect to mail.lab.test: refused)
A1: to=<anna@example.org>, relay=mail.lab.test[10.77.0.11]:25, delay=9, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as B7)
A1: removed
A1: message-id=<20261125@sender.lab.test>
A1: to=<probe@elsewhere.lab.test>, relay=virtual, delay=0, dsn=2.0.0, status=sent (delivered to mailbox)
B2: message-id=<t1@traffic.lab.test>
B2: to=<nobody@example.org>, relay=mail.lab.test[10.77.0.12]:25, dsn=5.1.1, status=bounced (host said: 550 5.1.1 unknown)
C3: message-id=<t2@traffic.lab.test>
C3: to=<anna@example.org>, relay=none, dsn=4.4.1, status=deferred (timed out)
";
    let fates = fates(log);
    assert_eq!(fates.get("t0"), Some(&Fate::Sent(HOST.into())));
    assert!(matches!(fates.get("t1"), Some(Fate::Bounced(why)) if why.contains("550")));
    assert!(matches!(fates.get("t2"), Some(Fate::Deferred(_))));
    assert_eq!(fates.len(), 3);
}

#[test]
fn a_report_of_failure_is_told_from_one_of_delay_and_from_a_mail() {
    let report = |action: &str, token: &str| {
        format!(
            "From MAILER-DAEMON Wed\nContent-Type: multipart/report; report-type=delivery-status\nMessage-ID: <r@x>\n\n\
             Action: {action}\n\nMessage-ID: <{token}@traffic.lab.test>\n\nFrom here on text\n\n"
        )
    };
    let mail = "From a Wed\nDelivered-To: away@elsewhere.lab.test\nMessage-ID: <t3@traffic.lab.test>\n\nhello\n";
    let all = mailbox(&format!("{}{}{mail}", report("failed", "t1"), report("delayed", "t2")));
    assert_eq!(all.returned, BTreeSet::from(["t1".to_string()]));
    assert_eq!(all.mails.len(), 1);
    assert!(all.mails.contains_key(&("away@elsewhere.lab.test".to_string(), id_of("t3"))));
}

#[test]
fn downtime_is_from_the_old_stop_to_the_next_login_on_new() {
    let line = |at: u64, text: &str| format!("{{\"__REALTIME_TIMESTAMP\":\"{at}000000\",\"MESSAGE\":\"{text}\"}}\n");
    let login = "imap-login: Login: user=<anna@example.org>, method=PLAIN";
    let killed = |process: &str| format!("{process}: Warning: Killed with signal 15 (by pid=1 uid=0 code=kill)");
    let old = format!("{}{}", line(100, &killed("master")), line(101, &killed("auth")));
    let new = format!("{}{}{}", line(90, login), line(130, login), line(140, login));
    assert_eq!(downtime(&old, &new).ok().map(Downtime::seconds), Some(30.0));
    assert!(downtime(&old, &line(90, login)).is_err(), "a login of before is none");
    assert!(downtime("", &new).is_err());
}
