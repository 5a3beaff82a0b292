//! Who deals with the parts of a tree, and when: one begins, others join where there is enough to do for them.
//! Invariant: where something may have to be set aside, nothing is dealt with before everything was looked at.
//! `work` says what looking and dealing are.

use super::work::Shared;
use super::{Part, Pass};
use crate::Error;
use crate::plan::Deletes;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// How many parts are under way at a time where there is volume. More wait for the same disk.
pub(super) const WORKERS: usize = 3;

/// What those who work for one pass know of each other.
pub(super) struct Crew {
    state: Mutex<State>,
    changed: Notify,
}

pub(super) struct State {
    /// Those that were looked at and wait to be dealt with.
    pub(super) parts: VecDeque<Part>,
    /// Whether everything has to be looked at before anything is dealt with, and that goes on.
    pub(super) looking: bool,
    /// Whether somebody still adds parts.
    pub(super) open: bool,
    /// Files to be copied, in all parts that were added.
    copies: usize,
    /// What would be set aside, of all that was looked at.
    pub(super) deletes: Deletes,
    /// Entries of all that were looked at.
    pub(super) entries: usize,
}

impl Crew {
    /// `ahead`: parts may be dealt with while others are looked at.
    pub(super) fn new(ahead: bool) -> Self {
        let state = State {
            parts: VecDeque::new(),
            looking: !ahead,
            open: true,
            copies: 0,
            deletes: Deletes::default(),
            entries: 0,
        };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked ends the pass.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, and lets everybody know.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let done = change(&mut self.state());
        self.changed.notify_waiters();
        done
    }

    async fn until<T>(&self, mut ready: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(ready) = ready(&mut self.state()) {
                return ready;
            }
            changed.await;
        }
    }

    /// The next part, also where it has yet to be added.
    pub(super) async fn next(&self) -> Option<Part> {
        self.until(|state| {
            // Nobody takes a part before everything was looked at.
            if state.looking {
                return None;
            }
            match state.parts.pop_front() {
                None if state.open => None,
                part => Some(part),
            }
        })
        .await
    }

    /// Whether there is enough for one more; known once so much was looked at, or all.
    async fn is_worth(&self, shared: &Shared<'_>) -> bool {
        self.until(|state| match state.looking {
            // One looks: what is looked at first is dealt with by all.
            true => None,
            false if state.copies > shared.options.part => Some(true),
            false => (!state.open).then(|| shared.has_more()),
        })
        .await
    }
}

impl State {
    /// A part that is to be dealt with.
    pub(super) fn add(&mut self, part: Part) {
        self.copies += part.plan.copies.len();
        self.parts.push_back(part);
    }

    pub(super) fn seen(&mut self, part: &Part) {
        self.entries += part.entries();
        self.deletes.add(&part.plan);
    }

    /// Entries that wait.
    pub(super) fn waiting(&self) -> usize {
        self.parts.iter().map(Part::entries).sum()
    }
}

/// Deals with parts as well, once it is worth it. The lock of the first one's hand keeps others out for all.
/// Where a connection has no place for more (sshd_config(5), MaxSessions), fewer do it.
pub(super) async fn help<'a>(shared: &'a Shared<'a>, crew: &Crew) -> Result<Option<Pass<'a>>, Error> {
    if !crew.is_worth(shared).await {
        return Ok(None);
    }
    let (Ok(source), Ok(target)) = tokio::join!(shared.source.session(), shared.target.session()) else {
        return Ok(None);
    };
    let mut pass = Pass::new(source, target, shared);
    pass.work(crew).await?;
    Ok(Some(pass))
}
