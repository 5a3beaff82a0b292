//! `part = "ahead"`: Dovecot on new runs closed, and its indexes are rebuilt while old works: that much less in the cutover.

use rehome_sdk::prelude::*;

use crate::{AHEAD, CLOSED, indexes, requests, service};

pub(crate) fn preview(forecast: &mut Forecast) -> Result<(), Failure> {
    let protocols = service::protocols()?;
    if !protocols.is_empty() {
        let before = format!("listens for {protocols}");
        forecast.change("Dovecot on new", before, "runs, and nobody can reach it until `open`");
    } else if !service::is_active(Side::New)? {
        forecast.change("Dovecot on new", "stopped", "runs, and nobody can reach it until `open`");
    }
    indexes::preview(forecast)
}

pub(crate) fn apply() -> Result<(), Failure> {
    journal::remember(AHEAD, b"yes")?;
    service::run_closed()?;
    let names = indexes::rebuild()?;
    report::info(&format!("Dovecot on new runs closed; mailboxes of {} users were read anew", names.len()));
    Ok(())
}

/// New runs open again, as it was before.
pub(crate) fn undo() -> Result<(), Failure> {
    if journal::recall(CLOSED)?.is_none() {
        requests::file::CLOSED.on(Side::New).restore()?;
    } else {
        service::run_open()?;
    }
    journal::forget(AHEAD)
}
