//! `preview`: what `apply` would change now. Done phases are answered from the journal; a phase that needs what an earlier
//! one has yet to make is not known yet. Nothing is changed.

use std::sync::Arc;

use rehome_gatekeeper::CallError;
use rehome_gatekeeper::journal::Irreversible;
use rehome_gatekeeper::types::{Answer, Failure, Forecast, Verb};

use crate::cancel::Cancel;
use crate::error::Error;
use crate::event::{Event, Sink, Skipped};
use crate::migration::Migration;
use crate::outcome::{PhasePreview, Preview, Previewed, Question};
use crate::phases::Loader;
use crate::work::{Called, Ready, Work};

impl Migration {
    /// Calls `preview` of every phase that is not done.
    ///
    /// # Errors
    /// Not approved, held by another rehome, a side cannot be reached, interrupted.
    pub async fn preview(
        &self,
        loader: Arc<dyn Loader>,
        sink: Arc<dyn Sink>,
        cancel: Cancel,
    ) -> Result<Preview, Error> {
        let work = self.begin(Verb::Preview, loader, sink, cancel).await?;
        let result = work.preview().await;
        work.close().await;
        result
    }
}

impl Work {
    async fn preview(&self) -> Result<Preview, Error> {
        let mut preview = Preview::default();
        for ready in &self.phases {
            let what = self.preview_phase(ready, preview.pending()).await?;
            let plan = &ready.phase.plan;
            let about = plan.about.clone().unwrap_or_else(|| ready.phase.filled.manifest.about.clone());
            preview.phases.push(PhasePreview { phase: plan.id.clone(), stage: plan.stage, about, what });
        }
        Ok(preview)
    }

    async fn preview_phase(&self, ready: &Ready, earlier_pending: bool) -> Result<Previewed, Error> {
        let phase = ready.id().to_string();
        if ready.done() {
            self.sink.event(Event::PhaseSkipped { phase, verb: Verb::Preview, why: Skipped::Done });
            return Ok(Previewed::Done(ready.last.as_ref().and_then(|run| run.ended_at)));
        }
        let run = ready.next_run();
        let forecast = match self.call(ready, run, Verb::Preview).await {
            Called::Answered(Answer::Forecast(forecast)) => forecast,
            Called::Answered(_) => Forecast::default(),
            Called::Interrupted => return Err(self.interrupted(ready)),
            Called::Waiting(gate) => {
                let question = Question::of(&self.journal, ready.id(), run, &gate, Verb::Apply).await?;
                self.sink.event(Event::Waiting { phase, run, question: question.clone() });
                return Ok(Previewed::Waiting(question));
            }
            Called::Failed(mut failed) => match &failed.cause {
                CallError::Failure(Failure::NotFound(text)) if earlier_pending => {
                    Forecast { not_known_yet: vec![text.clone()], ..Forecast::default() }
                }
                _ => {
                    failed.state = vec!["nothing was changed".into()];
                    return Ok(Previewed::Failed(failed));
                }
            },
        };
        // `undo` shows it before it begins: by then nothing could tell it any more.
        let marked: Vec<Irreversible> = forecast
            .changes
            .iter()
            .filter(|change| !change.reversible)
            .map(|change| Irreversible { subject: change.subject.clone(), text: change.after.clone() })
            .collect();
        self.journal.keep_previewed(&phase, run, &marked).await?;
        self.sink.event(Event::Forecast { phase, forecast: forecast.clone() });
        Ok(Previewed::Forecast(forecast))
    }
}
