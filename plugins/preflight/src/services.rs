//! Whether the services run, on both sides: a new side that was never proven is the first trouble of every migration.

use std::collections::BTreeSet;

use rehome_sdk::prelude::*;

use crate::{heard, requests};

/// Answers those that run, by name without `.service`.
pub(crate) fn check(side: Side, services: &[String], found: &mut Findings) -> Result<BTreeSet<String>, Failure> {
    let mut running = BTreeSet::new();
    if services.is_empty() {
        return Ok(running);
    }
    let states = match heard(requests::exec::SERVICES.on(side).run())? {
        Ok(output) => output.lines(),
        Err(why) => {
            found.blocker(format!("services on {side}"), format!("cannot be looked at: {why}"));
            return Ok(running);
        }
    };
    // `systemctl is-active A B` prints one state a line, in the order of the units.
    for (service, state) in services.iter().zip(states) {
        let name = service.strip_suffix(".service").unwrap_or(service);
        if state == "active" {
            running.insert(name.to_string());
        } else {
            found.blocker(format!("{name} on {side}"), format!("does not run: systemd says {state}")).hint(format!(
                "`systemctl status {name}` on {side} says why; leave it out of `services` if it is not used"
            ));
        }
    }
    if running.len() == services.len() {
        found.ok(format!("services on {side}"), format!("{} run", services.join(", ")));
    }
    Ok(running)
}
