//! What of the trees is listed: the scope of a pass, single mailboxes for a second look, the surroundings of an extra.
//! Invariant: both sides are listed alike, so that a plan never takes "not listed" for "not there".
//! A folder of the scope that the source lacks is listed on neither.

use crate::hand::{Request, Session, explain};
use crate::listing::{Collector, Keys, Listing};
use crate::look::{collect, names_of, stat};
use crate::path::{is_within, join, parent_of};
use crate::plan::Extra;
use crate::plan::layout::{Layout, base_name};
use crate::{Entry, Error, FolderKey, Kind, RelativePath};
use std::collections::{BTreeSet, HashSet};

/// Lists the scope on both sides at the same time.
pub(crate) async fn list_both(
    source: &mut Session,
    target: &mut Session,
    scope: &[Vec<u8>],
    skipped: &mut Vec<(RelativePath, String)>,
) -> Result<(Listing, Listing), Error> {
    let scope = normalise(scope)?;
    let Some(scope) = scope else {
        return tokio::try_join!(list(source, None), list(target, None));
    };
    let (folders, parents) = present(source, scope, skipped).await?;
    let (_, target_parents) = present(target, folders.clone(), &mut Vec::new()).await?;
    tokio::try_join!(list(source, Some((&folders, parents))), list(target, Some((&folders, target_parents))))
}

/// Leaves a frame.
const PORTION: usize = 500;

/// What a hand prunes listings by from now on.
pub(super) async fn tell_known(session: &mut Session, known: &Keys) -> Result<(), Error> {
    let mut leaves: Vec<(Vec<u8>, Option<FolderKey>)> = known.iter().map(|(leaf, key)| (leaf.clone(), *key)).collect();
    leaves.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    let portions = leaves.chunks(PORTION).enumerate();
    let requests = portions.map(|(at, leaves)| Request::Known { first: at == 0, leaves: leaves.to_vec() });
    for outcome in session.each(requests.collect()).await? {
        outcome.map_err(|fault| explain(session.side(), "tell what is known of", b"", &fault))?;
    }
    Ok(())
}

/// The folders of the scope without those that lie in others; `None`: everything.
pub(super) fn normalise(scope: &[Vec<u8>]) -> Result<Option<Vec<RelativePath>>, Error> {
    if scope.is_empty() {
        return Ok(None);
    }
    let mut folders = scope.iter().map(|folder| RelativePath::new(folder.as_slice())).collect::<Result<Vec<_>, _>>()?;
    if folders.iter().any(RelativePath::is_root) {
        return Ok(None);
    }
    folders.sort_by_key(|folder| folder.as_bytes().len());
    let mut kept: Vec<RelativePath> = Vec::new();
    for folder in folders {
        if !kept.iter().any(|outer| is_within(folder.as_bytes(), outer.as_bytes())) {
            kept.push(folder);
        }
    }
    Ok(Some(kept))
}

/// Which folders of the scope exist, and the entries of those and of what is above them (also where that is no folder).
pub(super) async fn present(
    session: &mut Session,
    scope: Vec<RelativePath>,
    skipped: &mut Vec<(RelativePath, String)>,
) -> Result<(Vec<RelativePath>, Vec<Entry>), Error> {
    let mut known: HashSet<Vec<u8>> = HashSet::new();
    let mut entries = Vec::new();
    let mut folders = Vec::new();
    for folder in scope {
        let mut missing = None;
        for path in ancestors(&folder) {
            if known.contains(path.as_bytes()) {
                continue;
            }
            match stat(session, &path).await? {
                Some(entry) if entry.kind == Kind::Folder => {
                    known.insert(path.into_bytes());
                    entries.push(entry);
                }
                Some(entry) => {
                    entries.push(entry);
                    missing = Some("it is no folder on the source (links are not followed)");
                }
                None => missing = Some("it does not exist on the source"),
            }
            if missing.is_some() {
                break;
            }
        }
        match missing {
            Some(why) => skipped.push((folder, format!("{why}; what the target has there is left alone"))),
            None => folders.push(folder),
        }
    }
    Ok((folders, entries))
}

/// The path and the folders above it, from the top.
fn ancestors(path: &RelativePath) -> Vec<RelativePath> {
    let mut all = vec![path.clone()];
    let mut parent = path.parent();
    while !parent.is_root() {
        all.push(parent.clone());
        parent = parent.parent();
    }
    all.reverse();
    all
}

