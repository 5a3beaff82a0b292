//! The durable record of a migration: runs of phases, effects with their intent and outcome, what phases remember, what the
//! operator answered, before-images, what syncs touched. SQLite, WAL, `synchronous=FULL`: what a call here has answered
//! survives a power cut. Reads and refusals are noted in memory and written with the next durable record.

use std::path::{Path, PathBuf};
use std::sync::Mutex as StdMutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions, Row};
use tokio::sync::{Mutex, MutexGuard};

use crate::types::{SideName, Stage, Verb};

mod effects;
mod identity;
mod kept;
mod leaves;
mod questions;
mod runs;
mod salvage;
mod schema;
mod undos;
mod whole;

pub use salvage::{Rebuild, Salvaged};
pub use undos::{Irreversible, Undo};

/// The journal of one migration.
pub struct Journal {
    path: PathBuf,
    connection: Mutex<SqliteConnection>,
    /// waiting to be written with the next durable record
    notes: StdMutex<Vec<Note>>,
}

/// What is wrong with the journal.
#[derive(Debug, thiserror::Error)]
#[error("the journal {}: {what}", path.display())]
pub struct JournalError {
    path: PathBuf,
    what: String,
    /// its file is not what SQLite wrote: nothing in it can be relied on
    pub damaged: bool,
}

/// How an effect stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// its intent is recorded, nothing more
    Begun,
    /// it is there
    Done,
    /// it is not, for a reason that is known
    Failed,
    /// the link was lost, or the like: it may be there or not
    Unknown,
    /// it was not granted, not allowed under this verb, or its value refused: nothing happened
    Refused,
}

/// What an effect is known by: the memo key of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectKey {
    /// the phase's id in the plan
    pub phase: String,
    /// which deliberate run of it
    pub run: u32,
    /// under which verb
    pub verb: Verb,
    /// `exec.stop`
    pub request: String,
    /// where, if it has one side
    pub side: Option<SideName>,
    /// what fills its holes, and a hash of any input: as JSON
    pub values: String,
}

/// An effect as recorded.
#[derive(Clone, Debug)]
pub struct Effect {
    /// for `settle`
    pub id: u64,
    /// what it is known by
    pub key: EffectKey,
    /// how it stands
    pub state: State,
    /// JSON of what the call answered, if it is done and was not settled by a look
    pub outcome: Option<String>,
    /// why it failed
    pub failure: Option<String>,
    /// UTC, milliseconds since 1970
    pub begun_at: u64,
    /// UTC, milliseconds since 1970
    pub ended_at: Option<u64>,
}

struct Note {
    key: EffectKey,
    effect: &'static str,
    state: State,
    failure: Option<String>,
    at: u64,
    ended_at: u64,
}

/// How a run of a phase stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// called, and not ended: by a crash if nobody is at it
    Begun,
    /// at a gate
    Waiting,
    /// ended well
    Done,
    /// ended with a failure; `apply` tries again
    Failed,
    /// being taken back, and not ended: by a crash if nobody is at it
    UndoBegun,
    /// being taken back, and at a gate
    UndoWaiting,
    /// taking it back ended with a failure; `undo` tries again
    UndoFailed,
    /// taken back
    Undone,
}

impl RunState {
    /// Whether taking the run back was begun, and has not ended.
    pub fn is_undoing(self) -> bool {
        matches!(self, RunState::UndoBegun | RunState::UndoWaiting | RunState::UndoFailed)
    }
}

/// A run of a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// the phase's id in the plan
    pub phase: String,
    /// 1 for the first
    pub run: u32,
    /// where it stands in the migration
    pub stage: Stage,
    /// how it stands
    pub state: RunState,
    /// what it said last: a failure, a gate
    pub text: Option<String>,
    /// the digest of the component that ran
    pub digest: String,
    /// UTC, seconds since 1970
    pub begun_at: u64,
    /// UTC, seconds since 1970
    pub ended_at: Option<u64>,
}

/// What a file or setting was before the migration touched it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeforeImage {
    /// none: it was not there
    pub content: Option<Vec<u8>>,
    /// what was written instead
    pub written: Option<Vec<u8>>,
}

impl Journal {
    /// Opens the journal in `folder`, or makes one. `folder` must exist.
    pub async fn open(folder: &Path) -> Result<Journal, JournalError> {
        let path = folder.join("journal.db");
        let failed = |error: sqlx::Error| JournalError::of(&path, &error);
        let mut connection = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10))
            .foreign_keys(true)
            .disable_statement_logging()
            .connect()
            .await
            .map_err(failed)?;
        schema::make(&mut connection).await.map_err(|why| match why {
            schema::Unmade::Sqlite(error) => failed(error),
            schema::Unmade::Later(what) => JournalError { path: path.clone(), what, damaged: false },
        })?;
        Ok(Journal { path, connection: Mutex::new(connection), notes: StdMutex::new(Vec::new()) })
    }

    fn failed(&self, error: sqlx::Error) -> JournalError {
        JournalError::of(&self.path, &error)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn connection(&self) -> MutexGuard<'_, SqliteConnection> {
        self.connection.lock().await
    }
}

/// What a phase has asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// empty: answered before it was asked
    pub question: String,
    /// of a choice
    pub options: Vec<String>,
}

pub(crate) fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The serde word of a plain enum.
fn word<T: Serialize>(value: &T) -> String {
    to_json(value).trim_matches('"').to_string()
}

fn from_word<T: for<'a> Deserialize<'a>>(row: &SqliteRow, column: &str) -> Result<T, sqlx::Error> {
    let text: String = row.try_get(column)?;
    serde_json::from_value(serde_json::Value::String(text)).map_err(|e| sqlx::Error::Decode(e.into()))
}

fn json<T: for<'a> Deserialize<'a>>(row: &SqliteRow, column: &str) -> Result<T, sqlx::Error> {
    let text: String = row.try_get(column)?;
    serde_json::from_str(&text).map_err(|e| sqlx::Error::Decode(e.into()))
}

fn parsed<T: std::str::FromStr<Err = String>>(row: &SqliteRow, column: &str) -> Result<T, sqlx::Error> {
    let text: String = row.try_get(column)?;
    text.parse().map_err(|e: String| sqlx::Error::Decode(e.into()))
}
