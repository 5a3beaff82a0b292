//! Whole tables of MariaDB and MySQL, as mysqldump takes them: tables, views, triggers; not what is the server's
//! (accounts, routines, events). Invariant: what SHOW CREATE answered is run as one statement, and only if it makes what it
//! is said to make.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Decode, Row as _};

use super::{Server, arguments};
use crate::sql::driver::{Inventory, Made, Origin, Table, Whole};
use crate::sql::statement::{Dialect, identifier};
use crate::sql::value::{Rows, text};
use crate::types::{Failure, SqlValue};

/// Triggers cannot be prepared before MariaDB 10.6, nor in MySQL.
const NOT_PREPARABLE: &str = "ERROR 1295 ";

fn quote(name: &str) -> String {
    identifier(name, Dialect::MySql)
}

impl Server {
    /// (name, type) of the tables and views of these names, or all.
    async fn kinds(&mut self, names: &[String]) -> Result<Vec<(String, String)>, Failure> {
        let sql = "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = DATABASE() \
                   ORDER BY table_name";
        let all: Vec<(String, String)> = self
            .all(sql.into(), &[])
            .await?
            .iter()
            .map(|row| (text(row.first()).unwrap_or_default(), text(row.get(1)).unwrap_or_default()))
            .collect();
        if let Some(missing) = names.iter().find(|name| !all.iter().any(|(known, _)| known == *name)) {
            return Err(self.at.not_found(&format!("there is no table `{missing}`")));
        }
        Ok(all.into_iter().filter(|(name, _)| names.is_empty() || names.contains(name)).collect())
    }

    async fn table(&mut self, name: String) -> Result<Table, Failure> {
        let create = self.show("TABLE", &name, 1).await?;
        let sql = "SELECT column_name, column_type, is_nullable, extra FROM information_schema.columns \
                   WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position";
        let (mut columns, mut shape) = (vec![], vec![]);
        for row in self.all(sql.into(), &[&name]).await? {
            let cell = |index: usize| text(row.get(index)).unwrap_or_default();
            let (column, extra) = (cell(0), cell(3).to_ascii_uppercase());
            shape.push(format!("column {column} {} {}", without_width(&cell(1)), cell(2)));
            let generated = extra.split(' ').any(|word| matches!(word, "VIRTUAL" | "STORED" | "PERSISTENT"));
            if !generated {
                columns.push(column);
            }
        }
        let sql = "SELECT index_name, non_unique, column_name FROM information_schema.statistics \
                   WHERE table_schema = DATABASE() AND table_name = ? ORDER BY index_name, seq_in_index";
        for row in self.all(sql.into(), &[&name]).await? {
            let words: Vec<String> = row.iter().map(|cell| text(Some(cell)).unwrap_or_default()).collect();
            shape.push(format!("index {}", words.join(" ")));
        }
        Ok(Table { name, create, columns, shape, counter: None })
    }

    /// A column of SHOW CREATE.
    async fn show(&mut self, kind: &str, name: &str, column: usize) -> Result<String, Failure> {
        // Unprepared: not every server prepares it.
        let sql = format!("SHOW CREATE {kind} {}", quote(name));
        let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(&mut self.connection).await;
        let row = row.map_err(|error| self.at.failed(error))?;
        let value = row.try_get_raw(column).map_err(|error| self.at.failed(error))?;
        let words =
            <&[u8] as Decode<sqlx::MySql>>::decode(value).ok().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        words
            .ok_or_else(|| self.at.unsupported(&format!("SHOW CREATE {kind} `{name}` answers nothing to this account")))
    }

    async fn triggers(&mut self, tables: &[Table]) -> Result<Vec<Made>, Failure> {
        let sql = "SELECT trigger_name, event_object_table, sql_mode, definer FROM information_schema.triggers \
                   WHERE trigger_schema = DATABASE() ORDER BY event_object_table, action_timing, event_manipulation, action_order";
        let mut made = vec![];
        for row in self.all(sql.into(), &[]).await? {
            let cell = |index: usize| text(row.get(index));
            let (name, table) = (cell(0).unwrap_or_default(), cell(1).unwrap_or_default());
            if tables.iter().any(|known| known.name == table) {
                let create = self.show("TRIGGER", &name, 2).await?;
                made.push(Made {
                    kind: "trigger".into(),
                    name,
                    create,
                    mode: cell(2),
                    definer: cell(3),
                    foreign: true,
                });
            }
        }
        Ok(made)
    }

