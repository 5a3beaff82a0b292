//! What happens, as typed events: the one stream that the terminal, `--json` and later the report are made of.
//! Invariant: within version 1 fields are only added. Texts from components and sides are escaped before they get here.

use rehome_gatekeeper::types::{Effect, Finding, Forecast, Level, SideName, Stage, Verb};
use serde::Serialize;

use crate::outcome::Question;

/// The version of the events, the `v` of each line of `--json`.
pub const VERSION: u32 = 1;

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "fields are named for what they are; units are in their names")]
pub enum Event {
    /// a component is made ready: compiled, if it was not before
    Loading { component: String, digest: String },
    /// a side answers
    Connected { side: SideName, name: String },
    /// both sides are this migration's until the verb lets go of them
    Claimed { epoch: u64, took_over: bool },
    /// a phase is called
    PhaseBegan { phase: String, verb: Verb, stage: Stage, run: u32, resumed: bool },
    /// and answers
    PhaseEnded { phase: String, verb: Verb, run: u32, milliseconds: u64, how: PhaseEnd },
    /// a phase is not called
    PhaseSkipped { phase: String, verb: Verb, why: Skipped },
    /// a request begins
    RequestBegan {
        phase: String,
        verb: Verb,
        request: String,
        side: Option<SideName>,
        values: Vec<String>,
        effect: Effect,
    },
    /// and ends
    RequestEnded { phase: String, request: String, milliseconds: u64, failure: Option<String> },
    /// a line from the phase
    Log { phase: String, level: Level, text: String },
    /// how far a phase is
    Progress { phase: String, done: u64, total: Option<u64>, what: String },
    /// of `check` and `verify`
    Finding {
        phase: String,
        verb: Verb,
        #[serde(flatten)]
        finding: Finding,
    },
    /// of `preview`
    Forecast {
        phase: String,
        #[serde(flatten)]
        forecast: Forecast,
    },
    /// the migration waits for the operator, or for a moment
    Waiting {
        phase: String,
        run: u32,
        #[serde(flatten)]
        question: Question,
    },
}

/// How a call of a phase ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "named for what they are")]
pub enum PhaseEnd {
    Done,
    Waiting,
    Failed,
    Interrupted,
}

/// Why a phase is not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Skipped {
    /// its last run is done: the journal answers
    Done,
    /// it was never applied: nothing to verify
    NotApplied,
    /// it has changed something already in this run: it looks for itself when it goes on
    UnderWay,
}

/// Who is told. Must not block: it is called while phases run.
pub trait Sink: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event);
}

impl Sink for () {
    fn event(&self, _: Event) {}
}

/// The gatekeeper's events, as the engine's.
pub(crate) struct FromGatekeeper(pub(crate) std::sync::Arc<dyn Sink>);

impl rehome_gatekeeper::Observer for FromGatekeeper {
    fn event(&self, event: rehome_gatekeeper::Event) {
        use rehome_gatekeeper::Event as From;
        self.0.event(match event {
            From::Began { phase, verb, request, side, values, effect } => {
                Event::RequestBegan { phase, verb, request, side, values, effect }
            }
            From::Ended { phase, request, milliseconds, failure } => {
                Event::RequestEnded { phase, request, milliseconds, failure }
            }
            From::Log { phase, level, text } => Event::Log { phase, level, text },
            From::Progress { phase, done, total, what } => Event::Progress { phase, done, total, what },
        });
    }
}
