//! The phase against a scripted old server that is about to be retired.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rehome_sdk::dns::{Answer, Rrset};
use rehome_sdk::exec::Output;
use rehome_sdk::files::{Comparison, Space, SyncReport};
use rehome_sdk::sql::Description;
use rehome_sdk::test::{Host, Replies};
use serde_json::{Value, json};

use super::*;

const OLD: &str = "192.0.2.11";
const NEW: &str = "192.0.2.12";

fn config() -> Value {
    json!({ "services": ["postfix", "rspamd"], "old-addresses": [OLD], "names": ["imap.example.org"] })
}

fn answer(owner: &str, kind: &str, data: &[&str]) -> Vec<Answer> {
    let data: Vec<String> = data.iter().map(|data| data.to_string()).collect();
    let set = Rrset { owner: format!("{owner}."), kind: kind.into(), ttl: 60, data };
    vec![Answer { server: "ns1".into(), serial: 1, rrset: (!set.data.is_empty()).then_some(set) }]
}

fn output(text: &str, status: i32) -> Output {
    Output { status, stdout: text.as_bytes().to_vec(), stderr: Vec::new() }
}

fn equal() -> Comparison {
    Comparison { examined: 9, missing: 0, missing_bytes: 0, extra: 0, different: 0, examples: vec![] }
}

fn differs(what: &str) -> Comparison {
    Comparison { missing: 1, examples: vec![what.into()], ..equal() }
}

fn copied(files: u64) -> SyncReport {
    let mark = "1".to_string();
    SyncReport { examined: 9, copied: files, bytes: 1, renamed: 0, set_aside: 0, vanished: 0, milliseconds: 1, mark }
}

/// Everything is ready: empty queues, DNS at new, Dovecot stopped, and a backup that will be right.
fn host() -> Host {
    let mut host = Host::new(requests::MANIFEST);
    for side in SIDES {
        host.exec("queue", side).says("");
    }
    runs(&mut host, true);
    host.exec("dovecot", Side::Old).ends(3, "inactive\n", "");
    host.query("domains", Side::Old).holds(["name"], &[["example.org"]]);
    host.query("users", Side::Old).counts(30);
    host.lookup("mx").gives(answer("example.org", "MX", &["10 mail.example.org."]));
    host.lookup("alias").by(|values| {
        let of = if values[0] == "imap.example.org" { &["mail.example.org."][..] } else { &[] };
        Ok(answer(&values[0], "CNAME", of))
    });
    host.lookup("a").gives(answer("mail.example.org", "A", &[NEW]));
    host.lookup("aaaa").gives(answer("mail.example.org", "AAAA", &[]));
    for part in ["mail", "settings", "state"] {
        host.comparison(part).gives(equal());
    }
    host.free("backup", Side::New).gives(Space { bytes: 1_000_000, inodes: 1000 });
    host.list("mail", Side::Old).gives(vec![]);
    let description = Description { product: "mariadb".into(), version: "10.5.29".into(), tables: vec![] };
    host.schema("webmail", Side::Old).gives(description);
    host
}

/// Which units run and which a boot starts: stops, starts and the like are obeyed.
#[derive(Debug, Clone, Default)]
struct Systemd(Rc<RefCell<BTreeMap<String, (bool, String)>>>);

impl Systemd {
    fn of(host: &mut Host, units: &[(&str, bool, &str)]) -> Systemd {
        let unit = |&(name, runs, enabled): &(&str, bool, &str)| (name.to_string(), (runs, enabled.to_string()));
        let systemd = Systemd(Rc::new(RefCell::new(units.iter().map(unit).collect())));
        let active = |(runs, _): &(bool, String)| if *runs { output("active\n", 0) } else { output("inactive\n", 3) };
        let enabled = |(_, word): &(bool, String)| output(word, i32::from(word != "enabled"));
        systemd.answers(host.exec("active", Side::Old).anew(), active);
        systemd.answers(host.exec("enabled", Side::Old).anew(), enabled);
        systemd.obeys(host, "stop", |unit| unit.0 = false);
        systemd.obeys(host, "start", |unit| unit.0 = true);
        systemd.obeys(host, "disable", |unit| unit.1 = "disabled".into());
        systemd.obeys(host, "enable", |unit| unit.1 = "enabled".into());
        systemd
    }

    fn answers(&self, replies: Replies<'_, Output>, answer: impl Fn(&(bool, String)) -> Output + 'static) {
        let units = self.0.clone();
        replies.by(move |values| Ok(units.borrow().get(&values[0]).map_or(output("", 4), &answer)));
    }

