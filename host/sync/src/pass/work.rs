//! Deals with all parts of a tree: what may not happen at all is found first, then the parts are made equal, several at a
//! time where there is much to move.
//! Invariant: nothing is changed before the limit of what may be set aside was checked over the whole scope; one lock keeps
//! other passes out of the target until the last part is done.

use super::group::{Pruning, Roots, next_group};
use super::scope::{list_both, tell_known};
use super::split::{Root, Split, split};
use super::strangers::Strangers;
use super::{Part, Pass};
use crate::look::clock;
use crate::plan::Deletes;
use crate::{Error, Leaf, Observer, RelativePath, State, Strategy, SyncOptions, SyncReport, Tree};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// So many times the entries of one part are kept from the first look until their turn comes; what is beyond is listed twice,
/// or later.
const KEPT: usize = 25;
/// How many parts are under way at a time where there is volume. More wait for the same disk.
const WORKERS: usize = 3;

/// What all who work for one pass have in common.
pub(super) struct Shared<'a> {
    source: &'a Tree,
    target: &'a Tree,
    pub(super) options: &'a SyncOptions,
    pub(super) state: &'a dyn State,
    pub(super) observer: &'a dyn Observer,
    /// What former passes know; empty where this one does not remember.
    pub(super) known: BTreeMap<Vec<u8>, Leaf>,
    pub(super) remembers: bool,
    pruning: Option<Pruning>,
    /// Parts that nobody has dealt with.
    roots: Roots,
    pub(super) progress: Progress,
    pub(super) strangers: Mutex<Strangers>,
}

impl<'a> Shared<'a> {
    pub(super) async fn new(
        source: &'a Tree,
        target: &'a Tree,
        options: &'a SyncOptions,
        state: &'a dyn State,
        observer: &'a dyn Observer,
    ) -> Result<Self, Error> {
        let SyncOptions { strategy, add_only, only, .. } = options;
        // Only where both sides are alike afterwards in a way that a later pass can build on.
        let remembers = state.keeps() && *strategy == Strategy::Maildir && !add_only && only.is_empty();
        let leaves = if remembers { state.load().await.map_err(|why| Error::Unrecorded { why })? } else { Vec::new() };
        let pruning = (!leaves.is_empty()).then(|| Pruning {
            source: Arc::new(leaves.iter().map(|leaf| (leaf.folder.clone(), leaf.source)).collect()),
            target: Arc::new(leaves.iter().map(|leaf| (leaf.folder.clone(), leaf.target)).collect()),
        });
        Ok(Self {
            source,
            target,
            options,
            state,
            observer,
            known: leaves.into_iter().map(|leaf| (leaf.folder.clone(), leaf)).collect(),
            remembers,
            pruning,
            roots: Roots::default(),
            progress: Progress::default(),
            strangers: Mutex::default(),
        })
    }

    fn push(&self, roots: Vec<Root>) {
        if let Ok(mut waiting) = self.roots.lock() {
            waiting.extend(roots);
        }
    }

    /// Whether parts wait that were not looked at yet.
    pub(super) fn has_more(&self) -> bool {
        self.roots.lock().is_ok_and(|roots| !roots.is_empty())
    }
}

/// How far all are together.
#[derive(Default)]
pub(super) struct Progress {
    done: AtomicU64,
    bytes: AtomicU64,
    total: AtomicU64,
    /// Whether there may be more than is known.
    open: AtomicBool,
}

impl Progress {
    pub(super) fn expect(&self, more: u64) {
        self.total.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn done(&self, bytes: u64) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn tell(&self, observer: &dyn Observer) {
        let done = self.done.load(Ordering::Relaxed);
        let total = self.total.load(Ordering::Relaxed).max(done);
        let is_known = !self.open.load(Ordering::Relaxed);
        observer.progress(done, is_known.then_some(total), self.bytes.load(Ordering::Relaxed));
    }
}

/// Parts that were looked at and wait for somebody who deals with them.
struct Waiting {
    parts: Mutex<VecDeque<Part>>,
    /// Whether somebody still adds to them.
    open: AtomicBool,
    /// Files to be copied, in all that were added.
    copies: AtomicUsize,
    more: Notify,
}

impl Waiting {
    fn new(parts: VecDeque<Part>, open: bool) -> Self {
        let copies = AtomicUsize::new(parts.iter().map(|part| part.plan.copies.len()).sum());
        Self { parts: Mutex::new(parts), open: AtomicBool::new(open), copies, more: Notify::new() }
    }

    fn take(&self) -> Option<Part> {
        self.parts.lock().ok().and_then(|mut parts| parts.pop_front())
    }

