//! Why a call broke off, in words: which limit, which panic, which instruction, and the component's functions on the stack.
//! Invariant: whatever comes from the component (messages, names) is made safe to show here.

use rehome_gatekeeper::CallError;
use wasmtime::{FrameInfo, Trap, WasmBacktrace};

use crate::error::{one_line, said};
use crate::limits::{HANDED, OutOfMemory, OutOfTable, OutOfTime, STACK, TooManyCalls};

/// `last_words`: the last line the component sent to the report as an error, if nothing else came after it.
pub(crate) fn trapped(error: &wasmtime::Error, last_words: Option<&str>) -> CallError {
    let trace = error.downcast_ref::<WasmBacktrace>().map(|trace| trace.frames().iter().map(function).collect());
    CallError::Trap { why: why(error, last_words), trace: trace.unwrap_or_default() }
}

fn why(error: &wasmtime::Error, last_words: Option<&str>) -> String {
    if let Some(limit) = limit(error) {
        return limit;
    }
    match (error.downcast_ref::<Trap>(), last_words) {
        (Some(Trap::UnreachableCodeReached), Some(words)) => panicked(words),
        (Some(Trap::UnreachableCodeReached), None) => {
            "it aborted without a message (`unreachable`): a panic, or memory that its allocator could not get".into()
        }
        (Some(Trap::StackOverflow), _) => format!("its stack of {} KiB is full: endless recursion?", STACK >> 10),
        (Some(trap), _) => one_line(&trap.to_string()),
        // wasmtime's type for this is private, its text is all there is.
        (None, _) if said(error).contains("fuel allocated for hostcalls") => {
            format!("it handed more than {} MiB to the host at once", HANDED >> 20)
        }
        (None, _) => one_line(&error.root_cause().to_string()),
    }
}

/// Our own limits have types of their own, and say themselves what they are.
fn limit(error: &wasmtime::Error) -> Option<String> {
    let ours = |cause: &(dyn std::error::Error + 'static)| {
        cause.is::<OutOfTime>() || cause.is::<OutOfMemory>() || cause.is::<OutOfTable>() || cause.is::<TooManyCalls>()
    };
    error.chain().find(|cause| ours(*cause)).map(ToString::to_string)
}

/// The SDK's hook sends "the phase panicked at src/lib.rs:7:5:" and the message.
fn panicked(words: &str) -> String {
    let words = one_line(words);
    let words = words.strip_prefix("the phase ").unwrap_or(&words);
    if words.starts_with("panicked") { words.to_string() } else { format!("panicked: {words}") }
}

fn function(frame: &FrameInfo) -> String {
    match frame.func_name() {
        Some(name) => one_line(&format!("{:#}", rustc_demangle::demangle(name))),
        None => format!("function {}", frame.func_index()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said_why(error: wasmtime::Error, last_words: Option<&str>) -> String {
        match trapped(&error, last_words) {
            CallError::Trap { why, .. } => why,
            CallError::Failure(failure) => panic!("{failure}"),
        }
    }

    #[test]
    fn a_panic_is_told_in_its_own_words() {
        let words = "the phase panicked at src/lib.rs:7:5:\nno \x1b[31muser";
        assert_eq!(
            said_why(Trap::UnreachableCodeReached.into(), Some(words)),
            "panicked at src/lib.rs:7:5: no \\u{1b}[31muser"
        );
        assert_eq!(said_why(Trap::UnreachableCodeReached.into(), Some("oh")), "panicked: oh");
    }

    #[test]
    fn a_limit_is_no_panic_whatever_was_said_before() {
        let error = wasmtime::Error::from(OutOfMemory(64 << 20)).context("while growing");
        assert_eq!(said_why(error, Some("disk full")), "it asked for more than 64 MiB of memory");
        let text = said_why(Trap::StackOverflow.into(), Some("disk full"));
        assert!(text.starts_with("its stack of 1024 KiB is full"), "{text}");
    }
}
