//! What verbs answer: plain data for whoever shows it. Each holds what an operator needs to go on, the exact command too.

use rehome_gatekeeper::clock;
use rehome_gatekeeper::journal::{Journal, JournalError};
use rehome_gatekeeper::types::{Finding, Forecast, Gate, Stage, Verb};
use serde::Serialize;

use crate::failed::PhaseFailed;

/// Where a migration waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "gate", rename_all = "kebab-case")]
pub enum Question {
    /// for the operator's word
    Question {
        /// what the answer is recorded under
        key: String,
        /// what is asked; safe to show
        question: String,
        /// what may be answered; empty: it was not asked yet
        options: Vec<String>,
        /// what was answered meanwhile
        answered: Option<Vec<String>>,
        /// what to type
        command: String,
        /// and then
        then: String,
    },
    /// for a moment
    Moment {
        /// UTC, seconds since 1970
        at: u64,
        /// the same, to read
        until: String,
        /// what to type from then on
        command: String,
    },
}

impl Question {
    /// What a gate of a phase asks, as the journal has it; `verb` is the one to go on with.
    pub(crate) async fn of(
        journal: &Journal,
        phase: &str,
        run: u32,
        gate: &Gate,
        verb: Verb,
    ) -> Result<Question, JournalError> {
        let then = format!("rehome {verb}");
        let key = match gate {
            Gate::Moment(at) => return Ok(Question::Moment { at: *at, until: clock::utc(*at), command: then }),
            Gate::Question(key) => key,
        };
        let asked = journal.questions(phase, run).await?.into_iter().find(|(name, _, _)| name == key);
        let (asked, answer) = asked.map(|(_, asked, answer)| (asked, answer)).unwrap_or_default();
        let words = match asked.options.as_slice() {
            [yes, no] if yes == "yes" && no == "no" => "yes",
            _ => "VALUE…",
        };
        Ok(Question::Question {
            command: format!("rehome answer {phase} {key} {words}"),
            then,
            key: key.clone(),
            question: asked.question,
            options: asked.options,
            answered: answer.map(|answer| answer.values),
        })
    }
}

/// What `undo` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undone {
    /// everything that was asked for is taken back
    Finished {
        /// the phases taken back now, in that order
        undone: Vec<String>,
        /// begun phases of earlier stages, which were not asked for
        left: Vec<String>,
    },
    /// a phase waits
    Waiting {
        /// the phases taken back now, in that order
        undone: Vec<String>,
        /// which waits
        phase: String,
        /// for what
        question: Question,
    },
}

/// A finding and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseFinding {
    /// the phase's id
    pub phase: String,
    /// what it found
    pub finding: Finding,
}

/// What `check` and `verify` answer.
#[derive(Debug, Default)]
pub struct Findings {
    /// phases that were called, in their order
    pub called: Vec<String>,
    /// phases that were not, in their order
    pub skipped: Vec<String>,
    /// in the order they were found
    pub findings: Vec<PhaseFinding>,
    /// phases that could not answer
    pub failures: Vec<PhaseFailed>,
}

impl Findings {
    /// Those that stop a migration; under `verify` the mismatches.
    pub fn blockers(&self) -> impl Iterator<Item = &PhaseFinding> {
        use rehome_gatekeeper::types::Severity;
        self.findings.iter().filter(|found| found.finding.severity == Severity::Blocker)
    }
}

/// What `preview` answers for one phase.
#[derive(Debug)]
pub struct PhasePreview {
    /// the phase's id
    pub phase: String,
    /// where it stands
    pub stage: Stage,
    /// the operator's words about it, or its component's
    pub about: String,
    /// what there is to say
    pub what: Previewed,
}

/// What there is to say of a phase.
#[derive(Debug)]
pub enum Previewed {
    /// it is done: the journal answers. UTC, seconds since 1970
    Done(Option<u64>),
    /// what `apply` would change
    Forecast(Forecast),
    /// it waits: nothing is known of what comes after its gate
    Waiting(Question),
    /// it could not answer
    Failed(Box<PhaseFailed>),
}

/// What `preview` answers.
#[derive(Debug, Default)]
pub struct Preview {
    /// in the plan's order
    pub phases: Vec<PhasePreview>,
}

impl Preview {
    /// Whether `apply` has anything left to do.
    pub fn pending(&self) -> bool {
        self.phases.iter().any(|phase| !matches!(phase.what, Previewed::Done(_)))
    }

    /// Whether services will stand still at all: a phase of the cutover is left.
    pub fn cutover_pending(&self) -> bool {
        let left = |phase: &PhasePreview| !matches!(phase.what, Previewed::Done(_));
        self.phases.iter().any(|phase| phase.stage == Stage::Cutover && left(phase))
    }

    /// Phases that know how long services will stand still for them, with milliseconds.
    pub fn standstills(&self) -> impl Iterator<Item = (&str, u64)> {
        self.phases.iter().filter_map(|phase| match &phase.what {
            Previewed::Forecast(forecast) => Some((phase.phase.as_str(), forecast.cutover_milliseconds?)),
            _ => None,
        })
    }

    /// Their sum: how long services will stand still, as far as was measured. None while no phase knows.
    pub fn cutover_milliseconds(&self) -> Option<u64> {
        self.standstills().map(|(_, milliseconds)| milliseconds).reduce(u64::saturating_add)
    }
}

/// How `apply` ended, if not by an error.
#[derive(Debug)]
pub enum Applied {
    /// everything it was to do is done
    Finished {
        /// phases that were applied now
        applied: Vec<String>,
        /// phases that are left, for a later stage
        left: Vec<String>,
    },
    /// a check found what would make it fail; nothing was changed
    Blocked(Findings),
    /// it waits at a gate
    Waiting {
        /// phases that were applied before it
        applied: Vec<String>,
        /// the phase that waits
        phase: String,
        /// for what
        question: Question,
    },
}
