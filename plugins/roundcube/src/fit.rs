//! What new must have of each user of old, and what it has instead. Users are compared by name and IMAP server, as Roundcube
//! knows them; once users work on new, what they have changed there is right.

use rehome_sdk::amount;
use rehome_sdk::prelude::*;

use crate::hosts::{FORMER, Hosts};
use crate::ledger::{Entry, Ledger};
use crate::{Config, in_use, webmail};

/// A user of old, as new must have it, and what new has of it.
struct Pair {
    wanted: Entry,
    found: Option<Entry>,
    /// under other IMAP servers
    elsewhere: Vec<String>,
}

/// All of them.
pub(crate) struct Fit {
    pairs: Vec<Pair>,
    /// on new, and nobody of old
    others: usize,
}

impl Fit {
    pub(crate) fn of(old: &Ledger, new: &Ledger, hosts: &Hosts) -> Fit {
        let former = hosts.former(old);
        let wanted = old.0.iter().map(|entry| {
            let host = if hosts.is_current(&entry.host) {
                hosts.new.clone()
            } else if entry.host.eq_ignore_ascii_case(&hosts.new) && former.contains(&entry.user) {
                format!("{}{FORMER}", hosts.new)
            } else {
                entry.host.clone()
            };
            Entry { host, ..entry.clone() }
        });
        let pairs: Vec<Pair> = wanted
            .map(|wanted| {
                let same_user = || new.0.iter().filter(|entry| entry.user == wanted.user);
                let found = same_user().find(|entry| entry.host.eq_ignore_ascii_case(&wanted.host)).cloned();
                let elsewhere = same_user().map(|entry| entry.host.clone()).collect();
                Pair { wanted, found, elsewhere }
            })
            .collect();
        let known = |entry: &&Entry| old.0.iter().any(|user| user.user == entry.user);
        let others = new.0.iter().filter(|entry| !known(entry)).count();
        Fit { pairs, others }
    }

    /// Whether new has of each user exactly what old has.
    pub(crate) fn is_equal(&self) -> bool {
        self.pairs.iter().all(Pair::is_equal)
    }

    /// "john@example.org: 5 contacts on old, 4 on new (and 2 more)".
    pub(crate) fn words(&self) -> String {
        let unequal: Vec<&Pair> = self.pairs.iter().filter(|pair| !pair.is_equal()).collect();
        let Some(first) = unequal.first() else { return "nothing differs".into() };
        let more = if unequal.len() > 1 { format!(" (and {} more)", unequal.len() - 1) } else { String::new() };
        format!("{}: {}{more}", first.wanted.user, first.words())
    }

    /// A finding for each user that lacks something, one for all others.
    pub(crate) fn verify(&self, ctx: &Context<Config>, old: &Ledger, found: &mut Findings) {
        let (mut equal, mut used) = (0, 0);
        for pair in &self.pairs {
            let subject = format!("webmail user {}", pair.wanted.user);
            match &pair.found {
                _ if pair.is_equal() => equal += 1,
                None => {
                    found
                        .blocker(subject, pair.words())
                        .hint(format!("`rehome apply --again {}` copies it", ctx.phase));
                }
                // They have logged in since, on new or on old: what differs is theirs, unless there is less of it.
                Some(new) if new.last_login != pair.wanted.last_login => {
                    used += 1;
                    if new.contacts < pair.wanted.contacts {
                        found.warning(subject, pair.words()).hint("right only where the user has deleted some since");
                    }
                }
                Some(_) if in_use(ctx) => {
                    let hint = format!(
                        "changed on old since: `rehome apply --again {}`, or a later copy, brings it",
                        ctx.phase
                    );
                    found.warning(subject, pair.words()).hint(hint);
                }
                Some(_) => {
                    found
                        .blocker(subject, pair.words())
                        .hint(format!("`rehome apply --again {}` copies it", ctx.phase));
                }
            }
        }
        if used > 0 {
            let used = amount(used, "user has", "users have");
            found
                .note(webmail(ctx, Side::New), format!("{used} logged in since the copy: what they changed is theirs"));
        }
        if self.others > 0 {
            let others = amount(self.others as u64, "user", "users");
            found.note(webmail(ctx, Side::New), format!("has {others} more, of whom old knows nothing"));
        }
        let text = format!("{equal} of {} are as on old: {}", self.pairs.len(), old.words());
        found.ok(webmail(ctx, Side::New), text);
    }
}

impl Pair {
    fn is_equal(&self) -> bool {
        self.found
            .as_ref()
            .is_some_and(|found| found.content == self.wanted.content && counts(found) == counts(&self.wanted))
    }

    fn words(&self) -> String {
        let Some(new) = &self.found else {
            return match self.elsewhere.as_slice() {
                [] => "is not on new".into(),
                hosts => {
                    format!("is on new for {}, and Roundcube there looks for {}", hosts.join(", "), self.wanted.host)
                }
            };
        };
        let names = ["contacts", "groups", "members of groups", "identities", "searches"];
        let differs = names.iter().zip(counts(&self.wanted).into_iter().zip(counts(new))).filter(|(_, (a, b))| a != b);
        let parts: Vec<String> =
            differs.map(|(name, (old, new))| format!("{old} {name} on old, {new} on new")).collect();
        if parts.is_empty() { "has as much on both sides, with other content".into() } else { parts.join("; ") }
    }
}

fn counts(entry: &Entry) -> [u64; 5] {
    [entry.contacts, entry.groups, entry.members, entry.identities, entry.searches]
}
