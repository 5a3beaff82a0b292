//! `sql`: databases of either side. Statements are the manifest's, one a call, with bound values; rows and whole tables move
//! between the sides here, on the host, and never through a component.
//! Invariant: nothing of any row is logged or journaled, not even by what a server says of it. Begin with `sql/place.rs`
//! (from a request to a connection) and `sql/driver.rs` (what is asked of a server).

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use rehome_manifest::manifest::{CopyKind, Sql};

use crate::door::{Call, Permit, Session};
use crate::host::Event;
use crate::types::{Effect, Failure, Level, SideName, SqlCopied, SqlDescription, SqlDifference, SqlRows, SqlValue};

mod compare;
mod copy;
mod driver;
mod kept;
mod login;
mod mysql;
mod place;
mod postgres;
mod reader;
mod snapshot;
mod sqlite;
mod statement;
mod value;

use place::{Use, open, within};
use snapshot::Shelf;
use statement::Statement;

/// Rows that a query answers.
const MOST_ROWS: usize = 100_000;
/// Bytes of them.
const MOST_BYTES: usize = 16 << 20;
/// For a query, and for a look at a schema.
const QUERY: Duration = Duration::from_secs(60);
/// For a statement that changes something.
const EXECUTE: Duration = Duration::from_secs(600);
/// For a copy, a comparison, a snapshot: a database of 100 GB over a slow link.
const COPY: Duration = Duration::from_secs(12 * 3600);

impl Session {
    /// `sql.describe`.
    pub async fn describe(&self, name: &str, on: SideName) -> Result<SqlDescription, Failure> {
        let id = format!("schema.{name}");
        let request = self.filled().manifest.schema.get(name).cloned();
        let task_id = id.clone();
        self.pass(Call { request: &id, side: Some(on), values: &[], input: None }, |permit| async move {
            let request = request.ok_or_else(|| Failure::NotFound(task_id.clone()))?;
            within(&task_id, QUERY, async {
                open(&permit, &task_id, on, &request.database, Use::Read).await?.describe().await
            })
            .await
        })
        .await
    }

    /// `sql.query`.
    pub async fn query(&self, name: &str, on: SideName, values: &[SqlValue]) -> Result<SqlRows, Failure> {
        let id = format!("sql.{name}");
        let request = self.filled().manifest.sql.get(name).cloned();
        let yields = request.as_ref().and_then(|request| request.yields.clone());
        let input = input(values);
        let task_id = id.clone();
        let rows = self
            .pass(Call { request: &id, side: Some(on), values: &[], input }, |permit| async move {
                let request = request.ok_or_else(|| Failure::NotFound(task_id.clone()))?;
                if let Sql { effect: effect @ (Effect::Repeatable | Effect::Once), .. } = &request {
                    return Err(Failure::RefusedValue(format!(
                        "`{task_id}` has the effect `{effect}`: call `execute`, not `query`"
                    )));
                }
                within(&task_id, QUERY, read(&permit, &task_id, on, &request, values)).await
            })
            .await?;
        if let Some(column) = yields.as_deref().and_then(|yields| yields.strip_prefix("column:")) {
            let found = rows.columns.iter().position(|name| name == column);
            let index =
                found.ok_or_else(|| Failure::NotFound(format!("`{id}` yields column `{column}`, and has none")))?;
            self.observe(&id, rows.rows.iter().filter_map(|row| row.get(index)?.word()));
        }
        Ok(rows)
    }

    /// `sql.execute`.
    pub async fn execute(&self, name: &str, on: SideName, values: &[SqlValue]) -> Result<u64, Failure> {
        let id = format!("sql.{name}");
        let request = self.filled().manifest.sql.get(name).cloned();
        let input = input(values);
        let task_id = id.clone();
        self.pass(Call { request: &id, side: Some(on), values: &[], input }, |permit| async move {
            let request = request.ok_or_else(|| Failure::NotFound(task_id.clone()))?;
            if request.effect == Effect::Read {
                let why = format!("`{task_id}` has the effect `read`: call `query`, not `execute`");
                return Err(Failure::RefusedValue(why));
            }
            within(&task_id, EXECUTE, change(&permit, &task_id, on, &request, values)).await
        })
        .await
    }

    /// `sql.copy`.
    pub async fn copy(&self, name: &str) -> Result<SqlCopied, Failure> {
        let id = format!("copy.{name}");
        let request = self.filled().manifest.copy.get(name).cloned();
        let task_id = id.clone();
        self.pass(Call { request: &id, side: None, values: &[], input: None }, |permit| async move {
            let request = request.ok_or_else(|| Failure::NotFound(task_id.clone()))?;
            let begun = Instant::now();
            let phase = &self.scope().phase;
            let progress = |table: &str, done: u64| {
                let what = crate::report::shown(&format!("rows of {table}"));
                self.tell(Event::Progress { phase: phase.clone(), done, total: None, what });
            };
            let tell = |text: String| self.log(Level::Warning, &text);
            let copied = async {
                match request.kind {
                    CopyKind::Rows => copy::rows(&permit, &task_id, &request, &progress).await,
                    CopyKind::Tables => copy::tables(&permit, &task_id, &request, &progress, &tell).await,
                }
            };
            let tables = within(&task_id, COPY, copied).await?;
            Ok(SqlCopied { tables, milliseconds: begun.elapsed().as_millis() as u64 })
        })
        .await
    }

