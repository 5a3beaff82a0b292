//! The phase against a scripted Postfix.

use rehome_sdk::test::Host;
use serde_json::{Value, json};

use super::*;

fn config(part: &str) -> Value {
    json!({ "part": part, "new-host": "192.0.2.2", "old-host": "192.0.2.1" })
}

fn queued(id: &str, arrived: u64) -> String {
    format!(
        "{{\"queue_name\": \"deferred\", \"queue_id\": \"{id}\", \"arrival_time\": {arrived}, \"sender\": \"a@example.net\", \
         \"recipients\": [{{\"address\": \"b@example.org\", \"delay_reason\": \"connection refused\"}}]}}\n"
    )
}

/// One that everybody has.
fn delivered(id: &str, arrived: u64) -> String {
    let whole = queued(id, arrived);
    let (start, end) = (whole.find('[').unwrap(), whole.find(']').unwrap());
    format!("{}[]{}", &whole[..start], &whole[end + 1..])
}

const LMTP: &str = "virtual_transport = lmtp:unix:private/dovecot-lmtp";
const UNEXPANDED: &str = "receive_override_options = no_address_mappings";

/// Old as `net-on` makes it.
fn net_on(host: &mut Host) {
    host.exec("aliases-were", Side::Old).anew().says("receive_override_options =").says(UNEXPANDED);
    host.exec("transport-was", Side::Old)
        .anew()
        .says(LMTP)
        .says("virtual_transport = lmtp:unix:private/held-by-rehome");
}

fn host() -> Host {
    let mut host = Host::new(requests::MANIFEST);
    for side in SIDES {
        host.exec("active", side).says("active");
        host.exec("bounces-was", side).says("soft_bounce = no").says("soft_bounce = yes");
        host.exec("transport-was", side).says(LMTP);
        host.exec("queue", side).says("");
        host.exec("aliases-were", side).says("receive_override_options =");
        host.exec("intake-was", side).says("smtpd_data_restrictions =");
        host.exec("patience", side).says("5d");
        host.exec("troubles", side).says("");
        host.query("domains", side).holds(["name"], &[["example.org"]]);
        host.exec("sizes", side).says("10240000");
    }
    host.exec("login-was", Side::Old).says("smtpd_sasl_auth_enable = yes").says("smtpd_sasl_auth_enable = no");
    host.exec("trust-was", Side::New).says("smtpd_milter_maps =");
    host.exec("sane", Side::New).says("");
    host.exec("detours", Side::Old).says("");
    host.exec("rules", Side::New).says("smtpd_recipient_restrictions =");
    host.exec("alias-domains", Side::Old).says("$virtual_alias_maps");
    host
}

#[test]
fn the_net_is_spread_on_both_sides_and_old_takes_mail_without_dovecot() {
    let mut host = host();
    net_on(&mut host);
    host.apply::<Postfix>(config("net-on")).unwrap();
    let effects = host.effects();
    for effect in
        ["bounces-off on old", "bounces-off on new", "login-off on old", "hold on old", "aliases-there on old"]
    {
        assert!(effects.contains(&format!("exec.{effect}")), "{effect}: {effects:?}");
    }
}

#[test]
fn a_delivery_that_has_begun_has_its_outcome_before_dovecot_may_stop() {
    let mut host = host();
    net_on(&mut host);
    let active = queued("4F2A1B3C4D", 0).replace("deferred\"", "active\"");
    host.exec("queue", Side::Old).anew().says(&active).says(&active).says("");
    host.apply::<Postfix>(config("net-on")).unwrap();
    let calls = host.calls();
    let at = |what: &str| calls.iter().rposition(|call| call == what).unwrap_or_else(|| panic!("{what}: {calls:?}"));
    let looks =
        calls[at("exec.pause on old")..at("exec.hold on old")].iter().filter(|call| *call == "exec.queue on old");
    assert!(looks.count() >= 5, "{calls:?}");
    assert!(at("exec.hold on old") < at("exec.aliases-there on old"));
    assert!(at("exec.aliases-there on old") < at("exec.resume on old"));
}

