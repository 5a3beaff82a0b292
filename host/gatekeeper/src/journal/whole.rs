//! Whether the journal's file is what SQLite wrote: a torn page, a file of something else, rows that mean nothing.
//! Invariant: whatever SQLite calls corrupt is told as damage, and never as a migration that has not begun.

use std::path::Path;

use sqlx::Row;

use super::{Journal, JournalError};

/// SQLITE_CORRUPT and SQLITE_NOTADB, https://sqlite.org/rescode.html; extended codes have them in their low byte.
const DAMAGED: [i32; 2] = [11, 26];

impl JournalError {
    pub(super) fn of(path: &Path, error: &sqlx::Error) -> JournalError {
        let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
        let damaged =
            code.is_some_and(|code| DAMAGED.contains(&(code & 0xff))) || matches!(error, sqlx::Error::Decode(_));
        JournalError { path: path.to_path_buf(), what: error.to_string(), damaged }
    }
}

impl Journal {
    /// Looks whether the file is whole: each page, and when `thorough` each index against its table too.
    ///
    /// # Errors
    /// It is damaged, and how.
    pub async fn check(&self, thorough: bool) -> Result<(), JournalError> {
        let pragma = if thorough { "PRAGMA integrity_check(3)" } else { "PRAGMA quick_check(3)" };
        let said = {
            let mut connection = self.connection().await;
            let rows = sqlx::query(pragma).fetch_all(&mut *connection).await.map_err(|e| self.failed(e))?;
            let said: Result<Vec<String>, sqlx::Error> = rows.iter().map(|row| row.try_get(0)).collect();
            said.map_err(|e| self.failed(e))?
        };
        if said != ["ok"] {
            return Err(JournalError { path: self.path.clone(), what: said.join("; "), damaged: true });
        }
        match self.fact("id").await? {
            Some(_) => Ok(()),
            None => Err(JournalError {
                path: self.path.clone(),
                what: "it does not say which migration it is of".into(),
                damaged: true,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Stage, Verb};

    async fn written(folder: &Path) {
        let journal = Journal::open(folder).await.unwrap();
        for number in 0..200 {
            journal.own("claim", None, Verb::Apply, &[format!("{number}-{}", "x".repeat(300))]).await.unwrap();
        }
        journal.begin_run("mail", 1, Stage::Copy, "sha256:00", 7).await.unwrap();
        journal.check(true).await.unwrap();
        let mut connection = journal.connection().await;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut *connection).await.unwrap();
    }

    #[tokio::test]
    async fn a_torn_page_and_a_file_of_something_else_are_told_as_damage() {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path()).await;
        let path = folder.path().join("journal.db");
        let whole = std::fs::read(&path).unwrap();
        let mut torn = whole.clone();
        torn[8 * 4096..8 * 4096 + 2048].fill(0xa5);
        std::fs::write(&path, &torn).unwrap();
        let torn = async { Journal::open(folder.path()).await?.check(false).await }.await.unwrap_err();
        assert!(torn.damaged, "{torn}");
        std::fs::write(&path, vec![0x5a; 40_000]).unwrap();
        let other = Journal::open(folder.path()).await.err().unwrap();
        assert!(other.damaged, "{other}");
        std::fs::write(&path, &whole).unwrap();
        Journal::open(folder.path()).await.unwrap().check(true).await.unwrap();
    }
}
