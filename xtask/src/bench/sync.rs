//! `cargo xtask bench sync`: passes of the synchroniser against the tools that administrators use, over ssh on this machine.
//! The measuring is `host/sync/benches/passes`; here it is built, given cgroups to measure in, and its rows are kept.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use rehome_tests::lab::ensure as ensure_packages;

use super::results::{Results, Row, Run};
use super::scratch::Scratch;
use crate::cargo;

/// What the bench runs.
const PACKAGES: [&str; 4] = ["e2fsprogs", "openssh-client", "openssh-server", "rsync"];

/// What to measure, and how often
#[derive(clap::Args)]
pub struct SyncArgs {
    /// Messages in the source
    #[arg(long, default_value_t = 20_000)]
    messages: u64,
    /// How often ours and a peer take turns; each figure is the median
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Which passes
    #[arg(long, value_delimiter = ',', value_name = "PASS", default_values = ["first", "cold-unchanged", "cold-churn", "converged"])]
    passes: Vec<Pass>,
    /// With caches as they are, as after a boot (for root only), or both
    #[arg(long, value_delimiter = ',', value_name = "CACHE", default_values = ["warm", "dropped"])]
    caches: Vec<Cache>,
    /// Only peers whose names hold one of these words
    #[arg(long, value_delimiter = ',', value_name = "WORD")]
    peers: Vec<String>,
    /// How far away the source is: milliseconds each way; several may be named
    #[arg(long, value_delimiter = ',', value_name = "MS", default_values_t = [0])]
    delay: Vec<u64>,
    /// Where source and targets are made: on the disk that is to be measured [default: target/bench]
    #[arg(long)]
    folder: Option<PathBuf>,
    /// One JSON object a row
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Pass {
    First,
    ColdUnchanged,
    ColdChurn,
    Converged,
}

#[derive(Clone, Copy, ValueEnum)]
enum Cache {
    Warm,
    Dropped,
}

fn names<T: ValueEnum>(values: &[T]) -> String {
    let names = values.iter().filter_map(|value| value.to_possible_value()).map(|value| value.get_name().to_string());
    names.collect::<Vec<_>>().join(",")
}

impl SyncArgs {
    /// What to type to have these figures again.
    fn command(&self) -> String {
        let mut line = format!("cargo xtask bench sync --messages {} --pairs {}", self.messages, self.pairs);
        for (option, value, default) in [
            ("passes", names(&self.passes), names(Pass::value_variants())),
            ("caches", names(&self.caches), names(Cache::value_variants())),
            ("peers", self.peers.join(","), String::new()),
            ("delay", self.delays(), "0".into()),
        ] {
            if value != default {
                let quoted = if value.contains(' ') { format!("'{value}'") } else { value };
                line.push_str(&format!(" --{option} {quoted}"));
            }
        }
        line
    }

    fn delays(&self) -> String {
        self.delay.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
    }
}

pub fn run(args: &SyncArgs) -> anyhow::Result<()> {
    ensure_packages(&PACKAGES)?;
    let bench = cargo::release_bench(&["-p", "rehome-sync", "--bench", "passes"], "passes")?;
    let scratch = Scratch::make("sync", args.folder.as_deref())?;
    let mut results = Results::open(Run::now(&args.command(), &scratch.folder)?)?;
    // Disks that the bench mounts go away with it.
    let mut command = if scratch.group.is_some() { Command::new("unshare") } else { Command::new(&bench) };
    if scratch.group.is_some() {
        command.args(["--mount", "--propagation", "private"]).arg(&bench);
    }
    command.args(["--messages", &args.messages.to_string(), "--pairs", &args.pairs.to_string()]);
    command.args(["--passes", &names(&args.passes), "--caches", &names(&args.caches), "--delays", &args.delays()]);
    command.arg("--folder").arg(&scratch.folder);
    if !args.peers.is_empty() {
        command.args(["--peers", &args.peers.join(",")]);
    }
    if let Some(group) = &scratch.group {
        command.arg("--groups").arg(group.path());
    }
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start the bench of rehome-sync")?;
    let lines = BufReader::new(child.stdout.take().context("it has no output")?).lines();
    for line in lines {
        let line = line?;
        let row: Row = serde_json::from_str(&line).with_context(|| format!("no row: {line}"))?;
        results.add(row, args.json)?;
    }
    let status = child.wait()?;
    ensure!(status.success(), "the bench of rehome-sync ended with {status}; the rows that it had are kept");
    Ok(())
}
