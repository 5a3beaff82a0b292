//! What can go wrong, each with the side, the path (escaped) and what the operator can do.
//! Invariant: no message holds a byte from a side that did not pass `escape`.
//! Built mostly by `hand`, from the error numbers that a side reports.

use crate::RelativePath;

/// A failure of a tree or of a pass over two trees.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The root of the tree does not exist, or is not a folder.
    #[error("{side}: no folder {root}: {why}\nhint: create it, or correct the path of the tree")]
    NoSuchTree {
        /// Name of the side.
        side: String,
        /// The root as it was asked for, escaped.
        root: String,
        /// What the system said.
        why: String,
    },
    /// A file below the tree that was asked for does not exist.
    #[error("{side}: {path} does not exist")]
    NotFound {
        /// Name of the side.
        side: String,
        /// Where, below the root.
        path: RelativePath,
    },
    /// The side, or rehome's own rules, refuse access: no permission, a symbolic link on the way, not a regular file.
    #[error("{side}: {path} cannot be used: {why}\nhint: {remedy}")]
    NotAllowed {
        /// Name of the side.
        side: String,
        /// Where, below the root.
        path: RelativePath,
        /// What stands in the way.
        why: String,
        /// What to do about it.
        remedy: String,
    },
    /// The pass would set aside more of the target's files than the plan allows. Nothing was set aside for it.
    #[error(
        "this pass would set aside {would} of the {of} files of the target; the limit is {limit}\n\
         hint: look whether the source is complete; if it is, raise the limit"
    )]
    TooManyDeletes {
        /// How many files it would set aside.
        would: u64,
        /// How many it may.
        limit: u64,
        /// How many there are (of messages, where the strategy is maildir).
        of: u64,
    },
    /// No space or no inodes left, or a quota.
    #[error("{side}: {path}: the disk is full ({why})\nhint: make room (bytes and inodes), then run again")]
    DiskFull {
        /// Name of the side.
        side: String,
        /// What was being written.
        path: RelativePath,
        /// What the system said.
        why: String,
    },
    /// A file is larger, or a folder holds more, than the caller allowed.
    #[error("{side}: {path} is larger than allowed: {what}")]
    TooLarge {
        /// Name of the side.
        side: String,
        /// Which one.
        path: RelativePath,
        /// The limit, in words.
        what: String,
    },
    /// A user or group that files should belong to does not exist on a side.
    #[error("{side}: there is no {what} `{name}`\nhint: create it there, or name another owner in the plan")]
    UnknownOwner {
        /// Name of the side.
        side: String,
        /// `user` or `group`.
        what: &'static str,
        /// Its name, escaped.
        name: String,
    },
    /// Another pass is writing to the same tree.
    #[error("{side}: {root} is being written by another pass of rehome\nhint: wait for it to end, then run again")]
    Busy {
        /// Name of the side.
        side: String,
        /// Root of the tree.
        root: String,
    },
    /// The observer could not record what the pass was about to change. Nothing of it was changed.
    #[error("cannot record what is about to change: {why}")]
    Unrecorded {
        /// In the observer's words.
        why: String,
    },
    /// The caller asked for something that makes no sense (a bad path, pattern, label).
    #[error("{what} is not valid: {why}\nhint: {remedy}")]
    Invalid {
        /// What was given.
        what: String,
        /// What is wrong with it.
        why: String,
        /// What would be right.
        remedy: String,
    },
    /// Any other failure that a side's system reported.
    #[error("{side}: cannot {doing} {path}: {source}")]
    Io {
        /// Name of the side.
        side: String,
        /// A verb, such as "read".
        doing: &'static str,
        /// Where, below the root.
        path: RelativePath,
        /// What the system said.
        source: std::io::Error,
    },
    /// The side could not be reached, or the link was lost.
    #[error(transparent)]
    Remote(#[from] rehome_remote::Error),
    /// A side answered something that no honest side answers, or its program is broken. Nothing of that answer was used.
    #[error(
        "{side}: an answer was refused: {what}\nhint: the side is damaged, hostile, or runs an unknown system; look at it before going on"
    )]
    Protocol {
        /// Name of the side.
        side: String,
        /// What was wrong with the answer, escaped.
        what: String,
    },
}
