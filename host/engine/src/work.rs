//! One verb at work: the lock is held, the journal open and whole, the grants compared, components loaded, sides connected and,
//! for a verb that changes something, claimed. The only place that calls a component. Invariant: no call before every phase
//! is approved as it is; no phase begins on a side that is not ours.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rehome_gatekeeper::journal::{Run, RunState};
use rehome_gatekeeper::types::{Answer, Context, Failure, Gate, SideName, Verb};
use rehome_gatekeeper::{CallError, Clock, Component, Host, Journal, Receipts, Scope, Session};
use rehome_remote::Side;

use crate::approval::Approval;
use crate::cancel::Cancel;
use crate::error::{Error, Interrupted, SideError};
use crate::event::{Event, FromGatekeeper, PhaseEnd, Sink};
use crate::failed::PhaseFailed;
use crate::gate::{self, OtherGate};
use crate::migration::Migration;
use crate::phases::{Loader, Phase};
use crate::sides::{Claim, Claimant, Known, PhaseRecord, machines_fit};
use crate::state::{Guard, Holder};

/// How long connections may take to end.
const CLOSING: Duration = Duration::from_secs(10);

/// Everything a verb needs to call phases.
pub(crate) struct Work {
    _guard: Guard,
    /// on the sides that are machines, for a verb that changes something
    claim: Option<Arc<Claim>>,
    host: Arc<Host>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) phases: Vec<Ready>,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) clock: Arc<Clock>,
    /// what the operator typed
    verb: Verb,
    cancel: Cancel,
    /// the migration stands where it began: it leaves nothing on the sides
    nothing_left: AtomicBool,
}

/// A phase that can be called.
pub(crate) struct Ready {
    pub(crate) phase: Phase,
    /// its last run, when the verb began
    pub(crate) last: Option<Run>,
    grants: BTreeSet<String>,
    component: Arc<dyn Component>,
}

/// How a call of a phase ended.
pub(crate) enum Called {
    Answered(Answer),
    Waiting(Gate),
    Failed(Box<PhaseFailed>),
    Interrupted,
}

impl Ready {
    pub(crate) fn id(&self) -> &str {
        self.phase.id()
    }

    /// Whether its last run is done.
    pub(crate) fn done(&self) -> bool {
        self.last.as_ref().is_some_and(|run| run.state == RunState::Done)
    }

    /// The run that `apply` would begin or go on with.
    pub(crate) fn next_run(&self) -> u32 {
        match &self.last {
            None => 1,
            Some(run) if run.state == RunState::Undone => run.run + 1,
            Some(run) => run.run,
        }
    }
}

impl Migration {
    /// Sets everything up for a verb that only reads, up to connected sides.
    pub(crate) async fn begin(
        &self,
        verb: Verb,
        loader: Arc<dyn Loader>,
        sink: Arc<dyn Sink>,
        cancel: Cancel,
    ) -> Result<Work, Error> {
        self.begin_claiming(verb, false, loader, sink, cancel).await
    }

    /// Sets everything up for `verb`, up to connected sides, claimed if the verb changes something.
    pub(crate) async fn begin_claiming(
        &self,
        verb: Verb,
        take_over: bool,
        loader: Arc<dyn Loader>,
        sink: Arc<dyn Sink>,
        cancel: Cancel,
    ) -> Result<Work, Error> {
        let approval = match self.approved(&*loader) {
            Ok(approval) => approval,
            Err(error) => {
                self.note_refusal(verb, &error).await;
                return Err(error);
            }
        };
        let holder = Holder {
            who: self.settings.who.clone(),
            pid: std::process::id(),
            since: self.clock.now(),
            verb: verb.to_string(),
        };
        let guard = self.state.lock(&holder).await?;
        let (journal, known, runs) = match self.whole_journal().await {
            Err(Error::Journal(error)) if error.damaged => return Err(self.damaged(&error).await),
            opened => opened?,
        };
        let loaded = load(approval.phases.iter().map(|asking| &asking.phase), &loader, &sink).await;
        let components = match loaded {
            Ok(components) => components,
            Err(error) => {
                self.note_refusal(verb, &error).await;
                return Err(error);
            }
        };
        let gates = [SideName::Old, SideName::New].map(|side| gate::digest(&self.plan, &approval, side));
        let mut phases = Vec::with_capacity(approval.phases.len());
        for asking in approval.phases {
            let grants = asking.grants();
            let phase = asking.phase;
            let component = components[&phase.digest].clone();
            let last = runs.iter().rev().find(|run| run.phase == phase.id()).cloned();
            phases.push(Ready { phase, last, grants, component });
        }
        let host = Host::with_services(
            self.plan.old.spec(),
            self.plan.new.spec(),
            journal.clone(),
            Arc::new(FromGatekeeper(sink.clone())),
            self.clock.clone(),
            (self.state.folder(), self.plan.services.clone()),
        );
        let (clock, nothing_left) = (self.clock.clone(), AtomicBool::new(false));
        let mut work =
            Work { _guard: guard, claim: None, host, journal, phases, sink, clock, verb, cancel, nothing_left };
        match self.claimed(&mut work, known, take_over, &gates).await {
            Ok(()) => Ok(work),
            Err(error) => {
                work.close().await;
                Err(error)
            }
        }
    }
}

