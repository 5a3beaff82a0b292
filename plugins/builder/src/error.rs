//! What can go wrong between a crate and its component: each error names the thing, the place, and what to do.

use std::path::{Path, PathBuf};

/// Why a phase was not built.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum BuildError {
    /// none of the ways worked
    #[error(
        "no standard library for wasm32-unknown-unknown\n{tried}\nhint: any one of these is enough:\n  \
         rustup target add wasm32-unknown-unknown\n  \
         a toolchain that has it (set RUSTUP_TOOLCHAIN or put its rustc first in PATH)\n  \
         on Debian, as root: apt-get update && apt-get install rustc-web rust-web-src"
    )]
    NoStandardLibrary { tried: String },
    /// a tool could not be started
    #[error("cannot start `{tool}`: {why}\nhint: {hint}")]
    NotStarted { tool: String, why: std::io::Error, hint: &'static str },
    /// a tool ended badly
    #[error("`{tool}` failed ({status})\n{last_words}")]
    Tool { tool: String, status: String, last_words: String },
    /// cargo succeeded and made no component
    #[error("{package} made no wasm file\nhint: its Cargo.toml needs `[lib] crate-type = [\"cdylib\", \"rlib\"]`")]
    NoArtifact { package: String },
    /// a file or folder
    #[error("cannot {what} {path}: {why}", path = path.display())]
    File { what: &'static str, path: PathBuf, why: std::io::Error },
    /// not the crate of a phase
    #[error("{path} is not the crate of a phase: {why}\nhint: `rehome phase new NAME` writes one", path = path.display())]
    NotAPhase { path: PathBuf, why: String },
    /// its manifest is refused
    #[error("{path}: {why}", path = path.display())]
    Manifest { path: PathBuf, why: rehome_manifest::ManifestError },
    /// the compiled module is not one of a phase
    #[error("component `{name}`: {why}")]
    Component { name: String, why: String },
    /// it wants more than the contract offers
    #[error(
        "component `{name}` imports `{import}`, which is not of the contract\n\
         hint: some dependency expects an operating system; time, chance and logging come from rehome_sdk"
    )]
    Foreign { name: String, import: String },
}

impl BuildError {
    pub(crate) fn file(what: &'static str, path: &Path, why: std::io::Error) -> BuildError {
        BuildError::File { what, path: path.into(), why }
    }
}

/// The last lines that say something, indented: the end of what a tool printed is where it says what was wrong.
pub(crate) fn last_words(printed: &[String]) -> String {
    const LINES: usize = 40;
    let said: Vec<&str> = printed.iter().map(|line| line.trim_end()).filter(|line| !line.is_empty()).collect();
    said[said.len().saturating_sub(LINES)..].iter().map(|line| format!("  {line}\n")).collect()
}
