//! `cargo xtask bench`: figures, from release builds, as medians of many. One file for each bench; what two of them find is
//! kept in `tests/bench` by `results`.

mod cutover;
mod host;
mod results;
mod scratch;
mod sync;

/// What to measure
#[derive(clap::Subcommand)]
pub enum BenchArgs {
    /// What rehome itself costs: loading a component, one call, `status`, memory, binary size
    Host(host::HostArgs),
    /// Passes of the synchroniser against rsync, tar and others over ssh; the results go into tests/bench
    Sync(sync::SyncArgs),
    /// The downtime of a whole cutover in the lab against the guide's by hand; the results go into tests/bench
    Cutover(cutover::CutoverArgs),
}

pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    match args {
        BenchArgs::Host(args) => host::run(args),
        BenchArgs::Sync(args) => sync::run(args),
        BenchArgs::Cutover(args) => cutover::run(args),
    }
}
