//! Effects: intent and outcome, each durable when it is answered; reads and refusals, noted in memory until then.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection, QueryBuilder, Row, Sqlite};

use super::{Effect, EffectKey, Journal, JournalError, Note, State, from_word, now_ms, parsed, word};
use crate::types::{SideName, Verb};

impl Journal {
    /// Records that an effect is about to begin. Durable when it answers.
    pub(crate) async fn intent(&self, key: &EffectKey, effect: &'static str) -> Result<u64, JournalError> {
        let notes = self.take_notes();
        let mut connection = self.connection().await;
        let mut transaction = connection.begin().await.map_err(|e| self.failed(e))?;
        write_notes(&mut transaction, &notes).await.map_err(|e| self.failed(e))?;
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

    /// Records that something was refused before any phase was called: a component, a plan that is not approved.
    pub async fn refuse(&self, what: &str, verb: Verb, why: &str) -> Result<(), JournalError> {
        let (request, values) = (what.to_string(), "[]".to_string());
        let key = EffectKey { phase: String::new(), run: 0, verb, request, side: None, values };
        self.note(key, "refused", State::Refused, Some(why.to_string()), now_ms()).await?;
        self.flush().await
    }

    /// Writes what was only noted.
    pub async fn flush(&self) -> Result<(), JournalError> {
        let notes = self.take_notes();
        if notes.is_empty() {
            return Ok(());
        }
        let mut connection = self.connection().await;
        let mut transaction = connection.begin().await.map_err(|e| self.failed(e))?;
        write_notes(&mut transaction, &notes).await.map_err(|e| self.failed(e))?;
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
        self.settle_by(phase, id, done, "a look has shown").await
    }

    /// The same, with who has shown it: "root@new says".
    pub async fn settle_by(&self, phase: &str, id: u64, done: bool, by: &str) -> Result<bool, JournalError> {
        let state = if done { State::Done } else { State::Failed };
        let mut connection = self.connection().await;
        let result = sqlx::query(
            "UPDATE effect SET state = ?, failure = ?, ended_at = ? WHERE id = ? AND phase = ? AND state IN ('begun', 'unknown')",
        )
        .bind(word(&state))
        .bind((!done).then(|| format!("{by} that it did not happen")))
        .bind(now_ms() as i64)
        .bind(id as i64)
        .bind(phase)
        .execute(&mut *connection)
        .await
        .map_err(|e| self.failed(e))?;
        Ok(result.rows_affected() == 1)
    }
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

/// Many rows a statement: a phase may read thousands of things.
async fn write_notes(connection: &mut SqliteConnection, notes: &[Note]) -> Result<(), sqlx::Error> {
    for some in notes.chunks(256) {
        let mut insert: QueryBuilder<Sqlite> = QueryBuilder::new(
            "INSERT INTO effect (phase, run, verb, request, side, vals, effect, state, failure, begun_at, ended_at) ",
        );
        insert.push_values(some, |mut row, note| {
            row.push_bind(&note.key.phase)
                .push_bind(i64::from(note.key.run))
                .push_bind(note.key.verb.as_str())
                .push_bind(&note.key.request)
                .push_bind(note.key.side.map_or("", SideName::as_str))
                .push_bind(&note.key.values)
                .push_bind(note.effect)
                .push_bind(word(&note.state))
                .push_bind(&note.failure)
                .push_bind(note.at as i64)
                .push_bind(note.ended_at as i64);
        });
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}
