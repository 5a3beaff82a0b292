//! Whole tables of SQLite. Invariant: what is loaded between `begin_loading` and `end_loading` is one transaction, so that a
//! copy or a restore that breaks off leaves the file as it was.

use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use super::{Allowed, File, allow, arguments};
use crate::sql::driver::{Driver, Inventory, Made, Origin, Table, Whole};
use crate::sql::statement::{Dialect, Statement, identifier};
use crate::sql::value::{Rows, integer, text};
use crate::types::{Failure, SqlValue};

fn quote(name: &str) -> String {
    identifier(name, Dialect::Sqlite)
}

/// A row of `sqlite_master`.
struct Entry {
    kind: String,
    name: String,
    table: String,
    sql: Option<String>,
}

impl File {
    async fn schema(&mut self) -> Result<Vec<Entry>, Failure> {
        let sql = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid";
        let rows = self.all(sql, &[]).await?;
        let cell = |row: &Vec<SqlValue>, index: usize| text(row.get(index)).unwrap_or_default();
        Ok(rows
            .iter()
            .map(|row| Entry { kind: cell(row, 0), name: cell(row, 1), table: cell(row, 2), sql: text(row.get(3)) })
            .collect())
    }

    async fn table(&mut self, name: String, create: String) -> Result<Table, Failure> {
        let (mut columns, mut shape) = (vec![], vec![]);
        let sql = "SELECT name, type, \"notnull\", pk, hidden FROM pragma_table_xinfo(?) ORDER BY cid";
        for row in self.all(sql, &[&name]).await? {
            let column = text(row.first()).unwrap_or_default();
            let kind = text(row.get(1)).unwrap_or_default().to_ascii_lowercase();
            shape.push(format!("column {column} {kind} {} {}", integer(row.get(2)), integer(row.get(3))));
            if integer(row.get(4)) == 0 {
                columns.push(column);
            }
        }
        let sql = "SELECT i.\"unique\", group_concat(c.name) FROM pragma_index_list(?) i, pragma_index_info(i.name) c \
                   GROUP BY i.name ORDER BY 1, 2";
        for row in self.all(sql, &[&name]).await? {
            shape.push(format!("index {} {}", integer(row.first()), text(row.get(1)).unwrap_or_default()));
        }
        let counter =
            match self.all("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'", &[]).await?.is_empty() {
                true => None,
                false => {
                    let rows = self.all("SELECT seq FROM sqlite_sequence WHERE name = ?", &[&name]).await?;
                    rows.first().map(|row| integer(row.first()))
                }
            };
        Ok(Table { name, create, columns, shape, counter })
    }

