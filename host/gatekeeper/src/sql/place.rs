//! From a request's database to a connection: where the plan says it is, through a forwarded socket, within 15 seconds.
//! Invariant: a failure names the database, the side and the server's own words, and holds nothing of any row.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rehome_remote::{Endpoint, Forward};
use sqlx::mysql::MySqlDatabaseError;

use super::driver::Driver;
use super::login::{Login, Product};
use super::{mysql, postgres, sqlite};
use crate::door::Permit;
use crate::host::{DatabasePlace, failure};
use crate::report::shown;
use crate::services::Secret;
use crate::types::{Failure, SideName, SqlValue, Tool};

/// For a connection and its login.
const CONNECT: Duration = Duration::from_secs(15);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// a phase's own statement that reads, under the server's own settings
    Read,
    /// a phase's own statement, under the server's own settings
    Write,
    /// rows that must arrive as they were, read
    ExactRead,
    /// rows that must arrive as they were, written
    ExactWrite,
    /// whole tables, written: without foreign keys until all are there
    Whole,
}

impl Use {
    pub(super) fn only_reads(self) -> bool {
        matches!(self, Use::Read | Use::ExactRead)
    }
    pub(super) fn exact(self) -> bool {
        !matches!(self, Use::Read | Use::Write)
    }
}

/// Which database it is, for messages; and the forwarded socket, which lives as long as this does.
#[derive(Clone)]
pub(super) struct At {
    /// "sql.users"
    pub id: String,
    /// "database `mailserver` on old (root@old.example.org)"
    pub what: String,
    forward: Option<Arc<Forward>>,
    login: Option<Login>,
}

/// Connects to a request's database on a side.
pub(super) async fn open(
    permit: &Permit,
    id: &str,
    on: SideName,
    database: &str,
    use_for: Use,
) -> Result<Box<dyn Driver>, Failure> {
    let what = format!("database `{}` on {}", shown(database), permit.host().name(on));
    let mut at = At::new(id, what);
    let side = permit.side(on).await?;
    let (socket, login) = match permit.host().database(permit, on, database) {
        DatabasePlace::Sqlite { path } if side.is_local() => {
            let path = side.resolve(&path);
            return Ok(Box::new(at.clone().in_time(sqlite::File::open(&path, at, use_for)).await?));
        }
        DatabasePlace::Sqlite { path } => {
            let why = format!("{}: SQLite is a file, {}, and that side's files are not here", at.what, path.display());
            return Err(Failure::Unsupported(why));
        }
        DatabasePlace::MySql { socket, account, reader } => {
            (socket, Login::new(Product::MySql, on, database, account, reader, use_for))
        }
        DatabasePlace::Postgres { socket, account, reader } => {
            (socket, Login::new(Product::Postgres, on, database, account, reader, use_for))
        }
    };
    let forward = side.forward(&Endpoint::Unix(socket.clone())).await.map_err(|error| not_there(&at, id, error))?;
    let path = forward.path().to_path_buf();
    at.forward = Some(Arc::new(forward));
    let password = login.password(permit)?;
    let as_user = (login.user.as_str(), password.as_ref().map(Secret::expose));
    at.login = Some(login.clone());
    if login.product == Product::Postgres {
        let server = postgres::Server::connect(&path, &socket, as_user, database, at.clone());
        Ok(Box::new(at.in_time(server).await?))
    } else {
        let server = mysql::Server::connect(&path, as_user, database, at.clone(), use_for);
        Ok(Box::new(at.in_time(server).await?))
    }
}

/// No socket: for a database that is a server which does not run, whatever else a missing socket may be.
fn not_there(at: &At, id: &str, error: rehome_remote::Error) -> Failure {
    let refused = matches!(error, rehome_remote::Error::Refused { .. });
    match failure(id, error) {
        Failure::RefusedValue(said) if refused => Failure::Unreachable(format!("{}: {said}", at.what)),
        other => other,
    }
}

