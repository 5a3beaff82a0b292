//! What each user of Roundcube has: how much of everything, and a checksum of what is in it. The database computes both;
//! no contact and no setting comes into this component.

use rehome_sdk::amount;
use rehome_sdk::prelude::*;
use rehome_sdk::sql::{Rows, Value};

use crate::schema::Schemas;
use crate::{Config, requests};

/// One row of `users`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) user: String,
    /// `users.mail_host`
    pub(crate) host: String,
    /// as the server writes it; empty: never
    pub(crate) last_login: String,
    pub(crate) contacts: u64,
    pub(crate) groups: u64,
    pub(crate) members: u64,
    pub(crate) identities: u64,
    pub(crate) searches: u64,
    /// checksums of settings, contacts, groups and identities
    pub(crate) content: String,
}

impl Entry {
    /// How much there is of everything that users make.
    pub(crate) fn total(&self) -> u64 {
        self.contacts + self.groups + self.members + self.identities + self.searches
    }
}

/// The users of a side, of the plan's domains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ledger(pub(crate) Vec<Entry>);

impl Ledger {
    pub(crate) fn of_old(config: &Config) -> Result<Ledger, Failure> {
        Ledger::on(Side::Old, config)
    }

    /// Empty where new has no tables yet.
    pub(crate) fn of_new(schemas: &Schemas, config: &Config) -> Result<Ledger, Failure> {
        if schemas.new_is_empty() { Ok(Ledger::default()) } else { Ledger::on(Side::New, config) }
    }

    fn on(side: Side, config: &Config) -> Result<Ledger, Failure> {
        let rows = requests::sql::LEDGER.on(side).rows()?;
        let entries = read(&rows).ok_or_else(|| {
            stopped(format!("database {} on {side}", config.database), "does not count its users as it should")
        })?;
        Ok(Ledger(entries.into_iter().filter(|entry| is_of(&entry.user, &config.domains)).collect()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// IMAP servers with their users, the ones with most users first.
    pub(crate) fn hosts(&self) -> Vec<(String, usize)> {
        let mut hosts: Vec<(String, usize)> = Vec::new();
        for entry in &self.0 {
            match hosts.iter_mut().find(|(host, _)| host.eq_ignore_ascii_case(&entry.host)) {
                Some((_, users)) => *users += 1,
                None => hosts.push((entry.host.clone(), 1)),
            }
        }
        hosts.sort_by_key(|(_, users)| std::cmp::Reverse(*users));
        hosts
    }

    /// "30 users, 240 contacts in 12 groups, 33 identities".
    pub(crate) fn words(&self) -> String {
        if self.is_empty() {
            return "no users".into();
        }
        let sum = |of: fn(&Entry) -> u64| self.0.iter().map(of).sum::<u64>();
        let contacts = amount(sum(|entry| entry.contacts), "contact", "contacts");
        let groups = match sum(|entry| entry.groups) {
            0 => String::new(),
            groups => format!(" in {}", amount(groups, "group", "groups")),
        };
        let identities = amount(sum(|entry| entry.identities), "identity", "identities");
        format!("{}, {contacts}{groups}, {identities}", amount(self.0.len() as u64, "user", "users"))
    }
}

/// Whether a user is of these domains (none: of any).
fn is_of(user: &str, domains: &[String]) -> bool {
    let own = user.rsplit('@').next().unwrap_or_default();
    domains.is_empty() || domains.iter().any(|domain| domain.eq_ignore_ascii_case(own))
}

fn read(rows: &Rows) -> Option<Vec<Entry>> {
    let place = |name: &str| rows.columns.iter().position(|column| column.eq_ignore_ascii_case(name));
    if rows.rows.is_empty() {
        return Some(Vec::new());
    }
    let texts = [place("username")?, place("mail_host")?, place("last_login")?, place("content")?];
    let counts =
        [place("contacts")?, place("contact_groups")?, place("members")?, place("identities")?, place("searches")?];
    let entry = |row: &Vec<Value>| {
        let text = |at: usize| row.get(texts[at])?.to_text();
        let count = |at: usize| u64::try_from(row.get(counts[at])?.to_i64()?).ok();
        Some(Entry {
            user: text(0)?,
            host: text(1)?,
            last_login: text(2)?,
            content: text(3)?,
            contacts: count(0)?,
            groups: count(1)?,
            members: count(2)?,
            identities: count(3)?,
            searches: count(4)?,
        })
    };
    rows.rows.iter().map(entry).collect()
}
