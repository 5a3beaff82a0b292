//! The accounting: what became of each mail that the outside server sent while a server moved. Pure: facts in, numbers
//! out; nobody is asked, least of all rehome. `evidence.rs` reads the facts out of logs and mailboxes.
//! Invariant: accepted = delivered + refused + lost; whatever fits nowhere is shown, and fails the test.

mod evidence;
#[cfg(test)]
mod tests;

pub use evidence::{DOVECOT_JOURNAL, Downtime, Mailbox, downtime, fates, mailbox, message_ids};

use crate::oracle::imap::ServerDump;
use crate::users::{Change, Op};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The domain of Message-IDs that `traffic.py` makes.
pub const TRAFFIC: &str = "traffic.lab.test";

/// What the outside server's log says last of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// another server answered 250; which
    Sent(String),
    /// returned to its sender
    Bounced(String),
    /// still to be tried again; why
    Deferred(String),
}

/// One message of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// in which folder
    pub folder: String,
    /// system flags and keywords
    pub flags: BTreeSet<String>,
}

/// Messages by user and Message-ID.
pub type Copies = BTreeMap<(String, String), Vec<Copy>>;

/// All that is known.
#[derive(Debug, Default, Clone)]
pub struct Facts {
    /// token and recipient of each mail that the outside server took in
    pub injected: Vec<(String, String)>,
    /// by token: the outside server's log
    pub fates: BTreeMap<String, Fate>,
    /// tokens whose failure report lies in the sender's mailbox
    pub returned: BTreeSet<String>,
    /// which mailboxes mail to an address belongs in; none: the address does not exist
    pub destinations: BTreeMap<String, BTreeSet<String>>,
    /// what users had before
    pub before: Copies,
    /// what users did
    pub changes: Vec<Change>,
    /// what is on new, and in mailboxes elsewhere that mail was passed on to
    pub after: Copies,
    /// Message-IDs in the old server's maildirs
    pub on_old: BTreeSet<String>,
}

/// What became of it all.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// mails that another server answered for: 250, or an error that went back to the sender
    pub accepted: usize,
    /// of these, in each mailbox where they belong
    pub delivered: usize,
    /// of these, reported to their sender as failed
    pub refused: usize,
    /// missing in a mailbox, and not reported; a line each
    pub lost: Vec<String>,
    /// there too often; a line each
    pub doubled: Vec<String>,
    /// whatever else is not as it must be; a line each
    pub wrong: Vec<String>,
}

impl Account {
    /// Whether everything is as it must be.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.accepted == self.delivered + self.refused
            && self.lost.is_empty()
            && self.doubled.is_empty()
            && self.wrong.is_empty()
    }

    /// Tokens of the traffic's mails that a line of lost, doubled or wrong is about, the first few.
    #[must_use]
    pub fn suspects(&self) -> Vec<String> {
        let lines = self.lost.iter().chain(&self.doubled).chain(&self.wrong);
        let words = lines.flat_map(|line| line.split([' ', '<', '@']).map(String::from));
        words.filter(|word| word.starts_with("traffic-")).take(4).collect()
    }

    /// The line that says it all; `downtime` in seconds.
    #[must_use]
    pub fn line(&self, downtime: f64) -> String {
        let Account { accepted, delivered, refused, lost, doubled, .. } = self;
        let (lost, doubled) = (lost.len(), doubled.len());
        format!(
            "accounting: accepted {accepted} = delivered {delivered} + refused {refused}; lost {lost}, doubled {doubled}; \
             downtime {downtime:.1} s"
        )
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, lines) in [("lost", &self.lost), ("doubled", &self.doubled), ("wrong", &self.wrong)] {
            for line in lines.iter().take(30) {
                writeln!(f, "  {what}: {line}")?;
            }
            if lines.len() > 30 {
                writeln!(f, "  {what}: and {} more", lines.len() - 30)?;
            }
        }
        Ok(())
    }
}

