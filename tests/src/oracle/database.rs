//! A machine's MariaDB as text: rows in the order of their keys, without dates or comments, so that two dumps of the
//! same data are the same text.

use crate::lab::Machine;
use crate::process::quote;
use anyhow::Result;

const COMMON: &str = "mysqldump --skip-dump-date --skip-comments --order-by-primary --skip-extended-insert \
                      --complete-insert --single-transaction --hex-blob";

/// A whole database, definitions and rows: for before and after on one machine.
///
/// # Errors
/// There is no such database, or it refuses root.
pub fn dump(machine: &Machine, database: &str) -> Result<String> {
    machine.sh(&format!("{COMMON} --routines --events --triggers {}", quote(database)))
}

/// The rows of a database only, as one INSERT each: comparable between versions of the server.
///
/// # Errors
/// As [`dump`].
pub fn rows(machine: &Machine, database: &str) -> Result<Vec<String>> {
    let text = machine.sh(&format!("{COMMON} --no-create-info --skip-triggers {}", quote(database)))?;
    Ok(text.lines().filter(|line| line.starts_with("INSERT ")).map(str::to_owned).collect())
}

/// How two texts differ, line by line: which lines are gone, which are new.
#[must_use]
pub fn diff(before: &str, after: &str) -> Vec<String> {
    let gone = before.lines().filter(|line| !after.lines().any(|other| other == *line));
    let new = after.lines().filter(|line| !before.lines().any(|other| other == *line));
    gone.map(|line| format!("gone: {line}")).chain(new.map(|line| format!("new: {line}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::diff;

    #[test]
    fn a_changed_row_is_one_gone_and_one_new() {
        assert_eq!(diff("a\nb\n", "a\nc\n"), ["gone: b", "new: c"]);
        assert!(diff("a\n", "a\n").is_empty());
    }
}