#[test]
fn everything_obeys_the_new_settings_before_mail_comes_in() {
    let mut host = host();
    net_on(&mut host);
    host.apply::<Postfix>(config("net-on")).unwrap();
    let effects = host.effects();
    let at = |what: &str| effects.iter().rposition(|effect| effect == what).unwrap();
    let holds = at("exec.hold on old");
    assert_eq!(effects[holds..holds + 3], ["exec.hold on old", "exec.reload on old", "exec.aliases-there on old"]);
    let settings = at("exec.login-off on old");
    assert_eq!(
        effects[settings..],
        ["exec.login-off on old", "exec.reload on old", "exec.resume on old", "exec.reload on old"]
    );
}

#[test]
fn mail_comes_in_again_even_where_a_setting_could_not_be_changed() {
    let mut host = host();
    net_on(&mut host);
    host.exec("hold", Side::Old).fails(Failure::Unsupported("no".into()));
    assert!(host.apply::<Postfix>(config("net-on")).is_err());
    assert_eq!(host.effects().iter().rev().nth(1).map(String::as_str), Some("exec.resume on old"));
}

#[test]
fn the_net_spread_again_once_old_hands_on_its_mail_holds_nothing_back() {
    let mut host = host();
    host.remember(FORWARDS, "1");
    host.exec("aliases-were", Side::Old).anew().says(UNEXPANDED);
    host.exec("transport-was", Side::Old).anew().says("virtual_transport = smtp:[192.0.2.2]:25");
    host.apply::<Postfix>(config("net-on")).unwrap();
    assert!(!host.effects().contains(&"exec.hold on old".into()));
}

#[test]
fn domains_that_are_only_aliases_are_expanded_on_old() {
    let mut host = host();
    host.exec("transport-was", Side::Old)
        .anew()
        .says(LMTP)
        .says("virtual_transport = lmtp:unix:private/held-by-rehome");
    host.exec("alias-domains", Side::Old).anew().says("hash:/etc/postfix/alias-domains");
    host.apply::<Postfix>(config("net-on")).unwrap();
    assert!(!host.effects().contains(&"exec.aliases-there on old".into()));
    let found = host.check::<Postfix>(config("net-on")).unwrap();
    assert!(found.iter().any(|finding| finding.severity == Severity::Warning && finding.text.contains("alias")));
}

#[test]
fn undo_of_the_net_expands_what_waits_before_anything_may_bounce() {
    let mut host = host();
    let waits = queued("4F2A1B3C4D", 0);
    let queue = host.exec("queue", Side::Old).anew();
    queue.says(&waits).says(&waits).says(&waits).says(&waits).says("");
    host.undo::<Postfix>(config("net-on")).unwrap();
    let effects = host.effects();
    let at =
        |what: &str| effects.iter().position(|effect| effect == what).unwrap_or_else(|| panic!("{what}: {effects:?}"));
    assert!(at("exec.aliases-back on old") < at("exec.unheld on old"), "never delivered unexpanded");
    assert!(at("exec.aliases-back on old") < at("exec.again on old"));
    assert!(at("exec.again on old") < at("exec.bounces-back on old"));
}

#[test]
fn a_flush_that_came_to_nothing_is_made_again() {
    let mut host = host();
    let waits = queued("4F2A1B3C4D", 0);
    let queue = host.exec("queue", Side::Old).anew();
    (0..8).fold(queue, |queue, _| queue.says(&waits)).says("");
    host.exec("trust-was", Side::New).anew().says("smtpd_milter_maps = inline:{ {192.0.2.1=DISABLE} }");
    host.exec("transport-was", Side::Old).anew().says(LMTP).says("virtual_transport = smtp:[192.0.2.2]:25");
    host.apply::<Postfix>(config("forward")).unwrap();
    let flushes = host.effects().iter().filter(|effect| *effect == "exec.flush on old").count();
    assert_eq!(flushes, 2, "once at once, and once more while it waits: {:?}", host.effects());
    let warned = host.reported().into_iter().find(|line| line.starts_with("warning"));
    assert_eq!(warned, None);
}

