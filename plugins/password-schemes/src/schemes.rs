//! How many users have passwords of which scheme. The database counts: only names of schemes and numbers come here.
//! Schemes are named as Dovecot names them (`PLAIN-MD5`), values that crypt(3) knows by their beginning (`$6$`).

use std::collections::BTreeMap;

use rehome_sdk::prelude::*;
use rehome_sdk::sql::Rows;

use crate::{Config, requests};

/// 32 hexadecimal digits and nothing else.
pub(crate) const BARE: &str = "bare MD5";
/// What they become.
pub(crate) const PLAIN_MD5: &str = "PLAIN-MD5";

/// Users by scheme.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Schemes(BTreeMap<String, u64>);

impl Schemes {
    /// Those of a side, of the plan's domains.
    pub(crate) fn on(side: Side, config: &Config) -> Result<Schemes, Failure> {
        let query = match config.domains.as_slice() {
            [] => requests::sql::SCHEMES,
            _ => requests::sql::SCHEMES_OF_DOMAINS,
        };
        Schemes::read(&query.on(side).rows()?)
            .ok_or_else(|| stopped(format!("passwords on {side}"), "the database does not count them as it should"))
    }

    fn read(rows: &Rows) -> Option<Schemes> {
        let count = |row: &Vec<rehome_sdk::sql::Value>| {
            let users = u64::try_from(row.get(1)?.to_i64()?).ok()?;
            Some((row.first()?.to_text()?, users))
        };
        rows.rows.iter().map(count).collect::<Option<_>>().map(Schemes)
    }

    pub(crate) fn bare(&self) -> u64 {
        self.0.get(BARE).copied().unwrap_or_default()
    }

    /// With or without the name of the scheme.
    pub(crate) fn as_bare(&self) -> u64 {
        self.bare() + self.0.get(PLAIN_MD5).copied().unwrap_or_default()
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// As they are once this phase is done.
    pub(crate) fn after(&self) -> Schemes {
        let mut after = self.clone();
        if let Some(bare) = after.0.remove(BARE) {
            *after.0.entry(PLAIN_MD5.into()).or_default() += bare;
        }
        after
    }

    pub(crate) fn join(&mut self, other: &Schemes) {
        for (scheme, users) in &other.0 {
            let known = self.0.entry(scheme.clone()).or_default();
            *known = (*known).max(*users);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(scheme, users)| (scheme.as_str(), *users))
    }

    /// "12 bare MD5, 3 SHA256-CRYPT (15 users)".
    pub(crate) fn words(&self) -> String {
        let parts: Vec<String> = self.iter().map(|(scheme, users)| format!("{users} {scheme}")).collect();
        match self.0.len() {
            0 => "no users".into(),
            1 => parts.concat(),
            _ => format!("{} ({} users)", parts.join(", "), self.total()),
        }
    }
}

fn key(ctx: &Context<Config>) -> String {
    format!("before/{}", ctx.phase)
}

/// What new had before this phase changed anything: the first observation wins, until undo.
pub(crate) fn remember_first(ctx: &Context<Config>, schemes: &Schemes) -> Result<(), Failure> {
    if journal::recall(&key(ctx))?.is_some() {
        return Ok(());
    }
    let lines: Vec<String> = schemes.iter().map(|(scheme, users)| format!("{users} {scheme}")).collect();
    // A value that is empty counts as forgotten.
    let text = if lines.is_empty() { "0 users".to_string() } else { lines.join("\n") };
    journal::remember(&key(ctx), text)
}

pub(crate) fn first(ctx: &Context<Config>) -> Result<Option<Schemes>, Failure> {
    let Some(text) = journal::recall_text(&key(ctx))? else { return Ok(None) };
    let count = |line: &str| {
        let (users, scheme) = line.split_once(' ')?;
        Some((scheme.to_string(), users.parse().ok()?))
    };
    Ok(Some(Schemes(text.lines().filter_map(count).filter(|(_, users)| *users > 0).collect())))
}

pub(crate) fn forget_first(ctx: &Context<Config>) -> Result<(), Failure> {
    journal::forget(&key(ctx))
}
