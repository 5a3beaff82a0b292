//! `part = "resync"`, after the last pass: Dovecot on new runs, still closed, its indexes are rebuilt, and what users will
//! see is compared with what they saw on old, while nobody can reach it.

use rehome_sdk::prelude::*;

use crate::{counts, indexes, service};

pub(crate) fn preview(forecast: &mut Forecast) -> Result<(), Failure> {
    if !service::is_active(Side::New)? {
        forecast.change("Dovecot on new", "stopped", "runs, and nobody can reach it until `open`");
    }
    if service::is_active(Side::Old)? {
        forecast.not_yet("which mailboxes the last pass changes: old is still in use");
    }
    indexes::preview(forecast)
}

pub(crate) fn apply() -> Result<(), Failure> {
    service::run_closed()?;
    let names = indexes::rebuild()?;
    counts::must_match(&names)?;
    report::info(&format!("mailboxes of {} users were read anew, and hold what they held on old", names.len()));
    Ok(())
}
