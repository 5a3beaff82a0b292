//! What wasm costs rehome, as JSON lines on stdout (`{"name": …, "unit": …, "value": …}`): a component from nothing to ready
//! with a warm cache, one host call without and with the journal, the memory of a component. Run it with
//! `cargo bench -p rehome-runtime --bench host -- [COMPONENT.wasm…]`; without a file a phase of a few lines is measured.

#![expect(clippy::disallowed_macros, reason = "a bench talks to whoever started it")]
#![expect(clippy::disallowed_methods, reason = "it reads the components it is given")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rehome_gatekeeper::Component;
use rehome_gatekeeper::types::Verb;
use rehome_runtime::{Loaded, Runtime, RuntimeOptions};

#[path = "../tests/runtime/session.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod session;

use rehome_hostile::guest::{ANSWER, import, phase};
use session::{Bench, context};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // Cargo adds `--bench`; everything else is a file.
    let files: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let cache = tempfile::tempdir().expect("a folder for compiled components");
    if files.is_empty() {
        component("hand-written", &phase("", &[]), cache.path()).await;
    }
    for file in &files {
        let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let name = Path::new(file).file_stem().map_or_else(|| file.clone(), |stem| stem.to_string_lossy().into_owned());
        component(&name, &bytes, cache.path()).await;
    }
    host_calls().await;
}

fn print(name: &str, of: &str, unit: &str, value: f64) {
    println!("{}", serde_json::json!({ "name": name, "of": of, "unit": unit, "value": value }));
}

fn runtime(cache: &Path) -> Runtime {
    let options = RuntimeOptions { cache_dir: Some(cache.to_path_buf()), ..RuntimeOptions::default() };
    Runtime::new(&options).unwrap_or_else(|error| panic!("{error}"))
}

fn load(runtime: &Runtime, bytes: &[u8]) -> Loaded {
    runtime.load(bytes).unwrap_or_else(|error| panic!("{error}"))
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

/// Loading, calling and memory of one component.
async fn component(name: &str, bytes: &[u8], cache: &Path) {
    let begun = Instant::now();
    let cold = load(&runtime(cache), bytes);
    if cold.was_compiled() {
        print("component_compile", name, "s", begun.elapsed().as_secs_f64());
    }
    drop(cold);
    print("component_size", name, "bytes", bytes.len() as f64);

    let runtime = runtime(cache);
    let bench = Bench::new().await;
    let before = memory("VmRSS");
    forget_peak();
    let loaded = load(&runtime, bytes);
    assert!(!loaded.was_compiled(), "the cache is warm");
    // Nothing is granted: a phase that asks for something gets a denial, and has still lived a whole call.
    let _ = loaded.call(Verb::Check, &context(1), bench.session(Verb::Check, &[])).await;
    print("component_memory", name, "bytes", memory("VmHWM").saturating_sub(before) as f64);

    let loads = (0..200).map(|_| {
        let begun = Instant::now();
        black_box(load(&runtime, bytes));
        begun.elapsed()
    });
    print("component_ready_warm", name, "s", median(loads.collect()));

    let mut calls = Vec::new();
    for _ in 0..200 {
        let session = bench.session(Verb::Check, &[]);
        let begun = Instant::now();
        let _ = black_box(loaded.call(Verb::Check, &context(1), session).await);
        calls.push(begun.elapsed());
    }
    print("component_call", name, "s", median(calls));
}

/// Calls `body` as often as the context's run number says.
fn looping(items: &str, body: &str) -> Vec<u8> {
    let apply = format!(
        "(loop $again
           {body}
           (br_if $again (local.tee $run (i32.sub (local.get $run) (i32.const 1)))))
         (i32.const {ANSWER})"
    );
    phase(items, &[("apply", &apply)])
}

async fn host_calls() {
    let runtime = Runtime::new(&RuntimeOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    let now = import("clock", "now", "now", "(result i64)");
    let clock = load(&runtime, &looping(&now, "(drop (call $now))"));
    print("host_call_clock_now", "hand-written", "s", each(&clock, 100_000).await);

    // Through the whole door: granted? allowed under this verb? noted in the journal, told to the observer.
    let items =
        import("operator", "wait-until", "wait", "(param i32 i32 i64 i32)") + "(data (i32.const 1024) \"later\")";
    let body = format!("(call $wait (i32.const 1024) (i32.const 5) (i64.const 0) (i32.const {ANSWER}))");
    let door = load(&runtime, &looping(&items, &body));
    print("host_call_door_read", "hand-written", "s", each(&door, 20_000).await);

    let items = import("journal", "remember", "remember", "(param i32 i32 i32 i32 i32)");
    let body = format!(
        "(i32.store (i32.const 1024) (local.get $run))
         (call $remember (i32.const 1032) (i32.const 1) (i32.const 1024) (i32.const 4) (i32.const {ANSWER}))"
    );
    let journal = load(&runtime, &looping(&items, &body));
    print("host_call_journal_remember", "hand-written", "s", each(&journal, 200).await);
}

/// Seconds of one host call: the median of several calls of the phase, each with many host calls.
async fn each(component: &Loaded, many: u32) -> f64 {
    let bench = Arc::new(Bench::new().await);
    let mut times = Vec::new();
    for _ in 0..7 {
        let session = bench.session(Verb::Apply, &["question.later"]);
        let begun = Instant::now();
        let answer = component.call(Verb::Apply, &context(many), session.clone()).await;
        times.push(begun.elapsed() / many);
        answer.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(session.calls(), u64::from(many));
    }
    median(times)
}

/// A line of `/proc/self/status`, in bytes; proc_pid_status(5).
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
    found.and_then(|text| text.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or_default() * 1024
}

/// Lets `VmHWM` begin anew at what is used now; proc_pid_clear_refs(5).
fn forget_peak() {
    if let Err(error) = std::fs::write("/proc/self/clear_refs", "5") {
        eprintln!("component_memory counts from the start of the process: /proc/self/clear_refs: {error}");
    }
}
