//! A hand: what works inside one tree, on the side where the tree is. Two kinds answer the same requests:
//! `local` (Rust, this machine, this user) and `agent` (a perl program on the far side, or behind sudo).
//! Invariant: requests are done one after the other; no path is resolved through a symbolic link; replies are raw, see `listing`.

mod agent;
mod local;
mod local_attributes;
mod local_durable;
mod local_files;
mod local_hash;
mod local_list;
mod local_write;
mod names;
mod session;
mod wire;
#[cfg(fuzzing)]
pub(crate) use wire::Decoder;

pub(crate) use agent::{GLOB, PROGRAM, open_agent};
pub(crate) use local::open_local;
pub(crate) use session::{Incoming, Outgoing, Session, explain, unexpected};
pub(crate) use wire::split as wire_fields;

use crate::attributes::Attributes;
use crate::{FolderKey, Kind, Owner, Space};
use std::sync::Arc;

/// Content travels in pieces of at most this many bytes.
pub(crate) const PIECE: usize = 64 * 1024;
/// Unfinished files of a pass begin like this, followed by 16 hexadecimal digits. The leading dot keeps Dovecot from taking
/// one for mail (maildir: names beginning with a dot in `cur` and `new` are skipped) or, being no folder, for a mailbox.
pub(crate) const TEMPORARY: &[u8] = b".rehome-tmp-";
/// Folder for what was set aside.
pub(crate) const ASIDE: &str = ".rehome-aside";
/// A second pass waits this long for the lock of a tree before it gives up.
pub(crate) const LOCK_PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// Times as seconds since 1970 and nanoseconds.
pub(crate) type Time = (i64, u32);

/// What a hand is asked to do. Paths are relative to the root and already checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    /// Keep other writers out until `Unlock` or the end; `Fault::Busy` when somebody else has it.
    Lock,
    Unlock,
    /// Answered by `Reply::Space`.
    Space,
    /// Whether user and group exist.
    Know(Owner),
    /// One entry: `Listed` with one, then `Done`.
    Stat(Vec<u8>),
    /// Everything below, `depth` levels: `Listed` and `Gone`, then `Done`. `pruned`: of known leaves only what `Known` says.
    List {
        below: Vec<u8>,
        depth: u32,
        pruned: bool,
    },
    /// Folders that hold only files, and what they were when they were last dealt with; replaces what was told before if
    /// `first`. A pruned `List` answers `Same` for one that still is that, and else its names alone.
    Known {
        first: bool,
        leaves: Vec<(Vec<u8>, Option<FolderKey>)>,
    },
    /// What a folder holds, by name: `Names`, then `Done`.
    Names(Vec<u8>),
    /// Everything below that is one of these files (device, inode), however deep: `Listed`, then `Done`.
    Links {
        below: Vec<u8>,
        inodes: Vec<(u64, u64)>,
    },
    /// Answered by `Clock`.
    Clock,
    /// A regular file's content: `Opened`, `Data`…, `Closed`. `ripen`: wait until a later change must show in its time;
    /// one that is written to all the time is `changed`, without content.
    Fetch {
        file: Vec<u8>,
        most: u64,
        ripen: bool,
    },
    /// SHA-256 of regular files, so that their content need not travel: `Hashes`, one each.
    Hash(Vec<Vec<u8>>),
    /// The same of a small file that never changes: `Whole`.
    Message {
        file: Vec<u8>,
        most: u64,
    },
    /// A new small file (must not exist), all of it at once; as `Begin`, `Data` and `Finish`.
    Put {
        path: Vec<u8>,
        content: Vec<u8>,
        mode: u32,
        owner: Option<Owner>,
        attributes: Option<Attributes>,
        modified: Time,
    },
    /// A hand that only reads, at the far end of a program (an ssh) that is started for it on this side: `Reached`. Its
    /// output begins with the mark, after whatever a login prints; it may be silent for so many seconds until then.
    Reach {
        patience: u32,
        mark: Vec<u8>,
        program: Vec<Vec<u8>>,
    },
    /// New files (must not exist) with the content that the hand which was reached has for them: `Pulled`, one each.
    Pull(Vec<Pull>),
    /// Begin a new file (must not exist); no reply.
    Begin(Vec<u8>),
    /// More of it; no reply.
    Data(Vec<u8>),
    /// The end of it; the reply tells of the whole.
    Finish {
        mode: u32,
        owner: Option<Owner>,
        attributes: Option<Attributes>,
        modified: Option<Time>,
    },
    /// A new symbolic link (must not exist).
    Symlink {
        path: Vec<u8>,
        points_to: Vec<u8>,
        owner: Option<Owner>,
        modified: Time,
    },
    /// Rename; without `replace` an existing name is `EEXIST`.
    Move {
        from: Vec<u8>,
        to: Vec<u8>,
        replace: bool,
    },
    /// One more name for a file.
    Link {
        existing: Vec<u8>,
        new: Vec<u8>,
    },
    /// A new folder; one that is already there is fine.
    Folder {
        path: Vec<u8>,
        mode: u32,
        owner: Option<Owner>,
    },
    /// Owner, attributes, mode, time, in this order; what is `None` stays.
    Meta {
        path: Vec<u8>,
        kind: Kind,
        mode: Option<u32>,
        owner: Option<Owner>,
        attributes: Option<Attributes>,
        modified: Option<Time>,
    },
    /// Moves away, see `Tree::set_aside`; what is no longer there is fine.
    Aside {
        path: Vec<u8>,
        label: String,
    },
    /// Unlinks a file or link.
    Remove(Vec<u8>),
    /// Removes an empty folder.
    RemoveFolder(Vec<u8>),
    /// What was written and the names that changed since the last one are on the disk.
    Sync,
}

