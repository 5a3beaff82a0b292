//! A new journal from one that is damaged, older or gone: what can still be read of its file, row by row, and what the sides'
//! records say. Invariant: no phase counts as done in it, no effect whose end nobody saw counts as ended, and the damaged
//! file is only read, from a copy.

use std::path::Path;

use futures_util::StreamExt;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{ConnectOptions, Connection, Row, TypeInfo, ValueRef};

use super::{Asked, Irreversible, Journal, JournalError, RunState, State, now_ms, word};
use crate::types::{OperatorAnswer, SideName, Stage, Verb};

/// What a new journal is made of.
pub struct Rebuild<'a> {
    /// a copy of the damaged file; none: it is gone
    pub from: Option<&'a Path>,
    /// an empty folder
    pub into: &'a Path,
    /// the migration's id; none: as the file says, or a new one
    pub id: Option<&'a str>,
    /// above every epoch that is known
    pub epoch: u64,
    /// how far the sides know that the journal had come
    pub mark: u64,
    /// "root@new"
    pub who: &'a str,
    /// what the sides say of phases: id, run, stage, how it stood
    pub phases: &'a [(String, u32, Stage, RunState)],
}

/// What could be taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Salvaged {
    /// runs of phases
    pub runs: u64,
    /// effects, of those that there were
    pub effects: u64,
    /// effects that there were, as far as anybody knows
    pub effects_known: u64,
    /// what files, records and settings were before the migration touched them
    pub before: u64,
    /// what components remember
    pub memory: u64,
    /// questions and answers
    pub questions: u64,
    /// rows that could be read, and mean nothing
    pub refused: u64,
    /// tables that could not be read to their end
    pub torn: Vec<String>,
}

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Null,
    Integer(i64),
    Text(String),
    Blob(Vec<u8>),
}

struct Table {
    name: &'static str,
    columns: &'static [&'static str],
    /// whether a row means something
    sane: fn(&[Cell]) -> bool,
}

/// `leaf` is left out: what syncs have seen they see again.
static TABLES: [Table; 8] = [
    Table {
        name: "run",
        columns: &["id", "phase", "run", "stage", "state", "said", "digest", "begun_at", "ended_at"],
        sane: |row| {
            name(&row[1]) && positive(&row[2]) && is::<Stage>(&row[3]) && of_words::<RunState>(&row[4]) && text(&row[6])
        },
    },
    Table {
        name: "effect",
        columns: &[
            "id", "phase", "run", "verb", "request", "side", "vals", "effect", "state", "outcome", "failure",
            "begun_at", "ended_at",
        ],
        sane: |row| {
            let effects = ["read", "repeatable", "once", "refused", "own"];
            positive(&row[0])
                && text(&row[1])
                && is::<Verb>(&row[3])
                && name(&row[4])
                && (row[5] == Cell::Text(String::new()) || is::<SideName>(&row[5]))
                && json::<serde_json::Value>(&row[6])
                && matches!(&row[7], Cell::Text(effect) if effects.contains(&effect.as_str()))
                && of_words::<State>(&row[8])
        },
    },
    Table {
        name: "memory",
        columns: &["component", "key", "value"],
        sane: |row| name(&row[0]) && name(&row[1]) && matches!(row[2], Cell::Blob(_)),
    },
    Table {
        name: "question",
        columns: &["id", "phase", "run", "key", "asked", "answered"],
        sane: |row| {
            name(&row[1])
                && positive(&row[2])
                && name(&row[3])
                && json::<Asked>(&row[4])
                && (row[5] == Cell::Null || json::<OperatorAnswer>(&row[5]))
        },
    },
    Table {
        name: "before",
        columns: &["what", "content", "written"],
        sane: |row| {
            let bytes = |cell: &Cell| matches!(cell, Cell::Null | Cell::Blob(_));
            name(&row[0]) && bytes(&row[1]) && bytes(&row[2])
        },
    },
    Table {
        name: "touched",
        columns: &["id", "tree", "folder"],
        sane: |row| positive(&row[0]) && name(&row[1]) && matches!(row[2], Cell::Blob(_)),
    },
    Table {
        name: "undo",
        columns: &["id", "phases", "begun_at", "ended_at"],
        sane: |row| json::<Vec<(String, u32)>>(&row[1]),
    },
    Table {
        name: "previewed",
        columns: &["phase", "run", "irreversible"],
        sane: |row| name(&row[0]) && positive(&row[1]) && json::<Vec<Irreversible>>(&row[2]),
    },
];

