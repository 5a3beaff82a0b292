//! Making the configured layers: boot the bare tree, configure and seed it, shut it down politely, keep what it wrote.
//! A layer holds nothing that belongs to one machine: no host key, no machine id, no authorized key, no journal.

use super::Lab;
use super::authority;
use super::cache::{self, Layer, Suite};
use super::spec::LabSpec;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// What belongs to the one machine that the layer was made on.
const NOT_KEPT: &[&str] = &[
    "etc/hostname",
    "etc/hosts",
    "etc/machine-id",
    "etc/resolv.conf",
    "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_ed25519_key.pub",
    "home/admin/.ssh",
    "root/.ssh",
    "var/lib/systemd/random-seed",
    "var/log/journal",
];

/// What makes an old server out of a configured one, in this order.
const SEEDS: [&str; 2] = ["seed.py", "seed_system.py"];

impl Layer {
    /// The root tree it lies over.
    #[must_use]
    pub fn suite(self) -> Suite {
        match self {
            Self::Old | Self::Other => Suite::Bullseye,
            Self::New => Suite::Bookworm,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
            Self::Other => "other",
        }
    }

    /// The last octet of the address it is made at, which is the one it boots with.
    fn octet(self) -> u8 {
        match self {
            Self::Old => 11,
            Self::New => 12,
            Self::Other => 15,
        }
    }

    /// What it is seeded with, if with anything: a file of `tests/lab`.
    fn accounts(self) -> Option<&'static str> {
        match self {
            Self::Old => Some("accounts.json"),
            Self::New => None,
            Self::Other => Some("other.json"),
        }
    }

    /// The files it is made from, all of them: its name holds their hash.
    fn made_from(self) -> Vec<&'static str> {
        let mut files = vec!["machine.sh", "ispmail.sh"];
        if let Some(accounts) = self.accounts() {
            files.extend(SEEDS);
            files.push(accounts);
        }
        files
    }

    /// The layer, made now if it is not there yet; its root tree too.
    ///
    /// # Errors
    /// A script of the lab failed on the machine.
    pub fn path(self) -> Result<PathBuf> {
        self.suite().tree()?;
        let mut parts = vec![self.suite().key()?.into_bytes(), authority::identity()?];
        for file in self.made_from() {
            parts.push(cache::script(file)?);
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        cache::made("layers", self.name(), &cache::hash(&parts)?, |out, _| self.build(out))
    }

    fn build(self, out: &Path) -> Result<()> {
        let lab = Lab::start(&LabSpec::bare(self.name(), self.octet(), self.suite()))?;
        let machine = lab.machine(self.name());
        machine.push(&authority::authority()?.join(self.name()).join(""), "/etc/letsencrypt/")?;
        let script = String::from_utf8(cache::script("ispmail.sh")?)?;
        machine.sh(&script).context("ispmail.sh")?;
        if let Some(accounts) = self.accounts() {
            let accounts = cache::script(accounts)?;
            for seed in SEEDS {
                eprint!("lab: {}", String::from_utf8_lossy(&machine.python(seed, &[], &accounts)?));
            }
        }
        lab.shut_down(self.name())?;
        keep(&machine.upper(), out)
    }
}

fn keep(upper: &Path, out: &Path) -> Result<()> {
    cache::copy_tree(upper, out)?;
    for name in NOT_KEPT {
        let path = out.join(name);
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => super::registry::remove_tree(&path)?,
            Ok(_) => fs::remove_file(&path)?,
            Err(_) => {}
        }
    }
    Ok(())
}
