//! Who the migration is: its id, made with the journal, and what it knows of its claim on the sides. What rehome itself did
//! (claims, take-overs, the operator's word) stands among the effects, with no phase.
//! Invariant: the mark only grows, and every change of a side raises it first.

use sqlx::Row;

use super::{EffectKey, Journal, JournalError, State, now_ms};
use crate::types::{SideName, Verb};

impl Journal {
    /// What is kept under a key: "id", "epoch", "machine.old".
    pub async fn fact(&self, key: &str) -> Result<Option<String>, JournalError> {
        let mut connection = self.connection().await;
        let row = sqlx::query("SELECT value FROM migration WHERE key = ?")
            .bind(key)
            .fetch_optional(&mut *connection)
            .await
            .map_err(|e| self.failed(e))?;
        row.map(|row| row.try_get("value").map_err(|e| self.failed(e))).transpose()
    }

    /// Keeps a value under a key; none removes it. Durable when it answers.
    pub async fn keep_fact(&self, key: &str, value: Option<&str>) -> Result<(), JournalError> {
        let mut connection = self.connection().await;
        let query = match value {
            Some(value) => sqlx::query(
                "INSERT INTO migration (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            )
            .bind(key)
            .bind(value),
            None => sqlx::query("DELETE FROM migration WHERE key = ?").bind(key),
        };
        query.execute(&mut *connection).await.map_err(|e| self.failed(e))?;
        Ok(())
    }

    /// How far the journal has come: the number of its last effect that is durable.
    pub async fn mark(&self) -> Result<u64, JournalError> {
        let mut connection = self.connection().await;
        let row = sqlx::query("SELECT coalesce(max(id), 0) AS mark FROM effect")
            .fetch_one(&mut *connection)
            .await
            .map_err(|e| self.failed(e))?;
        row.try_get::<i64, _>("mark").map(|mark| mark as u64).map_err(|e| self.failed(e))
    }

    /// Records something that rehome itself did: "claim", "resolve.machine". Durable when it answers.
    pub async fn own(
        &self,
        what: &str,
        side: Option<SideName>,
        verb: Verb,
        values: &[String],
    ) -> Result<(), JournalError> {
        let (request, values) = (what.to_string(), serde_json::json!(values).to_string());
        let key = EffectKey { phase: String::new(), run: 0, verb, request, side, values };
        self.note(key, "own", State::Done, None, now_ms()).await?;
        self.flush().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_journal_has_an_id_of_its_own_and_keeps_facts() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut ids = Vec::new();
        for folder in &folders {
            let journal = Journal::open(folder.path()).await.unwrap();
            ids.push(journal.fact("id").await.unwrap().unwrap());
            drop(journal);
            let journal = Journal::open(folder.path()).await.unwrap();
            assert_eq!(journal.fact("id").await.unwrap().as_ref(), ids.last());
            journal.keep_fact("machine.old", Some("a")).await.unwrap();
            journal.keep_fact("machine.old", Some("b")).await.unwrap();
            assert_eq!(journal.fact("machine.old").await.unwrap().as_deref(), Some("b"));
            journal.keep_fact("machine.old", None).await.unwrap();
            assert_eq!(journal.fact("machine.old").await.unwrap(), None);
        }
        assert!(ids[0] != ids[1] && ids.iter().all(|id| id.len() == 32), "{ids:?}");
    }

    #[tokio::test]
    async fn a_journal_is_made_once_though_many_open_it_at_the_same_time() {
        let folder = tempfile::tempdir().unwrap();
        let open = || async { Journal::open(folder.path()).await.unwrap().fact("id").await.unwrap().unwrap() };
        let ids = tokio::join!(open(), open(), open(), open());
        assert!(ids.0 == ids.1 && ids.1 == ids.2 && ids.2 == ids.3, "{ids:?}");
    }

    #[tokio::test]
    async fn what_rehome_itself_did_raises_the_mark() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).await.unwrap();
        assert_eq!(journal.mark().await.unwrap(), 0);
        journal.own("claim", Some(SideName::Old), Verb::Apply, &["1".into()]).await.unwrap();
        assert_eq!(journal.mark().await.unwrap(), 1);
        assert_eq!(journal.open_effects().await.unwrap().len(), 0, "it is no question to anybody");
    }
}