fn text(cell: &Cell) -> bool {
    matches!(cell, Cell::Text(text) if !text.contains('\0'))
}
fn name(cell: &Cell) -> bool {
    text(cell) && *cell != Cell::Text(String::new())
}
fn positive(cell: &Cell) -> bool {
    matches!(cell, Cell::Integer(1..))
}
fn is<T: std::str::FromStr>(cell: &Cell) -> bool {
    matches!(cell, Cell::Text(text) if text.parse::<T>().is_ok())
}
fn json<T: for<'a> serde::Deserialize<'a>>(cell: &Cell) -> bool {
    matches!(cell, Cell::Text(text) if serde_json::from_str::<T>(text).is_ok())
}
fn of_words<T: for<'a> serde::Deserialize<'a>>(cell: &Cell) -> bool {
    matches!(cell, Cell::Text(text) if serde_json::from_value::<T>(text.as_str().into()).is_ok())
}

impl Journal {
    /// Makes a journal of what is left of another, and of what the sides know; closed, and durable, when it answers.
    ///
    /// # Errors
    /// The new one cannot be written.
    pub async fn rebuild(how: &Rebuild<'_>) -> Result<Salvaged, JournalError> {
        let journal = Journal::open(how.into).await?;
        let mut salvaged = Salvaged::default();
        if let Some(from) = how.from {
            journal.take_over(from, &mut salvaged).await?;
        }
        if let Some(id) = how.id {
            journal.keep_fact("id", Some(id)).await?;
        }
        journal.keep_fact("epoch", Some(&how.epoch.to_string())).await?;
        journal.nothing_is_done(how.phases).await?;
        salvaged.effects_known = how.mark.max(journal.mark().await?);
        journal.leap(salvaged.effects_known, how.who).await?;
        journal.close().await?;
        Ok(salvaged)
    }

    /// Closes the file, with everything in it: nothing stays in the `-wal` beside it.
    pub async fn close(self) -> Result<(), JournalError> {
        let path = self.path;
        let mut connection = self.connection.into_inner();
        let checkpoint = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await;
        checkpoint.map_err(|error| JournalError::of(&path, &error))?;
        connection.close().await.map_err(|error| JournalError::of(&path, &error))
    }

    async fn take_over(&self, from: &Path, salvaged: &mut Salvaged) -> Result<(), JournalError> {
        let options = SqliteConnectOptions::new().filename(from).disable_statement_logging();
        let Ok(mut damaged) = options.connect().await else {
            salvaged.torn = TABLES.iter().map(|table| table.name.to_string()).collect();
            return Ok(());
        };
        for table in &TABLES {
            let (rows, whole) = read(&mut damaged, table).await;
            if !whole {
                salvaged.torn.push(table.name.to_string());
            }
            let (taken, refused) = self.write(table, rows).await?;
            salvaged.refused += refused;
            match table.name {
                "run" => salvaged.runs = taken,
                "effect" => salvaged.effects = taken,
                "before" => salvaged.before = taken,
                "memory" => salvaged.memory = taken,
                "question" => salvaged.questions = taken,
                _ => {}
            }
        }
        // Its id, where nobody else knows it.
        let row = sqlx::query("SELECT value FROM migration WHERE key = 'id'").fetch_optional(&mut damaged).await;
        if let Ok(Some(row)) = row
            && let Ok(id) = row.try_get::<String, _>("value")
            && id.len() == 32
            && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        {
            self.keep_fact("id", Some(&id)).await?;
        }
        Ok(())
    }

    /// Writes the rows that mean something. Answers how many those were, and how many not.
    async fn write(&self, table: &Table, rows: Vec<Vec<Cell>>) -> Result<(u64, u64), JournalError> {
        let marks = vec!["?"; table.columns.len()].join(", ");
        let text = format!("INSERT OR IGNORE INTO {} ({}) VALUES ({marks})", table.name, table.columns.join(", "));
        let mut connection = self.connection().await;
        let mut transaction = connection.begin().await.map_err(|e| self.failed(e))?;
        let (mut taken, mut refused) = (0, 0);
        for row in rows {
            if !(table.sane)(&row) {
                refused += 1;
                continue;
            }
            let mut insert = sqlx::query(sqlx::AssertSqlSafe(text.clone()));
            for cell in row {
                insert = match cell {
                    Cell::Null => insert.bind(None::<i64>),
                    Cell::Integer(number) => insert.bind(number),
                    Cell::Text(text) => insert.bind(text),
                    Cell::Blob(bytes) => insert.bind(bytes),
                };
            }
            match insert.execute(&mut *transaction).await {
                Ok(done) if done.rows_affected() == 1 => taken += 1,
                // A second row with the same key, or a value that the table does not take.
                Ok(_) | Err(sqlx::Error::Database(_)) => refused += 1,
                Err(error) => return Err(self.failed(error)),
            }
        }
        transaction.commit().await.map_err(|e| self.failed(e))?;
        Ok((taken, refused))
    }

