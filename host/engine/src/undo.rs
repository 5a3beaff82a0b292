//! `undo`: the phases that were begun are taken back, the last one first. It can be run again after any interruption, gate or
//! failure, as `apply` can. Invariant: from its beginning to its end, which are durable, nothing else changes the sides.
//! What it takes back is decided in `to_undo.rs`.

use std::sync::Arc;

use rehome_gatekeeper::Journal;
use rehome_gatekeeper::journal::{Run, RunState, State};
use rehome_gatekeeper::types::Verb;

use crate::apply::gate_text;
use crate::cancel::Cancel;
use crate::error::{Error, Interrupted, UsageError};
use crate::event::{Event, Sink};
use crate::failed::{PhaseFailed, effects_of_run};
use crate::migration::Migration;
use crate::outcome::{Question, Undone};
use crate::phases::Loader;
use crate::state::{Guard, Holder};
use crate::to_undo::{Scope, UndoPlan, UndoProgress, choose, progress};
use crate::work::{Called, Ready, Work};

/// How taking back one phase ended, if not by an error that leaves it in part.
enum Back {
    Whole,
    Waits(Question),
    /// it failed before it changed anything: the phase stands as before
    Not(Box<PhaseFailed>),
}

impl Migration {
    /// Takes back every phase that was begun, the last one first, up to a gate, a failure or the end.
    ///
    /// # Errors
    /// Not approved, held by another rehome, a side cannot be reached, a phase failed, interrupted.
    pub async fn undo(
        &self,
        scope: &Scope,
        loader: Arc<dyn Loader>,
        sink: Arc<dyn Sink>,
        cancel: Cancel,
    ) -> Result<Undone, Error> {
        let work = self.begin_claiming(Verb::Undo, scope.take_over, loader, sink, cancel).await?;
        let result = work.undo(scope).await;
        work.close().await;
        result
    }

    /// Ends an undo where it stands, between two phases: what is taken back stays so, and `apply` goes forward from there.
    /// Reaches no side. Answers how far it had come.
    ///
    /// # Errors
    /// No undo is under way; a phase is taken back only in part; held by another rehome.
    pub async fn undo_stop_here(&self) -> Result<UndoProgress, Error> {
        let (_guard, journal) = self.for_undo().await?;
        let (plan, under_way) = self.undo_under_way().await?;
        if let Some(half) = plan.phases.iter().find(|phase| phase.under_way) {
            let hint = format!(
                "`rehome undo` goes on with it; if it cannot be done but by hand, do it, then `rehome undo --by-hand {}`",
                half.phase
            );
            return Err(UsageError {
                what: format!("phase `{}` is taken back only in part: the undo cannot end there", half.phase),
                more: vec![],
                hint: Some(hint),
            }
            .into());
        }
        journal.end_undo(self.clock.now()).await?;
        Ok(under_way)
    }

    /// Counts the phase at which an undo stands as taken back: the operator has done it by hand. Reaches no side.
    ///
    /// # Errors
    /// No undo is under way; it is at another phase; held by another rehome.
    pub async fn undo_by_hand(&self, phase: &str) -> Result<(), Error> {
        self.known_phase(phase)?;
        let (_guard, journal) = self.for_undo().await?;
        let (plan, _) = self.undo_under_way().await?;
        if let Some(at) = plan.phases.first().filter(|at| at.phase != phase) {
            return Err(UsageError {
                what: format!("the undo is at phase `{}`, not at `{phase}`", at.phase),
                more: vec!["phases are taken back in the reverse of the plan's order".into()],
                hint: Some("`rehome undo` goes on with it".into()),
            }
            .into());
        }
        let Some(run) = journal.last_run(phase).await? else { return Ok(()) };
        let said = format!("by hand, says {}", self.settings.who);
        journal.end_run(phase, run.run, RunState::Undone, Some(&said), self.clock.now()).await?;
        if plan.phases.len() == 1 {
            journal.end_undo(self.clock.now()).await?;
        }
        Ok(())
    }

    async fn for_undo(&self) -> Result<(Guard, Journal), Error> {
        let holder = Holder {
            who: self.settings.who.clone(),
            pid: std::process::id(),
            since: self.clock.now(),
            verb: Verb::Undo.to_string(),
        };
        Ok((self.state.lock(&holder).await?, self.state.journal().await?))
    }

    async fn undo_under_way(&self) -> Result<(UndoPlan, UndoProgress), Error> {
        let plan = self.to_undo(&Scope::default()).await?;
        match plan.under_way {
            Some(under_way) => Ok((plan, under_way)),
            None => Err(UsageError {
                what: "no undo is under way".into(),
                more: vec![],
                hint: Some("`rehome status` says how the migration stands".into()),
            }
            .into()),
        }
    }
}

/// Whether a later run of the phase says how it stands.
fn superseded(runs: &[Run], run: &Run) -> bool {
    runs.iter().any(|later| later.phase == run.phase && later.run > run.run)
}

