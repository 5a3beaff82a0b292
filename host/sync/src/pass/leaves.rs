//! Leaves that a former pass has dealt with: those that are what they were are not read, the others by their names alone.
//! Invariant: what is left out of both listings is the same on both sides, so that a plan never takes it for missing; and
//! a leaf is only remembered with what it was before its names were read. What a maildir never does (writing into a
//! message, changing its mode or time) is not seen here: `compare` reads everything.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use super::scope::folders_around;
use super::{Part, Pass};
use crate::hand::Session;
use crate::listing::{Collector, Listing, Names};
use crate::look::{collect, find_links, names_of, stat_all};
use crate::plan::{Extra, Plan};
use crate::temporary::is_temporary;
use crate::{Entry, Error, FolderKey, Kind, Leaf, RelativePath, SyncOptions};

/// So many leaves wait for a sync that comes anyway.
const MOST_LEARNT: usize = 10_000;

impl Pass<'_> {
    /// Puts into the listings what differs in known leaves.
    pub(super) async fn look_into_leaves(&mut self, source: &mut Listing, target: &mut Listing) -> Result<(), Error> {
        let mut told: BTreeSet<RelativePath> = source.leaves.keys().chain(target.leaves.keys()).cloned().collect();
        let same = |listing: &Listing, leaf: &RelativePath| listing.leaves.get(leaf) == Some(&Names::Same);
        let (mut of_source, mut of_target, mut alone) = (Vec::new(), Vec::new(), Vec::new());
        told.retain(|leaf| {
            match (source.leaves.contains_key(leaf), target.leaves.contains_key(leaf)) {
                (true, true) if same(source, leaf) && same(target, leaf) => {
                    let files = self.shared.known.get(leaf.as_bytes()).map_or(0, |leaf| leaf.files);
                    source.unlisted += files;
                    target.unlisted += files;
                    return false;
                }
                (true, true) if same(source, leaf) => of_source.push(leaf.clone()),
                (true, true) if same(target, leaf) => of_target.push(leaf.clone()),
                (true, true) => {}
                _ => {
                    alone.push(leaf.clone());
                    return false;
                }
            }
            true
        });
        tokio::try_join!(
            read_names(&mut self.source, &of_source, source),
            read_names(&mut self.target, &of_target, target)
        )?;
        self.list_whole(&alone, source, target).await?;
        self.list_differing(told, source, target).await
    }

    /// Leaves of which all entries are needed.
    async fn list_whole(
        &mut self,
        leaves: &[RelativePath],
        source: &mut Listing,
        target: &mut Listing,
    ) -> Result<(), Error> {
        if leaves.is_empty() {
            return Ok(());
        }
        let there = |listing: &Listing| -> Vec<RelativePath> {
            leaves.iter().filter(|leaf| listing.leaves.contains_key(leaf)).cloned().collect()
        };
        let (on_source, on_target) = (there(source), there(target));
        for leaf in leaves {
            source.leaves.remove(leaf);
            target.leaves.remove(leaf);
        }
        tokio::try_join!(whole(&mut self.source, &on_source, source), whole(&mut self.target, &on_target, target))?;
        Ok(())
    }

    async fn list_differing(
        &mut self,
        leaves: BTreeSet<RelativePath>,
        source: &mut Listing,
        target: &mut Listing,
    ) -> Result<(), Error> {
        let (mut on_source, mut on_target) = (Vec::new(), Vec::new());
        for leaf in &leaves {
            let (Some(ours), Some(theirs)) = (source.leaves.get(leaf), target.leaves.get(leaf)) else { continue };
            let both = Differing::of(ours, theirs, self.options);
            target.leftovers.extend(both.leftovers.iter().map(|name| leaf.join(name)));
            source.unlisted += both.common;
            target.unlisted += both.common;
            on_source.extend(both.only_source.iter().map(|name| leaf.join(name)));
            on_target.extend(both.only_target.iter().map(|name| leaf.join(name)));
        }
        let (ours, theirs) =
            tokio::try_join!(stat_all(&mut self.source, &on_source), stat_all(&mut self.target, &on_target))?;
        let mut ours: Vec<Entry> = ours.into_iter().flatten().collect();
        let mut theirs: Vec<Entry> = theirs.into_iter().flatten().collect();
        let impure: BTreeSet<RelativePath> = ours
            .iter()
            .chain(&theirs)
            .filter(|entry| entry.kind != Kind::File)
            .map(|entry| entry.path.parent())
            .collect();
        ours.retain(|entry| !impure.contains(&entry.path.parent()));
        theirs.retain(|entry| !impure.contains(&entry.path.parent()));
        self.partners((source, target), &mut ours, &mut theirs).await?;
        source.entries.append(&mut ours);
        target.entries.append(&mut theirs);
        source.sort();
        target.sort();
        self.impure.extend(impure.iter().map(|leaf| leaf.as_bytes().to_vec()));
        let impure: Vec<RelativePath> = impure.into_iter().collect();
        self.list_whole(&impure, source, target).await
    }

    /// A new name of a file that has others: one of these, where both sides have it, joins the listings, so that the plan
    /// makes a link of the new one.
    async fn partners(
        &mut self,
        (source, target): (&Listing, &Listing),
        ours: &mut Vec<Entry>,
        theirs: &mut Vec<Entry>,
    ) -> Result<(), Error> {
        if self.shared.known.is_empty() {
            return Ok(());
        }
        let mut names: HashMap<(u64, u64), u64> = HashMap::new();
        for entry in
            source.entries.iter().chain(ours.iter()).filter(|entry| entry.kind == Kind::File && entry.links > 1)
        {
            *names.entry(entry.inode).or_default() += 1;
        }
        let mut wanted: BTreeMap<RelativePath, Vec<(u64, u64)>> = BTreeMap::new();
        // Those of leaves that were listed whole are among the source's entries.
        let lacking =
            source.entries.iter().filter(|entry| entry.links > 1 && target.find(entry.path.as_bytes()).is_none());
        let several = lacking.chain(ours.iter());
        for entry in several.filter(|entry| names.get(&entry.inode).is_some_and(|&known| known < entry.links)) {
            let of_account = wanted.entry(account(&entry.path)).or_default();
            if !of_account.contains(&entry.inode) {
                of_account.push(entry.inode);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let mut known: HashSet<RelativePath> =
            source.entries.iter().chain(ours.iter()).map(|e| e.path.clone()).collect();
        for (account, inodes) in wanted {
            self.links_below(&account, &inodes, &mut known, ours, theirs).await?;
        }
        Ok(())
    }

    /// Adds the names of these files that the target has as well.
    async fn links_below(
        &mut self,
        below: &RelativePath,
        inodes: &[(u64, u64)],
        known: &mut HashSet<RelativePath>,
        ours: &mut Vec<Entry>,
        theirs: &mut Vec<Entry>,
    ) -> Result<(), Error> {
        let mut entries = find_links(&mut self.source, below, inodes).await?;
        entries.retain(|entry| entry.kind == Kind::File && !known.contains(&entry.path));
        let paths: Vec<RelativePath> = entries.iter().map(|entry| entry.path.clone()).collect();
        for (entry, there) in entries.into_iter().zip(stat_all(&mut self.target, &paths).await?) {
            let Some(there) = there.filter(|there| there.kind == Kind::File) else { continue };
            known.insert(entry.path.clone());
            ours.push(entry);
            theirs.push(there);
        }
        Ok(())
    }

    /// Extras around which the source is what it was when it was listed: what was not there then is not there now. And others.
    pub(super) async fn part_quiet(
        &mut self,
        extras: Vec<Extra>,
        source: &Listing,
    ) -> Result<(Vec<Extra>, Vec<Extra>), Error> {
        let Some(began) = self.began else { return Ok((Vec::new(), extras)) };
        let around = |extra: &Extra| folders_around(extra, &self.layout).into_iter().map(RelativePath::new);
        let folders: BTreeSet<RelativePath> = extras.iter().flat_map(around).collect::<Result<_, _>>()?;
        // Of the root itself nobody tells what it is.
        let folders: Vec<RelativePath> = folders.into_iter().filter(|folder| !folder.is_root()).collect();
        let mut quiet = HashSet::new();
        for (folder, now) in folders.iter().zip(stat_all(&mut self.source, &folders).await?) {
            let listed = source.find(folder.as_bytes()).and_then(|at| FolderKey::of(&source.entries[at]));
            let now = now.as_ref().and_then(FolderKey::of);
            if listed.is_some_and(|listed| now == Some(listed) && !is_racy(&listed, began, tick(listed.changed))) {
                quiet.insert(folder.as_bytes().to_vec());
            }
        }
        let is_quiet = |extra: &Extra| folders_around(extra, &self.layout).iter().all(|folder| quiet.contains(folder));
        Ok(extras.into_iter().partition(is_quiet))
    }

    /// What later passes may build on, once everything is durable.
    pub(super) async fn remember(&mut self, part: &Part) -> Result<(), Error> {
        let Some(began) = self.began else { return Ok(()) };
        let Part { source, target, plan, .. } = part;
        let doubtful: HashSet<RelativePath> = self
            .report
            .skipped
            .iter()
            .map(|(path, _)| self.layout.unit(path.as_bytes()))
            .chain(self.doubtful.clone())
            .collect();
        let contents = Contents::of(source, target, &self.layout, &self.impure);
        let altered = self.altered(source, plan);
        let mut leaves = Vec::new();
        let mut unsure = Vec::new();
        for entry in source.entries.iter().filter(|entry| contents.files.contains_key(&entry.path)) {
            let unit = self.layout.unit(entry.path.join(b"x").as_bytes());
            let source_key =
                FolderKey::of(entry).filter(|key| !is_racy(key, began, self.options.racy) && !doubtful.contains(&unit));
            let known = self.shared.known.get(entry.path.as_bytes());
            let files = match source.leaves.get(&entry.path) {
                Some(Names::Same) if target.leaves.get(&entry.path) == Some(&Names::Same) => {
                    known.map_or(0, |leaf| leaf.files)
                }
                Some(names @ Names::All(_)) => names.count(),
                _ => contents.files.get(&entry.path).copied().unwrap_or_default(),
            };
            let at = target.find(entry.path.as_bytes()).filter(|_| !altered.contains(&entry.path));
            let target_key = at.and_then(|at| FolderKey::of(&target.entries[at]));
            if target_key.is_none() {
                unsure.push((leaves.len(), entry.path.clone()));
            }
            leaves.push(Leaf { folder: entry.path.as_bytes().to_vec(), source: source_key, target: target_key, files });
        }
        let paths: Vec<RelativePath> = unsure.iter().map(|(_, path)| path.clone()).collect();
        for ((position, _), now) in unsure.into_iter().zip(stat_all(&mut self.target, &paths).await?) {
            leaves[position].target = now.as_ref().and_then(FolderKey::of);
        }
        let present: HashSet<&[u8]> = leaves.iter().map(|leaf| leaf.folder.as_slice()).collect();
        let known = part.roots.iter().flat_map(|root| self.known_below(root));
        let gone: Vec<Vec<u8>> = known.filter(|folder| !present.contains(folder.as_slice())).cloned().collect();
        drop(present);
        leaves.retain(|leaf| self.shared.known.get(&leaf.folder) != Some(leaf));
        self.forget(&gone).await?;
        self.learnt.append(&mut leaves);
        if self.learnt.len() > MOST_LEARNT { self.settle().await } else { Ok(()) }
    }

    /// Keeps what is known of parts that are on the disk.
    pub(super) async fn store(&mut self) -> Result<(), Error> {
        let leaves = std::mem::take(&mut self.learnt);
        if leaves.is_empty() {
            return Ok(());
        }
        self.shared.state.store(&leaves).await.map_err(|why| Error::Unrecorded { why })
    }

    /// Leaves of parts that neither side has any more.
    pub(super) async fn forget_what_is_gone(&self, roots: &BTreeSet<RelativePath>) -> Result<(), Error> {
        let in_scope = |folder: &[u8]| {
            self.options.scope.is_empty()
                || self.options.scope.iter().any(|scope| crate::path::is_within(folder, scope))
        };
        let has_root = |folder: &[u8]| {
            let mut path = RelativePath::new(folder).unwrap_or_default();
            while !path.is_root() && !roots.contains(&path) {
                path = path.parent();
            }
            roots.contains(&path)
        };
        let known = self.shared.known.keys();
        let gone: Vec<Vec<u8>> = known.filter(|folder| in_scope(folder) && !has_root(folder)).cloned().collect();
        self.forget(&gone).await
    }

    async fn forget(&self, gone: &[Vec<u8>]) -> Result<(), Error> {
        if gone.is_empty() {
            return Ok(());
        }
        self.shared.state.forget(gone).await.map_err(|why| Error::Unrecorded { why })
    }

    fn known_below<'known>(&'known self, root: &'known RelativePath) -> impl Iterator<Item = &'known Vec<u8>> {
        let from = self.shared.known.range(root.as_bytes().to_vec()..).map(|(folder, _)| folder);
        // In byte order `a.b` comes between `a` and `a/b`.
        from.take_while(|folder| folder.starts_with(root.as_bytes())).filter(|folder| root_holds(root, folder))
    }

    /// Folders of the target that this pass changed itself.
    fn altered(&self, source: &Listing, plan: &Plan) -> HashSet<RelativePath> {
        let listed = plan.folders.iter().chain(&plan.folder_times).map(|&index| source.entries[index].path.clone());
        let corrected = plan.corrections.iter().map(|correction| correction.path.clone());
        self.changed.iter().cloned().chain(listed).chain(corrected).collect()
    }
}

/// Which folders are leaves, with the files that were listed in them.
struct Contents {
    files: HashMap<RelativePath, u64>,
}

impl Contents {
    fn of(source: &Listing, target: &Listing, layout: &crate::plan::layout::Layout, impure: &HashSet<Vec<u8>>) -> Self {
        let is_leaf = |path: &RelativePath| layout.mailbox_of_message(path.join(b"x").as_bytes()).is_some();
        let folders = source.entries.iter().filter(|entry| entry.kind == Kind::Folder && is_leaf(&entry.path));
        let mut files: HashMap<RelativePath, u64> = folders.map(|entry| (entry.path.clone(), 0)).collect();
        files.retain(|path, _| !impure.contains(path.as_bytes()) && !source.gone.contains(path));
        for entry in &source.entries {
            let parent = entry.path.parent();
            match entry.kind {
                Kind::File => _ = files.entry(parent).and_modify(|count| *count += 1),
                _ => _ = files.remove(&parent),
            }
        }
        for entry in target.entries.iter().filter(|entry| entry.kind != Kind::File) {
            files.remove(&entry.path.parent());
        }
        Self { files }
    }
}

/// Names that one side alone has, in byte order.
struct Differing<'a> {
    only_source: Vec<&'a [u8]>,
    only_target: Vec<&'a [u8]>,
    leftovers: Vec<&'a [u8]>,
    common: u64,
}

