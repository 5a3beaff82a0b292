//! The tables of the journal. `user_version` says which of these steps a file has seen; steps are only ever added.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Row};

const STEPS: [&str; 3] = [
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
];

/// Brings the file to the newest step; refuses one of a later rehome.
pub(super) async fn make(connection: &mut SqliteConnection) -> Result<(), String> {
    let said = |error: sqlx::Error| error.to_string();
    let row = sqlx::query("PRAGMA user_version").fetch_one(&mut *connection).await.map_err(said)?;
    let version: i64 = row.try_get(0).map_err(said)?;
    let newest = STEPS.len() as i64;
    if version > newest {
        return Err(format!("was written by a later rehome (step {version}, this one knows {newest}); use that one"));
    }
    for (at, step) in STEPS.iter().enumerate().skip(version as usize) {
        let mut transaction = connection.begin().await.map_err(said)?;
        sqlx::raw_sql(*step).execute(&mut *transaction).await.map_err(said)?;
        let bump = format!("PRAGMA user_version = {}", at + 1);
        sqlx::raw_sql(sqlx::AssertSqlSafe(bump)).execute(&mut *transaction).await.map_err(said)?;
        transaction.commit().await.map_err(said)?;
    }
    Ok(())
}