/// Ends an operation that takes longer than it may.
pub(super) async fn within<T>(
    id: &str,
    limit: Duration,
    act: impl Future<Output = Result<T, Failure>> + Send,
) -> Result<T, Failure> {
    tokio::time::timeout(limit, act).await.unwrap_or_else(|_| {
        Err(Failure::OverLimit(format!("`{id}` took longer than {} s; its connection was closed", limit.as_secs())))
    })
}

impl At {
    pub(super) fn new(id: &str, what: String) -> At {
        At { id: id.into(), what, forward: None, login: None }
    }

    async fn in_time<T>(self, connect: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let late = || {
            let seconds = CONNECT.as_secs();
            Err(Failure::Unreachable(format!("{} did not answer within {seconds} s{}", self.what, self.trouble())))
        };
        tokio::time::timeout(CONNECT, connect).await.unwrap_or_else(|_| late())
    }

    fn trouble(&self) -> String {
        let trouble = self.forward.as_ref().and_then(|forward| forward.trouble());
        trouble.map(|said| format!("\n  {}", shown(&said))).unwrap_or_default()
    }

    /// Whether it is logged in as the account that the plan names for reading.
    pub(super) fn reads(&self) -> bool {
        self.login.as_ref().is_some_and(Login::reads)
    }

    /// An account that is named for reading and can do more.
    pub(super) fn not_only_reading(&self, more: &str) -> Failure {
        let remedy = self.login.as_ref().map(Login::only_reading).unwrap_or_default();
        let said = format!("the `read-user` of {} can do more than read: {more}\nhint: {remedy}", self.what);
        Failure::EndedBadly(Tool { request: self.id.clone(), status: None, diagnostic: shown(&said) })
    }

    /// A driver's error as a phase sees it.
    pub(super) fn failed(&self, error: sqlx::Error) -> Failure {
        self.failed_with(error, &[])
    }

    /// The same, for a statement with these values, of which nothing may be said.
    pub(super) fn failed_with(&self, error: sqlx::Error, values: &[SqlValue]) -> Failure {
        let what = &self.what;
        match &error {
            sqlx::Error::Database(said) => {
                let words = server_words(&**said);
                if went_away(&**said) {
                    return Failure::Unreachable(format!("{what}: {words}"));
                }
                if let Some(words) = self.login.as_ref().and_then(|login| login.explain(&**said, what)) {
                    let diagnostic = shown(&words);
                    return Failure::EndedBadly(Tool { request: self.id.clone(), status: None, diagnostic });
                }
                self.ended(&without_values(&words, values))
            }
            sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => {
                Failure::Unreachable(format!("{what} does not answer: {}{}", shown(&error.to_string()), self.trouble()))
            }
            sqlx::Error::Encode(_) | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => {
                Failure::other(&self.id, format!("{what}: a value could not be carried over"))
            }
            _ => self.ended(&without_values(&error.to_string(), values)),
        }
    }

    /// The server's own words, as those of a tool.
    pub(super) fn ended(&self, words: &str) -> Failure {
        let diagnostic = shown(&format!("{words}\n  {}", self.what));
        Failure::EndedBadly(Tool { request: self.id.clone(), status: None, diagnostic })
    }

    /// A statement or value that is not to be run.
    pub(super) fn refused(&self, why: &str) -> Failure {
        Failure::RefusedValue(format!("`{}` {}", self.id, shown(why)))
    }

    pub(super) fn unsupported(&self, why: &str) -> Failure {
        Failure::Unsupported(format!("`{}`: {}: {}", self.id, self.what, shown(why)))
    }

    pub(super) fn not_found(&self, why: &str) -> Failure {
        Failure::NotFound(format!("`{}`: {}: {}", self.id, self.what, shown(why)))
    }
}

