//! The database phase: domains, users and aliases of the ISPmail guide, from old to new by the names of the columns.
//! Invariant: old is only read; on new a snapshot exists before the first row changes; what was copied is compared.
//! `schema` decides which copy fits both sides, `guard` keeps domains that only new has.

mod guard;
mod schema;

use rehome_sdk::prelude::*;
use rehome_sdk::sql::Difference;

rehome_sdk::manifest!();
rehome_sdk::phase!(Database);

/// The phase.
#[derive(Debug)]
pub struct Database;

/// What a plan sets.
#[derive(Debug, Deserialize)]
pub struct Config {
    database: String,
    domains: Vec<String>,
}

/// What an `apply` that had something to copy took is remembered under this name.
const COPYING: &str = "copying";
/// Accounts may change on old between the copy and the look at it, while old is in use.
const ATTEMPTS: u32 = 3;

impl Phase for Database {
    type Config = Config;

    fn check(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let mut found = Findings::new();
        let sides = schema::describe(ctx, &mut found)?;
        let Some((old, new)) = sides else { return Ok(found.into()) };
        schema::check(&old, &new, &mut found);
        if found.blockers().next().is_none() {
            guard::check(ctx, &mut found)?;
        }
        Ok(found.into())
    }

    fn preview(ctx: &Context<Config>) -> Result<Forecast, Failure> {
        let mut forecast = Forecast::default();
        let (differences, looking) = clock::timed(|| copy(ctx)?.compare())?;
        for difference in differences.iter().filter(|difference| !difference.equal) {
            let before = format!("{} rows{}", difference.new_rows, of(ctx));
            let after = format!("{} rows, as on old", difference.old_rows);
            forecast.change(format!("{} on new", difference.table), before, after);
        }
        if ctx.stage == Stage::Cutover {
            forecast.looks_first(looking, took::recall(COPYING)?);
        }
        Ok(forecast)
    }

    fn apply(ctx: &Context<Config>) -> Result<(), Failure> {
        let (changed, milliseconds) = clock::timed(|| apply(ctx))?;
        if changed { took::remember(COPYING, milliseconds) } else { Ok(()) }
    }

    fn verify(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let mut found = Findings::new();
        for difference in copy(ctx)?.compare()? {
            let subject = format!("{} on new", difference.table);
            if difference.equal {
                found.ok(subject, format!("{} rows, as on old{}", difference.new_rows, of(ctx)));
            } else if matches!(ctx.stage, Stage::Prepare | Stage::Copy) {
                // Both sides are in use: that accounts change is normal, and a later copy brings them.
                found
                    .warning(subject, words(&difference))
                    .hint(format!("accounts changed since: `rehome apply --again {}` copies them again", ctx.phase));
            } else {
                found.blocker(subject, words(&difference)).hint(
                    "an account that was changed on new since the cutover differs rightly; anything else was not copied",
                );
            }
        }
        Ok(found.into())
    }

    fn undo(ctx: &Context<Config>) -> Result<(), Failure> {
        let Some(former) = journal::recall_text(&key(ctx))? else {
            report::info("nothing was copied by this phase: nothing to take back");
            return Ok(());
        };
        if former == NOTHING_THERE {
            for statement in [requests::sql::REMOVE_ALIASES, requests::sql::REMOVE_USERS, requests::sql::REMOVE_DOMAINS]
            {
                statement.on(Side::New).execute()?;
            }
            report::info(&format!("took {} off new again", ctx.config.domains.join(", ")));
        } else {
            requests::snapshot::TARGET.restore(Side::New, &former)?;
            report::info(&format!("put back the snapshot {former} of {} on new", ctx.config.database));
        }
        report::warning("accounts that were changed on new since are not carried back to old");
        guard::forget_copied()?;
        journal::forget(&key(ctx))
    }
}

/// Answers whether there was anything to copy.
fn apply(ctx: &Context<Config>) -> Result<bool, Failure> {
    let copy = copy(ctx)?;
    let before = copy.compare()?;
    if before.iter().all(|difference| difference.equal) {
        report::info("the accounts on new are already those of old");
        guard::remember_copied()?;
        return Ok(false);
    }
    guard::refuse(ctx)?;
    keep_former(ctx, &before)?;
    let mut differences = before;
    for attempt in 1..=ATTEMPTS {
        let copied = copy.run()?;
        let rows: Vec<String> = copied.tables.iter().map(|(table, rows)| format!("{table} {rows}")).collect();
        report::info(&format!("copied in {} ms: {}", copied.milliseconds, rows.join(", ")));
        differences = copy.compare()?;
        if differences.iter().all(|difference| difference.equal) {
            guard::remember_copied()?;
            return Ok(true);
        }
        report::debug(&format!("both sides differ after copy {attempt}; accounts changed meanwhile?"));
    }
    let unequal: Vec<String> = differences.iter().filter(|d| !d.equal).map(words).collect();
    Err(stopped(
        format!("database {}", ctx.config.database),
        format!("was copied {ATTEMPTS} times, and still differs: {}", unequal.join("; ")),
    )
    .hint("does something write to the accounts all the time, or change what is written to new (a trigger)?"))
}

/// The copy whose columns both sides have.
fn copy(ctx: &Context<Config>) -> Result<rehome_sdk::sql::Copy, Failure> {
    let old = requests::schema::ACCOUNTS.describe(Side::Old)?;
    let new = requests::schema::ACCOUNTS.describe(Side::New)?;
    Ok(schema::fitting_copy(&old, &new, !ctx.config.domains.is_empty()))
}

/// Remembered instead of a snapshot where new had nothing of the plan's domains.
const NOTHING_THERE: &str = "nothing there before";

fn key(ctx: &Context<Config>) -> String {
    format!("former/{}", ctx.phase)
}

/// Before the first row changes; the first observation wins, until `undo` has put it back.
fn keep_former(ctx: &Context<Config>, before: &[Difference]) -> Result<(), Failure> {
    if journal::recall(&key(ctx))?.is_some() {
        return Ok(());
    }
    let snapshot = requests::snapshot::TARGET.take(Side::New)?;
    report::info(&format!("kept {} on new as snapshot {snapshot}", ctx.config.database));
    let empty = before.iter().all(|difference| difference.new_rows == 0);
    let former = if empty && !ctx.config.domains.is_empty() { NOTHING_THERE } else { &snapshot };
    journal::remember(&key(ctx), former)
}

fn words(difference: &Difference) -> String {
    if difference.old_rows == difference.new_rows {
        return format!("{} rows on both sides, with other values", difference.new_rows);
    }
    format!("{} rows on old, {} on new", difference.old_rows, difference.new_rows)
}

fn of(ctx: &Context<Config>) -> String {
    if ctx.config.domains.is_empty() { String::new() } else { format!(" ({})", ctx.config.domains.join(", ")) }
}

#[cfg(test)]
mod tests;
