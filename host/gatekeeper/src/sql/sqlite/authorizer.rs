//! What a connection to a SQLite file may do at all. SQLite asks while it prepares a statement, for everything that statement
//! and the schema's own triggers and views would do, and whatever is not allowed here is denied.
//! <https://www.sqlite.org/c3ref/set_authorizer.html>, <https://www.sqlite.org/security.html>.
//! Invariant: a read-only connection is not enough: it could attach another file, and so make one.

use std::ffi::{CStr, c_char, c_int, c_void};

use libsqlite3_sys as sqlite;
use sqlx::sqlite::SqliteConnection;

/// Pragmas that only tell something, when they are given no value.
const TELLING: [&str; 14] = [
    "application_id",
    "database_list",
    "encoding",
    "foreign_key_check",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
    "user_version",
];
/// Those whose argument is what they tell about.
const ABOUT: [&str; 8] = [
    "foreign_key_check",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "table_info",
    "table_xinfo",
];

/// How much a connection may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Allowed {
    /// looking
    Reads,
    /// rows and tables of this file
    Writes,
    /// loading whole tables: the settings of this file as well
    Whole,
    /// another file as well: for the host's own `VACUUM INTO`
    OtherFiles,
}

/// From now on `connection` may do so much, and its schema cannot be written to as a table.
pub(super) async fn allow(connection: &mut SqliteConnection, allowed: Allowed) -> Result<(), sqlx::Error> {
    let mut handle = connection.lock_handle().await?;
    let raw = handle.as_raw_handle().as_ptr();
    // SAFETY: `raw` is a live connection that nobody else uses while `handle` is held; the user data is a number, no pointer
    // that could dangle; DEFENSIVE takes an int and where to write what it is now, which may be null.
    let (set, defended) = unsafe {
        let defended = sqlite::sqlite3_db_config(
            raw.cast(),
            sqlite::SQLITE_DBCONFIG_DEFENSIVE,
            1 as c_int,
            std::ptr::null_mut::<c_int>(),
        );
        (sqlite::sqlite3_set_authorizer(raw.cast(), Some(answer), allowed as usize as *mut c_void), defended)
    };
    if set == sqlite::SQLITE_OK && defended == sqlite::SQLITE_OK {
        Ok(())
    } else {
        Err(sqlx::Error::Protocol("SQLite took no authorizer".into()))
    }
}

/// SQLite's question: a code, two words that depend on it, the database, the trigger or view that is at it.
unsafe extern "C" fn answer(
    allowed: *mut c_void,
    code: c_int,
    first: *const c_char,
    second: *const c_char,
    database: *const c_char,
    _: *const c_char,
) -> c_int {
    let allowed = match allowed as usize {
        at if at == Allowed::Reads as usize => Allowed::Reads,
        at if at == Allowed::Writes as usize => Allowed::Writes,
        at if at == Allowed::Whole as usize => Allowed::Whole,
        _ => Allowed::OtherFiles,
    };
    // SAFETY: SQLite passes null or a string that lives until this returns.
    let word = |text: *const c_char| (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes());
    match decide(allowed, code, word(first), word(second), word(database)) {
        true => sqlite::SQLITE_OK,
        false => sqlite::SQLITE_DENY,
    }
}

fn decide(allowed: Allowed, code: c_int, first: Option<&[u8]>, second: Option<&[u8]>, database: Option<&[u8]>) -> bool {
    match code {
        sqlite::SQLITE_SELECT | sqlite::SQLITE_READ | sqlite::SQLITE_RECURSIVE | sqlite::SQLITE_TRANSACTION => true,
        sqlite::SQLITE_SAVEPOINT => true,
        sqlite::SQLITE_FUNCTION => second.is_some_and(|name| !name.eq_ignore_ascii_case(b"load_extension")),
        sqlite::SQLITE_PRAGMA => first.is_some_and(|name| may_ask(allowed, name, second)),
        sqlite::SQLITE_ATTACH | sqlite::SQLITE_DETACH => allowed == Allowed::OtherFiles,
        sqlite::SQLITE_CREATE_VTABLE | sqlite::SQLITE_DROP_VTABLE => false,
        _ if allowed == Allowed::OtherFiles => true,
        sqlite::SQLITE_INSERT
        | sqlite::SQLITE_UPDATE
        | sqlite::SQLITE_DELETE
        | sqlite::SQLITE_CREATE_TABLE
        | sqlite::SQLITE_CREATE_INDEX
        | sqlite::SQLITE_CREATE_VIEW
        | sqlite::SQLITE_CREATE_TRIGGER
        | sqlite::SQLITE_DROP_TABLE
        | sqlite::SQLITE_DROP_INDEX
        | sqlite::SQLITE_DROP_VIEW
        | sqlite::SQLITE_DROP_TRIGGER
        | sqlite::SQLITE_REINDEX
        | sqlite::SQLITE_ANALYZE => allowed != Allowed::Reads && database.is_none_or(|name| name == b"main"),
        // Here the database is the first word.
        sqlite::SQLITE_ALTER_TABLE => allowed != Allowed::Reads && first == Some(b"main"),
        _ => false,
    }
}