    /// What belongs to the database and is no table.
    async fn left_out(&mut self) -> Result<Vec<String>, Failure> {
        let sql = "SELECT LOWER(routine_type), routine_name FROM information_schema.routines WHERE routine_schema = DATABASE() \
                   UNION ALL SELECT 'event', event_name FROM information_schema.events WHERE event_schema = DATABASE()";
        let rows = self.all(sql.into(), &[]).await?;
        let name = |row: &Vec<SqlValue>| Some(format!("{} `{}`", text(row.first())?, text(row.get(1))?));
        Ok(rows.iter().filter_map(name).collect())
    }

    /// Runs a statement that came from SHOW CREATE: prepared, which takes one statement only.
    async fn make_one(&mut self, sql: &str) -> Result<(), Failure> {
        let done = sqlx::query(AssertSqlSafe(sql.to_string())).persistent(false).execute(&mut self.connection).await;
        done.map(|_| ()).map_err(|error| self.at.failed(error))
    }

    /// The same where it cannot be prepared. Unprepared, a server takes several statements at once: what another server
    /// said must not be able to hold a second one.
    async fn make_unprepared(&mut self, made: &Made) -> Result<(), Failure> {
        if made.foreign && made.create.contains(';') {
            return Err(self.at.unsupported(&format!(
                "this server cannot prepare {} `{}`, so rehome does not copy it: make it by hand",
                made.kind, made.name
            )));
        }
        self.run(made.create.clone()).await.map(|_| ())
    }
}

#[async_trait]
impl Origin for Server {
    fn written_in(&self) -> Dialect {
        Dialect::MySql
    }

