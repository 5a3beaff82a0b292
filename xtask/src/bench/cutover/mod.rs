//! `cargo xtask bench cutover`: the downtime of a whole cutover in the lab, by rehome and by the guide's commands, each to a
//! machine of its own from the same old server, and the floor below both.
//! `world.rs` is the lab and what happens in it before each run, `ways.rs` the ways through a cutover.

mod beside;
mod ways;
mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use rehome_tests::lab::{self, Lab};
use rehome_tests::rehome::Built;

use super::results::{CutoverRow, Results, Row, Run};
use super::scratch::Scratch;
use crate::{build, cargo};
use ways::{Measured, Way, Ways};
use world::World;

/// What to measure, and how often
#[derive(clap::Args)]
pub struct CutoverArgs {
    /// Mails on the old server
    #[arg(long, default_value_t = 20_000)]
    messages: u64,
    /// How often each way is gone; each figure is the median
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// What rehome is measured against
    #[arg(long, value_delimiter = ',', value_name = "PEER", default_values = ["guide"])]
    peers: Vec<Peer>,
    /// Where the machines' disks are: on the disk that is to be measured [default: target/bench]
    #[arg(long)]
    folder: Option<PathBuf>,
    /// A rehome that is built already, for release; it must run on Debian 12
    #[arg(long, value_name = "PATH", requires = "components")]
    rehome: Option<PathBuf>,
    /// The components that go with it
    #[arg(long, value_name = "DIR", requires = "rehome")]
    components: Option<PathBuf>,
    /// Where to write all events of rehome's last cutover, a line each, with `at`: microseconds since 1970
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// One JSON object a row
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Peer {
    /// stop, rsync, start, force-resync, by hand
    Guide,
    /// the same, with one more rsync just before the first stop
    GuideAgain,
    /// `doveadm backup`, Dovecot's own; its first copy takes a second for some hundred mails
    Backup,
}

impl Peer {
    fn way(self) -> Way {
        match self {
            Peer::Guide => Way::Guide,
            Peer::GuideAgain => Way::GuideAgain,
            Peer::Backup => Way::Backup,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Peer::Guide => "the guide by hand",
            Peer::GuideAgain => "the guide, with one more rsync just before",
            Peer::Backup => "doveadm backup",
        }
    }
}

impl CutoverArgs {
    /// What to type to have these figures again.
    fn command(&self) -> String {
        let mut command = format!("cargo xtask bench cutover --messages {} --pairs {}", self.messages, self.pairs);
        if self.peers != [Peer::Guide] {
            let words = self.peers.iter().filter_map(Peer::to_possible_value);
            let words: Vec<String> = words.map(|word| word.get_name().to_string()).collect();
            command += &format!(" --peers {}", words.join(","));
        }
        command
    }
}

pub fn run(args: &CutoverArgs) -> anyhow::Result<()> {
    lab::available().map_err(anyhow::Error::msg).context("no lab can run here")?;
    lab::ensure_packages()?;
    let built = built(args)?;
    // A lab that a killed bench left still works on its disks.
    Lab::sweep()?;
    let scratch = Scratch::make("cutover", args.folder.as_deref())?;
    let mut results = Results::open(Run::now(&args.command(), &scratch.folder)?)?;

    let world = World::make(&scratch.folder, args.messages)?;
    let ways = Ways::prepare(&world, &built, args.events.clone())?;
    let mut turns = vec![Way::Ours, Way::Floor];
    turns.extend(args.peers.iter().map(|peer| peer.way()));
    let mut figures = Figures::default();
    for pair in 0..args.pairs as usize {
        // Each way is the first, the second and the last in turns.
        for turn in 0..turns.len() {
            let way = turns[(pair + turn) % turns.len()];
            let measured = ways.go(way).with_context(|| format!("{way:?}, pair {}", pair + 1))?;
            eprintln!("pair {}: {way:?} {:.2} s {:?}", pair + 1, measured.seconds, measured.parts);
            figures.0.entry(way).or_default().push(measured);
        }
    }
    for peer in &args.peers {
        results.add(Row::Cutover(figures.row(args, *peer)?), args.json)?;
    }
    Ok(())
}

/// What goes onto the machine: as it was asked for, or built now.
fn built(args: &CutoverArgs) -> anyhow::Result<Built> {
    if let (Some(program), Some(components)) = (&args.rehome, &args.components) {
        ensure!(program.is_file(), "there is no program {}", program.display());
        ensure!(components.is_dir(), "there is no folder {}", components.display());
        return Ok(Built { program: program.clone(), components: components.clone(), compiled: None });
    }
    build::components()?;
    let tree = lab::libc_tree()?;
    let program = cargo::release_rehome(vec![("REHOME_LIBC_TREE", tree.into_os_string())])?;
    Ok(Built { program, components: cargo::target().join("components"), compiled: None })
}

/// What each way took, pair by pair.
#[derive(Default)]
struct Figures(BTreeMap<Way, Vec<Measured>>);

impl Figures {
    fn of(&self, way: Way) -> &[Measured] {
        self.0.get(&way).map_or(&[], Vec::as_slice)
    }