    fn add(&self, part: Part) {
        self.copies.fetch_add(part.plan.copies.len(), Ordering::Relaxed);
        if let Ok(mut parts) = self.parts.lock() {
            parts.push_back(part);
        }
        self.more.notify_waiters();
    }

    fn close(&self) {
        self.open.store(false, Ordering::Release);
        self.more.notify_waiters();
    }

    fn entries(&self) -> usize {
        self.parts.lock().map_or(0, |parts| parts.iter().map(Part::entries).sum())
    }

    /// Whether there is so much that it is worth the hands of several; known once so much was looked at, or all.
    async fn is_volume(&self, shared: &Shared<'_>) -> bool {
        loop {
            let mut more = pin!(self.more.notified());
            more.as_mut().enable();
            if self.copies.load(Ordering::Relaxed) > shared.options.part {
                return true;
            }
            if !self.open.load(Ordering::Acquire) {
                return shared.has_more();
            }
            more.await;
        }
    }

    /// The next one, also where it has yet to be added.
    async fn next(&self) -> Option<Part> {
        loop {
            let mut more = pin!(self.more.notified());
            more.as_mut().enable();
            match self.take() {
                None if self.open.load(Ordering::Acquire) => more.await,
                part => return part,
            }
        }
    }
}

/// The whole pass.
pub(super) async fn run(shared: &Shared<'_>) -> Result<SyncReport, Error> {
    let mut first = Pass::new(shared.source.session().await?, shared.target.writer().await?, shared);
    let Split { source, target, roots } = first.split().await?;
    let paths: BTreeSet<RelativePath> = roots.iter().map(|root| root.path.clone()).collect();
    let is_one = roots.len() < 2;
    shared.push(roots.into());
    let upper = super::Group { roots: Vec::new(), source, target };
    let mut upper = first.prepare(upper, None).await?;
    // Where nothing can be set aside nothing has to be known before the first part is dealt with.
    let ahead = !is_one && !first.may_delete(&upper);
    let prepared = if ahead { VecDeque::new() } else { first.look_at_all(&upper).await? };
    for part in std::iter::once(&upper).chain(&prepared) {
        first.check_owners(part).await?;
    }
    first.expect(&upper.plan);
    first.begin(&mut upper).await?;

    let waiting = Waiting::new(prepared, ahead);
    let leading = async {
        if ahead {
            first.look_ahead(&waiting).await?;
        }
        first.work(&waiting).await
    };
    let most = if is_one { 0 } else { WORKERS - 1 };
    let helping = futures_util::future::try_join_all((0..most).map(|_| help(shared, &waiting)));
    let ((), others) = tokio::try_join!(leading, helping)?;
    for other in others.into_iter().flatten() {
        first.join(other);
    }
    first.finish(&mut upper, &paths).await
}

/// Deals with parts as well, once there is volume. The lock of the first one's hand keeps others out for all. Where a connection
/// has no place for more (sshd_config(5), MaxSessions), fewer do it.
async fn help<'a>(shared: &'a Shared<'a>, waiting: &Waiting) -> Result<Option<Pass<'a>>, Error> {
    if !waiting.is_volume(shared).await {
        return Ok(None);
    }
    let (Ok(source), Ok(target)) = (shared.source.session().await, shared.target.session().await) else {
        return Ok(None);
    };
    let mut pass = Pass::new(source, target, shared);
    pass.work(waiting).await?;
    Ok(Some(pass))
}

impl Pass<'_> {
    async fn split(&mut self) -> Result<Split, Error> {
        let Self { source, target, options, report, .. } = self;
        let skipped = &mut report.skipped;
        if options.only.is_empty() {
            return split(source, target, &options.scope, skipped).await;
        }
        // Which folders are needed shows in what they hold: nothing is taken apart.
        let (source, target) = list_both(source, target, &options.scope, skipped).await?;
        Ok(Split { source, target, roots: VecDeque::new() })
    }

    /// Looks at every part before anything is changed, and keeps of them what memory allows. What need not be looked at for
    /// what is to be set aside there is left for later.
    async fn look_at_all(&mut self, upper: &Part) -> Result<VecDeque<Part>, Error> {
        self.tell_known().await?;
        let mut deletes = Deletes::default();
        deletes.add(&upper.plan);
        let most = self.options.part.saturating_mul(KEPT);
        let (mut kept, mut entries, mut later) = (VecDeque::new(), 0, Vec::new());
        loop {
            if entries >= most {
                later.append(&mut self.without_deletes());
            }
            let Some((part, roots)) = self.next_part().await? else { break };
            deletes.add(&part.plan);
            entries += part.entries();
            if entries < most || kept.is_empty() {
                self.expect(&part.plan);
                kept.push_back(part);
            } else {
                later.extend(roots);
            }
        }
        if later.iter().any(|root| root.source.is_some()) {
            deletes.source_has_more();
        }
        self.shared.progress.open.store(!later.is_empty(), Ordering::Relaxed);
        self.shared.push(later);
        if self.deletes() {
            deletes.check(self.options.delete_limit)?;
        }
        Ok(kept)
    }

