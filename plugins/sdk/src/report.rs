//! What the operator sees while a phase works: lines and a bar. Needs no request.
//! At most 10,000 lines a call, 4 KiB each; the host makes them safe to show.

pub use crate::bindings::rehome::phase::report::Level;
use crate::host;

/// For whoever looks closely.
pub fn debug(text: &str) {
    host::report::log(Level::Debug, text);
}

/// For everybody.
pub fn info(text: &str) {
    host::report::log(Level::Info, text);
}

/// For everybody, and worth a second look.
pub fn warning(text: &str) {
    host::report::log(Level::Warning, text);
}

/// Something failed. What ends the phase is better returned.
pub fn error(text: &str) {
    host::report::log(Level::Error, text);
}

/// `done` of `total` (none: not known) of what: "mailboxes".
pub fn progress(done: u64, total: Option<u64>, what: &str) {
    host::report::progress(done, total, what);
}
