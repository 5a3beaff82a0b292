//! `status`: how the migration stands, from plan, lock and journal alone. No component is loaded, no side is connected, nothing
//! is made: it is quick, and may run beside an `apply`.

use rehome_gatekeeper::journal::{Effect, Journal, Run, RunState};
use rehome_gatekeeper::types::{Gate, SideName, Stage, Verb};
use serde::Serialize;

use crate::error::Error;
use crate::lock::Lock;
use crate::migration::Migration;
pub use crate::next::Next;
use crate::next::next;
use crate::outcome::Question;
use crate::state::Holder;
use crate::to_undo::{UndoProgress, progress};

/// How a migration stands.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// what the operator calls it
    pub name: String,
    /// how old is reached
    pub old: String,
    /// how new is reached
    pub new: String,
    /// in the plan's order
    pub phases: Vec<PhaseStatus>,
    /// who is at work on it now
    pub holder: Option<Holder>,
    /// `once` effects whose end nobody saw
    pub open: Vec<OpenEffect>,
    /// phases that ran, and that the plan does not have any more
    pub left_over: Vec<String>,
    /// how far an undo that is under way has come
    pub undo: Option<UndoProgress>,
    /// what is safe to do now
    pub next: Next,
}

/// How a phase stands.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseStatus {
    /// its id in the plan
    pub phase: String,
    /// where it stands
    pub stage: Stage,
    /// as the plan names it
    pub component: String,
    /// the operator's words about it
    pub about: Option<String>,
    /// whether `plan.lock` has it
    pub approved: bool,
    /// its last run
    pub run: Option<u32>,
    /// UTC, seconds since 1970
    pub begun_at: Option<u64>,
    /// UTC, seconds since 1970
    pub ended_at: Option<u64>,
    /// how its last run stands
    #[serde(flatten)]
    pub standing: PhaseStanding,
}

/// How a phase's last run stands.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "standing", rename_all = "kebab-case")]
pub enum PhaseStanding {
    /// it never ran
    NotBegun,
    /// it was taken back
    TakenBack,
    /// a rehome is at it
    UnderWay,
    /// it was begun, and nobody is at it
    Interrupted,
    /// at a gate
    Waiting(Question),
    /// it ended with a failure
    Failed {
        /// the failure's first line
        said: String,
    },
    /// taking it back was begun, and has not ended
    Undoing {
        /// what it waits for, if it does
        waits: Option<Question>,
        /// the failure's first line, if it failed
        said: Option<String>,
    },
    /// it is done
    Done,
}

/// A `once` effect whose end nobody saw.
#[derive(Clone, Debug, Serialize)]
pub struct OpenEffect {
    /// the effect's number in the journal
    pub id: u64,
    /// whose it is
    pub phase: String,
    /// "exec.delete"
    pub request: String,
    /// where
    pub side: Option<SideName>,
    /// UTC, milliseconds since 1970
    pub begun_at: u64,
}

impl Migration {
    /// How the migration stands.
    ///
    /// # Errors
    /// The lock or the journal cannot be read.
    pub async fn status(&self) -> Result<Status, Error> {
        let lock = Lock::read(&self.lock_path())?;
        let journal = self.state.journal_if_there().await?;
        let holder = self.state.holder();
        let (runs, open, undo) = match &journal {
            Some(journal) => {
                let (runs, undo) = (journal.runs().await?, journal.open_undo().await?);
                let undo = progress(&self.plan.phases, &runs, undo.as_ref());
                (runs, journal.open_effects().await?, undo)
            }
            None => (vec![], vec![], None),
        };
        let at_work = holder.as_ref().is_some_and(|holder| matches!(holder.verb.as_str(), "apply" | "undo"));
        let mut phases = Vec::with_capacity(self.plan.phases.len());
        for phase in &self.plan.phases {
            let run = runs.iter().rev().find(|run| run.phase == phase.id);
            let standing = match (run, &journal) {
                (Some(run), Some(journal)) if matches!(run.state, RunState::Waiting | RunState::UndoWaiting) => {
                    waiting(journal, run).await?
                }
                (run, _) => standing(run, at_work),
            };
            phases.push(PhaseStatus {
                phase: phase.id.clone(),
                stage: phase.stage,
                component: phase.component.clone(),
                about: phase.about.clone(),
                approved: lock.phases.contains_key(&phase.id),
                run: run.map(|run| run.run),
                begun_at: run.map(|run| run.begun_at),
                ended_at: run.and_then(|run| run.ended_at),
                standing,
            });
        }
        let mut left_over: Vec<String> = Vec::new();
        for run in &runs {
            if self.plan.phase(&run.phase).is_none() && !left_over.contains(&run.phase) {
                left_over.push(run.phase.clone());
            }
        }
        // While somebody is at work, an effect that has begun is simply under way.
        let open = if at_work { vec![] } else { open.iter().map(open_effect).collect() };
        let next = next(&phases, undo, holder.as_ref(), self.clock.now());
        let (old, new) = (self.plan.old.target.to_string(), self.plan.new.target.to_string());
        Ok(Status { name: self.plan.name.clone(), old, new, phases, holder, open, left_over, undo, next })
    }
}

fn standing(run: Option<&Run>, at_work: bool) -> PhaseStanding {
    match run.map(|run| run.state) {
        None => PhaseStanding::NotBegun,
        Some(RunState::Undone) => PhaseStanding::TakenBack,
        Some(RunState::Begun) if at_work => PhaseStanding::UnderWay,
        Some(RunState::Begun | RunState::Waiting) => PhaseStanding::Interrupted,
        Some(RunState::Failed) => PhaseStanding::Failed {
            said: run.and_then(|run| run.text.clone()).unwrap_or_else(|| "for a reason that was not recorded".into()),
        },
        Some(RunState::Done) => PhaseStanding::Done,
        Some(RunState::UndoBegun | RunState::UndoWaiting) => PhaseStanding::Undoing { waits: None, said: None },
        Some(RunState::UndoFailed) => {
            PhaseStanding::Undoing { waits: None, said: run.and_then(|run| run.text.clone()) }
        }
    }
}

/// A run at a gate, on its way forward or back.
async fn waiting(journal: &Journal, run: &Run) -> Result<PhaseStanding, Error> {
    let Ok(gate) = serde_json::from_str::<Gate>(run.text.as_deref().unwrap_or_default()) else {
        return Ok(standing(Some(run), false));
    };
    let verb = if run.state == RunState::UndoWaiting { Verb::Undo } else { Verb::Apply };
    let question = Question::of(journal, &run.phase, run.run, &gate, verb).await?;
    Ok(match verb {
        Verb::Undo => PhaseStanding::Undoing { waits: Some(question), said: None },
        _ => PhaseStanding::Waiting(question),
    })
}

fn open_effect(effect: &Effect) -> OpenEffect {
    OpenEffect {
        id: effect.id,
        phase: effect.key.phase.clone(),
        request: effect.key.request.clone(),
        side: effect.key.side,
        begun_at: effect.begun_at,
    }
}
