//! `watch`: until old has had no mail for as long as the plan says, and both queues are empty. Mail that is stuck on new is
//! shown with its reason; the operator may name queue IDs to delete. What users of new send into the world and the world
//! does not take is no concern of the migration: it is shown, and not waited for.

use rehome_sdk::amount;
use rehome_sdk::prelude::*;

use crate::queue::{self, Queued};
use crate::{Config, FORWARDS, requests, troubles};

/// How soon to look again while a queue is not empty, in seconds.
const AGAIN: u64 = 600;
/// A mail that has waited so long is stuck, in seconds.
const STUCK: u64 = 300;
/// A mail that goes back to its sender within this time is pressing, in seconds.
const PRESSING: u64 = 2 * 86_400;
/// Remembered: what was offered for deletion, as `ID@arrival`: Postfix uses queue IDs again.
const OFFERED: &str = "offered";
/// Remembered: what was deleted.
const DELETED: &str = "deleted";

pub(crate) fn apply(config: &Config) -> Result<(), Failure> {
    let domains = requests::sql::DOMAINS.on(Side::New).rows()?.texts("name");
    let old = queue::of(Side::Old)?;
    let (mut new, outgoing): (Vec<Queued>, Vec<Queued>) =
        queue::of(Side::New)?.into_iter().partition(|one| one.is_for(&domains));
    for (side, queued) in [(Side::Old, &old), (Side::New, &new)] {
        show(side, queued)?;
    }
    if !outgoing.is_empty() {
        let waiting = amount(outgoing.len() as u64, "mail is", "mails are");
        report::info(&format!("{waiting} on its way from new into the world; not waited for: `postqueue -p` on new"));
    }
    troubles::show()?;
    let now = clock::now();
    if new.iter().any(|one| one.arrival_time + STUCK <= now) {
        delete(&new)?;
        new = queue::of(Side::New)?.into_iter().filter(|one| one.is_for(&domains)).collect();
    }
    let quiet_since = last_straggler(config)?;
    let until = quiet_since + config.hold;
    if !old.is_empty() || !new.is_empty() {
        let waiting = amount((old.len() + new.len()) as u64, "mail is", "mails are");
        report::info(&format!(
            "{waiting} still queued: looked at again in {} minutes, whenever `rehome apply` runs",
            AGAIN / 60
        ));
        return requests::question::QUIET.until(until.max(now + AGAIN));
    }
    report::info(&format!("old had its last mail on {}; both queues are empty", clock::date(quiet_since)));
    requests::question::QUIET.until(until)
}

/// Each queued mail, and when it goes back to its sender: the net does not keep it longer than Postfix is told to.
fn show(side: Side, queued: &[Queued]) -> Result<(), Failure> {
    if queued.is_empty() {
        return Ok(());
    }
    let patience = seconds(&requests::exec::PATIENCE.on(side).run()?.text());
    for one in queued {
        let line = format!("in the queue of {side}: {} {}", one.queue_id, one.words());
        match patience.map(|patience| one.arrival_time + patience) {
            Some(end) if end <= clock::now() + PRESSING && !one.recipients.is_empty() => {
                report::warning(&format!("{line}; it goes back to its sender on {}", clock::date(end)));
            }
            _ => report::info(&line),
        }
    }
    Ok(())
}

