//! Every file below some folders of a machine, to compare before with after: type, mode, owner, size, time, content,
//! hard links. Taken by `tests/lab/listing.py` on the machine, as root, without leaving a trace there.

use super::{diff_maps, field};
use crate::lab::Machine;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Dovecot's caches: it writes them whenever somebody reads, and makes them again when they are gone.
pub const DOVECOT_CACHES: &[&str] = &["dovecot.index*", "dovecot.list.index*", "*.lock"];

/// Entries by path; bytes that are not printable ASCII, and `\`, are written `\xNN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing(pub BTreeMap<String, Entry>);

/// One file, folder, link, …
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Entry {
    path: String,
    /// `file`, `dir`, `link`, `fifo`, `socket`, `char` or `block`.
    pub kind: String,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// In bytes.
    pub size: u64,
    /// Modification time, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Number of names of the inode.
    pub links: u64,
    /// Content, of a file.
    #[serde(default)]
    pub sha256: Option<String>,
    /// For a file with several names below the roots: the first of them.
    #[serde(default)]
    pub same_as: Option<String>,
    /// Where a symbolic link leads.
    #[serde(default)]
    pub target: Option<String>,
}

/// Lists `roots` on a machine. `ignore` holds patterns for the last part of a path, with `*` for anything.
/// What vanishes while it is listed is left out; a root that is not there has no entries.
///
/// # Errors
/// The machine does not answer.
pub fn listing(machine: &Machine, roots: &[&str], ignore: &[&str]) -> Result<Listing> {
    let said = machine.python("listing.py", roots, b"")?;
    let entries: Vec<Entry> = serde_json::from_slice(&said).context("listing.py wrote something else")?;
    let wanted = |entry: &Entry| {
        let name = entry.path.rsplit('/').next().unwrap_or_default();
        !ignore.iter().any(|pattern| matches(pattern, name))
    };
    Ok(Listing(entries.into_iter().filter(wanted).map(|entry| (entry.path.clone(), entry)).collect()))
}

impl Listing {
    /// How `after` differs. Of a folder only kind, mode and owner count: its time and size follow what is in it, and
    /// the ignored files too.
    #[must_use]
    pub fn diff(&self, after: &Self) -> Vec<String> {
        diff_maps(&self.0, &after.0, |a, b| {
            let mut lines = field("kind", &a.kind, &b.kind);
            lines.extend(field("mode", &format!("{:o}", a.mode), &format!("{:o}", b.mode)));
            lines.extend(field("owner", &(a.uid, a.gid), &(b.uid, b.gid)));
            if a.kind != "dir" || b.kind != "dir" {
                lines.extend(field("size", &a.size, &b.size));
                lines.extend(field("mtime", &a.mtime_ns, &b.mtime_ns));
                lines.extend(field("links", &a.links, &b.links));
                lines.extend(field("content", &a.sha256, &b.sha256));
                lines.extend(field("same file as", &a.same_as, &b.same_as));
                lines.extend(field("target", &a.target, &b.target));
            }
            lines
        })
    }
}

/// `*` is any text; everything else is itself.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, rest)) => name.strip_prefix(head).is_some_and(|mut tail| {
            loop {
                if matches(rest, tail) {
                    return true;
                }
                let mut letters = tail.chars();
                if letters.next().is_none() {
                    return false;
                }
                tail = letters.as_str();
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_pattern_fits_whole_names() {
        assert!(matches("dovecot.index*", "dovecot.index.cache"));
        assert!(matches("*.lock", "dovecot-uidlist.lock"));
        assert!(!matches("dovecot.index*", "old.dovecot.index"));
        assert!(!matches("*.lock", "x.lock.1"));
        assert!(matches("a", "a") && !matches("a", "ab"));
    }
}
