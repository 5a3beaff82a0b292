//! What `check` finds before anything is touched.

use super::*;

#[test]
fn what_is_wrong_with_rspamd_or_redis_is_named_at_once() {
    let mut host = host();
    host.exec("running", Side::New).anew().ends(3, "inactive", "");
    host.exec("sound", Side::New).anew().ends(1, "", "line 3: unexpected }");
    host.redis_version("learned", Side::Old).anew().fails(Failure::Unreachable("Redis on old does not answer".into()));
    let found: Vec<String> = troubles(&mut host, json!({})).into_iter().map(|(_, text)| text).collect();
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("rspamd on new: does not run"));
    assert!(found[1].starts_with("Redis on old: Redis on old does not answer"));
    assert!(found[2].contains("not sound") && found[2].contains("line 3"));
}

#[test]
fn an_older_redis_on_new_is_found_before_it_refuses_the_first_key() {
    let mut host = host();
    host.redis_version("learned", Side::Old).anew().gives("7.0.15".into());
    host.redis_version("learned", Side::New).anew().gives("6.0.16".into());
    assert!(only_blocker(&mut host).contains("is 6.0.16, and 7.0.15 on old"));
}

#[test]
fn statistics_that_are_not_in_redis_are_a_blocker_unless_they_are_left_behind() {
    let mut host = host();
    host.exec("classifier", Side::Old).anew().says(r#"{"bayes": [{"backend": "sqlite3"}]}"#);
    assert!(only_blocker(&mut host).contains("`sqlite3`"));
    assert_eq!(troubles(&mut host, json!({ "learned": [] })), []);
}

#[test]
fn another_database_or_another_server_is_found() {
    let mut host = host();
    host.exec("redis", Side::Old).anew().says(r#"{"servers": "192.0.2.9:6379", "db": "3"}"#);
    let found = troubles(&mut host, json!({}));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].0 == Severity::Warning && found[0].1.contains("192.0.2.9"));
    assert!(found[1].0 == Severity::Blocker && found[1].1.contains("database 3"));
    assert_eq!(troubles(&mut host, json!({ "databases": [3] })).len(), 1);
}

#[test]
fn patterns_that_match_nothing_of_what_old_learned_are_found() {
    let mut host = host();
    host.redis_count("learned", Side::Old).anew().gives(vec![Tally { pattern: "X*".into(), keys: 0 }]);
    assert!(only_blocker(&mut host).contains("no key there matches"));
}

#[test]
fn settings_that_would_make_new_sign_otherwise_are_named_with_both_values() {
    let mut host = host();
    host.exec("signing", Side::New)
        .anew()
        .says(r#"{"selector": "mail", "selector_map": "file:///etc/rspamd/dkim_selectors.map"}"#);
    assert!(only_blocker(&mut host).contains("`selector` is `mail` on new, and `dkim` on old"));
}

#[test]
fn keys_and_maps_elsewhere_than_the_plan_says_are_found() {
    let mut host = host();
    let elsewhere = signing(json!({ "path": "/etc/dkim/$domain.$selector", "selector_map": "/etc/dkim/selectors" }));
    for side in SIDES {
        host.exec("signing", side).anew().says(&elsewhere);
    }
    let found = troubles(&mut host, json!({}));
    assert!(found.iter().any(|(_, text)| text.contains("keys on old lie at /etc/dkim/")), "{found:?}");
    assert!(found.iter().any(|(_, text)| text.contains("the selector map of old is /etc/dkim/selectors")), "{found:?}");
}

#[test]
fn a_missing_folder_on_new_is_found_with_the_command_that_makes_it() {
    let mut host = host();
    host.list("keys", Side::New).anew().fails(Failure::NotFound("/var/lib/rspamd/dkim is not there on new".into()));
    let found = host.check::<Rspamd>(json!({})).unwrap();
    let blocker = found.iter().find(|finding| finding.severity == Severity::Blocker).unwrap();
    assert_eq!(blocker.hint.as_deref(), Some("install -d -o _rspamd -g _rspamd -m 0750 /var/lib/rspamd/dkim"));
    assert!(host.apply::<Rspamd>(json!({})).is_err());
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn a_key_that_dns_does_not_know_or_knows_otherwise_is_found_at_the_server_that_says_so() {
    let mut host = host();
    host.lookup("published").anew().gives(answers(Some(OTHER)));
    let why = only_blocker(&mut host);
    assert!(why.contains("ns1 (192.0.2.53) publishes another key"), "{why}");
    host.lookup("published").anew().gives(answers(None));
    let found = troubles(&mut host, json!({}));
    assert!(found[0].0 == Severity::Warning && found[0].1.contains("2024._domainkey.example.org"), "{found:?}");
    host.lookup("published").anew().fails(Failure::Unreachable("the name server ns1 did not answer".into()));
    assert!(troubles(&mut host, json!({}))[0].1.contains("cannot be looked up"));
}

#[test]
fn a_general_selector_is_compared_only_if_the_plan_names_it() {
    let mut host = host();
    for side in SIDES {
        host.exec("selectors", side).anew().ends(1, "", "No such file or directory");
        host.exec("signing", side).anew().says(&signing(json!({ "selector": "2024" })));
    }
    let found = troubles(&mut host, json!({}));
    assert!(found[0].1.contains("neither in the map nor in the plan"), "{found:?}");
    assert_eq!(troubles(&mut host, json!({ "selectors": ["2024"] })), []);
}

#[test]
fn a_domain_may_have_its_own_key_and_selector_in_the_settings() {
    let mut host = host();
    let own = json!({ "domain": { "example.org": { "selectors": [{ "selector": "own", "path": "/var/lib/rspamd/dkim/own.key" }] } } });
    for side in SIDES {
        host.exec("signing", side).anew().says(&signing(own.clone()));
        host.list("keys", side).anew().gives(vec![key("own.key")]);
    }
    assert_eq!(troubles(&mut host, json!({ "selectors": ["own"] })), []);
    assert!(host.calls().contains(&"lookup.published: own, example.org".to_string()), "{:?}", host.calls());
}

#[test]
fn training_of_new_s_own_gives_way_and_that_is_said_before() {
    let mut host = host();
    host.redis_difference("learned").anew().gives(differences(0, 4400, 3));
    let found = troubles(&mut host, json!({}));
    assert!(found[0].0 == Severity::Warning && found[0].1.contains("new was taught by itself"), "{found:?}");
    host.apply::<Rspamd>(json!({})).unwrap();
    assert_eq!(troubles(&mut host, json!({})), [], "what came from old is not new's own");
}
