//! What differs between the schemas of the two sides, and whether it matters to rows that move from old to new.
//! Works on what `sql::Schema::describe` answers; knows no table by name.

use crate::sql::{Column, Description, Table};

/// One difference. `table` and `column` as the side that has them writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaDifference {
    /// new has no such table
    TableMissing {
        /// its name
        table: String,
    },
    /// new has no such column: its values stay behind
    ColumnMissing {
        /// its table
        table: String,
        /// its name
        column: String,
    },
    /// old has no such column
    ColumnAdded {
        /// its table
        table: String,
        /// its name
        column: String,
        /// new takes no row without a value for it
        required: bool,
    },
    /// another type
    Kind {
        /// its table
        table: String,
        /// its name
        column: String,
        /// its type on old
        old: String,
        /// its type on new
        new: String,
        /// new holds shorter values than old: a row may not fit
        narrower: bool,
    },
}

/// What differs in `tables` (empty: in all tables of old).
pub fn differences(old: &Description, new: &Description, tables: &[&str]) -> Vec<SchemaDifference> {
    let mut found = Vec::new();
    for table in &old.tables {
        if !tables.is_empty() && !tables.iter().any(|name| same(name, &table.name)) {
            continue;
        }
        match find(new, &table.name) {
            None => found.push(SchemaDifference::TableMissing { table: table.name.clone() }),
            Some(other) => columns(table, other, &mut found),
        }
    }
    found
}

/// The table of that name, as databases compare names here: without regard to case.
pub fn find<'a>(description: &'a Description, table: &str) -> Option<&'a Table> {
    description.tables.iter().find(|candidate| same(&candidate.name, table))
}

/// The column of that name.
pub fn column<'a>(table: &'a Table, name: &str) -> Option<&'a Column> {
    table.columns.iter().find(|candidate| same(&candidate.name, name))
}

fn columns(old: &Table, new: &Table, found: &mut Vec<SchemaDifference>) {
    let table = || old.name.clone();
    for before in &old.columns {
        let Some(after) = column(new, &before.name) else {
            found.push(SchemaDifference::ColumnMissing { table: table(), column: before.name.clone() });
            continue;
        };
        if kind(&before.kind) != kind(&after.kind) {
            found.push(SchemaDifference::Kind {
                table: table(),
                column: before.name.clone(),
                old: before.kind.clone(),
                new: after.kind.clone(),
                narrower: narrower(&before.kind, &after.kind),
            });
        }
    }
    for after in new.columns.iter().filter(|after| column(old, &after.name).is_none()) {
        found.push(SchemaDifference::ColumnAdded {
            table: table(),
            column: after.name.clone(),
            required: !after.nullable && after.default.is_none(),
        });
    }
}

fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// MariaDB writes `int(11)` where MySQL 8 writes `int`: the width of an integer is only how it is shown.
fn kind(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    match text.split_once('(') {
        Some((name, rest)) if name.ends_with("int") || name == "integer" => {
            format!("{name}{}", rest.split_once(')').map_or("", |(_, after)| after))
        }
        _ => text,
    }
}

/// `varchar(150)` to `varchar(32)`.
fn narrower(old: &str, new: &str) -> bool {
    match (length(old), length(new)) {
        (Some(old), Some(new)) => new < old,
        _ => false,
    }
}

/// Characters that a character type holds: 150 for `varchar(150)`; none for other types.
pub fn length(kind: &str) -> Option<u64> {
    let (name, rest) = kind.split_once('(')?;
    if !name.to_ascii_lowercase().contains("char") {
        return None;
    }
    rest.split_once(')')?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(columns: &[(&str, &str, bool)]) -> Description {
        let columns = columns
            .iter()
            .map(|(name, kind, nullable)| Column {
                name: name.to_string(),
                kind: kind.to_string(),
                nullable: *nullable,
                default: None,
            })
            .collect();
        Description {
            product: "mariadb".into(),
            version: "10.5.29".into(),
            tables: vec![Table { name: "virtual_users".into(), columns }],
        }
    }

    #[test]
    fn a_shorter_column_is_narrower_and_the_width_of_an_integer_is_nothing() {
        let old = side(&[("id", "int(11)", false), ("password", "varchar(150)", false)]);
        let new = side(&[("id", "int", false), ("password", "VARCHAR(32)", false)]);
        let found = differences(&old, &new, &[]);
        assert_eq!(found.len(), 1);
        assert!(matches!(&found[0], SchemaDifference::Kind { column, narrower: true, .. } if column == "password"));
        assert!(matches!(&differences(&new, &old, &[])[0], SchemaDifference::Kind { narrower: false, .. }));
    }

    #[test]
    fn columns_and_tables_of_one_side_only_are_named() {
        let old = side(&[("email", "varchar(100)", false), ("note", "text", true)]);
        let new = side(&[("EMAIL", "varchar(100)", false), ("quota", "bigint(11)", false)]);
        let found = differences(&old, &new, &["virtual_users"]);
        assert_eq!(
            found,
            [
                SchemaDifference::ColumnMissing { table: "virtual_users".into(), column: "note".into() },
                SchemaDifference::ColumnAdded { table: "virtual_users".into(), column: "quota".into(), required: true },
            ]
        );
        let nothing = Description { tables: Vec::new(), ..new };
        assert_eq!(
            differences(&old, &nothing, &[])[0],
            SchemaDifference::TableMissing { table: "virtual_users".into() }
        );
        assert_eq!(differences(&old, &nothing, &["other"]), []);
    }
}
