//! The services of a machine: which run, under which process, which start at boot. Two equal states mean that none was
//! started, stopped, restarted, enabled or disabled in between.

use super::{diff_maps, field};
use crate::lab::Machine;
use anyhow::Result;
use std::collections::BTreeMap;

/// By unit name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Services(pub BTreeMap<String, Service>);

/// One service unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// `active`, `inactive`, `failed`, …
    pub active: String,
    /// `running`, `exited`, `dead`, …
    pub sub: String,
    /// 0 where there is none.
    pub main_pid: u32,
    /// `enabled`, `disabled`, `static`, `masked`, …
    pub enabled: String,
}

/// Units that come and go by themselves: logins, and what the bus starts when somebody asks.
const PASSING: &[&str] = &["user@", "user-runtime-dir@", "session-", "ssh@", "systemd-", "getty@", "dbus"];

/// Reads all service units that are loaded.
///
/// # Errors
/// The machine does not answer.
pub fn services(machine: &Machine) -> Result<Services> {
    let text = machine
        .sh("systemctl show --type=service --all --property=Id,ActiveState,SubState,MainPID,UnitFileState '*'")?;
    let mut all = BTreeMap::new();
    for block in text.split("\n\n") {
        let (mut id, mut service) = (String::new(), Service::default());
        for (key, value) in block.lines().filter_map(|line| line.split_once('=')) {
            match key {
                "Id" => value.clone_into(&mut id),
                "ActiveState" => value.clone_into(&mut service.active),
                "SubState" => value.clone_into(&mut service.sub),
                "MainPID" => service.main_pid = value.parse().unwrap_or_default(),
                "UnitFileState" => value.clone_into(&mut service.enabled),
                _ => {}
            }
        }
        if !id.is_empty() && !PASSING.iter().any(|prefix| id.starts_with(prefix)) {
            all.insert(id, service);
        }
    }
    Ok(Services(all))
}

impl Services {
    /// How `after` differs.
    #[must_use]
    pub fn diff(&self, after: &Self) -> Vec<String> {
        diff_maps(&self.0, &after.0, |a, b| {
            let fields = [
                field("state", &a.active, &b.active),
                field("sub-state", &a.sub, &b.sub),
                field("main process", &a.main_pid, &b.main_pid),
                field("enabled", &a.enabled, &b.enabled),
            ];
            fields.concat()
        })
    }

    /// Whether a unit is `active`.
    #[must_use]
    pub fn is_active(&self, unit: &str) -> bool {
        self.0.get(unit).is_some_and(|service| service.active == "active")
    }
}
