//! Services of old: what they were is remembered, they are stopped and disabled, and undo makes them what they were.
//! Invariant: a mail that arrives in the moment of the stop is not left behind in a queue that nobody works on.

use rehome_sdk::prelude::*;

use crate::{Config, gates, requests};

/// What a service may take after its stop or start was answered, in seconds.
const MOMENT: u32 = 30;
/// How often Postfix is stopped in one run, if each time a mail comes in between.
const STOPS: u32 = 3;

/// Remembered per unit: what it was before the stop.
fn key(unit: &str) -> String {
    format!("was/{unit}")
}

/// As systemd says: "active" and "enabled".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    active: String,
    enabled: String,
}

impl State {
    /// "active, enabled".
    pub(crate) fn words(&self) -> String {
        format!("{}, {}", self.active, self.enabled)
    }

    pub(crate) fn is_missing(&self) -> bool {
        self.enabled == "not-found" || self.enabled.is_empty()
    }

    fn runs(&self) -> bool {
        !matches!(self.active.as_str(), "inactive" | "failed")
    }

    /// Whether a boot starts it. A masked unit cannot be enabled or started at all.
    fn starts(&self) -> bool {
        self.enabled.starts_with("enabled")
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.is_missing() || !self.runs() && !self.starts()
    }
}

pub(crate) fn state_of(unit: &str) -> Result<State, Failure> {
    let active = requests::exec::ACTIVE.on(Side::Old).run_with([unit])?.text();
    let output = requests::exec::ENABLED.on(Side::Old).run_with([unit])?;
    // Debian 11 says on stderr that there is no such unit, and nothing on stdout.
    let enabled = output.lines().pop().unwrap_or_else(|| "not-found".into());
    Ok(State { active, enabled })
}

/// The first observation wins: a repeated apply sees what this phase did.
pub(crate) fn remember(units: &[String]) -> Result<(), Failure> {
    for unit in units {
        if journal::recall(&key(unit))?.is_none() {
            journal::remember(&key(unit), state_of(unit)?.words())?;
        }
    }
    Ok(())
}

/// In the plan's order. After Postfix, its queue is looked at: a mail that came in meanwhile goes on first.
pub(crate) fn stop(config: &Config) -> Result<(), Failure> {
    for unit in &config.services {
        let mut tries = 0;
        while let Stopped::WithMail = stop_one(config, unit)? {
            requests::exec::START.on(Side::Old).run_with([unit])?;
            report::warning(&format!(
                "{unit} on old took a mail in the moment of its stop: it runs again, and hands that on"
            ));
            gates::must_be_empty(config)?;
            tries += 1;
            if tries == STOPS {
                return gates::look_again();
            }
        }
    }
    Ok(())
}

/// How a stop ended.
enum Stopped {
    Clean,
    /// something is in its queue that was not there before
    WithMail,
}

fn stop_one(config: &Config, unit: &str) -> Result<Stopped, Failure> {
    let state = state_of(unit)?;
    if state.is_missing() || !state.runs() {
        return Ok(Stopped::Clean);
    }
    requests::exec::STOP.on(Side::Old).run_with([unit])?;
    if !clock::wait_for(MOMENT, || Ok(!state_of(unit)?.runs()))? {
        return Err(stopped(format!("{unit} on old"), "still runs after it was stopped")
            .hint(format!("`systemctl status {unit}` on old says why; then run `rehome apply` again")));
    }
    let took_mail = unit.starts_with("postfix") && gates::queued(config, Side::Old)? > 0;
    Ok(if took_mail { Stopped::WithMail } else { Stopped::Clean })
}

pub(crate) fn disable(units: &[String]) -> Result<(), Failure> {
    for unit in units {
        if state_of(unit)?.starts() {
            requests::exec::DISABLE.on(Side::Old).run_with([unit])?;
        }
        let state = state_of(unit)?;
        if !state.is_retired() {
            return Err(stopped(format!("{unit} on old"), format!("is {} after it was disabled", state.words()))
                .hint(format!("`systemctl disable --now {unit}` on old, by hand; then run `rehome apply` again")));
        }
    }
    Ok(())
}

/// The other way round: what others need starts first.
pub(crate) fn bring_back(units: &[String]) -> Result<(), Failure> {
    for unit in units.iter().rev() {
        let Some(was) = journal::recall_text(&key(unit))? else { continue };
        let now = state_of(unit)?;
        let (active, enabled) = was.split_once(", ").unwrap_or((&was, ""));
        let was = State { active: active.into(), enabled: enabled.into() };
        if was.starts() && !now.starts() {
            requests::exec::ENABLE.on(Side::Old).run_with([unit])?;
        }
        if was.runs() && !now.runs() {
            requests::exec::START.on(Side::Old).run_with([unit])?;
        }
        let is_back = || -> Result<bool, Failure> {
            let now = state_of(unit)?;
            Ok(now.runs() == was.runs() && now.starts() == was.starts())
        };
        if !clock::wait_for(MOMENT, is_back)? {
            let text = format!("is {}, and was {}", state_of(unit)?.words(), was.words());
            return Err(stopped(format!("{unit} on old"), text)
                .hint(format!("`journalctl -u {unit}` on old says why; then run `rehome undo` again")));
        }
        journal::forget(&key(unit))?;
    }
    Ok(())
}
