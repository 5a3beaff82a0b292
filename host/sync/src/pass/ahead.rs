//! How much content is asked for before what was asked for first is passed on.
//! Invariant: a source that is faster than the target waits for it, and one that is far away is never idle for that.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// So many bytes are asked for before they can be passed on, and as many more as a third of a fast link (one of those who copy)
/// carries, in bytes a millisecond, until the first of them can be there.
const AHEAD: u64 = 512 << 10;
const FAST: u64 = 30_000;

/// How much was asked for and has not been passed on. What nobody can take yet waits in buffers of ssh, which grow at a cost.
pub(super) struct Ahead {
    began: Instant,
    bytes: AtomicU64,
    less: Notify,
    /// The shortest that was seen, in microseconds.
    round_trip: AtomicU64,
}

impl Ahead {
    pub(super) fn new(round_trip: Option<Duration>) -> Self {
        let microseconds = round_trip.and_then(|time| u64::try_from(time.as_micros()).ok()).unwrap_or(u64::MAX);
        Self {
            began: Instant::now(),
            bytes: AtomicU64::new(0),
            less: Notify::new(),
            round_trip: AtomicU64::new(microseconds),
        }
    }

    /// The answer to the first request is here.
    pub(super) fn heard_first(&self) {
        let microseconds = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.round_trip.fetch_min(microseconds, Ordering::Relaxed);
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        let microseconds = self.round_trip.load(Ordering::Relaxed);
        (microseconds != u64::MAX).then(|| Duration::from_micros(microseconds))
    }

    fn most(&self) -> u64 {
        let on_the_way = match self.round_trip.load(Ordering::Relaxed) {
            u64::MAX => 0,
            microseconds => microseconds.saturating_mul(FAST) / 1000,
        };
        on_the_way.saturating_add(AHEAD)
    }

    pub(super) fn is_far(&self, more: u64) -> bool {
        let bytes = self.bytes.load(Ordering::Relaxed);
        bytes > 0 && bytes.saturating_add(more) > self.most()
    }

    pub(super) fn ask(&self, more: u64) {
        self.bytes.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn passed_on(&self, bytes: u64) {
        if self.bytes.fetch_sub(bytes, Ordering::Relaxed) - bytes <= self.most() / 2 {
            self.less.notify_waiters();
        }
    }

    /// Half of it is free again: so much is asked for in one burst.
    pub(super) async fn caught_up(&self) {
        loop {
            let mut less = pin!(self.less.notified());
            less.as_mut().enable();
            if self.bytes.load(Ordering::Relaxed) <= self.most() / 2 {
                return;
            }
            less.await;
        }
    }
}
