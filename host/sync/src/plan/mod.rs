//! Decides what one pass does, from two listings. Nothing here touches a side: all of it can be tested on paper.
//! Invariant: what the plan names lies within the listings; nothing of the target is overwritten, renamed or set aside
//! that the options do not allow. `sync` carries a plan out, `compare` counts it; `layout` knows maildir.

mod content;
mod extras;
pub(crate) mod layout;
mod links;

use crate::attributes::Attributes;
use crate::listing::Listing;
use crate::{Entry, Error, Kind, Limit, Owner, RelativePath, SyncOptions};
use layout::Layout;
use std::collections::HashSet;

/// When something is done within a pass; see [`Stage`]'s cases for why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Before the messages: the table of keywords. A Dovecot that looks in between and finds a message with a letter
    /// that is not in the table invents a keyword for it; a table with more keywords than are used does no harm.
    First,
    /// Messages; with the plain strategy everything.
    Content,
    /// After the messages, and after what the source lacks is gone: the UID list and everything else of a mailbox. A Dovecot
    /// that looks in between and misses messages of the list drops them from it and gives them new UIDs when they arrive;
    /// the other way round it gives UIDs of its own at worst, and this file, coming last, replaces that list.
    Last,
}

/// What becomes of a file of the target that is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Former {
    /// There is none.
    None,
    /// It is overwritten, in one step.
    Overwritten,
    /// It is set aside (it may have another name).
    Aside(RelativePath),
}

/// A file or link whose content comes from the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Copy {
    /// In the listing of the source.
    pub source: usize,
    pub former: Former,
    pub stage: Stage,
    /// What differs, for people.
    pub why: &'static str,
}

/// One more name for a file that the target has by then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewLink {
    pub leader: RelativePath,
    pub path: RelativePath,
    /// Another file has that name on the target.
    pub replaces: bool,
    pub stage: Stage,
}

/// Mode, owner, attributes or time of a file, link or folder that is otherwise right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Correction {
    pub path: RelativePath,
    pub kind: Kind,
    pub mode: Option<u32>,
    pub owner: Option<Owner>,
    pub attributes: Option<Attributes>,
    pub modified: Option<(i64, u32)>,
    /// Nobody who reads the file can tell: it is no change worth telling.
    pub quiet: bool,
}

/// A message that only has another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rename {
    pub from: RelativePath,
    pub to: RelativePath,
}

/// Something that only the target has; a folder stands for all it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extra {
    pub path: RelativePath,
    pub kind: Kind,
}

/// Everything one pass does.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub examined: u64,
    /// Things of another kind than on the source: set aside before anything else.
    pub conflicts: Vec<RelativePath>,
    /// Indexes of folders of the source, parents first.
    pub folders: Vec<usize>,
    pub renames: Vec<Rename>,
    pub copies: Vec<Copy>,
    pub links: Vec<NewLink>,
    pub corrections: Vec<Correction>,
    /// Indexes of folders of the source that the target has with another time.
    pub folder_times: Vec<usize>,
    pub extras: Vec<Extra>,
    /// Files that are taken to be the same: source, target.
    pub pairs: Vec<(usize, usize)>,
    pub skipped: Vec<(RelativePath, String)>,
    /// Files (messages) of the target that would be set aside, of how many, and how many the source has.
    pub would_delete: u64,
    pub deletable: u64,
    pub source_files: u64,
}

/// Files (messages) that would be set aside, of how many that the target has, and how many the source has.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Deletes {
    would: u64,
    of: u64,
    source_files: u64,
}

impl Deletes {
    /// What one plan would set aside.
    pub(crate) fn add(&mut self, plan: &Plan) {
        self.would += plan.would_delete;
        self.of += plan.deletable;
        self.source_files += plan.source_files;
    }

    /// The source has more, which nobody has counted.
    pub(crate) fn source_has_more(&mut self) {
        self.source_files += 1;
    }

