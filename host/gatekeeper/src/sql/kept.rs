//! A database in a file of ours: lines of JSON, first what there is, then the rows of each table and their number, then an
//! end. Invariant: a file without its end is not restored from. SQLite databases are kept as SQLite files instead.

use std::path::Path;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, BufWriter, Lines};

use super::driver::{Inventory, Origin, Table};
use super::statement::Dialect;
use super::value::{Row, Rows};
use crate::types::{Failure, SqlValue};

/// The shape of the lines. Another one is refused.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Head {
    rehome_snapshot: u32,
    written_in: Dialect,
    inventory: Inventory,
}

/// Ends the rows of a table.
#[derive(Serialize, Deserialize)]
struct Count {
    rows: u64,
}

/// Ends the file.
#[derive(Serialize, Deserialize)]
struct End {
    tables: usize,
}

/// Writes all of `from` into an open file, durably.
pub(super) async fn write(from: &mut dyn Origin, file: std::fs::File, id: &str) -> Result<(), Failure> {
    let inventory = from.inventory(&[]).await?;
    let mut out = Out { file: BufWriter::new(tokio::fs::File::from_std(file)), id };
    let tables = inventory.tables.clone();
    out.line(&Head { rehome_snapshot: FORMAT, written_in: from.written_in(), inventory }).await?;
    for table in &tables {
        let mut count = 0;
        let mut rows = from.table_rows(table);
        while let Some(row) = rows.try_next().await? {
            out.line(&row.values.iter().map(SqlValue::to_json).collect::<Vec<_>>()).await?;
            count += 1;
        }
        out.line(&Count { rows: count }).await?;
    }
    out.line(&End { tables: tables.len() }).await?;
    let written = async {
        out.file.flush().await?;
        out.file.get_ref().sync_all().await
    };
    written.await.map_err(|error| Failure::other(id, format!("the snapshot cannot be written: {error}")))
}

struct Out<'a> {
    file: BufWriter<tokio::fs::File>,
    id: &'a str,
}

impl Out<'_> {
    async fn line(&mut self, line: &impl Serialize) -> Result<(), Failure> {
        let failed = |why: String| Failure::other(self.id, format!("the snapshot cannot be written: {why}"));
        let mut line = serde_json::to_vec(line).map_err(|error| failed(error.to_string()))?;
        line.push(b'\n');
        self.file.write_all(&line).await.map_err(|error| failed(error.to_string()))
    }
}

/// A kept database, read from its beginning: tables in their order, each once.
pub(super) struct Kept {
    lines: Lines<BufReader<tokio::fs::File>>,
    written_in: Dialect,
    inventory: Inventory,
    id: String,
}

impl Kept {
    /// Opens a file and reads it to its end once, so that nothing is dropped for one that is not whole.
    pub(super) async fn open(path: &Path, id: &str) -> Result<Kept, Failure> {
        let mut whole = Kept::begin(path, id).await?;
        let tables = whole.inventory.tables.clone();
        for table in &tables {
            let mut rows = whole.table_rows(table);
            while rows.try_next().await?.is_some() {}
        }
        let end = whole.line().await?;
        match serde_json::from_str::<End>(&end) {
            Ok(end) if end.tables == tables.len() => Kept::begin(path, id).await,
            _ => Err(whole.broken()),
        }
    }

    async fn begin(path: &Path, id: &str) -> Result<Kept, Failure> {
        let file = tokio::fs::File::open(path).await;
        let file = file.map_err(|error| Failure::other(id, format!("{}: {error}", path.display())))?;
        let lines = BufReader::new(file).lines();
        let mut kept = Kept { lines, written_in: Dialect::MySql, inventory: Inventory::default(), id: id.into() };
        let head: Head = serde_json::from_str(&kept.line().await?).map_err(|_| kept.broken())?;
        if head.rehome_snapshot != FORMAT {
            return Err(kept.broken());
        }
        (kept.written_in, kept.inventory) = (head.written_in, head.inventory);
        Ok(kept)
    }

    async fn line(&mut self) -> Result<String, Failure> {
        match self.lines.next_line().await {
            Ok(Some(line)) => Ok(line),
            Ok(None) => Err(self.broken()),
            Err(error) => Err(Failure::other(&self.id, format!("the snapshot cannot be read: {error}"))),
        }
    }

    fn broken(&self) -> Failure {
        Failure::other(&self.id, "this is no whole snapshot of rehome: it ends too early, or a line of it was changed")
    }

    /// The next row of a table; none at its end.
    async fn row(&mut self, columns: usize, count: u64) -> Result<Option<Vec<SqlValue>>, Failure> {
        match serde_json::from_str::<serde_json::Value>(&self.line().await?) {
            Ok(serde_json::Value::Array(cells)) if cells.len() == columns => {
                let values: Option<Vec<SqlValue>> = cells.into_iter().map(SqlValue::from_json).collect();
                values.map(Some).ok_or_else(|| self.broken())
            }
            Ok(end) => match serde_json::from_value::<Count>(end) {
                Ok(end) if end.rows == count => Ok(None),
                _ => Err(self.broken()),
            },
            Err(_) => Err(self.broken()),
        }
    }
}

#[async_trait]
impl Origin for Kept {
    fn written_in(&self) -> Dialect {
        self.written_in
    }

    async fn inventory(&mut self, _names: &[String]) -> Result<Inventory, Failure> {
        Ok(self.inventory.clone())
    }

    fn table_rows<'a>(&'a mut self, table: &'a Table) -> Rows<'a> {
        let columns: std::sync::Arc<[String]> = table.columns.clone().into();
        let next = |(kept, columns, count): (&'a mut Kept, std::sync::Arc<[String]>, u64)| async move {
            let row = kept.row(columns.len(), count).await?;
            Ok(row.map(|values| (Row { columns: columns.clone(), values }, (kept, columns, count + 1))))
        };
        futures_util::stream::try_unfold((self, columns, 0), next).boxed()
    }
}