fn may_ask(allowed: Allowed, name: &[u8], value: Option<&[u8]>) -> bool {
    let is_in = |names: &[&str]| names.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name));
    match allowed {
        Allowed::Whole | Allowed::OtherFiles if is_in(&["user_version", "query_only"]) => true,
        _ if value.is_none() => is_in(&TELLING),
        _ => is_in(&ABOUT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::{AssertSqlSafe, ConnectOptions};

    async fn may(allowed: Allowed, sql: &str) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("t.db"));
        let mut connection = options.create_if_missing(true).connect().await.unwrap();
        let schema = "CREATE TABLE t (a); CREATE VIEW v AS SELECT a FROM t; CREATE TABLE other (a); \
                      CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO other VALUES (new.a); END";
        sqlx::raw_sql(schema).execute(&mut connection).await.unwrap();
        allow(&mut connection, allowed).await.unwrap();
        match sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await {
            Ok(_) => true,
            Err(error) => {
                let said = error.to_string();
                let words = ["not authorized", "prohibited", "authorization denied", "may not be modified"];
                assert!(words.iter().any(|word| said.contains(word)), "{sql}: {said}");
                false
            }
        }
    }

    #[tokio::test]
    async fn reading_is_all_that_a_reading_connection_may_do() {
        for sql in [
            "SELECT a FROM v",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT * FROM n",
            "PRAGMA table_info(t)",
            "SELECT name FROM pragma_table_xinfo('t')",
            "PRAGMA user_version",
            "BEGIN; COMMIT",
        ] {
            assert!(may(Allowed::Reads, sql).await, "{sql}");
        }
        for sql in [
            "INSERT INTO t VALUES (1)",
            "DELETE FROM t",
            "CREATE TABLE x (a)",
            "CREATE TEMP TABLE x (a)",
            "DROP TABLE t",
            "ALTER TABLE t RENAME TO x",
            "PRAGMA user_version = 3",
            "PRAGMA query_only = OFF",
            "PRAGMA writable_schema = ON",
            "PRAGMA journal_mode = DELETE",
        ] {
            assert!(!may(Allowed::Reads, sql).await, "{sql}");
        }
    }

    #[tokio::test]
    async fn no_statement_reaches_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.db");
        for allowed in [Allowed::Reads, Allowed::Writes, Allowed::Whole] {
            for sql in [
                format!("ATTACH '{}' AS other", path.display()),
                format!("VACUUM INTO '{}'", path.display()),
                "SELECT load_extension('/tmp/x')".into(),
            ] {
                assert!(!may(allowed, &sql).await, "{allowed:?}: {sql}");
            }
        }
        assert!(!path.exists());
        assert!(may(Allowed::OtherFiles, &format!("VACUUM INTO '{}'", path.display())).await && path.exists());
    }

    #[tokio::test]
    async fn writing_is_for_rows_and_tables_and_not_for_the_schema_itself() {
        for sql in
            ["INSERT INTO t VALUES (1)", "CREATE TABLE x (a)", "ALTER TABLE t ADD COLUMN b", "CREATE INDEX i ON t (a)"]
        {
            assert!(may(Allowed::Writes, sql).await, "{sql}");
        }
        for sql in [
            "PRAGMA user_version = 3",
            "PRAGMA writable_schema = ON",
            "CREATE VIRTUAL TABLE x USING fts5(a)",
            "UPDATE sqlite_master SET sql = ''",
        ] {
            assert!(!may(Allowed::Writes, sql).await, "{sql}");
        }
        assert!(may(Allowed::Whole, "PRAGMA user_version = 3").await);
    }
}
