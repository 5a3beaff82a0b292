//! The tree synchroniser, and the file operations below granted trees.
//! Invariant: nothing here touches a path outside the tree it was opened for, and what a side answers is checked before it is used.
//! Start at [`Tree`] (one opened tree on a side), then [`sync()`] and [`compare()`]; `plan` decides, `hand` acts.
//!
//! What is kept: files, folders, symbolic links, hard links within the tree, mode, owner by name, ACLs, the extended
//! attributes that users set, and the times of files and folders. Holes of sparse files are filled; `trusted.` and
//! `security.` attributes stay behind.

mod attributes;
mod compare;
mod direct;
mod entry;
mod error;
mod escape;
#[cfg(fuzzing)]
pub mod fuzzing;
mod hand;
mod listing;
mod look;
mod options;
mod pass;
mod path;
mod pattern;
mod plan;
mod report;
mod state;
mod temporary;
mod tree;

/// What a far hand runs, for a gate that starts it itself (`rehome-gate`).
pub mod programs {
    /// `perl -e AGENT -- ROOT BESIDE OLD [MODE NAMES SCOPE…]`.
    pub fn agent() -> &'static str {
        crate::hand::PROGRAM.as_str()
    }

    /// The perl function `glob_to_regex`.
    pub const GLOB: &str = crate::hand::GLOB;
}

pub use compare::compare;
pub use entry::{Entry, Kind, Owner, Space};
pub use error::Error;
pub use escape::escape;
pub use options::{Comparison, Limit, Strategy, SyncOptions};
pub use pass::sync;
pub use path::RelativePath;
pub use pattern::Pattern;
pub use report::{Differences, Observer, Recorded, SyncReport};
pub use state::{FolderKey, Kept, Leaf, State};
pub use tree::Tree;
