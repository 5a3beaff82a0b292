//! What outlives a call: what components remember, what things were before the first touch, what syncs touched.

use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row};

use super::{BeforeImage, Journal, JournalError};

impl Journal {
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

    /// `keep_before` for many at once: what is kept already stays as it is.
    pub(crate) async fn keep_all_before(&self, images: &[(String, BeforeImage)]) -> Result<(), JournalError> {
        let mut connection = self.connection().await;
        let mut transaction = connection.begin().await.map_err(|e| self.failed(e))?;
        for (what, image) in images {
            sqlx::query("INSERT INTO before (what, content, written) VALUES (?, ?, ?) ON CONFLICT (what) DO NOTHING")
                .bind(what)
                .bind(&image.content)
                .bind(&image.written)
                .execute(&mut *transaction)
                .await
                .map_err(|e| self.failed(e))?;
        }
        transaction.commit().await.map_err(|e| self.failed(e))
    }

    /// What is kept under names that begin with `under`, at most so many.
    pub(crate) async fn before_below(
        &self,
        under: &str,
        most: u32,
    ) -> Result<Vec<(String, BeforeImage)>, JournalError> {
        let mut connection = self.connection().await;
        let rows =
            sqlx::query("SELECT what, content, written FROM before WHERE substr(what, 1, ?) = ? ORDER BY what LIMIT ?")
                .bind(under.chars().count() as i64)
                .bind(under)
                .bind(i64::from(most))
                .fetch_all(&mut *connection)
                .await
                .map_err(|e| self.failed(e))?;
        let read = |row: &SqliteRow| -> Result<(String, BeforeImage), sqlx::Error> {
            let image = BeforeImage { content: row.try_get("content")?, written: row.try_get("written")? };
            Ok((row.try_get("what")?, image))
        };
        rows.iter().map(|row| read(row).map_err(|e| self.failed(e))).collect()
    }

    pub(crate) async fn forget_all_before(&self, whats: &[String]) -> Result<(), JournalError> {
        let mut connection = self.connection().await;
        let mut transaction = connection.begin().await.map_err(|e| self.failed(e))?;
        for what in whats {
            sqlx::query("DELETE FROM before WHERE what = ?")
                .bind(what)
                .execute(&mut *transaction)
                .await
                .map_err(|e| self.failed(e))?;
        }
        transaction.commit().await.map_err(|e| self.failed(e))
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