    /// Whether there may be something that is to be set aside.
    fn may_delete(&self, upper: &Part) -> bool {
        let on_target = |root: &Root| root.target.is_some() || root.path.is_root();
        let nothing_there = || self.shared.roots.lock().is_ok_and(|roots| !roots.iter().any(on_target));
        self.deletes() && (upper.plan.would_delete > 0 || !nothing_there())
    }

    /// Looks at parts while others deal with them, as far ahead as memory allows.
    async fn look_ahead(&mut self, waiting: &Waiting) -> Result<(), Error> {
        self.shared.progress.open.store(true, Ordering::Relaxed);
        self.tell_known().await?;
        let most = self.options.part.saturating_mul(KEPT);
        while let Some((part, _)) = self.next_part().await? {
            self.check_owners(&part).await?;
            self.expect(&part.plan);
            waiting.add(part);
            while waiting.entries() >= most
                && let Some(mut part) = waiting.take()
            {
                self.deal_with(&mut part).await?;
            }
        }
        self.shared.progress.open.store(false, Ordering::Relaxed);
        waiting.close();
        Ok(())
    }

    /// Takes the roots out of those that wait in which nothing can be set aside.
    fn without_deletes(&self) -> Vec<Root> {
        let Ok(mut waiting) = self.shared.roots.lock() else { return Vec::new() };
        let all = std::mem::take(&mut *waiting);
        let (free, rest): (Vec<Root>, Vec<Root>) =
            all.into_iter().partition(|root| root.target.is_none() && !root.path.is_root() || !self.deletes());
        waiting.extend(rest);
        free
    }

    async fn tell_known(&mut self) -> Result<(), Error> {
        let Some(pruning) = &self.shared.pruning else { return Ok(()) };
        tokio::try_join!(tell_known(&mut self.source, &pruning.source), tell_known(&mut self.target, &pruning.target))?;
        Ok(())
    }

    /// Lists and plans the next part, with the roots it is made of.
    async fn next_part(&mut self) -> Result<Option<(Part, Vec<Root>)>, Error> {
        let shared = self.shared;
        if !shared.has_more() {
            return Ok(None);
        }
        let began = if shared.remembers { Some(clock(&mut self.source).await?) } else { None };
        let pruning = shared.pruning.as_ref();
        let (roots, enough) = (&shared.roots, shared.options.part);
        let Some(group) = next_group(&mut self.source, &mut self.target, roots, pruning, enough).await? else {
            return Ok(None);
        };
        let roots = group.roots.clone();
        Ok(Some((self.prepare(group, began).await?, roots)))
    }

    /// Deals with parts until none is left.
    async fn work(&mut self, waiting: &Waiting) -> Result<(), Error> {
        while let Some(mut part) = waiting.next().await {
            self.deal_with(&mut part).await?;
        }
        if !self.shared.has_more() {
            return Ok(());
        }
        self.tell_known().await?;
        while let Some((mut part, _)) = self.next_part().await? {
            if !self.shared.has_more() {
                self.shared.progress.open.store(false, Ordering::Relaxed);
            }
            self.check_owners(&part).await?;
            self.expect(&part.plan);
            self.deal_with(&mut part).await?;
        }
        Ok(())
    }

    async fn deal_with(&mut self, part: &mut Part) -> Result<(), Error> {
        self.begin(part).await?;
        self.end(part).await
    }

    /// What another one has done.
    fn join(&mut self, other: Self) {
        let Pass { source, target, report, touched, outer, shared, .. } = other;
        shared.source.give_back(source);
        shared.target.give_back(target);
        self.report.add(report);
        self.touched.extend(touched);
        self.outer.extend(outer);
    }

    /// After the last part.
    async fn finish(mut self, upper: &mut Part, roots: &BTreeSet<RelativePath>) -> Result<SyncReport, Error> {
        self.link_strangers().await?;
        self.forget_what_is_gone(roots).await?;
        let outer = std::mem::take(&mut self.outer);
        self.changed = outer;
        self.end(upper).await?;
        let Pass { source, target, mut report, touched, shared, .. } = self;
        shared.source.give_back(source);
        shared.target.release(target).await?;
        report.touched = touched.into_iter().map(RelativePath::into_bytes).collect();
        report.skipped.sort();
        Ok(report)
    }
}
