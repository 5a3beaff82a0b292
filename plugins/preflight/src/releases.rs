//! What runs on each side: Debian's release, Dovecot's and Postfix's versions, for the report.

use std::collections::BTreeMap;

use rehome_sdk::prelude::*;

use crate::{heard, requests};

pub(crate) fn note(side: Side, found: &mut Findings) -> Result<(), Failure> {
    let release = heard(requests::exec::RELEASE.on(side).run())?.map(|output| pretty_name(&output.lines()));
    say(found, side, "Debian", release.map(|name| name.unwrap_or_else(|| "of unknown release".into())));
    let version =
        heard(requests::exec::DOVECOT_VERSION.on(side).run())?.map(|output| format!("Dovecot {}", output.text()));
    say(found, side, "Dovecot", version);
    let version =
        heard(requests::exec::POSTFIX_VERSION.on(side).run())?.map(|output| format!("Postfix {}", output.text()));
    say(found, side, "Postfix", version);
    let others: Vec<String> = packages(side)?.iter().map(|(name, version)| format!("{name} {version}")).collect();
    if !others.is_empty() {
        found.note(format!("packages on {side}"), others.join(", "));
    }
    Ok(())
}

/// Packages that are installed, of those that this phase knows, with their versions.
pub(crate) fn packages(side: Side) -> Result<BTreeMap<String, String>, Failure> {
    // dpkg-query names the missing ones on stderr; a package that was removed has no version.
    let lines = heard(requests::exec::PACKAGES.on(side).run())?.map(|output| output.lines()).unwrap_or_default();
    let pair = |line: &String| {
        let (name, version) = line.split_once('\t')?;
        (!version.is_empty()).then(|| (name.to_string(), version.to_string()))
    };
    Ok(lines.iter().filter_map(pair).collect())
}

fn say(found: &mut Findings, side: Side, what: &str, version: Result<String, String>) {
    match version {
        Ok(version) => found.note(format!("{what} on {side}"), version),
        Err(why) => found.warning(format!("{what} on {side}"), format!("its version is not known: {why}")),
    };
}

/// `PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"` of os-release(5).
fn pretty_name(lines: &[String]) -> Option<String> {
    let value = lines.iter().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim_matches('"').to_string())
}
