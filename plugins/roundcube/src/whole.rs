//! Everything: old's tables replace those of new, then Roundcube's update script brings them to the version of new.
//! Invariant: a table that only newer versions have is out of the way before the copy, or the script would stop at it (or at
//! the number in it take old's tables for new's). A script that was cut off leaves tables that it cannot go on with: then
//! they are copied anew; tables that it has finished are not, within a run.

use rehome_sdk::prelude::*;

use crate::ledger::Ledger;
use crate::schema::{self, Schemas};
use crate::{Config, in_use, requests, snapshot};

/// Tables that change with every click: what differs in them is of no interest.
const VOLATILE: [&str; 6] = ["session", "cache", "cache_shared", "cache_index", "cache_thread", "cache_messages"];

fn key(ctx: &Context<Config>) -> String {
    format!("copied/{}", ctx.phase)
}

pub(crate) fn apply(ctx: &Context<Config>, schemas: &Schemas, new: &Ledger) -> Result<(), Failure> {
    schemas.remember_target(ctx)?;
    snapshot::keep(ctx, new)?;
    let run = ctx.run.to_string();
    if journal::recall_text(&key(ctx))?.as_deref() != Some(&run) {
        copy(ctx)?;
        journal::remember(&key(ctx), &run)?;
    }
    update(ctx, &run)
}

fn copy(ctx: &Context<Config>) -> Result<(), Failure> {
    requests::sql::CLEAR_NEWER.on(Side::New).execute()?;
    let copied = requests::copy::WHOLE.run()?;
    let rows: u64 = copied.tables.iter().map(|(_, rows)| rows).sum();
    report::info(&format!("copied {} tables, {rows} rows, in {} ms", copied.tables.len(), copied.milliseconds));
    let differences = requests::copy::WHOLE.compare()?;
    let unequal: Vec<String> = differences
        .iter()
        .filter(|difference| !difference.equal && !VOLATILE.contains(&difference.table.as_str()))
        .map(|d| format!("{}: {} rows on old, {} on new", d.table, d.old_rows, d.new_rows))
        .collect();
    if unequal.is_empty() {
        return Ok(());
    }
    if in_use(ctx) {
        report::warning(&format!("old has changed while it was copied: {}", unequal.join("; ")));
        return Ok(());
    }
    Err(stopped(
        format!("database {} on new", ctx.config.database),
        format!("differs after the copy: {}", unequal.join("; ")),
    )
    .hint(format!("does somebody use webmail on old? `rehome apply --again {}` copies it anew", ctx.phase)))
}

/// Runs the update script until the tables are what Roundcube on new needs, and looks.
fn update(ctx: &Context<Config>, run: &str) -> Result<(), Failure> {
    let schemas = schema::must_describe(ctx)?;
    let before = schemas.versions(ctx)?;
    if before.is_current() {
        return Ok(());
    }
    let script = if schemas.new_is_oldest() { requests::exec::UPDATE_FROM_0_7 } else { requests::exec::UPDATE };
    journal::forget(&key(ctx))?;
    let output = script.on(Side::New).run()?;
    let after = schema::must_describe(ctx)?.versions(ctx)?;
    if !after.is_current() {
        let (has, needs) = (schema::word(after.new), schema::word(after.target));
        return Err(stopped(
            "Roundcube's tables on new",
            format!(
                "are of version {has} after the update script, and Roundcube needs {needs}: {}",
                output.last_words()
            ),
        )
        .hint(
            "`/usr/share/roundcube/bin/updatedb.sh --package=roundcube --dir=/usr/share/roundcube/SQL` on new says why",
        ));
    }
    report::info(&format!(
        "Roundcube's update script brought the tables from version {} to {}",
        schema::word(before.new),
        schema::word(after.new)
    ));
    journal::remember(&key(ctx), run)
}

/// After undo: the next run copies again.
pub(crate) fn forget(ctx: &Context<Config>) -> Result<(), Failure> {
    journal::forget(&key(ctx))?;
    schema::forget_target(ctx)
}
