//! The durable record of a migration: runs of phases, effects with their intent and outcome, what phases remember, what the
//! operator answered, before-images, what syncs touched. SQLite, WAL, `synchronous=FULL`: what a call here has answered
//! survives a power cut. Reads and refusals are noted in memory and written with the next durable record.

use std::path::{Path, PathBuf};
use std::sync::Mutex as StdMutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row};
use tokio::sync::{Mutex, MutexGuard};

use crate::types::{OperatorAnswer, SideName, Stage, Verb};

mod schema;

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
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// called, and not ended: by a crash if nobody is at it
    Begun,
    /// at a gate
    Waiting,
    /// ended well
    Done,
    /// ended with a failure; `apply` tries again
    Failed,
    /// taken back
    Undone,
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
        let failed = |error: sqlx::Error| JournalError { path: path.clone(), what: error.to_string() };
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
        schema::make(&mut connection).await.map_err(|what| JournalError { path: path.clone(), what })?;
        Ok(Journal { path, connection: Mutex::new(connection), notes: StdMutex::new(Vec::new()) })
    }

    fn failed(&self, error: sqlx::Error) -> JournalError {
        JournalError { path: self.path.clone(), what: error.to_string() }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn connection(&self) -> MutexGuard<'_, SqliteConnection> {
        self.connection.lock().await
    }

    // ---- effects

    /// Records that an effect is about to begin. Durable when it answers.
    pub(crate) async fn intent(&self, key: &EffectKey, effect: &'static str) -> Result<u64, JournalError> {
        let notes = self.take_notes();
        let mut connection = self.connection().await;
        let mut transaction = connection.begin().await.map_err(|e| self.failed(e))?;
        for note in &notes {
            write_note(&mut transaction, note).await.map_err(|e| self.failed(e))?;
        }
        let id = insert_effect(&mut transaction, key, effect, State::Begun, None, None, now_ms(), None)
            .await
            .map_err(|e| self.failed(e))?;
        transaction.commit().await.map_err(|e| self.failed(e))?;
        Ok(id)
    }

    /// Records how an effect ended. Durable when it answers.
    pub(crate) async fn outcome(
        &self,
        id: u64,
        state: State,
        outcome: Option<&str>,
        failure: Option<&str>,
    ) -> Result<(), JournalError> {
        let mut connection = self.connection().await;
        sqlx::query("UPDATE effect SET state = ?, outcome = ?, failure = ?, ended_at = ? WHERE id = ?")
            .bind(word(&state))
            .bind(outcome)
            .bind(failure)
            .bind(now_ms() as i64)
            .bind(id as i64)
            .execute(&mut *connection)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(())
    }

    /// Notes a read or a refusal: written with the next durable record, or by `flush`.
    pub(crate) async fn note(
        &self,
        key: EffectKey,
        effect: &'static str,
        state: State,
        failure: Option<String>,
        at: u64,
    ) -> Result<(), JournalError> {
        let full = {
            let mut notes = self.notes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            notes.push(Note { key, effect, state, failure, at, ended_at: now_ms() });
            notes.len() >= 512
        };
        if full { self.flush().await } else { Ok(()) }
    }

    /// Writes what was only noted.
    pub async fn flush(&self) -> Result<(), JournalError> {
        let notes = self.take_notes();
        if notes.is_empty() {
            return Ok(());
        }
        let mut connection = self.connection().await;
        let mut transaction = connection.begin().await.map_err(|e| self.failed(e))?;
        for note in &notes {
            write_note(&mut transaction, note).await.map_err(|e| self.failed(e))?;
        }
        transaction.commit().await.map_err(|e| self.failed(e))
    }

    fn take_notes(&self) -> Vec<Note> {
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The last effect with this key, if there was one.
    pub(crate) async fn last_effect(&self, key: &EffectKey) -> Result<Option<Effect>, JournalError> {
        let mut connection = self.connection().await;
        let row = sqlx::query(
            "SELECT * FROM effect WHERE phase = ? AND run = ? AND verb = ? AND request = ? AND side = ? AND vals = ? \
             AND state != 'refused' ORDER BY id DESC LIMIT 1",
        )
        .bind(&key.phase)
        .bind(i64::from(key.run))
        .bind(key.verb.as_str())
        .bind(&key.request)
        .bind(key.side.map_or("", SideName::as_str))
        .bind(&key.values)
        .fetch_optional(&mut *connection)
        .await
        .map_err(|e| self.failed(e))?;
        row.map(|row| self.effect(&row)).transpose()
    }

    /// Effects whose end nobody saw, oldest first.
    pub async fn open_effects(&self) -> Result<Vec<Effect>, JournalError> {
        self.effects("WHERE state IN ('begun', 'unknown') AND effect = 'once' ORDER BY id").await
    }

    /// Every effect recorded of a phase (all of them without one), oldest first.
    pub async fn effects_of(&self, phase: Option<&str>) -> Result<Vec<Effect>, JournalError> {
        self.flush().await?;
        let all = self.effects("ORDER BY id").await?;
        Ok(all.into_iter().filter(|effect| phase.is_none_or(|phase| effect.key.phase == phase)).collect())
    }

    async fn effects(&self, which: &str) -> Result<Vec<Effect>, JournalError> {
        let mut connection = self.connection().await;
        let text = format!("SELECT * FROM effect {which}");
        let rows =
            sqlx::query(sqlx::AssertSqlSafe(text)).fetch_all(&mut *connection).await.map_err(|e| self.failed(e))?;
        rows.iter().map(|row| self.effect(row)).collect()
    }

    fn effect(&self, row: &SqliteRow) -> Result<Effect, JournalError> {
        let read = || -> Result<Effect, sqlx::Error> {
            let side: String = row.try_get("side")?;
            Ok(Effect {
                id: row.try_get::<i64, _>("id")? as u64,
                key: EffectKey {
                    phase: row.try_get("phase")?,
                    run: row.try_get::<i64, _>("run")? as u32,
                    verb: parsed(row, "verb")?,
                    request: row.try_get("request")?,
                    side: side.parse().ok(),
                    values: row.try_get("vals")?,
                },
                state: from_word(row, "state")?,
                outcome: row.try_get("outcome")?,
                failure: row.try_get("failure")?,
                begun_at: row.try_get::<i64, _>("begun_at")? as u64,
                ended_at: row.try_get::<Option<i64>, _>("ended_at")?.map(|at| at as u64),
            })
        };
        read().map_err(|e| self.failed(e))
    }

    /// Says what a look has shown about an effect of `phase` that was begun or unknown. False if there is no such one.
    pub async fn settle(&self, phase: &str, id: u64, done: bool) -> Result<bool, JournalError> {
        let state = if done { State::Done } else { State::Failed };
        let mut connection = self.connection().await;
        let result = sqlx::query(
            "UPDATE effect SET state = ?, failure = ?, ended_at = ? WHERE id = ? AND phase = ? AND state IN ('begun', 'unknown')",
        )
        .bind(word(&state))
        .bind((!done).then_some("a look has shown that it did not happen"))
        .bind(now_ms() as i64)
        .bind(id as i64)
        .bind(phase)
        .execute(&mut *connection)
        .await
        .map_err(|e| self.failed(e))?;
        Ok(result.rows_affected() == 1)
    }

    // ---- runs

    /// The last run of a phase.
    pub async fn last_run(&self, phase: &str) -> Result<Option<Run>, JournalError> {
        Ok(self.runs().await?.into_iter().rev().find(|run| run.phase == phase))
    }

    /// All runs, oldest first.
    pub async fn runs(&self) -> Result<Vec<Run>, JournalError> {
        let mut connection = self.connection().await;
        let rows = sqlx::query("SELECT * FROM run ORDER BY id")
            .fetch_all(&mut *connection)
            .await
            .map_err(|e| self.failed(e))?;
        let read = |row: &SqliteRow| -> Result<Run, sqlx::Error> {
            Ok(Run {
                phase: row.try_get("phase")?,
                run: row.try_get::<i64, _>("run")? as u32,
                stage: parsed(row, "stage")?,
                state: from_word(row, "state")?,
                text: row.try_get("said")?,
                digest: row.try_get("digest")?,
                begun_at: row.try_get::<i64, _>("begun_at")? as u64,
                ended_at: row.try_get::<Option<i64>, _>("ended_at")?.map(|at| at as u64),
            })
        };
        rows.iter().map(|row| read(row).map_err(|e| self.failed(e))).collect()
    }

    /// Records that a run begins, or goes on. Durable when it answers.
    pub async fn begin_run(
        &self,
        phase: &str,
        run: u32,
        stage: Stage,
        digest: &str,
        now: u64,
    ) -> Result<(), JournalError> {
        let mut connection = self.connection().await;
        sqlx::query(
            "INSERT INTO run (phase, run, stage, state, digest, begun_at) VALUES (?, ?, ?, 'begun', ?, ?) \
             ON CONFLICT (phase, run) DO UPDATE SET state = 'begun', said = NULL, digest = excluded.digest, ended_at = NULL",
        )
        .bind(phase)
        .bind(i64::from(run))
        .bind(stage.as_str())
        .bind(digest)
        .bind(now as i64)
        .execute(&mut *connection)
        .await
        .map_err(|e| self.failed(e))?;
        Ok(())
    }

    /// Records how a run stands. Durable when it answers.
    pub async fn end_run(
        &self,
        phase: &str,
        run: u32,
        state: RunState,
        text: Option<&str>,
        now: u64,
    ) -> Result<(), JournalError> {
        self.flush().await?;
        let mut connection = self.connection().await;
        sqlx::query("UPDATE run SET state = ?, said = ?, ended_at = ? WHERE phase = ? AND run = ?")
            .bind(word(&state))
            .bind(text)
            .bind(now as i64)
            .bind(phase)
            .bind(i64::from(run))
            .execute(&mut *connection)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(())
    }

    // ---- what phases remember

    pub(crate) async fn remember(&self, component: &str, key: &str, value: &[u8]) -> Result<(), JournalError> {
        let mut connection = self.connection().await;
        sqlx::query(
            "INSERT INTO memory (component, key, value) VALUES (?, ?, ?) \
             ON CONFLICT (component, key) DO UPDATE SET value = excluded.value",
        )
        .bind(component)
        .bind(key)
        .bind(value)
        .execute(&mut *connection)
        .await
        .map_err(|e| self.failed(e))?;
        Ok(())
    }

    pub(crate) async fn recall(&self, component: &str, key: &str) -> Result<Option<Vec<u8>>, JournalError> {
        let mut connection = self.connection().await;
        let row = sqlx::query("SELECT value FROM memory WHERE component = ? AND key = ?")
            .bind(component)
            .bind(key)
            .fetch_optional(&mut *connection)
            .await
            .map_err(|e| self.failed(e))?;
        row.map(|row| row.try_get("value").map_err(|e| self.failed(e))).transpose()
    }

    // ---- questions and answers

    /// Records that a phase has asked; keeps what was asked and the options for the operator.
    pub(crate) async fn ask(&self, phase: &str, run: u32, key: &str, question: &Asked) -> Result<(), JournalError> {
        let mut connection = self.connection().await;
        sqlx::query(
            "INSERT INTO question (phase, run, key, asked) VALUES (?, ?, ?, ?) \
             ON CONFLICT (phase, run, key) DO UPDATE SET asked = excluded.asked",
        )
        .bind(phase)
        .bind(i64::from(run))
        .bind(key)
        .bind(to_json(question))
        .execute(&mut *connection)
        .await
        .map_err(|e| self.failed(e))?;
        Ok(())
    }

    /// What a phase has asked in this run, with the answers that are there, in the order of asking.
    pub async fn questions(
        &self,
        phase: &str,
        run: u32,
    ) -> Result<Vec<(String, Asked, Option<OperatorAnswer>)>, JournalError> {
        let mut connection = self.connection().await;
        let rows = sqlx::query("SELECT key, asked, answered FROM question WHERE phase = ? AND run = ? ORDER BY id")
            .bind(phase)
            .bind(i64::from(run))
            .fetch_all(&mut *connection)
            .await
            .map_err(|e| self.failed(e))?;
        let read = |row: &SqliteRow| -> Result<_, sqlx::Error> {
            let answered: Option<String> = row.try_get("answered")?;
            Ok((row.try_get("key")?, json(row, "asked")?, answered.and_then(|text| serde_json::from_str(&text).ok())))
        };
        rows.iter().map(|row| read(row).map_err(|e| self.failed(e))).collect()
    }

    /// Records the operator's answer. A question may be answered before it is asked.
    pub async fn answer(&self, phase: &str, run: u32, key: &str, answer: &OperatorAnswer) -> Result<(), JournalError> {
        let mut connection = self.connection().await;
        sqlx::query(
            "INSERT INTO question (phase, run, key, asked, answered) VALUES (?, ?, ?, ?, ?) \
             ON CONFLICT (phase, run, key) DO UPDATE SET answered = excluded.answered",
        )
        .bind(phase)
        .bind(i64::from(run))
        .bind(key)
        .bind(to_json(&Asked::default()))
        .bind(to_json(answer))
        .execute(&mut *connection)
        .await
        .map_err(|e| self.failed(e))?;
        Ok(())
    }

    // ---- before-images: the first observation wins

    pub(crate) async fn before_image(&self, what: &str) -> Result<Option<BeforeImage>, JournalError> {
        let mut connection = self.connection().await;
        let row = sqlx::query("SELECT content, written FROM before WHERE what = ?")
            .bind(what)
            .fetch_optional(&mut *connection)
            .await
            .map_err(|e| self.failed(e))?;
        let read = |row: SqliteRow| -> Result<BeforeImage, sqlx::Error> {
            Ok(BeforeImage { content: row.try_get("content")?, written: row.try_get("written")? })
        };
        row.map(|row| read(row).map_err(|e| self.failed(e))).transpose()
    }

    /// Keeps what was there, unless something is kept already, and what is written now.
    pub(crate) async fn keep_before(&self, what: &str, image: &BeforeImage) -> Result<(), JournalError> {
        let mut connection = self.connection().await;
        sqlx::query(
            "INSERT INTO before (what, content, written) VALUES (?, ?, ?) ON CONFLICT (what) DO UPDATE SET written = excluded.written",
        )
        .bind(what)
        .bind(&image.content)
        .bind(&image.written)
        .execute(&mut *connection)
        .await
        .map_err(|e| self.failed(e))?;
        Ok(())
    }

    pub(crate) async fn forget_before(&self, what: &str) -> Result<(), JournalError> {
        let mut connection = self.connection().await;
        sqlx::query("DELETE FROM before WHERE what = ?")
            .bind(what)
            .execute(&mut *connection)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(())
    }

    // ---- what syncs touched

    /// Records folders that a sync is about to change, before it does. Durable when it answers.
    pub(crate) async fn touch(&self, tree: &str, folders: &[Vec<u8>]) -> Result<(), JournalError> {
        if folders.is_empty() {
            return Ok(());
        }
        let mut connection = self.connection().await;
        let mut transaction = connection.begin().await.map_err(|e| self.failed(e))?;
        for folder in folders {
            sqlx::query("INSERT INTO touched (tree, folder) VALUES (?, ?)")
                .bind(tree)
                .bind(folder)
                .execute(&mut *transaction)
                .await
                .map_err(|e| self.failed(e))?;
        }
        transaction.commit().await.map_err(|e| self.failed(e))
    }

    /// A mark: `touched` since then answers what came later.
    pub(crate) async fn touch_mark(&self) -> Result<u64, JournalError> {
        let mut connection = self.connection().await;
        let row = sqlx::query("SELECT coalesce(max(id), 0) AS mark FROM touched")
            .fetch_one(&mut *connection)
            .await
            .map_err(|e| self.failed(e))?;
        row.try_get::<i64, _>("mark").map(|mark| mark as u64).map_err(|e| self.failed(e))
    }

    pub(crate) async fn touched(&self, tree: &str, since: u64) -> Result<Vec<Vec<u8>>, JournalError> {
        let mut connection = self.connection().await;
        let rows = sqlx::query("SELECT DISTINCT folder FROM touched WHERE tree = ? AND id > ? ORDER BY folder")
            .bind(tree)
            .bind(since as i64)
            .fetch_all(&mut *connection)
            .await
            .map_err(|e| self.failed(e))?;
        rows.iter().map(|row| row.try_get("folder").map_err(|e| self.failed(e))).collect()
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

#[expect(clippy::too_many_arguments, reason = "the columns of one row, written in two places")]
async fn insert_effect(
    connection: &mut SqliteConnection,
    key: &EffectKey,
    effect: &str,
    state: State,
    outcome: Option<&str>,
    failure: Option<&str>,
    begun_at: u64,
    ended_at: Option<u64>,
) -> Result<u64, sqlx::Error> {
    let result = sqlx::query(
        "INSERT INTO effect (phase, run, verb, request, side, vals, effect, state, outcome, failure, begun_at, ended_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&key.phase)
    .bind(i64::from(key.run))
    .bind(key.verb.as_str())
    .bind(&key.request)
    .bind(key.side.map_or("", SideName::as_str))
    .bind(&key.values)
    .bind(effect)
    .bind(word(&state))
    .bind(outcome)
    .bind(failure)
    .bind(begun_at as i64)
    .bind(ended_at.map(|at| at as i64))
    .execute(connection)
    .await?;
    Ok(result.last_insert_rowid() as u64)
}

async fn write_note(connection: &mut SqliteConnection, note: &Note) -> Result<(), sqlx::Error> {
    let failure = note.failure.as_deref();
    insert_effect(connection, &note.key, note.effect, note.state, None, failure, note.at, Some(note.ended_at))
        .await
        .map(drop)
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
