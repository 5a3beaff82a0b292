//! Mail goes to the side that has the mailboxes: before the cutover what new gets goes to old (`to-old`), afterwards what old
//! gets goes to new (`forward`), and on undo to old again. Where a plan names its domains, only theirs, see `back`.
//! Invariants: never both at once; where everything moves, the side that is handed a mail expands its aliases, and nobody before
//! (if in doubt both do: a copy too many is better than none).

use rehome_sdk::prelude::*;

use crate::quiet::{Waiting, obeyed, while_quiet};
use crate::settings::{PAUSED, Setting, UNEXPANDED, reload};
use crate::{Config, FORWARDS, HANDS_BACK, NET_ON, back, queue, requests};

pub(crate) fn to(host: &str) -> String {
    format!("smtp:[{host}]:25")
}

/// What smtpd_milter_maps should be on new. Another migration to the same new server may have named this old one already.
pub(crate) fn trust(config: &Config) -> Result<String, Failure> {
    let now = Setting::Trust.now()?;
    if now.contains(&format!("{{{}=DISABLE}}", config.old_host)) {
        return Ok(now);
    }
    Ok(format!("inline:{{ {{{}=DISABLE}} {{{}=DISABLE}} }}", config.old_host, config.other_old_host))
}

/// Whether new can hand its mail to old, all of it or that of the plan's domains; if not, why.
pub(crate) fn can_hand_back(config: &Config) -> Result<Option<String>, Failure> {
    if !config.domains.is_empty() {
        return Ok(None);
    }
    let own = own_domains()?;
    Ok((!own.is_empty()).then(|| own_domains_words(&own)))
}

/// Domains that new has and old does not: another server's, or new's own. Their mail must stay on new.
fn own_domains() -> Result<Vec<String>, Failure> {
    let of = |side| -> Result<Vec<String>, Failure> {
        let names = requests::sql::DOMAINS.on(side).rows()?.texts("name");
        Ok(names.into_iter().map(|name| name.to_ascii_lowercase()).collect())
    };
    let old = of(Side::Old)?;
    Ok(of(Side::New)?.into_iter().filter(|name| !old.contains(name)).collect())
}

fn own_domains_words(own: &[String]) -> String {
    format!(
        "new has mailboxes of its own ({}), so not all of its mail can go to old: name the domains that move in `domains`; \
         else what new gets for them before the cutover is set aside by the last copy",
        own.join(", ")
    )
}

/// Before the cutover: a mail that new gets already, from its own cron or from someone who knows its address.
pub(crate) fn to_old(config: &Config) -> Result<(), Failure> {
    if journal::recall(FORWARDS)?.is_some() {
        report::info("old hands its mail to new already: new keeps what it gets");
        return Ok(());
    }
    match can_hand_back(config)? {
        Some(why) => {
            report::warning(&why);
            Ok(())
        }
        None => new_to_old(config),
    }
}

fn new_to_old(config: &Config) -> Result<(), Failure> {
    if !config.domains.is_empty() {
        return back::set(config);
    }
    let aliases = Setting::Aliases(Side::New).now()? != UNEXPANDED;
    let transport = Setting::Transport(Side::New).now()? != to(&config.old_host);
    if aliases || transport || Setting::Intake(Side::New).now()? == PAUSED {
        while_quiet(Side::New, Waiting::Stays, || {
            requests::exec::TO_OLD.on(Side::New).run()?;
            obeyed(Side::New)?;
            requests::exec::NEW_ALIASES_THERE.on(Side::New).run().map(drop)
        })?;
    }
    Setting::Aliases(Side::New).must_be(UNEXPANDED)?;
    Setting::Transport(Side::New).must_be(&to(&config.old_host))
}

/// New delivers what it gets, and what waits there unexpanded is expanded.
fn new_keeps(config: &Config) -> Result<(), Failure> {
    if !config.domains.is_empty() {
        return back::taken_away(config);
    }
    let handed = Setting::Transport(Side::New).now()? == to(&config.old_host);
    Setting::Aliases(Side::New).now()?;
    if !handed && Setting::Intake(Side::New).now()? != PAUSED {
        return Ok(());
    }
    while_quiet(Side::New, Waiting::IsExpanded, || {
        requests::exec::NEW_ALIASES_BACK.on(Side::New).run()?;
        obeyed(Side::New)?;
        requests::exec::TRANSPORT_BACK.on(Side::New).run().map(drop)
    })
}

pub(crate) fn to_old_back(config: &Config) -> Result<(), Failure> {
    if journal::recall(HANDS_BACK)?.is_some() {
        report::info("new goes on handing its mail to old, for whoever still knows its address");
        return Ok(());
    }
    new_keeps(config)
}

pub(crate) fn forward(config: &Config) -> Result<(), Failure> {
    // What was there is read, and so remembered by the host, before anything of it changes.
    Setting::Trust.now()?;
    let on_old = Setting::Transport(Side::Old).now()?;
    new_keeps(config)?;
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
    journal::forget(HANDS_BACK)?;
    if journal::recall(FORWARDS)?.is_none() {
        journal::remember(FORWARDS, clock::now().to_string())?;
    }
    // On new too: what came for others while its Dovecot was closed would wait for minutes.
    queue::drain(Side::Old)?;
    queue::drain(Side::New)
}

pub(crate) fn forward_back(config: &Config) -> Result<(), Failure> {
    // Old took its mail unexpanded: it must wait until the undo of `net-on` lets old expand it.
    if journal::recall(NET_ON)?.is_some() {
        requests::exec::HOLD.on(Side::Old).run()?;
    } else {
        requests::exec::TRANSPORT_BACK.on(Side::Old).run()?;
    }
    reload(Side::Old)?;
    match can_hand_back(config)? {
        None => {
            new_to_old(config)?;
            queue::drain(Side::New)?;
            journal::remember(HANDS_BACK, "yes")?;
            report::warning("new goes on handing its mail to old: let it run until the world has forgotten it");
        }
        Some(why) => report::warning(&format!("{why}; look on new for what still arrives")),
    }
    requests::exec::TRUST_BACK.on(Side::New).run()?;
    reload(Side::New)?;
    journal::forget(FORWARDS)
}