impl<'a> Differing<'a> {
    fn of(source: &'a Names, target: &'a Names, options: &SyncOptions) -> Self {
        let left_alone = |name: &[u8]| options.without.iter().any(|pattern| pattern.matches(name));
        let counts = |name: &&[u8]| !is_temporary(name) && !left_alone(name);
        let theirs: HashSet<&[u8]> = target.each().filter(counts).collect();
        let mut common: HashSet<&[u8]> = HashSet::with_capacity(theirs.len());
        let mut only_source = Vec::new();
        for name in source.each().filter(counts) {
            match theirs.get(name) {
                Some(name) => _ = common.insert(name),
                None => only_source.push(name),
            }
        }
        let mut only_target: Vec<&[u8]> = match theirs.len() == common.len() {
            true => Vec::new(),
            false => theirs.difference(&common).copied().collect(),
        };
        only_source.sort_unstable();
        only_source.dedup();
        only_target.sort_unstable();
        let leftovers = target.each().filter(|name| is_temporary(name)).collect();
        Self { only_source, only_target, leftovers, common: common.len() as u64 }
    }
}

/// Where the names of one message lie, as a rule: `DOMAIN/USER`.
fn account(path: &RelativePath) -> RelativePath {
    let bytes = path.as_bytes();
    let second = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').nth(1);
    RelativePath::new(second.map_or(&b""[..], |(at, _)| &bytes[..at])).unwrap_or_default()
}

