//! One cgroup for each lab, one below it for each machine: everything a lab starts is in there and ends with it. Benches
//! have one too, to measure whole groups of processes.
//! No process is ever ended by its name or a number that may have been reused.

use super::available::cgroup_root;
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the kernel may take to end the processes of a cgroup.
const PATIENCE: Duration = Duration::from_secs(30);

/// A cgroup, by its folder.
#[derive(Debug, Clone)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// The lab's own; not made yet.
    pub(super) fn of_lab(id: &str) -> Result<Self> {
        Self::named(&format!("rehome-lab-{id}"))
    }

    /// The one of this name at the top; not made yet.
    ///
    /// # Errors
    /// This machine has no cgroup2.
    pub fn named(name: &str) -> Result<Self> {
        let root = cgroup_root().context("no cgroup2 file system is mounted")?;
        Ok(Self(root.join(name)))
    }

    /// Those at the top whose names begin so.
    ///
    /// # Errors
    /// This machine has no cgroup2.
    pub fn beginning_with(prefix: &str) -> Result<Vec<Self>> {
        let root = cgroup_root().context("no cgroup2 file system is mounted")?;
        let entries = fs::read_dir(&root).with_context(|| format!("cannot read {}", root.display()))?;
        let all = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
        Ok(all.map(|entry| Self(entry.path())).collect())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        self.0.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub(super) fn child(&self, name: &str) -> Self {
        Self(self.0.join(name))
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes it.
    ///
    /// # Errors
    /// Not root, or the file system is read-only.
    pub fn create(&self) -> Result<()> {
        fs::create_dir_all(&self.0).with_context(|| format!("cannot make the cgroup {}", self.0.display()))
    }

    /// A command that joins this cgroup and then becomes `program`.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ > "$0/cgroup.procs" && exec "$@""#]).arg(&self.0).arg(program);
        command
    }

    /// Whether any process lives in it or below.
    pub(super) fn populated(&self) -> bool {
        let events = fs::read_to_string(self.0.join("cgroup.events")).unwrap_or_default();
        events.lines().any(|line| line == "populated 1")
    }

    /// Every process in it and below, by number.
    pub(super) fn processes(&self) -> Vec<u32> {
        let mut found = Vec::new();
        let mut waiting = vec![self.0.clone()];
        while let Some(folder) = waiting.pop() {
            let listed = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            found.extend(listed.lines().filter_map(|line| line.parse::<u32>().ok()));
            let below = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
            waiting.extend(below.filter(|path| path.is_dir()));
        }
        found
    }

    /// Ends every process in it and below, at once, and waits until they are gone.
    ///
    /// # Errors
    /// They did not end.
    pub fn kill(&self) -> Result<()> {
        match fs::write(self.0.join("cgroup.kill"), "1") {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other.with_context(|| format!("cannot end the processes in {}", self.0.display()))?,
        }
        self.wait_until_empty(PATIENCE)
    }

    pub(super) fn wait_until_empty(&self, patience: Duration) -> Result<()> {
        let start = Instant::now();
        while self.populated() {
            if start.elapsed() > patience {
                bail!("processes in {} did not end within {patience:?}", self.0.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Removes it and everything below; its processes must have ended.
    ///
    /// # Errors
    /// Somebody still lives in it.
    pub fn remove(&self) -> Result<()> {
        let start = Instant::now();
        // The kernel answers EBUSY for a moment after the last process has gone.
        while let Err(error) = remove_below(&self.0) {
            if start.elapsed() > PATIENCE {
                return Err(error).with_context(|| format!("cannot remove the cgroup {}", self.0.display()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// `rmdir` bottom up: the files of a cgroup are not deleted one by one.
fn remove_below(folder: &Path) -> std::io::Result<()> {
    let children = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for child in children {
        let child = child?;
        if child.file_type()?.is_dir() {
            remove_below(&child.path())?;
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