    fn obeys(&self, host: &mut Host, request: &str, change: impl Fn(&mut (bool, String)) + 'static) {
        let units = self.0.clone();
        host.exec(request, Side::Old).anew().by(move |values| {
            units.borrow_mut().get_mut(&values[0]).map(&change);
            Ok(output("", 0))
        });
    }
}

fn runs(host: &mut Host, yes: bool) -> Systemd {
    let enabled = if yes { "enabled" } else { "disabled" };
    Systemd::of(host, &[("postfix", yes, enabled), ("rspamd", yes, enabled)])
}

fn stopped_with(host: &mut Host) -> Finding {
    match host.apply::<Retire>(config()) {
        Err(Failure::Stopped(finding)) => finding,
        other => panic!("it went on: {other:?}"),
    }
}

#[test]
fn nothing_is_stopped_before_the_backup_was_compared_and_the_operator_said_yes() {
    let mut host = host();
    let waits = host.apply::<Retire>(config());
    assert!(matches!(waits, Err(Failure::Waiting(_))), "{waits:?}");
    let effects = host.effects();
    assert!(!effects.iter().any(|effect| effect.contains("stop") || effect.contains("disable")), "{effects:?}");
    assert_eq!(host.remembered("compared/mail").as_deref(), Some("yes"));
    host.forget_calls();
    host.answer("go-on", &["yes"]);
    host.apply::<Retire>(config()).unwrap();
    let effects: Vec<String> = host.effects().into_iter().filter(|effect| effect.contains(" on old: ")).collect();
    assert_eq!(
        effects,
        [
            "exec.stop on old: postfix",
            "exec.stop on old: rspamd",
            "exec.disable on old: postfix",
            "exec.disable on old: rspamd"
        ]
    );
}

const MAIL: &str = "{\"queue_id\":\"4F2A1B\",\"recipients\":[{\"address\":\"john@Example.org\"}]}\n";

fn waits_a_moment(host: &mut Host) -> bool {
    matches!(host.apply::<Retire>(config()), Err(Failure::Waiting(Gate::Moment(_))))
}

#[test]
fn a_mail_in_either_queue_is_waited_for() {
    for side in SIDES {
        let mut host = host();
        host.exec("queue", side).anew().says(MAIL);
        assert!(waits_a_moment(&mut host));
        assert_eq!(host.effects(), Vec::<String>::new());
        // One that leaves within seconds needs nobody.
        host.exec("queue", side).anew().says(MAIL).says(MAIL).says("");
        assert!(matches!(host.apply::<Retire>(config()), Err(Failure::Waiting(Gate::Question(_)))));
    }
}

#[test]
fn what_users_of_new_send_into_the_world_is_not_waited_for() {
    let mut host = host();
    let outgoing = MAIL.replace("Example.org", "elsewhere.example");
    host.exec("queue", Side::New).anew().says(&outgoing);
    assert!(matches!(host.apply::<Retire>(config()), Err(Failure::Waiting(Gate::Question(_)))));
    host.exec("queue", Side::Old).anew().says(&outgoing);
    assert!(waits_a_moment(&mut host), "nobody would hand it on from old");
}

#[test]
fn a_name_or_an_mx_that_leads_to_old_stops_it_also_behind_an_alias_and_in_another_spelling() {
    let mut host = host();
    host.lookup("a").anew().gives(answer("mail.example.org", "A", &[OLD]));
    let finding = stopped_with(&mut host);
    assert!(finding.text.contains("imap.example.org (192.0.2.11, says ns1)"), "{}", finding.text);
    assert!(finding.text.contains("mail.example.org (192.0.2.11, says ns1)"), "{}", finding.text);
    host.lookup("a").anew().gives(answer("mail.example.org", "A", &[NEW]));
    host.lookup("aaaa").anew().gives(answer("mail.example.org", "AAAA", &["2001:db8::11"]));
    let mut config = config();
    config["old-addresses"] = json!([OLD, "2001:0db8:0:0::11"]);
    assert!(matches!(host.apply::<Retire>(config), Err(Failure::Stopped(_))));
}

#[test]
fn name_servers_that_do_not_answer_stop_it_and_a_domain_without_zone_does_not() {
    let mut host = host();
    host.lookup("mx").anew().fails(Failure::Unreachable("ns1 does not answer".into()));
    assert!(stopped_with(&mut host).text.contains("could not be asked"));
    host.lookup("mx").anew().fails(Failure::NotFound("no zone".into()));
    assert!(matches!(host.apply::<Retire>(config()), Err(Failure::Waiting(_))));
}

