//! What passes know of folders from one to the next, so that what did not change is never read again.
//! Invariant: a leaf is only remembered with a key when a pass has found it equal on both sides, or made it so, and every
//! file of it is durable. `pass::leaves` uses it; who keeps it (a migration's journal) implements [`State`].

use std::pin::Pin;

use crate::Kind;

/// What a folder was: nothing was added, removed or renamed in it as long as it is this. Not the time of modification: an
/// unlink with the time put back, or a chmod of the folder, moves the time of change alone (inode(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderKey {
    /// of its file system, as stat(2) tells it
    pub device: u64,
    /// in that file system
    pub inode: u64,
    /// last change: seconds since 1970 and nanoseconds
    pub changed: (i64, u32),
}

impl FolderKey {
    pub(crate) fn of(entry: &crate::Entry) -> Option<Self> {
        let (device, inode) = entry.inode;
        (entry.kind == Kind::Folder).then_some(Self { device, inode, changed: entry.changed })
    }
}

/// A folder of messages: it holds only files, and a file never changes under its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// relative to the root
    pub folder: Vec<u8>,
    /// what it was on the source; none: its names have to be looked at
    pub source: Option<FolderKey>,
    /// likewise on the target
    pub target: Option<FolderKey>,
    /// how many files the target had in it
    pub files: u64,
}

/// What [`State`] answers: the value, or why it could not be read or kept.
pub type Kept<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// Keeps leaves between passes of one source, one target and one [`meaning`](crate::SyncOptions::meaning) of options.
/// `()` keeps nothing: then every pass reads all names, sizes and times.
pub trait State: Send + Sync {
    /// All that is known.
    fn load(&self) -> Kept<'_, Vec<Leaf>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// These are as told now; what is known of others stays. Durable when it answers.
    fn store<'a>(&'a self, leaves: &'a [Leaf]) -> Kept<'a, ()> {
        let _ = leaves;
        Box::pin(async { Ok(()) })
    }

    /// Nothing is known of these any more. Durable when it answers.
    fn forget<'a>(&'a self, folders: &'a [Vec<u8>]) -> Kept<'a, ()> {
        let _ = folders;
        Box::pin(async { Ok(()) })
    }

    /// Whether it keeps anything.
    fn keeps(&self) -> bool;
}

impl State for () {
    fn keeps(&self) -> bool {
        false
    }
}
