//! `plan.lock`: what the operator approved, phase by phase: the component's digest, and every request as it was shown.
//! It goes into version control beside the plan, so it is sorted and its text changes only where something did.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use rehome_manifest::Request;
use serde::{Deserialize, Serialize};

use crate::error::Explanation;
use crate::plan::folder_of;
use crate::publisher::Publisher;

/// The format of the file.
const VERSION: u32 = 1;
const HEAD: &str = "# What `rehome approve` was told to grant. rehome reads and writes it; keep it with the plan.\n\n";

/// Everything that is approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u32,
    /// by the phase's id
    #[serde(default, rename = "phase")]
    pub phases: BTreeMap<String, LockedPhase>,
}

/// What is approved for one phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedPhase {
    /// the component's name in its manifest
    pub component: String,
    /// its version
    pub component_version: String,
    /// `sha256:…` of its file
    pub digest: String,
    /// who signed it, if the plan names them
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<Publisher>,
    /// the contract it is made for
    pub api: String,
    /// "root@new"
    pub approved_by: String,
    /// "2026-11-22 03:04:05 UTC"
    pub approved_at: String,
    /// by the request's id
    #[serde(default, rename = "grant", skip_serializing_if = "BTreeMap::is_empty")]
    pub grants: BTreeMap<String, LockedRequest>,
    /// what the operator was shown, and did not grant
    #[serde(default, rename = "denied", skip_serializing_if = "BTreeMap::is_empty")]
    pub denied: BTreeMap<String, LockedRequest>,
}

/// A request as it was shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedRequest {
    /// of the filled request
    pub digest: String,
    /// "read", and the sides: "repeatable on new"
    pub effect: String,
    /// verbatim
    pub text: String,
}

/// The file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name them")]
pub enum LockError {
    #[error("cannot read {}: {said}", path.display())]
    Unreadable { path: PathBuf, said: String },
    #[error("{} was written by another version of rehome (format {found}, this one knows {VERSION})", path.display())]
    Version { path: PathBuf, found: u32 },
    #[error("cannot write {}", path.display())]
    Unwritable { path: PathBuf, source: std::io::Error },
}

impl Default for Lock {
    fn default() -> Lock {
        Lock { version: VERSION, phases: BTreeMap::new() }
    }
}

impl LockedRequest {
    /// A request as it is shown.
    pub fn of(request: &Request) -> LockedRequest {
        LockedRequest { digest: request.digest.clone(), effect: effect_of(request), text: request.text.clone() }
    }
}

/// "read on old", "repeatable on old and new", "once on new, only under undo".
pub fn effect_of(request: &Request) -> String {
    let mut text = request.effect.to_string();
    let sides: Vec<&str> = request.on.iter().map(|side| side.as_str()).collect();
    if !sides.is_empty() {
        text.push_str(&format!(" on {}", sides.join(" and ")));
    }
    let verbs: Vec<&str> = request.verbs.iter().map(|verb| verb.as_str()).collect();
    match verbs.as_slice() {
        [] => {}
        [one] => text.push_str(&format!(", only under {one}")),
        [first @ .., last] => text.push_str(&format!(", only under {} and {last}", first.join(", "))),
    }
    text
}

impl Lock {
    /// The lock file of a plan: `plan.lock` for `plan.toml`.
    pub fn beside(plan: &Path) -> PathBuf {
        plan.with_extension("lock")
    }