    fn row(&self, args: &CutoverArgs, peer: Peer) -> anyhow::Result<CutoverRow> {
        let seconds = |way| self.of(way).iter().map(|measured| round(measured.seconds)).collect::<Vec<f64>>();
        let (ours, theirs, floor) = (seconds(Way::Ours), seconds(peer.way()), seconds(Way::Floor));
        let middle = |values: &[f64]| median(values.to_vec()).context("nothing was measured");
        let floor_s = middle(&floor)?;
        // What cannot be told from the floor is taken as a hundredth of a second.
        let above = |seconds: &f64| (seconds - floor_s).max(0.01);
        let pairs = || ours.iter().zip(&theirs);
        Ok(CutoverRow {
            messages: args.messages,
            peer: peer.name().into(),
            ours_s: middle(&ours)?,
            peer_s: middle(&theirs)?,
            floor_s,
            ratio: middle(&pairs().map(|(ours, theirs)| above(theirs) / above(ours)).collect::<Vec<_>>())?,
            ratio_of_all: middle(&pairs().map(|(ours, theirs)| theirs / ours).collect::<Vec<_>>())?,
            parts: parts(self.of(Way::Ours)),
            peer_parts: parts(self.of(peer.way())),
            pairs: args.pairs,
            ours_each_s: ours,
            peer_each_s: theirs,
            floor_each_s: floor,
        })
    }
}

/// The median of each part.
fn parts(way: &[Measured]) -> BTreeMap<String, f64> {
    let mut all: BTreeMap<&String, Vec<f64>> = BTreeMap::new();
    for (part, seconds) in way.iter().flat_map(|measured| &measured.parts) {
        all.entry(part).or_default().push(*seconds);
    }
    all.into_iter().filter_map(|(part, values)| Some((part.clone(), median(values)?))).collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    Some(round(if values.len() % 2 == 1 {
        *values.get(middle)?
    } else {
        (values.get(middle.checked_sub(1)?)? + values[middle]) / 2.0
    }))
}

/// Milliseconds: less is noise.
fn round(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_that_of_what_is_above_the_floor() {
        let measured = |seconds| vec![Measured { seconds, parts: BTreeMap::from([("stop".into(), seconds / 2.0)]) }];
        let took =
            [(Way::Ours, 2.5), (Way::Guide, 6.0), (Way::Floor, 2.0)].map(|(way, seconds)| (way, measured(seconds)));
        let args = CutoverArgs {
            messages: 1,
            pairs: 1,
            peers: vec![Peer::Guide],
            folder: None,
            rehome: None,
            components: None,
            events: None,
            json: true,
        };
        let row = Figures(took.into()).row(&args, Peer::Guide).unwrap_or_else(|error| panic!("{error:#}"));
        assert!((row.ratio - 8.0).abs() < 1e-9 && (row.ratio_of_all - 2.4).abs() < 1e-9, "{row:?}");
        assert!((row.parts["stop"] - 1.25).abs() < 1e-9, "{row:?}");
    }
}
