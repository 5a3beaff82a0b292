//! rehome on a machine of the lab, as an administrator has it there: the binary, the components, a plan, a shell.
//! Whatever a test claims of a migration it reads with the oracles; what is here only types commands. Plans are in `plan.rs`.

mod gate;
mod plan;

pub use plan::{Reach, example, mail_only, up_to, whole};

use crate::lab::Machine;
use crate::process::run;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::SystemTime;

/// Where it lies on the machine.
const FOLDER: &str = "/root/rehome";

/// rehome, installed on a machine, with a plan.
#[derive(Debug)]
pub struct Rehome<'lab> {
    /// The machine.
    pub machine: &'lab Machine,
    /// how many seconds its clock is ahead: gates that wait for days are waited for, and tests do not take days
    ahead: Cell<u64>,
    /// it reaches old through a gate: see [`Rehome::behind_a_gate`]
    gated: Cell<bool>,
}

/// What a command of rehome left behind.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status; none if a signal ended it.
    pub status: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Ran {
    /// Whether its standard error holds each of these, wherever its lines are broken.
    ///
    /// # Errors
    /// One is not there.
    pub fn says(&self, words: &[&str]) -> Result<()> {
        let said = self.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            ensure!(said.contains(word), "`{word}` is not said:\n{}", self.stderr);
        }
        Ok(())
    }
}

/// What was built: what is put on a machine.
#[derive(Debug, Clone)]
pub struct Built {
    /// The program `rehome`; it must run on the oldest machine it is put on.
    pub program: PathBuf,
    /// The folder with the components.
    pub components: PathBuf,
    /// The folder with what they were compiled to, if that is there: else each machine compiles them.
    pub compiled: Option<PathBuf>,
}

/// An event of `rehome --json`, and when it was heard.
#[derive(Debug, Clone)]
pub struct Event {
    /// By the clock of this machine, which is the lab's.
    pub heard: SystemTime,
    /// Its fields; `event` names it.
    pub fields: Value,
}

impl<'lab> Rehome<'lab> {
    /// Puts what was built with these tests, and this plan, on the machine.
    ///
    /// # Errors
    /// Nothing was built, or it cannot be copied.
    pub fn install(machine: &'lab Machine, plan: &str) -> Result<Self> {
        Self::install_built(Built::with_tests()?, machine, plan)
    }

    /// Puts the binary, the components and this plan on the machine.
    ///
    /// # Errors
    /// Something of it cannot be copied.
    pub fn install_built(built: &Built, machine: &'lab Machine, plan: &str) -> Result<Self> {
        machine.sh(&format!("mkdir -p {FOLDER}/components"))?;
        machine.push(&built.program, &format!("{FOLDER}/rehome"))?;
        machine.push(&built.components.join(""), &format!("{FOLDER}/components/"))?;
        if let Some(compiled) = &built.compiled {
            machine.push(&compiled.join(""), &format!("{FOLDER}/compiled/"))?;
        }
        let rehome = Rehome { machine, ahead: Cell::new(0), gated: Cell::new(gate::everywhere()) };
        rehome.plan(plan)?;
        Ok(rehome)
    }

    /// As [`Rehome::install`], with the key that signs updates of the lab's zones.
    ///
    /// # Errors
    /// As [`Rehome::install`].
    pub fn install_whole(machine: &'lab Machine, plan: &str, key: &str) -> Result<Self> {
        let rehome = Rehome::install(machine, plan)?;
        rehome.write("dns-update.key", key.as_bytes())?;
        machine.sh(&format!("chmod 600 {FOLDER}/dns-update.key"))?;
        Ok(rehome)
    }

    /// From the next plan and approval on it reaches old by a key that a gate there holds to what is approved, and reads
    /// databases there by an account that can do nothing else.
    ///
    /// # Errors
    /// The plan cannot be written.
    pub fn behind_a_gate(self, plan: &str) -> Result<Self> {
        self.gated.set(true);
        self.plan(plan)?;
        Ok(self)
    }

    /// Whether it reaches old through a gate.
    #[must_use]
    pub fn is_gated(&self) -> bool {
        self.gated.get()
    }

