//! `cargo xtask lab`: a lab to work in by hand. It outlives the command, until `down`.
//! Everything is `rehome_tests::lab`'s, so what stands here is what the tests boot.

use anyhow::{Context, Result};
use rehome_tests::lab::{self, Lab, LabSpec};
use std::os::unix::process::CommandExt;

/// What to do with a lab.
#[derive(Debug, clap::Subcommand)]
pub enum LabArgs {
    /// Boot `old` (Debian 11 with accounts and mail) and `new` (Debian 12, configured and empty)
    Up {
        /// The lab's name: several can stand beside each other
        #[arg(long, default_value = "dev")]
        id: String,
        /// Also boot `third`, a Debian 12 to run rehome on
        #[arg(long)]
        third: bool,
        /// Also boot `sender`, a mail server out in the world
        #[arg(long)]
        sender: bool,
        /// Also boot `other`, a second old server (Debian 11) with a domain of its own
        #[arg(long)]
        other: bool,
    },
    /// Take a lab down, with everything that was done in it
    Down {
        /// The lab's name
        #[arg(long, default_value = "dev")]
        id: String,
    },
    /// Log in to a machine as root, or run a command there
    Ssh {
        /// The lab's name
        #[arg(long, default_value = "dev")]
        id: String,
        /// old, new, third, sender or other
        machine: String,
        /// The command; without one, a shell
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// List the labs on this machine, tests' too
    Status,
}

/// Does it.
///
/// # Errors
/// No lab can run here, there is none of that name, or it did not come up: the message says which and what to do.
pub fn run(args: LabArgs) -> Result<()> {
    match args {
        LabArgs::Up { id, third, sender, other } => up(&id, third, sender, other),
        LabArgs::Down { id } => lab::take_down(&id),
        LabArgs::Ssh { id, machine, command } => ssh(&id, &machine, &command),
        LabArgs::Status => status(),
    }
}

fn up(id: &str, third: bool, sender: bool, other: bool) -> Result<()> {
    lab::ensure_packages()?;
    let mut spec = LabSpec::pair();
    if third {
        spec = spec.with_third().ssh_keys_on("third");
    }
    if sender {
        spec = spec.with_sender();
    }
    if other {
        spec = spec.with_other();
    }
    let lab = Lab::start(&spec.ssh_keys_on("new").id(id).persistent())?;
    for machine in lab.machines() {
        let name = machine.name();
        println!("{name:6} {}   cargo xtask lab ssh --id {id} {name}", machine.address());
    }
    println!(
        "users and passwords: tests/lab/accounts.json, other.json; DNS at 10.77.0.1, its TSIG key: {}",
        lab.tsig_key()?
    );
    println!("a shell that reaches them by name: ip netns exec rh-{id} bash");
    println!("to end it: cargo xtask lab down --id {id}");
    Ok(())
}

fn ssh(id: &str, machine: &str, command: &[String]) -> Result<()> {
    let lab = Lab::open(id)?;
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let error = lab.find(machine)?.terminal(&words)?.exec();
    Err(error).context("cannot start ssh")
}

fn status() -> Result<()> {
    let labs = lab::list()?;
    if labs.is_empty() {
        println!("no lab (cargo xtask lab up)");
    }
    for state in labs {
        let lab = Lab::open(&state.id)?;
        let owner = if state.persistent { "until down".to_owned() } else { format!("of process {}", state.owner) };
        println!("{} ({owner})", state.id);
        for machine in lab.machines() {
            let on = if machine.is_on()? { "on" } else { "off" };
            println!("  {:6} {} {on}", machine.name(), machine.address());
        }
    }
    Ok(())
}
