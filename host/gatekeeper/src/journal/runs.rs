//! Runs of phases: when each began, and how it stands.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Journal, JournalError, Run, RunState, from_word, parsed, word};
use crate::types::Stage;

impl Journal {
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
}