    /// # Errors
    /// [`Error::TooManyDeletes`].
    pub(crate) fn check(&self, limit: Limit) -> Result<(), Error> {
        let allowed = match limit {
            Limit::None => return Ok(()),
            Limit::Count(count) => count,
            // An empty source is a lost mount or a wrong path far more often than a tree without a single file.
            Limit::Percent(_) if self.source_files == 0 => 0,
            Limit::Percent(percent) => percent_of(percent, self.of),
        };
        if self.would <= allowed {
            return Ok(());
        }
        Err(Error::TooManyDeletes { would: self.would, limit: allowed, of: self.of })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a number of files, not below 0"
)]
fn percent_of(percent: f32, of: u64) -> u64 {
    (of as f64 * f64::from(percent.clamp(0.0, 100.0)) / 100.0).floor() as u64
}

/// The two listings, what is known about them, and the plan as it grows.
struct Planner<'a> {
    source: &'a Listing,
    target: &'a Listing,
    options: &'a SyncOptions,
    layout: &'a Layout,
    /// Whether both sides tell nanoseconds.
    exact: bool,
    /// Paths that are left out with all they hold.
    left_out: HashSet<&'a [u8]>,
    /// Paths of the target that are set aside with all they hold: as if not there.
    replaced: HashSet<&'a [u8]>,
    /// Entries of the target that a message of the source was found to be.
    taken: Vec<bool>,
    plan: Plan,
}

/// Plans a pass. `exact`: both sides tell nanoseconds.
pub(crate) fn plan(source: &Listing, target: &Listing, options: &SyncOptions, layout: &Layout, exact: bool) -> Plan {
    let mut planner = Planner {
        source,
        target,
        options,
        layout,
        exact,
        left_out: HashSet::new(),
        replaced: HashSet::new(),
        taken: vec![false; target.entries.len()],
        plan: Plan::default(),
    };
    planner.content();
    planner.hard_links();
    planner.extras();
    planner.drop_unneeded_folders();
    planner.plan
}

impl<'a> Planner<'a> {
    /// Whether files of this name are looked at.
    fn selected(&self, name: &[u8]) -> bool {
        self.options.selects(name)
    }

    fn owner(&self, entry: &Entry) -> Owner {
        self.options.owner_of(entry)
    }

    /// The target's entry of the same path, unless it is about to be set aside.
    fn counterpart(&self, path: &RelativePath) -> Option<usize> {
        self.target.find(path.as_bytes()).filter(|_| !below_any(&self.replaced, path))
    }

    /// Mode, owner and time that the target's entry should have and has not.
    fn correction(&self, source: &Entry, target: &Entry, times: bool) -> Option<Correction> {
        let wanted = self.options.mode_of(source);
        // A symbolic link has no mode of its own.
        let mode = (source.kind != Kind::Symlink && wanted != target.mode).then_some(wanted);
        let owner =
            Some(self.owner(source)).filter(|owner| owner.user != *target.owner || owner.group != *target.group);
        let modified = (times && !self.same_time(source, target)).then_some(source.modified);
        let differ = self.exact && source.attributes != target.attributes;
        let attributes = differ.then(|| source.attributes.clone());
        if mode.is_none() && owner.is_none() && attributes.is_none() && modified.is_none() {
            return None;
        }
        // A new owner costs the setuid bits, an ACL may change the mode, and the hand sets the mode last: so name it again.
        let again = (owner.is_some() || attributes.is_some()) && source.kind != Kind::Symlink;
        let mode = mode.or_else(|| again.then_some(wanted));
        Some(Correction {
            path: source.path.clone(),
            kind: source.kind,
            mode,
            owner,
            attributes,
            modified,
            quiet: false,
        })
    }

    fn same_time(&self, source: &Entry, target: &Entry) -> bool {
        // Where a side only knows whole seconds it cannot set the time of a link either.
        if !self.exact && source.kind == Kind::Symlink {
            return true;
        }
        source.modified.0 == target.modified.0 && (!self.exact || source.modified.1 == target.modified.1)
    }

