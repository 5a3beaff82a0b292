//! A lab's network: a bridge in a namespace of its own ("outside", 10.77.0.1), and one namespace for each machine.
//! Nothing is made in this machine's own network namespace, so no route or firewall rule here interferes.

use super::spec::{MachineSpec, OUTSIDE_ADDRESS};
use crate::process::{output, run};
use anyhow::Result;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The bridge in the outside namespace.
pub(super) const BRIDGE: &str = "lab";

/// The namespace of the lab's outside, with the bridge.
pub(super) fn outside(id: &str) -> String {
    format!("rh-{id}")
}

/// The namespace of one machine.
pub(super) fn inside(id: &str, machine: &str) -> String {
    format!("rh-{id}-{machine}")
}

/// What `ip netns exec` puts over /etc in the outside namespace.
pub(super) fn etc(id: &str) -> PathBuf {
    Path::new("/etc/netns").join(outside(id))
}

fn ip(arguments: &str) -> Result<()> {
    run(Command::new("ip").args(arguments.split(' ')))?;
    Ok(())
}

/// The bridge in its namespace.
pub(super) fn create(id: &str) -> Result<()> {
    let ns = outside(id);
    ip(&format!("netns add {ns}"))?;
    ip(&format!("-n {ns} link set lo up"))?;
    ip(&format!("-n {ns} link add {BRIDGE} type bridge"))?;
    ip(&format!("-n {ns} addr add {OUTSIDE_ADDRESS}/24 dev {BRIDGE}"))?;
    ip(&format!("-n {ns} link set {BRIDGE} up"))
}

/// A machine's namespace and its link to the bridge.
pub(super) fn add_machine(id: &str, machine: &MachineSpec) -> Result<()> {
    let (ns, mine, link) = (outside(id), inside(id, &machine.name), link(&machine.name));
    ip(&format!("netns add {mine}"))?;
    ip(&format!("-n {ns} link add {link} type veth peer name host0 netns {mine}"))?;
    ip(&format!("-n {ns} link set {link} master {BRIDGE} up"))?;
    ip(&format!("-n {mine} link set lo up"))?;
    ip(&format!("-n {mine} addr add {}/24 dev host0", machine.address()))?;
    ip(&format!("-n {mine} link set host0 up"))?;
    ip(&format!("-n {mine} route add default via {OUTSIDE_ADDRESS}"))
}

/// The outside end of a machine's link.
pub(super) fn link(machine: &str) -> String {
    format!("v-{machine}")
}

/// Silence both ways: the link leaves the bridge. Neither end is told.
pub(super) fn cut(id: &str, machine: &str) -> Result<()> {
    ip(&format!("-n {} link set {} nomaster", outside(id), link(machine)))
}

/// The link is on the bridge again.
pub(super) fn heal(id: &str, machine: &str) -> Result<()> {
    ip(&format!("-n {} link set {} master {BRIDGE}", outside(id), link(machine)))
}

/// Every open TCP connection of the machine over the lab's network ends with an RST, once.
pub(super) fn reset(id: &str, machine: &str) -> Result<()> {
    let mut ss = Command::new("ip");
    ss.args(["netns", "exec", &inside(id, machine)]);
    run(ss.args(["ss", "-K", "-tn", "state", "established", "src", "10.77.0.0/24"]))?;
    Ok(())
}

/// Takes every namespace of a lab away, by name.
pub(super) fn remove(id: &str) -> Result<()> {
    let listed = output(Command::new("ip").args(["netns", "list"]), b"")?;
    let (ns, prefix) = (outside(id), inside(id, ""));
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        let name = line.split(' ').next().unwrap_or_default();
        if name == ns || name.starts_with(&prefix) {
            ip(&format!("netns del {name}"))?;
        }
    }
    super::registry::remove_tree(&etc(id))?;
    // The folder of all labs, if this was the last and nobody else uses it.
    drop(fs::remove_dir("/etc/netns"));
    Ok(())
}
