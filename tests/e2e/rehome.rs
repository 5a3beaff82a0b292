//! rehome on a machine of the lab, as an administrator has it there: the binary, the components, a plan, a shell.
//! Whatever a test claims of a migration it reads with the oracles; what is here only types commands.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use rehome_tests::lab::Machine;
use rehome_tests::process::run;

/// Where it lies on the machine.
const FOLDER: &str = "/root/rehome";

/// rehome, installed on a machine, with a plan.
pub(crate) struct Rehome<'lab> {
    pub(crate) machine: &'lab Machine,
    /// how many seconds its clock is ahead: gates that wait for days are waited for, and tests do not take days
    ahead: Cell<u64>,
}

/// What a command of rehome left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// How a plan names a side.
pub(crate) enum Reach<'a> {
    Local,
    Ssh(&'a str),
    /// as `admin`, who may use sudo
    Sudo(&'a str),
}

impl Reach<'_> {
    fn table(&self, side: &str) -> String {
        match self {
            Reach::Local => format!("[{side}]\nlocal = true\n"),
            Reach::Ssh(machine) => format!("[{side}]\nssh = \"root@{machine}\"\n"),
            Reach::Sudo(machine) => format!("[{side}]\nssh = \"admin@{machine}\"\nsudo = true\n"),
        }
    }
}

