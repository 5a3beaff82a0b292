//! What the host keeps about one call of a component: the session it speaks to, and what it has used up.
//! Invariant: `session()` is the only way from a capability to the gatekeeper, and it counts; so no host call is free of
//! the limits. `limits.rs` says what they are, `trap.rs` what a broken one reads like.

use std::sync::Arc;

use rehome_gatekeeper::Session;
use wasmtime::{Result, UpdateDeadline};

use crate::limits::{Limits, OutOfTime, Space, TooManyCalls};
use crate::ticker::ticks;

/// The data of a store.
pub(crate) struct Guest {
    session: Arc<Session>,
    limits: Limits,
    /// linear memory and tables
    pub(crate) space: Space,
    calls: u64,
    /// ticks in which the guest computed since it last called the host
    ticks: u64,
    /// the text, if the last host call was an error line of the report: what a panic hook sends before the trap
    last_words: Option<String>,
}

impl Guest {
    pub(crate) fn new(session: Arc<Session>, limits: Limits) -> Guest {
        Guest { session, limits, space: Space::new(limits.memory), calls: 0, ticks: 0, last_words: None }
    }

    /// A host call begins: its time is not the guest's, and the guest's begins anew after it.
    pub(crate) fn session(&mut self) -> Result<Arc<Session>> {
        self.calls += 1;
        if self.calls > self.limits.host_calls {
            return Err(TooManyCalls(self.limits.host_calls).into());
        }
        self.ticks = 0;
        self.last_words = None;
        Ok(self.session.clone())
    }

    /// An error line went to the report.
    pub(crate) fn said(&mut self, text: String) {
        self.last_words = Some(text);
    }

    pub(crate) fn last_words(&self) -> Option<&str> {
        self.last_words.as_deref()
    }

    /// The guest was seen computing in one more tick. It yields at each, so that a call can be dropped at any time.
    pub(crate) fn tick(&mut self) -> Result<UpdateDeadline> {
        self.ticks += 1;
        if self.ticks > ticks(self.limits.guest_time) {
            return Err(OutOfTime(self.limits.guest_time).into());
        }
        Ok(UpdateDeadline::Yield(1))
    }
}