#[test]
fn somebody_who_is_logged_in_on_old_stops_it() {
    let mut host = host();
    host.exec("dovecot", Side::Old).anew().says("active\n");
    host.exec("who", Side::Old).says("username   # proto (pids) (ips)\njohn@example.org 1 imap (7) (192.0.2.99)\n");
    assert!(stopped_with(&mut host).text.contains("john@example.org"));
    host.exec("who", Side::Old).anew().says("username # proto (pids) (ips)\n");
    assert!(matches!(host.apply::<Retire>(config()), Err(Failure::Waiting(_))));
}

#[test]
fn a_straggler_within_the_hold_is_waited_for_and_local_mail_is_none() {
    let mut host = host();
    let line = |at: u64, relay: &str| {
        format!(
            "{{\"__REALTIME_TIMESTAMP\":\"{at}000000\",\"MESSAGE\":\"A1: to=<a@b>, relay={relay}:25, status=sent (ok)\"}}\n"
        )
    };
    let (recent, now) = (host.now() - 3600, host.now());
    host.exec("sent", Side::Old).says(&(line(recent, "192.0.2.12[192.0.2.12]") + &line(now, "127.0.0.1[127.0.0.1]")));
    let mut config = config();
    config["hold"] = json!("7d");
    let until = recent + 7 * 86_400;
    assert_eq!(host.apply::<Retire>(config.clone()), Err(Failure::Waiting(Gate::Moment(until))));
    assert_eq!(host.effects(), Vec::<String>::new());
    host.pass(7 * 86_400);
    assert!(matches!(host.apply::<Retire>(config), Err(Failure::Waiting(Gate::Question(_)))));
}

#[test]
fn a_backup_that_stays_different_stops_it() {
    let mut host = host();
    host.comparison("mail").anew().gives(differs("example.org/john/cur/1: missing on the target"));
    let finding = stopped_with(&mut host);
    assert_eq!(finding.subject, "backup of old's mail");
    assert!(finding.text.contains("after 3 passes: example.org/john"), "{}", finding.text);
}

#[test]
fn what_rspamd_writes_while_it_runs_must_be_alike_once_it_is_stopped() {
    let mut host = host();
    let written = Comparison { different: 1, examples: vec!["rspamd/stats.ucl: content".into()], ..equal() };
    host.comparison("state").anew().gives(written);
    assert!(matches!(host.apply::<Retire>(config()), Err(Failure::Waiting(_))));
    host.answer("go-on", &["yes"]);
    let finding = stopped_with(&mut host);
    assert_eq!(finding.subject, "backup of old's state");
    assert!(!host.effects().iter().any(|effect| effect.contains("disable")), "{:?}", host.effects());
}

#[test]
fn a_backup_that_would_not_fit_is_found_before_the_disk_is_full() {
    let mut host = host();
    let large = Comparison { missing_bytes: 2_000_000, ..differs("x: missing") };
    host.comparison("mail").anew().gives(large);
    assert!(stopped_with(&mut host).text.contains("needs 2.0 MB more, and 1.0 MB are free"));
    assert_eq!(host.effects(), ["exec.make-folders on new"]);
    let found = host.check::<Retire>(config()).unwrap();
    assert!(found.iter().any(|finding| finding.severity == Severity::Blocker), "{found:?}");
}

#[test]
fn what_was_compared_by_contents_is_only_so_again_where_something_was_copied() {
    let mut host = host();
    for part in ["mail", "settings", "state"] {
        host.sync(part).gives(copied(5)).gives(copied(0));
    }
    for _ in 0..2 {
        assert!(matches!(host.apply::<Retire>(config()), Err(Failure::Waiting(_))));
    }
    assert_eq!(host.remembered("compared/mail").as_deref(), Some("yes"));
    host.sync("mail").anew().gives(copied(1));
    host.comparison("mail").anew().gives(differs("late: content")).gives(equal());
    assert!(matches!(host.apply::<Retire>(config()), Err(Failure::Waiting(_))));
}

#[test]
fn a_mail_that_arrives_in_the_moment_of_the_stop_lets_postfix_run_again_until_it_is_handed_on() {
    let mut host = host();
    host.answer("go-on", &["yes"]);
    host.exec("queue", Side::Old).anew().says("").says("").says(MAIL);
    assert!(waits_a_moment(&mut host));
    let (stop, start) = ("exec.stop on old: postfix", "exec.start on old: postfix");
    let of_units = |host: &Host| -> Vec<String> {
        host.effects().into_iter().filter(|effect| effect.contains(" on old: ")).collect()
    };
    assert_eq!(of_units(&host), [stop, start], "it is not stopped a second time while its queue holds a mail");

    let mut host = self::host();
    host.answer("go-on", &["yes"]);
    host.exec("queue", Side::Old).anew().says("").says("").says(MAIL).says(MAIL).says("");
    host.apply::<Retire>(config()).unwrap();
    assert_eq!(of_units(&host)[..4], [stop, start, stop, "exec.stop on old: rspamd"]);
}