impl Migration {
    /// The journal, with what it knows of itself, once it is found to be what was written.
    async fn whole_journal(&self) -> Result<(Arc<Journal>, Known, Vec<Run>), Error> {
        let journal = self.state.journal().await?;
        let known = self.known(&journal).await?;
        // Whoever let go of the sides had closed it.
        journal.check(known.working.is_some()).await?;
        let runs = journal.runs().await?;
        Ok((Arc::new(journal), known, runs))
    }

    /// Connects the sides, sees that they are the ones, and claims them if the verb changes something.
    async fn claimed(&self, work: &mut Work, known: Known, take_over: bool, gates: &[String; 2]) -> Result<(), Error> {
        let [old, new] = work.connect(gates).await?;
        let machines = self.look_at(&old, &new).await?;
        machines_fit(&machines, &known)?;
        if work.verb.only_reads() || machines.is_empty() {
            return Ok(());
        }
        let claimant = Claimant { who: &self.settings.who, verb: work.verb, clock: &self.clock, take_over };
        let claim = Arc::new(Claim::take(machines, known, work.journal.clone(), &claimant).await?);
        work.sink.event(Event::Claimed { epoch: claim.epoch(), took_over: take_over });
        work.host.fence(claim.clone());
        work.host
            .keep_receipts(Receipts { migration: claim.migration().to_owned(), roots: self.settings.roots.clone() });
        work.claim = Some(claim);
        Ok(())
    }

    fn approved(&self, loader: &dyn Loader) -> Result<Approval, Error> {
        let approval = self.approval(loader)?;
        approval.require()?;
        Ok(approval)
    }

    /// Whoever looks later finds what was not let in, and when. That it cannot be recorded does not make it let in. A plan of
    /// which nothing was ever approved has no record.
    async fn note_refusal(&self, verb: Verb, error: &Error) {
        if !self.lock_path().exists() && !self.state.folder().exists() {
            return;
        }
        let explanation = error.explain();
        let said = std::iter::once(explanation.headline).chain(explanation.context).collect::<Vec<_>>().join("\n");
        let noted = async { self.state.journal().await?.refuse("approval", verb, &said).await.map_err(Error::from) };
        if let Err(error) = noted.await {
            tracing::warn!(%error, "a refusal was not recorded");
        }
    }
}