/// The messages of a server's users as [`Copies`].
#[must_use]
pub fn copies(dump: &ServerDump) -> Copies {
    let mut all = Copies::new();
    for (user, folder, message) in dump.messages() {
        let copy = Copy { folder: folder.to_string(), flags: message.flags.clone() };
        all.entry((user.to_string(), message.message_id.clone())).or_default().push(copy);
    }
    all
}

/// The Message-ID of a mail of `traffic.py`.
#[must_use]
pub fn id_of(token: &str) -> String {
    format!("<{token}@{TRAFFIC}>")
}

/// Least and most copies of a message that a user may have.
#[derive(Debug, Clone, Copy, Default)]
struct Range {
    least: i64,
    most: i64,
}

impl Range {
    fn add(&mut self, least: i64, most: i64) {
        self.least += least;
        self.most += most;
    }
}

/// Settles the account.
#[must_use]
pub fn settle(facts: &Facts) -> Account {
    let ids = facts.injected.iter().map(|(token, _)| id_of(token)).collect();
    let mut settling =
        Settling { facts, ids, expected: of_users(facts), settled: BTreeSet::new(), account: Account::default() };
    for (token, recipient) in &facts.injected {
        settling.mail(token, recipient);
    }
    settling.rest();
    changes_are_kept(facts, &mut settling.account);
    settling.account
}

fn words(range: Range) -> String {
    if range.least == range.most { range.most.to_string() } else { format!("{} to {}", range.least.max(0), range.most) }
}

/// What users had, and what they did to it.
fn of_users(facts: &Facts) -> BTreeMap<(String, String), Range> {
    let mut expected: BTreeMap<(String, String), Range> = BTreeMap::new();
    for (key, copies) in &facts.before {
        let count = i64::try_from(copies.len()).unwrap_or(i64::MAX);
        expected.entry(key.clone()).or_default().add(count, count);
    }
    for change in facts.changes.iter().filter(|change| !change.id.is_empty()) {
        let range = expected.entry((change.user.clone(), change.id.clone())).or_default();
        match (change.op, change.state.as_str()) {
            (Op::Copy | Op::Append, "ok") => range.add(1, 1),
            // A move that was cut may have left the message in both folders: Dovecot copies, then expunges.
            (Op::Copy | Op::Append | Op::Move, "unknown") => range.add(0, 1),
            (Op::Expunge, "ok") => range.add(-1, -1),
            (Op::Expunge, "unknown") => range.add(-1, 0),
            _ => {}
        }
    }
    expected
}

/// The account while it is made.
struct Settling<'a> {
    facts: &'a Facts,
    /// Message-IDs of the outside server's mails
    ids: BTreeSet<String>,
    expected: BTreeMap<(String, String), Range>,
    /// what of `expected` was looked at
    settled: BTreeSet<(String, String)>,
    account: Account,
}

