//! The answer to `preview`: `forecast.change("virtual_users on new", "0 rows", "30 rows")`.
//! Invariant: no changes means that nothing is left to do.

pub use crate::bindings::exports::rehome::phase::lifecycle::{Change, Forecast};

#[expect(clippy::derivable_impls, reason = "the type is generated")]
impl Default for Forecast {
    fn default() -> Forecast {
        Forecast { changes: Vec::new(), cutover_milliseconds: None, not_known_yet: Vec::new() }
    }
}

impl Forecast {
    /// One thing that `apply` would change. An empty `before` is left out.
    pub fn change(
        &mut self,
        subject: impl Into<String>,
        before: impl Into<String>,
        after: impl Into<String>,
    ) -> &mut Change {
        let before = Some(before.into()).filter(|text: &String| !text.is_empty());
        self.changes.push(Change { subject: subject.into(), before, after: after.into(), reversible: true });
        let last = self.changes.len() - 1;
        &mut self.changes[last]
    }

    /// Services stand still so many milliseconds longer because of this phase. Only what was measured: the preview adds up
    /// what the phases know, and says so.
    pub fn stands_still(&mut self, milliseconds: u64) {
        let known = self.cutover_milliseconds.unwrap_or_default();
        self.cutover_milliseconds = Some(known.saturating_add(milliseconds));
    }

    /// The same of a phase that looks first, and does nothing where nothing differs: it takes as long as the look that was made
    /// for this forecast, else what doing it took the last time, if it was ever done.
    pub fn looks_first(&mut self, looking: u64, doing: Option<u64>) {
        let known = if self.changes.is_empty() { Some(looking) } else { doing };
        if let Some(milliseconds) = known {
            self.stands_still(milliseconds);
        }
    }

    /// What cannot be known before an earlier phase has run.
    pub fn not_yet(&mut self, what: impl Into<String>) {
        self.not_known_yet.push(what.into());
    }
}

impl Change {
    /// `undo` cannot take it back, and the preview says so.
    pub fn irreversible(&mut self) -> &mut Change {
        self.reversible = false;
        self
    }
}
