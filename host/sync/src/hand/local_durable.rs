//! What the local hand has yet to bring to the disk, and the cheapest way to do so.
//! Invariant: after `sync` every file that was finished and every name that changed before is durable.
//! A few are synced one by one, many by one `syncfs` a file system (measured: 200-700 files/s against thousands).

use super::Fault;
use super::local::Local;
use crate::path;
use rustix::fd::OwnedFd;
use rustix::fs::{fstat, fsync, syncfs};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Up to so many files or folders are synced one by one; it is also how many handles are kept open for it.
const FEW: usize = 16;

/// Files and folders that changed.
#[derive(Default)]
pub(super) struct Durable {
    /// Files, and folders that have no path below the root: where things were set aside.
    handles: Handles,
    /// Folders of the tree whose names changed.
    folders: BTreeSet<Vec<u8>>,
}

/// Handles to sync: of each file while they are few, of one for each file system when they are many.
#[derive(Default)]
struct Handles {
    few: Vec<Rc<OwnedFd>>,
    file_systems: BTreeMap<u64, Rc<OwnedFd>>,
}

impl Handles {
    fn add(&mut self, handle: Rc<OwnedFd>) -> Result<(), Fault> {
        self.few.push(handle);
        if self.few.len() > FEW { self.group() } else { Ok(()) }
    }

    fn group(&mut self) -> Result<(), Fault> {
        for handle in self.few.drain(..) {
            self.file_systems.entry(fstat(&*handle)?.st_dev).or_insert(handle);
        }
        Ok(())
    }

    fn sync(mut self) -> Result<(), Fault> {
        if !self.file_systems.is_empty() {
            self.group()?;
        }
        for handle in self.few {
            fsync(&*handle)?;
        }
        for handle in self.file_systems.into_values() {
            syncfs(&*handle)?;
        }
        Ok(())
    }
}

impl Local {
    pub(super) fn note_file(&mut self, file: OwnedFd) -> Result<(), Fault> {
        self.durable.handles.add(Rc::new(file))
    }

    pub(super) fn note_folder(&mut self, path: &[u8]) {
        if !self.durable.folders.contains(path) {
            self.durable.folders.insert(path.to_vec());
        }
    }

    /// Something has another name.
    pub(super) fn note_moved(&mut self, from: &[u8], to: &[u8]) {
        // A folder whose names changed before.
        if self.durable.folders.remove(from) {
            self.note_folder(to);
        }
        self.note_folder(path::parent_of(from));
        self.note_folder(path::parent_of(to));
    }

    pub(super) fn note_other_folder(&mut self, folder: OwnedFd) -> Result<(), Fault> {
        self.durable.handles.add(Rc::new(folder))
    }

    pub(super) fn sync(&mut self) -> Result<(), Fault> {
        let Durable { mut handles, folders } = std::mem::take(&mut self.durable);
        for folder in folders {
            match self.folder(&folder) {
                Ok(handle) => handles.add(handle)?,
                // A folder that was itself set aside meanwhile needs nothing: it was part of what was moved.
                Err(fault) if fault.vanished() => {}
                Err(fault) => return Err(fault),
            }
        }
        handles.sync()
    }
}
