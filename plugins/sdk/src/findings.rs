//! A list of findings that is pleasant to fill: `found.blocker("Dovecot on old", "is stopped").hint("systemctl start dovecot")`.
//! Order is kept.

use crate::{Finding, Severity};

/// Findings of a `check` or a `verify`, in the order they were made.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// None yet.
    pub fn new() -> Findings {
        Findings::default()
    }

    /// Looked at, and fine.
    pub fn ok(&mut self, subject: impl Into<String>, text: impl Into<String>) -> &mut Finding {
        self.add(Severity::Ok, subject, text)
    }

    /// Good to know.
    pub fn note(&mut self, subject: impl Into<String>, text: impl Into<String>) -> &mut Finding {
        self.add(Severity::Note, subject, text)
    }

    /// May hurt.
    pub fn warning(&mut self, subject: impl Into<String>, text: impl Into<String>) -> &mut Finding {
        self.add(Severity::Warning, subject, text)
    }

    /// Stops the migration; under `verify` a mismatch.
    pub fn blocker(&mut self, subject: impl Into<String>, text: impl Into<String>) -> &mut Finding {
        self.add(Severity::Blocker, subject, text)
    }

    /// One of any severity.
    pub fn add(&mut self, severity: Severity, subject: impl Into<String>, text: impl Into<String>) -> &mut Finding {
        self.0.push(Finding { severity, subject: subject.into(), text: text.into(), hint: None });
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    /// All so far.
    pub fn as_slice(&self) -> &[Finding] {
        &self.0
    }

    /// Those that stop the migration.
    pub fn blockers(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter().filter(|finding| finding.severity == Severity::Blocker)
    }
}

impl From<Findings> for Vec<Finding> {
    fn from(found: Findings) -> Vec<Finding> {
        found.0
    }
}

impl Extend<Finding> for Findings {
    fn extend<T: IntoIterator<Item = Finding>>(&mut self, more: T) {
        self.0.extend(more);
    }
}
