//! The command line. Words and their explanations, nothing else.

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use rehome_gatekeeper::types::{SideName, Stage};

/// Move a live server to a new machine, phase by sandboxed phase
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100, disable_help_subcommand = true, after_help = crate::exit::HELP)]
pub struct Args {
    #[command(flatten, next_help_heading = "Options of every verb")]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options of every verb.
#[derive(Clone, Debug, clap::Args)]
pub struct Global {
    /// The plan
    #[arg(long, global = true, value_name = "FILE", default_value = "plan.toml")]
    pub plan: PathBuf,
    /// One event a line on standard output, as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// When to use colours; NO_COLOR turns them off too
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// Show every request as it runs; twice: rehome's own doings as well
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Answer yes to what rehome itself asks
    #[arg(long, global = true)]
    pub yes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show everything the phases ask for, and grant it
    Approve(Approve),
    /// Look for whatever would make `apply` fail; changes nothing
    Check(Check),
    /// Show what `apply` would change; changes nothing
    Preview(Preview),
    /// Do it, or go on after a gate, a failure or a crash
    Apply(Apply),
    /// Answer what a phase asks
    Answer(Answer),
    /// Say what rehome cannot know: how an effect ended, which machine is a side, that the journal is lost
    Resolve(Resolve),
    /// Show how the migration stands, and what to do next
    Status,
    /// Compare both sides after `apply`; changes nothing
    Verify,
    /// Take back what `apply` did; mail that arrived on new goes back to old
    Undo(Undo),
    /// Print a script that lets an ssh key in on a side for what is approved, and nothing else
    Gate(Gate),
    /// For authors of phases
    #[command(subcommand)]
    Phase(Phase),
    /// Move a small mail server from one folder to another, to see how it goes
    Demo(Demo),
}

#[derive(Debug, clap::Args)]
pub struct Approve {
    /// Grant only this request, named `exec.stop` or `PHASE:exec.stop`
    #[arg(long, value_name = "REQUEST")]
    pub only: Vec<String>,
    /// Do not grant this request
    #[arg(long, value_name = "REQUEST")]
    pub deny: Vec<String>,
    /// Take an older component for this phase than was approved
    #[arg(long, value_name = "PHASE")]
    pub older: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct Check {
    /// No phase of a later stage
    #[arg(long, value_name = "STAGE")]
    pub until: Option<Stage>,
}

#[derive(Debug, clap::Args)]
pub struct Preview {
    /// End with status 4 if anything is left to do
    #[arg(long)]
    pub exit_code: bool,
}

#[derive(Debug, clap::Args)]
pub struct Apply {
    /// Stop before a later stage: prepare, copy, cutover, settle, retire
    #[arg(long, value_name = "STAGE")]
    pub until: Option<Stage>,
    /// Run this phase once more, and no other
    #[arg(long, value_name = "PHASE", conflicts_with = "until")]
    pub again: Option<String>,
    /// Whoever else is at work on the sides is gone for good: go on in their place
    #[arg(long)]
    pub take_over: bool,
}

#[derive(Debug, clap::Args)]
pub struct Undo {
    /// Only this stage and the later ones: prepare, copy, cutover, settle, retire
    #[arg(long, value_name = "STAGE", visible_alias = "until")]
    pub down_to: Option<Stage>,
    /// End an undo that is under way between two phases; `apply` then goes forward from there
    #[arg(long, conflicts_with_all = ["down_to", "by_hand"])]
    pub stop_here: bool,
    /// Count the phase at which an undo fails as taken back: you have done it yourself
    #[arg(long, value_name = "PHASE", conflicts_with = "down_to")]
    pub by_hand: Option<String>,
    /// Whoever else is at work on the sides is gone for good: go on in their place
    #[arg(long, conflicts_with_all = ["stop_here", "by_hand"])]
    pub take_over: bool,
}

#[derive(Debug, clap::Args)]
pub struct Gate {
    /// The side
    #[arg(default_value = "old")]
    pub side: SideName,
    /// The public key's file: of a key that is made for this and used for nothing else
    #[arg(long, value_name = "FILE", required_unless_present = "remove")]
    pub key: Option<PathBuf>,
    /// Who logs in with it (default: as in the plan, else root)
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Print a script that takes it away again
    #[arg(long)]
    pub remove: bool,
}

#[derive(Debug, clap::Args)]
pub struct Answer {
    /// The phase that asks
    pub phase: String,
    /// What it asks for
    pub key: String,
    /// The answer
    #[arg(required = true, value_name = "VALUE")]
    pub values: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct Resolve {
    /// A phase; or `machine`, or `journal`
    #[arg(value_name = "PHASE|machine|journal")]
    pub what: Option<String>,
    /// Whether it happened; or which machine
    #[arg(value_name = "did|did-not|old|new", requires = "what")]
    pub answer: Option<String>,
    /// Which effect, where a phase has several open: its number or its request
    #[arg(requires = "answer")]
    pub effect: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Phase {
    /// Show what can be known of a component without running it
    Inspect {
        /// The component
        file: PathBuf,
        /// The publisher's public key, as minisign prints it: checks the signature beside the file
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
    },
    /// Write the crate of a new phase
    New {
        /// Lower-case letters, digits and hyphens
        name: String,
        /// Where (default: a folder of that name here)
        folder: Option<PathBuf>,
        /// The folder `plugins/sdk` of a checkout of rehome (default: found upwards from here, else the repository)
        #[arg(long, value_name = "FOLDER")]
        sdk: Option<PathBuf>,
    },
    /// Make a component of a phase's crate
    Build {
        /// The crate
        #[arg(default_value = ".")]
        folder: PathBuf,
        /// Where the component goes (default: target/components in the crate)
        #[arg(long, value_name = "FOLDER")]
        out: Option<PathBuf>,
    },
    /// Run the unit tests of a phase's crate
    Test {
        /// The crate
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
pub struct Demo {
    /// Where to make the two sides and the plan
    #[arg(default_value = "rehome-demo")]
    pub folder: PathBuf,
    /// Begin anew where an earlier demo has been
    #[arg(long)]
    pub fresh: bool,
}
