//! The dns phase, in four parts: `lower` (TTLs, ahead of the day), `wait` (until the old ones have run out), `switch` (mail
//! goes to new), `restore` (the old TTLs). Invariant: a part is done when every authoritative server says so, not when one
//! took an update. `targets` knows which records move, `look` what the servers say, `before` what could be wrong.

mod before;
mod look;
mod targets;

use rehome_sdk::prelude::*;

use targets::Target;

rehome_sdk::manifest!();
rehome_sdk::phase!(Dns);

/// The phase.
#[derive(Debug)]
pub struct Dns;

/// What a plan sets.
#[derive(Debug, Deserialize)]
pub struct Config {
    part: Part,
    how: How,
    names: Vec<String>,
    domains: Vec<String>,
    from: String,
    to: String,
    ipv6: bool,
    from6: String,
    to6: String,
    ttl: u32,
}

/// Which part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// TTLs, ahead of the day
    Lower,
    /// until the old ones have run out
    Wait,
    /// mail goes to new
    Switch,
    /// the old TTLs
    Restore,
}

/// What moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// addresses of host names
    Address,
    /// MX records of domains
    Mx,
}

/// Remembered when every server gave the lowered TTL: the old ones run out from then on.
const LOWERED_AT: &str = "lowered-at";
/// Remembered on undo when every server gave the old records again.
const BACK_AT: &str = "back-at";

impl Phase for Dns {
    type Config = Config;

    fn check(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let mut found = Findings::new();
        before::config(&ctx.config, &mut found);
        if found.blockers().next().is_none() {
            before::check(&ctx.config, &mut found)?;
        }
        Ok(found.into())
    }

    fn preview(ctx: &Context<Config>) -> Result<Forecast, Failure> {
        let mut forecast = Forecast::default();
        if ctx.config.part == Part::Wait {
            match runs_out(&ctx.config)? {
                Some(moment) if clock::now() < moment => {
                    forecast.not_yet(format!("waits until {}", clock::date(moment)))
                }
                Some(_) => {}
                None => forecast.not_yet("waits until the TTLs that are lowered before have run out"),
            }
            return Ok(forecast);
        }
        for target in targets::all(&ctx.config)? {
            let now = look::now(&target)?;
            let planned = target.record(ctx.config.part)?.planned([&target.owner])?;
            if look::any_differs(&now, &planned) {
                forecast.change(target.to_string(), look::shown(&now), look::words(&planned));
            }
        }
        Ok(forecast)
    }

    fn apply(ctx: &Context<Config>) -> Result<(), Failure> {
        if ctx.config.part == Part::Wait {
            return wait(&ctx.config);
        }
        let mut changed = false;
        for target in targets::all(&ctx.config)? {
            let now = look::now(&target)?;
            if ctx.config.part == Part::Lower {
                remember_ttl(&target, look::largest_ttl(&now))?;
            }
            let record = target.record(ctx.config.part)?;
            let planned = record.planned([&target.owner])?;
            if look::any_differs(&now, &planned) {
                record.update([&target.owner], None)?;
                report::info(&format!("{target}: {}", look::words(&planned)));
                changed = true;
            }
            look::until_all_agree(&target, &planned)?;
        }
        if ctx.config.part == Part::Lower && (changed || journal::recall(LOWERED_AT)?.is_none()) {
            journal::remember(LOWERED_AT, clock::now().to_string())?;
        }
        Ok(())
    }

    fn verify(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let mut found = Findings::new();
        for target in targets::all(&ctx.config)? {
            let now = look::now(&target)?;
            let what = match ctx.config.part {
                Part::Lower | Part::Wait => continue,
                Part::Switch => target.names_new(&ctx.config, &now),
                Part::Restore => look::ttl_is(&now, old_ttl(&target)?),
            };
            match what {
                Ok(()) => found.ok(target.to_string(), format!("{}, at {}", look::shown(&now), look::servers(&now))),
                Err(why) => found.blocker(target.to_string(), why),
            };
        }
        if found.as_slice().is_empty() {
            found.ok("TTLs", "were lowered for the time of the move; `restore` puts them back");
        }
        Ok(found.into())
    }

