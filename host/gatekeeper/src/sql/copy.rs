//! From old to new. Rows: each step's SELECT feeds its INSERT by column name, in one transaction on new. Whole tables:
//! dropped and made anew. Invariant: rows stream, so that no table has to fit into memory, and none of them is logged.

use futures_util::TryStreamExt;
use rehome_manifest::manifest::{Copy, CopyStep};

use super::driver::{Driver, Inventory, Made, Origin, Table, Whole};
use super::place::{Use, open};
use super::statement::{Dialect, Statement};
use crate::door::Permit;
use crate::types::{Failure, SideName, SqlValue};

/// Rows between two reports of progress.
const REPORT: u64 = 1000;
/// Rows of one INSERT of whole tables.
const BATCH_ROWS: usize = 500;
/// Bytes of one: below the 1 MiB that MySQL 5.5 takes.
const BATCH_BYTES: usize = 512 << 10;
/// Placeholders that a statement can have.
const MOST_PLACEHOLDERS: usize = 65_535;

/// Told how far it is: what is copied, and its rows so far.
pub(super) type Progress<'a> = &'a (dyn Fn(&str, u64) + Sync);

/// The statements of a step, taken apart.
pub(super) struct Step {
    pub table: String,
    pub delete: Option<Statement>,
    pub select: Statement,
    /// what is compared on both sides
    pub compare: Statement,
    pub insert: Statement,
}

impl Step {
    /// For an old side and a new one that take these dialects. If a statement is not what it should be, why.
    pub(super) fn parse(step: &CopyStep, old: Dialect, new: Dialect) -> Result<Step, String> {
        let named = |what: &str, why: String| format!("step `{}`: its {what} {why}", step.table);
        let parse = |what: &str, text: &str, dialect| Statement::parse(text, dialect).map_err(|why| named(what, why));
        let verb = |what: &str, statement: &Statement, allowed: &[&str]| match allowed.contains(&statement.verb()) {
            true => Ok(()),
            false => Err(named(what, format!("begins with {}, not with {}", statement.verb(), allowed.join(" or ")))),
        };
        let plain = |what: &str, statement: &Statement| match statement.names() {
            [] => Ok(()),
            names => Err(named(what, format!("has a placeholder, :{}", names.join(", :")))),
        };
        let reads = |what: &str, text: &str| {
            let statement = parse(what, text, old)?;
            statement.only_reads().map_err(|why| named(what, format!("must only read: {why}")))?;
            plain(what, &statement)?;
            Ok::<Statement, String>(statement)
        };
        let select = reads("select", &step.select)?;
        let compare = reads("compare", step.compare.as_deref().unwrap_or(&step.select))?;
        // Whatever else it could begin with may end the transaction: TRUNCATE does.
        let insert = parse("insert", &step.insert, new)?;
        verb("insert", &insert, &["INSERT", "REPLACE", "UPDATE", "WITH"])?;
        let delete = step.delete.as_deref().map(|text| parse("delete", text, new)).transpose()?;
        if let Some(delete) = &delete {
            verb("delete", delete, &["DELETE", "UPDATE", "WITH"])?;
            plain("delete", delete)?;
        }
        Ok(Step { table: step.table.clone(), delete, select, compare, insert })
    }

    /// Which column of the SELECT each placeholder of the INSERT is.
    fn columns(&self, found: &[String]) -> Result<Vec<usize>, String> {
        let column = |name: &String| {
            let exactly = found.iter().position(|column| column == name);
            let nearly = || found.iter().position(|column| column.eq_ignore_ascii_case(name));
            exactly.or_else(nearly).ok_or_else(|| {
                format!("step `{}`: its select has no column `{name}`, only {}", self.table, found.join(", "))
            })
        };
        self.insert.names().iter().map(column).collect()
    }
}

/// Rows, all steps in one transaction.
pub(super) async fn rows(
    permit: &Permit,
    id: &str,
    request: &Copy,
    progress: Progress<'_>,
) -> Result<Vec<(String, u64)>, Failure> {
    let mut old = open(permit, id, SideName::Old, &request.database, Use::ExactRead).await?;
    let mut new = open(permit, id, SideName::New, &request.database, Use::ExactWrite).await?;
    let refuse = |why: String| Failure::RefusedValue(format!("`{id}`, {why}"));
    let steps = request.step.iter().map(|step| Step::parse(step, old.dialect(), new.dialect()));
    let steps: Vec<Step> = steps.collect::<Result<_, _>>().map_err(refuse)?;
    old.begin_reading().await?;
    let mut columns = vec![];
    for step in &steps {
        columns.push(step.columns(&old.columns(&step.select).await?).map_err(refuse)?);
    }
    let writes: Vec<&Statement> = steps.iter().flat_map(|step| step.delete.iter().chain([&step.insert])).collect();
    new.begin(&writes).await?;
    match all_steps(&mut *old, &mut *new, &steps, &columns, progress).await {
        Ok(copied) => new.commit().await.map(|()| copied),
        Err(failure) => {
            new.roll_back().await;
            Err(failure)
        }
    }
}

