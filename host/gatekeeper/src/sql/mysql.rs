//! MariaDB and MySQL. Invariant: rows are read in the binary protocol, where FLOAT, zero dates and rows that begin with a
//! value of 16 MiB come as they are (in the text protocol none of them does). Whole tables are in `mysql/whole.rs`.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlConnection, MySqlRow, MySqlSslMode, MySqlTypeInfo};
use sqlx::{
    Arguments, AssertSqlSafe, Column, ConnectOptions, Decode, Executor, Row as _, Statement as _, Type, TypeInfo,
};

use super::driver::{Driver, Whole};
use super::place::{At, Use};
use super::reader;
use super::statement::{Dialect, Statement};
use super::value::{Row, Rows, text};
use crate::types::{Failure, SqlColumn, SqlDescription, SqlTable, SqlValue};

mod binary;
mod whole;

/// For rows that must arrive as they were: TIMESTAMP in UTC (local time has an hour twice a year), 0 for AUTO_INCREMENT and
/// dates of 0 taken as they are, everything that does not fit refused instead of cut.
const EXACT: &str = "SET time_zone = '+00:00', sql_quote_show_create = 1, net_write_timeout = 3600, net_read_timeout = 3600, \
     sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'";

/// A connection to a database of a MariaDB or MySQL server.
pub(super) struct Server {
    connection: MySqlConnection,
    at: At,
}

impl Server {
    pub(super) async fn connect(
        socket: &Path,
        (user, password): (&str, Option<&str>),
        database: &str,
        at: At,
        use_for: Use,
    ) -> Result<Server, Failure> {
        // sqlx would set sql_mode and time zone as it likes them: statements run under the server's own.
        let mut options = MySqlConnectOptions::new()
            .socket(socket)
            .username(user)
            .database(database)
            .ssl_mode(MySqlSslMode::Disabled)
            .charset("utf8mb4")
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .timezone(None)
            .disable_statement_logging();
        if let Some(password) = password {
            options = options.password(password);
        }
        let connection = options.connect().await.map_err(|error| at.failed(error))?;
        let mut server = Server { connection, at };
        // The driver asks for IGNORE_SPACE when it connects, and cannot be told not to.
        let settings = if use_for.exact() { EXACT } else { "SET sql_mode = @@global.sql_mode" };
        server.run(settings.into()).await?;
        if server.at.reads() {
            let rows = server.all("SHOW GRANTS".into(), &[]).await?;
            let grants = rows.iter().filter_map(|row| text(row.first()));
            reader::only_reads(&server.at, grants.flat_map(|grant| reader::beyond_reading(&grant)).collect())?;
        }
        Ok(server)
    }

    /// A statement of the host's own.
    async fn run(&mut self, sql: String) -> Result<u64, Failure> {
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection).await;
        done.map(|done| done.rows_affected()).map_err(|error| self.at.failed(error))
    }

    /// Rows of a statement of the host's own, all of them.
    async fn all(&mut self, sql: String, values: &[&str]) -> Result<Vec<Vec<SqlValue>>, Failure> {
        let values: Vec<SqlValue> = values.iter().map(|value| SqlValue::Text(value.to_string())).collect();
        let bound = arguments(&self.at, values.iter())?;
        self.stream(sql, Ok(bound)).map_ok(|row| row.values).try_collect().await
    }

    /// (name, engine) of the tables that no transaction protects.
    async fn without_transactions(&mut self) -> Result<Vec<(String, String)>, Failure> {
        let sql = "SELECT t.table_name, t.engine FROM information_schema.tables t \
                   JOIN information_schema.engines e ON e.engine = t.engine \
                   WHERE t.table_schema = DATABASE() AND t.table_type = 'BASE TABLE' AND e.transactions <> 'YES'";
        let cell = |row: &[SqlValue], index: usize| text(row.get(index)).unwrap_or_default();
        Ok(self.all(sql.into(), &[]).await?.iter().map(|row| (cell(row, 0), cell(row, 1))).collect())
    }

    fn stream<'a>(&'a mut self, sql: String, bound: Result<MySqlArguments, Failure>) -> Rows<'a> {
        let bound = match bound {
            Ok(bound) => bound,
            Err(failure) => return futures_util::stream::once(async { Err(failure) }).boxed(),
        };
        let at = &self.at;
        let mut columns: Option<Arc<[String]>> = None;
        sqlx::query_with(AssertSqlSafe(sql), bound)
            .persistent(false)
            .fetch(&mut self.connection)
            .map(move |row| {
                let row = row.map_err(|error| at.failed(error))?;
                let names = columns.get_or_insert_with(|| row.columns().iter().map(|c| c.name().to_string()).collect());
                let values = values(&row).map_err(|error| at.failed(error))?;
                Ok(Row { columns: names.clone(), values })
            })
            .boxed()
    }
}

#[async_trait]
impl Driver for Server {
    fn dialect(&self) -> Dialect {
        Dialect::MySql
    }

