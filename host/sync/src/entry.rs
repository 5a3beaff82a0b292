//! What a tree holds: one entry a file, folder or link, and the space around it.
//! Invariant: entries come out of `listing`, which has checked them; a hand's raw answer is never an `Entry`.
//! See `hand` for who fills them in.

use crate::RelativePath;
use crate::attributes::Attributes;
use std::sync::Arc;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// A device, a pipe, a socket: reported, never copied.
    Other,
}

/// One thing in a tree, as it was when it was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where, below the root.
    pub path: RelativePath,
    /// What it is.
    pub kind: Kind,
    /// Bytes of a file; of no meaning for others.
    pub size: u64,
    /// Last change of content: seconds since 1970 and nanoseconds (0 where the side cannot tell them).
    pub modified: (i64, u32),
    /// Last change of anything, names and modes included (ctime): seconds since 1970 and nanoseconds.
    pub changed: (i64, u32),
    /// Permission bits, with setuid, setgid and sticky: at most 0o7777.
    pub mode: u32,
    /// Name of the user, or its number where it has no name.
    pub owner: Arc<str>,
    /// Name of the group, or its number.
    pub group: Arc<str>,
    /// How many names this file has.
    pub links: u64,
    /// Device and inode: equal for two names of one file.
    pub inode: (u64, u64),
    /// Extended attributes and ACLs; none where the side cannot tell them (see `Session::exact`), and of links.
    pub(crate) attributes: Attributes,
    /// What a symbolic link says; bytes, never followed.
    pub points_to: Option<Box<[u8]>>,
}

/// Who files belong to, by name; a number is taken as such where nobody has that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Name of the user.
    pub user: String,
    /// Name of the group.
    pub group: String,
}

/// Room on the file system of a tree, for the user that works there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes available.
    pub bytes: u64,
    /// Inodes available; `u64::MAX` where the file system does not count them (btrfs).
    pub inodes: u64,
}
