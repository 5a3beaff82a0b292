//! Which copy fits the schemas of both sides, and what of them would make it fail or leave something behind.

use rehome_sdk::prelude::*;
use rehome_sdk::schema::{SchemaDifference, column, differences, find};
use rehome_sdk::sql::{Copy, Description};

use crate::{Config, requests};

/// The guide's tables, with the columns that every version of it has.
const TABLES: [(&str, &[&str]); 3] = [
    ("virtual_domains", &["name"]),
    ("virtual_users", &["domain_id", "email", "password"]),
    ("virtual_aliases", &["domain_id", "source", "destination"]),
];

/// Both sides, or none with a blocker for the one that cannot be read.
pub(crate) fn describe(
    ctx: &Context<Config>,
    found: &mut Findings,
) -> Result<Option<(Description, Description)>, Failure> {
    let mut both = Vec::new();
    for side in SIDES {
        match requests::schema::ACCOUNTS.describe(side) {
            Ok(description) => both.push(description),
            Err(
                failure @ (Failure::EndedBadly(_) | Failure::Unreachable(_) | Failure::NotFound(_) | Failure::Other(_)),
            ) => {
                let (words, remedy) = failure.words_and_remedy();
                let socket =
                    "rehome logs in as root over the server's own socket: `mysql` as root on that side must work";
                found
                    .blocker(format!("database {} on {side}", ctx.config.database), words)
                    .hint(remedy.unwrap_or_else(|| socket.into()));
            }
            Err(failure) => return Err(failure),
        }
    }
    let mut both = both.into_iter();
    Ok(both.next().zip(both.next()))
}

/// With quotas where both sides have them; of all domains, or of those that the plan names.
pub(crate) fn fitting_copy(old: &Description, new: &Description, named: bool) -> Copy {
    match (named, has_quota(old) && has_quota(new)) {
        (false, true) => requests::copy::ACCOUNTS,
        (false, false) => requests::copy::ACCOUNTS_WITHOUT_QUOTA,
        (true, true) => requests::copy::ACCOUNTS_OF_DOMAINS,
        (true, false) => requests::copy::ACCOUNTS_OF_DOMAINS_WITHOUT_QUOTA,
    }
}

fn has_quota(side: &Description) -> bool {
    find(side, "virtual_users").is_some_and(|table| column(table, "quota").is_some())
}

/// What of the schemas matters to the copy.
pub(crate) fn check(old: &Description, new: &Description, found: &mut Findings) {
    for (side, description) in [(Side::Old, old), (Side::New, new)] {
        for (name, columns) in TABLES {
            let Some(table) = find(description, name) else {
                found
                    .blocker(format!("{name} on {side}"), "is not there")
                    .hint("this phase knows the schema of the ISPmail guide; set `database` if it has another name");
                continue;
            };
            for missing in columns.iter().filter(|wanted| column(table, wanted).is_none()) {
                found.blocker(format!("{name} on {side}"), format!("has no column `{missing}`"));
            }
        }
    }
    let names: Vec<&str> = TABLES.iter().map(|(name, _)| *name).collect();
    for difference in differences(old, new, &names) {
        add(&difference, found);
    }
}

fn add(difference: &SchemaDifference, found: &mut Findings) {
    match difference {
        // named above, for each side
        SchemaDifference::TableMissing { .. } => {}
        SchemaDifference::ColumnMissing { table, column } if column == "quota" => {
            found
                .warning(format!("{table}.quota"), "old has quotas, and new has no column for them: they stay behind")
                .hint("ALTER TABLE virtual_users ADD quota bigint NOT NULL DEFAULT 0");
        }
        SchemaDifference::ColumnMissing { table, column } => {
            let known = TABLES.iter().any(|(_, columns)| columns.contains(&column.as_str()));
            if !known {
                let text = "only old has this column, which is not of the guide: it is not copied";
                found.warning(format!("{table}.{column}"), text);
            }
        }
        SchemaDifference::ColumnAdded { table, column, required: true } if column != "quota" => {
            found
                .blocker(format!("{table}.{column}"), "new takes no row without it, and old does not have it")
                .hint(format!("give the column `{column}` on new a default"));
        }
        SchemaDifference::ColumnAdded { table, column, .. } => {
            found.note(format!("{table}.{column}"), "only new has this column: its default is used");
        }
        SchemaDifference::Kind { table, column, old, new, narrower: true } => {
            found
                .blocker(format!("{table}.{column}"), format!("is {old} on old and only {new} on new"))
                .hint(format!("ALTER TABLE {table} MODIFY {column} {old} NOT NULL"));
        }
        SchemaDifference::Kind { table, column, old, new, .. } => {
            found.note(format!("{table}.{column}"), format!("is {old} on old and {new} on new"));
        }
    }
}
