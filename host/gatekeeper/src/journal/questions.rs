//! What phases asked, and what the operator said.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Asked, Journal, JournalError, json, to_json};
use crate::types::OperatorAnswer;

impl Journal {
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
}
