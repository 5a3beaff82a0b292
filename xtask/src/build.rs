//! `cargo xtask build`: the phases in `plugins/`, and the one that means harm, as components in `target/components`.
//! A phase is a folder with a `manifest.toml`; how one is built is `plugins/builder`'s.

use std::path::PathBuf;

use anyhow::{Context, bail};
use rehome_builder::{Options, build, discover};

use crate::cargo;

/// Builds all phases of this workspace; answers the components' files.
/// A request that no code uses, or the reverse, is an error here: ours are to be exact.
pub fn components() -> anyhow::Result<Vec<PathBuf>> {
    let mut phases = discover(&cargo::root().join("plugins"))?;
    phases.extend(discover(&cargo::root().join("tests/hostile"))?);
    let built = build(&phases, &Options::in_target(&cargo::target()), &mut |line| eprintln!("{line}"))
        .context("the phases were not built")?;
    for component in &built {
        if let Some(remark) = component.remarks.first() {
            bail!("component `{}` {remark}", component.name);
        }
        eprintln!("component {:10} {:>7} bytes  {}", component.name, component.size, component.digest);
    }
    Ok(built.into_iter().map(|component| component.path).collect())
}
