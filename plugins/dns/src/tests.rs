//! The phase against scripted name servers.

use rehome_sdk::dns::{Answer, Rrset};
use rehome_sdk::test::Host;
use serde_json::{Value, json};

use super::*;

fn set(owner: &str, kind: &str, ttl: u32, data: &[&str]) -> Rrset {
    let data = data.iter().map(|data| data.to_string()).collect();
    Rrset { owner: format!("{owner}."), kind: kind.into(), ttl, data }
}

fn says(server: &str, set: Option<Rrset>) -> Answer {
    Answer { server: server.into(), serial: 1, rrset: set }
}

/// Both servers of a zone.
fn both(set: &Rrset) -> Vec<Answer> {
    vec![says("ns1 (192.0.2.53)", Some(set.clone())), says("ns2 (192.0.2.54)", Some(set.clone()))]
}

fn mx(part: &str) -> Value {
    json!({ "part": part, "how": "mx", "from": "old.example.org", "to": "new.example.org", "key": "update" })
}

const OLD: &[&str] = &["10 old.example.org.", "20 backup.example.net."];
const NEW: &[&str] = &["10 new.example.org.", "20 backup.example.net."];

fn host() -> Host {
    let mut host = Host::new(requests::MANIFEST);
    host.query("domains", Side::Old).holds(["name"], &[["example.org"]]);
    host
}

#[test]
fn lowering_remembers_the_old_ttl_and_waits_for_it_to_run_out() {
    let mut host = host();
    let (high, low) = (set("example.org", "MX", 86_400, OLD), set("example.org", "MX", 60, OLD));
    host.lookup("mx").gives(both(&high)).gives(both(&high)).gives(both(&low));
    host.rrset("lower-mx", "planned").gives(low.clone());
    host.rrset("lower-mx", "update").gives(low);
    host.apply::<Dns>(mx("lower")).unwrap();
    assert_eq!(host.effects(), ["record.lower-mx update: example.org"]);
    assert_eq!(host.remembered("old-ttl/MX/example.org").as_deref(), Some("86400"));

    let until = host.now() + 86_400;
    assert_eq!(host.apply::<Dns>(mx("wait")), Err(Failure::Waiting(Gate::Moment(until))));
    host.pass(86_400);
    host.apply::<Dns>(mx("wait")).unwrap();
}

#[test]
fn a_server_that_does_not_follow_is_named() {
    let mut host = host();
    let (high, low) = (set("example.org", "MX", 86_400, OLD), set("example.org", "MX", 60, OLD));
    let stale = vec![says("ns1 (192.0.2.53)", Some(low.clone())), says("ns2 (192.0.2.54)", Some(high.clone()))];
    host.lookup("mx").gives(both(&high)).gives(both(&high)).gives(stale);
    host.rrset("lower-mx", "planned").gives(low);
    let Err(Failure::Stopped(finding)) = host.apply::<Dns>(mx("lower")) else { panic!("it went on") };
    assert!(finding.text.contains("ns2 (192.0.2.54) still says"), "{}", finding.text);
    assert_eq!(host.remembered(LOWERED_AT), None, "nothing runs out before all agree");
}

#[test]
fn waiting_without_lowering_is_a_mistake_in_the_plan() {
    let Err(Failure::Stopped(finding)) = host().apply::<Dns>(mx("wait")) else { panic!("it went on") };
    assert!(finding.hint.unwrap().contains("part = \"lower\""));
}

#[test]
fn the_switch_is_shown_written_and_undone_and_undo_waits_until_resolvers_forget() {
    let mut host = host();
    let (old, new) = (set("example.org", "MX", 60, OLD), set("example.org", "MX", 60, NEW));
    host.lookup("mx").gives(both(&old));
    host.rrset("switch-mx", "planned").gives(new.clone());
    let forecast = host.preview::<Dns>(mx("switch")).unwrap();
    assert_eq!(forecast.changes[0].subject, "MX example.org");
    assert!(forecast.changes[0].after.contains("new.example.org."));
    host.lookup("mx").anew().gives(both(&old)).gives(both(&old)).gives(both(&new));
    host.apply::<Dns>(mx("switch")).unwrap();
    assert!(host.verify::<Dns>(mx("switch")).unwrap().iter().all(|finding| finding.severity == Severity::Ok));
    host.forget_calls();
    host.apply::<Dns>(mx("switch")).unwrap();
    assert!(host.effects().is_empty(), "{:?}", host.effects());

    host.lookup("mx").anew().gives(both(&new)).gives(both(&old));
    let until = host.now() + 60;
    assert_eq!(host.undo::<Dns>(mx("switch")), Err(Failure::Waiting(Gate::Moment(until))));
    host.pass(60);
    host.undo::<Dns>(mx("switch")).unwrap();
    assert_eq!(host.effects(), ["record.switch-mx restore: example.org"]);
}