    fn undo(ctx: &Context<Config>) -> Result<(), Failure> {
        if ctx.config.part == Part::Wait {
            return Ok(());
        }
        let back = format!("{BACK_AT}/{}", ctx.phase);
        if journal::recall(&back)?.is_none() {
            for target in targets::all(&ctx.config)? {
                target.record(ctx.config.part)?.restore([&target.owner])?;
                report::info(&format!("{target}: {} again", look::shown(&look::now(&target)?)));
            }
            journal::remember(&back, clock::now().to_string())?;
        }
        let since = journal::recall_text(&back)?.and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        if ctx.config.part == Part::Restore {
            // Some resolver may have asked just before: it sends users and mail to new for as long as it was told. Until
            // then new stays in use; only with short TTLs everywhere do all go back at the same moment.
            let longest = longest_old_ttl(&ctx.config)?;
            requests::question::LONG_TTL_HAS_RUN_OUT.until(since + u64::from(longest))?;
        }
        if ctx.config.part == Part::Switch {
            // Until then resolvers still send mail to new, which must be there to take it.
            requests::question::RESOLVERS_FORGET.until(since + u64::from(ctx.config.ttl))?;
        }
        if ctx.config.part == Part::Lower {
            journal::forget(LOWERED_AT)?;
            for target in targets::all(&ctx.config)? {
                journal::forget(&ttl_key(&target))?;
            }
        }
        journal::forget(&back)
    }
}

/// Until the old TTLs have run out, and every server gives the lowered one.
fn wait(config: &Config) -> Result<(), Failure> {
    let Some(moment) = runs_out(config)? else {
        return Err(stopped("dns", "no TTL was lowered before: there is nothing to wait for")
            .hint("a phase of this component with part = \"lower\" comes before this one, a day ahead"));
    };
    requests::question::TTL_HAS_RUN_OUT.until(moment)?;
    for target in targets::all(config)? {
        let now = look::now(&target)?;
        if let Some(answer) = now.iter().find(|answer| answer.rrset.as_ref().is_some_and(|set| set.ttl > config.ttl)) {
            let ttl = answer.rrset.as_ref().map_or(0, |set| set.ttl);
            return Err(stopped(
                target.to_string(),
                format!("the name server {} gives a TTL of {ttl} s", answer.server),
            )
            .hint(format!(
                "somebody raised it since; `rehome apply --again` of the phase that lowers it sets {}",
                config.ttl
            )));
        }
    }
    Ok(())
}

/// When no resolver can hold a record with its old TTL any more.
fn runs_out(config: &Config) -> Result<Option<u64>, Failure> {
    let lowered = journal::recall_text(LOWERED_AT)?.and_then(|text| text.parse::<u64>().ok());
    let Some(lowered) = lowered else { return Ok(None) };
    Ok(Some(lowered + u64::from(longest_old_ttl(config)?)))
}

/// The longest TTL that any of the records had before it was lowered, in seconds.
fn longest_old_ttl(config: &Config) -> Result<u32, Failure> {
    let mut longest = 0;
    for target in targets::all(config)? {
        longest = longest.max(old_ttl(&target)?.unwrap_or_default());
    }
    Ok(longest)
}

fn ttl_key(target: &Target) -> String {
    format!("old-ttl/{}/{}", target.kind, target.owner)
}

fn old_ttl(target: &Target) -> Result<Option<u32>, Failure> {
    Ok(journal::recall_text(&ttl_key(target))?.and_then(|text| text.parse().ok()))
}

/// The first observation wins: later ones would see what this phase wrote.
fn remember_ttl(target: &Target, ttl: u32) -> Result<(), Failure> {
    if old_ttl(target)?.is_some() { Ok(()) } else { journal::remember(&ttl_key(target), ttl.to_string()) }
}

#[cfg(test)]
mod tests;
