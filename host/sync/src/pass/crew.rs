//! Who looks at the parts of a tree and deals with them, and when: one begins, others join where there is enough for them.
//! Invariant: where something may have to be set aside, nothing is dealt with before everything was looked at, and everybody
//! who looked has said what was left for later: nobody joins in looking after the first one found nothing more.
//! `work` says what looking and dealing are.

use super::work::Shared;
use super::{Part, Pass};
use crate::Error;
use crate::plan::Deletes;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// How many parts are under way at a time where there is volume: more wait for the same disk, and each takes a place of a
/// connection.
pub(crate) const WORKERS: usize = 3;

/// What those who work for one pass know of each other.
pub(super) struct Crew {
    state: Mutex<State>,
    changed: Notify,
}

pub(super) struct State {
    /// Those that were looked at and wait to be dealt with.
    pub(super) parts: VecDeque<Part>,
    looking: Looking,
    /// Others that look as well.
    lookers: usize,
    /// Whether somebody still adds parts.
    pub(super) open: bool,
    /// Parts may be dealt with while others are looked at: what is known of is the beginning.
    ahead: bool,
    /// Files to be copied, in all parts that were added.
    copies: usize,
    /// What would be set aside, of all that was looked at.
    pub(super) deletes: Deletes,
    /// Entries of all that were looked at.
    pub(super) entries: usize,
}

/// Whether everything has to be looked at before anything is dealt with, and how far that is. It only goes forward.
#[derive(PartialEq)]
enum Looking {
    /// The first one looks at a first part.
    Alone,
    /// There are more parts: others may look as well.
    Joinable,
    /// The first one found nothing more: nobody joins any more.
    Closing,
    /// Parts may be dealt with.
    Over,
}

impl Crew {
    /// `ahead`: parts may be dealt with while others are looked at. `large`: there are several parts, as is known before.
    pub(super) fn new(ahead: bool, large: bool) -> Self {
        let looking = match (ahead, large) {
            (true, _) => Looking::Over,
            (false, true) => Looking::Joinable,
            (false, false) => Looking::Alone,
        };
        let state = State {
            parts: VecDeque::new(),
            looking,
            lookers: 0,
            open: true,
            ahead,
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
            if state.looking != Looking::Over {
                return None;
            }
            match state.parts.pop_front() {
                None if state.open => None,
                part => Some(part),
            }
        })
        .await
    }

    /// A part was looked at and there are more: others may look as well.
    pub(super) fn call_for_lookers(&self) {
        if self.state().looking == Looking::Alone {
            self.update(|state| state.looking = Looking::Joinable);
        }
    }

    /// There is nothing more to look at: nobody joins any more, and those who did are waited for.
    pub(super) async fn all_have_looked(&self) {
        self.state().looking = Looking::Closing;
        self.until(|state| (state.lookers == 0).then_some(())).await;
    }

    /// Everything was looked at: these are to be dealt with.
    pub(super) fn begin_dealing(&self, parts: Vec<Part>) {
        self.update(|state| {
            parts.into_iter().for_each(|part| state.add(part));
            (state.looking, state.open) = (Looking::Over, false);
        });
    }

    /// Whether there is something to do for one more; known once so much was looked at, or all.
    async fn is_worth(&self, shared: &Shared<'_>) -> bool {
        self.until(|state| match state.looking {
            Looking::Joinable => Some(true),
            Looking::Alone | Looking::Closing => None,
            Looking::Over if state.copies > state.worth(shared.options.part) => Some(true),
            Looking::Over if state.open => None,
            Looking::Over => Some(shared.has_more()),
        })
        .await
    }

    /// Waits until there is nothing left that somebody else could do.
    async fn nothing_left(&self, shared: &Shared<'_>) {
        let nothing_waits = |state: &State| !state.open && state.parts.is_empty() && !shared.has_more();
        self.until(|state| (state.looking == Looking::Over && nothing_waits(state)).then_some(())).await;
    }

    /// Whether one more may look, who is waited for from now on.
    fn joins_in_looking(&self) -> bool {
        let mut state = self.state();
        let may = state.looking == Looking::Joinable;
        state.lookers += usize::from(may);
        may
    }
}

impl State {
    /// A part that is to be dealt with.
    pub(super) fn add(&mut self, part: Part) {
        self.copies += part.plan.copies.len();
        self.parts.push_back(part);
    }

    /// More copies than these are worth one more hand.
    fn worth(&self, part: usize) -> usize {
        if self.ahead { 0 } else { part }
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

/// Looks at parts and deals with them as well, once it is worth it. The lock of the first one's hand keeps others out for
/// all. Where a connection has no place for more (sshd_config(5), MaxSessions), fewer do it.
pub(super) async fn help<'a>(shared: &'a Shared<'a>, crew: &Crew) -> Result<Option<Pass<'a>>, Error> {
    if !crew.is_worth(shared).await {
        return Ok(None);
    }
    // Nobody waits for hands that come too late.
    let (source, target) = tokio::select! {
        hands = async { tokio::try_join!(shared.source.session(), shared.target.session()) } => match hands {
            Ok(hands) => hands,
            Err(_) => return Ok(None),
        },
        () = crew.nothing_left(shared) => return Ok(None),
    };
    let mut pass = Pass::new(source, target, shared);
    if crew.joins_in_looking() {
        pass.look(crew).await?;
        crew.update(|state| state.lookers -= 1);
    }
    pass.work(crew).await?;
    Ok(Some(pass))
}
