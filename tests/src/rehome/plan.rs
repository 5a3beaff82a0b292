//! Plans for the lab: the example's own phases, for these machines.

use super::FOLDER;
use anyhow::{Context, Result};
use std::path::Path;

/// How a plan names a side.
#[derive(Debug, Clone, Copy)]
pub enum Reach<'a> {
    /// the machine that rehome runs on
    Local,
    /// as root
    Ssh(&'a str),
    /// as `admin`, who may use sudo
    Sudo(&'a str),
}

impl Reach<'_> {
    fn table(&self, side: &str) -> String {
        match self {
            Reach::Local => format!("[{side}]\nlocal = true\n"),
            Reach::Ssh(machine) => format!("[{side}]\nssh = \"root@{machine}\"\n"),
            Reach::Sudo(machine) => format!("[{side}]\nssh = \"admin@{machine}\"\nsudo = true\n"),
        }
    }
}

/// The example's plan for these two machines: its phases, to the letter.
///
/// # Errors
/// The example is not there, or has no phases.
pub fn example(old: &Reach<'_>, new: &Reach<'_>) -> Result<String> {
    let path = workspace().join("examples/bullseye-to-bookworm/plan.toml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let phases = text.find("[[phase]]").context("the example has no phases")?;
    let head = "[migration]\nname = \"in the lab\"\n";
    Ok(format!("{head}{}{}{}", old.table("old"), new.table("new"), &text[phases..]))
}

/// The example's plan with the lab's names, addresses and key, for `Rehome::install_whole`.
///
/// # Errors
/// As [`example`].
pub fn whole(old: &Reach<'_>, new: &Reach<'_>) -> Result<String> {
    let plan = example(old, new)?;
    let (head, phases) = plan.split_at(plan.find("[[phase]]").context("the example has no phases")?);
    let phases = phases
        .replace("192.0.2.11", "10.77.0.11")
        .replace("192.0.2.12", "10.77.0.12")
        .replace("mail.example.org", "mail.lab.test");
    Ok(format!("{head}[secret.dns-update]\nfile = \"{FOLDER}/dns-update.key\"\n\n{phases}"))
}

/// The example's plan for two folders that stand in for machines, `old` and `new`.
pub(super) fn between_folders(here: &Path) -> Result<String> {
    let plan = whole(&Reach::Ssh("old"), &Reach::Local)?;
    let folder = |side: &str| format!("[{side}]\nfolder = \"{}\"\n", here.join(side).display());
    Ok(plan
        .replace(&Reach::Ssh("old").table("old"), &folder("old"))
        .replace(&Reach::Local.table("new"), &folder("new")))
}

/// Of the example, what moves accounts and mail and nothing else: for tests of the machinery around phases.
///
/// # Errors
/// As [`example`].
pub fn mail_only(old: &Reach<'_>, new: &Reach<'_>) -> Result<String> {
    let plan = example(old, new)?;
    let (head, phases) = plan.split_at(plan.find("[[phase]]").context("the example has no phases")?);
    let of = |phase: &str, component: &str| phase.contains(&format!("component = \"{component}\""));
    let kept = ["preflight", "database", "maildir", "dovecot", "confirm"];
    let mut plan = head.to_string();
    for phase in phases.split("[[phase]]").skip(1).filter(|phase| kept.iter().any(|component| of(phase, component))) {
        plan.push_str("[[phase]]");
        plan.push_str(phase);
    }
    Ok(plan)
}

/// The first phases of a plan, up to and with the one named.
///
/// # Errors
/// It has no such phase.
pub fn up_to(plan: &str, phase: &str) -> Result<String> {
    let at = plan.find(&format!("id = \"{phase}\"")).with_context(|| format!("the plan has no phase {phase}"))?;
    let end = plan[at..].find("[[phase]]").map_or(plan.len(), |more| at + more);
    Ok(plan[..end].to_string())
}

pub(super) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}
