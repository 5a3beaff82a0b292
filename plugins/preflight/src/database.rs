//! The accounts' databases: reachable as root, no newer on old than on new, and alike where the copy needs it.

use rehome_sdk::prelude::*;
use rehome_sdk::schema::{SchemaDifference, differences, find};
use rehome_sdk::sql::Description;

use crate::{heard, requests};

/// The guide's tables.
const TABLES: [&str; 3] = ["virtual_domains", "virtual_users", "virtual_aliases"];

/// What the servers say of themselves; none where one did not answer, which is a finding already.
pub(crate) struct Described {
    old: Option<Description>,
    new: Option<Description>,
}

pub(crate) fn describe(found: &mut Findings) -> Result<Described, Failure> {
    Ok(Described { old: side(Side::Old, found)?, new: side(Side::New, found)? })
}

fn side(side: Side, found: &mut Findings) -> Result<Option<Description>, Failure> {
    let answer = match requests::schema::ACCOUNTS.describe(side) {
        // The machine answers, its database does not: that is for this phase to say.
        Err(Failure::Unreachable(why)) => Err(why),
        answer => heard(answer)?,
    };
    match answer {
        Ok(description) => {
            found.note(
                format!("database on {side}"),
                format!("{} {}", product(&description.product), description.version),
            );
            Ok(Some(description))
        }
        Err(why) => {
            found.blocker(format!("database on {side}"), format!("does not let root in: {why}")).hint(format!(
                "`mysql` as root on {side} must work without a password (unix_socket), and its service must run"
            ));
            Ok(None)
        }
    }
}

/// Users in the database, if it has the guide's table.
pub(crate) fn users(side: Side) -> Result<Option<i64>, Failure> {
    Ok(heard(requests::sql::USERS.on(side).rows())?.ok().and_then(|rows| rows.number()))
}

impl Described {
    pub(crate) fn has(&self, side: Side) -> bool {
        match side {
            Side::Old => self.old.is_some(),
            Side::New => self.new.is_some(),
        }
    }

    pub(crate) fn check(&self, database: &str, found: &mut Findings) {
        let (Some(old), Some(new)) = (&self.old, &self.new) else { return };
        versions(old, new, found);
        for table in TABLES.iter().filter(|table| find(old, table).is_none()) {
            found
                .blocker(format!("{table} on old"), format!("is not in the database {database}"))
                .hint("set `database` in the plan to the one with the accounts");
        }
        for difference in differences(old, new, &[]) {
            schema(&difference, found);
        }
    }
}

fn product(name: &str) -> &str {
    match name {
        "mariadb" => "MariaDB",
        "mysql" => "MySQL",
        "postgresql" => "PostgreSQL",
        "sqlite" => "SQLite",
        other => other,
    }
}

fn versions(old: &Description, new: &Description, found: &mut Findings) {
    let (before, after) = (product(&old.product), product(&new.product));
    if before != after {
        let text = format!("is {before} on old and {after} on new: rows are copied, anything else is not alike");
        found.warning("database", text);
        return;
    }
    let (old_numbers, new_numbers) = (numbers(&old.version), numbers(&new.version));
    let text = format!("is {before} {} on old, and only {} on new", old.version, new.version);
    if old_numbers[..2] > new_numbers[..2] {
        found
            .blocker("database", text)
            .hint("install a newer release on new, or take its version from upstream's packages");
    } else if old_numbers > new_numbers {
        found.warning("database", text).hint("apt-get upgrade on new");
    } else {
        found.ok("database", format!("{before} is no newer on old than on new"));
    }
}

/// "10.5.29-MariaDB-0+deb11u1": the numbers, three of them.
fn numbers(version: &str) -> [u64; 3] {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    [numbers.next().unwrap_or(0), numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)]
}

fn schema(difference: &SchemaDifference, found: &mut Findings) {
    let is_guides = |table: &str| TABLES.iter().any(|name| name.eq_ignore_ascii_case(table));
    match difference {
        SchemaDifference::TableMissing { table } if is_guides(table) => {
            found
                .blocker(format!("{table} on new"), "is not there")
                .hint("new needs the tables of the guide, empty: they are part of its installation");
        }
        SchemaDifference::TableMissing { table } => {
            found.note(format!("{table} on new"), "is not there; it is not of the guide, and not copied");
        }
        SchemaDifference::ColumnMissing { table, column } if is_guides(table) => {
            found.warning(format!("{table}.{column}"), "is on old alone: its values stay behind");
        }
        SchemaDifference::ColumnAdded { table, column, required: true } if is_guides(table) && column != "quota" => {
            found
                .blocker(format!("{table}.{column}"), "is on new alone, and no row goes in without it")
                .hint(format!("give the column `{column}` on new a default"));
        }
        SchemaDifference::Kind { table, column, old, new, narrower: true } if is_guides(table) => {
            found
                .blocker(format!("{table}.{column}"), format!("is {old} on old and only {new} on new"))
                .hint(format!("ALTER TABLE {table} MODIFY {column} {old} NOT NULL"));
        }
        SchemaDifference::ColumnMissing { table, column } => {
            found.note(format!("{table}.{column}"), "is on old alone");
        }
        SchemaDifference::ColumnAdded { table, column, .. } => {
            found.note(format!("{table}.{column}"), "is on new alone");
        }
        SchemaDifference::Kind { table, column, old, new, .. } => {
            found.note(format!("{table}.{column}"), format!("is {old} on old and {new} on new"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(numbers("10.5.29-MariaDB-0+deb11u1"), [10, 5, 29]);
        assert_eq!(numbers("15.6 (Debian 15.6-0+deb12u1)"), [15, 6, 0]);
        assert_eq!(numbers(""), [0, 0, 0]);
        assert!(numbers("10.11.6") > numbers("10.5.29"));
    }
}
