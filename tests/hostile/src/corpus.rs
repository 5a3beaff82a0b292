//! What strangers could send. Each does its harm under every verb; what is said of it, and that nothing else happens, the
//! tests of the command line look at.

use std::fmt::Write;

use crate::guest::{ANSWER, import, module, with_manifest};

/// A component that means harm.
pub struct Hostile {
    /// its name, and its file's
    pub name: &'static str,
    /// the component
    pub bytes: Vec<u8>,
    /// what an operator must read of how it ended
    pub says: &'static str,
}

const VERBS: [&str; 5] = ["check", "preview", "apply", "verify", "undo"];
/// Where its words are.
const WORDS: u32 = 1024;

/// Everything.
pub fn corpus() -> Vec<Hostile> {
    vec![
        endless_loop(),
        endless_recursion(),
        ten_gigabytes(),
        a_trap(),
        a_million_log_lines(),
        a_flood_of_output(),
        a_million_arguments(),
        what_it_did_not_ask_for(),
    ]
}

/// A component that does `body` whatever it is called for.
fn always(name: &'static str, requests: &str, items: &str, body: &str, pages: u32, says: &'static str) -> Hostile {
    let bodies: Vec<(&str, &str)> = VERBS.iter().map(|verb| (*verb, body)).collect();
    let manifest = format!("name = \"{name}\"\nversion = \"0.1.0\"\napi = \"0.1\"\nabout = \"means harm\"\n{requests}");
    let bytes = with_manifest(&module(items, &bodies, pages), &manifest);
    Hostile { name, bytes, says }
}

/// Ends well.
fn fine(before: &str) -> String {
    format!("{before} (i32.const {ANSWER})")
}

fn endless_loop() -> Hostile {
    let body = "(loop $again (br $again)) (unreachable)";
    always("endless-loop", "", "", body, 4, "it computed for more than 10 s without calling the host")
}

fn endless_recursion() -> Hostile {
    let deep = "(func $deeper (param i32) (result i32) (i32.add (call $deeper (local.get 0)) (i32.const 1)))";
    always("endless-recursion", "", deep, "(call $deeper (i32.const 1))", 4, "endless recursion?")
}

fn ten_gigabytes() -> Hostile {
    let body = "(loop $again (drop (memory.grow (i32.const 1000))) (br $again)) (unreachable)";
    always("ten-gigabytes", "", "", body, 4, "it asked for more than 256 MiB of memory")
}

fn a_trap() -> Hostile {
    always("trap", "", "", "(unreachable)", 4, "the component broke off")
}

fn a_million_log_lines() -> Hostile {
    let mut items = import("report", "log", "log", "(param i32 i32 i32)");
    write!(
        items,
        "(data (i32.const {WORDS}) \"\\1b[2Jthe same line again\") (global $left (mut i32) (i32.const 1100000))"
    )
    .unwrap();
    let body = fine(&format!(
        "(loop $again (call $log (i32.const 1) (i32.const {WORDS}) (i32.const 20))
           (global.set $left (i32.sub (global.get $left) (i32.const 1))) (br_if $again (global.get $left)))"
    ));
    always("million-log-lines", "", &items, &body, 4, "it called the host more than 1000000 times")
}

/// `exec.run` of `NAME` on new, with so many values, all empty.
fn run(name: &str, values: usize) -> (String, String) {
    let parameters = "(param i32 i32 i32 i32 i32 i32)";
    let items = import("exec", "run", "run", parameters) + &format!("(data (i32.const {WORDS}) \"{name}\")");
    let length = name.len();
    // The values lie where memory is zero, after all else: pointer 0, length 0 each.
    let call = format!(
        "(call $run (i32.const {WORDS}) (i32.const {length}) (i32.const 1) (i32.const 262144) (i32.const {values})
           (i32.const {ANSWER}))"
    );
    (items, call)
}

/// Calls `exec.run` and hands on how it ended: a failure of the host lies where its own would.
fn running(
    name: &'static str,
    requests: &str,
    request: &str,
    values: usize,
    pages: u32,
    says: &'static str,
) -> Hostile {
    let (items, call) = run(request, values);
    always(name, requests, &items, &fine(&call), pages, says)
}

fn a_flood_of_output() -> Hostile {
    let requests = "[exec.flood]\non = [\"new\"]\nargv = [\"yes\"]\neffect = \"read\"\n";
    running("flood-of-output", requests, "flood", 0, 4, "printed more than 1048576 bytes; it was ended, and is gone")
}

fn a_million_arguments() -> Hostile {
    let requests = "[exec.plain]\non = [\"new\"]\nargv = [\"true\"]\neffect = \"read\"\n";
    running("million-arguments", requests, "plain", 1_000_000, 140, "it handed more than 16 MiB to the host at once")
}

fn what_it_did_not_ask_for() -> Hostile {
    running("did-not-ask", "", "shell", 0, 4, "not in the manifest of component `did-not-ask`")
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_is_a_component_with_a_name_of_its_own() {
        let names: std::collections::BTreeSet<&str> = super::corpus().iter().map(|hostile| hostile.name).collect();
        assert_eq!(names.len(), super::corpus().len());
    }
}
