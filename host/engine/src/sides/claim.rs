//! A claim on both sides, from before the first phase until it is let go of. `judge.rs` says whether it may be made.
//! Invariant: while a claim is held, each machine's record says so with our epoch; somebody who took it over has raised the
//! epoch, and nothing more is begun there. A killed rehome leaves the record at work, and its own state goes on with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rehome_gatekeeper::journal::Journal;
use rehome_gatekeeper::types::{Failure, Verb};
use rehome_gatekeeper::{Clock, Fence};
use tokio::sync::Mutex;

use super::judge::{at_work, may_claim};
use super::record::{PhaseRecord, Record, Swapped, Taken, swap};
use super::{Known, Machine, SidesError, Working, fact, pair};
use crate::error::{Error, causes};

/// How often records may change under us before we give up.
const ATTEMPTS: u32 = 10;
/// For letting go: the links may be lost.
const LETTING_GO: Duration = Duration::from_secs(20);

/// Both sides, claimed.
pub(crate) struct Claim {
    journal: Arc<Journal>,
    /// as it is written next, but for what grows
    record: Record,
    held: Mutex<Held>,
    /// a look found that somebody else has a side now
    lost: AtomicBool,
}

struct Held {
    machines: Vec<Machine>,
    /// when the last look that found everything ours began
    renewed: Instant,
}

/// Who claims, and how.
pub(crate) struct Claimant<'a> {
    pub(crate) who: &'a str,
    pub(crate) verb: Verb,
    pub(crate) clock: &'a Clock,
    pub(crate) take_over: bool,
}

impl Claim {
    /// Claims the machines, or says who has them. Nothing is changed where one of them is somebody else's.
    pub(crate) async fn take(
        mut machines: Vec<Machine>,
        mut known: Known,
        journal: Arc<Journal>,
        claimant: &Claimant<'_>,
    ) -> Result<Claim, Error> {
        may_claim(&machines, &known, claimant.take_over)?;
        if claimant.take_over {
            known.epoch = raised(&machines, &known);
            journal.keep_fact("epoch", Some(&known.epoch.to_string())).await?;
        }
        let words = [known.epoch.to_string(), known.place.to_string(), claimant.who.to_string()];
        journal.own(if claimant.take_over { "take-over" } else { "claim" }, None, claimant.verb, &words).await?;
        let working =
            Working { who: claimant.who.into(), verb: claimant.verb.to_string(), since: claimant.clock.now() };
        journal.keep_fact("working", serde_json::to_string(&working).ok().as_deref()).await?;
        let [old, new] = pair(&machines);
        let record = Record {
            rehome: Record::VERSION,
            migration: known.id.clone(),
            name: known.name.clone(),
            plan: known.plan.clone(),
            epoch: known.epoch,
            at_work: true,
            verb: working.verb,
            who: working.who,
            place: known.place.clone(),
            since: working.since,
            mark: 0,
            old,
            new,
            phases: vec![],
            taken: None,
        };
        let record = grown(record, &journal).await?;
        for at in 0..machines.len() {
            if let Err(error) = claim_one(&mut machines[at], &known, &record, claimant).await {
                if give_back(&mut machines[..at], &record).await {
                    journal.keep_fact("working", None).await?;
                }
                return Err(error);
            }
        }
        for machine in &machines {
            journal.keep_fact(&fact("record", machine.side), Some(&record.mark.to_string())).await?;
            if let Some(id) = &machine.seen.machine {
                journal.keep_fact(&fact("machine", machine.side), Some(id)).await?;
            }
        }
        let held = Mutex::new(Held { machines, renewed: Instant::now() });
        Ok(Claim { journal, record, held, lost: AtomicBool::new(false) })
    }

    /// The migration's id.
    pub(crate) fn migration(&self) -> &str {
        &self.record.migration
    }

    /// The epoch it was made with.
    pub(crate) fn epoch(&self) -> u64 {
        self.record.epoch
    }

    /// Looks whether the sides are still ours, and leaves there how far the journal has come. A look that began after this
    /// was called counts, whoever took it. A phase that is about to begin is left there as begun.
    pub(crate) async fn renew(&self, age: Duration, begins: Option<PhaseRecord>) -> Result<(), Error> {
        let asked = Instant::now();
        let mut held = self.held.lock().await;
        if held.renewed + age >= asked {
            return Ok(());
        }
        let begun = Instant::now();
        let mut record = grown(self.record.clone(), &self.journal).await?;
        if let Some(begins) = begins {
            record.phases.retain(|known| known.phase != begins.phase);
            record.phases.push(begins);
        }
        let put = put_all(&mut held.machines, &record, Some(&record)).await;
        if put.as_ref().is_err_and(|error| matches!(error, Error::Sides(error) if error.held())) {
            self.lost.store(true, Ordering::Relaxed);
        }
        put?;
        held.renewed = begun;
        Ok(())
    }

    /// Whether a look found that somebody else has a side now: whatever a phase says of that, nothing more is begun.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Lets go: the record stays, and says that nobody is at work; or goes too, if `for_good`.
    pub(crate) async fn let_go(&self, for_good: bool) {
        // Where it cannot be done, its own state goes on with it in any case.
        match tokio::time::timeout(LETTING_GO, self.free(for_good)).await {
            Ok(Ok(())) => {}
            // There is nothing to let go of any more.
            Ok(Err(Error::Sides(error))) if error.held() => _ = self.journal.keep_fact("working", None).await,
            Ok(Err(error)) => {
                tracing::warn!(error = %causes(&error), "the record on a side still says that somebody is at work");
            }
            Err(_) => tracing::warn!("the sides could not be let go of in time: their records still say at work"),
        }
    }

