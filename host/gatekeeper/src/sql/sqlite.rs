//! SQLite files. Invariant: a file that is not there is never made, reads open it read-only, and `authorizer` says what a
//! statement may do at all. Values keep their storage
//! class, whatever a column's type says. Whole tables are in `sqlite/whole.rs`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{
    Arguments, AssertSqlSafe, Column, ConnectOptions, Decode, Executor, Row as _, Statement as _, TypeInfo, ValueRef,
};

use super::driver::{Driver, Whole};
use super::place::{At, Use, is_file};
use super::statement::{Dialect, Statement};
use super::value::{Row, Rows, integer, text};
use crate::report::shown;
use crate::types::{Failure, SqlColumn, SqlDescription, SqlTable, SqlValue};

mod authorizer;
mod whole;

use authorizer::{Allowed, allow};

/// How long another connection may hold the file.
const BUSY: Duration = Duration::from_secs(10);

/// A connection to a SQLite file.
pub(super) struct File {
    connection: SqliteConnection,
    at: At,
    exact: bool,
}

impl File {
    pub(super) async fn open(path: &Path, at: At, use_for: Use) -> Result<File, Failure> {
        if !is_file(path) {
            return Err(at.not_found(&format!("there is no file {}", path.display())));
        }
        let mut options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .read_only(use_for.only_reads())
            .busy_timeout(BUSY)
            // As MariaDB does it: deleting a domain takes its users along where the schema says so.
            .foreign_keys(use_for != Use::Whole)
            // What a hostile schema could call.
            .pragma("trusted_schema", "OFF")
            .disable_statement_logging();
        if use_for.only_reads() {
            options = options.pragma("query_only", "ON");
        }
        let mut connection = options.connect().await.map_err(|error| at.failed(error))?;
        let allowed = match use_for {
            Use::Read | Use::ExactRead => Allowed::Reads,
            Use::Write | Use::ExactWrite => Allowed::Writes,
            Use::Whole => Allowed::Whole,
        };
        allow(&mut connection, allowed).await.map_err(|error| at.failed(error))?;
        let mut file = File { connection, at, exact: use_for.exact() };
        let encoding = file.all("PRAGMA encoding", &[]).await?;
        match encoding.first().and_then(|row| text(row.first())).as_deref() {
            Some("UTF-8") => Ok(file),
            other => Err(file.at.unsupported(&format!("its encoding is {}, not UTF-8", other.unwrap_or("not known")))),
        }
    }

    async fn run(&mut self, sql: &str) -> Result<u64, Failure> {
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection).await;
        done.map(|done| done.rows_affected()).map_err(|error| self.at.failed(error))
    }

    async fn all(&mut self, sql: &str, values: &[&str]) -> Result<Vec<Vec<SqlValue>>, Failure> {
        let values: Vec<SqlValue> = values.iter().map(|value| SqlValue::Text(value.to_string())).collect();
        let bound = arguments(&self.at, values.iter());
        self.stream(sql.to_string(), bound).map_ok(|row| row.values).try_collect().await
    }

    fn stream<'a>(&'a mut self, sql: String, bound: Result<SqliteArguments, Failure>) -> Rows<'a> {
        let bound = match bound {
            Ok(bound) => bound,
            Err(failure) => return futures_util::stream::once(async { Err(failure) }).boxed(),
        };
        let (at, exact) = (&self.at, self.exact);
        let mut columns: Option<Arc<[String]>> = None;
        sqlx::query_with(AssertSqlSafe(sql), bound)
            .persistent(false)
            .fetch(&mut self.connection)
            .map(move |row| {
                let row = row.map_err(|error| at.failed(error))?;
                let names = columns.get_or_insert_with(|| row.columns().iter().map(|c| c.name().to_string()).collect());
                let values = (0..names.len()).map(|index| value(&row, index, at, exact)).collect::<Result<_, _>>()?;
                Ok(Row { columns: names.clone(), values })
            })
            .boxed()
    }
}

#[async_trait]
impl Driver for File {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    async fn begin_reading(&mut self) -> Result<(), Failure> {
        // The connection is read-only; the transaction is for one moment.
        self.run("BEGIN").await.map(|_| ())
    }

    async fn begin(&mut self, _statements: &[&Statement]) -> Result<(), Failure> {
        self.run("BEGIN IMMEDIATE").await.map(|_| ())
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        self.run("COMMIT").await.map(|_| ())
    }

    async fn roll_back(&mut self) {
        let _ = self.run("ROLLBACK").await;
    }

