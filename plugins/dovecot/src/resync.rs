//! `part = "resync"`, after the last pass: Dovecot on new runs, still closed; indexes are rebuilt of what passes have touched
//! since the last `ahead`, and what users will see is compared with what they saw on old, while nobody can reach it.
//! Invariant: a mailbox that did not hold what it should is compared again by the next attempt.

use rehome_sdk::prelude::*;

use crate::{counts, indexes, service};

pub(crate) fn preview(forecast: &mut Forecast) -> Result<(), Failure> {
    let stopped = !service::is_active(Side::New)?;
    if stopped {
        forecast.change("Dovecot on new", "stopped", "runs, and nobody can reach it until `open`");
    }
    let in_use = service::is_active(Side::Old)?;
    if in_use {
        forecast.not_yet("which mailboxes the last pass changes: old is still in use");
    }
    let rebuilding = indexes::preview(forecast)?;
    let start = service::start_takes()?.filter(|_| stopped || in_use);
    for milliseconds in [start, rebuilding].into_iter().flatten() {
        forecast.stands_still(milliseconds);
    }
    Ok(())
}

pub(crate) fn apply() -> Result<(), Failure> {
    service::run_closed()?;
    let rebuilt = indexes::rebuild(indexes::Users::Wait)?;
    counts::must_match(&rebuilt.names)?;
    rebuilt.remember(None)?;
    let users = rebuilt.names.len();
    report::info(&format!("mailboxes of {users} users were read anew, and users will see what they saw on old"));
    Ok(())
}
