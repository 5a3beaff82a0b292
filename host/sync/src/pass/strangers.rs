//! Hard links between parts: one file whose names lie in parts that are dealt with by themselves.
//! Invariant: a name is only replaced by a link to what the source says is the same file, and only where both names are on
//! the target. Links within a part are the plan's (`plan::links`).

use super::{Part, Pass};
use crate::look::{find_links, stat_all};
use crate::plan::{NewLink, Stage};
use crate::{Entry, Error, Kind, RelativePath};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Device and inode on the source.
type Inode = (u64, u64);

/// Files of the source of which a part knows fewer names than there are.
#[derive(Debug, Default)]
pub(super) struct Strangers(BTreeMap<Inode, Names>);

#[derive(Debug, Default)]
struct Names {
    /// how many there are
    links: u64,
    /// those that are known
    paths: BTreeSet<RelativePath>,
}

impl Strangers {
    fn add(&mut self, entry: &Entry) {
        let names = self.0.entry(entry.inode).or_default();
        names.links = names.links.max(entry.links);
        names.paths.insert(entry.path.clone());
    }
}

impl Pass<'_> {
    /// Notes of a part what has names elsewhere.
    pub(super) fn note_strangers(&self, part: &Part) {
        if self.options.add_only {
            return;
        }
        let of_interest =
            |entry: &&Entry| entry.kind == Kind::File && entry.links > 1 && self.options.selects(entry.path.name());
        let mut names: HashMap<Inode, u64> = HashMap::new();
        for entry in part.source.entries.iter().filter(of_interest) {
            *names.entry(entry.inode).or_default() += 1;
        }
        if names.is_empty() {
            return;
        }
        let Ok(mut strangers) = self.shared.strangers.lock() else { return };
        for entry in part.source.entries.iter().filter(of_interest) {
            if names[&entry.inode] < entry.links && !part.layout.in_tmp(entry.path.as_bytes()) {
                strangers.add(entry);
            }
        }
    }

    /// Once all parts are done: names of one file on the source become names of one file on the target.
    pub(super) async fn link_strangers(&mut self) -> Result<(), Error> {
        let mut strangers = match self.shared.strangers.lock() {
            Ok(mut strangers) => std::mem::take(&mut *strangers).0,
            Err(_) => return Ok(()),
        };
        self.find_other_names(&mut strangers).await?;
        let several = strangers.into_values().filter(|names| names.paths.len() > 1);
        let paths: Vec<RelativePath> = several.flat_map(|names| names.paths).collect();
        if paths.is_empty() {
            return Ok(());
        }
        let (ours, theirs) = tokio::try_join!(stat_all(&mut self.source, &paths), stat_all(&mut self.target, &paths))?;
        let is_file = |entry: &Entry| entry.kind == Kind::File;
        let mut leaders: HashMap<Inode, Entry> = HashMap::new();
        let mut links = Vec::new();
        for (ours, theirs) in ours.into_iter().zip(theirs) {
            let (Some(ours), Some(theirs)) = (ours.filter(is_file), theirs.filter(is_file)) else { continue };
            if ours.size != theirs.size {
                continue;
            }
            match leaders.get(&ours.inode) {
                None => _ = leaders.insert(ours.inode, theirs),
                Some(leader) if leader.inode == theirs.inode || leader.size != theirs.size => {}
                Some(leader) => links.push(NewLink {
                    leader: leader.path.clone(),
                    path: theirs.path,
                    replaces: true,
                    stage: Stage::Last,
                }),
            }
        }
        self.link(links).await
    }

    /// Where leaves were not read, names that are in them are looked for on the source.
    async fn find_other_names(&mut self, strangers: &mut BTreeMap<Inode, Names>) -> Result<(), Error> {
        let lacks_some = |names: &Names| (names.paths.len() as u64) < names.links;
        let lacking: Vec<Inode> =
            strangers.iter().filter(|(_, names)| lacks_some(names)).map(|(inode, _)| *inode).collect();
        if lacking.is_empty() || self.shared.known.is_empty() {
            return Ok(());
        }
        let everywhere = match self.options.scope.as_slice() {
            [] => vec![RelativePath::root()],
            scope => scope.iter().map(|folder| RelativePath::new(folder.as_slice())).collect::<Result<_, _>>()?,
        };
        for folder in everywhere {
            for entry in find_links(&mut self.source, &folder, &lacking).await? {
                if entry.kind == Kind::File && self.options.selects(entry.path.name()) {
                    strangers.entry(entry.inode).or_default().paths.insert(entry.path);
                }
            }
        }
        Ok(())
    }

    /// Adds the links; the folders get their times back.
    async fn link(&mut self, links: Vec<NewLink>) -> Result<(), Error> {
        if links.is_empty() {
            return Ok(());
        }
        self.changed.clear();
        self.add_links(&links).await?;
        let folders: Vec<RelativePath> = self.changed.drain().collect();
        let now = stat_all(&mut self.source, &folders).await?;
        self.give_times(now.into_iter().flatten()).await
    }
}
