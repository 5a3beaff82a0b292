//! The rows of the benches, as `--json` prints them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One comparison: ours and a peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "bench", rename_all = "kebab-case")]
pub enum Row {
    Sync(SyncRow),
    Cutover(CutoverRow),
}

/// A pass of the synchroniser. `host/sync/benches/passes` prints these. Seconds are medians, a ratio is that of ours to the
/// peer's, the median of the pairs' ratios; CPU seconds and memory are those of all processes that took part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SyncRow {
    pub messages: u64,
    pub pass: String,
    pub cache: String,
    pub peer: String,
    /// Each way.
    pub delay_ms: u64,
    pub ours_s: f64,
    pub peer_s: f64,
    pub ratio: f64,
    pub pairs: u32,
    /// Until what the peer has copied is on the disk, as it is with ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_durable_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio_durable: Option<f64>,
    pub ours_cpu_s: Option<f64>,
    pub peer_cpu_s: Option<f64>,
    pub ours_peak_mb: Option<f64>,
    pub peer_peak_mb: Option<f64>,
    pub ours_each_s: Vec<f64>,
    pub peer_each_s: Vec<f64>,
}

/// A whole cutover.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CutoverRow {
    pub messages: u64,
    pub peer: String,
    /// From the old Dovecot's stop to the first login on new.
    pub ours_s: f64,
    pub peer_s: f64,
    /// The same when there is nothing in between: old's stop and new's start.
    pub floor_s: f64,
    /// Of what is above the floor: the peer's to ours.
    pub ratio: f64,
    /// Of the whole.
    pub ratio_of_all: f64,
    /// Seconds of ours, phase by phase, in their order by name.
    pub parts: BTreeMap<String, f64>,
    /// Seconds of the peer, command by command.
    pub peer_parts: BTreeMap<String, f64>,
    pub pairs: u32,
    pub ours_each_s: Vec<f64>,
    pub peer_each_s: Vec<f64>,
    pub floor_each_s: Vec<f64>,
}

/// The passes in the order in which a migration makes them.
pub const PASSES: [&str; 4] = ["first", "cold-unchanged", "cold-churn", "converged"];

impl Row {
    /// Where it stands among others: bench, size, distance, pass.
    pub fn place(&self) -> (&'static str, u64, u64, usize) {
        match self {
            Row::Sync(row) => {
                let pass = PASSES.iter().position(|pass| *pass == row.pass).unwrap_or(PASSES.len());
                ("sync", row.messages, row.delay_ms, pass)
            }
            Row::Cutover(row) => ("cutover", row.messages, 0, 0),
        }
    }

    /// What tells it from all others.
    pub fn key(&self) -> ((&'static str, u64, u64, usize), &str, &str) {
        match self {
            Row::Sync(row) => (self.place(), &row.peer, &row.cache),
            Row::Cutover(row) => (self.place(), &row.peer, ""),
        }
    }

    /// For people, while the bench goes on.
    pub fn line(&self) -> String {
        match self {
            Row::Sync(row) => format!(
                "{:>8} messages  {:<14} {:<7} {:>3} ms  ours {:>8.3} s, {} {:.3} s: {:.2} times as fast",
                row.messages, row.pass, row.cache, row.delay_ms, row.ours_s, row.peer, row.peer_s, row.ratio
            ),
            Row::Cutover(row) => format!(
                "{:>8} messages  downtime: ours {:.2} s, {} {:.2} s, of which {:.2} s are Dovecot's own stop and start: the rest is \
                 {:.1} times as fast",
                row.messages, row.ours_s, row.peer, row.peer_s, row.floor_s, row.ratio
            ),
        }
    }
}
