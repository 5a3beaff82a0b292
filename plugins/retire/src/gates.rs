//! What stands between old and its end: a name that leads to old, somebody who is logged in there (an operator's to change);
//! mail in a queue and stragglers (waited for). Invariant: each is looked at on the servers, at the moment of the stop, and
//! not taken from earlier phases.

use rehome_sdk::amount;
use rehome_sdk::prelude::*;

use crate::{Config, reached, requests};

/// How often a queue is looked at until it is empty, and how long between: mail that is under way takes seconds.
const ROUNDS: u32 = 15;
const PAUSE_MS: u32 = 2000;
/// How soon to look again where it is not, in seconds.
const AGAIN: u64 = 600;

/// One thing in the way.
#[derive(Debug, Clone)]
pub(crate) struct Obstacle {
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) hint: String,
}

impl Obstacle {
    fn new(subject: impl Into<String>, text: impl Into<String>, hint: impl Into<String>) -> Obstacle {
        Obstacle { subject: subject.into(), text: text.into(), hint: hint.into() }
    }
}

/// All of them.
pub(crate) fn obstacles(config: &Config) -> Result<Vec<Obstacle>, Failure> {
    let mut found = under_way(config)?;
    found.extend(in_the_way(config)?);
    Ok(found)
}

/// Mail in a queue: it goes by itself, or its reason does.
fn under_way(config: &Config) -> Result<Vec<Obstacle>, Failure> {
    let mut found = Vec::new();
    for side in SIDES {
        let queued = queued(config, side)?;
        if queued > 0 {
            let text = format!("holds {}", amount(queued, "mail", "mails"));
            let hint = format!("`mailq` on {side} says why; `postqueue -f` tries again");
            found.push(Obstacle::new(format!("the queue of {side}"), text, hint));
        }
    }
    Ok(found)
}

/// What only an operator can change.
fn in_the_way(config: &Config) -> Result<Vec<Obstacle>, Failure> {
    let mut found = Vec::new();
    match reached::by_dns(config) {
        Ok(reached) if reached.is_empty() => {}
        Ok(reached) => {
            let text = format!("still leads to old: {}", reached.join("; "));
            found.push(Obstacle::new("DNS", text, "a phase of `dns` with part = \"switch\" comes before this one"));
        }
        // What cannot be asked may still lead there.
        Err(failure @ Failure::Unreachable(_)) => {
            let text = format!("could not be asked: {}", failure.words());
            found.push(Obstacle::new("DNS", text, "rehome needs to reach the zones' name servers from where it runs"));
        }
        Err(failure) => return Err(failure),
    }
    let users = logged_in()?;
    if !users.is_empty() {
        let text = format!("has users logged in: {}", users.join(", "));
        let hint = "their mail programs use old's address or another name: tell them, or add the name to DNS";
        found.push(Obstacle::new("Dovecot on old", text, hint));
    }
    Ok(found)
}

/// What an operator must change is an error; mail that is under way is waited for.
pub(crate) fn must_be_open(config: &Config) -> Result<(), Failure> {
    let found = in_the_way(config)?;
    let Some(first) = found.first() else { return must_be_empty(config) };
    for more in found[1..].iter().chain(&under_way(config)?) {
        report::warning(&format!("{} {}", more.subject, more.text));
    }
    Err(stopped(first.subject.as_str(), first.text.as_str())
        .hint(format!("{}; then run `rehome apply` again", first.hint)))
}

/// Both queues: what stays in one is shown, and looked at again later.
pub(crate) fn must_be_empty(config: &Config) -> Result<(), Failure> {
    let mut left = under_way(config)?;
    for _ in 0..ROUNDS {
        if left.is_empty() {
            return Ok(());
        }
        clock::sleep(PAUSE_MS)?;
        left = under_way(config)?;
    }
    for Obstacle { subject, text, hint } in left {
        report::warning(&format!("{subject} {text}: {hint}"));
    }
    look_again()
}

/// Waits, and says for how long.
pub(crate) fn look_again() -> Result<(), Failure> {
    report::info(&format!("looked at again in {} minutes, whenever `rehome apply` runs", AGAIN / 60));
    requests::question::QUIET.until(clock::now() + AGAIN)
}

/// Mails in a queue; on new only those for the domains that moved, for what its users send into the world is no concern of
/// old's. `postqueue` answers for root also where Postfix is stopped.
pub(crate) fn queued(config: &Config, side: Side) -> Result<u64, Failure> {
    let lines = requests::exec::QUEUE.on(side).run()?.lines();
    let domains = if side == Side::New && !lines.is_empty() { reached::domains(config)? } else { Vec::new() };
    Ok(lines.iter().filter(|line| side == Side::Old || is_for(line, &domains)).count() as u64)
}

/// Whether a line of `postqueue -j` names a recipient in one of these domains; one that cannot be read might.
fn is_for(line: &str, domains: &[String]) -> bool {
    let Ok(mail) = serde_json::from_str::<serde_json::Value>(line) else { return true };
    let Some(recipients) = mail["recipients"].as_array() else { return true };
    recipients
        .iter()
        .filter_map(|one| one["address"].as_str()?.rsplit_once('@'))
        .any(|(_, domain)| domains.iter().any(|name| name.eq_ignore_ascii_case(domain)))
}

/// Users of old's Dovecot, if it runs at all.
fn logged_in() -> Result<Vec<String>, Failure> {
    if requests::exec::DOVECOT.on(Side::Old).run()?.text() != "active" {
        return Ok(Vec::new());
    }
    let lines = requests::exec::WHO.on(Side::Old).run()?.lines();
    let user = |line: &String| line.split_whitespace().next().map(String::from);
    Ok(lines.iter().filter(|line| !line.starts_with("username ")).filter_map(user).collect())
}

/// Old handed on nothing for as long as the plan says.
pub(crate) fn must_be_quiet(config: &Config) -> Result<(), Failure> {
    if config.hold == 0 {
        return Ok(());
    }
    let output = requests::exec::SENT.on(Side::Old).run()?;
    match output.lines().iter().filter_map(|line| straggler(line)).max() {
        Some(last) => {
            report::info(&format!("old handed on its last mail on {}", clock::date(last)));
            requests::question::QUIET.until(last + config.hold)
        }
        None => Ok(()),
    }
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