/// Every component once, beside each other: one that was never compiled takes its time.
async fn load(
    phases: impl Iterator<Item = &Phase>,
    loader: &Arc<dyn Loader>,
    sink: &Arc<dyn Sink>,
) -> Result<HashMap<String, Arc<dyn Component>>, Error> {
    let mut tasks = HashMap::new();
    for phase in phases {
        if !tasks.contains_key(&phase.digest) {
            sink.event(Event::Loading { component: phase.component(), digest: phase.digest.clone() });
            let (phase, loader) = (phase.clone(), loader.clone());
            tasks.insert(phase.digest.clone(), tokio::task::spawn_blocking(move || phase.load(&*loader)));
        }
    }
    let mut loaded = HashMap::new();
    for (digest, task) in tasks {
        match task.await {
            Ok(component) => loaded.insert(digest, component?),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
    }
    Ok(loaded)
}

impl Work {
    /// Both sides, before anything: an unreachable host or a wrong host key is one clear error.
    async fn connect(&self, gates: &[String; 2]) -> Result<[Side; 2], Error> {
        let both = async { tokio::join!(self.host.connect(SideName::Old), self.host.connect(SideName::New)) };
        let (old, new) = tokio::select! {
            both = both => both,
            () = self.cancel.stopped() => {
                let hint = "nothing was begun; run the same command again".to_string();
                return Err(Interrupted { phase: None, state: vec![], hint }.into());
            }
        };
        let connected = |side, connected: Result<Side, _>, gate: &String| -> Result<Side, Error> {
            let connected = connected.map_err(|source| SideError { side, source })?;
            if connected.gate().is_some_and(|found| found != gate) {
                return Err(OtherGate { side }.into());
            }
            self.sink.event(Event::Connected { side, name: self.host.name(side) });
            Ok(connected)
        };
        Ok([connected(SideName::Old, old, &gates[0])?, connected(SideName::New, new, &gates[1])?])
    }

    /// Before a run of a phase changes anything: whether the sides are still ours, and that it begins.
    pub(crate) async fn hold(&self, ready: &Ready, run: u32, state: RunState) -> Result<(), Error> {
        match &self.claim {
            Some(claim) => {
                let begins = PhaseRecord { phase: ready.id().into(), run, state };
                claim.renew(Duration::ZERO, Some(begins)).await
            }
            None => Ok(()),
        }
    }

    /// The migration stands where it began: with this verb its records go, too.
    pub(crate) fn nothing_is_left(&self) {
        self.nothing_left.store(true, Ordering::Relaxed);
    }

    /// Calls a phase. Events say when it began and ended.
    pub(crate) async fn call(&self, ready: &Ready, run: u32, verb: Verb) -> Called {
        let phase = &ready.phase;
        let resumed = ready.last.as_ref().is_some_and(|last| match verb {
            Verb::Apply => last.run == run,
            Verb::Undo => last.state.is_undoing(),
            _ => false,
        });
        let (id, stage) = (phase.id().to_string(), phase.plan.stage);
        self.sink.event(Event::PhaseBegan { phase: id.clone(), verb, stage, run, resumed });
        let scope = Scope {
            phase: id.clone(),
            component: phase.filled.manifest.name.clone(),
            run,
            verb,
            approve: "rehome approve".into(),
        };
        let context = Context { phase: id.clone(), stage, run, config: phase.filled.config.to_json() };
        let session = Arc::new(Session::new(self.host.clone(), scope, phase.filled.clone(), ready.grants.clone()));
        let begun = Instant::now();
        let answer = tokio::select! {
            answer = ready.component.call(verb, &context, session.clone()) => Some(answer),
            () = self.cancel.stopped() => None,
        };
        let failed = |cause| {
            let taken_over = self.claim.as_ref().is_some_and(|claim| claim.is_lost());
            let failed = PhaseFailed::new(phase, verb, run, session.calls(), cause);
            Called::Failed(Box::new(PhaseFailed { taken_over, ..failed }))
        };
        let called = match answer {
            None => Called::Interrupted,
            Some(Err(CallError::Failure(Failure::Waiting(gate)))) => Called::Waiting(gate),
            Some(Err(cause)) => failed(cause),
            Some(Ok(answer)) if fits(verb, &answer) => Called::Answered(answer),
            Some(Ok(_)) => {
                failed(CallError::Trap { why: format!("it answered what is no answer to `{verb}`"), trace: vec![] })
            }
        };
        let how = match &called {
            Called::Answered(_) => PhaseEnd::Done,
            Called::Waiting(_) => PhaseEnd::Waiting,
            Called::Failed(_) => PhaseEnd::Failed,
            Called::Interrupted => PhaseEnd::Interrupted,
        };
        let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.sink.event(Event::PhaseEnded { phase: id, verb, run, milliseconds, how });
        called
    }

    /// An interruption of a call that only reads.
    pub(crate) fn interrupted(&self, ready: &Ready) -> Error {
        let hint = format!("`rehome {}` can be run again at any time", self.verb);
        Interrupted { phase: Some(ready.id().to_string()), state: vec!["nothing was changed".into()], hint }.into()
    }

    /// Writes what was only noted, lets go of the sides, and ends the connections.
    pub(crate) async fn close(&self) {
        if let Err(error) = self.journal.flush().await {
            tracing::warn!(%error, "the last reads were not recorded");
        }
        if let Some(claim) = &self.claim {
            claim.let_go(self.nothing_left.load(Ordering::Relaxed)).await;
        }
        if tokio::time::timeout(CLOSING, self.host.close()).await.is_err() {
            tracing::warn!("the connections did not end in time");
        }
    }
}

fn fits(verb: Verb, answer: &Answer) -> bool {
    matches!(
        (verb, answer),
        (Verb::Check | Verb::Verify, Answer::Findings(_))
            | (Verb::Preview, Answer::Forecast(_))
            | (Verb::Apply | Verb::Undo, Answer::Done)
    )
}
