//! The domain name system. In this version of the host every function answers [`Failure::Unsupported`].

pub use crate::bindings::rehome::phase::dns::{Answer, Rrset};
use crate::{Failure, host};

/// Asks each authoritative server of the owner's zone by itself.
pub fn look_up(owner: &str, kind: &str) -> Result<Vec<Answer>, Failure> {
    host::dns::look_up(owner, kind)
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
