//! Undos: which phases one is to take back, whether it has ended, and what previews said that none can take back.
//! Invariant: at most one undo is open; until it has ended, the migration stands between two states.

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row};

use super::{Journal, JournalError, json, to_json};

/// Taking back some phases, the last one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo {
    /// each with the run that is taken back, in the order in which that happens
    pub phases: Vec<(String, u32)>,
    /// UTC, seconds since 1970
    pub begun_at: u64,
}

/// A change that cannot be taken back, as a preview told it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Irreversible {
    /// "mail of example.org on new"
    pub subject: String,
    /// what becomes of it
    pub text: String,
}

impl Journal {
    /// Records that an undo begins; one that was open has ended with that. Durable when it answers.
    pub async fn begin_undo(&self, phases: &[(String, u32)], now: u64) -> Result<(), JournalError> {
        let mut connection = self.connection().await;
        let mut transaction = connection.begin().await.map_err(|e| self.failed(e))?;
        sqlx::query("UPDATE undo SET ended_at = ? WHERE ended_at IS NULL")
            .bind(now as i64)
            .execute(&mut *transaction)
            .await
            .map_err(|e| self.failed(e))?;
        sqlx::query("INSERT INTO undo (phases, begun_at) VALUES (?, ?)")
            .bind(to_json(&phases))
            .bind(now as i64)
            .execute(&mut *transaction)
            .await
            .map_err(|e| self.failed(e))?;
        transaction.commit().await.map_err(|e| self.failed(e))
    }

    /// Records that no undo is under way any more. Durable when it answers.
    pub async fn end_undo(&self, now: u64) -> Result<(), JournalError> {
        let mut connection = self.connection().await;
        sqlx::query("UPDATE undo SET ended_at = ? WHERE ended_at IS NULL")
            .bind(now as i64)
            .execute(&mut *connection)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(())
    }

    /// The undo that was begun and has not ended.
    pub async fn open_undo(&self) -> Result<Option<Undo>, JournalError> {
        let mut connection = self.connection().await;
        let row = sqlx::query("SELECT * FROM undo WHERE ended_at IS NULL ORDER BY id DESC LIMIT 1")
            .fetch_optional(&mut *connection)
            .await
            .map_err(|e| self.failed(e))?;
        let read = |row: SqliteRow| -> Result<Undo, sqlx::Error> {
            Ok(Undo { phases: json(&row, "phases")?, begun_at: row.try_get::<i64, _>("begun_at")? as u64 })
        };
        row.map(|row| read(row).map_err(|e| self.failed(e))).transpose()
    }

    /// Keeps what a preview of this run marked as irreversible, beside what earlier previews of it did; a later word on the
    /// same subject counts.
    pub async fn keep_previewed(&self, phase: &str, run: u32, marked: &[Irreversible]) -> Result<(), JournalError> {
        let mut all = self.previewed(phase, run).await?.unwrap_or_default();
        all.retain(|known| !marked.iter().any(|new| new.subject == known.subject));
        all.extend(marked.iter().cloned());
        let mut connection = self.connection().await;
        sqlx::query(
            "INSERT INTO previewed (phase, run, irreversible) VALUES (?, ?, ?) \
             ON CONFLICT (phase, run) DO UPDATE SET irreversible = excluded.irreversible",
        )
        .bind(phase)
        .bind(i64::from(run))
        .bind(to_json(&all))
        .execute(&mut *connection)
        .await
        .map_err(|e| self.failed(e))?;
        Ok(())
    }

    /// What previews of this run marked as irreversible; none if there was no preview.
    pub async fn previewed(&self, phase: &str, run: u32) -> Result<Option<Vec<Irreversible>>, JournalError> {
        let mut connection = self.connection().await;
        let row = sqlx::query("SELECT irreversible FROM previewed WHERE phase = ? AND run = ?")
            .bind(phase)
            .bind(i64::from(run))
            .fetch_optional(&mut *connection)
            .await
            .map_err(|e| self.failed(e))?;
        row.map(|row| json(&row, "irreversible").map_err(|e| self.failed(e))).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(subject: &str, text: &str) -> Irreversible {
        Irreversible { subject: subject.into(), text: text.into() }
    }

    #[tokio::test]
    async fn one_undo_is_open_at_most_and_survives_until_it_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let phases = vec![("second".to_string(), 2), ("first".to_string(), 1)];
        {
            let journal = Journal::open(folder.path()).await.unwrap();
            assert_eq!(journal.open_undo().await.unwrap(), None);
            journal.begin_undo(&phases, 5).await.unwrap();
        }
        let journal = Journal::open(folder.path()).await.unwrap();
        let open = journal.open_undo().await.unwrap().unwrap();
        assert_eq!((open.phases, open.begun_at), (phases.clone(), 5));
        journal.begin_undo(&phases[1..], 6).await.unwrap();
        assert_eq!(journal.open_undo().await.unwrap().unwrap().phases, phases[1..]);
        journal.end_undo(7).await.unwrap();
        assert_eq!(journal.open_undo().await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_previews_marked_adds_up_and_a_later_word_counts() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).await.unwrap();
        assert_eq!(journal.previewed("mail", 1).await.unwrap(), None);
        journal.keep_previewed("mail", 1, &[about("mail", "3 files"), about("flags", "stay")]).await.unwrap();
        journal.keep_previewed("mail", 1, &[about("mail", "4 files")]).await.unwrap();
        let kept = journal.previewed("mail", 1).await.unwrap().unwrap();
        assert_eq!(kept, [about("flags", "stay"), about("mail", "4 files")]);
        journal.keep_previewed("mail", 2, &[]).await.unwrap();
        assert_eq!(journal.previewed("mail", 2).await.unwrap(), Some(vec![]));
    }
}
