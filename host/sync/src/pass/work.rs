//! Deals with all parts of a tree: what may not happen at all is found first, then the parts are made equal, several at a
//! time where there is much to move.
//! Invariant: nothing is changed before the limit of what may be set aside was checked over the whole scope; one lock keeps
//! other passes out of the target until the last part is done.

use super::crew::{Crew, WORKERS, help};
use super::group::{Pruning, Roots, next_group};
use super::scope::{list_both, tell_known};
use super::split::{Root, Split, split};
use super::strangers::Strangers;
use super::{Part, Pass};
use crate::listing::NAMES_AN_ENTRY;
use crate::look::clock;
use crate::{Error, Leaf, Observer, RelativePath, State, Strategy, SyncOptions, SyncReport, Tree};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// So many times the entries of one part are kept from the first look until their turn comes; what is beyond is listed twice,
/// or later.
const KEPT: usize = 25;
/// No part is smaller than this share of a usual one.
const SMALLEST: usize = 8;

/// What all who work for one pass have in common.
pub(super) struct Shared<'a> {
    pub(super) source: &'a Tree,
    pub(super) target: &'a Tree,
    pub(super) options: &'a SyncOptions,
    pub(super) state: &'a dyn State,
    pub(super) observer: &'a dyn Observer,
    /// What former passes know; empty where this one does not remember.
    pub(super) known: BTreeMap<Vec<u8>, Leaf>,
    pub(super) remembers: bool,
    pruning: Option<Pruning>,
    /// Parts that nobody has dealt with.
    roots: Roots,
    /// Roots and entries of the source that were listed so far.
    listed: Mutex<(usize, usize)>,
    /// Parts that need not be looked at, or again, before the first one is dealt with.
    later: Mutex<Vec<Root>>,
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
            listed: Mutex::default(),
            later: Mutex::default(),
            progress: Progress::default(),
            strangers: Mutex::default(),
        })
    }

    fn push(&self, roots: Vec<Root>) {
        if let Ok(mut waiting) = self.roots.lock() {
            waiting.extend(roots);
        }
    }

    /// Roots for later.
    fn put_off(&self, mut roots: Vec<Root>) {
        if let Ok(mut later) = self.later.lock() {
            later.append(&mut roots);
        }
    }

    /// What was put off is next.
    fn keep_later(&self) {
        let later = self.later.lock().map(|mut later| std::mem::take(&mut *later));
        self.push(later.unwrap_or_default());
    }

    /// Whether what former passes found is more than makes a part.
    fn is_large(&self) -> bool {
        let files: u64 = self.known.values().map(|leaf| leaf.files).sum();
        self.known.len() as u64 + files / NAMES_AN_ENTRY as u64 > self.options.part as u64
    }

    /// How many entries make the next part: fewer at the beginning, so that there is soon something to do for everybody, and
    /// towards the end, so that nobody deals with the last one while others have nothing left. Where former passes know most
    /// of it there is little to do in each part, and a sync of the disk for each is what it costs.
    fn enough(&self) -> usize {
        let most = self.options.part;
        if !self.known.is_empty() {
            return most;
        }
        let waiting = self.roots.lock().map_or(0, |roots| roots.len());
        let (roots, entries) = self.listed.lock().map_or((0, 0), |listed| *listed);
        let left = (entries / roots.max(1)).saturating_mul(waiting);
        (left / WORKERS).clamp(most.div_ceil(SMALLEST), most)
    }

    fn source_has_more(&self) -> bool {
        self.roots.lock().is_ok_and(|roots| roots.iter().any(|root| root.source.is_some()))
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

    /// What is known to be done, and was done, by all; and whether there may be more.
    pub(super) fn total(&self) -> (u64, bool) {
        (self.total.load(Ordering::Relaxed), self.open.load(Ordering::Relaxed))
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

/// The whole pass.
pub(super) async fn run(shared: &Shared<'_>) -> Result<SyncReport, Error> {
    let mut first = Pass::new(shared.source.session().await?, shared.target.writer().await?, shared);
    let Split { source, target, roots } = first.split().await?;
    let paths: BTreeSet<RelativePath> = roots.iter().map(|root| root.path.clone()).collect();
    let others = if roots.len() < 2 { 0 } else { WORKERS - 1 };
    shared.push(roots.into());
    let upper = super::Group { roots: Vec::new(), source, target };
    let mut upper = first.prepare(upper, None).await?;
    // Where nothing can be set aside nothing has to be known before the first part is dealt with.
    let ahead = others > 0 && !first.may_delete(&upper);
    let crew = Crew::new(ahead, shared.is_large());
    let leading = async {
        if ahead {
            first.begin_upper(&mut upper, &[]).await?;
            first.look_ahead(&crew).await?;
        } else {
            first.look_at_all(&crew, &mut upper).await?;
        }
        first.work(&crew).await?;
        // Whoever still opens hands need not.
        crew.update(|_| ());
        Ok(())
    };
    let helping = futures_util::future::try_join_all((0..others).map(|_| help(shared, &crew)));
    let ((), others) = tokio::try_join!(leading, helping)?;
    for other in others.into_iter().flatten() {
        first.join(other);
    }
    first.finish(&mut upper, &paths).await
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

    /// Looks at every part before anything is changed, and then begins.
    async fn look_at_all(&mut self, crew: &Crew, upper: &mut Part) -> Result<(), Error> {
        crew.update(|state| state.seen(upper));
        self.look(crew).await?;
        crew.all_have_looked().await;
        let parts = crew.update(|state| std::mem::take(&mut state.parts));
        self.shared.keep_later();
        let mut deletes = std::mem::take(&mut crew.state().deletes);
        if self.shared.source_has_more() {
            deletes.source_has_more();
        }
        self.shared.progress.open.store(self.shared.has_more(), Ordering::Relaxed);
        if self.deletes() {
            deletes.check(self.options.delete_limit)?;
        }
        let parts: Vec<Part> = parts.into();
        self.begin_upper(upper, &parts).await?;
        crew.begin_dealing(parts);
        Ok(())
    }

    /// What is above all parts comes first.
    async fn begin_upper(&mut self, upper: &mut Part, parts: &[Part]) -> Result<(), Error> {
        for part in std::iter::once(&*upper).chain(parts) {
            self.check_owners(part).await?;
        }
        self.expect(&upper.plan);
        self.begin(upper).await
    }

    /// Looks at parts until there are no more, and keeps of them what memory allows. What need not be looked at for what is to
    /// be set aside there is left for later.
    pub(super) async fn look(&mut self, crew: &Crew) -> Result<(), Error> {
        self.tell_known().await?;
        let most = self.options.part.saturating_mul(KEPT);
        loop {
            if crew.state().entries >= most {
                self.shared.put_off(self.without_deletes());
            }
            let Some((part, roots)) = self.next_part().await? else { break };
            if self.shared.has_more() {
                crew.call_for_lookers();
            }
            let is_kept = crew.update(|state| {
                state.seen(&part);
                state.entries < most || state.parts.is_empty()
            });
            if is_kept {
                self.expect(&part.plan);
                crew.update(|state| state.parts.push_back(part));
            } else {
                self.shared.put_off(roots);
            }
        }
        Ok(())
    }

    /// Whether there may be something that is to be set aside.
    fn may_delete(&self, upper: &Part) -> bool {
        let on_target = |root: &Root| root.target.is_some() || root.path.is_root();
        let nothing_there = || self.shared.roots.lock().is_ok_and(|roots| !roots.iter().any(on_target));
        self.deletes() && (upper.plan.would_delete > 0 || !nothing_there())
    }

    /// Looks at parts while others deal with them, as far ahead as memory allows.
    async fn look_ahead(&mut self, crew: &Crew) -> Result<(), Error> {
        self.shared.progress.open.store(true, Ordering::Relaxed);
        self.tell_known().await?;
        let most = self.options.part.saturating_mul(KEPT);
        while let Some((part, _)) = self.next_part().await? {
            self.check_owners(&part).await?;
            self.expect(&part.plan);
            let mut too_much = crew.update(|state| {
                state.add(part);
                (state.waiting() >= most).then(|| state.parts.pop_front()).flatten()
            });
            while let Some(part) = &mut too_much {
                self.deal_with(part).await?;
                too_much = crew.update(|state| (state.waiting() >= most).then(|| state.parts.pop_front()).flatten());
            }
        }
        self.shared.progress.open.store(false, Ordering::Relaxed);
        crew.update(|state| state.open = false);
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
        let (roots, enough) = (&shared.roots, shared.enough());
        let Some(group) = next_group(&mut self.source, &mut self.target, roots, pruning, enough).await? else {
            return Ok(None);
        };
        if let Ok(mut listed) = shared.listed.lock() {
            listed.0 += group.roots.len();
            listed.1 += group.source.entries.len();
        }
        let roots = group.roots.clone();
        Ok(Some((self.prepare(group, began).await?, roots)))
    }

    /// Deals with parts until none is left.
    pub(super) async fn work(&mut self, crew: &Crew) -> Result<(), Error> {
        while let Some(mut part) = crew.next().await {
            self.deal_with(&mut part).await?;
        }
        if !self.shared.has_more() {
            return self.settle().await;
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
        self.settle().await
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
        self.settle().await?;
        let Pass { source, target, mut report, touched, shared, .. } = self;
        shared.source.give_back(source);
        shared.target.release(target).await?;
        report.touched = touched.into_iter().map(RelativePath::into_bytes).collect();
        report.skipped.sort();
        Ok(report)
    }
}