/// The example's plan for these two machines: its phases, to the letter.
pub(crate) fn example(old: &Reach<'_>, new: &Reach<'_>) -> Result<String> {
    let path = workspace().join("examples/bullseye-to-bookworm/plan.toml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let phases = text.find("[[phase]]").context("the example has no phases")?;
    let head = "[migration]\nname = \"in the lab\"\n";
    Ok(format!("{head}{}{}{}", old.table("old"), new.table("new"), &text[phases..]))
}

/// The example's plan with the lab's names, addresses and key, for `Rehome::install_whole`.
pub(crate) fn whole(old: &Reach<'_>, new: &Reach<'_>) -> Result<String> {
    let plan = example(old, new)?;
    let (head, phases) = plan.split_at(plan.find("[[phase]]").context("the example has no phases")?);
    let phases = phases
        .replace("192.0.2.11", "10.77.0.11")
        .replace("192.0.2.12", "10.77.0.12")
        .replace("mail.example.org", "mail.lab.test");
    Ok(format!("{head}[secret.dns-update]\nfile = \"{FOLDER}/dns-update.key\"\n\n{phases}"))
}

/// Of the example, what moves accounts and mail and nothing else: for tests of the machinery around phases.
pub(crate) fn mail_only(old: &Reach<'_>, new: &Reach<'_>) -> Result<String> {
    let plan = example(old, new)?;
    let (head, phases) = plan.split_at(plan.find("[[phase]]").context("the example has no phases")?);
    let of = |phase: &str, component: &str| phase.contains(&format!("component = \"{component}\""));
    let kept = ["preflight", "database", "maildir", "dovecot", "confirm"];
    let mut plan = head.to_string();
    for phase in phases.split("[[phase]]").skip(1).filter(|phase| kept.iter().any(|component| of(phase, component))) {
        plan.push_str("[[phase]]");
        plan.push_str(phase);
    }
    Ok(plan)
}

/// The first phases of a plan, up to and with the one named.
pub(crate) fn up_to(plan: &str, phase: &str) -> Result<String> {
    let at = plan.find(&format!("id = \"{phase}\"")).with_context(|| format!("the plan has no phase {phase}"))?;
    let end = plan[at..].find("[[phase]]").map_or(plan.len(), |more| at + more);
    Ok(plan[..end].to_string())
}

impl<'lab> Rehome<'lab> {
    /// Puts the binary, the components and this plan on the machine.
    pub(crate) fn install(machine: &'lab Machine, plan: &str) -> Result<Self> {
        machine.sh(&format!("mkdir -p {FOLDER}"))?;
        machine.push(stripped()?, &format!("{FOLDER}/rehome"))?;
        machine.push(&target().join("components"), &format!("{FOLDER}/"))?;
        let rehome = Rehome { machine, ahead: Cell::new(0) };
        rehome.plan(plan)?;
        Ok(rehome)
    }

    /// The same, with the key that signs updates of the lab's zones.
    pub(crate) fn install_whole(machine: &'lab Machine, plan: &str, key: &str) -> Result<Self> {
        let rehome = Rehome::install(machine, plan)?;
        rehome.write("dns-update.key", key.as_bytes())?;
        machine.sh(&format!("chmod 600 {FOLDER}/dns-update.key"))?;
        Ok(rehome)
    }

    /// Puts another plan in its place.
    pub(crate) fn plan(&self, plan: &str) -> Result<()> {
        self.write("plan.toml", plan.as_bytes())
    }

    /// Writes a file beside the plan.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let done = self.machine.ssh_with_input(&["tee", &format!("{FOLDER}/{name}")], content)?;
        ensure!(done.status.success(), "cannot write {name} on {}", self.machine.name());
        Ok(())
    }

    /// `rehome WORDS…` beside the plan; whatever its exit status.
    pub(crate) fn run(&self, words: &[&str]) -> Result<Ran> {
        let script = format!("cd {FOLDER} && REHOME_CLOCK_AHEAD={} exec ./rehome \"$@\"", self.ahead.get());
        let mut all = vec!["sh", "-c", script.as_str(), "rehome"];
        all.extend(words);
        Ok(ran(self.machine.ssh(&all)?))
    }

    /// Lets so much time pass for rehome, and for nobody else.
    pub(crate) fn pass(&self, seconds: u64) {
        self.ahead.set(self.ahead.get() + seconds);
    }

    /// The phase that the migration waits at.
    pub(crate) fn waits_at(&self) -> Result<String> {
        let status = self.expect(0, &["status", "--json"])?.stdout;
        let status: serde_json::Value = serde_json::from_str(status.lines().last().unwrap_or_default())?;
        let phases = status["status"]["phases"].as_array().context("status has no phases")?;
        let waits = |phase: &&serde_json::Value| phase["standing"] == "waiting" || !phase["waits"].is_null();
        let phase = phases.iter().find(waits).with_context(|| format!("no phase waits: {status:#}"))?;
        Ok(phase["phase"].as_str().unwrap_or_default().to_string())
    }

    /// `run`, requiring an exit status.
    pub(crate) fn expect(&self, status: i32, words: &[&str]) -> Result<Ran> {
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
    pub(crate) fn approve(&self) -> Result<()> {
        self.expect(0, &["approve", "--yes"]).map(drop)
    }

    /// The whole plan: up to the gate, the answer, the rest.
    pub(crate) fn migrate(&self) -> Result<()> {
        self.approve()?;
        self.expect(5, &["apply"])?;
        self.expect(0, &["answer", "downtime", "go-on", "yes"])?;
        self.expect(0, &["apply"]).map(drop)
    }

    /// `rehome --json WORDS…`, killed with SIGKILL `pause` after one of its events holds all of `marks`: it works on until then.
    pub(crate) fn kill_after(&self, words: &[&str], marks: &[&str], pause: &str) -> Result<()> {
        self.kill(words, marks, &format!("sleep {pause}"))
    }

    /// The same, but it stands still from the event on, and only what it asked for elsewhere goes on: however fast the
    /// machine is, it does not come further than this.
    pub(crate) fn kill_at(&self, words: &[&str], marks: &[&str], pause: &str) -> Result<()> {
        self.kill(words, marks, &format!("kill -STOP $(cat pid); sleep {pause}"))
    }

    fn kill(&self, words: &[&str], marks: &[&str], pause: &str) -> Result<()> {
        // The watcher reads the events; the pid is the shell's own, which becomes rehome.
        let tests: Vec<String> = marks.iter().map(|mark| format!("[[ $line == *'{mark}'* ]]")).collect();
        let script = format!(
            "cd {FOLDER}; rm -f pid killed; \
             bash -c 'echo $$ > pid; exec ./rehome --json \"$@\"' rehome {} 2>stderr | \
             while IFS= read -r line; do \
               if {} && [[ ! -e killed ]]; then {pause}; touch killed; kill -9 $(cat pid); fi; \
             done; ended=${{PIPESTATUS[0]}}; [[ $ended == 137 ]] || {{ echo \"it ended with $ended\" >&2; exit 1; }}",
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

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The folder that cargo builds into: this test runs from `TARGET/debug/deps`.
fn target() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    here.ancestors().nth(3).map_or_else(|| workspace().join("target"), Path::to_path_buf)
}

/// The binary without debug information: a tenth of the bytes to push to every machine.
fn stripped() -> Result<&'static Path> {
    static STRIPPED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = STRIPPED.get_or_init(|| {
        let (from, to) = (target().join("debug/rehome"), target().join(format!("lab/rehome-{}", std::process::id())));
        if !from.exists() {
            return Err(format!("{} is not there: `cargo xtask test` builds it first", from.display()));
        }
        let done = run(Command::new("strip").arg("--strip-debug").arg("-o").arg(&to).arg(from));
        done.map(|_| to).map_err(|error| format!("{error:#}"))
    });
    made.as_deref().map_err(|error| anyhow::anyhow!("{error}"))
}

/// Removes what `stripped` made.
pub(crate) fn clean_up() {
    drop(std::fs::remove_file(target().join(format!("lab/rehome-{}", std::process::id()))));
}