    /// Whether a statement of `sqlite_master` makes what it is said to make, and nothing else.
    fn makes(&self, kind: &str, name: &str, sql: &str) -> Result<(), Failure> {
        let refuse = |why: &str| self.at.unsupported(&format!("what makes {kind} `{name}` {why}"));
        let parsed = match kind {
            "trigger" => one_trigger(sql).map(|()| None),
            _ => Statement::parse(sql, Dialect::Sqlite).map(Some),
        };
        match parsed.map_err(|why| refuse(&why))? {
            Some(statement) if statement.verb() != "CREATE" => Err(refuse("begins with another word")),
            Some(statement) if !statement.mentions(name) => Err(refuse("does not name it")),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Origin for File {
    fn written_in(&self) -> Dialect {
        Dialect::Sqlite
    }

    async fn inventory(&mut self, names: &[String]) -> Result<Inventory, Failure> {
        let schema = self.schema().await?;
        let is_asked = |entry: &Entry| matches!(entry.kind.as_str(), "table" | "view");
        if let Some(missing) =
            names.iter().find(|name| !schema.iter().any(|entry| is_asked(entry) && entry.name == **name))
        {
            return Err(self.at.not_found(&format!("there is no table `{missing}`")));
        }
        let mut inventory = Inventory::default();
        for Entry { kind, name, table, sql } in schema {
            let chosen = names.is_empty() || names.contains(&table);
            // An index without a statement belongs to its table.
            let Some(create) = sql.filter(|_| chosen) else { continue };
            let start = create.trim_start().to_ascii_uppercase();
            if start.starts_with("CREATE VIRTUAL") {
                return Err(self
                    .at
                    .unsupported(&format!("`{name}` is a virtual table, which rehome cannot take whole")));
            }
            self.makes(&kind, &name, &create)?;
            match kind.as_str() {
                "table" => inventory.tables.push(self.table(name, create).await?),
                _ => inventory.after.push(Made { kind, name, create, mode: None, definer: None, foreign: true }),
            }
        }
        if names.is_empty() {
            let version = integer(self.all("PRAGMA user_version", &[]).await?.first().and_then(|row| row.first()));
            let create = format!("PRAGMA user_version = {version}");
            let name = "user_version".to_string();
            inventory.after.push(Made {
                kind: "pragma".into(),
                name,
                create,
                mode: None,
                definer: None,
                foreign: true,
            });
        }
        Ok(inventory)
    }

    fn table_rows<'a>(&'a mut self, table: &'a Table) -> Rows<'a> {
        let columns: Vec<String> = table.columns.iter().map(|column| quote(column)).collect();
        let sql = format!("SELECT {} FROM {}", columns.join(", "), quote(&table.name));
        self.stream(sql, Ok(Default::default()))
    }
}

#[async_trait]
impl Whole for File {
    async fn begin_loading(&mut self) -> Result<(), Failure> {
        self.begin(&[]).await
    }

    async fn names(&mut self) -> Result<Vec<String>, Failure> {
        let schema = self.schema().await?;
        Ok(schema
            .into_iter()
            .filter(|entry| matches!(entry.kind.as_str(), "table" | "view"))
            .map(|entry| entry.name)
            .collect())
    }

    async fn keep_in(&mut self, path: &str) -> Result<bool, Failure> {
        // Both would refuse the other file too; this one was opened read-only.
        allow(&mut self.connection, Allowed::OtherFiles).await.map_err(|error| self.at.failed(error))?;
        self.run("PRAGMA query_only = OFF").await?;
        let bound = arguments(&self.at, [&SqlValue::Text(path.into())])?;
        let done = sqlx::query_with("VACUUM INTO ?", bound).execute(&mut self.connection).await;
        done.map(|_| true).map_err(|error| self.at.failed(error))
    }

    async fn drop(&mut self, name: &str) -> Result<(), Failure> {
        let rows =
            self.all("SELECT type FROM sqlite_master WHERE name = ? AND type IN ('table', 'view')", &[name]).await?;
        match rows.first().and_then(|row| text(row.first())).as_deref() {
            Some("table") => self.run(&format!("DROP TABLE {}", quote(name))).await.map(|_| ()),
            Some(_) => self.run(&format!("DROP VIEW {}", quote(name))).await.map(|_| ()),
            None => Ok(()),
        }
    }

    async fn make(&mut self, table: &Table) -> Result<(), Failure> {
        self.run(&table.create).await.map(|_| ())
    }

    async fn insert(&mut self, table: &Table, rows: &[Vec<SqlValue>]) -> Result<(), Failure> {
        let columns: Vec<String> = table.columns.iter().map(|column| quote(column)).collect();
        let marks = vec!["?"; columns.len()].join(",");
        let sql = format!("INSERT INTO {} ({}) VALUES ({marks})", quote(&table.name), columns.join(","));
        for row in rows {
            let bound = arguments(&self.at, row)?;
            let done = sqlx::query_with(AssertSqlSafe(sql.as_str()), bound).execute(&mut self.connection).await;
            done.map_err(|error| self.at.failed_with(error, row))?;
        }
        Ok(())
    }

    async fn finish(&mut self, table: &Table) -> Result<(), Failure> {
        let Some(counter) = table.counter else { return Ok(()) };
        let values = [SqlValue::Text(table.name.clone()), SqlValue::Integer(counter)];
        for (sql, values) in [
            ("DELETE FROM sqlite_sequence WHERE name = ?", &values[..1]),
            ("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", &values[..]),
        ] {
            let bound = arguments(&self.at, values)?;
            let done = sqlx::query_with(sql, bound).execute(&mut self.connection).await;
            done.map_err(|error| self.at.failed(error))?;
        }
        Ok(())
    }

    async fn make_after(&mut self, made: &Made) -> Result<(), Failure> {
        self.run(&made.create).await.map(|_| ())
    }

    async fn end_loading(&mut self) -> Result<(), Failure> {
        self.commit().await
    }
}

/// Whether a text is one CREATE TRIGGER: nothing but semicolons and comments may come after its last END.
fn one_trigger(sql: &str) -> Result<(), String> {
    let (mut depth, mut seen, mut rest) = (0_u32, vec![], sql);
    loop {
        // Statement by statement, since a body holds several: the lexer reads up to the first semicolon.
        let (statement, after) = Statement::first(rest, Dialect::Sqlite)?;
        for word in statement.words() {
            match word.as_str() {
                _ if seen.last().is_some_and(|last| last == "END") && depth == 0 => {
                    return Err("goes on after its END".into());
                }
                "BEGIN" | "CASE" => depth += 1,
                "END" => depth = depth.checked_sub(1).ok_or("has an END too many")?,
                _ => {}
            }
            seen.push(word.clone());
        }
        match after {
            Some(after) => rest = after,
            None => break,
        }
    }
    let begins =
        seen.first().map(String::as_str) == Some("CREATE") && seen.iter().take(4).any(|word| word == "TRIGGER");
    if begins && depth == 0 && seen.last().map(String::as_str) == Some("END") {
        Ok(())
    } else {
        Err("is no CREATE TRIGGER".into())
    }
}
