//! `cargo xtask bench cutover`: the downtime of a whole cutover in the lab, by rehome and by the guide's commands, each on a
//! machine of its own with the same old server, and the floor below both.
//! `world.rs` is the lab and what happens in it before each run, `ways.rs` the three ways through a cutover.

mod knock;
mod ways;
mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use rehome_tests::lab;
use rehome_tests::rehome::Built;

use super::results::{CutoverRow, Results, Row, Run};
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
    /// Where the machines' disks are: on the disk that is to be measured [default: target/bench]
    #[arg(long)]
    folder: Option<PathBuf>,
    /// A rehome that is built already, for release; it must run on Debian 12
    #[arg(long, value_name = "PATH", requires = "components")]
    rehome: Option<PathBuf>,
    /// The components that go with it
    #[arg(long, value_name = "DIR", requires = "rehome")]
    components: Option<PathBuf>,
    /// One JSON object a row
    #[arg(long)]
    json: bool,
}

pub fn run(args: &CutoverArgs) -> anyhow::Result<()> {
    lab::available().map_err(anyhow::Error::msg).context("no lab can run here")?;
    lab::ensure_packages()?;
    let built = built(args)?;
    let folder = args.folder.clone().unwrap_or_else(|| cargo::target().join("bench"));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    let command = format!("cargo xtask bench cutover --messages {} --pairs {}", args.messages, args.pairs);
    let mut results = Results::open(Run::now(&command, &folder)?)?;

    let world = World::make(&folder, args.messages)?;
    let ways = Ways::prepare(&world, &built)?;
    let mut figures = Figures::default();
    for pair in 0..args.pairs as usize {
        // Each way is the first, the second and the last in turns.
        for turn in 0..Way::ALL.len() {
            let way = Way::ALL[(pair + turn) % Way::ALL.len()];
            let measured = ways.go(way).with_context(|| format!("{way:?}, pair {}", pair + 1))?;
            eprintln!("pair {}: {way:?} {:.2} s {:?}", pair + 1, measured.seconds, measured.parts);
            figures.of(way).push(measured);
        }
    }
    results.add(Row::Cutover(figures.row(args)?), args.json)
}

/// What goes onto the machine: as it was asked for, or built now.
fn built(args: &CutoverArgs) -> anyhow::Result<Built> {
    if let (Some(program), Some(components)) = (&args.rehome, &args.components) {
        ensure!(program.is_file(), "there is no program {}", program.display());
        ensure!(components.is_dir(), "there is no folder {}", components.display());
        return Ok(Built { program: program.clone(), components: components.clone() });
    }
    build::components()?;
    let tree = lab::libc_tree()?;
    let program = cargo::release_rehome(vec![("REHOME_LIBC_TREE", tree.into_os_string())])?;
    Ok(Built { program, components: cargo::target().join("components") })
}

/// What each way took, pair by pair.
#[derive(Default)]
struct Figures {
    ours: Vec<Measured>,
    guide: Vec<Measured>,
    floor: Vec<Measured>,
}

impl Figures {
    fn of(&mut self, way: Way) -> &mut Vec<Measured> {
        match way {
            Way::Ours => &mut self.ours,
            Way::Guide => &mut self.guide,
            Way::Floor => &mut self.floor,
        }
    }

    fn row(&self, args: &CutoverArgs) -> anyhow::Result<CutoverRow> {
        let seconds = |way: &[Measured]| way.iter().map(|measured| round(measured.seconds)).collect::<Vec<f64>>();
        let (ours, guide, floor) = (seconds(&self.ours), seconds(&self.guide), seconds(&self.floor));
        let floor_s = median(floor.clone()).context("nothing was measured")?;
        // What cannot be told from the floor is taken as a hundredth of a second.
        let above = |seconds: &f64| (seconds - floor_s).max(0.01);
        let ratios = ours.iter().zip(&guide).map(|(ours, guide)| above(guide) / above(ours)).collect();
        let ratios_of_all = ours.iter().zip(&guide).map(|(ours, guide)| guide / ours).collect();
        Ok(CutoverRow {
            messages: args.messages,
            peer: "the guide by hand".into(),
            ours_s: median(ours.clone()).context("nothing was measured")?,
            peer_s: median(guide.clone()).context("nothing was measured")?,
            floor_s,
            ratio: median(ratios).context("nothing was measured")?,
            ratio_of_all: median(ratios_of_all).context("nothing was measured")?,
            parts: parts(&self.ours),
            peer_parts: parts(&self.guide),
            pairs: args.pairs,
            ours_each_s: ours,
            peer_each_s: guide,
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
        let figures = Figures { ours: measured(2.5), guide: measured(6.0), floor: measured(2.0) };
        let args = CutoverArgs { messages: 1, pairs: 1, folder: None, rehome: None, components: None, json: true };
        let row = figures.row(&args).unwrap_or_else(|error| panic!("{error:#}"));
        assert!((row.ratio - 8.0).abs() < 1e-9 && (row.ratio_of_all - 2.4).abs() < 1e-9, "{row:?}");
        assert_eq!(row.parts["stop"], 1.25);
    }
}
