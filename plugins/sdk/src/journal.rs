//! What a component knows of itself from one call to the next: shared by all phases of a migration that use it, kept over
//! crashes and over `undo`. Put the phase's id into a key that is one phase's own.

pub use crate::bindings::rehome::phase::journal::Settlement;
use crate::{Failure, host};

/// The host takes 64 KiB a value.
const PIECE: usize = 60 * 1024;

/// Durable when it answers. Key: at most 200 bytes; value: at most 64 KiB, see [`remember_long`] for more.
/// Not under `check`, `preview` and `verify`.
pub fn remember(key: &str, value: impl AsRef<[u8]>) -> Result<(), Failure> {
    host::journal::remember(key, value.as_ref())
}

/// None if nothing was remembered under that key, or if it was forgotten.
pub fn recall(key: &str) -> Result<Option<Vec<u8>>, Failure> {
    Ok(host::journal::recall(key)?.filter(|value| !value.is_empty()))
}

/// As [`recall`], for what was remembered as text.
pub fn recall_text(key: &str) -> Result<Option<String>, Failure> {
    Ok(recall(key)?.map(|value| String::from_utf8_lossy(&value).into_owned()))
}

/// [`recall`] answers none from now on.
pub fn forget(key: &str) -> Result<(), Failure> {
    if recall(key)?.is_some() { remember(key, b"") } else { Ok(()) }
}

/// A value of any length, in pieces. The key itself holds their number and is written last:
/// a crash between pieces leaves the former number with some pieces of the new value, so write the same value again.
pub fn remember_long(key: &str, value: &[u8]) -> Result<(), Failure> {
    let pieces: Vec<&[u8]> = value.chunks(PIECE).collect();
    for (number, piece) in pieces.iter().enumerate() {
        remember(&format!("{key}/{number}"), piece)?;
    }
    remember(key, pieces.len().to_string())
}

/// What [`remember_long`] was given.
pub fn recall_long(key: &str) -> Result<Option<Vec<u8>>, Failure> {
    let Some(count) = recall_text(key)?.and_then(|text| text.parse::<usize>().ok()) else { return Ok(None) };
    let mut value = Vec::new();
    for number in 0..count {
        value.extend(recall(&format!("{key}/{number}"))?.unwrap_or_default());
    }
    Ok(Some(value))
}

/// Says what a look at the side has shown about a [`crate::Failure::OutcomeUnknown`].
pub fn settle(effect_id: u64, how: Settlement) -> Result<(), Failure> {
    host::journal::settle(effect_id, how)
}
