//! What a Redis holds: each key with its type, whether it expires, and a digest of its value. Read by
//! `tests/lab/redis_keys.lua`, which changes nothing; the digest does not depend on Redis's version.

use super::{diff_maps, field};
use crate::lab::{Machine, script};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

/// The keys of one database, by name; bytes that are not printable ASCII, blanks and `\` are written `\xNN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys(pub BTreeMap<String, Key>);

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// `string`, `hash`, `set`, `zset`, `list` or `stream`.
    pub kind: String,
    /// Whether it goes away by itself; when is not told, for that changes every moment.
    pub expires: bool,
    /// Of its whole value, whatever the order its parts are kept in.
    pub digest: String,
}

/// Every key of a database, by its number.
///
/// # Errors
/// Redis does not answer, or a key is of a type that the script does not know.
pub fn keys(machine: &Machine, database: u32) -> Result<Keys> {
    let text = String::from_utf8(script("redis_keys.lua")?)?;
    let said = machine.ssh(&["redis-cli", "-n", &database.to_string(), "eval", &text, "0"])?;
    let said = String::from_utf8(said.stdout).context("redis_keys.lua wrote something else")?;
    let mut all = BTreeMap::new();
    for line in said.lines().filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split(' ').collect();
        let known = fields.len() == 4 && ["expires", "stays"].contains(&fields[2]);
        ensure!(known, "Redis on {} says: {line}", machine.name());
        let [kind, digest] = [fields[1], fields[3]].map(str::to_owned);
        all.insert(fields[0].to_owned(), Key { kind, expires: fields[2] == "expires", digest });
    }
    Ok(Keys(all))
}

impl Keys {
    /// Only those whose name begins so.
    #[must_use]
    pub fn with_prefix(&self, prefix: &str) -> Self {
        let mine = self.0.iter().filter(|(name, _)| name.starts_with(prefix));
        Self(mine.map(|(name, key)| (name.clone(), key.clone())).collect())
    }

    /// How `after` differs.
    #[must_use]
    pub fn diff(&self, after: &Self) -> Vec<String> {
        diff_maps(&self.0, &after.0, |a, b| {
            let fields = [
                field("type", &a.kind, &b.kind),
                field("expires", &a.expires, &b.expires),
                field("value", &a.digest, &b.digest),
            ];
            fields.concat()
        })
    }
}
