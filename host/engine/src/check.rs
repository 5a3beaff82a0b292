//! `check`: every phase looks for whatever would make `apply` fail. Nothing is changed. A phase that cannot even look, for a
//! reason that lies with the servers, has found a blocker.

use std::sync::Arc;

use rehome_gatekeeper::CallError;
use rehome_gatekeeper::types::{Answer, Failure, Finding, Gate, Severity, Stage, Verb};

use crate::cancel::Cancel;
use crate::error::Error;
use crate::event::{Event, Sink};
use crate::failed::PhaseFailed;
use crate::migration::{Migration, within};
use crate::outcome::{Findings, PhaseFinding};
use crate::phases::Loader;
use crate::work::{Called, Ready, Work};

impl Migration {
    /// Calls `check` of every phase up to a stage.
    ///
    /// # Errors
    /// Not approved, held by another rehome, a side cannot be reached, interrupted.
    pub async fn check(
        &self,
        until: Option<Stage>,
        loader: Arc<dyn Loader>,
        sink: Arc<dyn Sink>,
        cancel: Cancel,
    ) -> Result<Findings, Error> {
        let work = self.begin(Verb::Check, loader, sink, cancel).await?;
        let phases = work.phases.iter().filter(|ready| within(ready.phase.plan.stage, until));
        let result = work.check(phases.map(|ready| (ready, ready.next_run()))).await;
        work.close().await;
        result
    }
}

impl Work {
    /// Each phase with the run it is checked for.
    pub(crate) async fn check(&self, phases: impl Iterator<Item = (&Ready, u32)>) -> Result<Findings, Error> {
        let mut all = Findings::default();
        for (ready, run) in phases {
            all.called.push(ready.id().to_string());
            let findings = match self.call(ready, run, Verb::Check).await {
                Called::Answered(Answer::Findings(findings)) => findings,
                Called::Answered(_) => vec![],
                Called::Waiting(gate) => vec![waits(ready.id(), &gate)],
                Called::Interrupted => return Err(self.interrupted(ready)),
                Called::Failed(mut failed) => match blocker(&failed) {
                    Some(finding) => vec![finding],
                    None => {
                        failed.state = vec!["nothing was changed".into()];
                        all.failures.push(*failed);
                        continue;
                    }
                },
            };
            self.found(ready, Verb::Check, findings, &mut all);
        }
        Ok(all)
    }

    pub(crate) fn found(&self, ready: &Ready, verb: Verb, findings: Vec<Finding>, all: &mut Findings) {
        for finding in findings {
            let phase = ready.id().to_string();
            self.sink.event(Event::Finding { phase: phase.clone(), verb, finding: finding.clone() });
            all.findings.push(PhaseFinding { phase, finding });
        }
    }
}

/// A question that is open while nothing is asked: good to know, no more.
pub(crate) fn waits(phase: &str, gate: &Gate) -> Finding {
    let text = match gate {
        Gate::Question(key) => format!("will ask for `{key}` before it goes on"),
        Gate::Moment(_) => Failure::Waiting(gate.clone()).to_string(),
    };
    Finding { severity: Severity::Note, subject: format!("phase {phase}"), text, hint: None }
}

/// A failed look as a finding, if it is the servers' and not the component's own fault.
fn blocker(failed: &PhaseFailed) -> Option<Finding> {
    let CallError::Failure(failure) = &failed.cause else { return None };
    match failure {
        Failure::Stopped(finding) => Some(Finding { severity: Severity::Blocker, ..finding.clone() }),
        Failure::Denied(_) | Failure::ReadOnly(_) | Failure::Waiting(_) => None,
        failure => {
            let said = failure.to_string();
            let (text, hint) = match said.split_once("\nhint: ") {
                Some((text, hint)) => (text.to_string(), Some(hint.to_string())),
                None => (said, None),
            };
            Some(Finding { severity: Severity::Blocker, subject: format!("phase {}", failed.phase), text, hint })
        }
    }
}
