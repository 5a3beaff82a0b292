//! What the facts are read from: the outside server's mail log, the mailbox that reports come back to, the journals of
//! both Dovecots. Text in, facts out; how the text is fetched is the test's. Postfix's lines are those of its DEBUG_README.

use super::{Copies, Copy, Fate, TRAFFIC};
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// By token, the last that the log says. `log` is in the order of time, one message of Postfix a line, as
/// `journalctl -o cat` gives it. Queue IDs are used again: the latest `message-id=` before a line says whose it is.
#[must_use]
pub fn fates(log: &str) -> BTreeMap<String, Fate> {
    let mut owners: BTreeMap<&str, String> = BTreeMap::new();
    let mut fates = BTreeMap::new();
    for line in log.lines() {
        let Some((queue_id, rest)) = line.split_once(": ") else { continue };
        if let Some(id) = rest.strip_prefix("message-id=") {
            match token(id) {
                Some(token) => owners.insert(queue_id, token.to_string()),
                None => owners.remove(queue_id),
            };
            continue;
        }
        let (Some(token), Some((head, reason))) = (owners.get(queue_id), status(rest)) else { continue };
        let fate = match head {
            "sent" => Fate::Sent(between(rest, "relay=", ",").unwrap_or_default().to_string()),
            "bounced" | "expired" => Fate::Bounced(reason.to_string()),
            "deferred" => Fate::Deferred(reason.to_string()),
            _ => continue,
        };
        fates.insert(token.clone(), fate);
    }
    fates
}

/// `status=WORD (REASON)`, or `status=expired, returned to sender`.
fn status(rest: &str) -> Option<(&str, &str)> {
    let at = rest.find("status=")? + "status=".len();
    let end = rest[at..].find([' ', ',']).map_or(rest.len(), |end| at + end);
    Some((&rest[at..end], rest[end..].trim_start_matches([' ', ',', '('])))
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let rest = &text[text.find(from)? + from.len()..];
    Some(&rest[..rest.find(to)?])
}

/// The token in `<TOKEN@traffic.lab.test>`.
fn token(id: &str) -> Option<&str> {
    id.trim().strip_prefix('<')?.strip_suffix('>')?.strip_suffix(TRAFFIC)?.strip_suffix('@')
}

/// What a mailbox of the outside server holds.
#[derive(Debug, Default)]
pub struct Mailbox {
    /// tokens of mails that a report says have failed
    pub returned: BTreeSet<String>,
    /// the traffic's mails that were passed on to it, by the address they were delivered to
    pub mails: Copies,
}

/// Reads an mbox (RFC 4155) with failure reports (RFC 3464) and mails.
#[must_use]
pub fn mailbox(mbox: &str) -> Mailbox {
    let mut all = Mailbox::default();
    for message in messages(mbox) {
        let head = message.split("\n\n").next().unwrap_or_default();
        if head.to_ascii_lowercase().contains("multipart/report") {
            if message.lines().any(|line| line.eq_ignore_ascii_case("Action: failed")) {
                let body = &message[head.len()..];
                all.returned.extend(message_ids(body).iter().filter_map(|id| token(id)).map(String::from));
            }
            continue;
        }
        let to = head.lines().find_map(|line| line.strip_prefix("Delivered-To: ")).unwrap_or_default();
        for id in message_ids(head).into_iter().filter(|id| token(id).is_some()) {
            let copy = Copy { folder: "mbox".into(), flags: BTreeSet::new() };
            all.mails.entry((to.trim().to_string(), id)).or_default().push(copy);
        }
    }
    all
}

fn messages(mbox: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut blank = true;
    for line in mbox.lines() {
        if blank && line.starts_with("From ") {
            all.push(String::new());
        } else if let Some(message) = all.last_mut() {
            message.push_str(line.trim_end_matches('\r'));
            message.push('\n');
        }
        blank = line.trim_end_matches('\r').is_empty();
    }
    all
}

/// The Message-IDs in lines `Message-ID: <…>`.
#[must_use]
pub fn message_ids(text: &str) -> BTreeSet<String> {
    let of = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("message-id").then(|| value.trim().to_string())
    };
    text.lines().filter_map(of).collect()
}

/// What gives a Dovecot's journal as [`downtime`] reads it.
pub const DOVECOT_JOURNAL: &str = "journalctl --sync; journalctl --no-pager -o json --output-fields=MESSAGE -t dovecot";

/// When users were without mail, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Downtime {
    /// The old Dovecot was told to stop.
    pub stopped: u64,
    /// The first login at the new one.
    pub back: u64,
}

impl Downtime {
    /// How long that was.
    #[must_use]
    pub fn seconds(self) -> f64 {
        (self.back - self.stopped) as f64 / 1e6
    }
}

/// From the old Dovecot's stop to the first login at the new one, each as its own journal says ([`DOVECOT_JOURNAL`]).
///
/// # Errors
/// One of the two lines is not there: then nothing is known.
pub fn downtime(old: &str, new: &str) -> Result<Downtime> {
    // Those of its processes that outlive the master for a moment are killed after it, and say the same.
    let is_stop = |text: &str| text.starts_with("master: ") && text.contains("Killed with signal 15");
    let stopped = moments(old, is_stop).max();
    let stopped = stopped.context("the old Dovecot's journal does not say that it was stopped")?;
    let is_login = |text: &str| text.contains("imap-login: ") && text.contains("Login: user=<");
    let back = moments(new, is_login).filter(|moment| *moment > stopped).min();
    let back = back.context("the new Dovecot's journal knows no login after the old one stopped")?;
    Ok(Downtime { stopped, back })
}

/// When a journal has lines like this, in microseconds since 1970.
fn moments(journal: &str, like: impl Fn(&str) -> bool) -> impl Iterator<Item = u64> {
    journal.lines().filter_map(move |line| {
        let entry: Value = serde_json::from_str(line).ok()?;
        let text = entry["MESSAGE"].as_str()?;
        if like(text) { entry["__REALTIME_TIMESTAMP"].as_str()?.parse().ok() } else { None }
    })
}
