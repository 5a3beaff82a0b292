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
use crate::sides::{SIDES, Working, at};
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
    /// what the state knows of the migration's claim on the sides
    pub claim: Option<ClaimStatus>,
    /// `once` effects whose end nobody saw
    pub open: Vec<OpenEffect>,
    /// phases that ran, and that the plan does not have any more
    pub left_over: Vec<String>,
    /// how far an undo that is under way has come
    pub undo: Option<UndoProgress>,
    /// what is safe to do now
    pub next: Next,
}

/// What the state knows of the migration's claim on the sides. How the sides' records stand only they know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClaimStatus {
    /// the migration's id: the name of its record in /var/lib/rehome on both sides
    pub migration: String,
    /// how often it was taken over, and one
    pub epoch: u64,
    /// the sides that have a record of it
    pub sides: Vec<SideName>,
    /// a verb that claimed the sides and has not let go of them
    pub working: Option<Working>,
    /// nobody is at it: it was killed, or a side could not be reached any more
    pub stale: bool,
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenEffect {
    /// the effect's number in the journal
    pub id: u64,
    /// whose it is
    pub phase: String,
    /// "exec.delete"
    pub request: String,
    /// where
    pub side: Option<SideName>,
    /// under which verb
    pub verb: Verb,
    /// what filled its holes: JSON
    pub values: String,
    /// what is known of how it went
    pub known: Option<String>,
    /// UTC, milliseconds since 1970
    pub begun_at: u64,
    /// what to type if it happened, and if it did not
    pub commands: [String; 2],
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
        let claim = match &journal {
            Some(journal) => self.claim_status(journal, holder.is_some()).await?,
            None => None,
        };
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
        let open = if at_work { vec![] } else { open_effects(&open) };
        let next = next(&phases, &open, undo, holder.as_ref(), self.clock.now());
        let (old, new) = (self.plan.old.target.to_string(), self.plan.new.target.to_string());
        Ok(Status { name: self.plan.name.clone(), old, new, phases, holder, claim, open, left_over, undo, next })
    }

    async fn claim_status(&self, journal: &Journal, held: bool) -> Result<Option<ClaimStatus>, Error> {
        let known = self.known(journal).await?;
        let sides: Vec<SideName> = SIDES.into_iter().filter(|side| known.left[at(*side)].is_some()).collect();
        let stale = known.working.is_some() && !held;
        let begun = known.working.is_some() || !sides.is_empty();
        let (migration, epoch, working) = (known.id, known.epoch, known.working);
        Ok(begun.then_some(ClaimStatus { migration, epoch, sides, working, stale }))
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

/// Open effects, with what to type about each: with its number where a phase has several.
pub(crate) fn open_effects(effects: &[Effect]) -> Vec<OpenEffect> {
    let several = |effect: &Effect| effects.iter().filter(|other| other.key.phase == effect.key.phase).count() > 1;
    let open = |effect: &Effect| {
        let mut open = OpenEffect {
            id: effect.id,
            phase: effect.key.phase.clone(),
            request: effect.key.request.clone(),
            side: effect.key.side,
            verb: effect.key.verb,
            values: effect.key.values.clone(),
            known: effect.failure.clone(),
            begun_at: effect.begun_at,
            commands: Default::default(),
        };
        open.commands = ["did", "did-not"].map(|word| open.command(word, several(effect)));
        open
    };
    effects.iter().map(open).collect()
}

impl OpenEffect {
    /// What to type: "rehome resolve mail did 17".
    pub fn command(&self, word: &str, with_number: bool) -> String {
        let number = if with_number { format!(" {}", self.id) } else { String::new() };
        format!("rehome resolve {} {word}{number}", self.phase)
    }

    /// "effect 17: `exec.delete` on old, for [\"4F2A\"]".
    pub fn told(&self) -> String {
        let side = self.side.map(|side| format!(" on {side}")).unwrap_or_default();
        let values = if self.values == "[]" { String::new() } else { format!(", for {}", self.values) };
        format!("effect {}: `{}`{side}{values}", self.id, self.request)
    }
}