#[test]
fn new_hands_to_old_what_it_gets_and_keeps_it_from_the_switch_on() {
    let mut host = host();
    let handed = "virtual_transport = smtp:[192.0.2.1]:25";
    host.exec("aliases-were", Side::New).anew().says("receive_override_options =").says(UNEXPANDED);
    host.exec("transport-was", Side::New).anew().says(LMTP).says(handed);
    host.apply::<Postfix>(config("to-old")).unwrap();
    let effects = host.effects();
    let expands_until_it_hands = ["exec.to-old on new", "exec.reload on new", "exec.new-aliases-there on new"];
    assert_eq!(effects[2..5], expands_until_it_hands, "{effects:?}");
    host.forget_calls();
    host.exec("trust-was", Side::New).anew().says("smtpd_milter_maps = inline:{ {192.0.2.1=DISABLE} }");
    host.exec("transport-was", Side::Old).anew().says(LMTP).says("virtual_transport = smtp:[192.0.2.2]:25");
    host.apply::<Postfix>(config("forward")).unwrap();
    let effects = host.effects();
    let at =
        |what: &str| effects.iter().position(|effect| effect == what).unwrap_or_else(|| panic!("{what}: {effects:?}"));
    assert!(at("exec.transport-back on new") < at("exec.forward on old"), "never both at once");
    host.forget_calls();
    host.apply::<Postfix>(config("to-old")).unwrap();
    assert!(host.effects().is_empty(), "applied again it would make a loop: {:?}", host.effects());
}

#[test]
fn a_new_side_with_users_of_its_own_hands_nothing_to_old() {
    let mut host = host();
    host.query("domains", Side::New).anew().holds(["name"], &[["example.org"], ["other.example"]]);
    host.apply::<Postfix>(config("to-old")).unwrap();
    assert!(host.effects().is_empty());
    assert!(host.check::<Postfix>(config("to-old")).unwrap()[0].text.contains("other.example"));
    host.undo::<Postfix>(config("forward")).unwrap();
    assert!(!host.effects().contains(&"exec.to-old on new".into()), "{:?}", host.effects());
}

#[test]
fn after_an_undo_new_goes_on_handing_its_mail_to_old() {
    let mut host = host();
    host.remember("hands-back", "yes");
    host.exec("transport-was", Side::New).anew().says("virtual_transport = smtp:[192.0.2.1]:25");
    host.undo::<Postfix>(config("to-old")).unwrap();
    assert!(host.effects().is_empty());
}

#[test]
fn a_setting_that_does_not_stay_is_named() {
    let mut host = host();
    host.exec("bounces-was", Side::New).anew().says("soft_bounce = no");
    let Err(Failure::Stopped(finding)) = host.apply::<Postfix>(config("net-on")) else { panic!("it went on") };
    assert_eq!(finding.subject, "soft_bounce on new");
}

#[test]
fn new_trusts_old_before_old_hands_over_its_mail() {
    let mut host = host();
    let trusting = "smtpd_milter_maps = inline:{ {192.0.2.1=DISABLE} {0.0.0.0=DISABLE} }";
    let was = host.exec("trust-was", Side::New).anew().says("smtpd_milter_maps =").says("smtpd_milter_maps =");
    was.says("smtpd_milter_maps =").says(trusting);
    host.exec("transport-was", Side::Old)
        .anew()
        .says("virtual_transport = lmtp:unix:private/dovecot-lmtp")
        .says("virtual_transport = smtp:[192.0.2.2]:25");
    host.apply::<Postfix>(config("forward")).unwrap();
    let effects = host.effects();
    let at =
        |what: &str| effects.iter().position(|effect| effect == what).unwrap_or_else(|| panic!("{what}: {effects:?}"));
    assert!(at("exec.trust on new") < at("exec.forward on old"));
    assert!(at("exec.forward on old") < at("exec.flush on old"));
}