    /// Runs that were taken over, and those that only the sides know: each is to be looked at again.
    async fn nothing_is_done(&self, phases: &[(String, u32, Stage, RunState)]) -> Result<(), JournalError> {
        const SAID: &str = "the journal was rebuilt: what is there is looked at again";
        let mut connection = self.connection().await;
        let mut transaction = connection.begin().await.map_err(|e| self.failed(e))?;
        for (phase, run, stage, state) in phases {
            let insert = "INSERT INTO run (phase, run, stage, state, digest, begun_at) VALUES (?, ?, ?, ?, '', ?) \
                          ON CONFLICT (phase, run) DO UPDATE SET state = excluded.state";
            let insert = sqlx::query(insert).bind(phase).bind(i64::from(*run)).bind(stage.as_str()).bind(word(state));
            let insert = insert.bind((now_ms() / 1000) as i64);
            insert.execute(&mut *transaction).await.map_err(|e| self.failed(e))?;
        }
        for (from, to) in
            [("'begun', 'waiting', 'done', 'failed'", "failed"), ("'undo-begun', 'undo-waiting'", "undo-failed")]
        {
            let text = format!("UPDATE run SET state = ?, said = ? WHERE state IN ({from})");
            let update = sqlx::query(sqlx::AssertSqlSafe(text)).bind(to).bind(SAID);
            update.execute(&mut *transaction).await.map_err(|e| self.failed(e))?;
        }
        transaction.commit().await.map_err(|e| self.failed(e))
    }

    /// Numbers go on above those that the sides know.
    async fn leap(&self, mark: u64, who: &str) -> Result<(), JournalError> {
        let mut connection = self.connection().await;
        let insert = "INSERT INTO effect (id, phase, run, verb, request, side, vals, effect, state, begun_at, ended_at) \
                      VALUES (?, '', 0, 'apply', 'resolve.journal', '', ?, 'own', 'done', ?, ?)";
        let now = now_ms() as i64;
        let values = serde_json::json!([who]).to_string();
        let insert = sqlx::query(insert).bind(mark as i64 + 1).bind(values).bind(now).bind(now);
        insert.execute(&mut *connection).await.map_err(|e| self.failed(e))?;
        Ok(())
    }
}

/// Every row that can be read: from the beginning to the first torn page, and from the end back to the last one. And whether
/// that was all.
async fn read(damaged: &mut SqliteConnection, table: &Table) -> (Vec<Vec<Cell>>, bool) {
    let columns = table.columns.join(", ");
    let mut rows = Vec::new();
    let mut known = std::collections::HashSet::new();
    for order in ["ASC", "DESC"] {
        let text = format!("SELECT {columns}, rowid AS row_number FROM {} ORDER BY rowid {order}", table.name);
        let mut stream = sqlx::query(sqlx::AssertSqlSafe(text)).fetch(&mut *damaged);
        loop {
            match stream.next().await {
                None => return (rows, true),
                Some(Err(_)) => break,
                Some(Ok(row)) => {
                    let Ok(number) = row.try_get::<i64, _>("row_number") else { break };
                    if known.insert(number) {
                        rows.push((0..table.columns.len()).map(|at| cell(&row, at)).collect());
                    }
                }
            }
        }
    }
    (rows, false)
}

fn cell(row: &SqliteRow, at: usize) -> Cell {
    let kind = row.try_get_raw(at).map(|value| (value.is_null(), value.type_info().name().to_string()));
    let read = match kind {
        Ok((true, _)) | Err(_) => None,
        Ok((_, kind)) => match kind.as_str() {
            "INTEGER" => row.try_get(at).ok().map(Cell::Integer),
            "TEXT" => row.try_get(at).ok().map(Cell::Text),
            "BLOB" => row.try_get(at).ok().map(Cell::Blob),
            _ => None,
        },
    };
    read.unwrap_or(Cell::Null)
}

#[cfg(test)]
mod tests;
