//! Names for files that are not finished yet.
//! Invariant: such a name is used once; nothing else has names like these, so that what a killed pass left is known by it.
//! See [`crate::hand::TEMPORARY`] for why they look as they do.

use crate::RelativePath;
use crate::hand::TEMPORARY;
use crate::path::{join, parent_of};
use std::sync::atomic::{AtomicU32, Ordering};

/// Names for unfinished files: of this process, never used twice.
pub(crate) struct Temporaries(u32);

static COUNTER: AtomicU32 = AtomicU32::new(0);

impl Temporaries {
    pub(crate) fn new() -> Self {
        use std::hash::{BuildHasher, RandomState};
        // The hasher's keys are random: what a killed pass left has another name.
        Self(RandomState::new().hash_one(std::process::id()) as u32)
    }

    /// A name in the folder of `file`: on the same file system, so that the rename is one step.
    pub(crate) fn beside(&self, file: &RelativePath) -> Vec<u8> {
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = [TEMPORARY, format!("{:08x}{count:08x}", self.0).as_bytes()].concat();
        join(parent_of(file.as_bytes()), &name)
    }
}

/// Whether a path is that of a folder which is filled in the `tmp` of a mailbox (`pass::staging`), or in it.
pub(crate) fn is_staged(path: &[u8]) -> bool {
    let mut parts = path.split(|&byte| byte == b'/').rev().skip_while(|name| !is_temporary(name));
    parts.next().is_some() && parts.next() == Some(b"tmp")
}

/// Whether a name is one of [`Temporaries`].
pub(crate) fn is_temporary(name: &[u8]) -> bool {
    name.strip_prefix(TEMPORARY).is_some_and(|rest| rest.len() == 16 && rest.iter().all(u8::is_ascii_hexdigit))
}
