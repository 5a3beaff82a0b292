//! What something took when it was last done, as the component remembers it: the forecast of the next time.
//! Invariant: only what ended well was measured.

use crate::{Failure, clock, journal};

fn key(what: &str) -> String {
    format!("took/{what}")
}

/// Does it, and remembers how many milliseconds it took, for all phases of this component.
pub fn measured<T>(what: &str, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let (done, milliseconds) = clock::timed(work)?;
    remember(what, milliseconds)?;
    Ok(done)
}

/// Remembers milliseconds that something else has measured.
pub fn remember(what: &str, milliseconds: u64) -> Result<(), Failure> {
    journal::remember(&key(what), milliseconds.to_string())
}

/// Milliseconds; none if it was never measured.
pub fn recall(what: &str) -> Result<Option<u64>, Failure> {
    Ok(journal::recall_text(&key(what))?.and_then(|text| text.parse().ok()))
}
