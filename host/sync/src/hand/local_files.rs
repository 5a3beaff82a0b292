//! The local hand changes names: renames, links, folders, what is set aside; and corrects mode, owner and time.
//! Invariant: what is set aside never overwrites what is already there, and nothing is unlinked but what was asked for.
//! Where things go that are set aside is told at `Tree::set_aside`; the far side's counterpart is in `agent.pl`.

use super::local::Local;
use super::local_list::kind_of;
use super::local_write::{open_quietly, times};
use super::{ASIDE, Fault, Time, Why};
use crate::attributes::Attributes;
use crate::{Kind, Owner, path};
use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Uid, chownat, fchmod, fstat, futimens, linkat, mkdirat, openat, renameat, statat,
    symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Tries for a free place; each keeps one former version of a file.
const MOST_VERSIONS: u32 = 10_000;

impl Local {
    pub(super) fn symlink(
        &mut self,
        path: &[u8],
        points_to: &[u8],
        owner: Option<&Owner>,
        modified: Time,
    ) -> Result<(), Fault> {
        let (folder, name) = self.place(path)?;
        symlinkat(points_to, &*folder, name)?;
        self.note_folder(path::parent_of(path));
        self.correct(path, Kind::Symlink, None, owner, None, Some(modified))
    }

    pub(super) fn rename(&mut self, from: &[u8], to: &[u8], replace: bool) -> Result<(), Fault> {
        let (old, old_name) = self.place(from)?;
        let (new, new_name) = self.place(to)?;
        if replace {
            renameat(&*old, old_name, &*new, new_name)?;
        } else {
            // link(2) refuses an existing name on every file system, in one step.
            linkat(&*old, old_name, &*new, new_name, AtFlags::empty())?;
            unlinkat(&*old, old_name, AtFlags::empty())?;
        }
        self.note_moved(from, to);
        self.forget_place(from);
        self.forget_place(to);
        Ok(())
    }

    pub(super) fn link(&mut self, existing: &[u8], new: &[u8]) -> Result<(), Fault> {
        let (old, old_name) = self.place(existing)?;
        let (folder, name) = self.place(new)?;
        linkat(&*old, old_name, &*folder, name, AtFlags::empty())?;
        self.note_folder(path::parent_of(new));
        Ok(())
    }

    pub(super) fn make_folder(&mut self, path: &[u8], mode: u32, owner: Option<&Owner>) -> Result<(), Fault> {
        let (folder, name) = self.place(path)?;
        match mkdirat(&*folder, name, Mode::from_raw_mode(mode & 0o777)) {
            Ok(()) => {}
            Err(Errno::EXIST) if kind_of(&statat(&*folder, name, AtFlags::SYMLINK_NOFOLLOW)?) == Kind::Folder => {
                return Ok(());
            }
            Err(errno) => return Err(errno.into()),
        }
        self.note_folder(path::parent_of(path));
        self.correct(path, Kind::Folder, None, owner, None, None)
    }

    pub(super) fn correct(
        &mut self,
        path: &[u8],
        kind: Kind,
        mode: Option<u32>,
        owner: Option<&Owner>,
        attributes: Option<&Attributes>,
        modified: Option<Time>,
    ) -> Result<(), Fault> {
        let (folder, name) = self.place(path)?;
        if kind != Kind::Folder {
            // Bringing a folder to the disk brings the inodes that changed before along, on ext4 and xfs.
            self.note_folder(path::parent_of(path));
        }
        if kind == Kind::Symlink {
            return self.correct_symlink(&folder, name, owner, modified);
        }
        // Through a handle: chmod(2) by name would follow a link that was swapped in.
        let handle = open_quietly(&folder, name)?;
        let stat = fstat(&handle)?;
        if kind_of(&stat) != kind {
            return Err(Why::NotRegular.into());
        }
        self.give(&handle, &stat, owner)?;
        if let Some(attributes) = attributes {
            self.set_attributes(&handle, attributes)?;
        }
        if let Some(mode) = mode {
            fchmod(&handle, Mode::from_raw_mode(mode))?;
        }
        if let Some(modified) = modified {
            futimens(&handle, &times(modified))?;
        }
        Ok(())
    }

