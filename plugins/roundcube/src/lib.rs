//! The roundcube phase: webmail users with their contacts, identities and settings, from old to new. All of them as the
//! guide does it (`whole`: old's tables, then Roundcube's own update script), or those of some domains (`merge`: rows beside
//! what new has); then `hosts` writes the IMAP server that Roundcube on new knows them by.
//! Invariant: old is only read; on new a snapshot exists before anything changes; nobody that only new has is lost.
//! `ledger` counts what each user has on a side, `fit` says what new must have of it, `schema` knows the versions, and `alike`
//! whether there is anything to do.

mod alike;
mod fit;
mod guard;
mod hosts;
mod ledger;
mod merge;
mod schema;
mod snapshot;
mod whole;

use rehome_sdk::prelude::*;

use fit::Fit;
use ledger::Ledger;

rehome_sdk::manifest!();
rehome_sdk::phase!(Roundcube);

/// The phase.
#[derive(Debug)]
pub struct Roundcube;

/// What a plan sets.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Config {
    database: String,
    domains: Vec<String>,
    mail_host: String,
    old_mail_host: String,
    settings: String,
}

/// What an `apply` that had something to bring took is remembered under this name.
const BRINGING: &str = "bringing";

impl Phase for Roundcube {
    type Config = Config;

    fn check(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let mut found = Findings::new();
        let Some(schemas) = schema::describe(ctx, &mut found)? else { return Ok(found.into()) };
        schemas.check(ctx, &mut found)?;
        if found.blockers().next().is_some() {
            return Ok(found.into());
        }
        let (old, new) = (Ledger::of_old(&ctx.config)?, Ledger::of_new(&schemas, &ctx.config)?);
        found.ok(webmail(ctx, Side::Old), old.words());
        if !old.is_empty() {
            match hosts::find(&ctx.config, &old)? {
                Ok(hosts) => hosts.check(&old, &mut found),
                Err(why) => found.extend([why]),
            }
            guard::check(ctx, &old, &new, &mut found)?;
        }
        Ok(found.into())
    }

    fn preview(ctx: &Context<Config>) -> Result<Forecast, Failure> {
        let (mut forecast, looking) = clock::timed(|| forecast(ctx))?;
        if ctx.stage == Stage::Cutover {
            forecast.looks_first(looking, took::recall(BRINGING)?);
        }
        Ok(forecast)
    }

    fn apply(ctx: &Context<Config>) -> Result<(), Failure> {
        let (changed, milliseconds) = clock::timed(|| bring(ctx))?;
        if changed { took::remember(BRINGING, milliseconds) } else { Ok(()) }
    }

    fn verify(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let mut found = Findings::new();
        let schemas = schema::must_describe(ctx)?;
        schemas.verify(ctx, &mut found)?;
        let (old, new) = (Ledger::of_old(&ctx.config)?, Ledger::of_new(&schemas, &ctx.config)?);
        if old.is_empty() {
            found.ok(webmail(ctx, Side::Old), "nobody has used it: nothing to compare");
            return Ok(found.into());
        }
        match hosts::find(&ctx.config, &old)? {
            Ok(hosts) => Fit::of(&old, &new, &hosts).verify(ctx, &old, &mut found),
            Err(why) => found.extend([why]),
        }
        Ok(found.into())
    }

    fn undo(ctx: &Context<Config>) -> Result<(), Failure> {
        alike::forget()?;
        snapshot::undo(ctx)?;
        whole::forget(ctx)?;
        guard::forget_copied()
    }
}

