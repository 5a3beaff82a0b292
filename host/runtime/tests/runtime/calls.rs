//! Whole calls: what goes in arrives, what the host answers arrives, what the phase answers comes out unchanged.

use rehome_gatekeeper::types::{Answer, Change, Failure, Finding, Forecast, Severity, Verb};
use rehome_gatekeeper::{CallError, Component};
use rehome_runtime::{Runtime, RuntimeOptions};

use crate::session::{Bench, context};
use rehome_hostile::guest::{ANSWER, import, phase};

fn runtime() -> Runtime {
    Runtime::new(&RuntimeOptions::default()).unwrap()
}

/// Remembers the phase's id under "k" when nothing is there, and says what it found else.
fn remembering() -> Vec<u8> {
    let items = [
        import("report", "log", "log", "(param i32 i32 i32)"),
        import("clock", "now", "now", "(result i64)"),
        import("journal", "remember", "remember", "(param i32 i32 i32 i32 i32)"),
        import("journal", "recall", "recall", "(param i32 i32 i32)"),
        "(data (i32.const 1024) \"k\") (data (i32.const 1040) \"nothing yet\")".into(),
    ];
    let apply = format!(
        "(if (i64.lt_u (call $now) (i64.const 1700000000)) (then unreachable))
         (call $recall (i32.const 1024) (i32.const 1) (i32.const 2048))
         (if (i32.load8_u (i32.const 2048)) (then unreachable))
         (if (i32.load8_u (i32.const 2056))
           (then (call $log (i32.const 1) (i32.load (i32.const 2060)) (i32.load (i32.const 2064))))
           (else (call $log (i32.const 1) (i32.const 1040) (i32.const 11))))
         (call $remember (i32.const 1024) (i32.const 1) (local.get $phase) (local.get $phase_length) (i32.const {ANSWER}))
         (i32.const {ANSWER})"
    );
    phase(&items.concat(), &[("apply", &apply)])
}

#[tokio::test]
async fn a_phase_remembers_from_one_call_to_the_next() {
    let (bench, component) = (Bench::new().await, runtime().load(&remembering()).unwrap());
    for _ in 0..2 {
        let session = bench.session(Verb::Apply, &[]);
        let answer = component.call(Verb::Apply, &context(1), session.clone()).await.unwrap();
        assert_eq!(answer, Answer::Done);
        assert_eq!(session.calls(), 4);
    }
    assert_eq!(bench.lines(), ["nothing yet", "one"]);
}

#[tokio::test]
async fn a_failure_of_the_host_passes_through_the_phase_as_it_is() {
    let (bench, component) = (Bench::new().await, runtime().load(&remembering()).unwrap());
    // Under `preview` the guest would not remember; called as `apply` in a session of `preview`, the host refuses it.
    let result = component.call(Verb::Apply, &context(1), bench.session(Verb::Preview, &[])).await;
    let Err(CallError::Failure(Failure::ReadOnly(text))) = result else { panic!("{result:?}") };
    assert_eq!(text, "journal.remember under `preview`");
}

/// Runs `exec.look` on old and answers what the host answered.
fn looking() -> Vec<u8> {
    let items = import("exec", "run", "run", "(param i32 i32 i32 i32 i32 i32)") + "(data (i32.const 1024) \"look\")";
    let body = format!(
        "(call $run (i32.const 1024) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const {ANSWER}))
         (i32.const {ANSWER})"
    );
    phase(&items, &[("apply", &body)])
}

#[tokio::test]
async fn a_denial_is_a_failure_with_the_request_in_it_and_no_trap() {
    let (bench, component) = (Bench::new().await, runtime().load(&looking()).unwrap());
    assert_eq!(component.imports(), ["exec"]);
    let result = component.call(Verb::Apply, &context(1), bench.session(Verb::Apply, &[])).await;
    let Err(CallError::Failure(Failure::Denied(text))) = result else { panic!("{result:?}") };
    assert!(text.contains("exec.look") && text.contains("rehome approve one"), "{text}");
    // Granted, it goes further: a folder runs no commands.
    let result = component.call(Verb::Apply, &context(1), bench.session(Verb::Apply, &["exec.look"])).await;
    assert!(matches!(result, Err(CallError::Failure(Failure::Unsupported(_)))), "{result:?}");
}

