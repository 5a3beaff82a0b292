//! Passes: hot ones until one finds next to nothing, cold ones until one finds nothing at all.
//! Invariant: what is remembered of the last pass was measured. The cold pass has about as much to do as that one had, so that
//! it says what the cutover should take: that follows what changes, not how much mail there is.

use rehome_sdk::files::SyncReport;
use rehome_sdk::prelude::*;
use rehome_sdk::{amount, bytes, span};

use crate::look::{self, Runs};
use crate::{Config, mail, requests};

/// Mail has stopped: a pass that finds nothing to do comes soon, or something still writes.
const COLD_PASSES: u64 = 3;

/// systemd kills what has not ended by itself after 90 s (systemd-system.conf(5), DefaultTimeoutStopSec).
const STOPPING: u64 = 120_000;

/// What new's Dovecot may take to end after its stop was answered, in seconds.
const MOMENT: u32 = 15;

/// The last pass, as it was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Last {
    milliseconds: u64,
    changes: u64,
    /// UTC, seconds since 1970
    at: u64,
}

impl Last {
    /// What any phase of this component measured over the same mail.
    pub(crate) fn of(config: &Config) -> Result<Option<Last>, Failure> {
        let text = journal::recall_text(&key(config))?.unwrap_or_default();
        let mut numbers = text.split(' ').map(|word| word.parse().ok());
        let mut next = || numbers.next().flatten();
        let (milliseconds, changes, at) = (next(), next(), next());
        Ok(milliseconds.zip(changes).zip(at).map(|((milliseconds, changes), at)| Last { milliseconds, changes, at }))
    }

    fn remember(config: &Config, report: &SyncReport) -> Result<(), Failure> {
        let text = format!("{} {} {}", report.milliseconds, changes(report), clock::now());
        journal::remember(&key(config), text)
    }

    /// For the cutover: one pass that brings what changed, and one that finds nothing more.
    pub(crate) fn expected(&self) -> u64 {
        self.milliseconds.saturating_mul(2)
    }

    /// "the last pass found 3 changes in 120 ms (2026-11-22 00:15:00 UTC): the cold pass should take about 240 ms".
    pub(crate) fn words(&self) -> String {
        let found = amount(self.changes, "change", "changes");
        let (took, at) = (span(self.milliseconds), clock::date(self.at));
        format!(
            "the last pass found {found} in {took} ({at}): the cold pass should take about {}",
            span(self.expected())
        )
    }
}

/// A journal key holds 200 bytes: longer ones keep their end, where they differ.
fn key(config: &Config) -> String {
    let whole = format!("{} {}", config.path, config.domains.join(" "));
    let mut from = whole.len().saturating_sub(180);
    while !whole.is_char_boundary(from) {
        from += 1;
    }
    format!("last-pass:{}", &whole[from..])
}

/// While both sides work: each pass brings what changed during the one before, which is less and less. Where old changes faster
/// than passes can follow, the last one says what the cutover will have to do.
pub(crate) fn hot(ctx: &Context<Config>) -> Result<(), Failure> {
    let most = ctx.config.passes.max(1);
    for number in 1..=most {
        let report = requests::sync::HOT.run()?;
        say(number, &report);
        let converged = changes(&report) <= ctx.config.converged;
        if converged || number == most {
            Last::remember(&ctx.config, &report)?;
            tell_the_end(ctx, converged, &report);
            return Ok(());
        }
    }
    Ok(())
}

fn tell_the_end(ctx: &Context<Config>, converged: bool, report: &SyncReport) {
    let found = amount(changes(report), "change", "changes");
    if converged {
        report::info(&format!("passes have converged: the last one found {found}, in {}", span(report.milliseconds)));
        return;
    }
    report::warning(&format!(
        "pass {} still found {found}, more than the {} of `converged`: about as much is left to the cold pass. At a quieter hour, \
         or with more `passes`, there is less",
        ctx.config.passes.max(1),
        ctx.config.converged
    ));
}

/// The cold pass, repeated until one finds nothing to do: a delivery that was under way when Dovecot stopped ends after the
/// first one has listed its folder. That costs a look at what changed, not at all the mail; `verify` compares everything.
/// A Dovecot on old that is on its way down takes a second or more: meanwhile a pass brings what there is already.
pub(crate) fn cold(ctx: &Context<Config>) -> Result<(), Failure> {
    let mut number = 0;
    let old = look::runs(Side::Old)?;
    if old == Runs::Yes {
        return Err(old_still_runs());
    }
    stop_new_again()?;
    if old == Runs::Stopping {
        number += 1;
        say(number, &requests::sync::COLD.run()?);
        until_old_has_stopped()?;
    }
    let most = number + COLD_PASSES;
    loop {
        number += 1;
        let last = requests::sync::COLD.run()?;
        say(number, &last);
        if changed_nothing(&last) {
            return Last::remember(&ctx.config, &last);
        }
        if number == most {
            let text = format!("pass {number} of the cold pass still found changes: {}", words(&last));
            return Err(stopped(mail(ctx), text).hint(
                "something still writes below the mail folder of old or new: stop it, and run `rehome apply` again",
            ));
        }
    }
}

/// It was stopped before old was, which is barred: where it runs now, new was booted again since.
fn stop_new_again() -> Result<(), Failure> {
    if !look::is_active(Side::New)? {
        return Ok(());
    }
    report::warning("Dovecot on new runs again, as after a reboot: it is stopped for the cold pass");
    requests::exec::STOP_NEW.on(Side::New).run()?;
    if clock::wait_for(MOMENT, || Ok(!look::is_active(Side::New)?))? {
        return Ok(());
    }
    Err(stopped("Dovecot on new", "still runs after it was stopped, and the cold pass needs it stopped")
        .hint("`systemctl status dovecot` on new says why; then run `rehome apply` again"))
}

fn old_still_runs() -> Failure {
    stopped("Dovecot on old", "runs, and the cold pass needs it stopped on both sides")
        .hint("a phase of the component `dovecot` with part = \"stop\" comes before this one")
}

/// Users wait: it is looked at often.
fn until_old_has_stopped() -> Result<(), Failure> {
    let begun = clock::elapsed();
    loop {
        match look::runs(Side::Old)? {
            Runs::No => return Ok(()),
            Runs::Yes => return Err(old_still_runs()),
            Runs::Stopping if clock::elapsed() - begun > STOPPING => {
                let text = format!("was told to stop, and has not ended within {}", span(STOPPING));
                return Err(stopped("Dovecot on old", text)
                    .hint("`systemctl status dovecot` on old says what it waits for; then run `rehome apply` again"));
            }
            Runs::Stopping => clock::sleep(20)?,
        }
    }
}

fn changes(report: &SyncReport) -> u64 {
    report.copied + report.renamed + report.set_aside
}

fn changed_nothing(report: &SyncReport) -> bool {
    changes(report) + report.vanished == 0
}

fn say(number: u64, report: &SyncReport) {
    let (examined, took) = (report.examined, span(report.milliseconds));
    report::info(&format!("pass {number}: {}, of {examined} looked at, in {took}", words(report)));
}

/// "copied 3 files (4.5 kB), 2 renamed".
pub(crate) fn words(report: &SyncReport) -> String {
    let mut parts = vec![format!("copied {} ({})", amount(report.copied, "file", "files"), bytes(report.bytes))];
    for (count, what) in [
        (report.renamed, "renamed"),
        (report.set_aside, "set aside"),
        (report.vanished, "vanished while they were copied"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    parts.join(", ")
}
