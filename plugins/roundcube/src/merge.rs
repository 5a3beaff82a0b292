//! Some domains: rows, beside what new has, in the tables of the version that new has. Rows get new numbers there; members
//! of groups are found by their place among a user's contacts, which stays.

use rehome_sdk::prelude::*;
use rehome_sdk::sql::{Copy, Difference};

use crate::hosts::Hosts;
use crate::ledger::Ledger;
use crate::schema::Schemas;
use crate::{Config, in_use, requests, snapshot};

/// Users may change something between the copy and the look at it.
const ATTEMPTS: u32 = 3;

/// The copies whose tables both sides have.
fn copies(schemas: &Schemas) -> Vec<Copy> {
    let mut copies = vec![requests::copy::PEOPLE];
    if schemas.both_have(&["filestore"], &["context"]) {
        copies.push(requests::copy::FILES);
    }
    if schemas.both_have(&["collected_addresses", "responses"], &[]) {
        copies.push(requests::copy::RECENT);
    }
    copies
}

/// Answers whether anything was copied.
pub(crate) fn apply(ctx: &Context<Config>, schemas: &Schemas, new: &Ledger, hosts: &Hosts) -> Result<bool, Failure> {
    let copies = copies(schemas);
    let mut unequal = differences(&copies)?;
    if unequal.is_empty() {
        report::info("the rows on new are already those of old");
        return Ok(false);
    }
    snapshot::keep(ctx, new)?;
    for attempt in 1..=ATTEMPTS {
        // The first copy replaces the users, with all that belongs to them: the others come after it, each time.
        for copy in &copies {
            let copied = copy.run()?;
            let rows: Vec<String> = copied.tables.iter().map(|(table, rows)| format!("{table} {rows}")).collect();
            report::info(&format!("copied in {} ms: {}", copied.milliseconds, rows.join(", ")));
        }
        hosts.write(ctx)?;
        unequal = differences(&copies)?;
        if unequal.is_empty() {
            return Ok(true);
        }
        report::debug(&format!("both sides differ after copy {attempt}; changed meanwhile?"));
    }
    let words: Vec<String> =
        unequal.iter().map(|d| format!("{}: {} rows on old, {} on new", d.table, d.old_rows, d.new_rows)).collect();
    if in_use(ctx) {
        report::warning(&format!("old changes while it is copied: {}", words.join("; ")));
        return Ok(true);
    }
    let text = format!("was copied {ATTEMPTS} times, and still differs: {}", words.join("; "));
    Err(stopped(format!("database {}", ctx.config.database), text)
        .hint("does somebody use webmail on old, or does something change what is written to new?"))
}

fn differences(copies: &[Copy]) -> Result<Vec<Difference>, Failure> {
    let mut unequal = Vec::new();
    for copy in copies {
        unequal.extend(copy.compare()?.into_iter().filter(|difference| !difference.equal));
    }
    Ok(unequal)
}
