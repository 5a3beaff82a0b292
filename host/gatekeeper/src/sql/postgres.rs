//! PostgreSQL. Invariant: values travel as the server's own text, in both directions: rows by the simple protocol, values as
//! literals of an EXECUTE, which only fill the parameters of a statement that was prepared without them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::{StreamExt, TryFutureExt, TryStreamExt};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow, PgSslMode};
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Executor, Row as _, Statement as _, TypeInfo};

use super::driver::{Driver, Whole};
use super::place::At;
use super::reader;
use super::statement::{Dialect, Statement};
use super::value::{Row, Rows, text};
use crate::types::{Failure, SqlColumn, SqlDescription, SqlTable, SqlValue};

/// Literals are quoted by doubling quotes: that is exact under these settings only.
const SETTINGS: &str = "SET standard_conforming_strings = on; SET bytea_output = hex; SET extra_float_digits = 3; \
     SET intervalstyle = postgres; SET xmloption = content";

/// A connection to a database of a PostgreSQL server.
pub(super) struct Server {
    connection: PgConnection,
    at: At,
    /// names of prepared statements, by their text
    prepared: HashMap<String, String>,
}

impl Server {
    /// `path` is where the socket `of_side` can be reached.
    pub(super) async fn connect(
        path: &Path,
        of_side: &Path,
        (user, password): (&str, Option<&str>),
        database: &str,
        at: At,
    ) -> Result<Server, Failure> {
        let link = Link::to(path, of_side).map_err(|error| Failure::other(&at.id, format!("{}: {error}", at.what)))?;
        let mut options = PgConnectOptions::new_without_pgpass()
            .socket(link.folder.clone())
            .port(link.port)
            .username(user)
            .database(database)
            .ssl_mode(PgSslMode::Disable)
            .application_name("rehome")
            .disable_statement_logging();
        if let Some(password) = password {
            options = options.password(password);
        }
        let connection = options.connect().await.map_err(|error| at.failed(error))?;
        let mut server = Server { connection, at, prepared: HashMap::new() };
        server.run(SETTINGS).await?;
        if server.at.reads() {
            let rows = server.all(reader::POSTGRES).await?;
            reader::only_reads(&server.at, rows.iter().filter_map(|row| text(row.first())).collect())?;
        }
        Ok(server)
    }

    async fn run(&mut self, sql: &str) -> Result<u64, Failure> {
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection).await;
        done.map(|done| done.rows_affected()).map_err(|error| self.at.failed(error))
    }

    async fn all(&mut self, sql: &'static str) -> Result<Vec<Vec<SqlValue>>, Failure> {
        let at = &self.at;
        let rows = sqlx::raw_sql(sql).fetch(&mut self.connection).map_err(|error| at.failed(error));
        rows.and_then(|row| async move { values(&row).map_err(|error| at.failed(error)) }).try_collect().await
    }

    /// What runs a statement with these values: itself, or the EXECUTE of it.
    async fn filled(&mut self, statement: &Statement, values: &[SqlValue]) -> Result<String, Failure> {
        let bound = statement.bound(values).map_err(|why| self.at.refused(&why))?;
        let sql = statement.sql();
        if bound.is_empty() {
            return Ok(sql);
        }
        let literals: Option<Vec<String>> = bound.into_iter().map(literal).collect();
        let literals =
            literals.ok_or_else(|| self.at.refused("has a text with a NUL, which PostgreSQL cannot hold"))?;
        let name = match self.prepared.get(&sql) {
            Some(name) => name.clone(),
            None => {
                let name = format!("rehome_{}", self.prepared.len());
                self.run(&format!("PREPARE {name} AS {sql}")).await?;
                self.prepared.insert(sql, name.clone());
                name
            }
        };
        Ok(format!("EXECUTE {name} ({})", literals.join(", ")))
    }
}

#[async_trait]
impl Driver for Server {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    async fn begin_reading(&mut self) -> Result<(), Failure> {
        self.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map(|_| ())
    }

    async fn begin(&mut self, _statements: &[&Statement]) -> Result<(), Failure> {
        self.run("BEGIN").await.map(|_| ())
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        self.run("COMMIT").await.map(|_| ())
    }

    async fn roll_back(&mut self) {
        let _ = self.run("ROLLBACK").await;
    }

