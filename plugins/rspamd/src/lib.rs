//! The rspamd phase: what rspamd has learned (Redis), the keys that sign (DKIM) and their selectors, from old to new. Twice in
//! a plan: ahead, while old goes on learning, and in the cutover, where what is alike already costs a look and no more.
//! Invariant: old is only read, and keys of new's Redis that no pattern names are not touched.
//! `learned` knows Redis, `keys` and `selectors` the files, `signing` the settings, `published` DNS.

mod keys;
mod learned;
mod published;
mod ready;
mod selectors;
mod signing;

use rehome_sdk::prelude::*;

rehome_sdk::manifest!();
rehome_sdk::phase!(Rspamd);

/// The phase.
#[derive(Debug)]
pub struct Rspamd;

/// What a plan sets.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Config {
    databases: Vec<u32>,
    learned: Vec<String>,
    passing: Vec<String>,
    dkim_folder: String,
    dkim_owner: String,
    selector_map: String,
    selectors: Vec<String>,
}

/// Remembered once the pass of the cutover is done: passes before it are compared no more.
const LAST_PASS: &str = "last-pass";
/// Remembered from before the first change until rspamd on new has read what changed.
const DUE: &str = "reload-is-due";
/// What an `apply` that had something to bring took is remembered under this name.
const BRINGING: &str = "bringing";

impl Phase for Rspamd {
    type Config = Config;

    fn check(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let mut found = Findings::new();
        if !ready::check(&ctx.config, &mut found)? {
            return Ok(found.into());
        }
        learned::check(&ctx.config, &mut found)?;
        signing::check(&ctx.config, &mut found)?;
        keys::check(&ctx.config, &mut found)?;
        published::check(&ctx.config, Side::Old, &mut found)?;
        Ok(found.into())
    }

    fn preview(ctx: &Context<Config>) -> Result<Forecast, Failure> {
        let (mut forecast, looking) = clock::timed(|| {
            let mut forecast = Forecast::default();
            keys::preview(&ctx.config, &mut forecast)?;
            selectors::preview(&ctx.config, &mut forecast)?;
            learned::preview(ctx, &mut forecast)?;
            Ok(forecast)
        })?;
        if ctx.stage == Stage::Cutover {
            forecast.looks_first(looking, took::recall(BRINGING)?);
        }
        Ok(forecast)
    }

    fn apply(ctx: &Context<Config>) -> Result<(), Failure> {
        let (changed, milliseconds) = clock::timed(|| {
            keys::bring(&ctx.config)?;
            selectors::bring(&ctx.config)?;
            learned::bring(ctx)?;
            read_anew()
        })?;
        if changed {
            took::remember(BRINGING, milliseconds)?;
        } else {
            report::info("keys, selectors and what rspamd learned are on new as on old: nothing to bring");
        }
        if ctx.stage == Stage::Cutover { journal::remember(LAST_PASS, "done") } else { Ok(()) }
    }

    fn verify(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let mut found = Findings::new();
        if ctx.stage != Stage::Cutover && journal::recall(LAST_PASS)?.is_some() {
            found.ok("rspamd", "what changed since was brought by the pass of the cutover: see there");
            return Ok(found.into());
        }
        keys::verify(ctx, &mut found)?;
        selectors::verify(ctx, &mut found)?;
        learned::verify(ctx, &mut found)?;
        published::check(&ctx.config, Side::New, &mut found)?;
        Ok(found.into())
    }

    fn undo(ctx: &Context<Config>) -> Result<(), Failure> {
        learned::back(&ctx.config)?;
        selectors::back()?;
        keys::back(&ctx.config)?;
        reload()?;
        journal::forget(DUE)?;
        journal::forget(LAST_PASS)
    }
}

/// How much a difference between the sides matters: old goes on learning until the cutover, and its next pass brings that.
fn severity(ctx: &Context<Config>) -> Severity {
    if ctx.stage == Stage::Cutover { Severity::Blocker } else { Severity::Warning }
}

/// Before anything on new is changed: whoever is cut off after that has rspamd read it the next time.
fn changing() -> Result<(), Failure> {
    if journal::recall(DUE)?.is_none() { journal::remember(DUE, "yes") } else { Ok(()) }
}

/// Has rspamd read what has changed since it last did. Answers whether anything had.
fn read_anew() -> Result<bool, Failure> {
    if journal::recall(DUE)?.is_none() {
        must_run("does not run")?;
        return Ok(false);
    }
    reload()?;
    journal::forget(DUE)?;
    Ok(true)
}

/// Reloading keeps the sockets open: no mail passes unsigned or is turned away meanwhile.
fn reload() -> Result<(), Failure> {
    requests::exec::RELOAD.on(Side::New).run()?;
    must_run("does not run after it was reloaded")
}

fn must_run(otherwise: &str) -> Result<(), Failure> {
    match runs(Side::New)? {
        true => Ok(()),
        false => Err(stopped("rspamd on new", otherwise)
            .hint("`journalctl -u rspamd` on new says why; then run `rehome apply` again")),
    }
}

fn runs(side: Side) -> Result<bool, Failure> {
    Ok(requests::exec::RUNNING.on(side).run()?.text() == "active")
}

/// What a phase can say instead of giving up: the failure of a service, not one of rehome itself or of a gate.
fn told<T>(result: Result<T, Failure>) -> Result<Result<T, (String, Option<String>)>, Failure> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(failure @ (Failure::Denied(_) | Failure::ReadOnly(_) | Failure::Waiting(_))) => Err(failure),
        Err(failure) => Ok(Err(failure.words_and_remedy())),
    }
}

#[cfg(test)]
mod tests;