    fn rows<'a>(&'a mut self, statement: &'a Statement, values: &'a [SqlValue]) -> Rows<'a> {
        let bound = statement.bound(values).map_err(|why| self.at.refused(&why));
        let bound = bound.and_then(|values| arguments(&self.at, values));
        self.stream(statement.sql(), bound)
    }

    async fn columns(&mut self, statement: &Statement) -> Result<Vec<String>, Failure> {
        let prepared = self.connection.prepare(sqlx::SqlSafeStr::into_sql_str(AssertSqlSafe(statement.sql()))).await;
        let prepared = prepared.map_err(|error| self.at.failed(error))?;
        Ok(prepared.columns().iter().map(|column| column.name().to_string()).collect())
    }

    async fn execute(&mut self, statement: &Statement, values: &[SqlValue]) -> Result<u64, Failure> {
        let bound = statement.bound(values).map_err(|why| self.at.refused(&why))?;
        let bound = arguments(&self.at, bound)?;
        let done = sqlx::query_with(AssertSqlSafe(statement.sql()), bound).execute(&mut self.connection).await;
        done.map(|done| done.rows_affected()).map_err(|error| self.at.failed_with(error, values))
    }

    async fn describe(&mut self) -> Result<SqlDescription, Failure> {
        let version = self.all("SELECT sqlite_version()", &[]).await?;
        let version = version.first().and_then(|row| text(row.first())).unwrap_or_default();
        let sql = "SELECT m.name, p.name, p.type, p.\"notnull\", p.dflt_value FROM sqlite_master m \
                   JOIN pragma_table_xinfo(m.name) p \
                   WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND p.hidden <> 1 \
                   ORDER BY m.name, p.cid";
        let mut tables: Vec<SqlTable> = vec![];
        for row in self.all(sql, &[]).await? {
            let name = text(row.first()).unwrap_or_default();
            if tables.last().is_none_or(|table| table.name != name) {
                tables.push(SqlTable { name, columns: vec![] });
            }
            let column = SqlColumn {
                name: text(row.get(1)).unwrap_or_default(),
                kind: text(row.get(2)).unwrap_or_default(),
                nullable: integer(row.get(3)) == 0,
                default: text(row.get(4)),
            };
            tables.last_mut().map(|table| table.columns.push(column)).unwrap_or_default();
        }
        Ok(SqlDescription { product: "sqlite".into(), version, tables })
    }

    fn whole(&mut self) -> Result<&mut dyn Whole, Failure> {
        Ok(self)
    }
}

fn arguments<'v>(at: &At, values: impl IntoIterator<Item = &'v SqlValue>) -> Result<SqliteArguments, Failure> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        let added = match value {
            SqlValue::Null => arguments.add(None::<&str>),
            SqlValue::Integer(number) => arguments.add(*number),
            SqlValue::Unsigned(number) => match i64::try_from(*number) {
                Ok(number) => arguments.add(number),
                Err(_) => return Err(at.refused("has an integer over 9223372036854775807, which SQLite cannot hold")),
            },
            SqlValue::Real(number) => arguments.add(*number),
            SqlValue::Text(text) => arguments.add(text.clone()),
            SqlValue::Bytes(bytes) => arguments.add(bytes.clone()),
        };
        added.map_err(|error| at.failed(sqlx::Error::Encode(error)))?;
    }
    Ok(arguments)
}

fn value(row: &SqliteRow, index: usize, at: &At, exact: bool) -> Result<SqlValue, Failure> {
    let raw = row.try_get_raw(index).map_err(|error| at.failed(error))?;
    if raw.is_null() {
        return Ok(SqlValue::Null);
    }
    let kind = raw.type_info().name().to_string();
    let found = match kind.as_str() {
        "INTEGER" => <i64 as Decode<sqlx::Sqlite>>::decode(raw).map(SqlValue::Integer),
        "REAL" => <f64 as Decode<sqlx::Sqlite>>::decode(raw).map(SqlValue::Real),
        _ => <Vec<u8> as Decode<sqlx::Sqlite>>::decode(raw).map(SqlValue::Bytes),
    };
    let found = found.map_err(|error| at.failed(sqlx::Error::Decode(error)))?;
    match (kind.as_str(), found) {
        ("TEXT", SqlValue::Bytes(bytes)) => match String::from_utf8(bytes) {
            Ok(text) => Ok(SqlValue::Text(text)),
            // Written back as bytes it would be a BLOB, which is equal to no text.
            Err(_) if exact => {
                let column = row.columns().get(index).map_or("?", |column| column.name());
                Err(at.unsupported(&format!("column `{}` has a text that is not UTF-8; mend it first", shown(column))))
            }
            Err(error) => Ok(SqlValue::Bytes(error.into_bytes())),
        },
        (_, found) => Ok(found),
    }
}
