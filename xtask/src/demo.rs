//! `cargo xtask demo`: builds the phases and rehome, then runs `rehome demo`.

use std::path::PathBuf;
use std::process::Command;

use crate::{build, cargo};

/// See `rehome demo --help`
#[derive(clap::Args)]
pub struct DemoArgs {
    /// Where to make the two sides
    #[arg(default_value = "target/demo")]
    folder: PathBuf,
}

pub fn run(args: &DemoArgs) -> anyhow::Result<()> {
    build::components()?;
    let rehome = cargo::rehome()?;
    cargo::run(Command::new(rehome).arg("demo").arg("--fresh").arg(&args.folder))
}
