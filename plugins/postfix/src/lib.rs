//! The postfix phase, in five parts: `to-old` (new hands to old what it gets already), `net-on` (nothing bounces; old keeps its
//! mail without Dovecot), `forward` (old hands its mail to new), `watch` (until old is quiet), `net-off`.
//! Invariant: a mail that was accepted is queued, delivered or handed on, once; nothing is deleted but what the operator
//! named. `net` is the safety net, `handing` who hands mail to whom, `watch` waits, `troubles` reads mail logs.

mod back;
mod handing;
mod net;
#[cfg(fuzzing)]
pub mod queue;
#[cfg(not(fuzzing))]
mod queue;
mod quiet;
mod settings;
mod troubles;
mod watch;

use rehome_sdk::prelude::*;

use handing::{can_hand_back, to, trust};
use settings::{HELD, Setting, UNEXPANDED};

rehome_sdk::manifest!();
rehome_sdk::phase!(Postfix);

/// The phase.
#[derive(Debug)]
pub struct Postfix;

/// What a plan sets.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Config {
    part: Part,
    new_host: String,
    old_host: String,
    other_old_host: String,
    domains: Vec<String>,
    /// seconds
    hold: u64,
}

/// Which part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// until the cutover new hands to old what it gets
    ToOld,
    /// nothing bounces; old keeps its mail without Dovecot
    NetOn,
    /// old hands its mail to new
    Forward,
    /// until old is quiet
    Watch,
    /// as before
    NetOff,
}

/// Remembered while old forwards: since when.
const FORWARDS: &str = "forwards-since";
/// Remembered once new hands its mail back to old, by undo: it goes on doing so.
const HANDS_BACK: &str = "hands-back";
/// Remembered while the safety net is on, and after: since when.
const NET_ON: &str = "net-on-since";
/// Remembered once the safety net is off again.
const NET_OFF: &str = "net-off";

impl Phase for Postfix {
    type Config = Config;

    fn check(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let mut found = Findings::new();
        for side in SIDES {
            if requests::exec::ACTIVE.on(side).run()?.text() != "active" {
                found.blocker(format!("Postfix on {side}"), "does not run").hint("systemctl status postfix");
            }
        }
        match ctx.config.part {
            Part::ToOld => {
                if let Some(why) = can_hand_back(&ctx.config)? {
                    found.warning("Postfix on new", why);
                }
                back::check(&ctx.config, &mut found)?;
            }
            Part::NetOn => settings::check(&mut found)?,
            Part::Forward => settings::check_forward(&ctx.config, &mut found)?,
            Part::Watch | Part::NetOff => {}
        }
        queue::findings(Severity::Note, &mut found)?;
        Ok(found.into())
    }

    fn preview(ctx: &Context<Config>) -> Result<Forecast, Failure> {
        let mut forecast = Forecast::default();
        let mut show = |setting: Setting, after: &str| -> Result<(), Failure> {
            let now = setting.now()?;
            if now != after {
                forecast.change(setting.to_string(), now, after);
            }
            Ok(())
        };
        match ctx.config.part {
            Part::ToOld if journal::recall(FORWARDS)?.is_some() || can_hand_back(&ctx.config)?.is_some() => {}
            Part::ToOld if !ctx.config.domains.is_empty() => show(Setting::Detours, &back::detour(&ctx.config))?,
            Part::ToOld => {
                show(Setting::Aliases(Side::New), UNEXPANDED)?;
                show(Setting::Transport(Side::New), &to(&ctx.config.old_host))?;
            }
            Part::NetOn => {
                for side in SIDES {
                    show(Setting::Bounces(side), "yes")?;
                }
                show(Setting::Login, "no")?;
                if settings::aliases_can_travel()? {
                    show(Setting::Aliases(Side::Old), UNEXPANDED)?;
                }
                if journal::recall(FORWARDS)?.is_none() {
                    show(Setting::Transport(Side::Old), HELD)?;
                }
            }
            Part::Forward => {
                show(Setting::Trust, &trust(&ctx.config)?)?;
                show(Setting::Transport(Side::Old), &to(&ctx.config.new_host))?;
            }
            Part::Watch => forecast.not_yet(format!(
                "waits until old had no mail for {} and both queues are empty",
                watch::long(ctx.config.hold)
            )),
            Part::NetOff => forecast.not_yet("puts soft_bounce back on both sides"),
        }
        Ok(forecast)
    }

    fn apply(ctx: &Context<Config>) -> Result<(), Failure> {
        match ctx.config.part {
            Part::ToOld => handing::to_old(&ctx.config),
            Part::NetOn => net::on(),
            Part::Forward => handing::forward(&ctx.config),
            Part::Watch => watch::apply(&ctx.config),
            Part::NetOff => net::off(),
        }
    }

    fn verify(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let mut found = Findings::new();
        let mut is = |setting: Setting, should: &str| setting.should_be(should, &mut found);
        match ctx.config.part {
            Part::ToOld if journal::recall(FORWARDS)?.is_some() || can_hand_back(&ctx.config)?.is_some() => {
                found.ok("virtual_transport on new", "new keeps the mail that it gets");
            }
            Part::ToOld if !ctx.config.domains.is_empty() => is(Setting::Detours, &back::detour(&ctx.config))?,
            Part::ToOld => is(Setting::Transport(Side::New), &to(&ctx.config.old_host))?,
            Part::NetOn if journal::recall(NET_OFF)?.is_some() => {
                found.ok("safety net", "was on, and is off again");
            }
            Part::NetOn => {
                for side in SIDES {
                    is(Setting::Bounces(side), "yes")?;
                }
                is(Setting::Login, "no")?;
                if settings::aliases_can_travel()? {
                    is(Setting::Aliases(Side::Old), UNEXPANDED)?;
                }
            }
            Part::Forward => {
                is(Setting::Trust, &trust(&ctx.config)?)?;
                is(Setting::Transport(Side::Old), &to(&ctx.config.new_host))?;
            }
            Part::Watch => queue::findings(Severity::Warning, &mut found)?,
            Part::NetOff => net::is_off(&mut found)?,
        }
        Ok(found.into())
    }

    fn undo(ctx: &Context<Config>) -> Result<(), Failure> {
        match ctx.config.part {
            Part::ToOld => handing::to_old_back(&ctx.config),
            Part::NetOn => net::on_back(),
            Part::Forward => handing::forward_back(&ctx.config),
            Part::Watch => Ok(()),
            // Nothing bounces while the rest is taken back either: undoing net-on puts the former value back.
            Part::NetOff => journal::forget(NET_OFF),
        }
    }
}

#[cfg(test)]
mod tests;
