//! A phase that means harm, built with the kit like any other, against a real mail server: each of its deeds is refused or
//! ends its own call, is in the journal, and changes nothing on old.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec};
use rehome_tests::lab_tests;
use rehome_tests::oracle::listing::{DOVECOT_CACHES, listing};
use rehome_tests::oracle::same;

use crate::rehome::Rehome;

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![what_a_phase_may_not_do_is_refused_journaled_and_changes_nothing]
}

/// A deed, what is said of it, and the request with which the journal has that; none: what ended was a call that was let begin.
const DEEDS: [(&str, &str, Option<&str>); 17] = [
    ("undeclared", "not in the manifest of component `mischief`", Some("exec.shell")),
    ("write", "its effect is `repeatable`; nothing was done", Some("exec.hold")),
    ("option", "begins with `-`", Some("exec.drop")),
    ("newline", "holds the control character U+000A", Some("exec.drop")),
    ("nul", "holds the control character U+0000", Some("exec.drop")),
    ("all", "is not a queue ID", Some("exec.drop")),
    ("unqueued", "was not among what exec.queue gave", Some("exec.drop")),
    ("empty", "is empty", Some("exec.drop")),
    ("outside", "has a component `.` or `..`", Some("tree.spool")),
    ("deadline", "took longer than 2s", Some("exec.slow")),
    ("output", "printed more than 1048576 bytes", Some("exec.flood")),
    ("arguments", "too much data is being copied", None),
    ("panic", "the component broke off", None),
    ("loop", "it computed for more than 10 s", None),
    ("recursion", "endless recursion?", None),
    ("memory", "it asked for more than 256 MiB of memory", None),
    ("lines", "all lines are written", None),
];

fn plan(deed: &str) -> String {
    format!(
        "[migration]\nname = \"mischief\"\n\n[old]\nssh = \"root@old\"\n\n[new]\nlocal = true\n\n\
         [[phase]]\nid = \"bad\"\ncomponent = \"mischief\"\nstage = \"copy\"\n[phase.config]\ndeed = \"{deed}\"\n\n\
         [[phase]]\nid = \"good\"\ncomponent = \"confirm\"\nstage = \"copy\"\n"
    )
}

/// What the journal has of the phase: request, state, why.
const JOURNAL: &str = "import sqlite3; db = sqlite3.connect('file:/root/rehome/.rehome/journal.db?mode=ro', uri=True)\n\
    for row in db.execute(\"SELECT request, state, failure FROM effect WHERE phase = 'bad'\"): print(*row, sep='|')";

fn what_a_phase_may_not_do_is_refused_journaled_and_changes_nothing() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().without_rspamd().ssh_keys_on("new"))?;
    // A mail that waits: its ID is one that may be named, all others are not.
    lab.old().sh("postconf default_transport=smtp:[10.77.0.99]:25 && postfix reload 2>/dev/null; \
                  echo waiting | sendmail friend@elsewhere.lab.test")?;
    let queue = || lab.old().sh("postqueue -j | grep -o '\"queue_id\": *\"[^\"]*\"'; postconf soft_bounce");
    rehome_tests::harness::eventually("a mail waits", || Ok(queue()?.contains("queue_id")))?;
    let of_old = || listing(lab.old(), &["/etc", "/root", "/home", "/usr/local", "/var/vmail"], DOVECOT_CACHES);
    let (files, waiting) = (of_old()?, queue()?);
    let rehome = Rehome::install(lab.new(), &plan("panic"))?;
    let mut wrong = Vec::new();
    for (deed, said, refused) in DEEDS {
        wrong.extend(is_held(&lab, &rehome, deed, said, refused).err().map(|error| format!("{error:#}")));
    }
    same("deeds", &wrong)?;
    same("files of old", &files.diff(&of_old()?))?;
    ensure!(queue()? == waiting, "the queue of old was {waiting}\nand is {}", queue()?);
    Ok(())
}

/// One deed: refused or ended, told, in the journal, and of no consequence for the next phase.
fn is_held(lab: &Lab, rehome: &Rehome<'_>, deed: &str, said: &str, refused: Option<&str>) -> Result<()> {
    rehome.plan(&plan(deed))?;
    rehome.approve()?;
    let began = std::time::Instant::now();
    // What changes something is not even looked at under a verb that reads.
    let effect = ["exec.drop"].iter().any(|request| refused == Some(request)) || deed == "arguments";
    let ran = rehome.run(&[if effect { "apply" } else { "check" }, "--json"])?;
    ensure!(began.elapsed().as_secs() < 90, "{deed} took {:?}", began.elapsed());
    let all = format!("{}{}", ran.stdout, ran.stderr);
    ensure!(ran.status.is_some_and(|status| status != 0), "{deed} ended with {:?}: {all}", ran.status);
    let end: String = all.chars().rev().take(1500).collect::<Vec<_>>().into_iter().rev().collect();
    ensure!(all.contains(said), "{deed}: `{said}` is not said: {end}");
    ensure!(!all.contains('\u{1b}') && !all.contains('\u{202e}'), "{deed}: an escape came through");
    let good = |line: &str| line.contains("phase-ended") && line.contains("\"phase\":\"good\"");
    ensure!(effect || all.lines().any(good), "after {deed} the next phase was not called: {all}");
    let journal = lab.new().ssh_with_input(&["python3", "-c", JOURNAL], b"")?;
    let journal = String::from_utf8(journal.stdout).context("the journal is text")?;
    if let Some(request) = refused {
        let is_refused =
            |line: &str| ["refused", "failed"].iter().any(|state| line.starts_with(&format!("{request}|{state}|")));
        ensure!(journal.lines().any(is_refused), "{deed}: `{request}` is not in the journal as refused: {journal}");
    }
    // A run under `apply` does no better.
    if deed != "write" && !effect {
        let ran = rehome.run(&["apply"])?;
        ensure!(ran.status.is_some_and(|status| status != 0 && status != 5), "{deed} under apply: {ran:?}");
    }
    rehome.forget(&[lab.old(), lab.new()])
}
