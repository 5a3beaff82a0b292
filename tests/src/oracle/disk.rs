//! Everything on a machine's disk, by what its kernel says of it: kind, mode, owner, size, names, where a link leads, and when
//! anything of it last changed (ctime), which nobody can set back. Cheap enough for a whole root; `listing` reads contents.

use super::{diff_maps, field};
use crate::lab::Machine;
use anyhow::{Result, ensure};
use std::collections::BTreeMap;

/// What changes while a mail server does nothing: other file systems, logs, data of its services, their queues and locks.
const VOLATILE: &[&str] = &[
    "/dev",
    "/proc",
    "/run",
    "/sys",
    "/tmp",
    "/var/cache",
    "/var/lib/dovecot",
    "/var/lib/mysql",
    "/var/lib/postfix",
    "/var/lib/redis",
    "/var/lib/rspamd",
    "/var/lib/systemd",
    "/var/log",
    "/var/spool/postfix",
    "/var/tmp",
    // Whose a side is: rehome's own record.
    "/var/lib/rehome",
];

/// Entries by path, which is shown with its bytes escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk(BTreeMap<String, String>);

/// Reads the whole root of a machine, without what changes by itself and without what lies below `besides`.
///
/// # Errors
/// The machine does not answer, or its answer is cut off.
pub fn disk(machine: &Machine, besides: &[&str]) -> Result<Disk> {
    let find = ["find", "/", "-xdev", "-printf", "%p\\0%y %m %U:%G %s %n %C@ %l\\0"];
    // What vanishes meanwhile makes find end with 1.
    let said = machine.ssh(&find)?.stdout;
    ensure!(said.ends_with(b"\0"), "find on {} was cut off", machine.name());
    let fields: Vec<&[u8]> = said.split(|&byte| byte == 0).collect();
    let (pairs, _) = fields.as_chunks::<2>();
    let is_left_out = |path: &[u8]| {
        let within =
            |folder: &&str| path.strip_prefix(folder.as_bytes()).is_some_and(|rest| matches!(rest, [] | [b'/', ..]));
        // The folder that the last one lies in changes with it.
        path == b"/var/lib" || VOLATILE.iter().chain(besides).any(within)
    };
    let kept = pairs.iter().filter(|[path, _]| !is_left_out(path));
    Ok(Disk(kept.map(|[path, what]| (path.escape_ascii().to_string(), what.escape_ascii().to_string())).collect()))
}

impl Disk {
    /// How `after` differs.
    #[must_use]
    pub fn diff(&self, after: &Self) -> Vec<String> {
        diff_maps(&self.0, &after.0, |a, b| field("entry", a, b))
    }

    /// How many entries there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}
