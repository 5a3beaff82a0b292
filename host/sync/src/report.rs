//! What a pass did, what a comparison found, and who is told while it goes on.
//! Invariant: numbers only count what has happened (a file counts as copied when it is durable under its name).
//! Filled by `sync` and `compare`.

use std::pin::Pin;

use crate::RelativePath;

/// What one pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// Entries of the source that were looked at.
    pub examined: u64,
    /// Files and symbolic links whose content was copied.
    pub copied: u64,
    /// Bytes of content that were copied.
    pub bytes: u64,
    /// Messages renamed on the target instead of being copied.
    pub renamed: u64,
    /// Names added to a file that the target already had.
    pub linked: u64,
    /// Files whose mode, owner or time alone was corrected.
    pub corrected: u64,
    /// Files, links and folders set aside on the target: replaced ones and those the source lacks.
    pub set_aside: u64,
    /// Files that the source listed and then no longer had. Normal while it is in use.
    pub vanished: u64,
    /// What was left out, and why. Run again, or tell the operator.
    pub skipped: Vec<(RelativePath, String)>,
    /// Folders of the target in which anything changed, sorted; with the maildir strategy the mailbox
    /// (the folder that holds `cur`, `new` and `tmp`) in their stead.
    pub touched: Vec<Vec<u8>>,
    /// How long it took.
    pub milliseconds: u64,
}

impl SyncReport {
    /// Another one's part in the same pass; `touched` and the time are told at its end.
    pub(crate) fn add(&mut self, other: Self) {
        self.examined += other.examined;
        self.copied += other.copied;
        self.bytes += other.bytes;
        self.renamed += other.renamed;
        self.linked += other.linked;
        self.corrected += other.corrected;
        self.set_aside += other.set_aside;
        self.vanished += other.vanished;
        self.skipped.extend(other.skipped);
    }

    /// Whether the pass changed anything on the target.
    pub fn changed_nothing(&self) -> bool {
        self.copied + self.renamed + self.linked + self.corrected + self.set_aside == 0 && self.touched.is_empty()
    }
}

/// What differs between two trees. All zero: the target is what a pass would make of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Entries of the source that were looked at.
    pub examined: u64,
    /// Things the target lacks.
    pub missing: u64,
    /// Bytes of those, as the source lists them; without messages that a rename would bring.
    pub missing_bytes: u64,
    /// Things only the target has.
    pub extra: u64,
    /// Things that differ in kind, size, time, mode, owner, link target, hard links or content.
    pub different: u64,
    /// Messages that are there under another name (flags, `new` or `cur`).
    pub renamed: u64,
    /// The first 50, with what differs.
    pub examples: Vec<(RelativePath, String)>,
}

impl Differences {
    /// Whether nothing differs.
    pub fn none(&self) -> bool {
        self.missing + self.extra + self.different + self.renamed == 0
    }
}

/// What [`Observer::touching`] answers: done, or why it could not be recorded.
pub type Recorded<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// Who is told how a pass goes on. Called from the pass's own task: must not block.
pub trait Observer: Send + Sync {
    /// These folders (as in [`SyncReport::touched`], and perhaps some that then need no change) are about to change. The
    /// pass changes nothing in them before this has answered: whoever must know of them after a crash, too, records them.
    fn touching<'a>(&'a self, folders: &'a [Vec<u8>]) -> Recorded<'a> {
        let _ = folders;
        Box::pin(async { Ok(()) })
    }

    /// `done` of `total` files (or messages) are finished; `bytes` of content were moved so far.
    fn progress(&self, done: u64, total: Option<u64>, bytes: u64) {
        let _ = (done, total, bytes);
    }

    /// Something worth a line, such as "second look at 3 folders that changed meanwhile". Already escaped.
    fn note(&self, text: &str) {
        let _ = text;
    }
}

impl Observer for () {}
