//! The maildir phase: mail from old to new. `pass = "hot"` while users work, as often as wanted; `pass = "cold"` once
//! mail has stopped, and then both sides are alike.
//! Invariant: once the cold pass is done, new is where mail lives: no pass sets anything aside there any more.
//! `passes` runs and measures them, `look` compares, `living` knows where mail lives.

mod living;
mod look;
mod passes;

use rehome_sdk::amount;
use rehome_sdk::prelude::*;

use passes::Last;

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
    converged: u64,
    passes: u64,
    delete_limit: String,
    verify: Closeness,
}

/// How closely `verify` looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Closeness {
    /// names, sizes, times, owners
    Metadata,
    /// and the bytes of every file
    Full,
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
        let on_new = living::on_new(&ctx.config)?;
        if on_new && !comparison.is_equal() {
            found.blocker(mail(ctx), format!("{SINCE}: {}", look::words(&comparison))).hint(LIVING);
        } else if comparison.extra > 0 {
            let extra = amount(comparison.extra, "file", "files");
            found.note(mail(ctx), format!("new has {extra} that old does not have: set aside, up to {limit}"));
        }
        if let Some(last) = Last::of(&ctx.config)?.filter(|_| ctx.config.pass == Pass::Cold && !on_new) {
            found.note(mail(ctx), last.words());
        }
        Ok(found.into())
    }

    fn preview(ctx: &Context<Config>) -> Result<Forecast, Failure> {
        let mut forecast = Forecast::default();
        let comparison = look::compare(ctx.config.pass)?;
        look::changes(ctx, &comparison, &mut forecast);
        let last = Last::of(&ctx.config)?;
        match (ctx.config.pass, last) {
            (Pass::Cold, Some(last)) => forecast.stands_still(last.expected()),
            (Pass::Cold, None) => forecast.not_yet("how long this pass takes: no hot pass has measured it"),
            (Pass::Hot, None) => forecast.not_yet("how long mail will stand still: these passes measure it"),
            (Pass::Hot, Some(_)) => {}
        }
        if ctx.config.pass == Pass::Cold && look::is_active(Side::Old)? {
            forecast.not_yet("what changes on old until mail stops");
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
        match ctx.config.pass {
            Pass::Hot => passes::hot(ctx),
            Pass::Cold => {
                passes::cold(ctx)?;
                living::begins_on_new(&ctx.config)
            }
        }
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
        report::info(&format!("to old: {}", passes::words(&requests::sync::BACK.run()?)));
        report::warning("flags set, and mail moved or deleted on new since the cutover are not carried back to old");
        living::is_back_on_old(&ctx.config)
    }
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
