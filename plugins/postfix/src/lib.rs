//! The postfix phase, in four parts: `net-on` (nothing bounces; old takes mail without Dovecot), `forward` (old hands its
//! mail to new), `watch` (until old is quiet), `net-off`. Invariant: a mail that was accepted is queued, delivered or
//! handed on; nothing is deleted but what the operator named. `settings` knows postconf, `queue` the queues, `watch` waits.

mod back;
mod queue;
mod settings;
mod watch;

use rehome_sdk::prelude::*;

use settings::{Setting, reload};

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
    /// nothing bounces; old takes mail without Dovecot
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
            Part::NetOn => {
                for side in SIDES {
                    show(Setting::Bounces(side), "yes")?;
                }
                show(Setting::Login, "no")?;
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
            Part::NetOn => net_on(),
            Part::Forward => forward(&ctx.config),
            Part::Watch => watch::apply(&ctx.config),
            Part::NetOff => net_off(),
        }
    }

    fn verify(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let mut found = Findings::new();
        let mut is = |setting: Setting, should: &str| -> Result<(), Failure> {
            let now = setting.now()?;
            if now == should {
                found.ok(setting.to_string(), now);
            } else {
                found.blocker(setting.to_string(), format!("is `{now}`, and should be `{should}`"));
            }
            Ok(())
        };
        match ctx.config.part {
            Part::NetOn if journal::recall(NET_OFF)?.is_some() => {
                found.ok("safety net", "was on, and is off again");
            }
            Part::NetOn => {
                for side in SIDES {
                    is(Setting::Bounces(side), "yes")?;
                }
                is(Setting::Login, "no")?;
            }
            Part::Forward => {
                is(Setting::Trust, &trust(&ctx.config)?)?;
                is(Setting::Transport(Side::Old), &to(&ctx.config.new_host))?;
            }
            Part::Watch => queue::findings(Severity::Warning, &mut found)?,
            Part::NetOff => {
                for side in SIDES {
                    let now = Setting::Bounces(side).now()?;
                    let text = format!("soft_bounce is `{now}`");
                    if now == "yes" {
                        found.warning(format!("Postfix on {side}"), text)
                    } else {
                        found.ok(format!("Postfix on {side}"), text)
                    };
                }
            }
        }
        Ok(found.into())
    }

    fn undo(ctx: &Context<Config>) -> Result<(), Failure> {
        match ctx.config.part {
            Part::NetOn => net_on_back(),
            Part::Forward => forward_back(&ctx.config),
            Part::Watch => Ok(()),
            // Nothing bounces while the rest is taken back either: undoing net-on puts the former value back.
            Part::NetOff => journal::forget(NET_OFF),
        }
    }
}

fn to(host: &str) -> String {
    format!("smtp:[{host}]:25")
}

/// What smtpd_milter_maps should be on new. Another migration to the same new server may have named this old one already.
fn trust(config: &Config) -> Result<String, Failure> {
    let now = Setting::Trust.now()?;
    if now.contains(&format!("{{{}=DISABLE}}", config.old_host)) {
        return Ok(now);
    }
    Ok(format!("inline:{{ {{{}=DISABLE}} {{{}=DISABLE}} }}", config.old_host, config.other_old_host))
}

fn net_on() -> Result<(), Failure> {
    for side in SIDES {
        if Setting::Bounces(side).now()? != "yes" {
            requests::exec::BOUNCES_OFF.on(side).run()?;
        }
    }
    if Setting::Login.now()? != "no" {
        requests::exec::LOGIN_OFF.on(Side::Old).run()?;
    }
    for side in SIDES {
        reload(side)?;
        Setting::Bounces(side).must_be("yes")?;
    }
    Setting::Login.must_be("no")
}

fn net_on_back() -> Result<(), Failure> {
    for side in SIDES {
        requests::exec::BOUNCES_BACK.on(side).run()?;
        if Setting::Bounces(side).now()? == "yes" {
            report::warning(&format!(
                "soft_bounce on {side} is `yes` again, as it was before: once no other migration needs it, `postconf soft_bounce=no`"
            ));
        }
    }
    requests::exec::LOGIN_BACK.on(Side::Old).run()?;
    SIDES.into_iter().try_for_each(reload)?;
    // What came while old's Dovecot was stopped waits there, and Postfix would try it again only minutes later.
    SIDES.into_iter().rev().try_for_each(|side| requests::exec::FLUSH.on(side).run().map(drop))
}

fn net_off() -> Result<(), Failure> {
    for side in SIDES {
        Setting::Bounces(side).now()?;
        requests::exec::BOUNCES_BACK.on(side).run()?;
        // Another migration to the same new server may have spread its net before this one began.
        if Setting::Bounces(side).now()? == "yes" {
            report::warning(&format!(
                "soft_bounce on {side} was `yes` before this migration began; it is `no` from now on"
            ));
            requests::exec::BOUNCES_NO.on(side).run()?;
        }
        reload(side)?;
    }
    journal::remember(NET_OFF, "yes")
}

fn forward(config: &Config) -> Result<(), Failure> {
    // What was there is read, and so remembered by the host, before anything of it changes.
    Setting::Trust.now()?;
    let on_new = Setting::Transport(Side::New).now()?;
    let on_old = Setting::Transport(Side::Old).now()?;
    if on_new == to(&config.old_host) {
        requests::exec::TRANSPORT_BACK.on(Side::New).run()?;
    }
    back::taken_away(config)?;
    let trust = trust(config)?;
    if Setting::Trust.now()? != trust {
        requests::exec::TRUST.on(Side::New).run()?;
    }
    reload(Side::New)?;
    Setting::Trust.must_be(&trust)?;
    if on_old != to(&config.new_host) {
        requests::exec::FORWARD.on(Side::Old).run()?;
    }
    reload(Side::Old)?;
    Setting::Transport(Side::Old).must_be(&to(&config.new_host))?;
    if journal::recall(FORWARDS)?.is_none() {
        journal::remember(FORWARDS, clock::now().to_string())?;
    }
    // On new too: what came for others while its Dovecot was closed would wait for minutes.
    requests::exec::FLUSH.on(Side::New).run()?;
    requests::exec::FLUSH.on(Side::Old).run()?;
    queue::drain(Side::Old)
}

fn forward_back(config: &Config) -> Result<(), Failure> {
    requests::exec::TRANSPORT_BACK.on(Side::Old).run()?;
    reload(Side::Old)?;
    back::set(config)?;
    requests::exec::FLUSH.on(Side::New).run()?;
    queue::drain(Side::New)?;
    requests::exec::TRUST_BACK.on(Side::New).run()?;
    reload(Side::New)?;
    report::warning("new goes on handing its mail to old: let it run until the world has forgotten it");
    journal::forget(FORWARDS)
}

#[cfg(test)]
mod tests;
