//! `cargo xtask test`: everything that has to hold. The lab's machines are built while cargo compiles.

use std::ffi::OsString;
use std::thread::{JoinHandle, ScopedJoinHandle};

use anyhow::Context;

use crate::cargo::Program;
use crate::{build, cargo, fuzz};

/// The test program of the lab.
const LAB: &str = "e2e";

/// Run all tests: unit, command line, lab
#[derive(clap::Args)]
pub struct TestArgs {
    /// Only the tests of the lab
    #[arg(long)]
    only_lab: bool,
    /// Skip the tests of the lab, and say so
    #[arg(long, conflicts_with = "only_lab")]
    no_lab: bool,
    /// For the test runners: names to match, --test-threads N
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// What tests in the lab need of cargo, and the lab's machines, being built.
pub struct Lab {
    environment: Vec<(&'static str, OsString)>,
    machines: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Lab {
    /// Begins to build the machines.
    ///
    /// # Errors
    /// No lab can run here, or its packages cannot be had.
    pub fn prepare() -> anyhow::Result<Lab> {
        rehome_tests::lab::available().map_err(anyhow::Error::msg)?;
        rehome_tests::lab::ensure_packages()?;
        // The tests' own binary runs on the lab's machines, so it is linked for the oldest Debian among them.
        let environment = vec![("REHOME_LIBC_TREE", rehome_tests::lab::libc_tree()?.into_os_string())];
        Ok(Lab { environment, machines: Some(std::thread::spawn(rehome_tests::lab::prepare)) })
    }

    /// None: its tests are skipped, and say why.
    fn off(reason: String) -> Lab {
        eprintln!("no lab here: {reason}");
        Lab { environment: vec![("REHOME_LAB_OFF", reason.into())], machines: None }
    }

    /// What to set for cargo.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        self.environment.clone()
    }

    /// Builds components, `rehome` and the tests, and waits for the machines.
    pub fn build(mut self) -> anyhow::Result<Lab> {
        build::components()?;
        cargo::run(cargo::workspace("test").envs(self.environment()).arg("--no-run"))?;
        if let Some(machines) = self.machines.take() {
            machines.join().map_err(|_| anyhow::anyhow!("it broke off"))?.context("cannot build the lab's machines")?;
        }
        Ok(self)
    }
}

pub fn run(args: &TestArgs) -> anyhow::Result<()> {
    let lab = if args.no_lab { Err("asked to, by --no-lab".to_string()) } else { rehome_tests::lab::available() };
    let lab = match lab {
        Ok(()) => Lab::prepare()?,
        Err(reason) => Lab::off(reason),
    };
    let lab = lab.build()?;
    // Some names to match are no wish to fuzz.
    if args.only_lab || !args.rest.is_empty() {
        let mut command = cargo::workspace("test");
        command.envs(lab.environment());
        command.args(if args.only_lab { ["--test", LAB].as_slice() } else { &["--no-fail-fast"] });
        return cargo::run(command.arg("--").args(&args.rest));
    }
    all(&lab)
}

/// Everything: the lab, where much is waited for, beside all other tests, and what is fuzzed is built with what they leave.
fn all(lab: &Lab) -> anyhow::Result<()> {
    let environment = lab.environment();
    let (in_lab, others): (Vec<Program>, Vec<Program>) =
        cargo::test_programs(&environment)?.into_iter().partition(|program| program.name == LAB);
    let (in_lab, others, fuzz) = std::thread::scope(|scope| {
        let others = scope.spawn(|| -> anyhow::Result<()> {
            let failed: Vec<anyhow::Error> =
                others.iter().filter_map(|program| program.run_quietly(&environment).err()).collect();
            let mut doc = cargo::workspace("test");
            let doc = cargo::run(doc.envs(environment.clone()).args(["--doc", "--no-fail-fast", "--quiet"]));
            failed.into_iter().next().map_or(doc, Err)
        });
        let fuzz = scope.spawn(fuzz::prepare);
        let in_lab = in_lab.iter().try_for_each(|program| program.run(&environment));
        (in_lab, joined(others), joined(fuzz))
    });
    let fuzzed = fuzz.and_then(|ready| fuzz::briefly(ready.as_deref()));
    in_lab.and(others).and(fuzzed)
}

fn joined<T>(thread: ScopedJoinHandle<'_, anyhow::Result<T>>) -> anyhow::Result<T> {
    thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("it broke off")))
}