async fn all_steps(
    old: &mut dyn Driver,
    new: &mut dyn Driver,
    steps: &[Step],
    columns: &[Vec<usize>],
    progress: Progress<'_>,
) -> Result<Vec<(String, u64)>, Failure> {
    for delete in steps.iter().filter_map(|step| step.delete.as_ref()) {
        new.execute(delete, &[]).await?;
    }
    let mut copied = vec![];
    for (step, columns) in steps.iter().zip(columns) {
        let mut count = 0;
        let mut rows = old.rows(&step.select, &[]);
        while let Some(row) = rows.try_next().await? {
            let values: Vec<SqlValue> = columns.iter().filter_map(|index| row.values.get(*index).cloned()).collect();
            let done = new.execute(&step.insert, &values).await;
            done.map_err(|failure| in_row(failure, &step.table, count + 1))?;
            count += 1;
            if count % REPORT == 0 {
                progress(&step.table, count);
            }
        }
        progress(&step.table, count);
        copied.push((step.table.clone(), count));
    }
    Ok(copied)
}

/// Says which row it was: by its number, not by what is in it.
fn in_row(failure: Failure, table: &str, number: u64) -> Failure {
    match failure {
        Failure::EndedBadly(mut tool) => {
            tool.diagnostic.push_str(&format!("\n  row {number} of step `{table}`; all rows are as they were before"));
            Failure::EndedBadly(tool)
        }
        other => other,
    }
}

/// Whole tables. `tell` hears what the operator should know of it.
pub(super) async fn tables(
    permit: &Permit,
    id: &str,
    request: &Copy,
    progress: Progress<'_>,
    tell: &(dyn Fn(String) + Sync),
) -> Result<Vec<(String, u64)>, Failure> {
    let mut old = open(permit, id, SideName::Old, &request.database, Use::ExactRead).await?;
    let mut new = open(permit, id, SideName::New, &request.database, Use::Whole).await?;
    if old.dialect() != new.dialect() {
        let why = "whole tables move between servers of one kind only, and the two sides have two; copy rows";
        return Err(Failure::Unsupported(format!("`{id}`: {why}")));
    }
    old.begin_reading().await?;
    let (old, new) = (old.whole()?, new.whole()?);
    let inventory = old.inventory(&request.tables).await?;
    for what in &inventory.left_out {
        tell(format!("left out on new: {what}; only tables, views and triggers are copied"));
    }
    for Made { kind, name, definer, .. } in &inventory.after {
        if let Some(definer) = definer {
            tell(format!("{kind} `{name}` runs with the rights of {definer} on new, as on old"));
        }
    }
    load(old, &inventory, new, &[], progress).await
}

/// Makes an inventory anew on `new`, with the rows of `old`. Drops what it makes and `also`.
pub(super) async fn load(
    old: &mut dyn Origin,
    inventory: &Inventory,
    new: &mut dyn Whole,
    also: &[String],
    progress: Progress<'_>,
) -> Result<Vec<(String, u64)>, Failure> {
    new.begin_loading().await?;
    let views = inventory.after.iter().filter(|made| made.kind == "view").map(|made| &made.name);
    for name in views.chain(inventory.tables.iter().map(|table| &table.name)).chain(also) {
        new.drop(name).await?;
    }
    let mut copied = vec![];
    for table in &inventory.tables {
        new.make(table).await?;
        let count = fill(old, new, table, progress).await?;
        new.finish(table).await?;
        copied.push((table.name.clone(), count));
    }
    make_after(new, &inventory.after).await?;
    new.end_loading().await?;
    Ok(copied)
}

/// Puts the rows of `old` in the place of those on `new`, in one transaction, where that is possible: answers whether it was.
pub(super) async fn replace(old: &mut dyn Origin, inventory: &Inventory, new: &mut dyn Whole) -> Result<bool, Failure> {
    if !new.begin_replacing(inventory).await? {
        return Ok(false);
    }
    for table in &inventory.tables {
        fill(old, new, table, &|_, _| {}).await?;
    }
    new.end_replacing(inventory).await?;
    Ok(true)
}

async fn fill(
    old: &mut dyn Origin,
    new: &mut dyn Whole,
    table: &Table,
    progress: Progress<'_>,
) -> Result<u64, Failure> {
    let most = BATCH_ROWS.min(MOST_PLACEHOLDERS / table.columns.len().max(1)).max(1);
    let (mut batch, mut bytes, mut count) = (Vec::with_capacity(most), 0, 0_u64);
    let mut rows = old.table_rows(table);
    while let Some(row) = rows.try_next().await? {
        let size: usize = row.values.iter().map(SqlValue::size).sum();
        if !batch.is_empty() && (batch.len() == most || bytes + size > BATCH_BYTES) {
            new.insert(table, &batch).await?;
            batch.clear();
            bytes = 0;
            progress(&table.name, count);
        }
        batch.push(row.values);
        bytes += size;
        count += 1;
    }
    if !batch.is_empty() {
        new.insert(table, &batch).await?;
    }
    progress(&table.name, count);
    Ok(count)
}

/// Views may need each other: those that fail are tried again, as long as any other one can be made.
async fn make_after(new: &mut dyn Whole, after: &[Made]) -> Result<(), Failure> {
    // Triggers come last: a view may not be made while they run, and no row is written any more.
    let (triggers, mut waiting): (Vec<&Made>, Vec<&Made>) = after.iter().partition(|made| made.kind == "trigger");
    while !waiting.is_empty() {
        let mut failed = vec![];
        let mut why = None;
        for &made in &waiting {
            match new.make_after(made).await {
                Ok(()) => {}
                Err(failure @ Failure::EndedBadly(_)) if made.kind == "view" => {
                    failed.push(made);
                    why = Some(failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        if let (true, Some(failure)) = (failed.len() == waiting.len(), why) {
            return Err(failure);
        }
        waiting = failed;
    }
    for made in triggers {
        new.make_after(made).await?;
    }
    Ok(())
}
