//! What is on new as on old already: a second pass looks, and brings only what changed since.

use super::*;

#[test]
fn what_is_alike_costs_a_look_and_nothing_is_reloaded_for_it() {
    let mut host = fresh();
    host.apply::<Rspamd>(json!({})).unwrap();
    host.forget_calls();
    host.stage = Stage::Cutover;
    host.list("keys", Side::New).anew().gives(vec![key("example.org.2024.key")]);
    host.apply::<Rspamd>(json!({})).unwrap();
    assert_eq!(host.effects(), Vec::<String>::new());
    assert!(!host.calls().iter().any(|call| call.starts_with("exec.signing")), "rspamadm is slow: {:?}", host.calls());
    assert!(host.reported().iter().any(|line| line.contains("nothing to bring")), "{:?}", host.reported());
}

#[test]
fn each_difference_alone_is_brought_and_read_by_rspamd() {
    type Differ = fn(&mut Host);
    let alone: [(Differ, &str); 4] = [
        (
            |host| {
                host.comparison("owners").anew().gives(compared(0, 1)).gives(compared(0, 0));
            },
            "sync.owners",
        ),
        (
            |host| {
                host.exec("selectors", Side::New).anew().says("").says("example.org 2024\n");
            },
            "file.selector-map on new put",
        ),
        (
            |host| {
                host.redis_difference("learned").anew().gives(differences(9, 0, 1)).gives(differences(10, 0, 0));
            },
            "redis-copy.learned",
        ),
        (
            |host| {
                host.redis_difference("passing").anew().gives(differences(9, 1, 0));
            },
            "redis-copy.passing",
        ),
    ];
    for (differ, effect) in alone {
        let mut host = host();
        host.stage = Stage::Cutover;
        host.apply::<Rspamd>(json!({})).unwrap();
        assert_eq!(host.effects(), Vec::<String>::new(), "{effect}");
        differ(&mut host);
        host.apply::<Rspamd>(json!({})).unwrap();
        assert!(host.effects().contains(&effect.to_string()), "{effect}: {:?}", host.effects());
        assert_eq!(host.effects().last().map(String::as_str), Some("exec.reload on new"), "{effect}");
    }
}

#[test]
fn rspamd_reads_what_was_brought_before_a_cut_off() {
    let mut host = host();
    host.redis_difference("learned").anew().gives(differences(0, 5, 0)).gives(differences(5, 0, 0));
    host.redis_difference("passing")
        .anew()
        .fails(Failure::Unreachable("old went away".into()))
        .gives(differences(20, 0, 0));
    assert!(host.apply::<Rspamd>(json!({})).is_err());
    host.forget_calls();
    host.apply::<Rspamd>(json!({})).unwrap();
    assert_eq!(host.effects(), ["exec.reload on new"]);
    host.forget_calls();
    host.apply::<Rspamd>(json!({})).unwrap();
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn the_cutover_is_expected_to_take_a_look_or_what_bringing_took_before() {
    let mut host = host();
    host.stage = Stage::Cutover;
    host.each_takes(10);
    let looking = host.preview::<Rspamd>(json!({})).unwrap().cutover_milliseconds;
    assert!(looking.is_some_and(|took| (40..200).contains(&took)), "{looking:?}");
    host.redis_difference("learned").anew().gives(differences(9, 1, 0));
    assert_eq!(host.preview::<Rspamd>(json!({})).unwrap().cutover_milliseconds, None, "it was never copied");
    host.each_takes(100);
    host.apply::<Rspamd>(json!({})).unwrap();
    let bringing = host.preview::<Rspamd>(json!({})).unwrap().cutover_milliseconds;
    assert!(bringing.is_some_and(|took| took > 1000), "{bringing:?}");
    host.stage = Stage::Copy;
    assert_eq!(host.preview::<Rspamd>(json!({})).unwrap().cutover_milliseconds, None, "nothing stands still for it");
}
