//! The local hand reads and writes content.
//! Invariant: a new file is created exclusively under the name that was asked for (a temporary one), gets owner, mode and
//! time before it is closed, and its name is only trusted after `Sync`. See `local_files` for names.

use super::local::{Local, read_piece, tell};
use super::local_list::{kind_of, modified};
use super::session::Replies;
use super::{Fault, Reply, Time, Why};
use crate::attributes::Attributes;
use crate::{Kind, Owner, path};
use rustix::fd::OwnedFd;
use rustix::fs::{
    Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, fchmod, fchown, fstat, futimens, openat,
};
use rustix::io::Errno;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A file that is being written; what went wrong is told when it is finished.
pub(super) struct Writing {
    path: Vec<u8>,
    file: Result<OwnedFd, Fault>,
}

impl Local {
    pub(super) fn fetch(&mut self, file: &[u8], most: u64, ripen: bool, replies: &mut Replies) -> Result<Reply, Fault> {
        let (folder, name) = self.place(file)?;
        let handle = open_quietly(&folder, name)?;
        let mut before = fstat(&handle)?;
        if kind_of(&before) != Kind::File {
            return Err(Why::NotRegular.into());
        }
        if ripen && let Some(wait) = unripe(modified(&before)) {
            std::thread::sleep(wait);
            before = fstat(&handle)?;
        }
        // Written to again: perhaps at this moment, and the time of a write is that of its beginning.
        let restless = ripen && unripe(modified(&before)).is_some();
        let size = u64::try_from(before.st_size).unwrap_or(0);
        if size > most {
            return Err(Why::TooLarge.into());
        }
        tell(replies, Reply::Opened { size, modified: modified(&before) })?;
        if restless {
            return Ok(Reply::Closed { changed: true });
        }
        let mut left = size;
        while left > 0 {
            let piece = read_piece(&handle, usize::try_from(left).unwrap_or(usize::MAX))?;
            if piece.is_empty() {
                break;
            }
            left -= piece.len() as u64;
            tell(replies, Reply::Data(piece))?;
        }
        Ok(Reply::Closed { changed: left > 0 || is_changed(&before, &fstat(&handle)?) })
    }

    /// A file that never changes under its name: what it has now is what it had and will have.
    pub(super) fn message(&mut self, file: &[u8], most: u64) -> Result<Reply, Fault> {
        let (folder, name) = self.place(file)?;
        let handle = open_quietly(&folder, name)?;
        let stat = fstat(&handle)?;
        if kind_of(&stat) != Kind::File {
            return Err(Why::NotRegular.into());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if size > most {
            return Err(Why::TooLarge.into());
        }
        Ok(Reply::Whole(read_piece(&handle, usize::try_from(size).unwrap_or(usize::MAX))?))
    }

    /// `mode`: what it will have, where that is known already.
    pub(super) fn begin(&mut self, path: &[u8], mode: u32) {
        let file = self.place(path).and_then(|(folder, name)| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Ok(openat(&*folder, name, flags, Mode::from_raw_mode(mode & 0o777))?)
        });
        self.writing = Some(Writing { path: path.to_vec(), file });
    }

    pub(super) fn more(&mut self, piece: &[u8]) {
        let Some(writing) = &mut self.writing else { return };
        let Ok(file) = &writing.file else { return };
        if let Err(errno) = write_all(file, piece) {
            writing.file = Err(errno.into());
        }
    }

    pub(super) fn finish(
        &mut self,
        mode: u32,
        owner: Option<&Owner>,
        attributes: Option<&Attributes>,
        modified: Option<Time>,
    ) -> Result<(), Fault> {
        let Some(Writing { path, file }) = self.writing.take() else { return Err(Why::BadPath.into()) };
        let file = file?;
        let stat = fstat(&file)?;
        self.give(&file, &stat, owner)?;
        if let Some(attributes) = attributes {
            self.set_attributes(&file, attributes)?;
        }
        // A new owner takes the bits away that set the id, and an ACL stands in the mode.
        if stat.st_mode & 0o7777 != mode || mode & 0o7000 != 0 || attributes.is_some_and(|all| !all.bytes().is_empty())
        {
            fchmod(&file, Mode::from_raw_mode(mode))?;
        }
        if let Some(modified) = modified {
            futimens(&file, &times(modified))?;
        }
        self.note_folder(path::parent_of(&path));
        self.note_file(file)
    }

    /// Changes user and group where they differ: only root may, so asking for what is there already must not fail.
    pub(super) fn give(&mut self, file: &OwnedFd, stat: &Stat, owner: Option<&Owner>) -> Result<(), Fault> {
        if let Some((uid, gid)) = self.ids(owner)?
            && (stat.st_uid, stat.st_gid) != (uid, gid)
        {
            fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        Ok(())
    }

    pub(super) fn ids(&mut self, owner: Option<&Owner>) -> Result<Option<(u32, u32)>, Fault> {
        owner.map(|owner| Ok((self.names.uid(&owner.user)?, self.names.gid(&owner.group)?))).transpose()
    }
}

/// Whether a file was written to in between.
pub(super) fn is_changed(before: &Stat, after: &Stat) -> bool {
    after.st_size != before.st_size || modified(after) != modified(before)
}

/// For reading, leaving no trace: no access time where that is allowed, no waiting at a pipe.
pub(super) fn open_quietly(folder: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Fault> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match openat(folder, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => Ok(openat(folder, name, flags, Mode::empty())?),
        other => Ok(other?),
    }
}

/// How long to wait until a later change of the file cannot have the same time: the kernel's clock for files ticks every
/// 1 to 10 ms; a file system that keeps whole seconds shows as 0 nanoseconds. The same idea as git's racy index entries.
fn unripe(modified: Time) -> Option<Duration> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let seconds = u64::try_from(modified.0).ok()?;
    let tick = if modified.1 == 0 { Duration::from_millis(1050) } else { Duration::from_millis(50) };
    let ripe = Duration::new(seconds, modified.1) + tick;
    let wait = ripe.checked_sub(now)?;
    // A time in the future was set by hand, and waiting would not help.
    (wait <= tick + Duration::from_millis(20)).then_some(wait)
}

pub(super) fn times(modified: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: modified.0, tv_nsec: modified.1.into() },
    }
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
