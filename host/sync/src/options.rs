//! How two trees are to be made equal.
//! Invariant: the defaults copy and never set anything aside.
//! Read by `plan`; the patterns are in `pattern`.

use crate::{Owner, Pattern};
use std::time::Duration;

/// What is known about the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// Nothing: size and time decide.
    #[default]
    Plain,
    /// Maildir (<https://doc.dovecot.org/admin_manual/mailbox_formats/maildir/>): a message in `cur` or `new` never changes
    /// its content under its base name (up to `:2,`), so another flag, or `new` to `cur`, is a rename on the target.
    Maildir,
}

/// How many of the target's files (with [`Strategy::Maildir`]: messages) one pass may set aside because the source lacks them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// So many in a hundred of those the target has within the scope, rounded down.
    Percent(f32),
    /// So many.
    Count(u64),
    /// Any number; also when the source is empty.
    None,
}

/// How [`crate::sync()`] and [`crate::compare()`] go about it. `..Default::default()` fills the rest.
#[derive(Debug, Clone)]
pub struct SyncOptions {
    /// What is known about the files.
    pub strategy: Strategy,
    /// Only below these folders (relative to the root); empty: everywhere. Their parents are created where missing.
    /// A folder of the scope that the source does not have is noted in `skipped`; nothing of the target is set aside for it.
    pub scope: Vec<Vec<u8>>,
    /// Files (not folders) with such a name are left alone on both sides.
    pub without: Vec<Pattern>,
    /// Where not empty: only files with such a name; then no folder is ever set aside.
    pub only: Vec<Pattern>,
    /// Whether what the source lacks is set aside on the target.
    pub delete: bool,
    /// How much of it, at most.
    pub delete_limit: Limit,
    /// Only add: nothing that the target has is overwritten, renamed, set aside or given other times, owners or modes;
    /// a message that the target has under other flags counts as there.
    pub add_only: bool,
    /// With `add_only`: files with such a name are replaced all the same, the former one set aside.
    pub also_replace: Vec<Pattern>,
    /// Who the files on the target belong to; `None`: the user and group of the same name as on the source.
    pub owner: Option<Owner>,
    /// Whether setuid and setgid bits of files are kept. Those of folders (setgid hands down the group) always are.
    pub set_id: bool,
    /// A folder that was changed so lately, by the clock of its side, may change again without showing it: it is looked
    /// into the next time, whatever is known of it. The same idea as git's racy index entries; two seconds are enough for
    /// file systems that keep whole ones.
    pub racy: Duration,
    /// How many entries of a side are looked at together, as far as folders of two levels (`DOMAIN/USER`) allow: memory
    /// follows it. Several such parts are under way at a time where there is much to copy.
    pub part: usize,
    /// Label of the folder where things are set aside: letters, digits, `-`, `_`, `.`; not beginning with `.`.
    pub aside: String,
}

impl SyncOptions {
    /// Whether files of this name are dealt with at all.
    pub(crate) fn selects(&self, name: &[u8]) -> bool {
        let matches = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        !matches(&self.without) && (self.only.is_empty() || matches(&self.only))
    }

    /// What a pass means by "equal", in words that only say something to a [`State`](crate::State): what it knows from passes
    /// with another meaning is of no use.
    pub fn meaning(&self) -> String {
        let patterns = |patterns: &[Pattern]| patterns.iter().map(|pattern| format!("{pattern:?}")).collect::<String>();
        let owner = self.owner.as_ref().map_or(String::new(), |owner| format!("{}:{}", owner.user, owner.group));
        let Self { strategy, delete, set_id, .. } = self;
        let (without, only) = (patterns(&self.without), patterns(&self.only));
        format!("{strategy:?} delete {delete} set-id {set_id} owner {owner} without {without} only {only}")
    }
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self {
            strategy: Strategy::Plain,
            scope: Vec::new(),
            without: Vec::new(),
            only: Vec::new(),
            delete: false,
            delete_limit: Limit::Percent(10.0),
            add_only: false,
            also_replace: Vec::new(),
            owner: None,
            set_id: false,
            racy: Duration::from_secs(2),
            part: 4_000,
            aside: "sync".to_owned(),
        }
    }
}

/// How closely [`crate::compare()`] looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Names, kinds, sizes, times, modes, owners, link targets.
    Metadata,
    /// The same, and every file is read on both sides.
    Contents,
}
