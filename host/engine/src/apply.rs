//! `apply`: the one verb to continue. It takes the phases in their order, leaves out what is done, checks what has not begun,
//! and goes on where it stopped. Invariant: how a run stands is durable before the next thing happens.

use std::sync::Arc;

use rehome_gatekeeper::journal::{RunState, State};
use rehome_gatekeeper::types::{Gate, Stage, Verb};

use crate::cancel::Cancel;
use crate::error::{Error, Interrupted, UsageError};
use crate::event::{Event, Sink, Skipped};
use crate::failed::{changes, state_of};
use crate::migration::{Migration, within};
use crate::outcome::{Applied, Findings, Question};
use crate::phases::Loader;
use crate::work::{Called, Ready, Work};

/// What the command line asks `apply` for.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// no phase of a later stage
    pub until: Option<Stage>,
    /// only this phase, in a new run
    pub again: Option<String>,
    /// whoever else is at work on the sides is not any more
    pub take_over: bool,
}

impl Migration {
    /// Applies every phase that is not done, up to a gate, a failure or the end.
    ///
    /// # Errors
    /// Not approved, held by another rehome, a side cannot be reached, a phase failed, interrupted.
    pub async fn apply(
        &self,
        scope: &Scope,
        loader: Arc<dyn Loader>,
        sink: Arc<dyn Sink>,
        cancel: Cancel,
    ) -> Result<Applied, Error> {
        if let Some(again) = &scope.again {
            self.known_phase(again)?;
        }
        let work = self.begin_claiming(Verb::Apply, scope.take_over, loader, sink, cancel).await?;
        let result = match work.no_undo_under_way().await {
            Ok(()) => work.apply(scope).await,
            Err(error) => Err(error),
        };
        work.close().await;
        result
    }
}

impl Work {
    async fn apply(&self, scope: &Scope) -> Result<Applied, Error> {
        let pending = self.pending(scope)?;
        let blocked = self.check_before(&pending).await?;
        if let Some(findings) = blocked {
            return Ok(Applied::Blocked(findings));
        }
        let mut applied = Vec::new();
        for (ready, run) in pending {
            if let Some(question) = self.apply_phase(ready, run).await? {
                return Ok(Applied::Waiting { applied, phase: ready.id().to_string(), question });
            }
            applied.push(ready.id().to_string());
        }
        let left = self.phases.iter().filter(|ready| !ready.done() && !applied.iter().any(|id| id == ready.id()));
        let left = left.map(|ready| ready.id().to_string()).collect();
        Ok(Applied::Finished { applied, left })
    }

    /// What is to be done, with the number of its run.
    fn pending(&self, scope: &Scope) -> Result<Vec<(&Ready, u32)>, UsageError> {
        if let Some(again) = &scope.again {
            let Some(ready) = self.phases.iter().find(|ready| ready.id() == again) else { return Ok(vec![]) };
            return match &ready.last {
                Some(last) => Ok(vec![(ready, last.run + 1)]),
                None => Err(UsageError {
                    what: format!("phase `{again}` has not run yet: it cannot run again"),
                    more: vec![],
                    hint: Some("`rehome apply` takes the phases in their order".into()),
                }),
            };
        }
        let mut pending = Vec::new();
        for ready in &self.phases {
            if ready.done() {
                let phase = ready.id().to_string();
                self.sink.event(Event::PhaseSkipped { phase, verb: Verb::Apply, why: Skipped::Done });
            } else if within(ready.phase.plan.stage, scope.until) {
                pending.push((ready, ready.next_run()));
            }
        }
        Ok(pending)
    }

    /// Checks every phase that has changed nothing yet. Answers the findings if one of them is a blocker.
    async fn check_before(&self, pending: &[(&Ready, u32)]) -> Result<Option<Findings>, Error> {
        let mut untouched = Vec::new();
        for (ready, run) in pending {
            if self.touched(ready, *run).await? {
                let phase = ready.id().to_string();
                self.sink.event(Event::PhaseSkipped { phase, verb: Verb::Check, why: Skipped::UnderWay });
            } else {
                untouched.push((*ready, *run));
            }
        }
        let mut findings = self.check(untouched.into_iter()).await?;
        if !findings.failures.is_empty() {
            return Err(Error::Phase(Box::new(findings.failures.swap_remove(0))));
        }
        let blocked = findings.blockers().next().is_some();
        Ok(blocked.then_some(findings))
    }

    /// Whether this run of a phase has changed anything: then it goes on by looking for itself.
    async fn touched(&self, ready: &Ready, run: u32) -> Result<bool, Error> {
        if ready.last.as_ref().is_none_or(|last| last.run != run) {
            return Ok(false);
        }
        let effects = self.journal.effects_of(Some(ready.id())).await?;
        Ok(changes(&effects, &ready.phase.filled, run, Verb::Apply).any(|effect| effect.state != State::Failed))
    }

    /// One phase. Answers what it waits for, if it does.
    async fn apply_phase(&self, ready: &Ready, run: u32) -> Result<Option<Question>, Error> {
        self.hold(ready, run, RunState::Begun).await?;
        let (id, stage) = (ready.id(), ready.phase.plan.stage);
        self.journal.begin_run(id, run, stage, &ready.phase.digest, self.clock.now()).await?;
        let called = self.call(ready, run, Verb::Apply).await;
        let end = |state, text: Option<String>| async move {
            self.journal.end_run(id, run, state, text.as_deref(), self.clock.now()).await
        };
        match called {
            Called::Answered(_) => {
                end(RunState::Done, None).await?;
                Ok(None)
            }
            Called::Waiting(gate) => {
                end(RunState::Waiting, Some(gate_text(&gate))).await?;
                let question = Question::of(&self.journal, id, run, &gate, Verb::Apply).await?;
                self.sink.event(Event::Waiting { phase: id.to_string(), run, question: question.clone() });
                Ok(Some(question))
            }
            Called::Failed(mut failed) => {
                end(RunState::Failed, Some(failed.to_string())).await?;
                failed.state = self.state_lines(ready, run).await?;
                Err(failed.into())
            }
            // The run stays begun: whatever was under way is looked at when `apply` goes on.
            Called::Interrupted => Err(Interrupted {
                phase: Some(id.to_string()),
                state: self.state_lines(ready, run).await?,
                hint: "`rehome apply` goes on where it stopped".into(),
            }
            .into()),
        }
    }

    async fn state_lines(&self, ready: &Ready, run: u32) -> Result<Vec<String>, Error> {
        let effects = self.journal.effects_of(Some(ready.id())).await?;
        Ok(state_of(&effects, &ready.phase.filled, ready.id(), run))
    }
}

/// A gate as a run's last words, for `status`.
pub(crate) fn gate_text(gate: &Gate) -> String {
    serde_json::to_string(gate).unwrap_or_default()
}
