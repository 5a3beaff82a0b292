//! Redis, keys rather than files.

pub use crate::bindings::rehome::phase::redis::{Differences, Tally};
use crate::{Failure, Side, host};

/// `[redis-copy.NAME]`, from old to new.
#[derive(Debug, Clone, Copy)]
pub struct Copy {
    name: &'static str,
}

impl Copy {
    /// For the generated constants.
    pub const fn named(name: &'static str) -> Self {
        Self { name }
    }

    /// "7.0.15".
    pub fn server_version(self, side: Side) -> Result<String, Failure> {
        host::redis::server_version(self.name, side)
    }

    /// Copies keys with their times to live; other keys stay untouched. Safe to repeat.
    pub fn run(self) -> Result<Vec<Tally>, Failure> {
        host::redis::copy(self.name)
    }

    /// Keys for each pattern.
    pub fn count(self, side: Side) -> Result<Vec<Tally>, Failure> {
        host::redis::count(self.name, side)
    }

    /// Keys and values, both sides.
    pub fn compare(self) -> Result<Differences, Failure> {
        host::redis::compare(self.name)
    }

    /// Puts back what new held before the first copy. Answers how many keys.
    pub fn restore(self) -> Result<u64, Failure> {
        host::redis::restore(self.name)
    }
}
