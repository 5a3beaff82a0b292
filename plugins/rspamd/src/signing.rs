//! The settings that decide with which key rspamd signs: module `dkim_signing`, as it is in effect (rspamadm configdump).
//! A key on new is of no use where new looks for it elsewhere, or under another selector.

use std::collections::{BTreeMap, BTreeSet};

use rehome_sdk::prelude::*;
use serde_json::Value;

use crate::{Config, ready, requests};

/// rspamd's own, where none is set.
const PATH: &str = "/var/lib/rspamd/dkim/$domain.$selector.key";
const SELECTOR: &str = "dkim";

/// What must agree on both sides.
const DECIDE: [&str; 11] = [
    "enabled",
    "path",
    "selector",
    "selector_map",
    "path_map",
    "domain",
    "key_table",
    "signing_table",
    "use_redis",
    "use_esld",
    "use_domain",
];

/// Settings of one side.
pub(crate) struct Signing(Value);

/// A key of a domain, as rspamd would look for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) domain: String,
    pub(crate) selector: String,
    /// absolute
    pub(crate) path: String,
}

impl Signing {
    pub(crate) fn of(side: Side) -> Result<Signing, Failure> {
        Ok(Signing(ready::section(&requests::exec::SIGNING.on(side).run()?.text())))
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }

    fn path(&self) -> &str {
        self.text("path").unwrap_or(PATH)
    }

    /// The file that maps domains to selectors, if there is one.
    pub(crate) fn selector_map(&self) -> Option<&str> {
        let map = self.text("selector_map")?;
        Some(map.strip_prefix("file://").unwrap_or(map))
    }

    /// As far as the sides have to agree; rspamd's own values where none is set.
    fn deciding(&self, key: &str) -> String {
        match (self.0.get(key), key) {
            (None, "path") => PATH.into(),
            (None, "selector") => SELECTOR.into(),
            (None, "enabled" | "use_esld") => "true".into(),
            (None, "use_redis") => "false".into(),
            (None, _) => "not set".into(),
            (Some(Value::String(text)), "selector_map") => text.strip_prefix("file://").unwrap_or(text).into(),
            (Some(Value::String(text)), _) => text.clone(),
            (Some(other), _) => other.to_string(),
        }
    }

    /// The keys that rspamd would sign these domains with.
    pub(crate) fn keys(&self, domains: &BTreeSet<String>, map: &BTreeMap<String, String>) -> Vec<Key> {
        let own = self.0.get("domain").and_then(Value::as_object);
        let named = own.into_iter().flat_map(|own| own.keys().cloned());
        let all: BTreeSet<String> = domains.iter().chain(map.keys()).cloned().chain(named).collect();
        let keys = all.into_iter().flat_map(|domain| {
            let general = map.get(&domain).map(String::as_str).or(self.text("selector")).unwrap_or(SELECTOR);
            let settings = match own.and_then(|own| own.get(&domain)) {
                Some(own) => own.get("selectors").and_then(Value::as_array).cloned().unwrap_or(vec![own.clone()]),
                None => vec![Value::Null],
            };
            let key = |setting: &Value| {
                let selector = setting.get("selector").and_then(Value::as_str).unwrap_or(general).to_string();
                let path = setting.get("path").and_then(Value::as_str).unwrap_or(self.path());
                let path = path.replace("$domain", &domain).replace("$selector", &selector);
                Key { domain: domain.clone(), selector, path }
            };
            settings.iter().map(key).collect::<Vec<_>>()
        });
        keys.collect()
    }
}

/// Whether both sides look for the same keys, and where these are copied.
pub(crate) fn check(config: &Config, found: &mut Findings) -> Result<(), Failure> {
    let (old, new) = (Signing::of(Side::Old)?, Signing::of(Side::New)?);
    let differ = |key: &&&str| old.deciding(key) != new.deciding(key);
    let differing: Vec<&&str> = DECIDE.iter().filter(differ).collect();
    for key in &differing {
        let text = format!("`{key}` is `{}` on new, and `{}` on old", new.deciding(key), old.deciding(key));
        found.blocker("DKIM settings", text).hint(
            "copy /etc/rspamd/local.d/dkim_signing.conf of old to new, then `systemctl reload rspamd` there: \
             else mail leaves new unsigned, or with another key",
        );
    }
    if differing.is_empty() {
        found.ok("DKIM settings", format!("the same on both sides: keys at {}", old.path()));
    }
    let folder = format!("{}/", config.dkim_folder.trim_end_matches('/'));
    if !old.path().starts_with(&folder) {
        found
            .blocker(
                "DKIM settings",
                format!("keys on old lie at {}, and {} is copied", old.path(), config.dkim_folder),
            )
            .hint("set `dkim-folder` for this phase in the plan");
    }
    match old.selector_map() {
        Some(map) if map != config.selector_map => {
            found
                .blocker(
                    "DKIM settings",
                    format!("the selector map of old is {map}, and {} is copied", config.selector_map),
                )
                .hint("set `selector-map` for this phase in the plan");
        }
        _ => {}
    }
    if old.deciding("use_redis") == "true" {
        found
            .warning("DKIM settings", "old keeps its signing keys in Redis: they are not moved")
            .hint("add the name of their hash (`key_prefix`) to `learned` in the plan, or bring them by hand");
    }
    for key in ["path_map", "key_table", "signing_table"] {
        if old.deciding(key) != "not set" {
            found
                .warning("DKIM settings", format!("`{key}` is `{}`: that file is not moved", old.deciding(key)))
                .hint("bring it by hand, if it is a file");
        }
    }
    Ok(())
}