    /// Puts another plan in its place.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn plan(&self, plan: &str) -> Result<()> {
        let plan = if self.gated.get() { gate::with_reader(plan) } else { plan.to_owned() };
        self.write("plan.toml", plan.as_bytes())
    }

    /// Writes a file beside the plan.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let done = self.machine.ssh_with_input(&["tee", &format!("{FOLDER}/{name}")], content)?;
        ensure!(done.status.success(), "cannot write {name} on {}", self.machine.name());
        Ok(())
    }

    /// `rehome WORDS…` beside the plan; whatever its exit status.
    ///
    /// # Errors
    /// ssh cannot be started.
    pub fn run(&self, words: &[&str]) -> Result<Ran> {
        let script = self.script();
        Ok(ran(self.machine.ssh(&spoken(&script, words))?))
    }

    /// `rehome --json WORDS…`, its events as they come.
    ///
    /// # Errors
    /// It ended with another status than 0, or said something that is no event.
    pub fn events(&self, words: &[&str]) -> Result<Vec<Event>> {
        let script = self.script();
        let words: Vec<&str> = [&["--json"], words].concat();
        let mut command = self.machine.command(&spoken(&script, &words))?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start ssh")?;
        let lines = BufReader::new(child.stdout.take().context("it has no output")?).lines();
        let event = |line: std::io::Result<String>| -> Result<Event> {
            let (line, heard) = (line?, SystemTime::now());
            Ok(Event { heard, fields: serde_json::from_str(&line).with_context(|| format!("no event: {line}"))? })
        };
        let events: Result<Vec<Event>> = lines.map(event).collect();
        let status = child.wait()?;
        ensure!(status.success(), "rehome {} ended with {status}", words.join(" "));
        events
    }

    /// `rehome --json WORDS…`: each line to `seen` as it comes, until it ends, however it ends; or its machine does.
    ///
    /// # Errors
    /// ssh cannot be started, or `seen` fails.
    pub fn watch(&self, words: &[&str], seen: &mut dyn FnMut(&str) -> Result<()>) -> Result<Ran> {
        let script = self.script();
        let words: Vec<&str> = [&["--json"], words].concat();
        let mut command = self.machine.command(&spoken(&script, &words))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start ssh")?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut stderr = stderr.context("it has no errors")?;
        let errors = std::thread::spawn(move || {
            let mut said = Vec::new();
            drop(std::io::Read::read_to_end(&mut stderr, &mut said));
            said
        });
        let mut all = String::new();
        for line in BufReader::new(stdout.context("it has no output")?).lines() {
            // The connection may end in the middle of a character.
            let Ok(line) = line else { break };
            seen(&line)?;
            all.push_str(&line);
            all.push('\n');
        }
        let status = child.wait()?.code();
        let stderr = errors.join().map_err(|_| anyhow::anyhow!("reading its errors panicked"))?;
        Ok(Ran { status, stdout: all, stderr: String::from_utf8_lossy(&stderr).into_owned() })
    }

    fn script(&self) -> String {
        let ahead = self.ahead.get();
        format!("cd {FOLDER} && REHOME_AOT={FOLDER}/compiled REHOME_CLOCK_AHEAD={ahead} exec ./rehome \"$@\"")
    }

    /// Forgets the migration, so that another one can begin: its journal, what was approved, and its records on the sides.
    ///
    /// # Errors
    /// Something of it cannot be removed.
    pub fn forget(&self, sides: &[&Machine]) -> Result<()> {
        for side in sides {
            side.sh("rm -rf /var/lib/rehome")?;
        }
        self.machine.sh(&format!("cd {FOLDER} && rm -rf .rehome plan.lock")).map(drop)
    }

    /// Its clock is so many seconds ahead of everybody else's from now on, whatever it was before.
    pub fn clock_is_ahead(&self, seconds: u64) {
        self.ahead.set(seconds);
    }

    /// Lets so much time pass for rehome, and for nobody else.
    pub fn pass(&self, seconds: u64) {
        self.ahead.set(self.ahead.get() + seconds);
    }

    /// The phase that the migration waits at.
    ///
    /// # Errors
    /// It waits at none.
    pub fn waits_at(&self) -> Result<String> {
        let status = self.expect(0, &["status", "--json"])?.stdout;
        let status: serde_json::Value = serde_json::from_str(status.lines().last().unwrap_or_default())?;
        let phases = status["status"]["phases"].as_array().context("status has no phases")?;
        let waits = |phase: &&serde_json::Value| phase["standing"] == "waiting" || !phase["waits"].is_null();
        let phase = phases.iter().find(waits).with_context(|| format!("no phase waits: {status:#}"))?;
        Ok(phase["phase"].as_str().unwrap_or_default().to_string())
    }

    /// [`Rehome::run`], requiring an exit status.
    ///
    /// # Errors
    /// It ended with another; the message holds what it said.
    pub fn expect(&self, status: i32, words: &[&str]) -> Result<Ran> {
        let ran = self.run(words)?;
        ensure!(
            ran.status == Some(status),
            "rehome {} ended with {:?} instead of {status}\n--- stdout\n{}\n--- stderr\n{}",
            words.join(" "),
            ran.status,
            ran.stdout,
            ran.stderr
        );
        Ok(ran)
    }

    /// Approves everything the plan asks for.
    ///
    /// # Errors
    /// rehome's words.
    pub fn approve(&self) -> Result<()> {
        self.expect(0, &["approve", "--yes"])?;
        if self.gated.get() { gate::install(self) } else { Ok(()) }
    }

    /// The whole plan: up to the gate, the answer, the rest.
    ///
    /// # Errors
    /// rehome's words.
    pub fn migrate(&self) -> Result<()> {
        self.approve()?;
        self.expect(5, &["apply"])?;
        self.expect(0, &["answer", "downtime", "go-on", "yes"])?;
        self.expect(0, &["apply"]).map(drop)
    }

    /// `rehome --json WORDS…`, killed with SIGKILL `pause` after one of its events holds all of `marks`: it works on until then.
    ///
    /// # Errors
    /// No event has them all.
    pub fn kill_after(&self, words: &[&str], marks: &[&str], pause: &str) -> Result<()> {
        self.kill(words, marks, &format!("sleep {pause}"))
    }

    /// The same, but it stands still from the event on, and only what it asked for elsewhere goes on: however fast the
    /// machine is, it does not come further than this.
    ///
    /// # Errors
    /// As [`Rehome::kill_after`].
    pub fn kill_at(&self, words: &[&str], marks: &[&str], pause: &str) -> Result<()> {
        self.kill(words, marks, &format!("kill -STOP $(cat pid); sleep {pause}"))
    }

    fn kill(&self, words: &[&str], marks: &[&str], pause: &str) -> Result<()> {
        // The watcher reads the events; the pid is the shell's own, which becomes rehome.
        let tests: Vec<String> = marks.iter().map(|mark| format!("[[ $line == *'{mark}'* ]]")).collect();
        let script = format!(
            "cd {FOLDER}; rm -f pid killed; export REHOME_AOT={FOLDER}/compiled REHOME_CLOCK_AHEAD={}; \
             bash -c 'echo $$ > pid; exec ./rehome --json \"$@\"' rehome {} 2>stderr | \
             while IFS= read -r line; do \
               if {} && [[ ! -e killed ]]; then {pause}; touch killed; kill -9 $(cat pid); fi; \
             done; ended=${{PIPESTATUS[0]}}; [[ $ended == 137 ]] || {{ echo \"it ended with $ended\" >&2; exit 1; }}",
            self.ahead.get(),
            words.join(" "),
            tests.join(" && "),
        );
        let done = ran(self.machine.ssh(&["bash", "-c", &script])?);
        let said = self.machine.sh(&format!("cat {FOLDER}/stderr"))?;
        ensure!(done.status == Some(0), "not killed at {marks:?}: {}\n{said}", done.stderr.trim());
        Ok(())
    }
}

