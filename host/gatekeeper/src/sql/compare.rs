//! What a copy would move against what new has. Invariant: both sides are only read, row by row; what is kept of a table is
//! its number of rows and one sum of hashes.

use futures_util::TryStreamExt;
use rehome_manifest::manifest::Copy;

use super::copy::Step;
use super::driver::{Driver, Inventory, Origin, Table, Whole};
use super::place::{Use, open};
use super::value::{Multiset, Rows};
use crate::door::Permit;
use crate::types::{Failure, SideName, SqlDifference};

/// Rows, step by step.
pub(super) async fn rows(permit: &Permit, id: &str, request: &Copy) -> Result<Vec<SqlDifference>, Failure> {
    let (mut old, mut new) = both(permit, id, &request.database).await?;
    let refuse = |why: String| Failure::RefusedValue(format!("`{id}`, {why}"));
    let mut differences = vec![];
    for step in &request.step {
        let on_old = Step::parse(step, old.dialect(), new.dialect()).map_err(refuse)?.compare;
        let on_new = Step::parse(step, new.dialect(), new.dialect()).map_err(refuse)?.compare;
        let (old, new) = tokio::try_join!(sum(old.rows(&on_old, &[])), sum(new.rows(&on_new, &[])))?;
        differences.push(difference(&step.table, &old, &new, true));
    }
    Ok(differences)
}

/// Whole tables: rows, columns, indexes; and whether views and triggers are there.
pub(super) async fn tables(permit: &Permit, id: &str, request: &Copy) -> Result<Vec<SqlDifference>, Failure> {
    let (mut old, mut new) = both(permit, id, &request.database).await?;
    if old.dialect() != new.dialect() {
        return Err(Failure::Unsupported(format!(
            "`{id}`: whole tables are compared between servers of one kind only"
        )));
    }
    let (old, new) = (old.whole()?, new.whole()?);
    let wanted = old.inventory(&request.tables).await?;
    let there = counterparts(new, &wanted).await?;
    let mut differences = vec![];
    for table in &wanted.tables {
        let found = there.tables.iter().find(|found| found.name == table.name);
        let same_shape = found.is_some_and(|found| found.shape == table.shape);
        let (old, new) = match found.filter(|found| found.columns == table.columns) {
            Some(found) => tokio::try_join!(sum(old.table_rows(table)), sum(new.table_rows(found)))?,
            None => (sum(old.table_rows(table)).await?, count(new, found).await?),
        };
        differences.push(difference(&table.name, &old, &new, same_shape));
    }
    differences.extend(missing(&wanted, &there));
    Ok(differences)
}

/// Those of them that new has.
async fn counterparts(new: &mut dyn Whole, wanted: &Inventory) -> Result<Inventory, Failure> {
    let views = wanted.after.iter().filter(|made| made.kind == "view").map(|made| &made.name);
    let wanted: Vec<&String> = wanted.tables.iter().map(|table| &table.name).chain(views).collect();
    let names: Vec<String> = new.names().await?.into_iter().filter(|name| wanted.contains(&name)).collect();
    // No names would be all of them.
    if names.is_empty() { Ok(Inventory::default()) } else { new.inventory(&names).await }
}

async fn both(permit: &Permit, id: &str, database: &str) -> Result<(Box<dyn Driver>, Box<dyn Driver>), Failure> {
    let mut old = open(permit, id, SideName::Old, database, Use::ExactRead).await?;
    let mut new = open(permit, id, SideName::New, database, Use::ExactRead).await?;
    old.begin_reading().await?;
    new.begin_reading().await?;
    Ok((old, new))
}

async fn sum(mut rows: Rows<'_>) -> Result<Multiset, Failure> {
    let mut set = Multiset::default();
    while let Some(row) = rows.try_next().await? {
        set.add(&row.values);
    }
    Ok(set)
}

/// Rows of a table that cannot be the same, if it is there at all.
async fn count<O: Origin + ?Sized>(new: &mut O, found: Option<&Table>) -> Result<Multiset, Failure> {
    match found {
        Some(found) => sum(new.table_rows(found)).await,
        None => Ok(Multiset::default()),
    }
}

fn difference(table: &str, old: &Multiset, new: &Multiset, same_shape: bool) -> SqlDifference {
    SqlDifference { table: table.into(), old_rows: old.rows, new_rows: new.rows, equal: same_shape && old == new }
}

/// Views, triggers and indexes that new lacks.
fn missing(wanted: &Inventory, there: &Inventory) -> Vec<SqlDifference> {
    let lacks = wanted.after.iter().filter(|made| {
        made.kind != "pragma" && !there.after.iter().any(|found| (&found.kind, &found.name) == (&made.kind, &made.name))
    });
    let none = Multiset::default();
    lacks.map(|made| difference(&format!("{} {}", made.kind, made.name), &none, &none, false)).collect()
}
