//! Guests that do not stop, ask for too much or break: each call ends, says which limit it was, and leaves the component
//! and the host as they were.

use std::time::Duration;

use rehome_gatekeeper::types::{Answer, Verb};
use rehome_gatekeeper::{CallError, Component};
use rehome_runtime::{Runtime, RuntimeOptions};

use crate::session::{Bench, context};
use rehome_hostile::guest::{ANSWER, component, import, module, phase};

fn options() -> RuntimeOptions {
    RuntimeOptions {
        memory: 16 << 20,
        guest_time: Duration::from_millis(200),
        host_calls: 1000,
        ..RuntimeOptions::default()
    }
}

async fn outcome(bytes: &[u8], options: &RuntimeOptions) -> Result<Answer, CallError> {
    let component = Runtime::new(options).unwrap().load(bytes).unwrap();
    let bench = Bench::new().await;
    component.call(Verb::Apply, &context(1), bench.session(Verb::Apply, &[])).await
}

async fn trap(bytes: &[u8]) -> (String, Vec<String>) {
    match outcome(bytes, &options()).await {
        Err(CallError::Trap { why, trace }) => (why, trace),
        other => panic!("{other:?}"),
    }
}

fn applying(items: &str, body: &str) -> Vec<u8> {
    phase(items, &[("apply", body)])
}

const FOREVER: &str = "(loop $again (br $again)) (unreachable)";

#[tokio::test]
async fn an_endless_loop_ends_when_its_time_is_up() {
    let (why, trace) = trap(&applying("", FOREVER)).await;
    assert_eq!(why, "it computed for more than 0.2 s without calling the host");
    assert_eq!(trace, ["apply"]);
}

#[tokio::test]
async fn an_endless_loop_in_a_start_function_ends_too() {
    let items = "(func $begin (loop $again (br $again))) (start $begin)";
    let (why, trace) = trap(&applying(items, "(i32.const 8192)")).await;
    assert_eq!(why, "it computed for more than 0.2 s without calling the host");
    assert_eq!(trace, ["begin"]);
}

#[tokio::test]
async fn time_in_host_calls_is_not_the_guests() {
    let sleep = import("clock", "sleep", "sleep", "(param i32 i32)");
    let once = format!("(call $sleep (i32.const 400) (i32.const {ANSWER}))");
    let bytes = applying(&sleep, &format!("{once}{once}(i32.const {ANSWER})"));
    assert_eq!(outcome(&bytes, &options()).await.unwrap(), Answer::Done);
}

