//! `part = "ahead"`: Dovecot on new runs closed, and indexes are rebuilt while old works: that much less in the cutover. Each
//! one rebuilds what passes have touched since the one before, and counts what users will see of it.
//! Invariant: new stays closed until the undo of the first of them, or `open`.

use std::collections::BTreeSet;

use rehome_sdk::prelude::*;

use crate::{AHEAD, CLOSED, counts, indexes, requests, service};

pub(crate) fn preview(forecast: &mut Forecast) -> Result<(), Failure> {
    let protocols = service::protocols()?;
    if !protocols.is_empty() {
        let before = format!("listens for {protocols}");
        forecast.change("Dovecot on new", before, "runs, and nobody can reach it until `open`");
    } else if !service::is_active(Side::New)? {
        forecast.change("Dovecot on new", "stopped", "runs, and nobody can reach it until `open`");
    }
    indexes::preview(forecast).map(drop)
}

pub(crate) fn apply(phase: &str) -> Result<(), Failure> {
    let mut done = done()?;
    if done.insert(phase.to_string()) {
        write(&done)?;
    }
    service::run_closed()?;
    let (rebuilt, milliseconds) = clock::timed(|| {
        let rebuilt = indexes::rebuild(indexes::Users::Work)?;
        counts::remember_new(&rebuilt.names)?;
        Ok(rebuilt)
    })?;
    rebuilt.remember(Some(milliseconds))?;
    report::info(&format!("Dovecot on new runs closed; mailboxes of {} users were read anew", rebuilt.names.len()));
    Ok(())
}

/// New runs open again, as it was before, unless an earlier one has closed it.
pub(crate) fn undo(phase: &str) -> Result<(), Failure> {
    let mut others = done()?;
    others.remove(phase);
    if !others.is_empty() {
        report::info("Dovecot on new stays closed: it was before this phase");
        return write(&others);
    }
    if journal::recall(CLOSED)?.is_none() {
        requests::file::CLOSED.on(Side::New).restore()?;
    } else {
        service::run_open()?;
    }
    journal::forget(AHEAD)
}

/// The phases of this part that are done.
fn done() -> Result<BTreeSet<String>, Failure> {
    Ok(journal::recall(AHEAD)?.map(|text| lines(&text).into_iter().collect()).unwrap_or_default())
}

fn write(phases: &BTreeSet<String>) -> Result<(), Failure> {
    journal::remember(AHEAD, phases.iter().map(String::as_str).collect::<Vec<_>>().join("\n"))
}
