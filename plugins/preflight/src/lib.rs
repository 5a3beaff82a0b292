//! The preflight phase: whether both sides are working mail servers that mail can move between. It changes nothing, and
//! none of its requests can.
//! Invariant: what is wrong is named with its remedy, and everything is looked at before anything stops.
//! Each file looks at one thing; a side that is a folder is looked at as far as a folder goes.

mod accounts;
mod by_hand;
mod clocks;
mod database;
mod disk;
mod mailboxes;
mod place;
mod releases;
mod services;
mod settings;
mod users;

use rehome_sdk::prelude::*;

rehome_sdk::manifest!();
rehome_sdk::phase!(Preflight);

/// The phase.
#[derive(Debug)]
pub struct Preflight;

/// What a plan sets.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Config {
    services: Vec<String>,
    vmail: String,
    user: String,
    database: String,
    /// seconds
    clock_skew: u64,
    /// whether settings made by hand are compared
    settings: bool,
}

impl Phase for Preflight {
    type Config = Config;

    fn check(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let mut found = Findings::new();
        look(&ctx.config, true, &mut found)?;
        disk::check(&ctx.config, &mut found)?;
        Ok(found.into())
    }

    /// It changes nothing.
    fn preview(_: &Context<Config>) -> Result<Forecast, Failure> {
        Ok(Forecast::default())
    }

    /// Looks once more: `check` may be long ago. The space is `check`'s alone, so that this phase can never copy; so are files
    /// that were made by hand, of which none stops it.
    fn apply(ctx: &Context<Config>) -> Result<(), Failure> {
        let mut found = Findings::new();
        look(&ctx.config, false, &mut found)?;
        for finding in found.as_slice() {
            let line = format!("{}: {}", finding.subject, finding.text);
            match finding.severity {
                Severity::Blocker => report::error(&line),
                Severity::Warning => report::warning(&line),
                Severity::Note => report::info(&line),
                Severity::Ok => report::debug(&line),
            }
        }
        let blockers = found.blockers().count();
        match found.blockers().next().cloned() {
            None => Ok(()),
            Some(mut first) => {
                if blockers > 1 {
                    first.text = format!("{} (and {} more)", first.text, blockers - 1);
                }
                Err(Failure::Stopped(first))
            }
        }
    }

    /// It changed nothing.
    fn undo(_: &Context<Config>) -> Result<(), Failure> {
        Ok(())
    }
}

fn look(config: &Config, with_files: bool, found: &mut Findings) -> Result<(), Failure> {
    let seen = clocks::look()?;
    for (side, time) in SIDES.iter().zip(&seen) {
        if time.is_none() {
            found.note(
                format!("{side}"),
                "runs no commands (a folder?): services, accounts and versions are not looked at",
            );
        }
    }
    let machines: Vec<Side> =
        SIDES.into_iter().zip(&seen).filter(|(_, time)| time.is_some()).map(|(side, _)| side).collect();
    let described = database::describe(found)?;
    let mut old_reads_mail = false;
    for side in &machines {
        releases::note(*side, found)?;
        let running = services::check(*side, &config.services, found)?;
        if running.contains("dovecot") {
            old_reads_mail |= *side == Side::Old;
            let accounts = if described.has(*side) { database::users(*side)? } else { None };
            users::check(*side, accounts, found)?;
        }
    }
    if let [Side::Old, Side::New] = machines[..] {
        accounts::check(&config.user, found)?;
        clocks::check(config.clock_skew, &seen, found);
    }
    if machines.contains(&Side::New) {
        settings::check(config, found)?;
    }
    described.check(&config.database, found);
    if let [Side::Old, Side::New] = machines[..] {
        let dovecots = [by_hand::dovecot(Side::Old, found)?, by_hand::dovecot(Side::New, found)?];
        let both = dovecots[0].as_ref().zip(dovecots[1].as_ref());
        if let Some((old, new)) = both.filter(|_| old_reads_mail) {
            mailboxes::check(config, old, new, found)?;
        }
        if config.settings {
            by_hand::check(both, with_files, found)?;
        }
    }
    Ok(())
}

/// A look that did not work is a finding, not the end of all looks: its words. What no phase can help travels on.
fn heard<T>(answer: Result<T, Failure>) -> Result<Result<T, String>, Failure> {
    match answer {
        Ok(value) => Ok(Ok(value)),
        Err(
            failure @ (Failure::EndedBadly(_)
            | Failure::NotFound(_)
            | Failure::OverLimit(_)
            | Failure::Conflict(_)
            | Failure::Other(_)),
        ) => Ok(Err(failure.words())),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod compared_tests;
#[cfg(test)]
mod tests;