#[tokio::test]
async fn findings_and_forecasts_come_out_as_the_phase_made_them() {
    let items = "(data (i32.const 1024) \"subjecttexthint\") (data (i32.const 1056) \"before-after-later\")";
    // A list of one finding at 2048: severity, subject, text, some(hint).
    let check = format!(
        "(i32.store8 (i32.const 2048) (i32.const 3))
         (i32.store (i32.const 2052) (i32.const 1024)) (i32.store (i32.const 2056) (i32.const 7))
         (i32.store (i32.const 2060) (i32.const 1031)) (i32.store (i32.const 2064) (i32.const 4))
         (i32.store8 (i32.const 2068) (i32.const 1))
         (i32.store (i32.const 2072) (i32.const 1035)) (i32.store (i32.const 2076) (i32.const 4))
         (i32.store (i32.const {0}) (i32.const 2048)) (i32.store (i32.const {1}) (i32.const 1))
         (i32.const {ANSWER})",
        ANSWER + 8,
        ANSWER + 12
    );
    // One change at 2048: subject, some(before), after, reversible; then some(1500) and one text at 2176.
    let preview = format!(
        "(i32.store (i32.const 2048) (i32.const 1024)) (i32.store (i32.const 2052) (i32.const 7))
         (i32.store8 (i32.const 2056) (i32.const 1))
         (i32.store (i32.const 2060) (i32.const 1056)) (i32.store (i32.const 2064) (i32.const 6))
         (i32.store (i32.const 2068) (i32.const 1063)) (i32.store (i32.const 2072) (i32.const 5))
         (i32.store8 (i32.const 2076) (i32.const 1))
         (i32.store (i32.const {0}) (i32.const 2048)) (i32.store (i32.const {1}) (i32.const 1))
         (i32.store8 (i32.const {2}) (i32.const 1)) (i64.store (i32.const {3}) (i64.const 1500))
         (i32.store (i32.const 2176) (i32.const 1069)) (i32.store (i32.const 2180) (i32.const 5))
         (i32.store (i32.const {4}) (i32.const 2176)) (i32.store (i32.const {5}) (i32.const 1))
         (i32.const {ANSWER})",
        ANSWER + 8,
        ANSWER + 12,
        ANSWER + 16,
        ANSWER + 24,
        ANSWER + 32,
        ANSWER + 36
    );
    let component =
        runtime().load(&phase(items, &[("check", &check), ("verify", &check), ("preview", &preview)])).unwrap();
    assert!(component.imports().is_empty());
    let bench = Bench::new().await;
    let finding = Finding {
        severity: Severity::Blocker,
        subject: "subject".into(),
        text: "text".into(),
        hint: Some("hint".into()),
    };
    for verb in [Verb::Check, Verb::Verify] {
        let answer = component.call(verb, &context(1), bench.session(verb, &[])).await.unwrap();
        assert_eq!(answer, Answer::Findings(vec![finding.clone()]));
    }
    let change =
        Change { subject: "subject".into(), before: Some("before".into()), after: "after".into(), reversible: true };
    let forecast =
        Forecast { changes: vec![change], cutover_milliseconds: Some(1500), not_known_yet: vec!["later".into()] };
    let answer = component.call(Verb::Preview, &context(1), bench.session(Verb::Preview, &[])).await.unwrap();
    assert_eq!(answer, Answer::Forecast(forecast));
    let answer = component.call(Verb::Undo, &context(1), bench.session(Verb::Undo, &[])).await.unwrap();
    assert_eq!(answer, Answer::Done);
}

#[tokio::test]
async fn stage_run_and_config_arrive() {
    // copy is the second stage; config is `{}`.
    let apply = format!(
        "(if (i32.or (i32.ne (local.get $stage) (i32.const 1)) (i32.ne (local.get $run) (i32.const 7))) (then unreachable))
         (if (i32.ne (local.get $config_length) (i32.const 2)) (then unreachable))
         (if (i32.ne (i32.load16_u (local.get $config)) (i32.const 0x7d7b)) (then unreachable))
         (i32.const {ANSWER})"
    );
    let component = runtime().load(&phase("", &[("apply", &apply)])).unwrap();
    let bench = Bench::new().await;
    let answer = component.call(Verb::Apply, &context(7), bench.session(Verb::Apply, &[])).await.unwrap();
    assert_eq!(answer, Answer::Done);
}

#[tokio::test]
async fn nothing_in_memory_lasts_from_one_call_to_the_next() {
    let apply = format!(
        "(if (i32.load (i32.const 2048)) (then unreachable))
         (i32.store (i32.const 2048) (i32.const 1))
         (i32.const {ANSWER})"
    );
    let component = runtime().load(&phase("", &[("apply", &apply)])).unwrap();
    let bench = Bench::new().await;
    for _ in 0..3 {
        component.call(Verb::Apply, &context(1), bench.session(Verb::Apply, &[])).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_run_side_by_side_on_a_threaded_runtime() {
    let component = std::sync::Arc::new(runtime().load(&remembering()).unwrap());
    let bench = Bench::new().await;
    let mut calls = Vec::new();
    for _ in 0..8 {
        let (component, session) = (component.clone(), bench.session(Verb::Apply, &[]));
        calls.push(tokio::spawn(async move { component.call(Verb::Apply, &context(1), session).await }));
    }
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), Answer::Done);
    }
}
