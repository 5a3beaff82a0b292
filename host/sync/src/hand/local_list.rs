//! The local hand looks: one entry, whole folders.
//! Invariant: nothing is followed and nothing is opened but folders; a folder that vanishes meanwhile is told, not an error.
//! What it tells is checked by `listing`, as an answer from far away is.

use super::local::{Local, tell};
use super::session::Replies;
use super::{Fault, RawEntry, Reply};
use crate::attributes::Attributes;
use crate::{FolderKey, Kind, path};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, Stat, readlinkat, statat};
use std::collections::{BTreeMap, BTreeSet};

/// Entries a reply.
const PORTION: usize = 256;
/// Bytes of names a reply.
const NAMES: usize = 48 * 1024;

/// Folders in a folder, and what each is.
type Inner = BTreeMap<Vec<u8>, FolderKey>;

impl Local {
    pub(super) fn stat(&mut self, path: &[u8], replies: &mut Replies) -> Result<(), Fault> {
        let (folder, name) = self.place(path)?;
        let entry = self.look(&folder, name)?;
        tell(replies, Reply::Listed { folder: path::parent_of(path).to_vec(), entries: vec![entry] })
    }

    pub(super) fn know(&mut self, first: bool, leaves: Vec<(Vec<u8>, Option<FolderKey>)>) {
        if first {
            self.known.clear();
        }
        self.known.extend(leaves);
    }

    pub(super) fn list(&mut self, below: &[u8], depth: u32, pruned: bool, replies: &mut Replies) -> Result<(), Fault> {
        self.folder(below)?;
        let mut waiting = vec![(below.to_vec(), depth, None)];
        while let Some((folder, depth, key)) = waiting.pop() {
            let told = match (pruned && key.is_some(), self.known.get(&folder)) {
                (true, Some(known)) if *known == key => {
                    tell(replies, Reply::Same { folder: folder.clone() }).map(|()| Inner::new())
                }
                (true, Some(_)) => self.tell_names(&folder, replies).map(|()| Inner::new()),
                _ => self.list_folder(&folder, replies),
            };
            match told {
                Ok(inner) if depth > 1 => waiting
                    .extend(inner.into_iter().map(|(name, key)| (path::join(&folder, &name), depth - 1, Some(key)))),
                Ok(_) => {}
                Err(fault) if fault.vanished() && folder != below => tell(replies, Reply::Gone { folder })?,
                Err(fault) => return Err(Fault { path: Some(folder), ..fault }),
            }
        }
        Ok(())
    }

    /// Tells what one folder holds; returns the folders in it, in byte order. The caller takes the last one first: so
    /// `new` is listed before `cur`, and a message on its way from one to the other is seen twice rather than never.
    fn list_folder(&mut self, folder: &[u8], replies: &mut Replies) -> Result<Inner, Fault> {
        let handle = self.folder(folder)?;
        let mut inner = Inner::new();
        let mut entries: Vec<RawEntry> = Vec::new();
        for name in names_in(&handle)? {
            match self.look(&handle, &name) {
                Ok(entry) => entries.push(entry),
                Err(fault) if fault.vanished() => continue,
                Err(fault) => return Err(fault),
            }
            if let Some(entry) = entries.last().filter(|entry| entry.kind == Kind::Folder) {
                let (device, inode) = entry.inode;
                inner.insert(name, FolderKey { device, inode, changed: entry.changed });
            }
            if entries.len() == PORTION {
                tell(replies, Reply::Listed { folder: folder.to_vec(), entries: std::mem::take(&mut entries) })?;
            }
        }
        tell(replies, Reply::Listed { folder: folder.to_vec(), entries })?;
        Ok(inner)
    }

    pub(super) fn tell_names(&mut self, folder: &[u8], replies: &mut Replies) -> Result<(), Fault> {
        let handle = self.folder(folder)?;
        let mut names = Vec::new();
        for name in Dir::read_from(&*handle)? {
            let name = name?;
            let bytes = name.file_name().to_bytes();
            if bytes != b"." && bytes != b".." {
                names.extend_from_slice(bytes);
                names.push(0);
            }
            if names.len() >= NAMES {
                tell(replies, Reply::Names { folder: folder.to_vec(), names: std::mem::take(&mut names) })?;
            }
        }
        tell(replies, Reply::Names { folder: folder.to_vec(), names })
    }

    pub(super) fn find_links(
        &mut self,
        below: &[u8],
        inodes: &[(u64, u64)],
        replies: &mut Replies,
    ) -> Result<(), Fault> {
        let mut waiting = vec![below.to_vec()];
        while let Some(folder) = waiting.pop() {
            let handle = match self.folder(&folder) {
                Err(fault) if fault.vanished() => continue,
                other => other?,
            };
            let mut entries = Vec::new();
            for name in names_in(&handle)? {
                match self.look(&handle, &name) {
                    Ok(entry) if entry.kind == Kind::Folder => waiting.push(path::join(&folder, &name)),
                    Ok(entry) if inodes.contains(&entry.inode) => entries.push(entry),
                    Ok(_) => {}
                    Err(fault) if fault.vanished() => {}
                    Err(fault) => return Err(fault),
                }
            }
            if !entries.is_empty() {
                tell(replies, Reply::Listed { folder, entries })?;
            }
        }
        Ok(())
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
            changed: (stat.st_ctime, u32::try_from(stat.st_ctime_nsec).unwrap_or(0)),
            mode: stat.st_mode & 0o7777,
            owner: self.names.user(stat.st_uid),
            group: self.names.group(stat.st_gid),
            links: stat.st_nlink,
            inode: (stat.st_dev, stat.st_ino),
            attributes: if kind == Kind::Symlink { Attributes::default() } else { self.attributes(folder, name)? },
            points_to,
        })
    }
}

fn names_in(folder: &OwnedFd) -> Result<BTreeSet<Vec<u8>>, Fault> {
    // Some file systems tell a name twice when it is replaced meanwhile (btrfs): the set takes care of that.
    let mut names = BTreeSet::new();
    for name in Dir::read_from(folder)? {
        let name = name?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.insert(name);
        }
    }
    Ok(names)
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
