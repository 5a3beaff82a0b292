//! What runs on each side: Debian's release, Dovecot's and Postfix's versions, for the report.

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
    Ok(())
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
