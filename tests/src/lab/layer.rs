//! Making the configured layers: boot the bare tree, configure and seed it, shut it down politely, keep what it wrote.
//! A layer holds nothing that belongs to one machine: no host key, no machine id, no authorized key, no journal.

use super::Lab;
use super::cache::{self, Layer, Suite};
use super::spec::LabSpec;
use crate::seed;
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

impl Layer {
    /// The root tree it lies over.
    #[must_use]
    pub fn suite(self) -> Suite {
        match self {
            Self::Old => Suite::Bullseye,
            Self::New => Suite::Bookworm,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
        }
    }

    /// The layer, made now if it is not there yet; its root tree too.
    ///
    /// # Errors
    /// A script of the lab failed on the machine.
    pub fn path(self) -> Result<PathBuf> {
        self.suite().tree()?;
        let mut parts = vec![self.suite().key()?.into_bytes()];
        for script in ["machine.sh", "ispmail.sh", "seed.py", "accounts.json"] {
            parts.push(cache::script(script)?);
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        cache::made("layers", self.name(), &cache::hash(&parts)?, |out, _| self.build(out))
    }

    fn build(self, out: &Path) -> Result<()> {
        let octet = if self == Self::Old { 11 } else { 12 };
        let lab = Lab::start(&LabSpec::bare(self.name(), octet, self.suite()))?;
        let machine = lab.machine(self.name());
        let script = String::from_utf8(cache::script("ispmail.sh")?)?;
        machine.sh(&script).context("ispmail.sh")?;
        if self == Self::Old {
            let said = machine.python("seed.py", &[], seed::ACCOUNTS_JSON.as_bytes()).context("seed.py")?;
            eprint!("lab: {}", String::from_utf8_lossy(&said));
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
