//! What mail logs say went wrong while the net is on: bounces, each; delays, counted by their reason. Reads the journal
//! (`journalctl -o json`), where Debian's Postfix logs too when a syslog daemon runs.

use std::collections::BTreeMap;

use rehome_sdk::amount;
use rehome_sdk::prelude::*;

use crate::{NET_ON, requests};

/// How many lines are shown of each kind and side.
const SHOWN: usize = 10;

/// One line of a mail log with a time and a status.
#[derive(Debug, PartialEq, Eq)]
struct Trouble {
    /// UTC, seconds since 1970
    at: u64,
    bounced: bool,
    to: String,
    why: String,
}

/// Reports what both sides' logs have since the safety net was spread.
pub(crate) fn show() -> Result<(), Failure> {
    let since = journal::recall_text(NET_ON)?.and_then(|text| text.parse().ok()).unwrap_or(0);
    for side in SIDES {
        let output = requests::exec::TROUBLES.on(side).run()?;
        let all: Vec<Trouble> =
            output.lines().iter().filter_map(|line| read(line)).filter(|one| one.at >= since).collect();
        bounces(side, &all);
        delays(side, &all);
    }
    Ok(())
}

fn bounces(side: Side, all: &[Trouble]) {
    let bounced: Vec<&Trouble> = all.iter().filter(|one| one.bounced).collect();
    if bounced.is_empty() {
        report::info(&format!("nothing bounced on {side} since the safety net is on"));
        return;
    }
    report::warning(&format!("{} bounced on {side}:", amount(bounced.len() as u64, "mail has", "mails have")));
    for one in bounced.iter().rev().take(SHOWN) {
        report::warning(&format!("bounced on {side}, {}: to {}: {}", clock::date(one.at), one.to, one.why));
    }
}

fn delays(side: Side, all: &[Trouble]) {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    // What rehome itself holds back is no trouble.
    for one in all.iter().filter(|one| !one.bounced && !one.why.contains("held-by-rehome")) {
        *reasons.entry(&one.why).or_default() += 1;
    }
    let mut reasons: Vec<(&str, u64)> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (why, count) in reasons.iter().take(SHOWN) {
        report::info(&format!("put off on {side}, {}: {why}", amount(*count, "time", "times")));
    }
}

/// `ID: to=<a@b>, …, status=deferred (why)`; without a reason the whole rest.
fn read(line: &str) -> Option<Trouble> {
    let entry: serde_json::Value = serde_json::from_str(line).ok()?;
    let message = entry.get("MESSAGE")?.as_str()?;
    let (_, status) = message.split_once("status=")?;
    let at = entry.get("__REALTIME_TIMESTAMP")?.as_str()?.parse::<u64>().ok()? / 1_000_000;
    let to = message.split_once("to=<").and_then(|(_, rest)| rest.split_once('>')).map_or("", |(to, _)| to);
    let why = status.split_once(" (").map_or(status, |(_, why)| why.trim_end_matches(')'));
    Some(Trouble { at, bounced: !status.starts_with("deferred"), to: to.to_string(), why: why.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounce_is_told_from_a_delay_with_its_reason() {
        let line = |status: &str| {
            format!(
                r#"{{"__REALTIME_TIMESTAMP":"7000000","MESSAGE":"4F2: to=<a@b.example>, relay=none, status={status}"}}"#
            )
        };
        let read = |status: &str| read(&line(status)).unwrap();
        assert_eq!(
            read("bounced (host x said: 550 no (really))"),
            Trouble { at: 7, bounced: true, to: "a@b.example".into(), why: "host x said: 550 no (really".into() }
        );
        assert!(!read("deferred (timed out)").bounced);
        assert!(read("expired, returned to sender").bounced);
    }
}
