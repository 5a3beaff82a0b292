//! What waits in a queue, and why: postqueue(1), `-j`, one object a line.

use rehome_sdk::prelude::*;

use crate::requests;

/// How often a queue is looked at until it is empty, and how long between.
const ROUNDS: u32 = 15;
const PAUSE_MS: u32 = 2000;
/// After how many looks it is flushed again.
const LOOKS_A_FLUSH: u32 = 5;

/// One queued mail.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Queued {
    pub(crate) queue_id: String,
    /// active, deferred, …
    #[serde(default)]
    pub(crate) queue_name: String,
    /// UTC, seconds since 1970
    #[serde(default)]
    pub(crate) arrival_time: u64,
    #[serde(default)]
    pub(crate) sender: String,
    #[serde(default)]
    pub(crate) recipients: Vec<Recipient>,
}

/// One of its recipients.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Recipient {
    pub(crate) address: String,
    #[serde(default)]
    pub(crate) delay_reason: Option<String>,
}

pub(crate) fn of(side: Side) -> Result<Vec<Queued>, Failure> {
    let output = requests::exec::QUEUE.on(side).run()?;
    let lines = output.lines().into_iter().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            Queued::parse(&line).map_err(|error| {
                stopped(format!("queue of {side}"), format!("postqueue -j gave a line that is no JSON: {error}"))
            })
        })
        .collect()
}

/// For `fuzz/`: one line of postqueue(1), whatever it says.
#[cfg(fuzzing)]
pub fn fuzz(line: &str) {
    if let Ok(queued) = Queued::parse(line) {
        queued.is_for(&["example.org".into()]);
        queued.addresses();
    }
}

impl Queued {
    fn parse(line: &str) -> Result<Queued, serde_json::Error> {
        serde_json::from_str(line)
    }

    /// Whether any of its recipients is in one of these domains.
    pub(crate) fn is_for(&self, domains: &[String]) -> bool {
        let domain = |address: &str| address.rsplit_once('@').map(|(_, domain)| domain.to_string());
        let known = |domain: String| domains.iter().any(|name| name.eq_ignore_ascii_case(&domain));
        self.recipients.iter().any(|one| domain(&one.address).is_some_and(known))
    }

    fn addresses(&self) -> Vec<&str> {
        self.recipients.iter().map(|recipient| recipient.address.as_str()).collect()
    }

    /// "4F2A… from a@b to c@d, c@e, since 2026-11-24 10:00:00 UTC: connection refused".
    pub(crate) fn words(&self) -> String {
        let to = self.addresses();
        let sender =
            if self.sender.is_empty() || self.sender == "MAILER-DAEMON" { "a mail server" } else { &self.sender };
        let since = clock::date(self.arrival_time);
        if to.is_empty() {
            return format!(
                "from {sender}, since {since}: everybody has it; Postfix removes it when it looks again, within minutes"
            );
        }
        let mut reasons: Vec<&str> =
            self.recipients.iter().filter_map(|recipient| recipient.delay_reason.as_deref()).collect();
        reasons.dedup();
        let why = if reasons.is_empty() { "is being delivered".to_string() } else { reasons.join("; ") };
        format!("from {sender} to {}, since {since}: {why}", to.join(", "))
    }
}

/// Each queued mail of both sides; "empty" where there is none.
pub(crate) fn findings(severity: Severity, found: &mut Findings) -> Result<(), Failure> {
    for side in SIDES {
        let queued = of(side)?;
        if queued.is_empty() {
            found.ok(format!("queue of {side}"), "is empty");
        }
        for one in queued.iter().take(20) {
            found.add(severity, format!("{} on {side}", one.queue_id), one.words());
        }
        if queued.len() > 20 {
            found.add(severity, format!("queue of {side}"), format!("and {} more", queued.len() - 20));
        }
    }
    Ok(())
}

/// Has what waits for the side's own domains tried now, and gives it a moment. A flush may come to nothing: qmgr(8) forgets it
/// when a reload replaces it, and whoever is to take the mail may only just be starting. What stays is not lost: Postfix tries
/// it again by itself, and `watch` shows it.
pub(crate) fn drain(side: Side) -> Result<(), Failure> {
    let domains = requests::sql::DOMAINS.on(side).rows()?.texts("name");
    let own =
        || -> Result<Vec<Queued>, Failure> { Ok(of(side)?.into_iter().filter(|one| one.is_for(&domains)).collect()) };
    for round in 0..ROUNDS {
        if round % LOOKS_A_FLUSH == 0 {
            requests::exec::FLUSH.on(side).run()?;
        }
        if own()?.is_empty() {
            return Ok(());
        }
        clock::sleep(PAUSE_MS)?;
    }
    for one in own()? {
        report::warning(&format!("still in the queue of {side}: {} {}", one.queue_id, one.words()));
    }
    Ok(())
}
