//! The words of the contract (`wit/types.wit`) with what makes them pleasant: sides that name themselves, failures that
//! a phase can build and read. The types are the contract's own.

use std::fmt;

pub use crate::bindings::exports::rehome::phase::lifecycle::Stage;
pub use crate::bindings::rehome::phase::types::{Failure, Finding, Gate, Severity, Side, Tool, Unknown};

/// Both sides, old first.
pub const SIDES: [Side; 2] = [Side::Old, Side::New];

impl Side {
    /// `old` or `new`.
    pub fn word(self) -> &'static str {
        match self {
            Side::Old => "old",
            Side::New => "new",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl Finding {
    /// Says what to do about it: a command, a setting, a page.
    pub fn hint(&mut self, hint: impl Into<String>) -> &mut Finding {
        self.hint = Some(hint.into());
        self
    }
}

/// The phase gives up, for this reason. More with [`Failure::hint`].
pub fn stopped(subject: impl Into<String>, text: impl Into<String>) -> Failure {
    Failure::Stopped(Finding { severity: Severity::Blocker, subject: subject.into(), text: text.into(), hint: None })
}

impl Failure {
    /// Says what to do about a [`stopped`] phase. Other failures stay as the host made them.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        if let Failure::Stopped(finding) = &mut self {
            finding.hint = Some(hint.into());
        }
        self
    }

    /// Whether the host or the side has no such capability at all: a phase may go another way.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Failure::Unsupported(_))
    }

    /// What happened, in one line: for a finding about something that did not work.
    pub fn words(&self) -> String {
        match self {
            Failure::Denied(text)
            | Failure::ReadOnly(text)
            | Failure::RefusedValue(text)
            | Failure::Unsupported(text)
            | Failure::Unreachable(text)
            | Failure::OverLimit(text)
            | Failure::Conflict(text)
            | Failure::NotFound(text) => one_line(text),
            Failure::Waiting(Gate::Question(key)) => format!("waits for an answer to `{key}`"),
            Failure::Waiting(Gate::Moment(at)) => format!("waits until {at} (UTC, seconds since 1970)"),
            Failure::OutcomeUnknown(unknown) => {
                format!("`{}` was begun earlier, and nobody saw how it ended", unknown.request)
            }
            Failure::EndedBadly(tool) | Failure::Other(tool) => tool_words(tool),
            Failure::Stopped(finding) => format!("{}: {}", finding.subject, finding.text),
        }
    }
}

impl Failure {
    /// What happened, and what the host says to do about it, if it does: for a finding with a hint.
    pub fn words_and_remedy(&self) -> (String, Option<String>) {
        let mut cut = self.clone();
        let text = match &mut cut {
            Failure::Denied(text)
            | Failure::ReadOnly(text)
            | Failure::RefusedValue(text)
            | Failure::Unsupported(text)
            | Failure::Unreachable(text)
            | Failure::OverLimit(text)
            | Failure::Conflict(text)
            | Failure::NotFound(text) => text,
            Failure::EndedBadly(tool) | Failure::Other(tool) => &mut tool.diagnostic,
            Failure::Stopped(finding) => return (self.words(), finding.hint.clone()),
            Failure::Waiting(_) | Failure::OutcomeUnknown(_) => return (self.words(), None),
        };
        let Some(at) = text.find("\nhint: ") else { return (self.words(), None) };
        let remedy = one_line(&text[at + "\nhint: ".len()..]);
        text.truncate(at);
        (cut.words(), Some(remedy))
    }
}

fn tool_words(tool: &Tool) -> String {
    let said = one_line(&tool.diagnostic);
    match (tool.status, said.is_empty()) {
        (Some(status), true) => format!("`{}` ended with status {status} and said nothing", tool.request),
        (Some(status), false) => format!("{said} (`{}` ended with status {status})", tool.request),
        (None, true) => format!("`{}` did not succeed", tool.request),
        (None, false) => format!("{said} (`{}`)", tool.request),
    }
}

/// The last line that says something, with what stands before it if it is short.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_says_to_do_stands_apart_from_what_happened() {
        let diagnostic =
            "ERROR 1045 (28000): Access denied\n  database `x` on old\nhint: give the plan a login".to_string();
        let failure = Failure::EndedBadly(Tool { request: "schema.x".into(), status: None, diagnostic });
        let (words, remedy) = failure.words_and_remedy();
        assert_eq!(words, "ERROR 1045 (28000): Access denied; database `x` on old (`schema.x`)");
        assert_eq!(remedy.as_deref(), Some("give the plan a login"));
        let (words, remedy) = stopped("x", "is wrong").hint("put it right").words_and_remedy();
        assert_eq!((words.as_str(), remedy.as_deref()), ("x: is wrong", Some("put it right")));
        assert_eq!(Failure::NotFound("no".into()).words_and_remedy(), ("no".to_string(), None));
    }
}
