//! `part = "stop"`: mail stops. First what users of old see is counted, while they still work; then new stops, where nobody
//! reads, and old last: only from that moment on are users without mail. A reboot does not bring it back: it is barred before.

use rehome_sdk::prelude::*;

use crate::{AHEAD, WAS_OPEN, counts, indexes, requests, service};

pub(crate) fn preview(forecast: &mut Forecast) -> Result<(), Failure> {
    if service::is_active(Side::New)? {
        forecast.change("Dovecot on new", "runs", "stopped, while the last mail is copied");
    }
    match (service::is_active(Side::Old)?, service::is_barred()?) {
        (true, _) => {
            let after = "stopped and masked: no user reads mail until `open`, and a reboot does not start it";
            forecast.change("Dovecot on old", "runs", after);
            if let Some(milliseconds) = service::stop_takes()? {
                forecast.stands_still(milliseconds);
            }
        }
        (false, false) => {
            forecast.change("Dovecot on old", "stopped", "masked: a reboot does not start it");
        }
        (false, true) => {}
    }
    Ok(())
}

pub(crate) fn apply() -> Result<(), Failure> {
    let is_active = service::is_active(Side::Old)?;
    if is_active {
        counts::remember_old()?;
    } else if !counts::are_remembered()? {
        report::warning("Dovecot on old was stopped before rehome could count its mailboxes");
    }
    service::stop_new()?;
    // First, so that at no moment a reboot brings it back, and so that users do not wait for it.
    if !service::is_barred()? {
        requests::exec::BAR.on(Side::Old).run()?;
        if !service::is_barred()? {
            return Err(stopped("Dovecot on old", "is not masked, and runs as before").hint(
                "is there a dovecot.service of your own in /etc/systemd/system of old? It cannot be masked: disable it by hand",
            ));
        }
    }
    service::stop_old()
}

pub(crate) fn verify(found: &mut Findings) -> Result<(), Failure> {
    match (service::is_active(Side::Old)?, service::is_barred()?) {
        (false, true) => found.ok("Dovecot on old", "is stopped and masked"),
        (true, _) => found.blocker("Dovecot on old", "runs again: users may change mail that was copied already"),
        (false, false) => found
            .blocker("Dovecot on old", "is stopped, but a reboot would start it")
            .hint("systemctl mask dovecot.service dovecot.socket"),
    };
    Ok(())
}

/// Users read their mail on old again.
pub(crate) fn undo() -> Result<(), Failure> {
    if journal::recall(WAS_OPEN)?.is_some() {
        indexes::set_aside_on_old()?;
    }
    let runs = service::is_active(Side::Old)?;
    // Not by its file alone: an unmask that was cut off may have taken that away and not told systemd.
    if !runs || service::is_barred()? {
        requests::exec::UNBAR.on(Side::Old).run()?;
    }
    if !runs {
        requests::exec::START_OLD.on(Side::Old).run()?;
    }
    if !clock::wait_for(15, || service::is_active(Side::Old))? {
        return Err(stopped("Dovecot on old", "does not run after it was started")
            .hint("`journalctl -u dovecot` on old says why; then run `rehome undo` again"));
    }
    // Without an `ahead` nobody else would open new again, which may have users of another server already.
    if journal::recall(AHEAD)?.is_none() {
        service::run_open()?;
    }
    journal::forget(WAS_OPEN)
}
