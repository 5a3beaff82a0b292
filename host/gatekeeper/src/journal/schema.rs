//! The tables of the journal. `user_version` says which of these steps a file has seen; steps are only ever added.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Row};

const STEPS: [&str; 4] = [
    "
CREATE TABLE run (
    id INTEGER PRIMARY KEY, phase TEXT NOT NULL, run INTEGER NOT NULL, stage TEXT NOT NULL, state TEXT NOT NULL,
    said TEXT, digest TEXT NOT NULL, begun_at INTEGER NOT NULL, ended_at INTEGER, UNIQUE (phase, run)
) STRICT;
CREATE TABLE effect (
    id INTEGER PRIMARY KEY, phase TEXT NOT NULL, run INTEGER NOT NULL, verb TEXT NOT NULL, request TEXT NOT NULL,
    side TEXT NOT NULL, vals TEXT NOT NULL, effect TEXT NOT NULL, state TEXT NOT NULL, outcome TEXT, failure TEXT,
    begun_at INTEGER NOT NULL, ended_at INTEGER
) STRICT;
CREATE INDEX effect_by_key ON effect (phase, run, request);
CREATE TABLE memory (component TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (component, key)) STRICT;
CREATE TABLE question (
    id INTEGER PRIMARY KEY, phase TEXT NOT NULL, run INTEGER NOT NULL, key TEXT NOT NULL, asked TEXT NOT NULL,
    answered TEXT, UNIQUE (phase, run, key)
) STRICT;
CREATE TABLE before (what TEXT PRIMARY KEY, content BLOB, written BLOB) STRICT;
CREATE TABLE touched (id INTEGER PRIMARY KEY AUTOINCREMENT, tree TEXT NOT NULL, folder BLOB NOT NULL) STRICT;
CREATE INDEX touched_by_tree ON touched (tree, id);
",
    "
CREATE TABLE undo (id INTEGER PRIMARY KEY, phases TEXT NOT NULL, begun_at INTEGER NOT NULL, ended_at INTEGER) STRICT;
CREATE TABLE previewed (phase TEXT NOT NULL, run INTEGER NOT NULL, irreversible TEXT NOT NULL, PRIMARY KEY (phase, run)) STRICT;
",
    "
CREATE TABLE leaf (
    tree TEXT NOT NULL, folder BLOB NOT NULL, source TEXT, target TEXT, files INTEGER NOT NULL, PRIMARY KEY (tree, folder)
) STRICT, WITHOUT ROWID;
",
    "
CREATE TABLE migration (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
INSERT INTO migration (key, value) VALUES ('id', lower(hex(randomblob(16)))), ('epoch', '1');
",
];

/// Why a file cannot be brought to the newest step.
pub(super) enum Unmade {
    Sqlite(sqlx::Error),
    /// a later rehome wrote it
    Later(String),
}

impl From<sqlx::Error> for Unmade {
    fn from(error: sqlx::Error) -> Unmade {
        Unmade::Sqlite(error)
    }
}

/// Brings the file to the newest step; refuses one of a later rehome. Another rehome may be about to do the same.
pub(super) async fn make(connection: &mut SqliteConnection) -> Result<(), Unmade> {
    let newest = STEPS.len() as i64;
    if seen(connection).await? == newest {
        return Ok(());
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let version = seen(&mut transaction).await?;
    if version > newest {
        let said = format!("was written by a later rehome (step {version}, this one knows {newest}); use that one");
        return Err(Unmade::Later(said));
    }
    for step in STEPS.iter().skip(version as usize) {
        sqlx::raw_sql(*step).execute(&mut *transaction).await?;
    }
    let bump = format!("PRAGMA user_version = {newest}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(bump)).execute(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}

async fn seen(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query("PRAGMA user_version").fetch_one(connection).await?.try_get(0)
}
