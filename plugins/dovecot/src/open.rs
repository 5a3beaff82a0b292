//! `part = "open"`: users reach Dovecot on new. From here on mail can arrive there.

use rehome_sdk::prelude::*;

use crate::{OPEN, WAS_OPEN, service};

pub(crate) fn preview(forecast: &mut Forecast) -> Result<(), Failure> {
    let protocols = service::protocols()?;
    if protocols.is_empty() {
        forecast.change("Dovecot on new", "runs, and nobody can reach it", "listens: users read their mail on new");
    } else if !service::is_active(Side::New)? {
        forecast.change("Dovecot on new", "stopped", format!("listens for {protocols}"));
    } else if journal::recall(OPEN)?.is_none() {
        forecast.not_yet("Dovecot on new is not closed yet: an earlier phase does that, this one opens it");
    } else {
        return Ok(());
    }
    if let Some(milliseconds) = service::opening_takes()? {
        forecast.stands_still(milliseconds);
    }
    Ok(())
}

pub(crate) fn apply() -> Result<(), Failure> {
    // Before, not after: from the moment it listens, mail may arrive.
    journal::remember(WAS_OPEN, b"yes")?;
    let protocols = service::reload_open()?;
    report::info(&format!("Dovecot on new listens for {protocols}"));
    service::bar_now()
}

pub(crate) fn verify(found: &mut Findings) -> Result<(), Failure> {
    let protocols = service::protocols()?;
    match (service::is_active(Side::New)?, protocols.is_empty()) {
        (true, false) => found.ok("Dovecot on new", format!("listens for {protocols}")),
        (true, true) => found.blocker("Dovecot on new", "runs closed: nobody can reach it"),
        (false, _) => found.blocker("Dovecot on new", "does not run").hint("`journalctl -u dovecot` on new says why"),
    };
    Ok(())
}

/// New is closed again; what arrived there, the maildir phase brings back.
pub(crate) fn undo() -> Result<(), Failure> {
    service::run_closed()
}
