//! `watch`: until old has had no mail for as long as the plan says, and both queues are empty. Mail that is stuck on new is
//! shown with its reason; the operator may name queue IDs to delete.

use rehome_sdk::amount;
use rehome_sdk::prelude::*;

use crate::queue::{self, Queued};
use crate::{Config, FORWARDS, requests};

/// How soon to look again while a queue is not empty, in seconds.
const AGAIN: u64 = 600;
/// A mail that has waited so long is stuck, in seconds.
const STUCK: u64 = 300;

pub(crate) fn apply(config: &Config) -> Result<(), Failure> {
    let (old, mut new) = (queue::of(Side::Old)?, queue::of(Side::New)?);
    for (side, queued) in [(Side::Old, &old), (Side::New, &new)] {
        for one in queued {
            report::info(&format!("in the queue of {side}: {} {}", one.queue_id, one.words()));
        }
    }
    let now = clock::now();
    if new.iter().any(|one| one.arrival_time + STUCK <= now) {
        new = delete(&new)?;
    }
    let quiet_since = last_straggler()?;
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

/// "7 days".
pub(crate) fn long(seconds: u64) -> String {
    match seconds {
        days if days >= 86_400 && days % 86_400 == 0 => amount(days / 86_400, "day", "days"),
        hours if hours >= 3600 => amount(hours / 3600, "hour", "hours"),
        seconds => amount(seconds, "second", "seconds"),
    }
}

/// When old last handed a mail to new; since it forwards, if it never did. UTC, seconds since 1970.
fn last_straggler() -> Result<u64, Failure> {
    let since = journal::recall_text(FORWARDS)?.and_then(|text| text.parse::<u64>().ok()).ok_or_else(|| {
        stopped("Postfix on old", "hands no mail to new yet: there is nothing to watch")
            .hint("a phase of this component with part = \"forward\" comes before this one")
    })?;
    let output = requests::exec::SENT.on(Side::Old).run()?;
    let last = output.lines().iter().filter_map(|line| straggler(line)).max().unwrap_or_default();
    Ok(last.max(since))
}

/// The time of a line of the journal that says old handed a mail to another server, and it took it.
fn straggler(line: &str) -> Option<u64> {
    let entry: serde_json::Value = serde_json::from_str(line).ok()?;
    let message = entry.get("MESSAGE")?.as_str()?;
    if !message.contains("status=sent") || message.contains("relay=127.") || message.contains("relay=none") {
        return None;
    }
    entry.get("__REALTIME_TIMESTAMP")?.as_str()?.parse::<u64>().ok().map(|microseconds| microseconds / 1_000_000)
}

/// Asks which of the mails that are stuck shall go. Answers what is left.
fn delete(queued: &[Queued]) -> Result<Vec<Queued>, Failure> {
    let deleted = journal::recall_text("deleted")?.unwrap_or_default();
    let known = deleted.split_whitespace().map(String::from);
    let mut options: Vec<String> = queued.iter().map(|one| one.queue_id.clone()).collect();
    options.extend(known);
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
    for one in queued.iter().filter(|one| named.contains(&one.queue_id)) {
        remove(one)?;
        let all = format!("{} {}", journal::recall_text("deleted")?.unwrap_or_default(), one.queue_id);
        journal::remember("deleted", all.trim())?;
    }
    queue::of(Side::New)
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
