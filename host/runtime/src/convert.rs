//! Types of the contract to the gatekeeper's and back: the same things, twice. Invariant: nothing is dropped or interpreted;
//! a new variant in `wit/` or in `types.rs` does not compile until it stands here; text from a component goes through `shown`.

use rehome_gatekeeper::types as ours;

use crate::bindings::exports::rehome::phase::lifecycle;
use crate::bindings::rehome::phase::types::{Failure, Finding, Gate, Host, Severity, Side, Tool, Unknown};
use crate::guest::Guest;
use crate::shown::shown;

/// The interface has only types.
impl Host for Guest {}

impl From<Side> for ours::SideName {
    fn from(side: Side) -> Self {
        match side {
            Side::Old => ours::SideName::Old,
            Side::New => ours::SideName::New,
        }
    }
}

impl From<ours::Severity> for Severity {
    fn from(severity: ours::Severity) -> Self {
        match severity {
            ours::Severity::Ok => Severity::Ok,
            ours::Severity::Note => Severity::Note,
            ours::Severity::Warning => Severity::Warning,
            ours::Severity::Blocker => Severity::Blocker,
        }
    }
}

impl From<Severity> for ours::Severity {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Ok => ours::Severity::Ok,
            Severity::Note => ours::Severity::Note,
            Severity::Warning => ours::Severity::Warning,
            Severity::Blocker => ours::Severity::Blocker,
        }
    }
}

impl From<ours::Finding> for Finding {
    fn from(ours::Finding { severity, subject, text, hint }: ours::Finding) -> Self {
        Finding { severity: severity.into(), subject, text, hint }
    }
}

impl From<Finding> for ours::Finding {
    fn from(Finding { severity, subject, text, hint }: Finding) -> Self {
        ours::Finding { severity: severity.into(), subject: shown(subject), text: shown(text), hint: hint.map(shown) }
    }
}

/// A list of them.
pub(crate) fn findings(found: Vec<Finding>) -> Vec<ours::Finding> {
    found.into_iter().map(Into::into).collect()
}

fn all_shown(texts: Vec<String>) -> Vec<String> {
    texts.into_iter().map(shown).collect()
}

impl From<ours::Gate> for Gate {
    fn from(gate: ours::Gate) -> Self {
        match gate {
            ours::Gate::Question(key) => Gate::Question(key),
            ours::Gate::Moment(at) => Gate::Moment(at),
        }
    }
}

impl From<Gate> for ours::Gate {
    fn from(gate: Gate) -> Self {
        match gate {
            Gate::Question(key) => ours::Gate::Question(shown(key)),
            Gate::Moment(at) => ours::Gate::Moment(at),
        }
    }
}

impl From<ours::Tool> for Tool {
    fn from(ours::Tool { request, status, diagnostic }: ours::Tool) -> Self {
        Tool { request, status, diagnostic }
    }
}

impl From<Tool> for ours::Tool {
    fn from(Tool { request, status, diagnostic }: Tool) -> Self {
        ours::Tool { request: shown(request), status, diagnostic: shown(diagnostic) }
    }
}

impl From<ours::Failure> for Failure {
    fn from(failure: ours::Failure) -> Self {
        match failure {
            ours::Failure::Denied(text) => Failure::Denied(text),
            ours::Failure::ReadOnly(text) => Failure::ReadOnly(text),
            ours::Failure::RefusedValue(text) => Failure::RefusedValue(text),
            ours::Failure::Unsupported(text) => Failure::Unsupported(text),
            ours::Failure::Waiting(gate) => Failure::Waiting(gate.into()),
            ours::Failure::OutcomeUnknown { effect_id, request, values } => {
                Failure::OutcomeUnknown(Unknown { effect_id, request, values })
            }
            ours::Failure::EndedBadly(tool) => Failure::EndedBadly(tool.into()),
            ours::Failure::Unreachable(text) => Failure::Unreachable(text),
            ours::Failure::OverLimit(text) => Failure::OverLimit(text),
            ours::Failure::Conflict(text) => Failure::Conflict(text),
            ours::Failure::NotFound(text) => Failure::NotFound(text),
            ours::Failure::Stopped(finding) => Failure::Stopped(finding.into()),
            ours::Failure::Other(tool) => Failure::Other(tool.into()),
        }
    }
}