    async fn begin_reading(&mut self) -> Result<(), Failure> {
        self.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ".into()).await?;
        // READ ONLY is not known before MySQL 5.6 and MariaDB 10.0: there the comment is one.
        self.run("START TRANSACTION WITH CONSISTENT SNAPSHOT /*!50605 , READ ONLY */".into()).await?;
        Ok(())
    }

    async fn begin(&mut self, statements: &[&Statement]) -> Result<(), Failure> {
        for (name, engine) in self.without_transactions().await? {
            if statements.iter().any(|statement| statement.mentions(&name)) {
                return Err(self.at.unsupported(&format!(
                    "table `{name}` is of engine {engine}, which has no transactions: a copy that breaks off would leave \
                     half of it; first ALTER TABLE `{name}` ENGINE=InnoDB"
                )));
            }
        }
        self.run("START TRANSACTION".into()).await.map(|_| ())
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        self.run("COMMIT".into()).await.map(|_| ())
    }

    async fn roll_back(&mut self) {
        let _ = self.run("ROLLBACK".into()).await;
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
        if bound.is_empty() {
            // Unprepared: not every statement can be prepared.
            return self.run(statement.sql()).await;
        }
        let bound = arguments(&self.at, bound)?;
        let done = sqlx::query_with(AssertSqlSafe(statement.sql()), bound).execute(&mut self.connection).await;
        done.map(|done| done.rows_affected()).map_err(|error| self.at.failed_with(error, values))
    }

    async fn describe(&mut self) -> Result<SqlDescription, Failure> {
        let version = self.all("SELECT VERSION()".into(), &[]).await?;
        let version = version.first().and_then(|row| text(row.first())).unwrap_or_default();
        let product = if version.to_ascii_lowercase().contains("mariadb") { "mariadb" } else { "mysql" };
        let sql = "SELECT c.table_name, c.column_name, c.column_type, c.is_nullable, c.column_default \
                   FROM information_schema.columns c JOIN information_schema.tables t \
                   ON t.table_schema = c.table_schema AND t.table_name = c.table_name \
                   WHERE c.table_schema = DATABASE() AND t.table_type = 'BASE TABLE' \
                   ORDER BY c.table_name, c.ordinal_position";
        let mut tables: Vec<SqlTable> = vec![];
        for row in self.all(sql.into(), &[]).await? {
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
        Ok(SqlDescription { product: product.into(), version, tables })
    }

    fn whole(&mut self) -> Result<&mut dyn Whole, Failure> {
        Ok(self)
    }
}

fn arguments<'v>(at: &At, values: impl IntoIterator<Item = &'v SqlValue>) -> Result<MySqlArguments, Failure> {
    let mut arguments = MySqlArguments::default();
    for value in values {
        let added = match value {
            SqlValue::Null => arguments.add(None::<&str>),
            SqlValue::Integer(number) => arguments.add(*number),
            SqlValue::Unsigned(number) => arguments.add(*number),
            SqlValue::Real(number) => arguments.add(*number),
            SqlValue::Text(text) => arguments.add(text.as_str()),
            SqlValue::Bytes(bytes) => arguments.add(bytes.as_slice()),
        };
        added.map_err(|error| at.failed(sqlx::Error::Encode(error)))?;
    }
    Ok(arguments)
}

fn values(row: &MySqlRow) -> Result<Vec<SqlValue>, sqlx::Error> {
    let value = |(index, column): (usize, &sqlx::mysql::MySqlColumn)| {
        // Not `try_get`: it takes a date of 0 for NULL. Without a value, this is an error, and NULL.
        match <&[u8] as Decode<sqlx::MySql>>::decode(row.try_get_raw(index)?) {
            Ok(bytes) => decoded(bytes, column.type_info()),
            Err(_) => Ok(SqlValue::Null),
        }
    };
    row.columns().iter().enumerate().map(value).collect()
}

fn decoded(bytes: &[u8], kind: &MySqlTypeInfo) -> Result<SqlValue, sqlx::Error> {
    let unsigned = <u64 as Type<sqlx::MySql>>::compatible(kind);
    let found = match kind.name() {
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" | "YEAR" => {
            binary::integer(bytes, unsigned)
        }
        name if name.ends_with(" UNSIGNED") => binary::integer(bytes, true),
        "FLOAT" | "DOUBLE" => binary::real(bytes),
        "DATE" => binary::date(bytes),
        "DATETIME" | "TIMESTAMP" => binary::date_time(bytes),
        "TIME" => binary::time(bytes),
        "BIT" | "GEOMETRY" => Some(SqlValue::Bytes(bytes.to_vec())),
        // MySQL's JSON says that it is binary, and is text. Other text is what has a collation; the names of types do not
        // say so (a `utf8mb4_bin` column is called VARBINARY).
        "DECIMAL" | "JSON" | "SET" => Some(binary::text(bytes)),
        _ if <str as Type<sqlx::MySql>>::compatible(kind) => Some(binary::text(bytes)),
        _ => Some(SqlValue::Bytes(bytes.to_vec())),
    };
    found.ok_or_else(|| sqlx::Error::Decode(format!("{} of {} bytes", kind.name(), bytes.len()).into()))
}
