//! One pass: makes the target equal to the source.
//! Invariant: killed at any point, the next pass converges: nothing unfinished stands under a final name, names change in
//! single steps, and what is set aside is never overwritten. The order of things is that of [`crate::plan::Stage`].
//! `split` and `group` take a large tree apart, `work` deals with the parts, with whom `crew` says; of one part `plan` decides, `transfer` moves
//! content (`direct`: not through this machine; `staging`: for folders that are new), `names` changes names, `leaves` knows what need not be listed; `strangers` are hard links between parts.

mod ahead;
mod crew;
mod direct;
pub(crate) mod group;
mod leaves;
mod names;
mod only_time;
pub(crate) mod scope;
pub(crate) mod split;
mod staging;
mod strangers;
mod transfer;
mod work;

use crate::hand::{Fault, Request, Session, Time, explain};
use crate::listing::Listing;
use crate::plan::layout::Layout;
use crate::plan::{Copy, Extra, NewLink, Plan, Stage, plan};
use crate::temporary::Temporaries;
use crate::tree::{check_label, name_owner};
use crate::{Error, Kind, Leaf, Observer, Owner, RelativePath, State, SyncOptions, SyncReport, Tree};
pub(crate) use crew::WORKERS;
use group::Group;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Instant;
use work::Shared;

/// Folders in which something vanished are looked at again this often; then they are left to the next pass.
const SECOND_LOOKS: u32 = 3;

/// Makes `target` equal to `source` within the scope of `options`, as far as they allow. Both may be in use; then what
/// changes meanwhile is left to the next pass, and nothing is lost for it.
///
/// Files that the target has are overwritten in one step, by a finished one; messages are only ever renamed or set aside.
/// Nothing is deleted. The roots themselves keep their owner, mode and time. A user or group without a name on the source
/// goes by its number. Dropping the future ends the pass; the next one takes up from there.
///
/// # Errors
/// [`Error::TooManyDeletes`] before anything was changed; [`Error::UnknownOwner`] likewise, or, in a first copy and in a tree of
/// more than some hundred thousand files, before anything was changed in an account that needs this owner; [`Error::Busy`];
/// [`Error::DiskFull`] and whatever else a side reports: then what was done until there stays done.
pub async fn sync(
    source: &Tree,
    target: &Tree,
    options: &SyncOptions,
    state: &dyn State,
    observer: &dyn Observer,
) -> Result<SyncReport, Error> {
    let started = Instant::now();
    check_label(&options.aside)?;
    source.check_different(target)?;
    let shared = Shared::new(source, target, options, state, observer).await?;
    let mut report = work::run(&shared).await?;
    report.milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(report)
}

/// Somebody who deals with parts of a tree, one after the other.
struct Pass<'a> {
    source: Session,
    target: Session,
    shared: &'a Shared<'a>,
    options: &'a SyncOptions,
    observer: &'a dyn Observer,
    temporaries: Temporaries,
    report: SyncReport,
    /// Mailboxes, or folders outside of mailboxes, in which something changed.
    touched: BTreeSet<RelativePath>,
    /// Folders above the parts whose names changed.
    outer: HashSet<RelativePath>,
    /// What is known of parts that are done, and not yet known to be on the disk.
    learnt: Vec<Leaf>,

    // Of the part that is under way.
    layout: Layout,
    /// Leaves that turned out to hold more than files.
    impure: HashSet<Vec<u8>>,
    /// The source's clock before anything was listed; none: nothing is to be remembered.
    began: Option<Time>,
    /// Mailbox folders that were created just now, and hold nothing yet.
    fresh: HashMap<RelativePath, crate::Entry>,
    /// Folders whose names changed, which costs them their time.
    changed: HashSet<RelativePath>,
    /// Mailboxes (folders) to look at again, because something there was not as listed.
    again: BTreeSet<RelativePath>,
    /// Those that ever were.
    doubtful: BTreeSet<RelativePath>,
    late: Late,
}

/// What waits for the last stage.
#[derive(Default)]
struct Late {
    copies: Vec<Item>,
    links: Vec<NewLink>,
}

/// A copy with what it needs from the listing, which is gone by then.
#[derive(Debug, Clone)]
struct Item {
    entry: crate::Entry,
    former: crate::plan::Former,
}

/// A part that is listed and planned, and of which nothing was changed yet.
struct Part {
    roots: Vec<RelativePath>,
    source: Listing,
    target: Listing,
    plan: Plan,
    layout: Layout,
    impure: HashSet<Vec<u8>>,
    began: Option<Time>,
}

impl Part {
    /// The target has none of its files: nobody there can have opened what is being made.
    fn is_first(&self) -> bool {
        self.target.leaves.is_empty() && self.target.entries.iter().all(|entry| entry.kind == Kind::Folder)
    }

    /// Entries that it keeps in memory; heavy ones count for more.
    fn entries(&self) -> usize {
        [&self.source, &self.target].iter().map(|listing| listing.entries.len() + listing.heavy).sum()
    }
}

