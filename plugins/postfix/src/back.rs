//! New hands the mail of a plan's domains to old, before the cutover and after an undo, and keeps that of others.
//! Invariant: a domain that is not the plan's is never sent to old. Aliases are expanded on new first: one that also names
//! its own address is expanded on old once more.

use rehome_sdk::prelude::*;

use crate::settings::{Setting, reload};
use crate::{Config, queue, requests};

pub(crate) fn detour(config: &Config) -> String {
    format!("texthash:/etc/postfix/rehome-back-to-{}", config.old_host)
}

/// New hands the mail of these domains to old.
pub(crate) fn set(config: &Config) -> Result<(), Failure> {
    let now = Setting::Detours.now()?;
    if !now.is_empty() && now != detour(config) {
        return Err(stopped("transport_maps on new", format!("is `{now}`: mail of these domains cannot be sent to old")).hint(
            format!(
                "write a line `DOMAIN smtp:[{}]:25` for each of {} into its table, or take it out for now, and run this again",
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

/// New delivers the mail of these domains itself.
pub(crate) fn taken_away(config: &Config) -> Result<(), Failure> {
    if Setting::Detours.now()? == detour(config) {
        requests::exec::DETOURS_BACK.on(Side::New).run()?;
        reload(Side::New)?;
        queue::drain(Side::New)?;
    }
    requests::file::BACK.on(Side::New).restore()
}

/// What would stand in the way.
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
                    "transport_maps is `{now}`: mail of these domains that new gets cannot be sent to old by itself"
                ),
            )
            .hint(format!(
                "write a line `DOMAIN smtp:[{}]:25` for each domain that moves into that table",
                config.old_host
            ));
    }
    Ok(())
}