#[tokio::test]
async fn a_loop_around_a_host_call_ends_too() {
    let now = import("clock", "now", "now", "(result i64)");
    let (why, _) = trap(&applying(&now, "(loop $again (drop (call $now)) (br $again)) (unreachable)")).await;
    assert_eq!(why, "it called the host more than 1000 times");
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_any_more_ends_at_once() {
    let patient = RuntimeOptions { guest_time: Duration::from_secs(86_400), ..options() };
    let component = Runtime::new(&patient).unwrap().load(&applying("", FOREVER)).unwrap();
    let bench = Bench::new().await;
    let (context, session) = (context(1), bench.session(Verb::Apply, &[]));
    // On this single thread the timer can only fire if the guest gives way.
    let call = component.call(Verb::Apply, &context, session);
    assert!(tokio::time::timeout(Duration::from_millis(300), call).await.is_err());
}

#[tokio::test]
async fn endless_recursion_ends_with_its_functions_named() {
    let deep = "(func $deeper (param i32) (result i32) (i32.add (call $deeper (local.get 0)) (i32.const 1)))";
    let (why, trace) = trap(&applying(deep, "(call $deeper (i32.const 1))")).await;
    assert_eq!(why, "its stack of 1024 KiB is full: endless recursion?");
    assert_eq!(trace.len(), 20);
    assert_eq!(trace[0], "deeper");
}

#[tokio::test]
async fn memory_without_end_ends() {
    let body = "(loop $again (drop (memory.grow (i32.const 16))) (br $again)) (unreachable)";
    let (why, trace) = trap(&applying("", body)).await;
    assert_eq!(why, "it asked for more than 16 MiB of memory");
    assert_eq!(trace, ["apply"]);
}

#[tokio::test]
async fn ten_gigabytes_at_once_are_refused() {
    // 65,535 pages at a time is the most that can be asked for.
    let (why, _) = trap(&applying("", "(drop (memory.grow (i32.const 65000))) (unreachable)")).await;
    assert_eq!(why, "it asked for more than 16 MiB of memory");
    let large = component(&module("", &[], 60_000));
    let (why, _) = trap(&large).await;
    assert_eq!(why, "it asked for more than 16 MiB of memory");
}

#[tokio::test]
async fn a_table_without_end_ends() {
    let items = "(table $t 1 funcref)";
    let body = "(loop $again (drop (table.grow $t (ref.null func) (i32.const 100000))) (br $again)) (unreachable)";
    let (why, _) = trap(&applying(items, body)).await;
    assert_eq!(why, "it asked for tables of more than 200000 elements");
}

#[tokio::test]
async fn too_much_for_the_host_at_once_is_refused() {
    // 17 MiB of memory as one key.
    let items = import("journal", "recall", "recall", "(param i32 i32 i32)");
    let roomy = RuntimeOptions { memory: 64 << 20, ..options() };
    let body = format!("(call $recall (i32.const 0) (i32.const 17825792) (i32.const {ANSWER})) (i32.const {ANSWER})");
    let bytes = component(&module(&items, &[("apply", &body)], 300));
    let Err(CallError::Trap { why, .. }) = outcome(&bytes, &roomy).await else { panic!("it was taken") };
    assert_eq!(why, "it handed more than 16 MiB to the host at once");
}

#[tokio::test]
async fn a_panic_is_told_in_the_words_that_its_hook_sent() {
    let items = import("report", "log", "log", "(param i32 i32 i32)")
        + "(data (i32.const 1024) \"the phase panicked at src/lib.rs:7:5:\\0ano \\1b[31muser\")
           (func $_ZN4core9panicking5panic17h0123456789abcdefE (call $log (i32.const 3) (i32.const 1024) (i32.const 50)) (unreachable))";
    let (why, trace) =
        trap(&applying(&items, "(call $_ZN4core9panicking5panic17h0123456789abcdefE) (unreachable)")).await;
    assert_eq!(why, "panicked at src/lib.rs:7:5: no \\u{1b}[31muser");
    assert_eq!(trace, ["core::panicking::panic", "apply"]);
}

#[tokio::test]
async fn an_abort_without_a_message_says_so() {
    let (why, trace) = trap(&applying("", "(unreachable)")).await;
    assert!(why.starts_with("it aborted without a message"), "{why}");
    assert_eq!(trace, ["apply"]);
}

#[tokio::test]
async fn an_error_line_long_before_a_trap_is_not_taken_for_its_cause() {
    let items = import("report", "log", "log", "(param i32 i32 i32)") + &import("clock", "now", "now", "(result i64)");
    let body = "(call $log (i32.const 3) (i32.const 0) (i32.const 4)) (drop (call $now)) (unreachable)";
    let (why, _) = trap(&applying(&items, body)).await;
    assert!(why.starts_with("it aborted without a message"), "{why}");
}

#[tokio::test]
async fn names_of_functions_are_made_safe_to_show() {
    let (_, trace) =
        trap(&applying("(func $f (@name \"\\1b[2Jevil\") (unreachable))", "(call $f) (unreachable)")).await;
    assert_eq!(trace, ["\\u{1b}[2Jevil", "apply"]);
}

#[tokio::test]
async fn a_wrong_address_is_a_trap_and_not_the_hosts_end() {
    let (why, _) = trap(&applying("", "(i32.load (i32.const -4))")).await;
    assert!(why.contains("out of bounds memory access"), "{why}");
    // An answer outside of memory, and one that is no value of its type.
    for answer in ["(i32.const -8)", "(i32.store8 (i32.const 8192) (i32.const 9)) (i32.const 8192)"] {
        let (why, _) = trap(&applying("", answer)).await;
        assert!(!why.is_empty());
    }
}

#[tokio::test]
async fn after_a_trap_the_component_can_be_called_again() {
    let bytes = phase("", &[("apply", "(unreachable)")]);
    let component = Runtime::new(&options()).unwrap().load(&bytes).unwrap();
    let bench = Bench::new().await;
    for _ in 0..2 {
        let broken = component.call(Verb::Apply, &context(1), bench.session(Verb::Apply, &[])).await;
        assert!(matches!(broken, Err(CallError::Trap { .. })), "{broken:?}");
        let fine = component.call(Verb::Undo, &context(1), bench.session(Verb::Undo, &[])).await.unwrap();
        assert_eq!(fine, Answer::Done);
    }
}