impl Settling<'_> {
    /// One mail of the outside server.
    fn mail(&mut self, token: &str, recipient: &str) {
        let returned = self.facts.returned.contains(token);
        let exists = self.facts.destinations.contains_key(recipient);
        let account = &mut self.account;
        match self.facts.fates.get(token) {
            None => account.wrong.push(format!("{token} to {recipient}: the outside server's log does not know it")),
            Some(Fate::Deferred(why)) => {
                account.wrong.push(format!("{token} to {recipient} is still queued outside: {why}"));
            }
            Some(Fate::Bounced(why)) => {
                account.accepted += 1;
                if exists {
                    account.wrong.push(format!("{token} was refused, and {recipient} exists: {why}"));
                }
                if returned {
                    account.refused += 1;
                } else {
                    account.lost.push(format!("{token} to {recipient} was refused, and its sender not told: {why}"));
                }
            }
            Some(Fate::Sent(_)) => {
                account.accepted += 1;
                account.refused += usize::from(returned);
                self.sent(token, recipient, returned);
            }
        }
    }

    /// One that got a 250: it is with each whom it belongs to, or its sender was told.
    fn sent(&mut self, token: &str, recipient: &str, returned: bool) {
        let id = id_of(token);
        let nobody = BTreeSet::new();
        let homes = self.facts.destinations.get(recipient).unwrap_or(&nobody);
        let (mut missing, mut is_somewhere) = (Vec::new(), false);
        for home in homes {
            let key = (home.clone(), id.clone());
            let mut range = self.expected.get(&key).copied().unwrap_or_default();
            range.add(1, 1);
            let found = self.found(&key);
            is_somewhere |= found > 0;
            if found < range.least {
                missing.push(home.as_str());
            } else if found > range.most {
                let line = format!("{token} is {found} times with {home}, and should be {} times", words(range));
                self.account.doubled.push(line);
            }
            self.settled.insert(key);
        }
        if returned {
            // Told to be refused, and there all the same: then the sums do not agree.
            self.account.delivered += usize::from(is_somewhere);
        } else if homes.is_empty() || !missing.is_empty() {
            let left =
                if self.facts.on_old.contains(&id) { "it is in the old maildirs alone" } else { "it is nowhere" };
            let to = if homes.is_empty() { "nobody".to_string() } else { missing.join(", ") };
            let line = format!("{token} to {recipient} got a 250, and did not reach {to}: {left}");
            self.account.lost.push(line);
        } else {
            self.account.delivered += 1;
        }
    }

    fn found(&self, key: &(String, String)) -> i64 {
        self.facts.after.get(key).map_or(0, |copies| i64::try_from(copies.len()).unwrap_or(i64::MAX))
    }

    /// Users' own mail, and mail of the outside server where it does not belong.
    fn rest(&mut self) {
        let keys: BTreeSet<&(String, String)> = self.facts.after.keys().chain(self.expected.keys()).collect();
        for key in keys.into_iter().filter(|key| !self.settled.contains(*key)) {
            let (user, id) = key;
            let range = self.expected.get(key).copied().unwrap_or_default();
            let found = self.found(key);
            if found > range.most && self.ids.contains(id) {
                self.account.doubled.push(format!("{id} is with {user}, where it does not belong"));
            } else if found < range.least || found > range.most {
                let line = format!("{user} has {id} {found} times, and should have it {} times", words(range));
                self.account.wrong.push(line);
            }
        }
    }
}

/// Where a user was told that a message is, and with which flag, it is.
fn changes_are_kept(facts: &Facts, account: &mut Account) {
    let mut last: BTreeMap<(&str, &str), &Change> = BTreeMap::new();
    for change in facts.changes.iter().filter(|change| change.op != Op::End && change.op != Op::Flag) {
        last.insert((&change.user, &change.id), change);
    }
    let copies =
        |user: &str, id: &str| facts.after.get(&(user.to_string(), id.to_string())).cloned().unwrap_or_default();
    for ((user, id), change) in &last {
        let placed = matches!(change.op, Op::Move | Op::Copy | Op::Append) && change.state == "ok";
        if placed && !copies(user, id).iter().any(|copy| copy.folder == change.to) {
            account.wrong.push(format!("{user} put {id} into {}, and it is not there", change.to));
        }
    }
    // Of several copies of a message it may be the flagged one that went.
    let removals = facts.changes.iter().filter(|change| matches!(change.op, Op::Mark | Op::Expunge));
    let removed: BTreeSet<(&str, &str)> = removals.map(|change| (change.user.as_str(), change.id.as_str())).collect();
    for change in facts.changes.iter().filter(|change| change.op == Op::Flag && change.state == "ok") {
        let gone = removed.contains(&(change.user.as_str(), change.id.as_str()));
        let (user, id) = (&change.user, &change.id);
        if !gone && !copies(user, id).iter().any(|copy| copy.flags.contains(&change.flag)) {
            account.wrong.push(format!("{user} set {} on {id}, and it is not set", change.flag));
        }
    }
}
