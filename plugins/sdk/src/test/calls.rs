//! What a phase asked of the test host, in order: a request, its side, its values, and whether it changes something.

use rehome_manifest::words::Effect;

use super::State;

/// One call of a phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// "exec.resync on new: john@example.org"
    pub text: String,
    /// whether it changes something
    pub is_effect: bool,
}

impl State {
    /// Records a call, before it is answered, and lets it take its time.
    pub(crate) fn record(&mut self, what: &str, values: &[String], effect: Effect) {
        let text = if values.is_empty() { what.to_string() } else { format!("{what}: {}", values.join(", ")) };
        self.milliseconds += self.each_takes;
        self.calls.push(Call { text, is_effect: effect != Effect::Read });
    }
}