    /// `sql.compare`. It only reads, whatever its request is for.
    pub async fn compare_rows(&self, name: &str) -> Result<Vec<SqlDifference>, Failure> {
        let id = format!("copy.{name}");
        let request = self.filled().manifest.copy.get(name).cloned();
        let task_id = id.clone();
        let values = ["compare".to_string()];
        self.pass_as_read(Call { request: &id, side: None, values: &values, input: None }, |permit| async move {
            let request = request.ok_or_else(|| Failure::NotFound(task_id.clone()))?;
            let compared = async {
                match request.kind {
                    CopyKind::Rows => compare::rows(&permit, &task_id, &request).await,
                    CopyKind::Tables => compare::tables(&permit, &task_id, &request).await,
                }
            };
            within(&task_id, COPY, compared).await
        })
        .await
    }

    /// `sql.snapshot`.
    pub async fn snapshot(&self, name: &str, on: SideName) -> Result<String, Failure> {
        let id = format!("snapshot.{name}");
        let request = self.filled().manifest.snapshot.get(name).cloned();
        let task_id = id.clone();
        self.pass(Call { request: &id, side: Some(on), values: &[], input: None }, |permit| async move {
            let request = request.ok_or_else(|| Failure::NotFound(task_id.clone()))?;
            let shelf = Shelf::new(&permit, self.scope(), &task_id, name, on)?;
            within(&task_id, COPY, shelf.keep(&permit, on, &request.database)).await
        })
        .await
    }

    /// `sql.restore`.
    pub async fn restore_snapshot(&self, name: &str, on: SideName, snapshot: &str) -> Result<(), Failure> {
        let id = format!("snapshot.{name}");
        let request = self.filled().manifest.snapshot.get(name).cloned();
        let task_id = id.clone();
        let values = ["restore".to_string(), crate::report::shown(snapshot)];
        self.pass(Call { request: &id, side: Some(on), values: &values, input: None }, |permit| async move {
            let request = request.ok_or_else(|| Failure::NotFound(task_id.clone()))?;
            let shelf = Shelf::new(&permit, self.scope(), &task_id, name, on)?;
            within(&task_id, COPY, shelf.restore(&permit, on, &request.database, snapshot)).await
        })
        .await
    }
}

/// What the journal keeps of values: a hash, since they may be out of rows.
fn input(values: &[SqlValue]) -> Option<String> {
    (!values.is_empty()).then(|| value::hash(values))
}

async fn read(permit: &Permit, id: &str, on: SideName, request: &Sql, values: &[SqlValue]) -> Result<SqlRows, Failure> {
    let refuse = |why: String| Failure::RefusedValue(format!("`{id}` {why}"));
    let mut database = open(permit, id, on, &request.database, Use::Read).await?;
    let statement = Statement::parse(&request.text, database.dialect()).map_err(refuse)?;
    statement.only_reads().map_err(refuse)?;
    statement.bound(values).map_err(refuse)?;
    database.begin_reading().await?;
    let mut answer = SqlRows::default();
    let mut bytes = 0;
    let mut rows = database.rows(&statement, values);
    while let Some(row) = rows.try_next().await? {
        bytes += row.values.iter().map(SqlValue::size).sum::<usize>();
        if answer.rows.len() == MOST_ROWS || bytes > MOST_BYTES {
            let most = MOST_BYTES >> 20;
            return Err(Failure::OverLimit(format!("`{id}` has more than {MOST_ROWS} rows or {most} MiB of them")));
        }
        if answer.columns.is_empty() {
            answer.columns = row.columns.to_vec();
        }
        answer.rows.push(row.values);
    }
    drop(rows);
    if answer.rows.is_empty() {
        answer.columns = database.columns(&statement).await?;
    }
    Ok(answer)
}

async fn change(permit: &Permit, id: &str, on: SideName, request: &Sql, values: &[SqlValue]) -> Result<u64, Failure> {
    let refuse = |why: String| Failure::RefusedValue(format!("`{id}` {why}"));
    let mut database = open(permit, id, on, &request.database, Use::Write).await?;
    let statement = Statement::parse(&request.text, database.dialect()).map_err(refuse)?;
    statement.may_run().map_err(refuse)?;
    database.execute(&statement, values).await
}