#[test]
fn a_sender_that_never_rests_is_not_shut_out_in_the_middle_of_a_mail() {
    let mut host = host();
    host.answer("go-on", &["yes"]);
    let replies = host.exec("queue", Side::Old).anew().says("").says("");
    (0..3).fold(replies, |replies, _| replies.says(MAIL).says(""));
    assert!(waits_a_moment(&mut host));
    assert_eq!(host.effects().last().map(String::as_str), Some("exec.start on old: postfix"));
}

#[test]
fn ones_own_backup_is_asked_for_and_nothing_is_copied() {
    let mut host = host();
    let mut config = config();
    config["backup"] = json!("own");
    let found = host.check::<Retire>(config.clone()).unwrap();
    assert!(found.iter().any(|finding| finding.severity == Severity::Blocker), "it says nowhere where it is");
    config["backup-place"] = json!("borg on nas");
    assert_eq!(host.apply::<Retire>(config.clone()), Err(Failure::Waiting(Gate::Question("own-backup".into()))));
    host.answer("own-backup", &["yes"]);
    assert_eq!(host.apply::<Retire>(config), Err(Failure::Waiting(Gate::Question("go-on".into()))));
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn before_the_end_check_only_notes_what_is_not_yet_so() {
    let mut host = host();
    host.lookup("a").anew().gives(answer("mail.example.org", "A", &[OLD]));
    host.exec("queue", Side::Old).anew().says("{\"queue_id\":\"4F2A1B\"}\n");
    let found = host.check::<Retire>(config()).unwrap();
    assert!(found.iter().all(|finding| matches!(finding.severity, Severity::Ok | Severity::Note)), "{found:?}");
    let forecast = host.preview::<Retire>(config()).unwrap();
    assert!(forecast.changes.iter().all(|change| change.reversible), "undo starts everything again");
    assert!(forecast.not_known_yet.iter().any(|text| text.contains("the queue of old holds 1 mail")));
}

#[test]
fn verify_finds_a_service_that_somebody_started_again_and_a_backup_that_lacks_mail() {
    let mut host = host();
    runs(&mut host, false);
    let bad = |found: Vec<Finding>| found.into_iter().filter(|f| f.severity == Severity::Blocker).collect::<Vec<_>>();
    assert_eq!(bad(host.verify::<Retire>(config()).unwrap()).len(), 0);
    runs(&mut host, true);
    host.comparison("mail").anew().gives(differs("example.org/john/cur/1: missing on the target"));
    let found = bad(host.verify::<Retire>(config()).unwrap());
    let subjects: Vec<&str> = found.iter().map(|finding| finding.subject.as_str()).collect();
    assert_eq!(subjects, ["postfix on old", "rspamd on old", "backup of old's mail in /var/backups/rehome-old"]);
}

#[test]
fn verify_knows_what_disabling_changed_in_etc_from_a_backup_that_lacks_a_file() {
    let mut host = host();
    runs(&mut host, false);
    let bad = |found: Vec<Finding>| found.into_iter().filter(|f| f.severity == Severity::Blocker).count();
    let examples =
        vec!["rc2.d/K01postfix: missing on the target".to_string(), "rc2.d/S01postfix: only on the target".into()];
    host.comparison("settings").anew().gives(Comparison { extra: 1, examples: examples.clone(), ..differs("") });
    assert_eq!(bad(host.verify::<Retire>(config()).unwrap()), 0);
    let examples = [examples, vec!["postfix/main.cf: missing on the target".into()]].concat();
    host.comparison("settings").anew().gives(Comparison { missing: 2, examples, ..differs("") });
    assert_eq!(bad(host.verify::<Retire>(config()).unwrap()), 1);
}

#[test]
fn undo_starts_what_ran_and_leaves_stopped_what_was_stopped_before() {
    let mut host = host();
    host.remember("was/postfix", "active, enabled");
    host.remember("was/rspamd", "inactive, masked");
    Systemd::of(&mut host, &[("postfix", false, "disabled"), ("rspamd", false, "masked")]);
    host.undo::<Retire>(config()).unwrap();
    assert_eq!(host.effects(), ["exec.enable on old: postfix", "exec.start on old: postfix"]);
}
