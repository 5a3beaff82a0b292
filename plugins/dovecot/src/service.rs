//! Dovecot as a service: running or not, closed or open. After every effect it is looked at; an exit status is not.
//! What a stop and a start take is remembered: `ahead` makes both on new, and the cutover makes them again.

use rehome_sdk::prelude::*;

use crate::{CLOSED, OPEN, requests};

/// What a service may take after its start or stop was answered, in seconds.
const MOMENT: u32 = 15;

/// What it may take to listen for its protocols after a reload.
const SOON: u32 = 3;

/// What these took is remembered under these names.
const STOPPING: &str = "stopping";
const STARTING: &str = "starting";
const OPENING: &str = "opening";

pub(crate) fn is_active(side: Side) -> Result<bool, Failure> {
    Ok(requests::exec::ACTIVE.on(side).run()?.text() == "active")
}

/// Whether neither a boot nor an administrator's habit starts it on old.
pub(crate) fn is_barred() -> Result<bool, Failure> {
    Ok(requests::exec::ENABLED.on(Side::Old).run()?.text() == "masked")
}

/// What Dovecot on new would listen to after a restart: "imap lmtp"; empty while it is closed.
pub(crate) fn protocols() -> Result<String, Failure> {
    let text = requests::exec::PROTOCOLS.on(Side::New).run()?.text();
    Ok(if text == "none" { String::new() } else { text })
}

pub(crate) fn stop_new() -> Result<(), Failure> {
    if !is_active(Side::New)? {
        return Ok(());
    }
    took::measured(STOPPING, || {
        requests::exec::STOP.on(Side::New).run()?;
        if clock::wait_for(MOMENT, || Ok(!is_active(Side::New)?))? {
            return Ok(());
        }
        Err(stopped("Dovecot on new", "still runs after it was stopped")
            .hint("`systemctl status dovecot` on new says why"))
    })
}

/// Old's Dovecot lets nobody in any more, and is on its way down: the cold pass waits until it has ended.
pub(crate) fn stop_old() -> Result<(), Failure> {
    if !is_active(Side::Old)? {
        return Ok(());
    }
    requests::exec::STOP_OLD.on(Side::Old).run()?;
    if clock::wait_for(MOMENT, || Ok(!is_active(Side::Old)?))? {
        return Ok(());
    }
    Err(stopped("Dovecot on old", "still runs after it was stopped").hint("`systemctl status dovecot` on old says why"))
}

fn start_new() -> Result<(), Failure> {
    took::measured(STARTING, || {
        requests::exec::START.on(Side::New).run()?;
        if clock::wait_for(MOMENT, || is_active(Side::New))? {
            return Ok(());
        }
        Err(stopped("Dovecot on new", "does not run after it was started")
            .hint("`journalctl -u dovecot` on new says why; then run `rehome apply` again"))
    })
}

/// What a stop takes, as far as it was measured: before the cutover only new's Dovecot was stopped.
pub(crate) fn stop_takes() -> Result<Option<u64>, Failure> {
    took::recall(STOPPING)
}

/// The same of a start on new.
pub(crate) fn start_takes() -> Result<Option<u64>, Failure> {
    took::recall(STARTING)
}

/// What it takes until a closed Dovecot on new listens; before that was measured: no more than a start.
pub(crate) fn opening_takes() -> Result<Option<u64>, Failure> {
    Ok(took::recall(OPENING)?.or(start_takes()?))
}

/// Dovecot on new runs, and nothing listens: userdb, doveadm and IMAP by hand work, users and Postfix get no connection.
pub(crate) fn run_closed() -> Result<(), Failure> {
    // Configured is not running: only a restart that was seen to its end counts. After that the file is in place.
    if journal::recall(CLOSED)?.is_some() && protocols()?.is_empty() {
        return if is_active(Side::New)? { Ok(()) } else { start_new() };
    }
    journal::forget(CLOSED)?;
    requests::file::CLOSED.on(Side::New).put()?;
    let left = protocols()?;
    if !left.is_empty() {
        return Err(stopped("Dovecot on new", format!("would still listen for {left} with the closing file in place"))
            .hint("dovecot.conf must include conf.d/*.conf, and nothing after that may set `protocols`"));
    }
    journal::forget(OPEN)?;
    stop_new()?;
    start_new()?;
    journal::remember(CLOSED, b"yes")
}

/// Users reach Dovecot on new, after a restart. Answers what it listens for.
pub(crate) fn run_open() -> Result<String, Failure> {
    requests::file::CLOSED.on(Side::New).restore()?;
    let protocols = some_protocols()?;
    if journal::recall(OPEN)?.is_some() && is_active(Side::New)? {
        return Ok(protocols);
    }
    journal::forget(CLOSED)?;
    stop_new()?;
    start_new()?;
    journal::remember(OPEN, b"yes")?;
    Ok(protocols)
}

/// The same without a restart: that takes more than a second, which a Dovecot that stops leaves to its users, and a closed one
/// has none. Where it does not take up its protocols by itself, it is restarted all the same.
pub(crate) fn reload_open() -> Result<String, Failure> {
    if journal::recall(OPEN)?.is_none() && journal::recall(CLOSED)?.is_some() {
        requests::file::CLOSED.on(Side::New).restore()?;
        journal::forget(CLOSED)?;
        // Users wait: what they can reach is looked at afterwards.
        let ((), milliseconds) = clock::timed(|| match requests::exec::RELOAD.on(Side::New).run() {
            Err(failure) if !matches!(failure, Failure::EndedBadly(_)) => Err(failure),
            _ => Ok(()),
        })?;
        let protocols = some_protocols()?;
        match clock::wait_for(SOON, || serves(&protocols)) {
            Ok(true) => {
                took::remember(OPENING, milliseconds)?;
                journal::remember(OPEN, b"yes")?;
                return Ok(protocols);
            }
            Ok(false) | Err(Failure::EndedBadly(_)) => {}
            Err(failure) => return Err(failure),
        }
    }
    run_open()
}

fn some_protocols() -> Result<String, Failure> {
    let protocols = protocols()?;
    if protocols.is_empty() {
        return Err(stopped("Dovecot on new", "has no protocols: nobody could reach it").hint(
            "`doveconf protocols` on new should list imap and lmtp; are dovecot-imapd and dovecot-lmtpd installed?",
        ));
    }
    Ok(protocols)
}

/// Whether each of these protocols has a service: Dovecot knows one only once it listens for it.
fn serves(protocols: &str) -> Result<bool, Failure> {
    let services = requests::exec::SERVICES.on(Side::New).run()?.text();
    let names: Vec<&str> = services.lines().filter_map(|line| line.split('\t').next()).collect();
    let is_served = |protocol| names.contains(&if protocol == "sieve" { "managesieve" } else { protocol });
    Ok(protocols.split_whitespace().all(is_served))
}

/// Old's Dovecot is masked, as a file: this tells its systemd, so that nobody starts it there by mistake.
pub(crate) fn bar_now() -> Result<(), Failure> {
    if is_barred()? && requests::exec::LOADED.on(Side::Old).run()?.text() != "LoadState=masked" {
        requests::exec::BAR_NOW.on(Side::Old).run()?;
    }
    Ok(())
}

/// For the parts that leave Dovecot on new running.
pub(crate) fn verify_new(found: &mut Findings) -> Result<(), Failure> {
    if is_active(Side::New)? {
        found.ok("Dovecot on new", "runs");
    } else {
        found.blocker("Dovecot on new", "does not run").hint("`journalctl -u dovecot` on new says why");
    }
    Ok(())
}