impl<'a> Pass<'a> {
    fn new(source: Session, target: Session, shared: &'a Shared<'a>) -> Self {
        Self {
            source,
            target,
            shared,
            options: shared.options,
            observer: shared.observer,
            temporaries: Temporaries::new(),
            report: SyncReport::default(),
            touched: BTreeSet::new(),
            outer: HashSet::new(),
            learnt: Vec::new(),
            layout: Layout::default(),
            impure: HashSet::new(),
            began: None,
            fresh: HashMap::new(),
            changed: HashSet::new(),
            again: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            late: Late::default(),
        }
    }

    /// Decides what is to be done in some parts that were listed.
    async fn prepare(&mut self, group: Group, began: Option<Time>) -> Result<Part, Error> {
        let Group { roots, mut source, mut target } = group;
        self.impure = HashSet::new();
        self.look_into_leaves(&mut source, &mut target).await?;
        let layout = Layout::find(self.options.strategy, [&source, &target]);
        let mut plan = plan(&source, &target, self.options, &layout, self.exact());
        self.only_time(&source, &target, &layout, &mut plan).await?;
        let impure = std::mem::take(&mut self.impure);
        let roots = roots.into_iter().map(|root| root.path).collect();
        let part = Part { roots, source, target, plan, layout, impure, began };
        self.note_strangers(&part);
        Ok(part)
    }

    /// The first half: everything that may not wait for what is inside.
    async fn begin(&mut self, part: &mut Part) -> Result<(), Error> {
        self.layout = std::mem::take(&mut part.layout);
        self.impure = std::mem::take(&mut part.impure);
        self.began = part.began;
        self.changed.clear();
        self.again.clear();
        self.doubtful.clear();
        self.fresh = self.fresh_leaves(part);
        let (source, plan) = (&part.source, &mut part.plan);
        self.report.examined += plan.examined;
        self.report.vanished += source.gone.len() as u64;
        self.report.skipped.append(&mut plan.skipped);
        self.announce(self.units_of(source, plan)).await?;
        self.remove_leftovers(&part.target.leftovers).await?;
        self.clear_conflicts(&plan.conflicts).await?;
        self.make_folders(source, &plan.folders).await
    }

    /// The second half: content, names, times; and what later passes may build on once it is on the disk.
    async fn end(&mut self, part: &mut Part) -> Result<(), Error> {
        let extras = std::mem::take(&mut part.plan.extras);
        let (source, plan) = (&part.source, &part.plan);
        self.carry_out(source, plan, part.is_first()).await?;
        let extras = if self.deletes() { self.look_before_deleting(extras, source).await? } else { Vec::new() };
        self.second_looks().await?;
        self.set_extras_aside(extras).await?;
        self.last_stage().await?;
        self.finish_folders(source, plan).await?;
        self.outer.extend(self.changed.iter().filter(|path| source.find(path.as_bytes()).is_none()).cloned());
        self.remember(part).await
    }

    /// More work was found.
    fn expect(&self, plan: &Plan) {
        self.shared.progress.expect((plan.copies.len() + plan.renames.len() + plan.links.len()) as u64);
        self.progress();
    }

    /// Everything of a plan that concerns files, up to the last stage, which waits; but `at_once` its content is brought to the
    /// disk with all other, and only its names come last.
    async fn carry_out(&mut self, source: &Listing, plan: &Plan, at_once: bool) -> Result<(), Error> {
        let items = |stage: Stage| -> Vec<Item> {
            let of_stage = plan.copies.iter().filter(|copy| copy.stage == stage);
            of_stage
                .map(|copy: &Copy| Item { entry: source.entries[copy.source].clone(), former: copy.former.clone() })
                .collect()
        };
        let links =
            |stage: Stage| -> Vec<NewLink> { plan.links.iter().filter(|link| link.stage == stage).cloned().collect() };
        self.copy(items(Stage::First)).await?;
        self.add_links(&links(Stage::First)).await?;
        self.rename(&plan.renames).await?;
        let mut content = items(Stage::Content);
        let mut last = items(Stage::Last);
        if at_once {
            content.append(&mut last);
        }
        self.copy(content).await?;
        self.add_links(&links(Stage::Content)).await?;
        self.correct(&plan.corrections).await?;
        self.postpone(last, links(Stage::Last));
        Ok(())
    }

    /// What was found later replaces what was found before.
    fn postpone(&mut self, copies: Vec<Item>, links: Vec<NewLink>) {
        let newer: HashSet<RelativePath> = copies
            .iter()
            .map(|item| item.entry.path.clone())
            .chain(links.iter().map(|link| link.path.clone()))
            .collect();
        self.late.copies.retain(|item| !newer.contains(&item.entry.path));
        self.late.links.retain(|link| !newer.contains(&link.path));
        self.late.copies.extend(copies);
        self.late.links.extend(links);
    }

    async fn last_stage(&mut self) -> Result<(), Error> {
        let Late { copies, links } = std::mem::take(&mut self.late);
        self.copy(copies).await?;
        self.add_links(&links).await
    }

