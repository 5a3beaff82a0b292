//! The dovecot phase, in four parts: `ahead` (new runs closed, indexes rebuilt while old works), `stop` (both stop),
//! `resync` (new runs closed again, indexes rebuilt), `open` (users reach new).
//! Invariant: Dovecot on new listens to nobody before `open`, and no index is older than the files it is about.
//! `service` starts and stops, `indexes` rebuilds, `counts` knows what users would see, `users` who they are.

mod ahead;
mod counts;
mod imap;
mod indexes;
mod open;
mod resync;
mod service;
mod stop;
mod users;

use rehome_sdk::prelude::*;

rehome_sdk::manifest!();
rehome_sdk::phase!(Dovecot);

/// The phase.
#[derive(Debug)]
pub struct Dovecot;

/// What a plan sets.
#[derive(Debug, Deserialize)]
pub struct Config {
    part: Part,
}

/// Which part of the cutover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// while old works
    Ahead,
    /// mail stops
    Stop,
    /// after the last pass
    Resync,
    /// users reach new
    Open,
}

/// Remembered while Dovecot on new was restarted with the closing file.
const CLOSED: &str = "new-runs-closed";
/// Remembered while Dovecot on new was restarted without it.
const OPEN: &str = "new-runs-open";
/// Remembered while phases of `ahead` are done, by their ids: the undo of the first one opens new again.
const AHEAD: &str = "ahead-is-done";
/// Remembered once users could reach new: mail may have arrived there.
const WAS_OPEN: &str = "new-was-open";

impl Phase for Dovecot {
    type Config = Config;

    fn check(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let mut found = Findings::new();
        for side in SIDES {
            users::check(side, &mut found)?;
        }
        if ctx.config.part == Part::Stop && !service::is_active(Side::Old)? {
            let text = "is stopped already: what its users see cannot be compared later";
            found.warning("Dovecot on old", text).hint("systemctl start dovecot, until this phase stops it");
        }
        Ok(found.into())
    }

    fn preview(ctx: &Context<Config>) -> Result<Forecast, Failure> {
        let mut forecast = Forecast::default();
        match ctx.config.part {
            Part::Ahead => ahead::preview(&mut forecast)?,
            Part::Stop => stop::preview(&mut forecast)?,
            Part::Resync => resync::preview(&mut forecast)?,
            Part::Open => open::preview(&mut forecast)?,
        }
        Ok(forecast)
    }

    fn apply(ctx: &Context<Config>) -> Result<(), Failure> {
        match ctx.config.part {
            Part::Ahead => ahead::apply(&ctx.phase),
            Part::Stop => stop::apply(),
            Part::Resync => resync::apply(),
            Part::Open => open::apply(),
        }
    }

    fn verify(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let mut found = Findings::new();
        match ctx.config.part {
            Part::Ahead => service::verify_new(&mut found)?,
            Part::Stop => stop::verify(&mut found)?,
            Part::Resync => counts::verify(&mut found)?,
            Part::Open => {
                open::verify(&mut found)?;
                counts::verify(&mut found)?;
            }
        }
        Ok(found.into())
    }

    fn undo(ctx: &Context<Config>) -> Result<(), Failure> {
        match ctx.config.part {
            Part::Ahead => ahead::undo(&ctx.phase),
            Part::Stop => stop::undo(),
            Part::Resync => {
                report::info("rebuilt indexes on new stay: nothing on old has changed by them");
                Ok(())
            }
            Part::Open => open::undo(),
        }
    }
}

#[cfg(test)]
mod tests;