    fn rows<'a>(&'a mut self, statement: &'a Statement, values: &'a [SqlValue]) -> Rows<'a> {
        async move {
            let sql = self.filled(statement, values).await?;
            let at = &self.at;
            let mut columns: Option<Arc<[String]>> = None;
            let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch(&mut self.connection).map(move |row| {
                let row = row.map_err(|error| at.failed_with(error, values))?;
                let names = columns.get_or_insert_with(|| row.columns().iter().map(|c| c.name().to_string()).collect());
                let values = self::values(&row).map_err(|error| at.failed(error))?;
                Ok(Row { columns: names.clone(), values })
            });
            Ok(rows)
        }
        .try_flatten_stream()
        .boxed()
    }

    async fn columns(&mut self, statement: &Statement) -> Result<Vec<String>, Failure> {
        let prepared = self.connection.prepare(sqlx::SqlSafeStr::into_sql_str(AssertSqlSafe(statement.sql()))).await;
        let prepared = prepared.map_err(|error| self.at.failed(error))?;
        Ok(prepared.columns().iter().map(|column| column.name().to_string()).collect())
    }

    async fn execute(&mut self, statement: &Statement, values: &[SqlValue]) -> Result<u64, Failure> {
        let sql = self.filled(statement, values).await?;
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection).await;
        done.map(|done| done.rows_affected()).map_err(|error| self.at.failed_with(error, values))
    }

    async fn describe(&mut self) -> Result<SqlDescription, Failure> {
        let version = self.all("SHOW server_version").await?;
        let version = version.first().and_then(|row| text(row.first())).unwrap_or_default();
        let rows = self
            .all(
                "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NO' ELSE 'YES' END, \
                 pg_get_expr(d.adbin, d.adrelid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum \
                 WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped \
                 ORDER BY c.relname, a.attnum",
            )
            .await?;
        let mut tables: Vec<SqlTable> = vec![];
        for row in rows {
            let cell = |index: usize| text(row.get(index));
            let name = cell(0).unwrap_or_default();
            if tables.last().is_none_or(|table| table.name != name) {
                tables.push(SqlTable { name, columns: vec![] });
            }
            let column = SqlColumn {
                name: cell(1).unwrap_or_default(),
                kind: cell(2).unwrap_or_default(),
                nullable: cell(3).as_deref() == Some("YES"),
                default: cell(4),
            };
            tables.last_mut().map(|table| table.columns.push(column)).unwrap_or_default();
        }
        let version = version.split(|c: char| c != '.' && !c.is_ascii_digit()).next().unwrap_or_default().to_string();
        Ok(SqlDescription { product: "postgresql".into(), version, tables })
    }

    fn whole(&mut self) -> Result<&mut dyn Whole, Failure> {
        Err(self.at.unsupported("whole tables and snapshots of PostgreSQL are not served: copy rows, or pipe pg_dump"))
    }
}

fn literal(value: &SqlValue) -> Option<String> {
    Some(match value {
        SqlValue::Null => "NULL".into(),
        // Quoted, a number takes whatever type its parameter has: also boolean, numeric and text.
        SqlValue::Integer(number) => format!("'{number}'"),
        SqlValue::Unsigned(number) => format!("'{number}'"),
        SqlValue::Real(number) => match number {
            number if number.is_nan() => "'NaN'".into(),
            number if number.is_infinite() => format!("'{}Infinity'", if *number < 0.0 { "-" } else { "" }),
            number => format!("'{number:?}'"),
        },
        SqlValue::Text(text) if text.contains('\0') => return None,
        SqlValue::Text(text) => format!("'{}'", text.replace('\'', "''")),
        SqlValue::Bytes(bytes) => {
            format!("'\\x{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        }
    })
}

fn values(row: &PgRow) -> Result<Vec<SqlValue>, sqlx::Error> {
    let value = |(index, column): (usize, &sqlx::postgres::PgColumn)| {
        let raw = row.try_get_raw(index)?;
        if sqlx::ValueRef::is_null(&raw) {
            return Ok(SqlValue::Null);
        }
        let text = raw.as_str().map_err(sqlx::Error::Decode)?;
        Ok(decoded(text, column.type_info().name()).unwrap_or_else(|| SqlValue::Text(text.to_string())))
    };
    row.columns().iter().enumerate().map(value).collect()
}

/// None: it is text.
fn decoded(text: &str, kind: &str) -> Option<SqlValue> {
    match kind {
        "INT2" | "INT4" | "INT8" | "OID" => text.parse().ok().map(SqlValue::Integer),
        "BOOL" => Some(SqlValue::Integer(i64::from(text == "t"))),
        "FLOAT4" | "FLOAT8" => text.parse().ok().map(SqlValue::Real),
        "BYTEA" => {
            let hex = text.strip_prefix("\\x")?;
            let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
            (0..hex.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>().map(SqlValue::Bytes)
        }
        _ => None,
    }
}

/// sqlx finds a socket by its folder and port: a folder of our own, in which a forwarded one has the name it looks for.
struct Link {
    folder: PathBuf,
    port: u16,
    ours: bool,
}

impl Link {
    fn to(path: &Path, of_side: &Path) -> std::io::Result<Link> {
        let port = |path: &Path| path.file_name()?.to_str()?.strip_prefix(".s.PGSQL.")?.parse().ok();
        if let (Some(port), Some(folder)) = (port(path), path.parent()) {
            return Ok(Link { folder: folder.to_path_buf(), port, ours: false });
        }
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("rehome-pg-{}-{number}", std::process::id()));
        std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&folder)?;
        let link = Link { folder, port: port(of_side).unwrap_or(5432), ours: true };
        std::os::unix::fs::symlink(path, link.folder.join(format!(".s.PGSQL.{}", link.port)))?;
        Ok(link)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Only needed until the connection stands.
        if self.ours {
            let _ = std::fs::remove_file(self.folder.join(format!(".s.PGSQL.{}", self.port)));
            let _ = std::fs::remove_dir(&self.folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_cannot_leave_their_quotes() {
        let text = |text: &str| literal(&SqlValue::Text(text.into()));
        assert_eq!(text("'; DROP TABLE t; --").unwrap(), "'''; DROP TABLE t; --'");
        assert_eq!(text("back\\'slash").unwrap(), "'back\\''slash'");
        assert_eq!(text("a\0b"), None);
        assert_eq!(literal(&SqlValue::Bytes(vec![0, 255])).unwrap(), "'\\x00ff'");
        assert_eq!(literal(&SqlValue::Real(f64::NEG_INFINITY)).unwrap(), "'-Infinity'");
    }

    #[test]
    fn a_forwarded_socket_gets_the_name_that_is_looked_for() {
        let link = Link::to(Path::new("/run/rehome/s7"), Path::new("/run/postgresql/.s.PGSQL.5433")).unwrap();
        let name = link.folder.join(".s.PGSQL.5433");
        assert_eq!(std::fs::read_link(&name).unwrap(), Path::new("/run/rehome/s7"));
        let folder = link.folder.clone();
        drop(link);
        assert!(!folder.exists());
    }
}
