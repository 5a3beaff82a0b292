//! The local hand looks: one entry, whole folders.
//! Invariant: nothing is followed and nothing is opened but folders; a folder that vanishes meanwhile is told, not an error.
//! What it tells is checked by `listing`, as an answer from far away is.

use super::local::{Local, tell};
use super::session::Replies;
use super::{Fault, RawEntry, Reply};
use crate::{Kind, path};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, Stat, readlinkat, statat};
use std::collections::BTreeSet;

/// Entries a reply.
const PORTION: usize = 256;

impl Local {
    pub(super) fn stat(&mut self, path: &[u8], replies: &Replies) -> Result<(), Fault> {
        let (folder, name) = self.place(path)?;
        let entry = self.look(&folder, name)?;
        tell(replies, Reply::Listed { folder: path::parent_of(path).to_vec(), entries: vec![entry] })
    }

    pub(super) fn list(&mut self, below: &[u8], depth: u32, replies: &Replies) -> Result<(), Fault> {
        self.folder(below)?;
        let mut waiting = vec![(below.to_vec(), depth)];
        while let Some((folder, depth)) = waiting.pop() {
            match self.list_folder(&folder, replies) {
                Ok(inner) if depth > 1 => {
                    waiting.extend(inner.into_iter().map(|name| (path::join(&folder, &name), depth - 1)))
                }
                Ok(_) => {}
                Err(fault) if fault.vanished() && folder != below => tell(replies, Reply::Gone { folder })?,
                Err(fault) => return Err(Fault { path: Some(folder), ..fault }),
            }
        }
        Ok(())
    }

    /// Tells what one folder holds; returns the folders in it, in byte order. The caller takes the last one first: so
    /// `new` is listed before `cur`, and a message on its way from one to the other is seen twice rather than never.
    fn list_folder(&mut self, folder: &[u8], replies: &Replies) -> Result<BTreeSet<Vec<u8>>, Fault> {
        let handle = self.folder(folder)?;
        // Some file systems tell a name twice when it is replaced meanwhile (btrfs): the set takes care of that.
        let mut names = BTreeSet::new();
        for name in Dir::read_from(&*handle)? {
            let name = name?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.insert(name);
            }
        }
        let mut inner = BTreeSet::new();
        let mut entries = Vec::new();
        for name in names {
            match self.look(&handle, &name) {
                Ok(entry) => entries.push(entry),
                Err(fault) if fault.vanished() => continue,
                Err(fault) => return Err(fault),
            }
            if entries.last().is_some_and(|entry| entry.kind == Kind::Folder) {
                inner.insert(name);
            }
            if entries.len() == PORTION {
                tell(replies, Reply::Listed { folder: folder.to_vec(), entries: std::mem::take(&mut entries) })?;
            }
        }
        tell(replies, Reply::Listed { folder: folder.to_vec(), entries })?;
        Ok(inner)
    }

    fn look(&mut self, folder: &OwnedFd, name: &[u8]) -> Result<RawEntry, Fault> {
        let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = kind_of(&stat);
        let points_to = match kind {
            Kind::Symlink => Some(readlinkat(folder, name, Vec::new())?.into_bytes().into_boxed_slice()),
            _ => None,
        };
        Ok(RawEntry {
            name: name.to_vec(),
            kind,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: modified(&stat),
            mode: stat.st_mode & 0o7777,
            owner: self.names.user(stat.st_uid),
            group: self.names.group(stat.st_gid),
            links: stat.st_nlink,
            inode: (stat.st_dev, stat.st_ino),
            points_to,
        })
    }
}

pub(super) fn kind_of(stat: &Stat) -> Kind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::Other,
    }
}

pub(super) fn modified(stat: &Stat) -> (i64, u32) {
    (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0))
}
