//! Lists parts of a tree, so many at a time as memory allows, on both sides at once.
//! Invariant: both sides list the same roots; what is told is checked by `listing` as ever.
//! `split` says what the parts are.

use super::split::Root;
use crate::hand::{Incoming, Outgoing, Session};
use crate::listing::{Collector, Keys, Listing};
use crate::look::{LISTINGS, ask_for_listing, hear_listing_or_gone};
use crate::{Error, RelativePath};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// Some roots, listed.
pub(crate) struct Group {
    pub roots: Vec<Root>,
    pub source: Listing,
    pub target: Listing,
    /// Entries and names that the source told.
    pub effort: usize,
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
    let effort = on_source.told();
    Ok(Some(Group { roots: taken, source: on_source.finish()?, target: on_target.finish()?, effort }))
}

/// Lists roots of the source until there is enough, and tells which.
async fn lead(
    (ask, replies): (&mut Outgoing, &mut Incoming),
    collector: &mut Collector,
    (roots, enough): (&Roots, usize),
    tell: mpsc::UnboundedSender<Root>,
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
            let _ = tell.send(root.clone());
            taken.push(root);
        }
        let Some(first) = asked.pop_front() else { return Ok(taken) };
        hear_listing_or_gone(replies, collector, &first).await?;
        heard += 1;
    }
}

/// Lists the same roots on the target.
async fn follow(
    (ask, replies): (&mut Outgoing, &mut Incoming),
    collector: &mut Collector,
    mut told: mpsc::UnboundedReceiver<Root>,
    pruned: bool,
) -> Result<(), Error> {
    let mut asked: VecDeque<RelativePath> = VecDeque::new();
    let mut open = true;
    while open || !asked.is_empty() {
        if open && asked.len() < LISTINGS {
            // Without waiting, as long as there is something to hear meanwhile.
            let root = if asked.is_empty() { told.recv().await } else { told.try_recv().ok() };
            if let Some(root) = root {
                root.target.iter().for_each(|entry| collector.add(entry.clone()));
                if root.is_listed(root.target.as_ref()) {
                    ask_for_listing(ask, collector, &root.path, u32::MAX, pruned).await;
                    asked.push_back(root.path);
                }
                continue;
            }
            open = !(asked.is_empty() || told.is_closed() && told.is_empty());
        }
        if let Some(first) = asked.pop_front() {
            hear_listing_or_gone(replies, collector, &first).await?;
        }
    }
    Ok(())
}
