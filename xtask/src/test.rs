//! `cargo xtask test`: everything that has to hold. The lab's machines are built while cargo compiles.

use anyhow::Context;

use crate::{build, cargo};

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

pub fn run(args: &TestArgs) -> anyhow::Result<()> {
    let lab = if args.no_lab { Err("asked to, by --no-lab".to_string()) } else { rehome_tests::lab::available() };
    // The tests' own binary runs on the lab's machines, so it is linked for the oldest Debian among them.
    let mut environment = Vec::new();
    let mut machines = None;
    match lab {
        Ok(()) => {
            rehome_tests::lab::ensure_packages()?;
            environment.push(("REHOME_LIBC_TREE", rehome_tests::lab::libc_tree()?.into_os_string()));
            machines = Some(std::thread::spawn(rehome_tests::lab::prepare));
        }
        Err(reason) => {
            eprintln!("no lab here: {reason}");
            environment.push(("REHOME_LAB_OFF", reason.into()));
        }
    }
    let cargo = |words: &[&str]| {
        let mut command = cargo::workspace("test");
        command.envs(environment.clone()).args(words);
        command
    };
    build::components()?;
    cargo::run(&mut cargo(&["--no-run"]))?;
    if let Some(machines) = machines {
        machines.join().map_err(|_| anyhow::anyhow!("it broke off"))?.context("cannot build the lab's machines")?;
    }
    let mut command = cargo(if args.only_lab { &["--test", "e2e"] } else { &["--no-fail-fast"] });
    cargo::run(command.arg("--").args(&args.rest))
}