    /// Messages vanish from where they were listed because their flags changed, or because they went from `new` to `cur`:
    /// list those mailboxes again, so that the pass brings them after all.
    async fn second_looks(&mut self) -> Result<(), Error> {
        for _ in 0..SECOND_LOOKS {
            let units = std::mem::take(&mut self.again);
            if units.is_empty() {
                return Ok(());
            }
            self.observer.note(&format!("a second look at {} folders that changed meanwhile", units.len()));
            let source = scope::list_units(&mut self.source, &units, &self.layout).await?;
            let target = scope::list_units(&mut self.target, &units, &self.layout).await?;
            let plan = plan(&source, &target, self.options, &self.layout, self.exact());
            self.expect(&plan);
            self.announce(self.units_of(&source, &plan)).await?;
            self.carry_out(&source, &plan, false).await?;
        }
        for unit in std::mem::take(&mut self.again) {
            self.report
                .skipped
                .push((unit, "it kept changing during the pass; the next one brings the rest".to_owned()));
        }
        Ok(())
    }

    /// Where a plan would change something.
    fn units_of(&self, source: &Listing, plan: &Plan) -> BTreeSet<RelativePath> {
        let listed = plan.copies.iter().map(|copy| copy.source).chain(plan.folders.iter().copied());
        let listed = listed.map(|index| &source.entries[index].path);
        let renamed = plan.renames.iter().flat_map(|rename| [&rename.from, &rename.to]);
        let named = listed
            .chain(renamed)
            .chain(plan.links.iter().map(|link| &link.path))
            .chain(plan.corrections.iter().filter(|correction| !correction.quiet).map(|correction| &correction.path))
            .chain(plan.extras.iter().map(|extra| &extra.path))
            .chain(plan.conflicts.iter());
        let mut units: BTreeSet<RelativePath> = named.map(|path| self.layout.unit(path.as_bytes())).collect();
        let folders = plan.folders.iter().map(|&index| &source.entries[index].path);
        units.extend(folders.filter(|path| self.layout.is_mailbox(path.as_bytes())).cloned());
        units
    }

    /// Whoever watches knows of a change before it is made: a killed pass leaves no folder that nobody knows of.
    async fn announce(&self, units: BTreeSet<RelativePath>) -> Result<(), Error> {
        let folders: Vec<Vec<u8>> = units.into_iter().map(RelativePath::into_bytes).collect();
        if folders.is_empty() {
            return Ok(());
        }
        self.observer.touching(&folders).await.map_err(|why| Error::Unrecorded { why })
    }

    fn deletes(&self) -> bool {
        self.options.delete && !self.options.add_only
    }

    fn exact(&self) -> bool {
        self.source.exact && self.target.exact
    }

    fn progress(&self) {
        self.shared.progress.tell(self.observer);
    }

    /// Something in the folder of `path` changed on the target.
    fn touch(&mut self, path: &RelativePath) {
        self.touched.insert(self.layout.unit(path.as_bytes()));
        self.changed.insert(path.parent());
    }

    /// Something about `path` was not as listed.
    fn look_again(&mut self, path: &RelativePath) {
        let unit = self.layout.unit(path.as_bytes());
        self.doubtful.insert(unit.clone());
        self.again.insert(unit);
    }

    /// An owner that is missing on the target is found before anything is changed there.
    async fn check_owners(&mut self, part: &Part) -> Result<(), Error> {
        let (source, plan) = (&part.source, &part.plan);
        let copied = plan.copies.iter().map(|copy| copy.source).chain(plan.folders.iter().copied());
        let mut owners: Vec<Owner> = Vec::new();
        let corrected = plan.corrections.iter().filter_map(|correction| correction.owner.clone());
        for owner in copied.map(|index| self.options.owner_of(&source.entries[index])).chain(corrected) {
            if !owners.contains(&owner) {
                owners.push(owner);
            }
        }
        for owner in owners {
            if let Err(fault) = self.target.ask(Request::Know(owner.clone())).await? {
                return Err(name_owner(self.failure("look for the owner of", b"", &fault), Some(&owner)));
            }
        }
        Ok(())
    }

    fn failure(&self, doing: &'static str, path: &[u8], fault: &Fault) -> Error {
        explain(self.target.side(), doing, path, fault)
    }

    /// Whatever was done so far is on the disk, and may be built on. One sync is for as many parts as can be.
    async fn settle(&mut self) -> Result<(), Error> {
        self.target.must(Request::Sync, "make durable what was changed in", b"").await?;
        self.store().await
    }

    /// Drops from `extras` what the source has after all: it was on its way from one name to another when it was listed.
    async fn look_before_deleting(&mut self, extras: Vec<Extra>, source: &Listing) -> Result<Vec<Extra>, Error> {
        let (mut kept, doubtful) = self.part_quiet(extras, source).await?;
        let now = scope::names_around(&mut self.source, &doubtful, &self.layout).await?;
        for extra in doubtful {
            if now.has(&extra.path, extra.kind == Kind::File, &self.layout) {
                self.look_again(&extra.path);
            } else {
                kept.push(extra);
            }
        }
        Ok(kept)
    }
}