/// What a hand answers. Nothing in it is trusted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    Done,
    Failed(Fault),
    /// Some of what a folder holds.
    Listed {
        folder: Vec<u8>,
        entries: Vec<RawEntry>,
    },
    /// A folder that vanished before it could be listed.
    Gone {
        folder: Vec<u8>,
    },
    /// A known folder that is what it was.
    Same {
        folder: Vec<u8>,
    },
    /// Some of the names that a folder holds, each ended by a NUL.
    Names {
        folder: Vec<u8>,
        names: Vec<u8>,
    },
    /// The time there.
    Clock(Time),
    Opened {
        size: u64,
        modified: Time,
    },
    Data(Vec<u8>),
    /// All of a file.
    Whole(Vec<u8>),
    /// `changed`: the file is not what it was when it was opened.
    Closed {
        changed: bool,
    },
    Space(Space),
    /// Or in words why not.
    Reached(Result<(), Vec<u8>>),
    Pulled(Vec<Pulled>),
    /// In the order of the files; `None`: it could not be read whole, or was written to meanwhile.
    Hashes(Vec<Option<Hash>>),
}

/// A file that a hand is to fetch by itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pull {
    /// On the source.
    pub file: Vec<u8>,
    /// How the source is asked for it.
    pub how: How,
    /// Where it is written.
    pub path: Vec<u8>,
    pub mode: u32,
    pub owner: Option<Owner>,
    pub attributes: Option<Attributes>,
    /// Of a message; another file has the time that it was read with.
    pub modified: Time,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum How {
    /// As by `Message`, of this size.
    Message(u64),
    /// As by `Fetch`, a message of this size.
    Pieces(u64),
    /// As by `Fetch`, when it is ripe, of this size at most.
    Ripe(u64),
}

impl How {
    /// Bytes that were asked for, at most.
    pub(crate) fn most(self) -> u64 {
        match self {
            Self::Message(most) | Self::Pieces(most) | Self::Ripe(most) => most,
        }
    }
}

/// What became of a file that a hand fetched by itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Pulled {
    /// Complete; bytes of it.
    Written(u64),
    /// It is not what it was when it was listed, or opened.
    Changed,
    /// What the source said.
    Unreadable(Fault),
    /// The target's own trouble.
    Refused(Fault),
    /// The link was lost before, in these words. There is nothing of the file.
    Lost(Vec<u8>),
    /// The source said what no honest one says, such as this.
    Lie(Vec<u8>),
}

impl Request {
    /// Bytes of content in it.
    fn content(&self) -> usize {
        match self {
            Request::Data(content) | Request::Put { content, .. } => content.len(),
            // A burst of its own.
            Request::Pull(_) => PIECE,
            _ => 0,
        }
    }
}

impl Reply {
    /// Bytes of content in it, or of a listing, roughly.
    fn content(&self) -> usize {
        match self {
            Reply::Data(content) | Reply::Whole(content) | Reply::Names { names: content, .. } => content.len(),
            Reply::Listed { entries, .. } => entries.len() * size_of::<RawEntry>(),
            _ => 0,
        }
    }
}

/// A SHA-256.
pub(crate) type Hash = [u8; 32];

/// Why a request was not done, and where, when that is not plain from the request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fault {
    pub why: Why,
    pub path: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// errno(3)
    System(i32),
    NoUser,
    NoGroup,
    NotRegular,
    TooLarge,
    Busy,
    /// The hand refuses the path itself; rehome never sends such a one.
    BadPath,
}

impl Fault {
    pub(crate) fn is(&self, errno: i32) -> bool {
        self.why == Why::System(errno)
    }

    /// The thing itself, or a folder above it, is not what it was: gone, or another kind of thing.
    pub(crate) fn vanished(&self) -> bool {
        matches!(self.why, Why::System(libc::ENOENT | libc::ENOTDIR | libc::ELOOP) | Why::NotRegular)
    }
}

impl From<Why> for Fault {
    fn from(why: Why) -> Self {
        Self { why, path: None }
    }
}

impl From<rustix::io::Errno> for Fault {
    fn from(errno: rustix::io::Errno) -> Self {
        Why::System(errno.raw_os_error()).into()
    }
}

/// An entry as a hand tells it: a name in a folder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RawEntry {
    pub name: Vec<u8>,
    pub kind: Kind,
    pub size: u64,
    pub modified: Time,
    pub changed: Time,
    pub mode: u32,
    pub owner: Arc<str>,
    pub group: Arc<str>,
    pub links: u64,
    pub inode: (u64, u64),
    pub attributes: Attributes,
    pub points_to: Option<Box<[u8]>>,
}
