//! Messages of a mailbox folder that the target lacked: they are written into a folder of their own in the mailbox's `tmp`,
//! under their final names, and that folder takes the place of the empty one in a single step, instead of a rename each.
//! Invariant: only an empty folder is replaced (rename(2)); where something came into it meanwhile each message is renamed.
//! In `tmp` no mail server looks for mailboxes or mail; what a killed pass leaves there is removed by the next one (`listing`).

use super::{Item, Pass};
use crate::hand::Request;
use crate::plan::Former;
use crate::{Entry, Error, Kind, RelativePath};
use std::collections::HashMap;
use std::ops::Range;

/// Below so many messages a rename each is as good, and so few are made durable one by one.
const FEW: usize = 20;

/// A folder that is filled apart.
pub(super) struct Staging {
    pub(super) folder: RelativePath,
    /// Whose place it takes.
    pub(super) leaf: RelativePath,
    /// Which of a batch are written into it.
    pub(super) items: Range<usize>,
}

impl Pass<'_> {
    /// Folders that this part creates and that may be filled apart, with what they are on the source.
    pub(super) fn fresh_leaves(&self, part: &super::Part) -> HashMap<RelativePath, Entry> {
        if self.options.add_only {
            return HashMap::new();
        }
        let created = part.plan.folders.iter().map(|&index| &part.source.entries[index]);
        let is_fresh = |entry: &&Entry| {
            let holds_messages = self.layout.mailbox_of_message(entry.path.join(b"x").as_bytes()).is_some();
            let tmp = part.source.find(entry.path.parent().join(b"tmp").as_bytes());
            let has_tmp = tmp.is_some_and(|at| part.source.entries[at].kind == Kind::Folder);
            holds_messages && has_tmp && part.target.find(entry.path.as_bytes()).is_none()
        };
        created.filter(is_fresh).map(|entry| (entry.path.clone(), entry.clone())).collect()
    }

    /// Where each of a batch is written until it is whole, and the folders made for that.
    pub(super) async fn places(&mut self, batch: &[Item]) -> Result<(Vec<Vec<u8>>, Vec<Staging>), Error> {
        let mut places = Vec::with_capacity(batch.len());
        let mut stagings = Vec::new();
        let mut requests = Vec::new();
        for items in batch.chunk_by(|one, other| one.entry.path.parent() == other.entry.path.parent()) {
            let leaf = items[0].entry.path.parent();
            let is_plain = |item: &Item| item.entry.kind == Kind::File && item.former == Former::None;
            let fresh = self.fresh.remove(&leaf).filter(|_| items.len() >= FEW && items.iter().all(is_plain));
            let Some(entry) = fresh else {
                places.extend(items.iter().map(|item| self.temporaries.beside(&item.entry.path)));
                continue;
            };
            let folder = RelativePath::new(self.temporaries.beside(&leaf.parent().join(b"tmp").join(b"x")))?;
            let (path, owner) = (folder.as_bytes().to_vec(), Some(self.options.owner_of(&entry)));
            requests.push(Request::Folder { path, mode: entry.mode | 0o700, owner });
            let from = places.len();
            places.extend(items.iter().map(|item| folder.join(item.entry.path.name()).into_bytes()));
            stagings.push(Staging { folder, leaf, items: from..places.len() });
        }
        let outcomes = self.target.each(requests).await?;
        for (staging, outcome) in stagings.iter().zip(outcomes) {
            outcome.map_err(|fault| self.failure("create the folder", staging.folder.as_bytes(), &fault))?;
        }
        Ok((places, stagings))
    }

    /// Lets folders take their places. Returns the items that still need their names, as nobody could replace their folder.
    pub(super) async fn replace(&mut self, stagings: &[Staging]) -> Result<Vec<Range<usize>>, Error> {
        let request = |staging: &Staging| Request::Move {
            from: staging.folder.as_bytes().to_vec(),
            to: staging.leaf.as_bytes().to_vec(),
            replace: true,
        };
        let outcomes = self.target.each(stagings.iter().map(request).collect()).await?;
        let refused = stagings.iter().zip(outcomes).filter(|(_, outcome)| outcome.is_err());
        Ok(refused.map(|(staging, _)| staging.items.clone()).collect())
    }
}