#[test]
fn what_another_migration_has_set_on_new_is_left_alone_where_it_fits() {
    let mut host = host();
    let both = "smtpd_milter_maps = inline:{ {192.0.2.9=DISABLE} {192.0.2.1=DISABLE} }";
    host.exec("trust-was", Side::New).anew().says(both);
    host.exec("transport-was", Side::Old)
        .anew()
        .says("virtual_transport = x")
        .says("virtual_transport = smtp:[192.0.2.2]:25");
    host.apply::<Postfix>(config("forward")).unwrap();
    assert!(!host.effects().contains(&"exec.trust on new".to_string()));

    // Its net is not taken for the state of before: the last one to end takes it in.
    host.forget_calls();
    host.exec("bounces-was", Side::New).anew().says("soft_bounce = yes");
    host.exec("bounces-was", Side::Old).anew().says("soft_bounce = no");
    host.apply::<Postfix>(config("net-off")).unwrap();
    let effects = host.effects();
    assert!(effects.contains(&"exec.bounces-no on new".to_string()), "{effects:?}");
    assert!(!effects.contains(&"exec.bounces-no on old".to_string()), "{effects:?}");
}

#[test]
fn undo_sends_only_the_domains_that_moved_back_to_old() {
    let mut host = host();
    let detour = "transport_maps = texthash:/etc/postfix/rehome-back-to-192.0.2.1";
    let some = |part: &str| {
        let mut some = config(part);
        some["domains"] = json!(["example.com"]);
        some
    };
    host.exec("detours-was", Side::New).says("transport_maps =").says(detour);
    host.undo::<Postfix>(some("forward")).unwrap();
    let effects = host.effects();
    assert!(effects.iter().any(|effect| effect.starts_with("file.back on new put")), "{effects:?}");
    assert!(effects.contains(&"exec.domains-back on new".into()) && !effects.contains(&"exec.to-old on new".into()));

    // Another try: new delivers the mail of these domains itself again.
    host.forget_calls();
    host.exec("transport-was", Side::Old)
        .anew()
        .says("virtual_transport = x")
        .says("virtual_transport = smtp:[192.0.2.2]:25");
    let trusting = "smtpd_milter_maps = inline:{ {192.0.2.1=DISABLE} {0.0.0.0=DISABLE} }";
    host.exec("trust-was", Side::New).anew().says(trusting);
    host.apply::<Postfix>(some("forward")).unwrap();
    assert!(host.effects().contains(&"exec.detours-back on new".into()));

    // A table of the operator's own is not overwritten.
    host.exec("detours-was", Side::New).anew().says("transport_maps = hash:/etc/postfix/transport");
    let Err(Failure::Stopped(finding)) = host.undo::<Postfix>(some("forward")) else { panic!("it went on") };
    assert!(finding.hint.unwrap().contains("DOMAIN smtp:[192.0.2.1]:25"));
}

#[test]
fn undo_lets_new_hand_its_mail_to_old_and_puts_old_back() {
    let mut host = host();
    host.exec("transport-was", Side::New)
        .anew()
        .says("virtual_transport = x")
        .says("virtual_transport = smtp:[192.0.2.1]:25");
    host.exec("aliases-were", Side::New).anew().says("receive_override_options =").says(UNEXPANDED);
    host.undo::<Postfix>(config("forward")).unwrap();
    let effects = host.effects();
    assert_eq!(effects.first().map(String::as_str), Some("exec.transport-back on old"));
    host.remember(NET_ON, "1");
    host.forget_calls();
    host.undo::<Postfix>(config("forward")).unwrap();
    assert_eq!(host.effects().first().map(String::as_str), Some("exec.hold on old"), "until net-on is undone");
    assert!(effects.contains(&"exec.to-old on new".into()) && effects.contains(&"exec.trust-back on new".into()));
}

