//! Reading both sides without rehome: mail over IMAP, files, databases, Redis, certificates, services. Each gives a value that can be
//! compared, and a difference as lines that say what and where. A test asserts that there are none with [`same`].

pub mod certificate;
pub mod database;
pub mod disk;
pub mod imap;
pub mod listing;
pub mod redis;
pub mod roundcube;
pub mod rspamd;
pub mod services;

use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// How many differences a failure shows.
const SHOWN: usize = 40;

/// Requires that there are no differences.
///
/// # Errors
/// There are; the message shows the first of them.
pub fn same(what: &str, differences: &[String]) -> Result<()> {
    if differences.is_empty() {
        return Ok(());
    }
    let shown: Vec<&str> = differences.iter().take(SHOWN).map(String::as_str).collect();
    bail!("{what}: {} differences\n  {}", differences.len(), shown.join("\n  "))
}

/// The differences of two maps, entry by entry; `compare` says how two values of one key differ.
pub(crate) fn diff_maps<K: Ord + Debug, V>(
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
    compare: impl Fn(&V, &V) -> Vec<String>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, value) in before {
        match after.get(key) {
            None => lines.push(format!("{key:?}: missing afterwards")),
            Some(other) => lines.extend(compare(value, other).iter().map(|line| format!("{key:?}: {line}"))),
        }
    }
    let added = after.keys().filter(|key| !before.contains_key(key));
    lines.extend(added.map(|key| format!("{key:?}: not there before")));
    lines
}

/// `["NAME: A, afterwards B"]` where two fields differ.
pub(crate) fn field<T: PartialEq + Debug>(name: &str, before: &T, after: &T) -> Vec<String> {
    if before == after { Vec::new() } else { vec![format!("{name}: {before:?}, afterwards {after:?}")] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_the_entry_and_both_values() {
        let before = BTreeMap::from([("a", 1), ("b", 2), ("c", 3)]);
        let after = BTreeMap::from([("a", 1), ("b", 5), ("d", 4)]);
        let lines = diff_maps(&before, &after, |x, y| field("n", x, y));
        assert_eq!(lines, ["\"b\": n: 2, afterwards 5", "\"c\": missing afterwards", "\"d\": not there before"]);
    }
}