    fn correct_symlink(
        &mut self,
        folder: &OwnedFd,
        name: &[u8],
        owner: Option<&Owner>,
        modified: Option<Time>,
    ) -> Result<(), Fault> {
        let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if kind_of(&stat) != Kind::Symlink {
            return Err(Why::NotRegular.into());
        }
        if let Some((uid, gid)) = self.ids(owner)?
            && (stat.st_uid, stat.st_gid) != (uid, gid)
        {
            chownat(folder, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if let Some(modified) = modified {
            utimensat(folder, name, &times(modified), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &[u8]) -> Result<(), Fault> {
        let (folder, name) = self.place(path)?;
        unlinkat(&*folder, name, AtFlags::empty())?;
        self.note_folder(path::parent_of(path));
        Ok(())
    }

    pub(super) fn remove_folder(&mut self, path: &[u8]) -> Result<(), Fault> {
        let (folder, name) = self.place(path)?;
        unlinkat(&*folder, name, AtFlags::REMOVEDIR)?;
        self.forget_place(path);
        self.note_folder(path::parent_of(path));
        Ok(())
    }

    pub(super) fn set_aside(&mut self, path: &[u8], label: &str) -> Result<(), Fault> {
        let (folder, name) = match self.place(path) {
            Err(fault) if fault.is(libc::ENOENT) => return Ok(()),
            other => other?,
        };
        if let Err(Errno::NOENT) = statat(&*folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            return Ok(());
        }
        self.forget_place(path);
        self.note_folder(path::parent_of(path));
        if let Some(beside) = self.beside.clone()
            && let Ok(parent) = openat(&self.root, "..", FOLDER, Mode::empty())
        {
            match move_aside(&folder, name, &parent, &[ASIDE.as_bytes(), &beside], label, path) {
                // Another file system, or a folder that this user may not write to: then inside the tree.
                Err(Errno::XDEV | Errno::ACCESS | Errno::PERM | Errno::ROFS) => {}
                other => return self.note_other_folder(other?),
            }
        }
        let place = move_aside(&folder, name, &self.root, &[ASIDE.as_bytes()], label, path)?;
        self.note_other_folder(place)
    }
}

/// Moves `folder`/`name` to `base`/`prefix`/`label`/`path`; where that is taken, below `label~2`, `label~3`, … Returns that folder.
fn move_aside(
    folder: &OwnedFd,
    name: &[u8],
    base: &OwnedFd,
    prefix: &[&[u8]],
    label: &str,
    path: &[u8],
) -> Result<OwnedFd, Errno> {
    let mut store = openat(base, ".", FOLDER, Mode::empty())?;
    for part in prefix {
        store = open_or_make(&store, part)?;
    }
    for version in 1..MOST_VERSIONS {
        let label = if version == 1 { label.to_owned() } else { format!("{label}~{version}") };
        let above = path::parent_of(path).split(|&byte| byte == b'/').filter(|part| !part.is_empty());
        let mut parts = [label.as_bytes()].into_iter().chain(above);
        let first = openat(&store, ".", FOLDER, Mode::empty())?;
        let place = match parts.try_fold(first, |place, part| open_or_make(&place, part)) {
            // A file was set aside under the name that is a folder now.
            Err(Errno::NOTDIR | Errno::LOOP) => continue,
            other => other?,
        };
        // Nobody else writes here: the folder is ours, mode 0700, and the tree is locked.
        if matches!(statat(&place, name, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT)) {
            renameat(folder, name, &place, name)?;
            return Ok(place);
        }
    }
    Err(Errno::EXIST)
}

fn open_or_make(folder: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    match openat(folder, name, FOLDER, Mode::empty()) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    match mkdirat(folder, name, Mode::from_raw_mode(0o700)) {
        // Another hand of the same pass made it meanwhile.
        Ok(()) | Err(Errno::EXIST) => openat(folder, name, FOLDER, Mode::empty()),
        Err(errno) => Err(errno),
    }
}
