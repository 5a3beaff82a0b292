//! `verify`: every phase that was applied compares both sides. A blocker is a mismatch. Nothing is changed.

use std::sync::Arc;

use rehome_gatekeeper::CallError;
use rehome_gatekeeper::types::{Answer, Failure, Finding, Severity, Verb};

use crate::cancel::Cancel;
use crate::check::waits;
use crate::error::Error;
use crate::event::{Event, Sink, Skipped};
use crate::migration::Migration;
use crate::outcome::Findings;
use crate::phases::Loader;
use crate::work::{Called, Work};

impl Migration {
    /// Calls `verify` of every phase whose last run is done.
    ///
    /// # Errors
    /// Not approved, held by another rehome, a side cannot be reached, interrupted.
    pub async fn verify(
        &self,
        loader: Arc<dyn Loader>,
        sink: Arc<dyn Sink>,
        cancel: Cancel,
    ) -> Result<Findings, Error> {
        let work = self.begin(Verb::Verify, loader, sink, cancel).await?;
        let result = work.verify().await;
        work.close().await;
        result
    }
}

impl Work {
    async fn verify(&self) -> Result<Findings, Error> {
        let mut all = Findings::default();
        for ready in &self.phases {
            let phase = ready.id().to_string();
            let Some(last) = ready.last.as_ref().filter(|_| ready.done()) else {
                self.sink.event(Event::PhaseSkipped {
                    phase: phase.clone(),
                    verb: Verb::Verify,
                    why: Skipped::NotApplied,
                });
                all.skipped.push(phase);
                continue;
            };
            all.called.push(phase);
            let findings = match self.call(ready, last.run, Verb::Verify).await {
                Called::Answered(Answer::Findings(findings)) => findings,
                Called::Answered(_) => vec![],
                Called::Waiting(gate) => vec![waits(ready.id(), &gate)],
                Called::Interrupted => return Err(self.interrupted(ready)),
                Called::Failed(mut failed) => match &failed.cause {
                    CallError::Failure(Failure::Stopped(finding)) => {
                        vec![Finding { severity: Severity::Blocker, ..finding.clone() }]
                    }
                    _ => {
                        failed.state = vec!["nothing was changed".into()];
                        all.failures.push(*failed);
                        continue;
                    }
                },
            };
            self.found(ready, Verb::Verify, findings, &mut all);
        }
        Ok(all)
    }
}