    async fn free(&self, for_good: bool) -> Result<(), Error> {
        let mut held = self.held.lock().await;
        let record = Record { at_work: false, ..grown(self.record.clone(), &self.journal).await? };
        if for_good {
            // First: a record that is gone then is missed by nobody.
            for machine in &held.machines {
                self.journal.keep_fact(&fact("record", machine.side), None).await?;
                self.journal.keep_fact(&fact("machine", machine.side), None).await?;
            }
        }
        let record_of = (!for_good).then_some(&record);
        put_all(&mut held.machines, &record, record_of).await?;
        if !for_good {
            for machine in &held.machines {
                self.journal.keep_fact(&fact("record", machine.side), Some(&record.mark.to_string())).await?;
            }
        }
        self.journal.keep_fact("working", None).await?;
        Ok(())
    }
}

#[async_trait]
impl Fence for Claim {
    async fn hold(&self, age: Duration) -> Result<(), Failure> {
        self.renew(age, None).await.map_err(|error| {
            let explanation = error.explain();
            let said = [vec![explanation.headline], explanation.context].concat().join("\n  ");
            let said = format!("{said}\nhint: {}", explanation.hint.unwrap_or_default());
            match error {
                Error::Side(_) => Failure::Unreachable(said),
                _ => Failure::Conflict(said),
            }
        })
    }
}

/// An epoch above all that are known.
fn raised(machines: &[Machine], known: &Known) -> u64 {
    let found = machines.iter().filter_map(|machine| machine.seen.of(&known.id)?.record.as_ref().ok());
    1 + found.map(|record| record.epoch).fold(known.epoch, u64::max)
}

/// The record with how far the journal has come.
async fn grown(mut record: Record, journal: &Journal) -> Result<Record, Error> {
    record.mark = journal.mark().await?;
    record.phases.clear();
    for run in journal.runs().await? {
        record.phases.retain(|known| known.phase != run.phase);
        record.phases.push(PhaseRecord { phase: run.phase, run: run.run, state: run.state });
    }
    Ok(record)
}

/// Writes our record on a machine, deciding anew whenever its records have changed.
async fn claim_one(
    machine: &mut Machine,
    known: &Known,
    record: &Record,
    claimant: &Claimant<'_>,
) -> Result<(), Error> {
    for _ in 0..ATTEMPTS {
        may_claim(std::slice::from_ref(machine), known, claimant.take_over)?;
        let write = match at_work(machine, known).pop() {
            // Whoever is at work there for another migration finds a higher epoch than it knows.
            Some(other) => {
                let taken = Taken { who: claimant.who.into(), place: known.place.clone(), at: claimant.clock.now() };
                Record { epoch: other.epoch + 1, at_work: false, taken: Some(taken), ..other }
            }
            None => record.clone(),
        };
        let ours = write.migration == record.migration;
        match swap_one(machine, &write.migration, Some(&write)).await? {
            Swapped::Done(seen) => {
                machine.seen = seen;
                if ours {
                    return Ok(());
                }
            }
            Swapped::Changed(seen) => machine.seen = seen,
        }
    }
    Err(SidesError::Restless { side: machine.side, name: machine.name() }.into())
}

/// Puts a record in the place of ours on all machines at once.
async fn put_all(machines: &mut [Machine], ours: &Record, put: Option<&Record>) -> Result<(), Error> {
    match machines {
        [one] => put_ours(one, ours, put).await,
        [one, other] => {
            let both = tokio::join!(put_ours(one, ours, put), put_ours(other, ours, put));
            both.0.and(both.1)
        }
        _ => Ok(()),
    }
}

/// Puts a record in the place of ours, as long as ours is there.
async fn put_ours(machine: &mut Machine, ours: &Record, put: Option<&Record>) -> Result<(), Error> {
    for _ in 0..ATTEMPTS {
        still_ours(machine, ours)?;
        match swap_one(machine, &ours.migration, put).await? {
            Swapped::Done(seen) => {
                machine.seen = seen;
                return Ok(());
            }
            Swapped::Changed(seen) => machine.seen = seen,
        }
    }
    Err(SidesError::Restless { side: machine.side, name: machine.name() }.into())
}

fn still_ours(machine: &Machine, ours: &Record) -> Result<(), SidesError> {
    let (side, name) = (machine.side, machine.name());
    match machine.seen.of(&ours.migration).map(|found| &found.record) {
        Some(Ok(found)) if found.epoch == ours.epoch && found.place == ours.place => Ok(()),
        Some(Ok(found)) => {
            Err(SidesError::TakenOver { side, name, known: ours.epoch, record: Box::new(found.clone()) })
        }
        Some(Err(why)) => {
            let (id, why) = (ours.migration.clone(), why.clone());
            Err(SidesError::Unreadable { side, name, id, ours: true, why })
        }
        None => Err(SidesError::Restored { side, name, known: ours.mark, found: None }),
    }
}

/// Gives back what was claimed before another side refused. Whether that was done.
async fn give_back(machines: &mut [Machine], record: &Record) -> bool {
    let mut all = true;
    for machine in machines {
        let free = Record { at_work: false, ..record.clone() };
        if let Err(error) = put_ours(machine, record, Some(&free)).await {
            tracing::warn!(error = %causes(&error), "a side that was claimed could not be given back");
            all = false;
        }
    }
    all
}

async fn swap_one(machine: &Machine, id: &str, record: Option<&Record>) -> Result<Swapped, SidesError> {
    swap(&machine.at, machine.side, &machine.root, &machine.seen, (id, record)).await
}