/// A time as postconf(5) writes it: a number and `s`, `m`, `h`, `d` or `w`; days without a unit, for queue lifetimes.
fn seconds(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" | "" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// "7 days".
pub(crate) fn long(seconds: u64) -> String {
    match seconds {
        days if days >= 86_400 && days % 86_400 == 0 => amount(days / 86_400, "day", "days"),
        hours if hours >= 3600 => amount(hours / 3600, "hour", "hours"),
        seconds => amount(seconds, "second", "seconds"),
    }
}

/// When old last handed a mail to new; since it forwards, if it never did. UTC, seconds since 1970.
fn last_straggler(config: &Config) -> Result<u64, Failure> {
    let since = journal::recall_text(FORWARDS)?.and_then(|text| text.parse::<u64>().ok()).ok_or_else(|| {
        stopped("Postfix on old", "hands no mail to new yet: there is nothing to watch")
            .hint("a phase of this component with part = \"forward\" comes before this one")
    })?;
    let output = requests::exec::SENT.on(Side::Old).run()?;
    let mut written_there = std::collections::BTreeSet::new();
    let mut last = since;
    for line in output.lines() {
        let Some((at, message)) = entry(&line) else { continue };
        let Some((id, rest)) = message.split_once(": ") else { continue };
        if rest.starts_with("uid=") {
            // Old's own cron writes every day: nobody out there sent it.
            written_there.insert(id.to_string());
        } else if rest.contains("status=sent") && went_to(rest, &config.new_host) && !written_there.contains(id) {
            last = last.max(at);
        }
    }
    Ok(last)
}

/// `relay=NAME[ADDRESS]:25`: the plan says one of both.
fn went_to(line: &str, host: &str) -> bool {
    line.contains(&format!("relay={host}[")) || line.contains(&format!("[{host}]:"))
}

/// Time (UTC, seconds since 1970) and text of a journal's line.
fn entry(line: &str) -> Option<(u64, String)> {
    let entry: serde_json::Value = serde_json::from_str(line).ok()?;
    let at = entry.get("__REALTIME_TIMESTAMP")?.as_str()?.parse::<u64>().ok()? / 1_000_000;
    Some((at, entry.get("MESSAGE")?.as_str()?.to_string()))
}

/// Asks which of the mails that are stuck shall go, and deletes what the operator named.
fn delete(queued: &[Queued]) -> Result<(), Failure> {
    let list = |key: &str| -> Result<Vec<String>, Failure> {
        let text = journal::recall_text(key)?.unwrap_or_default();
        Ok(text.split_whitespace().map(String::from).collect())
    };
    let (offered, mut deleted) = (list(OFFERED)?, list(DELETED)?);
    let mark = |one: &Queued| format!("{}@{}", one.queue_id, one.arrival_time);
    journal::remember(OFFERED, queued.iter().map(mark).collect::<Vec<_>>().join(" "))?;
    let mut options: Vec<String> = queued.iter().map(|one| one.queue_id.clone()).collect();
    // An answer that was obeyed is still there: it stays a valid one.
    options.extend(deleted.iter().filter_map(|one| one.split('@').next()).map(String::from));
    options.sort();
    options.dedup();
    let question = format!(
        "{} stuck on new; name the queue IDs to delete, if any; or put right what holds them, and run `rehome apply` again",
        amount(queued.len() as u64, "mail is", "mails are")
    );
    let named = match requests::question::DELETE.ask(&question, &options) {
        Ok(answer) => answer.values,
        // An answer of before, about mails that are gone since: it is asked anew by the next look.
        Err(Failure::RefusedValue(_)) => vec![],
        Err(failure) => return Err(failure),
    };
    // The very mail that was offered: another that got the same queue ID later was not named.
    let meant = |one: &&Queued| named.contains(&one.queue_id) && offered.contains(&mark(one));
    for one in queued.iter().filter(meant) {
        remove(one)?;
        deleted.push(mark(one));
        journal::remember(DELETED, deleted.join(" "))?;
    }
    Ok(())
}

/// postsuper(1) answers 0 for IDs that it does not know: what the queue says afterwards counts.
fn remove(one: &Queued) -> Result<(), Failure> {
    let id = one.queue_id.as_str();
    match requests::exec::DELETE_QUEUED.on(Side::New).run_with([id]) {
        Err(Failure::OutcomeUnknown(unknown)) => {
            let there = queue::of(Side::New)?.iter().any(|left| left.queue_id == id);
            let how = if there { journal::Settlement::NotDone } else { journal::Settlement::Done };
            journal::settle(unknown.effect_id, how)?;
        }
        other => drop(other?),
    }
    if queue::of(Side::New)?.iter().any(|left| left.queue_id == id) {
        return Err(stopped(id, "is still in the queue after it was deleted").hint("look at it on new: postcat -q ID"));
    }
    report::warning(&format!("deleted {id}, as the operator said: {}", one.words()));
    Ok(())
}
