//! The domain name system: look-ups at each authoritative server, and updates on condition.

pub use crate::bindings::rehome::phase::dns::{Answer, Rrset};
use crate::{Failure, host};

/// `[lookup.NAME]` with so many holes.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<const HOLES: usize> {
    name: &'static str,
}

impl<const HOLES: usize> Lookup<HOLES> {
    /// For the generated constants.
    pub const fn named(name: &'static str) -> Self {
        Self { name }
    }

    /// What each authoritative server of the owner's zone has, in the order of their names.
    pub fn ask(self, values: [&str; HOLES]) -> Result<Vec<Answer>, Failure> {
        host::dns::look_up(self.name, &values.map(String::from))
    }
}

/// `[record.NAME]` with so many holes.
#[derive(Debug, Clone, Copy)]
pub struct Record<const HOLES: usize> {
    name: &'static str,
}

impl<const HOLES: usize> Record<HOLES> {
    /// For the generated constants.
    pub const fn named(name: &'static str) -> Self {
        Self { name }
    }

    /// What [`Record::update`] would write.
    pub fn planned(self, values: [&str; HOLES]) -> Result<Rrset, Failure> {
        host::dns::planned(self.name, &values.map(String::from))
    }

    /// Writes it; `expected` goes along as prerequisite.
    pub fn update(self, values: [&str; HOLES], expected: Option<&Rrset>) -> Result<Rrset, Failure> {
        host::dns::update(self.name, &values.map(String::from), expected)
    }

    /// Writes back what [`Record::update`] replaced.
    pub fn restore(self, values: [&str; HOLES]) -> Result<(), Failure> {
        host::dns::restore(self.name, &values.map(String::from))
    }
}
