//! `apply` is the one verb to continue: it goes on where it stopped, after a gate, a failure or a crash.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::common::{Bench, Components, blocker, nothing, told, writer};
use rehome_engine::{Applied, ApplyScope, Cancel, Error, ErrorKind, cancel};
use rehome_gatekeeper::Journal;
use rehome_gatekeeper::journal::RunState;
use rehome_gatekeeper::types::{Answer, Failure, SideName, Stage, Verb};

/// A component that writes, and fails afterwards while told to.
fn bench(failing: Arc<AtomicBool>) -> Bench {
    let components = Components::default().with("writer", move |verb, _, session| {
        let failing = failing.clone();
        async move {
            if verb == Verb::Apply {
                session.put("note", SideName::New, &[]).await?;
                if failing.load(Ordering::SeqCst) {
                    return Err(Failure::Conflict("somebody else changed it".into()));
                }
            }
            Ok(nothing(verb))
        }
    });
    let bench = Bench::new(components);
    bench.component("writer", &writer("writer"));
    bench.plan(&[("first", "writer", "copy"), ("second", "writer", "cutover")]);
    bench.approve();
    bench
}

fn finished(applied: Result<Applied, Error>) -> (Vec<String>, Vec<String>) {
    match applied {
        Ok(Applied::Finished { applied, left }) => (applied, left),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn phases_run_in_their_order_and_done_ones_are_left_out_next_time() {
    let bench = bench(Arc::default());
    assert_eq!(finished(bench.apply().await).0, ["first", "second"]);
    assert_eq!(std::fs::read_to_string(bench.path("new/data/note")).unwrap(), "hello");
    assert_eq!(finished(bench.apply().await).0, Vec::<String>::new());
    assert_eq!(bench.calls(), ["check first 1", "check second 1", "apply first 1", "apply second 1"]);
}

#[tokio::test]
async fn until_stops_before_a_later_stage() {
    let bench = bench(Arc::default());
    let scope = ApplyScope { until: Some(Stage::Copy), ..Default::default() };
    assert_eq!(finished(bench.apply_scope(scope).await), (vec!["first".into()], vec!["second".into()]));
}

#[tokio::test]
async fn a_failure_stops_there_says_what_was_done_and_the_next_apply_goes_on() {
    let failing = Arc::new(AtomicBool::new(true));
    let bench = bench(failing.clone());
    let error = bench.apply().await.unwrap_err();
    let said = told(&error);
    assert_eq!(error.kind(), ErrorKind::Error);
    assert!(said.starts_with("error: phase `first`: somebody else changed it\n"), "{said}");
    assert!(
        said.contains("component writer 0.1.0, sha256:") && said.contains("under `apply`, run 1, call 1"),
        "{said}"
    );
    assert!(said.contains("done in this run: `file.note` on new"), "{said}");
    assert!(said.contains("it goes on where it stopped"), "{said}");
    failing.store(false, Ordering::SeqCst);
    assert_eq!(finished(bench.apply().await).0, ["first", "second"]);
    // What has changed something already is not checked again; what has not, is.
    let calls = bench.calls();
    assert_eq!(calls[3..], ["check second 1", "apply first 1", "apply second 1"], "{calls:?}");
}

#[tokio::test]
async fn a_run_that_a_crash_left_begun_keeps_its_number() {
    let bench = bench(Arc::default());
    let migration = bench.migration();
    migration.state().make().unwrap();
    let journal = Journal::open(migration.state().folder()).await.unwrap();
    journal.begin_run("first", 1, Stage::Copy, "sha256:00", 7).await.unwrap();
    drop(journal);
    assert_eq!(finished(bench.apply().await).0, ["first", "second"]);
    let runs = Journal::open(migration.state().folder()).await.unwrap().runs().await.unwrap();
    assert!(runs.iter().all(|run| run.run == 1 && run.state == RunState::Done), "{runs:?}");
    assert_eq!(runs.len(), 2);
}

#[tokio::test]
async fn again_starts_a_new_run_of_that_phase_only() {
    let bench = bench(Arc::default());
    finished(bench.apply_scope(ApplyScope { until: Some(Stage::Copy), ..Default::default() }).await);
    let again = |phase: &str| ApplyScope { again: Some(phase.into()), ..Default::default() };
    assert_eq!(finished(bench.apply_scope(again("first")).await), (vec!["first".into()], vec!["second".into()]));
    assert_eq!(bench.calls().last().unwrap(), "apply first 2");
    let error = bench.apply_scope(again("second")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    let error = bench.apply_scope(again("frist")).await.unwrap_err();
    assert!(told(&error).contains("did you mean `first`?"), "{}", told(&error));
}

#[tokio::test]
async fn a_blocker_stops_before_any_phase_has_changed_anything() {
    let components = Components::default()
        .with("writer", |verb, _, session| async move {
            if verb == Verb::Apply {
                session.put("note", SideName::New, &[]).await?;
            }
            Ok(nothing(verb))
        })
        .with("picky", |verb, _, _| async move {
            match verb {
                Verb::Check => Ok(Answer::Findings(vec![blocker("is full")])),
                verb => Ok(nothing(verb)),
            }
        });
    let bench = Bench::new(components);
    bench.component("writer", &writer("writer"));
    bench.component("picky", &writer("picky"));
    bench.plan(&[("first", "writer", "copy"), ("second", "picky", "cutover")]);
    bench.approve();
    match bench.apply().await.unwrap() {
        Applied::Blocked(findings) => {
            let blockers: Vec<_> = findings.blockers().map(|found| found.finding.text.clone()).collect();
            assert_eq!(blockers, ["is full"]);
        }
        other => panic!("{other:?}"),
    }
    assert!(!bench.path("new/data/note").exists());
    // A stage before the blocker can still be done.
    finished(bench.apply_scope(ApplyScope { until: Some(Stage::Copy), ..Default::default() }).await);
}

#[tokio::test]
async fn a_check_that_cannot_look_is_a_blocker_and_a_fault_of_the_component_is_an_error() {
    let components = Components::default()
        .with("far", |_, _, _| async move { Err(Failure::Unreachable("no answer\nhint: start it".into())) })
        .with("wrong", |verb, _, session| async move {
            session.put("note", SideName::New, &[]).await?;
            Ok(nothing(verb))
        });
    let bench = Bench::new(components);
    bench.component("far", &writer("far"));
    bench.component("wrong", &writer("wrong"));
    bench.plan(&[("far", "far", "copy"), ("wrong", "wrong", "copy")]);
    bench.approve();
    let findings = bench.check().await.unwrap();
    let found = &findings.findings[0].finding;
    assert_eq!((found.text.as_str(), found.hint.as_deref()), ("no answer", Some("start it")));
    assert_eq!(findings.failures.len(), 1, "a write under check is refused by the host");
    assert!(!bench.path("new/data/note").exists());
}

#[tokio::test]
async fn a_second_rehome_is_told_who_is_at_work() {
    let bench = bench(Arc::default());
    let holder =
        rehome_engine::state::Holder { who: "alice@new".into(), pid: 4711, since: 1_800_000_000, verb: "apply".into() };
    let migration = bench.migration();
    let guard = migration.state().lock(&holder).await.unwrap();
    let error = bench.apply().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Held);
    let said = told(&error);
    assert!(said.contains("alice@new runs `rehome apply` since 2027-01-15 08:00:00 UTC (process 4711)"), "{said}");
    assert_eq!(migration.status().await.unwrap().holder, Some(holder));
    drop(guard);
    finished(bench.apply().await);
    assert_eq!(migration.status().await.unwrap().holder, None);
}

#[tokio::test]
async fn a_side_that_is_not_there_is_one_error_before_anything() {
    let bench = bench(Arc::default());
    std::fs::remove_dir_all(bench.path("new")).unwrap();
    let error = bench.apply().await.unwrap_err();
    assert!(matches!(error, Error::Side(_)));
    assert!(told(&error).contains("nothing was changed"), "{}", told(&error));
    assert!(bench.calls().is_empty());
}

#[tokio::test]
async fn stopped_by_the_operator_the_run_stays_begun_and_goes_on_later() {
    let entered = Arc::new(tokio::sync::Notify::new());
    let attempts = Arc::new(AtomicUsize::new(0));
    let (told_entered, count) = (entered.clone(), attempts.clone());
    let components = Components::default().with("slow", move |verb, _, session| {
        let (entered, count) = (told_entered.clone(), count.clone());
        async move {
            if verb == Verb::Apply {
                session.put("note", SideName::New, &[]).await?;
                entered.notify_one();
                if count.fetch_add(1, Ordering::SeqCst) == 0 {
                    std::future::pending::<()>().await;
                }
            }
            Ok(nothing(verb))
        }
    });
    let bench = Bench::new(components);
    bench.component("slow", &writer("slow"));
    bench.plan(&[("slow", "slow", "copy")]);
    bench.approve();
    let (stop, hears) = cancel();
    let migration = bench.migration();
    let scope = ApplyScope::default();
    let (applied, ()) = tokio::join!(migration.apply(&scope, bench.loader(), bench.heard.clone(), hears), async {
        entered.notified().await;
        stop.stop();
    });
    let said = told(&applied.unwrap_err());
    assert!(said.starts_with("error: stopped during phase `slow`\n"), "{said}");
    assert!(said.contains("done in this run: `file.note` on new") && said.contains("`rehome apply` goes on"), "{said}");
    let journal = migration.state().journal().await.unwrap();
    assert_eq!(journal.last_run("slow").await.unwrap().unwrap().state, RunState::Begun);
    drop(journal);
    finished(migration.apply(&scope, bench.loader(), bench.heard.clone(), Cancel::never()).await);
}
