//! `report` for components: types are converted, the gatekeeper does the rest. The contract is in `wit/report.wit`.
//! An error line is kept until the next host call: if a trap follows at once, it was the message of a panic.

use rehome_gatekeeper::types as ours;
use wasmtime::Result as Trapping;

use crate::bindings::rehome::phase::report::{Host, Level};
use crate::guest::Guest;

impl Host for Guest {
    fn log(&mut self, level: Level, text: String) -> Trapping<()> {
        self.session()?.log(level.into(), &text);
        if level == Level::Error {
            self.said(text);
        }
        Ok(())
    }

    fn progress(&mut self, done: u64, total: Option<u64>, what: String) -> Trapping<()> {
        self.session()?.progress(done, total, &what);
        Ok(())
    }
}

impl From<Level> for ours::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Debug => ours::Level::Debug,
            Level::Info => ours::Level::Info,
            Level::Warning => ours::Level::Warning,
            Level::Error => ours::Level::Error,
        }
    }
}
