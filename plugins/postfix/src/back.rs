//! The way back: after an undo new hands its mail to old. All of it where everything moved; only that of the domains which
//! moved where new has others too: their mail stays on new. Invariant: a domain that is not the plan's is never sent to old.

use rehome_sdk::prelude::*;

use crate::settings::{Setting, reload};
use crate::{Config, requests, to};

fn detour(config: &Config) -> String {
    format!("texthash:/etc/postfix/rehome-back-to-{}", config.old_host)
}

/// New hands the mail that moved to old.
pub(crate) fn set(config: &Config) -> Result<(), Failure> {
    if config.domains.is_empty() {
        if Setting::Transport(Side::New).now()? != to(&config.old_host) {
            requests::exec::FORWARD_BACK.on(Side::New).run()?;
        }
        reload(Side::New)?;
        return Setting::Transport(Side::New).must_be(&to(&config.old_host));
    }
    let now = Setting::Detours.now()?;
    if !now.is_empty() && now != detour(config) {
        return Err(stopped("transport_maps on new", format!("is `{now}`: mail of these domains cannot be sent to old")).hint(
            format!(
                "write a line `DOMAIN smtp:[{}]:25` for each of {} into its table, or take it out for now, and run `rehome undo` again",
                config.old_host,
                config.domains.join(", ")
            ),
        ));
    }
    requests::file::BACK.on(Side::New).put_rows(config.domains.iter().map(|domain| [domain]))?;
    if now.is_empty() {
        requests::exec::DOMAINS_BACK.on(Side::New).run()?;
    }
    reload(Side::New)?;
    Setting::Detours.must_be(&detour(config))
}

/// Another try after an undo: new delivers here again.
pub(crate) fn taken_away(config: &Config) -> Result<(), Failure> {
    if !config.domains.is_empty() && Setting::Detours.now()? == detour(config) {
        requests::exec::DETOURS_BACK.on(Side::New).run()?;
    }
    Ok(())
}

/// What would stand in the way of an undo later.
pub(crate) fn check(config: &Config, found: &mut Findings) -> Result<(), Failure> {
    if config.domains.is_empty() {
        return Ok(());
    }
    let now = Setting::Detours.now()?;
    if !now.is_empty() && now != detour(config) {
        found
            .warning(
                "Postfix on new",
                format!(
                    "transport_maps is `{now}`: an undo could not send mail of these domains back to old by itself"
                ),
            )
            .hint("it would stop there and say which lines to add by hand");
    }
    Ok(())
}