impl Work {
    async fn undo(&self, scope: &Scope) -> Result<Undone, Error> {
        let runs: Vec<Run> = self.phases.iter().filter_map(|ready| ready.last.clone()).collect();
        let phases: Vec<_> = self.phases.iter().map(|ready| ready.phase.plan.clone()).collect();
        let open = self.journal.open_undo().await?;
        let chosen = choose(&phases, &runs, open.as_ref(), scope)?;
        let order: Vec<(String, u32)> = chosen.phases.iter().map(|(_, run)| (run.phase.clone(), run.run)).collect();
        if !chosen.goes_on && !order.is_empty() {
            self.journal.begin_undo(&order, self.clock.now()).await?;
        }
        let mut undone: Vec<String> = Vec::new();
        for (id, run) in &order {
            let Some(ready) = self.phases.iter().find(|ready| ready.id() == id) else { continue };
            match self.undo_phase(ready, *run).await? {
                Back::Whole => undone.push(id.clone()),
                Back::Waits(question) => return Ok(Undone::Waiting { undone, phase: id.clone(), question }),
                Back::Not(failed) => return Err(self.stands(*failed, &undone, chosen.goes_on).await?),
            }
        }
        self.journal.end_undo(self.clock.now()).await?;
        let left = self.phases.iter().filter(|ready| {
            let begun = ready.last.as_ref().is_some_and(|run| run.state != RunState::Undone);
            begun && !undone.iter().any(|id| id == ready.id())
        });
        let left: Vec<String> = left.map(|ready| ready.id().to_string()).collect();
        let every_run = self.journal.runs().await?;
        if every_run.iter().all(|run| run.state == RunState::Undone || superseded(&every_run, run)) {
            self.nothing_is_left();
        }
        Ok(Undone::Finished { undone, left })
    }

    /// A phase that refuses, having changed nothing. If it is the first one, there was no undo; else it stands between two
    /// phases, and the operator may go on in either direction.
    async fn stands(&self, mut failed: PhaseFailed, undone: &[String], goes_on: bool) -> Result<Error, Error> {
        failed.state.push(format!("phase `{}` stands as before: nothing of it was taken back", failed.phase));
        if undone.is_empty() && !goes_on {
            self.journal.end_undo(self.clock.now()).await?;
            return Ok(Box::new(failed).into());
        }
        if !undone.is_empty() {
            failed.state.push(format!("taken back before it: {}", undone.join(", ")));
        }
        failed.state.push(
            "`rehome undo` tries it again; `rehome undo --stop-here` leaves it at that, and `rehome apply` goes forward".into(),
        );
        Ok(Box::new(failed).into())
    }

    async fn undo_phase(&self, ready: &Ready, run: u32) -> Result<Back, Error> {
        self.hold(ready, run, RunState::UndoBegun).await?;
        let id = ready.id();
        let former = ready.last.clone();
        let mark = |state, text: Option<String>| async move {
            self.journal.end_run(id, run, state, text.as_deref(), self.clock.now()).await
        };
        mark(RunState::UndoBegun, None).await?;
        match self.call(ready, run, Verb::Undo).await {
            Called::Answered(_) => {
                mark(RunState::Undone, None).await?;
                Ok(Back::Whole)
            }
            Called::Waiting(gate) => {
                mark(RunState::UndoWaiting, Some(gate_text(&gate))).await?;
                let question = Question::of(&self.journal, id, run, &gate, Verb::Undo).await?;
                self.sink.event(Event::Waiting { phase: id.to_string(), run, question: question.clone() });
                Ok(Back::Waits(question))
            }
            Called::Failed(mut failed) => {
                failed.state = self.undo_lines(ready, run).await?;
                match former.filter(|former| failed.state.is_empty() && !former.state.is_undoing()) {
                    Some(former) => {
                        let ended_at = former.ended_at.unwrap_or_else(|| self.clock.now());
                        self.journal.end_run(id, run, former.state, former.text.as_deref(), ended_at).await?;
                        Ok(Back::Not(failed))
                    }
                    None => {
                        mark(RunState::UndoFailed, Some(failed.to_string())).await?;
                        Err(failed.into())
                    }
                }
            }
            Called::Interrupted => Err(Interrupted {
                phase: Some(id.to_string()),
                state: self.undo_lines(ready, run).await?,
                hint: "`rehome undo` goes on where it stopped".into(),
            }
            .into()),
        }
    }

    /// What taking back this run has done so far, from the journal.
    async fn undo_lines(&self, ready: &Ready, run: u32) -> Result<Vec<String>, Error> {
        let effects = self.journal.effects_of(Some(ready.id())).await?;
        let mut lines = Vec::new();
        for (heading, states) in [
            ("taken back so far, by", &[State::Done][..]),
            ("not done, or only in part", &[State::Failed]),
            ("begun, and not seen to its end", &[State::Begun, State::Unknown]),
        ] {
            let named = effects_of_run(&effects, &ready.phase.filled, run, Verb::Undo, states);
            if !named.is_empty() {
                lines.push(format!("{heading}: {}", named.join(", ")));
            }
        }
        Ok(lines)
    }

    /// Refuses to go forward while an undo has not ended.
    pub(crate) async fn no_undo_under_way(&self) -> Result<(), Error> {
        let runs: Vec<Run> = self.phases.iter().filter_map(|ready| ready.last.clone()).collect();
        let phases: Vec<_> = self.phases.iter().map(|ready| ready.phase.plan.clone()).collect();
        let open = self.journal.open_undo().await?;
        let Some(UndoProgress { taken_back, total, .. }) = progress(&phases, &runs, open.as_ref()) else {
            return Ok(());
        };
        let half = self.phases.iter().find(|ready| ready.last.as_ref().is_some_and(|run| run.state.is_undoing()));
        let (more, hint) = match half {
            Some(half) => (
                format!("phase `{}` is taken back only in part: `apply` would build on what is half there", half.id()),
                "`rehome undo` goes on with it; after that `rehome apply` begins anew",
            ),
            None => (
                "it stands between two phases".to_string(),
                "`rehome undo` goes on with it; or `rehome undo --stop-here`, and `rehome apply` goes forward from there",
            ),
        };
        Err(UsageError {
            what: format!("an undo is under way: {taken_back} of {total} phases are taken back"),
            more: vec![more],
            hint: Some(hint.into()),
        }
        .into())
    }
}