fn root_holds(root: &RelativePath, folder: &[u8]) -> bool {
    crate::path::is_within(folder, root.as_bytes())
}

fn is_racy(key: &FolderKey, began: (i64, u32), window: Duration) -> bool {
    let nanoseconds =
        |(seconds, nanoseconds): (i64, u32)| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    let window = i128::try_from(window.as_nanos()).unwrap_or(i128::MAX);
    nanoseconds(key.changed).saturating_add(window) >= nanoseconds(began)
}

/// How far a time of change may be behind the clock: the kernel's ticks, or whole seconds where there are no nanoseconds.
fn tick(changed: (i64, u32)) -> Duration {
    Duration::from_millis(if changed.1 == 0 { 1050 } else { 50 })
}

async fn read_names(session: &mut Session, leaves: &[RelativePath], listing: &mut Listing) -> Result<(), Error> {
    if leaves.is_empty() {
        return Ok(());
    }
    for (leaf, names) in leaves.iter().zip(names_of(session, leaves).await?) {
        // It is gone by now: it holds nothing, and the pass looks again before it deletes anything for it.
        listing.leaves.insert(leaf.clone(), names.unwrap_or(Names::All(Vec::new())));
    }
    Ok(())
}

async fn whole(session: &mut Session, leaves: &[RelativePath], listing: &mut Listing) -> Result<(), Error> {
    let mut collector = Collector::new(session.side(), usize::MAX);
    for leaf in leaves {
        match collect(session, &mut collector, leaf, u32::MAX).await {
            Err(Error::NotFound { .. } | Error::NotAllowed { .. }) => listing.gone.push(leaf.clone()),
            other => other?,
        }
    }
    let mut more = collector.finish()?;
    listing.entries.append(&mut more.entries);
    listing.leftovers.append(&mut more.leftovers);
    listing.gone.append(&mut more.gone);
    listing.sort();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&[u8]]) -> Names {
        Names::All(names.iter().flat_map(|name| [*name, b"\0"].concat()).collect())
    }

    #[test]
    fn names_of_one_side_alone_are_found_and_those_left_alone_are_not() {
        let temporary = [b".rehome-tmp-".as_slice(), b"0123456789abcdef"].concat();
        let (ours, theirs) = (names(&[b"b", b"a:2,S", b"x.index"]), names(&[b"c", b"a:2,S", &temporary]));
        let options = SyncOptions { without: vec![crate::Pattern::new("*.index").unwrap()], ..SyncOptions::default() };
        let found = Differing::of(&ours, &theirs, &options);
        assert_eq!((found.only_source, found.only_target, found.common), (vec![&b"b"[..]], vec![&b"c"[..]], 1));
        assert_eq!(found.leftovers, [temporary.as_slice()]);
    }

    #[test]
    fn a_folder_that_changed_within_the_window_is_not_trusted() {
        let racy = |seconds| {
            is_racy(&FolderKey { device: 1, inode: 1, changed: (seconds, 5) }, (100, 0), SyncOptions::default().racy)
        };
        assert!(racy(99) && racy(98) && racy(200));
        assert!(!racy(97));
    }
}
