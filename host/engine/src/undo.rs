//! `undo`: the phases that were begun are taken back, the last one first. It can be run again after any interruption, gate or
//! failure, as `apply` can. Invariant: while taking a phase back was begun and has not ended, nothing else changes the sides.

use std::sync::Arc;

use rehome_gatekeeper::journal::{RunState, State};
use rehome_gatekeeper::types::{Effect, Stage, Verb};

use crate::apply::gate_text;
use crate::cancel::Cancel;
use crate::error::{Error, Interrupted, UsageError};
use crate::event::{Event, Sink};
use crate::migration::Migration;
use crate::outcome::{Question, Undone};
use crate::phases::Loader;
use crate::work::{Called, Ready, Work};

/// What the command line asks `undo` for.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// no phase of an earlier stage
    pub down_to: Option<Stage>,
}

/// A phase that `undo` would take back.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ToUndo {
    /// its id in the plan
    pub phase: String,
    /// where it stands
    pub stage: Stage,
    /// "maildir 0.1.0"
    pub component: String,
    /// taking it back was begun before
    pub under_way: bool,
}

impl Migration {
    /// What `undo` would take back, in that order. Reaches no side.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn to_undo(&self, scope: &Scope) -> Result<Vec<ToUndo>, Error> {
        let Some(journal) = self.state.journal_if_there().await? else { return Ok(vec![]) };
        let runs = journal.runs().await?;
        let mut all = Vec::new();
        for phase in self.plan.phases.iter().rev().filter(|phase| reached(phase.stage, scope)) {
            let last = runs.iter().rev().find(|run| run.phase == phase.id);
            if let Some(run) = last.filter(|run| run.state != RunState::Undone) {
                all.push(ToUndo {
                    phase: phase.id.clone(),
                    stage: phase.stage,
                    component: phase.component.clone(),
                    under_way: run.state.is_undoing(),
                });
            }
        }
        Ok(all)
    }

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
        let work = self.begin(Verb::Undo, loader, sink, cancel).await?;
        let result = work.undo(scope).await;
        work.close().await;
        result
    }
}

fn reached(stage: Stage, scope: &Scope) -> bool {
    scope.down_to.is_none_or(|least| stage >= least)
}

impl Work {
    async fn undo(&self, scope: &Scope) -> Result<Undone, Error> {
        let mut undone = Vec::new();
        for ready in self.phases.iter().rev() {
            let begun = ready.last.as_ref().filter(|run| run.state != RunState::Undone);
            let Some(last) = begun.filter(|_| reached(ready.phase.plan.stage, scope)) else { continue };
            if let Some(question) = self.undo_phase(ready, last.run, last.state).await? {
                return Ok(Undone::Waiting { undone, phase: ready.id().to_string(), question });
            }
            undone.push(ready.id().to_string());
        }
        let left = self.phases.iter().filter(|ready| {
            let begun = ready.last.as_ref().is_some_and(|run| run.state != RunState::Undone);
            begun && !undone.iter().any(|id| id == ready.id())
        });
        let left = left.map(|ready| ready.id().to_string()).collect();
        Ok(Undone::Finished { undone, left })
    }

    /// One phase. Answers what it waits for, if it does.
    async fn undo_phase(&self, ready: &Ready, run: u32, former: RunState) -> Result<Option<Question>, Error> {
        let id = ready.id();
        let mark = |state, text: Option<String>| async move {
            self.journal.end_run(id, run, state, text.as_deref(), self.clock.now()).await
        };
        mark(RunState::UndoBegun, None).await?;
        match self.call(ready, run, Verb::Undo).await {
            Called::Answered(_) => {
                mark(RunState::Undone, None).await?;
                Ok(None)
            }
            Called::Waiting(gate) => {
                mark(RunState::UndoWaiting, Some(gate_text(&gate))).await?;
                let question = Question::of(&self.journal, id, run, &gate, Verb::Undo).await?;
                self.sink.event(Event::Waiting { phase: id.to_string(), run, question: question.clone() });
                Ok(Some(question))
            }
            Called::Failed(mut failed) => {
                failed.state = self.undo_lines(ready, run).await?;
                let untouched = failed.state.is_empty() && !former.is_undoing();
                if untouched {
                    // A phase that refuses, having changed nothing, does not lock the migration.
                    mark(former, ready.last.as_ref().and_then(|last| last.text.clone())).await?;
                    failed.state.push(format!("phase `{id}` stands as before: nothing of it was taken back"));
                } else {
                    mark(RunState::UndoFailed, Some(failed.to_string())).await?;
                }
                Err(failed.into())
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
        let mut named: Vec<String> = Vec::new();
        for effect in effects.iter().filter(|effect| effect.key.run == run && effect.key.verb == Verb::Undo) {
            let kind = ready.phase.filled.requests.get(&effect.key.request).map(|request| request.effect);
            if kind == Some(Effect::Read) || effect.state == State::Refused || effect.state == State::Failed {
                continue;
            }
            let side = effect.key.side.map(|side| format!(" on {side}")).unwrap_or_default();
            let name = format!("`{}`{side}", effect.key.request);
            if !named.contains(&name) {
                named.push(name);
            }
        }
        Ok(if named.is_empty() { vec![] } else { vec![format!("taken back so far, by: {}", named.join(", "))] })
    }

    /// Refuses to change anything while an undo has not ended.
    pub(crate) fn no_undo_under_way(&self) -> Result<(), UsageError> {
        let under_way = |ready: &&Ready| ready.last.as_ref().is_some_and(|run| run.state.is_undoing());
        match self.phases.iter().find(under_way) {
            None => Ok(()),
            Some(ready) => Err(UsageError {
                what: format!("an undo is under way: phase `{}` is taken back only in part", ready.id()),
                more: vec!["`apply` would build on what is half there".into()],
                hint: Some("`rehome undo` goes on with it; after that `rehome apply` begins anew".into()),
            }),
        }
    }
}
