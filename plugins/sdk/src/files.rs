//! Trees and files on a side. A phase names granted trees and what lies in them, never a path outside; content moves
//! between the sides without entering the sandbox. Names are bytes, as on disk.

pub use crate::bindings::rehome::phase::files::{
    Closeness, Comparison, Entry, Kind, Path, Space, SyncReport, TouchedFolders,
};
use crate::{Failure, Side, host};

/// `[tree.NAME]`.
#[derive(Debug, Clone, Copy)]
pub struct Tree {
    name: &'static str,
}

impl Tree {
    /// For the generated constants.
    pub const fn named(name: &'static str) -> Self {
        Self { name }
    }

    /// The side to look at.
    pub fn on(self, side: Side) -> TreeOn {
        TreeOn { name: self.name, side }
    }

    /// Folders (for a maildir: mailboxes) of new that a sync of this tree changed since `mark`, whichever phase ran it;
    /// without a mark: ever. Remember the answer's mark once they are dealt with. Of a tree with `on = ["old"]`: folders of
    /// old, which only an undo changes.
    pub fn touched(self, since: Option<&str>) -> Result<TouchedFolders, Failure> {
        host::files::touched(self.name, since)
    }
}

/// A tree on a side.
#[derive(Debug, Clone, Copy)]
pub struct TreeOn {
    name: &'static str,
    side: Side,
}

impl TreeOn {
    /// Entries below a folder (empty: the root), `depth` levels deep (1: its own entries; 0: no limit), at most 100,000.
    pub fn list(self, below: &[u8], depth: u32) -> Result<Vec<Entry>, Failure> {
        host::files::list(self.name, self.side, below, depth)
    }

    /// One regular file of a tree with `access = "read"`, at most 1 MiB.
    pub fn read(self, file: &[u8]) -> Result<Vec<u8>, Failure> {
        host::files::read(self.name, self.side, file)
    }

    /// Space left where the tree lies.
    pub fn free(self) -> Result<Space, Failure> {
        host::files::free(self.name, self.side)
    }
}

/// `[sync.NAME]`.
#[derive(Debug, Clone, Copy)]
pub struct Sync {
    name: &'static str,
}

impl Sync {
    /// For the generated constants.
    pub const fn named(name: &'static str) -> Self {
        Self { name }
    }

    /// Makes the target like the source. Safe to repeat, and to run again after any interruption.
    pub fn run(self) -> Result<SyncReport, Failure> {
        host::files::sync(self.name)
    }

    /// What [`Sync::run`] would find to do, by names, sizes, times and owners. Reads only.
    pub fn compare(self) -> Result<Comparison, Failure> {
        host::files::compare(self.name, Closeness::Metadata)
    }

    /// As [`Sync::compare`], and the contents of every file as well.
    pub fn compare_contents(self) -> Result<Comparison, Failure> {
        host::files::compare(self.name, Closeness::Contents)
    }
}

impl Comparison {
    /// Whether both sides are alike.
    pub fn is_equal(&self) -> bool {
        self.missing + self.extra + self.different == 0
    }
}

/// `[file.NAME]`, with so many holes in its line template.
#[derive(Debug, Clone, Copy)]
pub struct File<const COLUMNS: usize> {
    name: &'static str,
}

impl<const COLUMNS: usize> File<COLUMNS> {
    /// For the generated constants.
    pub const fn named(name: &'static str) -> Self {
        Self { name }
    }

    /// The side it lies on.
    pub fn on(self, side: Side) -> FileOn<COLUMNS> {
        FileOn { name: self.name, side }
    }
}

/// A file on a side.
#[derive(Debug, Clone, Copy)]
pub struct FileOn<const COLUMNS: usize> {
    name: &'static str,
    side: Side,
}

impl FileOn<0> {
    /// Writes the manifest's text. What the file held before is kept by the host; the first observation wins.
    pub fn put(self) -> Result<(), Failure> {
        host::files::put(self.name, self.side, &[])
    }
}

impl<const COLUMNS: usize> FileOn<COLUMNS> {
    /// Writes the manifest's text and one line a row.
    pub fn put_rows<V: AsRef<str>>(self, rows: impl IntoIterator<Item = [V; COLUMNS]>) -> Result<(), Failure> {
        let rows: Vec<Vec<String>> =
            rows.into_iter().map(|row| row.iter().map(|value| value.as_ref().to_string()).collect()).collect();
        host::files::put(self.name, self.side, &rows)
    }

    /// The former content comes back, or the file goes away if it was not there.
    pub fn restore(self) -> Result<(), Failure> {
        host::files::restore(self.name, self.side)
    }
}

/// `[aside.NAME]`.
#[derive(Debug, Clone, Copy)]
pub struct Aside {
    name: &'static str,
}

impl Aside {
    /// For the generated constants.
    pub const fn named(name: &'static str) -> Self {
        Self { name }
    }

    /// The side they lie on.
    pub fn on(self, side: Side) -> AsideOn {
        AsideOn { name: self.name, side }
    }
}

/// Files to set aside on a side.
#[derive(Debug, Clone, Copy)]
pub struct AsideOn {
    name: &'static str,
    side: Side,
}

impl AsideOn {
    /// Files with the manifest's names, directly in these folders, are moved out of sight and kept until retire.
    /// Answers how many. A call has a limited size: very many folders go in several.
    pub fn set_aside(self, folders: &[Path]) -> Result<u64, Failure> {
        let mut moved = 0;
        for some in folders.chunks(1000) {
            moved += host::files::set_aside(self.name, self.side, some)?;
        }
        Ok(moved)
    }
}
