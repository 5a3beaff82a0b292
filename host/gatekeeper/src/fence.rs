//! The fence: whether the sides are still this migration's to change. The engine puts one up for a verb that changes something;
//! the door asks it after an effect's intent is durable, and before the effect begins.

use std::time::Duration;

use crate::types::{Effect, Failure};

/// Looks whether somebody else has taken a side over.
#[async_trait::async_trait]
pub trait Fence: Send + Sync {
    /// Answers once a look that is at most this old has found both sides ours; a look takes down how far the journal has come.
    ///
    /// # Errors
    /// `conflict`: a side was taken over; `unreachable`: nobody knows.
    async fn hold(&self, age: Duration) -> Result<(), Failure>;
}

/// How old a look may be before an effect: what is safe to do twice is not kept waiting by slow links.
pub(crate) fn age(effect: Effect) -> Duration {
    match effect {
        Effect::Once => Duration::ZERO,
        Effect::Read | Effect::Repeatable => Duration::from_secs(1),
    }
}
