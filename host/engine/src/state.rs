//! The migration's own folder beside the plan: journal, compiled components, and the lock that lets one verb at a time
//! reach the sides. Invariant: the folder is ours alone (0700); the lock is the kernel's, so a killed rehome leaves none.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rehome_gatekeeper::{Journal, clock};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Explanation};
use crate::plan::{below, folder_of};

/// Where a migration keeps what it knows.
#[derive(Clone, Debug)]
pub struct State {
    folder: PathBuf,
}

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {} for the state of the migration: {why}", path.display())]
pub struct StateError {
    path: PathBuf,
    why: String,
    hint: Option<String>,
}

/// Who is at work on a migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// "root@new"
    pub who: String,
    /// process id on that machine
    pub pid: u32,
    /// UTC, seconds since 1970
    pub since: u64,
    /// "apply"
    pub verb: String,
}

/// Another rehome is at work on this migration.
#[derive(Clone, Debug, thiserror::Error)]
#[error("another rehome is at work on this migration")]
pub struct Held {
    /// who, if they have written it already
    pub holder: Option<Holder>,
    /// the lock's file
    pub path: PathBuf,
}

/// The lock; given up when dropped, or when the process ends in whatever way.
#[derive(Debug)]
pub struct Guard {
    file: File,
}

impl State {
    /// The state of the plan at `path`: `.rehome` beside `plan.toml`, `.rehome-NAME` beside `NAME.toml`, so that two plans
    /// in one folder do not mix. Nothing is made yet.
    pub fn beside(plan: &Path) -> State {
        let name = match plan.file_stem().and_then(|stem| stem.to_str()) {
            Some("plan") | None => ".rehome".to_string(),
            Some(other) => format!(".rehome-{other}"),
        };
        State { folder: below(folder_of(plan), Path::new(&name)) }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where compiled components go.
    pub fn aot(&self) -> PathBuf {
        self.folder.join("aot")
    }

    /// Makes the folder if it is not there, and sees that nobody else can write into it.
    ///
    /// # Errors
    /// It belongs to somebody else, others may enter it, or it cannot be made.
    pub fn make(&self) -> Result<(), StateError> {
        let made = DirBuilder::new().mode(0o700).create(&self.folder);
        match made {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(self.cannot(&error)),
            _ => {}
        }
        let metadata = std::fs::symlink_metadata(&self.folder).map_err(|error| self.cannot(&error))?;
        if !metadata.is_dir() {
            return Err(self.refuse("it is not a folder", None));
        }
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            let hint = "run rehome as the user who began this migration";
            return Err(self.refuse(&format!("it belongs to uid {}", metadata.uid()), Some(hint.into())));
        }
        if metadata.mode() & 0o077 != 0 {
            let hint = format!("if nobody else has changed anything in it: chmod 700 {}", self.folder.display());
            return Err(self.refuse(&format!("others may enter it (mode {:o})", metadata.mode() & 0o777), Some(hint)));
        }
        Ok(())
    }

    pub(crate) fn cannot(&self, error: &std::io::Error) -> StateError {
        self.refuse(&error.to_string(), None)
    }

    fn refuse(&self, why: &str, hint: Option<String>) -> StateError {
        StateError { path: self.folder.clone(), why: why.into(), hint }
    }

    /// The journal, if something was recorded already. For readers: nothing is made.
    pub async fn journal_if_there(&self) -> Result<Option<Journal>, Error> {
        if !self.folder.join("journal.db").exists() {
            return Ok(None);
        }
        Ok(Some(Journal::open(&self.folder).await?))
    }

    /// The journal.
    pub async fn journal(&self) -> Result<Journal, Error> {
        self.make()?;
        Ok(Journal::open(&self.folder).await?)
    }

    /// Takes the lock, or says who has it.
    pub async fn lock(&self, holder: &Holder) -> Result<Guard, Error> {
        self.make()?;
        let path = self.folder.join("lock");
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = open().map_err(|error| self.cannot(&error))?;
        // A `status` that looks whether somebody is at work holds it for a moment.
        for attempt in 0.. {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) if attempt < 5 => {
                    tokio::time::sleep(Duration::from_millis(20)).await
                }
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(Held { holder: written(&mut file), path }.into()),
                Err(error) => return Err(self.cannot(&error.into()).into()),
            }
        }
        let text = serde_json::to_string(holder).unwrap_or_default();
        let write = |file: &mut File| -> std::io::Result<()> {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(text.as_bytes())
        };
        write(&mut file).map_err(|error| self.cannot(&error))?;
        Ok(Guard { file })
    }

    /// Who is at work, if anybody is.
    pub fn holder(&self) -> Option<Holder> {
        let mut file = File::open(self.folder.join("lock")).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(rustix::io::Errno::WOULDBLOCK) => written(&mut file),
            _ => None,
        }
    }
}

fn written(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(4096).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

impl Drop for Guard {
    fn drop(&mut self) {
        // What is left in the file says nothing once the lock is gone; empty, it cannot mislead anybody who looks.
        let _ = self.file.set_len(0);
    }
}

impl StateError {
    pub(crate) fn explain(&self) -> Explanation {
        Explanation { headline: self.to_string(), context: vec![], hint: self.hint.clone() }
    }
}

impl Held {
    pub(crate) fn explain(&self) -> Explanation {
        let explanation = Explanation::of(self.to_string());
        let explanation = match &self.holder {
            Some(holder) => explanation.line(format!(
                "{} runs `rehome {}` since {} (process {})",
                holder.who,
                holder.verb,
                clock::utc(holder.since),
                holder.pid
            )),
            None => explanation.line("it has only just begun, and not yet written who it is"),
        };
        explanation.line(format!("its lock is {}", self.path.display())).hint(
            "`rehome status` may run beside it; if that rehome hangs, end it by its process id: the lock goes with it",
        )
    }
}
