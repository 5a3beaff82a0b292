//! How xtask calls cargo: always for the same selection of crates, so that no library is compiled twice with other features.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// The workspace's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Where cargo builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// `cargo SUBCOMMAND` for the whole workspace but xtask itself, which is running.
pub fn workspace(subcommand: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).arg(subcommand).args(["--workspace", "--exclude", "xtask"]);
    command
}

/// Runs a command to its end; an error if it fails.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !status.success() {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        bail!("`{} {}` failed ({status})", command.get_program().to_string_lossy(), words.join(" "));
    }
    Ok(())
}

/// Builds the `rehome` binary as the tests do, and says where it is.
pub fn rehome() -> anyhow::Result<PathBuf> {
    run(&mut workspace("build"))?;
    Ok(target().join("debug/rehome"))
}