fn ran(output: Output) -> Ran {
    Ran {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The words that run a script with these arguments.
fn spoken<'a>(script: &'a str, words: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["sh", "-c", script, "rehome"];
    all.extend(words);
    all
}

/// The folder that cargo builds into: a test runs from `TARGET/debug/deps`.
fn target() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    here.ancestors().nth(3).map_or_else(|| plan::workspace().join("target"), Path::to_path_buf)
}

impl Built {
    /// What was built with the test that is running. The binary is without debug information: a tenth of the bytes to push
    /// to every machine. [`clean_up`] removes it.
    ///
    /// # Errors
    /// It was not built.
    pub fn with_tests() -> Result<&'static Self> {
        static BUILT: OnceLock<Result<Built, String>> = OnceLock::new();
        let made = BUILT.get_or_init(|| {
            let (from, to) = (target().join("debug/rehome"), stripped());
            if !from.exists() {
                return Err(format!("{} is not there: `cargo xtask test` builds it first", from.display()));
            }
            // Where the lab's machines are kept elsewhere nobody else makes it.
            std::fs::create_dir_all(target().join("lab")).map_err(|error| format!("target/lab: {error}"))?;
            let done = run(Command::new("strip").arg("--strip-debug").arg("-o").arg(&to).arg(from));
            done.map_err(|error| format!("{error:#}"))?;
            let components = target().join("components");
            let compiled = compiled(&to, &components).map_err(|error| format!("{error:#}"))?;
            Ok(Built { program: to, components, compiled: Some(compiled) })
        });
        made.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }
}

/// The components of the example, compiled here: on a machine of the lab it takes twelve seconds of a processor, each time.
fn compiled(program: &Path, components: &Path) -> Result<PathBuf> {
    let folder = target().join("lab/compiled");
    // What former components were compiled to is not carried to every machine for ever.
    if std::fs::read_dir(&folder).is_ok_and(|files| files.count() > 40) {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let here = tempfile::tempdir()?;
    for side in ["old", "new"] {
        std::fs::create_dir(here.path().join(side))?;
    }
    std::os::unix::fs::symlink(components, here.path().join("components"))?;
    std::fs::write(here.path().join("plan.toml"), plan::between_folders(here.path())?)?;
    let rehome = |verb: &[&str]| {
        let mut command = Command::new(program);
        command.args(verb).current_dir(here.path()).env("REHOME_AOT", &folder).stdin(Stdio::null());
        command.output().context("cannot start rehome")
    };
    let approved = rehome(&["approve", "--yes"])?;
    ensure!(approved.status.success(), "the components cannot be approved: {}", ran(approved).stderr);
    // What it finds in two empty folders is of no interest: it has to compile all of them to look.
    rehome(&["check"])?;
    Ok(folder)
}

fn stripped() -> PathBuf {
    target().join(format!("lab/rehome-{}", std::process::id()))
}

/// Removes what [`Built::with_tests`] made.
pub fn clean_up() {
    drop(std::fs::remove_file(stripped()));
}