fn forecast(ctx: &Context<Config>) -> Result<Forecast, Failure> {
    let mut forecast = Forecast::default();
    let schemas = schema::must_describe(ctx)?;
    let (old, new) = (Ledger::of_old(&ctx.config)?, Ledger::of_new(&schemas, &ctx.config)?);
    if old.is_empty() {
        return Ok(forecast);
    }
    let hosts = hosts::must_find(&ctx.config, &old)?;
    let fit = Fit::of(&old, &new, &hosts);
    let whole = ctx.config.domains.is_empty();
    if whole && alike::nothing_changed(ctx, &schemas, alike::sums(Side::Old)?.as_deref(), &fit)? {
        return Ok(forecast);
    }
    let versions = schemas.versions(ctx)?;
    if whole && versions.old != versions.target {
        let (old, target) = (schema::word(versions.old), schema::word(versions.target));
        let after = format!("those of old (version {old}), brought to {target} by Roundcube's update script");
        forecast.change("Roundcube's tables on new", format!("version {}", schema::word(versions.new)), after);
    }
    if !fit.is_equal() {
        forecast.change(webmail(ctx, Side::New), new.words(), format!("{}, as on old", old.words()));
        hosts.preview(&old, &mut forecast);
    }
    Ok(forecast)
}

/// Answers whether there was anything to bring.
fn bring(ctx: &Context<Config>) -> Result<bool, Failure> {
    let schemas = schema::must_describe(ctx)?;
    let (old, new) = (Ledger::of_old(&ctx.config)?, Ledger::of_new(&schemas, &ctx.config)?);
    report::info(&format!("{}: {}", webmail(ctx, Side::Old), old.words()));
    if old.is_empty() {
        report::info("nobody has used Roundcube on old: nothing to copy");
        return Ok(false);
    }
    let hosts = hosts::must_find(&ctx.config, &old)?;
    guard::refuse(ctx, &old, &new)?;
    let fit = Fit::of(&old, &new, &hosts);
    if !ctx.config.domains.is_empty() {
        let changed = merge::apply(ctx, &schemas, &new, &hosts)?;
        guard::remember_copied(&old)?;
        if !changed && fit.is_equal() {
            return Ok(false);
        }
        hosts.write(ctx)?;
        look(ctx, &hosts)?;
        return Ok(true);
    }
    // Before the copy: what changes while it is made is seen the next time.
    let sums = alike::sums(Side::Old)?;
    if alike::nothing_changed(ctx, &schemas, sums.as_deref(), &fit)? {
        report::info("webmail has changed on neither side since it was copied: nothing to copy");
        return Ok(false);
    }
    alike::forget()?;
    whole::apply(ctx, &schemas, &new)?;
    hosts.write(ctx)?;
    guard::remember_copied(&old)?;
    if look(ctx, &hosts)? {
        alike::remember(sums.as_deref())?;
    }
    Ok(true)
}

/// After everything: whether what new has is what it must have; else old is in use, and has changed meanwhile.
fn look(ctx: &Context<Config>, hosts: &hosts::Hosts) -> Result<bool, Failure> {
    let schemas = schema::must_describe(ctx)?;
    let (old, new) = (Ledger::of_old(&ctx.config)?, Ledger::of_new(&schemas, &ctx.config)?);
    let fit = Fit::of(&old, &new, hosts);
    report::info(&format!("{}: {}", webmail(ctx, Side::New), new.words()));
    if fit.is_equal() {
        return Ok(true);
    }
    if in_use(ctx) {
        report::warning(&format!("old has changed while it was copied: {}", fit.words()));
        return Ok(false);
    }
    Err(stopped(webmail(ctx, Side::New), format!("is not what old has: {}", fit.words())).hint(format!(
        "did somebody use webmail on old meanwhile? `rehome apply --again {}` copies it anew",
        ctx.phase
    )))
}

/// Whether users still work on old: that it changes is normal then, and a later copy brings it.
fn in_use(ctx: &Context<Config>) -> bool {
    matches!(ctx.stage, Stage::Prepare | Stage::Copy)
}

fn webmail(ctx: &Context<Config>, side: Side) -> String {
    match ctx.config.domains.as_slice() {
        [] => format!("webmail on {side}"),
        domains => format!("webmail of {} on {side}", domains.join(", ")),
    }
}

#[cfg(test)]
mod tests;
