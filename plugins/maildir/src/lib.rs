//! The maildir phase: mail from old to new. `pass = "hot"` while users work, as often as wanted; `pass = "cold"` once
//! mail has stopped, and then both sides are alike.
//! Invariant: once the cold pass is done, new is where mail lives: no pass sets anything aside there any more.

mod living;
mod look;

use rehome_sdk::files::SyncReport;
use rehome_sdk::prelude::*;
use rehome_sdk::{amount, bytes};

rehome_sdk::manifest!();
rehome_sdk::phase!(Maildir);

/// The phase.
#[derive(Debug)]
pub struct Maildir;

/// What a plan sets.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Config {
    path: String,
    domains: Vec<String>,
    pass: Pass,
    delete_limit: String,
}

/// Which pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pass {
    /// while both sides work
    Hot,
    /// once mail has stopped
    Cold,
}

/// How long the last pass took: the next one is shorter.
const LAST_TOOK: &str = "last-pass-milliseconds";

impl Phase for Maildir {
    type Config = Config;

    fn check(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let mut found = Findings::new();
        let limit = &ctx.config.delete_limit;
        if !is_limit(limit) {
            found
                .blocker("delete-limit", format!("`{limit}` is neither a number of messages nor a percentage"))
                .hint("write `5%` or `200`");
            return Ok(found.into());
        }
        let comparison = match look::compare(ctx.config.pass) {
            Ok(comparison) => comparison,
            Err(Failure::NotFound(what)) => {
                found.blocker(mail(ctx), what).hint(format!(
                    "{} must be there on both sides; `path` in the plan says where it is",
                    ctx.config.path
                ));
                return Ok(found.into());
            }
            Err(failure) => return Err(failure),
        };
        look::space(ctx, &comparison, &mut found)?;
        found.ok(mail(ctx), look::words(&comparison));
        if living::on_new(&ctx.config)? && !comparison.is_equal() {
            found.blocker(mail(ctx), format!("{SINCE}: {}", look::words(&comparison))).hint(LIVING);
        } else if comparison.extra > 0 {
            let extra = amount(comparison.extra, "file", "files");
            found.note(mail(ctx), format!("new has {extra} that old does not have: set aside, up to {limit}"));
        }
        Ok(found.into())
    }

    fn preview(ctx: &Context<Config>) -> Result<Forecast, Failure> {
        let mut forecast = Forecast::default();
        let comparison = look::compare(ctx.config.pass)?;
        look::changes(ctx, &comparison, &mut forecast);
        if ctx.config.pass == Pass::Cold {
            forecast.cutover_milliseconds = journal::recall_text(LAST_TOOK)?.and_then(|text| text.parse().ok());
            if look::is_active(Side::Old)? {
                forecast.not_yet("what changes on old until mail stops");
            }
        }
        Ok(forecast)
    }

    fn apply(ctx: &Context<Config>) -> Result<(), Failure> {
        if !is_limit(&ctx.config.delete_limit) {
            let text = format!("`{}` is neither a number of messages nor a percentage", ctx.config.delete_limit);
            return Err(stopped("delete-limit", text).hint("write `5%` or `200`"));
        }
        if living::on_new(&ctx.config)? {
            return keep_what_arrived(ctx);
        }
        let report = match ctx.config.pass {
            Pass::Hot => requests::sync::HOT.run()?,
            Pass::Cold => cold(ctx)?,
        };
        say(&report);
        journal::remember(LAST_TOOK, report.milliseconds.to_string())?;
        if ctx.config.pass == Pass::Cold { living::begins_on_new(&ctx.config) } else { Ok(()) }
    }

    fn verify(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let mut found = Findings::new();
        look::verify(ctx, &mut found)?;
        Ok(found.into())
    }

    fn undo(ctx: &Context<Config>) -> Result<(), Failure> {
        if ctx.config.pass == Pass::Hot {
            report::info("the copies on new stay where they are: old was not changed by them");
            return Ok(());
        }
        if !living::on_new(&ctx.config)? {
            report::info("the cold pass was not finished: no mail can have arrived on new alone");
            return Ok(());
        }
        say(&requests::sync::BACK.run()?);
        report::warning("flags set, and mail moved or deleted on new since the cutover are not carried back to old");
        living::is_back_on_old(&ctx.config)
    }
}

/// Mail has stopped: a pass that finds nothing to do comes soon, or something still writes.
const PASSES: u32 = 3;

/// The cold pass, repeated until one finds nothing to do: that costs a look at what changed, not at all the mail, and mail
/// stands still meanwhile. `verify` compares everything. Answers the report of the first.
fn cold(ctx: &Context<Config>) -> Result<SyncReport, Failure> {
    for side in SIDES {
        if look::is_active(side)? {
            return Err(stopped(
                format!("Dovecot on {side}"),
                "runs, and the cold pass needs it stopped on both sides",
            )
            .hint("a phase of the component `dovecot` with part = \"stop\" comes before this one"));
        }
    }
    let first = requests::sync::COLD.run()?;
    let mut last = first.clone();
    for _ in 1..PASSES {
        if changed_nothing(&last) {
            return Ok(first);
        }
        last = requests::sync::COLD.run()?;
    }
    if changed_nothing(&last) {
        return Ok(first);
    }
    let text = format!("pass {PASSES} of the cold pass still found changes: {}", words(&last));
    Err(stopped(mail(ctx), text)
        .hint("something still writes below the mail folder of old or new: stop it, and run `rehome apply` again"))
}

fn changed_nothing(report: &SyncReport) -> bool {
    report.copied + report.renamed + report.set_aside + report.vanished == 0
}

/// Once the cold pass is done there is nothing left to do, or new is in use.
fn keep_what_arrived(ctx: &Context<Config>) -> Result<(), Failure> {
    let comparison = look::compare(ctx.config.pass)?;
    if comparison.is_equal() {
        report::info("the cold pass is done, and both sides are alike");
        return Ok(());
    }
    Err(stopped(mail(ctx), format!("{SINCE}: {}", look::words(&comparison))).hint(LIVING))
}

const SINCE: &str = "the cold pass is done, and new differs since";
const LIVING: &str =
    "new is in use: another pass would set aside what arrived there. `rehome undo` takes the cutover back first";

fn mail(ctx: &Context<Config>) -> String {
    match ctx.config.domains.as_slice() {
        [] => format!("mail in {}", ctx.config.path),
        domains => format!("mail of {}", domains.join(", ")),
    }
}

fn say(report: &SyncReport) {
    report::info(&format!("{}, of {} looked at, in {} ms", words(report), report.examined, report.milliseconds));
}

fn words(report: &SyncReport) -> String {
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

/// `5%`, `12.5%` or `200`.
fn is_limit(text: &str) -> bool {
    let is_number = |digits: &str| digits.parse::<u64>().is_ok() && !digits.starts_with('+');
    match text.strip_suffix('%') {
        Some(percent) => {
            let (whole, fraction) = percent.split_once('.').unwrap_or((percent, "0"));
            is_number(whole) && is_number(fraction) && whole.parse::<u64>().is_ok_and(|whole| whole <= 100)
        }
        None => is_number(text),
    }
}

#[cfg(test)]
mod tests;
