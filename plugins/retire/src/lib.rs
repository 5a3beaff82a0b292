//! The retire phase: the end of old. Gates first, then the last backup, then the operator's word, then the stop.
//! Invariant: nothing is stopped before the backup was compared with old by contents; nothing of old is ever deleted, and
//! undo starts what ran. `gates` looks, `backup` copies and compares, `services` stops and starts.

mod backup;
mod gates;
mod reached;
mod services;

use rehome_sdk::amount;
use rehome_sdk::prelude::*;

use backup::Moment;
use gates::Obstacle;

rehome_sdk::manifest!();
rehome_sdk::phase!(Retire);

/// The phase.
#[derive(Debug)]
pub struct Retire;

/// What a plan sets.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Config {
    services: Vec<String>,
    old_addresses: Vec<String>,
    names: Vec<String>,
    /// seconds
    hold: u64,
    backup: Backup,
    backup_place: String,
    backup_folder: String,
    mail: String,
    state: Vec<String>,
    webmail: bool,
    webmail_database: String,
    domains: Vec<String>,
    database: String,
}

/// Whose backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backup {
    /// copied into a folder on new
    Copy,
    /// the operator's own
    Own,
}

/// Remembered once services are stopped: when.
const RETIRED: &str = "retired-at";

impl Phase for Retire {
    type Config = Config;

    fn check(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let config = &ctx.config;
        let mut found = Findings::new();
        if config.services.is_empty() {
            found.blocker("services", "the plan names none: nothing would be stopped");
        }
        for unit in &config.services {
            match services::state_of(unit)? {
                state if state.is_missing() => found
                    .warning(format!("{unit} on old"), "is no unit there: it is left out")
                    .hint("look at `services` in the plan: `systemctl list-units` on old"),
                state => found.ok(format!("{unit} on old"), state.words()),
            };
        }
        backup::check(config, &mut found)?;
        // Before the end, all of this is as it should be: old still works.
        for Obstacle { subject, text, .. } in gates::obstacles(config)? {
            found.note(subject, format!("not yet: {text}"));
        }
        Ok(found.into())
    }

    fn preview(ctx: &Context<Config>) -> Result<Forecast, Failure> {
        let config = &ctx.config;
        let mut forecast = Forecast::default();
        backup::preview(config, &mut forecast)?;
        for unit in &config.services {
            let state = services::state_of(unit)?;
            if !state.is_retired() {
                forecast.change(format!("{unit} on old"), state.words(), "stopped and disabled; nothing is deleted");
            }
        }
        for Obstacle { subject, text, .. } in gates::obstacles(config)? {
            forecast.not_yet(format!("when this can begin: {subject} {text}"));
        }
        Ok(forecast)
    }

    fn apply(ctx: &Context<Config>) -> Result<(), Failure> {
        let config = &ctx.config;
        if journal::recall(RETIRED)?.is_none() {
            gates::must_be_open(config)?;
            gates::must_be_quiet(config)?;
            let kept = backup::take(config, Moment::Before)?;
            requests::question::GO_ON.ask(&question(config, &kept))?;
            // The answer may have taken days.
            gates::must_be_open(config)?;
            gates::must_be_quiet(config)?;
        }
        services::remember(&config.services)?;
        services::stop(config)?;
        // Once more, now that nothing changes any more.
        backup::take(config, Moment::After)?;
        if journal::recall(RETIRED)?.is_none() {
            journal::remember(RETIRED, clock::now().to_string())?;
        }
        services::disable(&config.services)
    }

    fn verify(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let config = &ctx.config;
        let mut found = Findings::new();
        for unit in &config.services {
            let state = services::state_of(unit)?;
            if state.is_retired() {
                found.ok(format!("{unit} on old"), state.words());
            } else {
                found
                    .blocker(format!("{unit} on old"), format!("{}: it should be stopped and disabled", state.words()))
                    .hint(format!("systemctl disable --now {unit}, on old; who started it?"));
            }
        }
        backup::verify(config, &mut found)?;
        for Obstacle { subject, text, hint } in gates::obstacles(config)? {
            found.warning(subject, text).hint(hint);
        }
        summary(config, &mut found)?;
        Ok(found.into())
    }

    fn undo(ctx: &Context<Config>) -> Result<(), Failure> {
        services::bring_back(&ctx.config.services)?;
        report::info("the backup stays where it is");
        journal::forget(RETIRED)
    }
}

fn question(config: &Config, kept: &str) -> String {
    let services = config.services.join(", ");
    format!("{kept}. Stop and disable {services} on old? Nothing is deleted, and `rehome undo` starts them again")
}

/// One line for whoever closes the folder on this migration.
fn summary(config: &Config, found: &mut Findings) -> Result<(), Failure> {
    let domains = reached::domains(config)?.len() as u64;
    let users = requests::sql::USERS.on(Side::Old).rows()?.number().unwrap_or_default();
    let retired = journal::recall_text(RETIRED)?.and_then(|text| text.parse().ok());
    let since = retired.map_or("not retired yet".to_string(), |at| format!("retired on {}", clock::date(at)));
    let domains = amount(domains, "domain", "domains");
    found.ok("old", format!("{since}; it served {domains} with {users} accounts; its files are as they were"));
    Ok(())
}

#[cfg(test)]
mod tests;
