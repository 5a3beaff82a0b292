//! The test harness of the end to end tests: cargo's options and summary line, and tests that cannot run here are
//! counted as ignored with their reason. With `CI=true` such a test fails: a skipped lab is no proof.

use crate::lab::{Lab, Machine, ready};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The tests of a module that need a lab, from functions `fn() -> anyhow::Result<()>` in it; named by module and
/// function: `lab_tests![both_systems_are_running, …]` gives a `Vec<Trial>`.
#[macro_export]
macro_rules! lab_tests {
    ($($test:ident),* $(,)?) => {
        vec![$($crate::harness::lab_test(module_path!(), stringify!($test), $test)),*]
    };
}

/// One test of [`lab_tests!`]. The module's first part, the crate, is not shown.
#[must_use]
pub fn lab_test(module: &str, name: &str, test: fn() -> anyhow::Result<()>) -> Trial {
    let module = module.split_once("::").map_or(module, |(_, inner)| inner);
    let name = format!("{module}::{name}");
    let shown = name.clone();
    Trial::ignorable_test(name, move || match ready() {
        Ok(()) => test().map(|()| Completion::Completed).map_err(|error| Failed::from(causes(&error))),
        Err(reason) => skip(&shown, &reason, std::env::var("CI").is_ok_and(|ci| ci == "true")),
    })
}

/// The error and its causes, without a backtrace: it names its place in words.
fn causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join("\n  because: ")
}

fn skip(name: &str, reason: &str, ci: bool) -> Result<Completion, Failed> {
    if ci {
        return Err(Failed::from(format!("with CI=true a lab test must run: {reason}")));
    }
    eprintln!("skipped: {name}: {reason}");
    Ok(Completion::ignored_with(reason))
}

/// Runs the tests as cargo's own harness would. Three at a time unless `--test-threads` or `LAB_THREADS` says otherwise:
/// each boots machines of its own.
#[must_use]
pub fn main(tests: Vec<Trial>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    let asked = std::env::var("LAB_THREADS").ok().and_then(|count| count.parse().ok());
    arguments.test_threads = arguments.test_threads.or(asked).or(Some(3));
    let conclusion = libtest_mimic::run(&arguments, tests);
    if !arguments.list && ready().is_ok() {
        // Labs of tests that were killed; those of this process are gone already.
        if let Err(error) = Lab::sweep() {
            eprintln!("leftover labs: {error:#}");
        }
    }
    conclusion.exit_code()
}

/// Waits until `condition` holds, asking again and again; for what a server does in its own time.
///
/// # Errors
/// It failed, or did not hold within two minutes, far longer than anything here should take.
pub fn eventually(what: &str, condition: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    within(PATIENCE, what, condition)
}

const PATIENCE: Duration = Duration::from_secs(120);

fn within(patience: Duration, what: &str, mut condition: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !condition()? {
        anyhow::ensure!(begun.elapsed() < patience, "this did not come true: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// How long Postfix may take to deliver by itself: what its qmgr(8) was delivering when a reload replaced it is put off for a
/// minute, and looked at again when the next mail comes, or when master(8) wakes it, every five minutes.
const BY_ITSELF: Duration = Duration::from_secs(60 + 300 + 60);

/// Waits until a machine's Postfix has delivered what it has, by itself. A mail that everybody has is delivered, though its file
/// may be there for a while longer.
///
/// # Errors
/// It failed, or Postfix did not come to it in the time that it takes by itself; it names what still waits, and why.
pub fn queue_runs_dry(machine: &Machine) -> anyhow::Result<()> {
    until_dry(machine, BY_ITSELF, || Ok(()))
}

/// Has a machine's Postfix try what waits, again and again, until it has delivered all of it: one flush may come to nothing,
/// qmgr(8) forgets it when a reload replaces it.
///
/// # Errors
/// As [`eventually`]; it names what still waits, and why.
pub fn flush(machine: &Machine) -> anyhow::Result<()> {
    until_dry(machine, PATIENCE, || machine.sh("postqueue -f; sleep 2").map(drop))
}

fn until_dry(machine: &Machine, patience: Duration, meanwhile: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut waiting = String::new();
    let dry = within(patience, &format!("the queue of {} is empty", machine.name()), || {
        waiting =
            machine.sh("postqueue -j")?.lines().filter(|mail| !mail.contains(NOBODY)).collect::<Vec<_>>().join("\n");
        if !waiting.is_empty() {
            meanwhile()?;
        }
        Ok(waiting.is_empty())
    });
    dry.map_err(|error| {
        let traces = machine.sh(TRACES).unwrap_or_else(|error| format!("{error:#}"));
        error.context(format!("in the queue of {}: {waiting}\n{traces}", machine.name()))
    })
}

/// For whom a mail is, as postqueue(1) says it, once everybody has it.
const NOBODY: &str = r#""recipients": []"#;

/// What a machine knows of each mail that still waits: its file, and what Postfix said of it.
const TRACES: &str = r#"set +e +o pipefail; date; uptime; cd /var/spool/postfix
for id in $(postqueue -j | sed 's/.*"queue_id": "\([^"]*\).*/\1/'); do
  find incoming active deferred hold -name $id -printf '%p %m, last written %Tc\n'; postcat -e -q $id | tail -n 20
  journalctl --no-pager -o short-precise --grep $id | tail -n 20
done
journalctl --no-pager -o short-precise -t postfix/qmgr -t postfix/master -t postfix/postfix-script | tail -n 10; true"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_test_that_cannot_run_is_ignored_with_its_reason() {
        let answer = skip("x", "no root", false);
        assert!(matches!(answer, Ok(Completion::Ignored { reason: Some(reason) }) if reason == "no root"));
    }

    #[test]
    fn in_ci_a_lab_test_that_cannot_run_fails() {
        let failed = skip("x", "no root", true).err();
        let message = failed.as_ref().and_then(Failed::message);
        assert!(message.is_some_and(|text| text.contains("no root")));
    }
}
