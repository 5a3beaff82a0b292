//! The person who runs the migration: `requests::question::GO_ON.ask("Have you told your users?")?`.
//! Until they have answered, a question is [`Failure::Waiting`], which the phase lets travel.

pub use crate::bindings::rehome::phase::operator::Answer;
use crate::{Failure, host};

/// `[question.KEY]` with `kind = "confirm"`.
#[derive(Debug, Clone, Copy)]
pub struct Confirm {
    key: &'static str,
}

impl Confirm {
    /// For the generated constants.
    pub const fn named(key: &'static str) -> Self {
        Self { key }
    }

    /// Answers once the operator has said yes; a no is [`Failure::Stopped`].
    pub fn ask(self, question: &str) -> Result<Answer, Failure> {
        host::operator::confirm(self.key, question)
    }
}

/// `[question.KEY]` with `kind = "choose"`.
#[derive(Debug, Clone, Copy)]
pub struct Choose {
    key: &'static str,
}

impl Choose {
    /// For the generated constants.
    pub const fn named(key: &'static str) -> Self {
        Self { key }
    }

    /// The operator names any number of `options`.
    pub fn ask(self, question: &str, options: &[String]) -> Result<Answer, Failure> {
        host::operator::choose(self.key, question, options)
    }
}

/// `[question.KEY]` with `kind = "wait"`.
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    key: &'static str,
}

impl Wait {
    /// For the generated constants.
    pub const fn named(key: &'static str) -> Self {
        Self { key }
    }

    /// [`Failure::Waiting`] before that moment (UTC, seconds since 1970).
    pub fn until(self, moment: u64) -> Result<(), Failure> {
        host::operator::wait_until(self.key, moment)
    }
}
