//! `report`: lines and progress of a phase, made safe to show.

use std::sync::atomic::Ordering;

use crate::door::Session;
use crate::host::Event;
use crate::types::Level;

/// Lines a call may write; further ones are dropped and counted.
pub const MOST_LINES: u64 = 10_000;
const LONGEST: usize = 4096;

impl Session {
    /// `report.log`.
    pub fn log(&self, level: Level, text: &str) {
        self.free();
        self.note(level, shown(text));
    }

    /// A line of the host's own, in which what a side said is escaped already: once is enough.
    pub(crate) fn note(&self, level: Level, text: String) {
        if self.lines.fetch_add(1, Ordering::Relaxed) < MOST_LINES {
            self.tell(Event::Log { phase: self.scope().phase.clone(), level, text });
        }
    }

    /// `report.progress`.
    pub fn progress(&self, done: u64, total: Option<u64>, what: &str) {
        self.free();
        self.tell(Event::Progress { phase: self.scope().phase.clone(), done, total, what: shown(what) });
    }

    /// Lines that were dropped.
    pub fn dropped_lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed).saturating_sub(MOST_LINES)
    }
}

/// At most 4 KiB of a text, with line feeds kept and everything else that is not printable escaped.
pub(crate) fn shown(text: &str) -> String {
    let end = text.char_indices().map(|(at, _)| at).find(|at| *at > LONGEST).unwrap_or(text.len());
    text[..end].split('\n').map(|line| rehome_sync::escape(line.as_bytes())).collect::<Vec<_>>().join("\n")
}

/// The end of a tool's output, at most 4 KiB, made safe to show.
pub(crate) fn last_words(bytes: &[u8]) -> String {
    let from = bytes.len().saturating_sub(LONGEST);
    let text: Vec<String> = bytes[from..].split(|byte| *byte == b'\n').map(rehome_sync::escape).collect();
    text.join("\n").trim_end().to_string()
}