#[test]
fn watching_ends_when_old_was_quiet_for_long_enough() {
    let mut host = host();
    let now = host.now();
    host.remember(FORWARDS, &now.to_string());
    let written_there = format!(
        "{{\"__REALTIME_TIMESTAMP\":\"{0}000000\",\"MESSAGE\":\"5F3: uid=0 from=<root>\"}}\n\
         {{\"__REALTIME_TIMESTAMP\":\"{0}000000\",\"MESSAGE\":\"5F3: to=<b@example.org>, relay=192.0.2.2[192.0.2.2]:25, status=sent (250 ok)\"}}\n\
         {{\"__REALTIME_TIMESTAMP\":\"{0}000000\",\"MESSAGE\":\"6F3: to=<c@example.com>, relay=mx[198.51.100.9]:25, status=sent (250 ok)\"}}\n",
        now + 5000
    );
    let straggler = format!(
        "{{\"__REALTIME_TIMESTAMP\":\"{}000000\",\"MESSAGE\":\"4F2: to=<b@example.org>, relay=192.0.2.2[192.0.2.2]:25, status=sent (250 ok)\"}}",
        now + 100
    );
    host.exec("sent", Side::Old).says(&format!("{written_there}{straggler}"));
    let week = 7 * 86_400;
    assert_eq!(host.apply::<Postfix>(config("watch")), Err(Failure::Waiting(Gate::Moment(now + 100 + week))));
    host.pass(week + 100);
    host.apply::<Postfix>(config("watch")).unwrap();
}

#[test]
fn a_queue_that_is_not_empty_is_waited_for_however_quiet_it_is() {
    let mut host = host();
    let now = host.now();
    host.remember(FORWARDS, &(now - 30 * 86_400).to_string());
    host.exec("sent", Side::Old).says("");
    host.exec("queue", Side::Old).anew().says(&queued("4F2A1B3C4D", now));
    assert_eq!(host.apply::<Postfix>(config("watch")), Err(Failure::Waiting(Gate::Moment(now + 600))));
    assert!(host.reported().iter().any(|line| line.contains("4F2A1B3C4D") && line.contains("connection refused")));
}

#[test]
fn a_mail_that_everybody_has_is_neither_delivered_to_nobody_nor_sent_back() {
    let mut host = host();
    let now = host.now();
    host.remember(FORWARDS, &(now - 30 * 86_400).to_string());
    host.exec("sent", Side::Old).says("");
    let mail = delivered("4F2A1B3C4D", now - 4 * 86_400);
    host.exec("queue", Side::Old).anew().says(&mail).says(&mail);
    let found = format!("{:?}", host.check::<Postfix>(config("net-on")).unwrap());
    assert!(found.contains("everybody has it") && !found.contains(" to ,"), "{found}");
    host.apply::<Postfix>(config("watch")).unwrap_err();
    let said = host.reported();
    assert!(said.iter().any(|line| line.contains("4F2A1B3C4D") && line.contains("everybody has it")), "{said:?}");
    assert!(!said.iter().any(|line| line.contains("goes back to its sender")), "{said:?}");
}