/// As the server's own client shows it.
pub(super) fn server_words(error: &dyn sqlx::error::DatabaseError) -> String {
    let code = error.code().unwrap_or_default().into_owned();
    match error.try_downcast_ref::<MySqlDatabaseError>() {
        Some(mysql) => format!("ERROR {} ({code}): {}", mysql.number(), mysql.message()),
        None if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() => {
            format!("sqlite: {}", error.message())
        }
        None => format!("ERROR ({code}): {}", error.message()),
    }
}

/// Shutdown in progress and killed connections: MariaDB's errors 1053 and 1927, PostgreSQL's class 57P.
fn went_away(error: &dyn sqlx::error::DatabaseError) -> bool {
    match error.try_downcast_ref::<MySqlDatabaseError>() {
        Some(mysql) => matches!(mysql.number(), 1053 | 1927),
        None => error.code().is_some_and(|code| code.starts_with("57P")),
    }
}

/// What stands before a value in servers' messages, and what may close it.
const QUOTED_VALUES: &[(&str, &[&str])] = &[
    ("entry '", &["' for ", "'"]),
    ("value: '", &["' for ", "'"]),
    ("value '", &["' for ", "'"]),
    ("string: '", &["'"]),
    ("value: \"", &["\""]),
    ("value \"", &["\""]),
    ("range: \"", &["\""]),
    ("syntax for type ", &["\""]),
    ("sequence for encoding ", &[]),
];

/// What a server says, without what it quotes of rows: "Duplicate entry 'john' for key 'email'" loses john. Rows hold
/// password hashes, and what is said here is journaled. Names of columns, keys and accounts stay.
pub(super) fn without_values(words: &str, values: &[SqlValue]) -> String {
    let mut words = words.to_string();
    for (opening, closings) in QUOTED_VALUES {
        let Some(begin) = words.find(opening).map(|at| at + opening.len()) else { continue };
        // To the last quote that can close it: a value may hold quotes itself.
        let end = closings.iter().find_map(|closing| words.rfind(closing).filter(|end| *end >= begin));
        words.replace_range(begin..end.unwrap_or(words.len()), "…");
        break;
    }
    for value in values {
        if let SqlValue::Text(text) = value
            && text.chars().count() > 3
        {
            words = words.replace(text.as_str(), "…");
        }
    }
    words
}

/// A folder or file that must be there.
pub(super) fn is_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_quote_of_rows_is_not_repeated() {
        let secret = "{SHA512-CRYPT}$6$it's' for key";
        let values = [SqlValue::Text(secret.into()), SqlValue::Text("john@example.org".into())];
        for (said, kept) in [
            (format!("ERROR 1062 (23000): Duplicate entry '{secret}' for key 'PRIMARY'"), "' for key 'PRIMARY'"),
            (
                format!("ERROR 1366: Incorrect integer value: '{secret}' for column `a`.`b`.`c` at row 1"),
                "`c` at row 1",
            ),
            (format!("ERROR 1292 (22007): Truncated incorrect DOUBLE value: '{secret}'"), "DOUBLE value"),
            (format!("ERROR (22P02): invalid input syntax for type integer: \"{secret}\""), "for type"),
            ("ERROR (23514): john@example.org is not wanted".into(), "is not wanted"),
        ] {
            let words = without_values(&said, &values);
            assert!(!words.contains("SHA512") && !words.contains("$6$") && !words.contains("john"), "{words}");
            assert!(words.contains(kept), "{words}");
        }
    }

    #[test]
    fn names_and_accounts_stay() {
        for said in [
            "ERROR 1045 (28000): Access denied for user 'root'@'localhost'",
            "ERROR 1146 (42S02): Table 'mailserver.virtual_users' doesn't exist",
            "ERROR 1054 (42S22): Unknown column 'quota' in 'field list'",
            "ERROR (23502): null value in column \"email\" of relation \"users\" violates not-null constraint",
        ] {
            assert_eq!(without_values(said, &[SqlValue::Text("x".into())]), said);
        }
    }
}
