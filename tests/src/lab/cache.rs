//! What a lab boots from: root trees, configured layers, and the tree to link against. Built once, kept in
//! `target/lab` (or `REHOME_LAB_CACHE`) under a name that holds a hash of the scripts and data they are made from.
//! Built under another name and renamed when complete: what has the right name is whole. See `layer.rs` for layers.

use super::registry::{self, remove_tree};
use crate::process::run;
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A Debian release that a root tree is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// Debian 11.
    Bullseye,
    /// Debian 12.
    Bookworm,
}

/// A configured mail server, kept as a layer over its root tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// Debian 11 as the guide sets it up, with 3 domains, 30 users and their mail.
    Old,
    /// Debian 12 as the guide sets it up: the schema without rows, no mail.
    New,
    /// Debian 11 like [`Layer::Old`], smaller, with one domain of its own.
    Other,
}

impl Suite {
    /// Debian's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bullseye => "bullseye",
            Self::Bookworm => "bookworm",
        }
    }

    /// Its root tree, built now if it is not there yet.
    ///
    /// # Errors
    /// `tests/lab/build.sh` failed; the message names its log.
    pub fn tree(self) -> Result<PathBuf> {
        made("trees", self.name(), &self.key()?, |out, lock| build_tree(self.name(), out, lock))
    }

    pub(super) fn key(self) -> Result<String> {
        hash(&[self.name().as_bytes(), &script("build.sh")?])
    }
}

/// The Debian 11 tree to link a binary against so that it runs there too; built now if it is not there yet.
///
/// # Errors
/// `tests/lab/build.sh` failed.
pub fn libc_tree() -> Result<PathBuf> {
    let key = hash(&[b"libc", &script("build.sh")?])?;
    made("trees", "libc", &key, |out, lock| build_tree("libc", out, lock))
}

/// What the linker must be told to link against [`libc_tree`]; `--sysroot` alone takes this machine's libc silently.
#[must_use]
pub fn libc_link_arguments(tree: &Path) -> Vec<String> {
    let tree = tree.display();
    vec![
        format!("--sysroot={tree}"),
        format!("-B{tree}/usr/lib/x86_64-linux-gnu/"),
        format!("-L{tree}/usr/lib/x86_64-linux-gnu"),
        format!("-L{tree}/lib/x86_64-linux-gnu"),
    ]
}

fn build_tree(what: &str, out: &Path, lock: &File) -> Result<()> {
    let log = folder("log")?.join(format!("build-{what}.log"));
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut build = Command::new(scripts().join("build.sh"));
    build.arg(what).arg(out).arg(folder("debs")?.join(what));
    // As its standard input the lock stays held until the script has ended, even if this process is killed first.
    let status = build
        .stdin(lock.try_clone()?)
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .context("cannot start build.sh")?;
    if !status.success() {
        let said = fs::read_to_string(&log).unwrap_or_default();
        let said = crate::process::tail(&said, 15);
        bail!("building the root tree {what} ended with {status}; all of it in {}\n{said}", log.display());
    }
    Ok(())
}

/// Where everything is kept.
#[must_use]
pub fn cache_dir() -> PathBuf {
    match std::env::var_os("REHOME_LAB_CACHE") {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/lab"),
    }
}

/// The folder with the lab's scripts.
pub(crate) fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("lab")
}

/// One of the lab's scripts.
pub(crate) fn script(name: &str) -> Result<Vec<u8>> {
    let path = scripts().join(name);
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

pub(super) fn hash(parts: &[&[u8]]) -> Result<String> {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    let digest: [u8; 32] = digest.finalize().into();
    Ok(digest[..5].iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A folder of the cache, absolute, without links or dots: overlay options and `ps` shall show the real one.
pub(super) fn folder(name: &str) -> Result<PathBuf> {
    let path = cache_dir().join(name);
    fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    path.canonicalize().with_context(|| format!("cannot find {}", path.display()))
}

/// `KIND/NAME-KEY`, made by `build` if it is not there. Processes that want the same wait for the one that builds.
pub(super) fn made(
    kind: &str,
    name: &str,
    key: &str,
    build: impl FnOnce(&Path, &File) -> Result<()>,
) -> Result<PathBuf> {
    let kept = folder(kind)?;
    let path = kept.join(format!("{name}-{key}"));
    if path.exists() {
        return Ok(path);
    }
    let lock = File::create(folder("locks")?.join(format!("{kind}-{name}")))?;
    lock.lock().with_context(|| format!("cannot lock {kind}/{name}"))?;
    if path.exists() {
        return Ok(path);
    }
    // One test has waited for it in vain: the others need not.
    static FAILED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let failed = || FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    ensure!(!failed().contains(&path), "building {kind}/{name} failed before in this run");
    let building = kept.join(format!(".{name}"));
    remove_tree(&building)?;
    eprintln!("lab: building {kind}/{name}-{key} (once)");
    let start = Instant::now();
    if let Err(error) = build(&building, &lock) {
        failed().insert(path);
        return Err(error);
    }
    fs::rename(&building, &path).with_context(|| format!("cannot name {}", path.display()))?;
    eprintln!("lab: built {kind}/{name}-{key} in {:.0} s", start.elapsed().as_secs_f64());
    prune(&kept, name, &path)?;
    Ok(path)
}

/// Removes what this one replaces, unless a lab boots from it.
fn prune(kept: &Path, name: &str, current: &Path) -> Result<()> {
    let used: Vec<String> = registry::all()?.into_iter().flat_map(|lab| lab.machines).map(|m| m.lower).collect();
    for entry in fs::read_dir(kept)?.flatten() {
        let path = entry.path();
        let same = entry.file_name().to_string_lossy().rsplit_once('-').is_some_and(|(stem, _)| stem == name);
        let shown = path.display().to_string();
        if same && path != current && !used.iter().any(|lower| lower.split(':').any(|one| one == shown)) {
            remove_tree(&path)?;
        }
    }
    Ok(())
}

/// Copies a folder with everything in it: owners, links, times, and the overlay's own attributes.
pub(super) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp").args(["-a", "--"]).arg(from).arg(to))?;
    Ok(())
}