    /// Reads the lock; one that is not there grants nothing.
    ///
    /// # Errors
    /// It is there and cannot be read, is not of this format, or is of another version of it.
    pub fn read(path: &Path) -> Result<Lock, LockError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Lock::default()),
            Err(error) => return Err(LockError::Unreadable { path: path.to_path_buf(), said: error.to_string() }),
        };
        Lock::parse(path, &text)
    }

    /// Reads a lock from text; `path` is what messages call it.
    ///
    /// # Errors
    /// It is not of this format, or of another version of it.
    pub fn parse(path: &Path, text: &str) -> Result<Lock, LockError> {
        let unreadable = |said: String| LockError::Unreadable { path: path.to_path_buf(), said };
        // The version first: a later format has keys that this one refuses.
        let table: toml::Table = toml::from_str(text).map_err(|error| unreadable(error.to_string()))?;
        let found = table.get("version").and_then(toml::Value::as_integer).unwrap_or_default();
        if found != i64::from(VERSION) {
            return Err(LockError::Version {
                path: path.to_path_buf(),
                found: u32::try_from(found).unwrap_or_default(),
            });
        }
        toml::from_str(text).map_err(|error| unreadable(error.to_string()))
    }

    /// Writes the lock, whole or not at all.
    ///
    /// # Errors
    /// Its folder cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        let failed = |source| LockError::Unwritable { path: path.to_path_buf(), source };
        let text = format!("{HEAD}{}", self.to_toml());
        let new = folder_of(path).join(format!(".{}.{}", file_name(path), std::process::id()));
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::File::create(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&new, path)?;
            std::fs::File::open(folder_of(path))?.sync_all()
        };
        write().map_err(|error| {
            let _ = std::fs::remove_file(&new);
            failed(error)
        })
    }

    fn to_toml(&self) -> String {
        toml::to_string_pretty(self).unwrap_or_default()
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| "plan.lock".into(), |name| name.to_string_lossy().into_owned())
}

impl LockError {
    pub(crate) fn explain(&self) -> Explanation {
        match self {
            LockError::Unreadable { path, said } => {
                let explanation = Explanation::of(format!("cannot read {}", path.display())).line(said);
                explanation.hint("take it back from version control, or remove it and run `rehome approve` again")
            }
            LockError::Version { .. } => Explanation::of(self.to_string())
                .hint("use that rehome, or remove the file and run `rehome approve` again"),
            LockError::Unwritable { source, .. } => Explanation::of(self.to_string()).line(source.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked() -> Lock {
        let request = LockedRequest {
            digest: "sha256:02".into(),
            effect: "repeatable on new".into(),
            text: "write /etc/x:\n  | it's \"here\"\u{1b}".into(),
        };
        let phase = LockedPhase {
            component: "maildir".into(),
            component_version: "0.1.0".into(),
            digest: "sha256:01".into(),
            publisher: Some(Publisher { name: "acme".into(), key: "RWQ".into() }),
            api: "0.1".into(),
            approved_by: "root@new".into(),
            approved_at: "2026-11-22 03:04:05 UTC".into(),
            grants: BTreeMap::from([("file.x".into(), request.clone()), ("exec.stop".into(), request)]),
            denied: BTreeMap::new(),
        };
        Lock { version: VERSION, phases: BTreeMap::from([("mail-hot".into(), phase.clone()), ("a".into(), phase)]) }
    }

    #[test]
    fn what_is_written_is_read_back_and_is_sorted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.lock");
        locked().write(&path).unwrap();
        assert_eq!(Lock::read(&path).unwrap(), locked());
        let text = std::fs::read_to_string(&path).unwrap();
        let at = |word: &str| text.find(word).unwrap();
        assert!(at("[phase.a]") < at("[phase.mail-hot]") && at("exec.stop") < at("file.x"), "{text}");
        assert!(text.lines().all(|line| !line.contains('\u{1b}')), "control characters are escaped: {text}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_lock_that_is_not_there_grants_nothing_and_a_broken_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.lock");
        assert_eq!(Lock::read(&path).unwrap(), Lock::default());
        for text in ["version = 1\nsurprise = 2\n", "not toml", "version = 1\n[phase.x]\ncomponent = 3\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(Lock::read(&path), Err(LockError::Unreadable { .. })), "{text}");
        }
        std::fs::write(&path, "version = 9\nkeys-of-the-future = 1\n").unwrap();
        assert!(matches!(Lock::read(&path), Err(LockError::Version { found: 9, .. })));
    }
}