    async fn inventory(&mut self, names: &[String]) -> Result<Inventory, Failure> {
        let mut inventory = Inventory::default();
        let mut views = vec![];
        for (name, kind) in self.kinds(names).await? {
            match kind.as_str() {
                "BASE TABLE" => inventory.tables.push(self.table(name).await?),
                "VIEW" => views.push(name),
                _ => return Err(self.at.unsupported(&format!("`{name}` is a {kind}, which rehome cannot take whole"))),
            }
        }
        inventory.after = self.triggers(&inventory.tables).await?;
        for name in views {
            let create = self.show("VIEW", &name, 1).await?;
            let sql = "SELECT definer FROM information_schema.views WHERE table_schema = DATABASE() AND table_name = ?";
            let definer = self.all(sql.into(), &[&name]).await?.first().and_then(|row| text(row.first()));
            inventory.after.push(Made { kind: "view".into(), name, create, mode: None, definer, foreign: true });
        }
        if names.is_empty() {
            inventory.left_out = self.left_out().await?;
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
impl Whole for Server {
    async fn begin_loading(&mut self) -> Result<(), Failure> {
        self.run("SET foreign_key_checks = 0".into()).await.map(|_| ())
    }

    async fn begin_replacing(&mut self, inventory: &Inventory) -> Result<bool, Failure> {
        // A trigger would do once more what it did when these rows were first written.
        let triggers = inventory.after.iter().any(|made| made.kind == "trigger");
        if triggers
            || !made_alike(inventory, &self.inventory(&[]).await?)
            || !self.without_transactions().await?.is_empty()
        {
            return Ok(false);
        }
        self.begin_loading().await?;
        self.run("START TRANSACTION".into()).await?;
        for table in &inventory.tables {
            self.run(format!("DELETE FROM {}", quote(&table.name))).await?;
        }
        Ok(true)
    }

    async fn end_replacing(&mut self, inventory: &Inventory) -> Result<(), Failure> {
        self.run("COMMIT".into()).await?;
        for Table { name, create, .. } in &inventory.tables {
            let (next, now) = (without_counter(create).1, without_counter(&self.show("TABLE", name, 1).await?).1);
            if next != now {
                self.run(format!("ALTER TABLE {} AUTO_INCREMENT = {}", quote(name), next.unwrap_or(1))).await?;
            }
        }
        self.end_loading().await
    }

    async fn names(&mut self) -> Result<Vec<String>, Failure> {
        Ok(self.kinds(&[]).await?.into_iter().map(|(name, _)| name).collect())
    }

    async fn drop(&mut self, name: &str) -> Result<(), Failure> {
        let kinds = self.kinds(&[]).await?;
        let kind = kinds.iter().find(|(known, _)| known == name).map(|(_, kind)| kind.as_str());
        match kind {
            None => Ok(()),
            Some("VIEW") => self.run(format!("DROP VIEW {}", quote(name))).await.map(|_| ()),
            Some("BASE TABLE") => self.run(format!("DROP TABLE {}", quote(name))).await.map(|_| ()),
            Some(kind) => Err(self.at.unsupported(&format!("`{name}` is a {kind}, which rehome does not drop"))),
        }
    }

    async fn make(&mut self, table: &Table) -> Result<(), Failure> {
        if !table.create.starts_with(&format!("CREATE TABLE {} (", quote(&table.name))) {
            return Err(self.at.unsupported(&format!("what makes table `{}` is no CREATE TABLE of it", table.name)));
        }
        self.make_one(&table.create).await?;
        self.run("START TRANSACTION".into()).await.map(|_| ())
    }

    async fn insert(&mut self, table: &Table, rows: &[Vec<SqlValue>]) -> Result<(), Failure> {
        let columns: Vec<String> = table.columns.iter().map(|column| quote(column)).collect();
        let row = format!("({})", vec!["?"; columns.len()].join(","));
        let sql = format!(
            "INSERT INTO {} ({}) VALUES {}",
            quote(&table.name),
            columns.join(","),
            vec![row.as_str(); rows.len()].join(",")
        );
        let bound = arguments(&self.at, rows.iter().flatten())?;
        let done = sqlx::query_with(AssertSqlSafe(sql), bound).execute(&mut self.connection).await;
        // The values of all rows are searched for in what the server says: only on the way out.
        done.map(|_| ()).map_err(|error| self.at.failed_with(error, &rows.concat()))
    }

    async fn finish(&mut self, _table: &Table) -> Result<(), Failure> {
        self.run("COMMIT".into()).await.map(|_| ())
    }

    async fn make_after(&mut self, made: &Made) -> Result<(), Failure> {
        // A trigger comes as it was written: its name may stand without quotes.
        let (kind, create) = (made.kind.to_ascii_uppercase(), made.create.to_ascii_uppercase());
        let named = made.create.contains(&made.name) || made.create.contains(&quote(&made.name));
        if !create.starts_with("CREATE ") || !create.contains(&format!(" {kind} ")) || !named {
            return Err(self.at.unsupported(&format!("what makes {} `{}` does not make it", made.kind, made.name)));
        }
        let Some(mode) = &made.mode else { return self.make_one(&made.create).await };
        if !mode.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b',')) {
            return Err(self.at.unsupported(&format!("`{}` has an sql_mode that is none", made.name)));
        }
        self.run(format!("SET @rehome_mode = @@sql_mode, sql_mode = '{mode}'")).await?;
        let result = match self.make_one(&made.create).await {
            Err(Failure::EndedBadly(tool)) if tool.diagnostic.starts_with(NOT_PREPARABLE) => {
                self.make_unprepared(made).await
            }
            result => result,
        };
        self.run("SET sql_mode = @rehome_mode".into()).await?;
        result
    }

    async fn end_loading(&mut self) -> Result<(), Failure> {
        self.run("SET foreign_key_checks = 1".into()).await.map(|_| ())
    }
}

/// Whether two inventories of one server differ in nothing but rows.
fn made_alike(one: &Inventory, other: &Inventory) -> bool {
    let tables = |of: &Inventory| -> Vec<(String, String)> {
        of.tables.iter().map(|table| (table.name.clone(), without_counter(&table.create).0)).collect()
    };
    let after =
        |of: &Inventory| -> Vec<Made> { of.after.iter().map(|made| Made { foreign: false, ..made.clone() }).collect() };
    tables(one) == tables(other) && after(one) == after(other)
}

/// A CREATE TABLE without the number that AUTO_INCREMENT gives out next, and that number.
fn without_counter(create: &str) -> (String, Option<u64>) {
    const OPTION: &str = " AUTO_INCREMENT=";
    // Line breaks in a comment are written `\n`: the last line that begins so ends the columns.
    let options = create.rfind("\n) ENGINE=").unwrap_or(create.len());
    let Some(begin) = create[options..].find(OPTION).map(|at| options + at) else { return (create.into(), None) };
    let number = &create[begin + OPTION.len()..];
    let number = &number[..number.bytes().take_while(u8::is_ascii_digit).count()];
    (format!("{}{}", &create[..begin], &create[begin + OPTION.len() + number.len()..]), number.parse().ok())
}

/// `int(11)` is `int` to newer servers: the width only ever told how to show it.
fn without_width(kind: &str) -> String {
    let lower = kind.to_ascii_lowercase();
    match (lower.find("int("), lower.find(')')) {
        (Some(open), Some(close)) if close > open => format!("{}{}", &lower[..open + 3], &lower[close + 1..]),
        _ => lower,
    }
}