#[test]
fn undoing_the_old_ttls_waits_until_no_resolver_holds_new_for_so_long() {
    let mut host = host();
    host.remember("old-ttl/MX/example.org", "86400");
    host.lookup("mx").gives(both(&set("example.org", "MX", 60, NEW)));
    let until = host.now() + 86_400;
    assert_eq!(host.undo::<Dns>(mx("restore")), Err(Failure::Waiting(Gate::Moment(until))));
    host.pass(86_399);
    assert_eq!(host.undo::<Dns>(mx("restore")), Err(Failure::Waiting(Gate::Moment(until))));
    host.pass(1);
    host.undo::<Dns>(mx("restore")).unwrap();
    assert_eq!(host.effects(), ["record.restore-mx restore: example.org"]);
}

#[test]
fn an_mx_at_an_alias_is_a_blocker() {
    let mut host = host();
    host.lookup("mx").gives(both(&set("example.org", "MX", 60, OLD)));
    host.lookup("exchange-alias").by(|values| {
        let alias = set("old.example.org", "CNAME", 60, &["other.example.org."]);
        Ok(vec![says("ns1", (values[0] == "old.example.org").then_some(alias))])
    });
    let found = host.check::<Dns>(mx("lower")).unwrap();
    let blocker = found.iter().find(|finding| finding.severity == Severity::Blocker).expect("a blocker");
    assert_eq!(blocker.subject, "old.example.org");
    assert!(blocker.text.contains("alias (CNAME) of other.example.org."));
}

#[test]
fn a_destination_without_address_and_an_spf_that_does_not_name_it_are_found() {
    let mut host = host();
    host.lookup("mx").gives(both(&set("example.org", "MX", 60, OLD)));
    for name in ["exchange-alias", "to-alias", "to-address", "mta-sts", "tlsa"] {
        host.lookup(name).gives(vec![says("ns1", None)]);
    }
    let spf = set("example.org", "TXT", 60, &["\"v=spf1 ip4:192.0.2.1 -all\""]);
    host.lookup("spf").gives(vec![says("ns1", Some(spf))]);
    let found = host.check::<Dns>(mx("switch")).unwrap();
    let of = |severity| found.iter().filter(move |finding| finding.severity == severity).map(|f| f.subject.clone());
    assert_eq!(of(Severity::Blocker).collect::<Vec<_>>(), ["new.example.org"]);
    assert_eq!(of(Severity::Warning).collect::<Vec<_>>(), ["SPF example.org"]);
}

#[test]
fn records_that_name_others_are_left_alone_and_a_plan_that_moves_none_is_stopped() {
    let mut host = host();
    host.lookup("mx").gives(both(&set("example.org", "MX", 60, &["10 elsewhere.example.net."])));
    host.lookup("exchange-alias").gives(vec![says("ns1", None)]);
    host.apply::<Dns>(mx("switch")).unwrap();
    assert!(host.effects().is_empty());
    let found = host.check::<Dns>(mx("lower")).unwrap();
    let blocker = found.iter().find(|finding| finding.severity == Severity::Blocker).expect("a blocker");
    assert_eq!(blocker.text, "no record names old.example.org, nor new.example.org");
}

#[test]
fn addresses_and_host_names_are_not_mixed_up() {
    let mut host = host();
    let config =
        json!({ "part": "lower", "how": "address", "from": "old.example.org", "to": "192.0.2.2", "key": "update" });
    let found = host.check::<Dns>(config).unwrap();
    assert_eq!(found.iter().filter(|finding| finding.severity == Severity::Blocker).count(), 2);
}
