//! Postfix's settings, read by postconf(1). Reading one lets the host remember what it was first: that is what goes back.
//! What would keep old's mail from its new mailboxes is found here, before.

use std::fmt;

use rehome_sdk::prelude::*;

use crate::{Config, back, requests};

/// Where mail goes that is kept in the queue: there is no such socket.
pub(crate) const HELD: &str = "lmtp:unix:private/held-by-rehome";
/// Aliases are left to the next server.
pub(crate) const UNEXPANDED: &str = "no_address_mappings";

/// Whoever sends is told to try again. Not `master_service_disable`: for a service that goes, master(8) ends its processes,
/// also one that has queued a mail and not yet said so, and the mail comes twice.
pub(crate) const PAUSED: &str = "defer";

/// A setting that this phase changes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Setting {
    /// soft_bounce
    Bounces(Side),
    /// smtpd_sasl_auth_enable on old
    Login,
    /// virtual_transport
    Transport(Side),
    /// receive_override_options
    Aliases(Side),
    /// smtpd_data_restrictions
    Intake(Side),
    /// smtpd_milter_maps on new
    Trust,
    /// transport_maps on new
    Detours,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setting::Bounces(side) => write!(f, "soft_bounce on {side}"),
            Setting::Login => write!(f, "smtpd_sasl_auth_enable on old"),
            Setting::Transport(side) => write!(f, "virtual_transport on {side}"),
            Setting::Aliases(side) => write!(f, "receive_override_options on {side}"),
            Setting::Intake(side) => write!(f, "smtpd_data_restrictions on {side}"),
            Setting::Trust => write!(f, "smtpd_milter_maps on new"),
            Setting::Detours => write!(f, "transport_maps on new"),
        }
    }
}

impl Setting {
    /// Its value: what follows `NAME = `.
    pub(crate) fn now(self) -> Result<String, Failure> {
        let output = match self {
            Setting::Bounces(side) => requests::exec::BOUNCES_WAS.on(side).run()?,
            Setting::Login => requests::exec::LOGIN_WAS.on(Side::Old).run()?,
            Setting::Transport(side) => requests::exec::TRANSPORT_WAS.on(side).run()?,
            Setting::Aliases(side) => requests::exec::ALIASES_WERE.on(side).run()?,
            Setting::Intake(side) => requests::exec::INTAKE_WAS.on(side).run()?,
            Setting::Trust => requests::exec::TRUST_WAS.on(Side::New).run()?,
            Setting::Detours => requests::exec::DETOURS_WAS.on(Side::New).run()?,
        };
        let line = output.text();
        Ok(line.split_once('=').map_or_else(|| line.clone(), |(_, value)| value.trim().to_string()))
    }

    /// For `verify`.
    pub(crate) fn should_be(self, value: &str, found: &mut Findings) -> Result<(), Failure> {
        let now = self.now()?;
        if now == value {
            found.ok(self.to_string(), now);
        } else {
            found.blocker(self.to_string(), format!("is `{now}`, and should be `{value}`"));
        }
        Ok(())
    }

    /// An exit status proves nothing: what does it say now?
    pub(crate) fn must_be(self, value: &str) -> Result<(), Failure> {
        let now = self.now()?;
        if now == value {
            return Ok(());
        }
        Err(stopped(self.to_string(), format!("was set to `{value}`, and is `{now}`"))
            .hint("does something else write to main.cf (configuration management)?"))
    }
}

pub(crate) fn reload(side: Side) -> Result<(), Failure> {
    requests::exec::RELOAD.on(side).run().map(drop)
}

/// Domains that exist only as aliases cannot be handed on unexpanded: old itself must expand them.
pub(crate) fn aliases_can_travel() -> Result<bool, Failure> {
    let domains = requests::exec::ALIAS_DOMAINS.on(Side::Old).run()?.text();
    Ok(domains.is_empty() || domains == "$virtual_alias_maps")
}

pub(crate) fn check(found: &mut Findings) -> Result<(), Failure> {
    let sane = requests::exec::SANE.on(Side::New).run()?;
    let said = String::from_utf8_lossy(&sane.stderr).trim().to_string();
    match (sane.status, said.as_str()) {
        (0, "") => found.ok("Postfix on new", "`postfix check` has nothing to say"),
        (0, said) => found.warning("Postfix on new", said),
        (_, said) => found.blocker("Postfix on new", said).hint("put it right on new before the migration"),
    };
    if !aliases_can_travel()? {
        let text = "virtual_alias_domains is set: old goes on expanding aliases, and new expands the outcome again";
        found
            .warning("Postfix on old", text)
            .hint("an alias that also names its own address delivers a second copy of mail that old hands over");
    }
    Ok(())
}

/// What would keep old's mail from reaching the mailboxes on new.
pub(crate) fn check_forward(config: &Config, found: &mut Findings) -> Result<(), Failure> {
    if config.new_host == config.old_host {
        found.blocker("Postfix", "`old-host` and `new-host` are the same: old would hand its mail to itself");
    }
    let limit =
        |side| -> Result<u64, Failure> { Ok(requests::exec::SIZES.on(side).run()?.text().parse().unwrap_or(0)) };
    let (old, new) = (limit(Side::Old)?, limit(Side::New)?);
    if new != 0 && (old == 0 || old > new) {
        let text = format!(
            "message_size_limit is {new} on new, and {old} on old: new would refuse a large mail that old took"
        );
        found.warning("Postfix on new", text).hint(format!("postconf message_size_limit={old} on new"));
    }
    let detours = requests::exec::DETOURS.on(Side::Old).run()?.text();
    if !detours.is_empty() {
        let text =
            format!("transport_maps is `{detours}`: mail that it names does not go where virtual_transport says");
        found.warning("Postfix on old", text).hint("look whether it names a domain that moves");
    }
    back::check(config, found)?;
    // rspamd is told to let old's mail pass; what Postfix itself is told to ask is the operator's.
    let rules = requests::exec::RULES.on(Side::New).run()?;
    let judges = ["check_policy_service", "reject_rbl_client", "reject_unknown_client", "reject_unknown_reverse"];
    for line in rules.lines() {
        for judge in judges.iter().filter(|judge| line.contains(**judge)) {
            let name = line.split(['=', ' ']).next().unwrap_or_default();
            let text = format!("{name} has {judge}: it judges mail that old hands over by old's address");
            found.warning("Postfix on new", text).hint(format!(
                "put `check_client_access inline:{{ {{{}=permit}} }}` before it until old is quiet",
                config.old_host
            ));
        }
    }
    Ok(())
}
