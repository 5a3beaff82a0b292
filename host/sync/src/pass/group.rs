//! Lists parts of a tree, so many at a time as memory allows, on both sides at once.
//! Invariant: both sides list the same roots; what is told is checked by `listing` as ever.
//! `split` says what the parts are.

use super::split::Root;
use crate::hand::{Incoming, Outgoing, Session};
use crate::listing::{Collector, Keys, Listing};
use crate::look::{LISTINGS, ask_for_listing, ask_for_names, hear_listing_or_gone, names_reply};
use crate::{Error, RelativePath};
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc::{self, error::TryRecvError};

/// Some roots, listed.
pub(crate) struct Group {
    pub roots: Vec<Root>,
    pub source: Listing,
    pub target: Listing,
}

/// What is known of leaves on both sides; the hands were told. None: listings are whole.
#[derive(Clone, Default)]
pub(crate) struct Pruning {
    pub source: Arc<Keys>,
    pub target: Arc<Keys>,
}

/// Roots that nobody has listed yet.
pub(crate) type Roots = Mutex<VecDeque<Root>>;

fn next(roots: &Roots) -> Option<Root> {
    roots.lock().ok()?.pop_front()
}

/// The next group, which ends with the root that brings the source's entries to `enough`; `None` when no root is left.
pub(crate) async fn next_group(
    source: &mut Session,
    target: &mut Session,
    roots: &Roots,
    pruning: Option<&Pruning>,
    enough: usize,
) -> Result<Option<Group>, Error> {
    let mut collectors = [Collector::new(source.side(), usize::MAX), Collector::new(target.side(), usize::MAX)];
    if let Some(pruning) = pruning {
        collectors[0].know(pruning.source.clone());
        collectors[1].know(pruning.target.clone());
    }
    let [on_source, on_target] = &mut collectors;
    let (tell, told) = mpsc::unbounded_channel();
    let pruned = pruning.is_some();
    let leading = lead(source.halves(), on_source, (roots, enough), tell, pruned);
    let (taken, ()) = tokio::try_join!(leading, follow(target.halves(), on_target, told, pruned))?;
    if taken.is_empty() {
        return Ok(None);
    }
    let [on_source, on_target] = collectors;
    Ok(Some(Group { roots: taken, source: on_source.finish()?, target: on_target.finish()? }))
}

/// Lists roots of the source until there is enough, and tells which.
async fn lead(
    (ask, replies): (&mut Outgoing, &mut Incoming),
    collector: &mut Collector,
    (roots, enough): (&Roots, usize),
    tell: mpsc::UnboundedSender<Told>,
    pruned: bool,
) -> Result<Vec<Root>, Error> {
    let mut taken = Vec::new();
    let mut asked: VecDeque<RelativePath> = VecDeque::new();
    let mut heard = 0;
    loop {
        // How many more are asked for follows from how large they were so far: what is asked for is told.
        let each = collector.volume() / heard.max(1) + 1;
        let left = enough.saturating_sub(collector.volume());
        let room = if heard == 0 { 1 } else { (left / each).min(LISTINGS) };
        while asked.len() < room {
            let Some(root) = next(roots) else { break };
            let is_listed = root.is_listed(root.source.as_ref());
            root.source.iter().for_each(|entry| collector.add(entry.clone()));
            if is_listed {
                ask_for_listing(ask, collector, &root.path, u32::MAX, pruned).await;
                asked.push_back(root.path.clone());
            } else {
                heard += 1;
            }
            // The target's side only ends after this one.
            let _ = tell.send(Told::Root(Box::new(root.clone())));
            taken.push(root);
        }
        let Some(first) = asked.pop_front() else { return Ok(taken) };
        hear_listing_or_gone(replies, collector, &first).await?;
        let leaves = collector.leaves_below(&first);
        if !leaves.is_empty() {
            let _ = tell.send(Told::Changed(first, leaves));
        }
        heard += 1;
    }
}

/// What the source's side tells the target's.
enum Told {
    /// It is being listed.
    Root(Box<Root>),
    /// Known leaves in a root whose names the source has told: whatever the target knows of them, its names are needed, too.
    Changed(RelativePath, Vec<RelativePath>),
}

/// What the target is asked for.
enum Asked {
    Listing(RelativePath),
    Names(Vec<RelativePath>),
}

/// Folders whose names are asked for at once.
const NAMES: usize = 32;

/// Lists the same roots on the target, and reads the names in leaves that changed on the source while that one goes on.
async fn follow(
    (ask, replies): (&mut Outgoing, &mut Incoming),
    collector: &mut Collector,
    mut told: mpsc::UnboundedReceiver<Told>,
    pruned: bool,
) -> Result<(), Error> {
    let (mut waiting, mut asked): (VecDeque<Asked>, VecDeque<Asked>) = (VecDeque::new(), VecDeque::new());
    let mut unheard: HashSet<RelativePath> = HashSet::new();
    let mut changed: Vec<(RelativePath, Vec<RelativePath>)> = Vec::new();
    let mut open = true;
    while open || !waiting.is_empty() || !asked.is_empty() || !changed.is_empty() {
        while open {
            // Without waiting, as long as there is something else to do.
            let is_idle = waiting.is_empty() && asked.is_empty();
            let next = if is_idle { told.recv().await.ok_or(TryRecvError::Disconnected) } else { told.try_recv() };
            match next {
                Ok(Told::Root(root)) => {
                    root.target.iter().for_each(|entry| collector.add(entry.clone()));
                    if root.is_listed(root.target.as_ref()) {
                        unheard.insert(root.path.clone());
                        waiting.push_back(Asked::Listing(root.path));
                    }
                }
                Ok(Told::Changed(root, leaves)) => changed.push((root, leaves)),
                Err(TryRecvError::Disconnected) => open = false,
                Err(TryRecvError::Empty) => break,
            }
        }
        // Leaves that are not what they were have told their names by themselves.
        for (_, leaves) in changed.extract_if(.., |(root, _)| !unheard.contains(root)) {
            let same: Vec<RelativePath> = leaves.into_iter().filter(|leaf| collector.is_same(leaf)).collect();
            waiting.extend(same.chunks(NAMES).map(|some| Asked::Names(some.to_vec())));
        }
        while asked.len() < LISTINGS
            && let Some(next) = waiting.pop_front()
        {
            match &next {
                Asked::Listing(root) => ask_for_listing(ask, collector, root, u32::MAX, pruned).await,
                Asked::Names(leaves) => ask_for_names(ask, leaves).await,
            }
            asked.push_back(next);
        }
        match asked.pop_front() {
            Some(Asked::Listing(root)) => {
                hear_listing_or_gone(replies, collector, &root).await?;
                unheard.remove(&root);
            }
            Some(Asked::Names(leaves)) => {
                for leaf in leaves {
                    let names = names_reply(replies, collector.side(), &leaf).await?;
                    collector.set_names(leaf, names);
                }
            }
            None => {}
        }
    }
    Ok(())
}
