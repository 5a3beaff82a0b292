//! A large tree is dealt with in parts, so that memory follows the parts and several can be under way at a time.
//! Invariant: no mailbox is in two parts, and each entry of the scope is in exactly one part or in what is above them all.
//! `scope` knows what is asked for, `group` lists parts; a tree that is small or flat is one part.

use super::scope::{normalise, present};
use crate::hand::Session;
use crate::listing::{Collector, Listing};
use crate::look::collect_all;
use crate::{Entry, Error, Kind, RelativePath};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A folder with all it holds, as a rule an account: the smallest that is dealt with by itself.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    pub path: RelativePath,
    /// What it is on the source; none: it is not there (or it is the root of the tree, which is there).
    pub source: Option<Entry>,
    /// Likewise on the target.
    pub target: Option<Entry>,
}

impl Root {
    fn whole_tree() -> Self {
        Self { path: RelativePath::root(), source: None, target: None }
    }

    /// Whether a side has something to list in it.
    pub(crate) fn is_listed(&self, entry: Option<&Entry>) -> bool {
        self.path.is_root() || entry.is_some_and(|entry| entry.kind == Kind::Folder)
    }
}

/// A tree in parts.
pub(crate) struct Split {
    /// What is above the roots, and beside them.
    pub source: Listing,
    pub target: Listing,
    pub roots: VecDeque<Root>,
}

/// Looks at the upper levels of both sides, and decides. Where folders lie as `DOMAIN/USER` the users are the roots; where
/// mailboxes lie higher, these are. `skipped`: folders of the scope that the source lacks.
pub(crate) async fn split(
    source: &mut Session,
    target: &mut Session,
    scope: &[Vec<u8>],
    skipped: &mut Vec<(RelativePath, String)>,
) -> Result<Split, Error> {
    let mut upper = Upper::new(source.side(), target.side());
    let tops = match normalise(scope)? {
        None => {
            upper.list([source, target], &[RelativePath::root()]).await?;
            if upper.is_mailbox(&RelativePath::root()) {
                let roots = VecDeque::from([Root::whole_tree()]);
                return Ok(Split { source: Listing::default(), target: Listing::default(), roots });
            }
            upper.children(&RelativePath::root())
        }
        Some(scope) => {
            let (folders, entries) = present(source, scope, skipped).await?;
            let (_, of_target) = present(target, folders.clone(), &mut Vec::new()).await?;
            upper.add([entries, of_target]);
            folders
        }
    };
    let (high, deep): (Vec<_>, Vec<_>) =
        tops.into_iter().partition(|top| is_high(top) && upper.is_folder_on_source(top));
    upper.list([source, target], &high).await?;
    let mut roots: BTreeSet<RelativePath> = deep.into_iter().filter(|path| upper.is_folder(path)).collect();
    for top in high {
        if upper.is_mailbox(&top) {
            upper.forget_below(&top);
            roots.insert(top);
        } else {
            roots.extend(upper.children(&top).into_iter().filter(|path| upper.is_folder(path)));
        }
    }
    upper.split_off(roots)
}

/// A domain, as a rule: what it holds are accounts.
fn is_high(path: &RelativePath) -> bool {
    !path.as_bytes().contains(&b'/')
}

/// The upper levels of both sides, by path: source, target.
struct Upper {
    entries: BTreeMap<RelativePath, [Option<Entry>; 2]>,
    listings: [Listing; 2],
    sides: [String; 2],
}

impl Upper {
    fn new(source: &str, target: &str) -> Self {
        let sides = [source, target].map(str::to_owned);
        Self { entries: BTreeMap::new(), listings: [Listing::default(), Listing::default()], sides }
    }

    fn add(&mut self, entries: [Vec<Entry>; 2]) {
        for (side, entries) in entries.into_iter().enumerate() {
            for entry in entries {
                let path = entry.path.clone();
                self.entries.entry(path).or_default()[side] = Some(entry);
            }
        }
    }

    /// One level of these folders, on the sides that have them.
    async fn list(&mut self, sides: [&mut Session; 2], folders: &[RelativePath]) -> Result<(), Error> {
        let [source, target] = sides;
        let on = |side: usize| -> Vec<RelativePath> {
            folders
                .iter()
                .filter(|path| path.is_root() || self.kind(path, side) == Some(Kind::Folder))
                .cloned()
                .collect()
        };
        let (of_source, of_target) = (on(0), on(1));
        let mut collectors = [Collector::new(&self.sides[0], usize::MAX), Collector::new(&self.sides[1], usize::MAX)];
        let [on_source, on_target] = &mut collectors;
        tokio::try_join!(collect_all(source, on_source, &of_source, 1), collect_all(target, on_target, &of_target, 1))?;
        let [on_source, on_target] = collectors;
        for (side, collector) in [on_source, on_target].into_iter().enumerate() {
            let mut listing = collector.finish()?;
            let entries = std::mem::take(&mut listing.entries);
            let both = if side == 0 { [entries, Vec::new()] } else { [Vec::new(), entries] };
            self.add(both);
            self.listings[side].leftovers.append(&mut listing.leftovers);
            self.listings[side].gone.append(&mut listing.gone);
        }
        Ok(())
    }

    fn kind(&self, path: &RelativePath, side: usize) -> Option<Kind> {
        self.entries.get(path)?[side].as_ref().map(|entry| entry.kind)
    }

    fn is_folder(&self, path: &RelativePath) -> bool {
        [0, 1].iter().any(|&side| self.kind(path, side) == Some(Kind::Folder))
    }

    fn is_folder_on_source(&self, path: &RelativePath) -> bool {
        self.kind(path, 0) == Some(Kind::Folder)
    }

    /// Whether either side keeps messages right in it.
    fn is_mailbox(&self, path: &RelativePath) -> bool {
        [0, 1]
            .iter()
            .any(|&side| [b"cur", b"new"].iter().all(|leaf| self.kind(&path.join(*leaf), side) == Some(Kind::Folder)))
    }

    fn children(&self, path: &RelativePath) -> Vec<RelativePath> {
        self.entries.keys().filter(|child| !child.is_root() && child.parent() == *path).cloned().collect()
    }

    fn forget_below(&mut self, path: &RelativePath) {
        let below = |other: &RelativePath| other != path && other.is_within(path.as_bytes());
        self.entries.retain(|other, _| !below(other));
        for listing in &mut self.listings {
            listing.leftovers.retain(|other| !below(other));
            listing.gone.retain(|other| other != path);
        }
    }

    fn split_off(mut self, roots: BTreeSet<RelativePath>) -> Result<Split, Error> {
        let roots = roots
            .into_iter()
            .map(|path| {
                let [source, target] = self.entries.remove(&path).unwrap_or_default();
                Root { path, source, target }
            })
            .collect();
        let [mut source, mut target] = self.listings;
        for [on_source, on_target] in self.entries.into_values() {
            source.entries.extend(on_source);
            target.entries.extend(on_target);
        }
        source.sort();
        target.sort();
        Ok(Split { source, target, roots })
    }
}