#[test]
fn only_the_queue_id_that_the_operator_named_is_deleted() {
    let mut host = host();
    let now = host.now();
    host.remember(FORWARDS, &(now - 30 * 86_400).to_string());
    host.exec("sent", Side::Old).says("");
    let (one, two) = (queued("4F2A1B3C4D", now - 3600), queued("5F2A1B3C4D", now - 3600));
    host.exec("queue", Side::New).anew().says(&format!("{one}{two}"));
    assert_eq!(host.apply::<Postfix>(config("watch")), Err(Failure::Waiting(Gate::Question("delete".into()))));
    assert!(host.effects().is_empty());
    host.answer("delete", &["5F2A1B3C4D"]);
    host.exec("queue", Side::New).anew().says(&format!("{one}{two}")).says(&one);
    assert!(matches!(host.apply::<Postfix>(config("watch")), Err(Failure::Waiting(Gate::Moment(_)))));
    assert_eq!(host.effects(), ["exec.delete-queued on new: 5F2A1B3C4D"]);
}

#[test]
fn a_queue_id_that_postfix_gave_again_is_not_the_mail_that_was_named() {
    let mut host = host();
    let now = host.now();
    host.remember(FORWARDS, &(now - 30 * 86_400).to_string());
    host.remember("offered", &format!("4F2A1B3C4D@{}", now - 9000));
    host.exec("sent", Side::Old).says("");
    host.exec("queue", Side::New).anew().says(&queued("4F2A1B3C4D", now - 3600));
    host.answer("delete", &["4F2A1B3C4D"]);
    assert!(matches!(host.apply::<Postfix>(config("watch")), Err(Failure::Waiting(Gate::Moment(_)))));
    assert!(host.effects().is_empty());
}

#[test]
fn what_users_send_into_the_world_is_not_waited_for() {
    let mut host = host();
    let now = host.now();
    host.remember(FORWARDS, &(now - 30 * 86_400).to_string());
    host.exec("sent", Side::Old).says("");
    host.exec("queue", Side::New).anew().says(&queued("4F2A1B3C4D", now - 3600).replace("example.org", "typo.example"));
    host.apply::<Postfix>(config("watch")).unwrap();
    assert!(host.reported().iter().any(|line| line.contains("on its way from new into the world")));
}

#[test]
fn a_mail_that_soon_goes_back_to_its_sender_is_a_warning_and_a_bounce_is_named() {
    let mut host = host();
    let now = host.now();
    host.remember(FORWARDS, &now.to_string());
    host.exec("sent", Side::Old).says("");
    host.exec("troubles", Side::New).anew().says(&format!(
        "{{\"__REALTIME_TIMESTAMP\":\"{now}000000\",\"MESSAGE\":\"4F: to=<x@example.org>, status=bounced (no room)\"}}"
    ));
    host.exec("queue", Side::Old).anew().says(&queued("4F2A1B3C4D", now - 4 * 86_400));
    assert!(host.apply::<Postfix>(config("watch")).is_err());
    let said = host.reported().join("\n");
    assert!(said.contains("goes back to its sender on") && said.contains("to x@example.org: no room"), "{said}");
}

#[test]
fn a_mail_that_is_still_there_after_it_was_deleted_stops_the_phase() {
    let mut host = host();
    let now = host.now();
    host.remember(FORWARDS, &now.to_string());
    host.exec("sent", Side::Old).says("");
    host.exec("queue", Side::New).anew().says(&queued("4F2A1B3C4D", now - 3600));
    assert_eq!(host.apply::<Postfix>(config("watch")), Err(Failure::Waiting(Gate::Question("delete".into()))));
    host.answer("delete", &["4F2A1B3C4D"]);
    assert!(matches!(host.apply::<Postfix>(config("watch")), Err(Failure::Stopped(_))));
}

#[test]
fn a_smaller_size_limit_and_a_detour_are_found_before() {
    let mut host = host();
    host.exec("sizes", Side::Old).anew().says("50000000");
    host.exec("detours", Side::Old).anew().says("hash:/etc/postfix/transport");
    host.exec("rules", Side::New)
        .anew()
        .says("smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:10023");
    let found = host.check::<Postfix>(config("forward")).unwrap();
    assert_eq!(found.iter().filter(|finding| finding.severity == Severity::Warning).count(), 3);
}