    /// With `only`: folders that nothing comes into are not created.
    fn drop_unneeded_folders(&mut self) {
        if self.options.only.is_empty() {
            return;
        }
        let mut needed = HashSet::new();
        let copied = self.plan.copies.iter().map(|copy| &self.source.entries[copy.source].path);
        let paths = copied
            .chain(self.plan.links.iter().map(|link| &link.path))
            .chain(self.plan.renames.iter().map(|rename| &rename.to));
        for path in paths {
            let mut folder = path.parent();
            while !folder.is_root() && needed.insert(folder.clone()) {
                folder = folder.parent();
            }
        }
        let source = self.source;
        self.plan.folders.retain(|&folder| needed.contains(&source.entries[folder].path));
    }
}

/// Whether `path` or a folder above it is among `folders`.
fn below_any(folders: &HashSet<&[u8]>, path: &RelativePath) -> bool {
    if folders.is_empty() {
        return false;
    }
    let mut path = path.as_bytes();
    loop {
        if folders.contains(path) {
            return true;
        }
        if path.is_empty() {
            return false;
        }
        path = crate::path::parent_of(path);
    }
}

impl SyncOptions {
    /// Who a file of the source belongs to on the target.
    pub(crate) fn owner_of(&self, entry: &Entry) -> Owner {
        self.owner.clone().unwrap_or_else(|| Owner { user: entry.owner.to_string(), group: entry.group.to_string() })
    }

    /// The mode it has there.
    pub(crate) fn mode_of(&self, entry: &Entry) -> u32 {
        if entry.kind == Kind::Folder || self.set_id { entry.mode & 0o7777 } else { entry.mode & 0o1777 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Strategy;

    fn entry(path: &str, kind: Kind, inode: u64) -> Entry {
        Entry {
            path: RelativePath::new(path).unwrap(),
            kind,
            size: 4,
            modified: (1, 0),
            changed: (1, 0),
            mode: 0o600,
            owner: "vmail".into(),
            group: "vmail".into(),
            links: 1,
            inode: (1, inode),
            attributes: Attributes::default(),
            points_to: None,
        }
    }

    fn mailbox(messages: &[(&str, u64)]) -> Listing {
        let folders = ["cur", "new", "tmp"].map(|name| entry(name, Kind::Folder, 1));
        let messages = messages.iter().map(|&(path, inode)| entry(path, Kind::File, inode));
        let mut entries: Vec<Entry> = folders.into_iter().chain(messages).collect();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Listing { entries, ..Listing::default() }
    }

    fn planned(source: &Listing, target: &Listing) -> Plan {
        let options = SyncOptions { strategy: Strategy::Maildir, delete: true, ..SyncOptions::default() };
        let layout = Layout::find(options.strategy, [source, target]);
        plan(source, target, &options, &layout, true)
    }

    fn copied<'a>(plan: &Plan, source: &'a Listing) -> Vec<&'a [u8]> {
        plan.copies.iter().map(|copy| source.entries[copy.source].path.as_bytes()).collect()
    }

    #[test]
    fn a_message_listed_twice_on_its_way_is_copied_once_under_its_later_name() {
        let source = mailbox(&[("new/1.host", 7), ("cur/1.host:2,S", 7)]);
        assert_eq!(copied(&planned(&source, &mailbox(&[])), &source), [b"cur/1.host:2,S"]);
        let plan = planned(&source, &mailbox(&[("new/1.host", 9)]));
        assert_eq!((plan.copies.len(), plan.renames.len(), plan.extras.len()), (0, 1, 0), "{plan:?}");
    }

    #[test]
    fn two_messages_of_one_base_name_are_both_kept() {
        let source = mailbox(&[("new/1.host", 7), ("cur/1.host:2,S", 8)]);
        let plan = planned(&source, &mailbox(&[("cur/1.host:2,F", 9)]));
        assert_eq!((plan.copies.len(), plan.renames.len(), plan.extras.len()), (1, 1, 0), "{plan:?}");
    }

    #[test]
    fn a_share_is_rounded_down() {
        assert_eq!(
            (percent_of(10.0, 99), percent_of(100.0, 7), percent_of(-1.0, 7), percent_of(f32::NAN, 7)),
            (9, 7, 0, 0)
        );
    }
}