impl From<Failure> for ours::Failure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Denied(text) => ours::Failure::Denied(shown(text)),
            Failure::ReadOnly(text) => ours::Failure::ReadOnly(shown(text)),
            Failure::RefusedValue(text) => ours::Failure::RefusedValue(shown(text)),
            Failure::Unsupported(text) => ours::Failure::Unsupported(shown(text)),
            Failure::Waiting(gate) => ours::Failure::Waiting(gate.into()),
            Failure::OutcomeUnknown(Unknown { effect_id, request, values }) => {
                ours::Failure::OutcomeUnknown { effect_id, request: shown(request), values: all_shown(values) }
            }
            Failure::EndedBadly(tool) => ours::Failure::EndedBadly(tool.into()),
            Failure::Unreachable(text) => ours::Failure::Unreachable(shown(text)),
            Failure::OverLimit(text) => ours::Failure::OverLimit(shown(text)),
            Failure::Conflict(text) => ours::Failure::Conflict(shown(text)),
            Failure::NotFound(text) => ours::Failure::NotFound(shown(text)),
            Failure::Stopped(finding) => ours::Failure::Stopped(finding.into()),
            Failure::Other(tool) => ours::Failure::Other(tool.into()),
        }
    }
}

impl From<ours::Stage> for lifecycle::Stage {
    fn from(stage: ours::Stage) -> Self {
        match stage {
            ours::Stage::Prepare => lifecycle::Stage::Prepare,
            ours::Stage::Copy => lifecycle::Stage::Copy,
            ours::Stage::Cutover => lifecycle::Stage::Cutover,
            ours::Stage::Settle => lifecycle::Stage::Settle,
            ours::Stage::Retire => lifecycle::Stage::Retire,
        }
    }
}

impl From<&ours::Context> for lifecycle::Context {
    fn from(context: &ours::Context) -> Self {
        let ours::Context { phase, stage, run, config } = context.clone();
        lifecycle::Context { phase, stage: stage.into(), run, config }
    }
}

impl From<lifecycle::Change> for ours::Change {
    fn from(lifecycle::Change { subject, before, after, reversible }: lifecycle::Change) -> Self {
        ours::Change { subject: shown(subject), before: before.map(shown), after: shown(after), reversible }
    }
}

impl From<lifecycle::Forecast> for ours::Forecast {
    fn from(forecast: lifecycle::Forecast) -> Self {
        let lifecycle::Forecast { changes, cutover_milliseconds, not_known_yet } = forecast;
        ours::Forecast {
            changes: changes.into_iter().map(Into::into).collect(),
            cutover_milliseconds,
            not_known_yet: all_shown(not_known_yet),
        }
    }
}

/// What a capability answers the component: the gatekeeper's result in the contract's types. The outer result is
/// wasmtime's, for traps; an answer is never one.
pub(crate) fn answered<T, U: From<T>>(result: Result<T, ours::Failure>) -> wasmtime::Result<Result<U, Failure>> {
    Ok(result.map(Into::into).map_err(Into::into))
}

/// The same for lists.
pub(crate) fn listed<T, U: From<T>>(
    result: Result<Vec<T>, ours::Failure>,
) -> wasmtime::Result<Result<Vec<U>, Failure>> {
    Ok(result.map(|items| items.into_iter().map(Into::into).collect()).map_err(Into::into))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_in_a_failure_or_a_finding_is_made_safe() {
        let finding = Finding {
            severity: Severity::Ok,
            subject: "\x1b[2J".into(),
            text: "\u{202e}".into(),
            hint: Some("\x07".into()),
        };
        let failure = ours::Failure::from(Failure::Stopped(finding));
        let ours::Failure::Stopped(finding) = &failure else { panic!("{failure:?}") };
        assert_eq!((finding.subject.as_str(), finding.text.as_str()), ("\\u{1b}[2J", "\\u{202e}"));
        assert_eq!(finding.hint.as_deref(), Some("\\u{7}"));
        assert_eq!(ours::Failure::from(Failure::Denied("\x1b".into())), ours::Failure::Denied("\\u{1b}".into()));
    }

    #[test]
    fn every_failure_comes_back_as_it_went_in() {
        let tool = ours::Tool { request: "exec.a".into(), status: Some(-7), diagnostic: "said".into() };
        let finding = ours::Finding {
            severity: ours::Severity::Warning,
            subject: "s".into(),
            text: "t".into(),
            hint: Some("h".into()),
        };
        let text = || "text".to_string();
        let all = [
            ours::Failure::Denied(text()),
            ours::Failure::ReadOnly(text()),
            ours::Failure::RefusedValue(text()),
            ours::Failure::Unsupported(text()),
            ours::Failure::Waiting(ours::Gate::Question("key".into())),
            ours::Failure::Waiting(ours::Gate::Moment(u64::MAX)),
            ours::Failure::OutcomeUnknown { effect_id: 7, request: "exec.a".into(), values: vec!["v".into()] },
            ours::Failure::EndedBadly(tool.clone()),
            ours::Failure::Unreachable(text()),
            ours::Failure::OverLimit(text()),
            ours::Failure::Conflict(text()),
            ours::Failure::NotFound(text()),
            ours::Failure::Stopped(finding),
            ours::Failure::Other(tool),
        ];
        for failure in all {
            assert_eq!(ours::Failure::from(Failure::from(failure.clone())), failure);
        }
    }
}
