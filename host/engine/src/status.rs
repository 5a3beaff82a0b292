//! `status`: how the migration stands, from plan, lock and journal alone. No component is loaded, no side is connected, nothing
//! is made: it is quick, and may run beside an `apply`.

use rehome_gatekeeper::journal::{Effect, Journal, Run, RunState};
use rehome_gatekeeper::types::{Gate, SideName, Stage, Verb};
use serde::Serialize;

use crate::error::Error;
use crate::lock::Lock;
use crate::migration::Migration;
use crate::outcome::Question;
use crate::state::Holder;

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
    /// it never ran, or was taken back
    NotBegun,
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

/// What is safe to do now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Next {
    /// in a sentence
    pub text: String,
    /// what to type, in this order
    pub commands: Vec<String>,
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
        let (runs, open) = match &journal {
            Some(journal) => (journal.runs().await?, journal.open_effects().await?),
            None => (vec![], vec![]),
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
        let next = next(&phases, holder.as_ref(), self.clock.now());
        let (old, new) = (self.plan.old.target.to_string(), self.plan.new.target.to_string());
        Ok(Status { name: self.plan.name.clone(), old, new, phases, holder, open, left_over, next })
    }
}

fn standing(run: Option<&Run>, at_work: bool) -> PhaseStanding {
    match run.map(|run| run.state) {
        None | Some(RunState::Undone) => PhaseStanding::NotBegun,
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

/// What is safe to do now: the first thing that stands in the way decides.
fn next(phases: &[PhaseStatus], holder: Option<&Holder>, now: u64) -> Next {
    let say =
        |text: String, commands: &[&str]| Next { text, commands: commands.iter().map(|c| c.to_string()).collect() };
    if let Some(holder) = holder {
        return say(format!("{} is at work here (`rehome {}`, process {})", holder.who, holder.verb, holder.pid), &[]);
    }
    if phases.iter().any(|phase| !phase.approved) {
        return say("read what the phases ask for, and grant it".into(), &["rehome approve"]);
    }
    if let Some(phase) = phases.iter().find(|phase| matches!(phase.standing, PhaseStanding::Undoing { .. })) {
        return next_of_undo(phase, now);
    }
    let Some(phase) = phases.iter().find(|phase| !matches!(phase.standing, PhaseStanding::Done)) else {
        return say("everything is done; compare both sides".into(), &["rehome verify"]);
    };
    let id = &phase.phase;
    match &phase.standing {
        PhaseStanding::Waiting(Question::Question { key, answered: Some(values), .. }) => {
            say(format!("`{key}` is answered ({}); `apply` goes on", values.join(" ")), &["rehome apply"])
        }
        PhaseStanding::Waiting(Question::Question { command, .. }) => {
            say(format!("phase `{id}` waits for your answer"), &[command, "rehome apply"])
        }
        PhaseStanding::Waiting(Question::Moment { at, until, .. }) if now < *at => {
            say(format!("phase `{id}` waits until {until}; from then on"), &["rehome apply"])
        }
        PhaseStanding::Waiting(Question::Moment { .. }) => say("the time has come".into(), &["rehome apply"]),
        PhaseStanding::Interrupted => {
            say(format!("phase `{id}` was interrupted; `apply` goes on with it"), &["rehome apply"])
        }
        PhaseStanding::Failed { .. } => {
            say(format!("put right what phase `{id}` names; `apply` goes on with it"), &["rehome apply"])
        }
        _ if phases.iter().all(|phase| phase.run.is_none()) => {
            say("nothing has been changed yet".into(), &["rehome check", "rehome preview", "rehome apply"])
        }
        _ => say(format!("phase `{id}` is next"), &["rehome preview", "rehome apply"]),
    }
}

/// While an undo has not ended, nothing else is safe.
fn next_of_undo(phase: &PhaseStatus, now: u64) -> Next {
    let id = &phase.phase;
    let PhaseStanding::Undoing { waits, said } = &phase.standing else {
        return Next { text: String::new(), commands: vec![] };
    };
    let (text, answer) = match (waits, said) {
        (Some(Question::Moment { at, until, .. }), _) if now < *at => {
            (format!("an undo is under way; phase `{id}` waits until {until}; from then on"), None)
        }
        (Some(Question::Question { command, answered: None, .. }), _) => {
            (format!("an undo is under way; phase `{id}` waits for your answer"), Some(command.clone()))
        }
        (_, Some(_)) => {
            (format!("an undo is under way; put right what phase `{id}` names; `undo` goes on with it"), None)
        }
        _ => (format!("an undo is under way; `undo` goes on with phase `{id}`"), None),
    };
    Next { text, commands: answer.into_iter().chain(["rehome undo".to_string()]).collect() }
}