/// Everything below the folders, and those entries besides. A folder that is missing holds nothing.
async fn list(session: &mut Session, scope: Option<(&[RelativePath], Vec<Entry>)>) -> Result<Listing, Error> {
    let mut collector = Collector::new(session.side(), usize::MAX);
    match scope {
        None => collect(session, &mut collector, &RelativePath::root(), u32::MAX).await?,
        Some((folders, entries)) => {
            let folder_paths =
                entries.iter().filter(|entry| entry.kind == Kind::Folder).map(|entry| entry.path.clone());
            let known: HashSet<RelativePath> = folder_paths.collect();
            entries.into_iter().for_each(|entry| collector.add(entry));
            for folder in folders.iter().filter(|folder| known.contains(*folder)) {
                collect(session, &mut collector, folder, u32::MAX).await?;
            }
        }
    }
    collector.finish()
}

/// What these folders hold, and for mailboxes also what their `cur` and `new` hold; no deeper. Folders are left out but for
/// those: a second look is for files.
pub(super) async fn list_units(
    session: &mut Session,
    units: &BTreeSet<RelativePath>,
    layout: &Layout,
) -> Result<Listing, Error> {
    let mut collector = Collector::new(session.side(), usize::MAX);
    for unit in units {
        collect_if_there(session, &mut collector, unit).await?;
        if layout.is_mailbox(unit.as_bytes()) {
            // `new` first, as always.
            for leaf in [&b"new"[..], b"cur"] {
                collect_if_there(session, &mut collector, &unit.join(leaf)).await?;
            }
        }
    }
    let mut listing = collector.finish()?;
    listing.entries.retain(|entry| entry.kind != Kind::Folder);
    Ok(listing)
}

async fn collect_if_there(
    session: &mut Session,
    collector: &mut Collector,
    folder: &RelativePath,
) -> Result<(), Error> {
    match collect(session, collector, folder, 1).await {
        Err(Error::NotFound { .. } | Error::NotAllowed { .. }) => Ok(()),
        other => other,
    }
}

/// Names that the source has at this moment.
pub(super) struct Names {
    paths: HashSet<Vec<u8>>,
    /// Mailbox and base name.
    messages: HashSet<(Vec<u8>, Vec<u8>)>,
}

impl Names {
    /// Whether the source has it, or, for a message, has it under another name in the same mailbox.
    pub(super) fn has(&self, path: &RelativePath, file: bool, layout: &Layout) -> bool {
        if self.paths.contains(path.as_bytes()) {
            return true;
        }
        match layout.mailbox_of_message(path.as_bytes()) {
            Some(mailbox) if file => self.messages.contains(&(mailbox.to_vec(), base_name(path.name()).to_vec())),
            _ => false,
        }
    }
}

/// The folders in which an extra would be.
pub(super) fn folders_around(extra: &Extra, layout: &Layout) -> Vec<Vec<u8>> {
    match layout.mailbox_of_message(extra.path.as_bytes()) {
        Some(mailbox) => vec![join(mailbox, b"new"), join(mailbox, b"cur")],
        None => vec![parent_of(extra.path.as_bytes()).to_vec()],
    }
}

/// Lists the folders of the source in which these extras would be.
pub(super) async fn names_around(source: &mut Session, extras: &[Extra], layout: &Layout) -> Result<Names, Error> {
    let folders: BTreeSet<Vec<u8>> = extras.iter().flat_map(|extra| folders_around(extra, layout)).collect();
    let mut names = Names { paths: HashSet::new(), messages: HashSet::new() };
    // Byte order would list `cur` first.
    let folders: Vec<RelativePath> =
        folders.into_iter().rev().map(|folder| RelativePath::new(folder.as_slice())).collect::<Result<_, _>>()?;
    let told = names_of(source, &folders).await?;
    for (folder, told) in folders.iter().zip(&told) {
        for name in told.iter().flat_map(|told| told.each()) {
            let path = join(folder.as_bytes(), name);
            if let Some(mailbox) = layout.mailbox_of_message(&path) {
                names.messages.insert((mailbox.to_vec(), base_name(name).to_vec()));
            }
            names.paths.insert(path);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_within_another_one_is_listed_once() {
        let scope = [b"a/b".to_vec(), b"a".to_vec(), b"ab".to_vec()];
        let kept: Vec<_> = normalise(&scope).unwrap().unwrap().into_iter().map(RelativePath::into_bytes).collect();
        assert_eq!(kept, [b"a".to_vec(), b"ab".to_vec()]);
        assert!(normalise(&[]).unwrap().is_none());
        assert!(normalise(&[b"../x".to_vec()]).is_err());
    }
}
