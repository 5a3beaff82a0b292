//! Whether there is anything to bring: neither side has changed since all of it was brought. Each server adds up its own tables,
//! so that this costs a look, and no row leaves it.
//! Invariant: in doubt there is. What the sums leave out (sessions, caches) nobody misses; tables of plugins they do not know.

use rehome_sdk::prelude::*;
use rehome_sdk::sql::Value;

use crate::fit::Fit;
use crate::schema::Schemas;
use crate::{Config, requests};

/// Remembered once everything is brought, for all phases of this component: the sums of old before the copy, of new after it.
const SUMS: &str = "sums when all was brought";

/// The sums of a side; none where its server does not tell them.
pub(crate) fn sums(side: Side) -> Result<Option<String>, Failure> {
    let rows = match requests::sql::SUMS.on(side).rows() {
        Ok(rows) => rows.rows,
        Err(failure @ Failure::Unreachable(_)) => return Err(failure),
        Err(_) => return Ok(None),
    };
    let word = |value: &Value| value.to_text().unwrap_or("-".into());
    let line = |row: &Vec<Value>| row.iter().map(word).collect::<Vec<_>>().join(" ");
    Ok((!rows.is_empty()).then(|| rows.iter().map(line).collect::<Vec<_>>().join("\n")))
}

fn both(old: &str, new: &str) -> String {
    format!("{old}\n\n{new}")
}

/// Whether nothing is to be done. A deliberate second run of a phase does it all the same.
pub(crate) fn nothing_changed(
    ctx: &Context<Config>,
    schemas: &Schemas,
    old: Option<&str>,
    fit: &Fit,
) -> Result<bool, Failure> {
    let Some(brought) = journal::recall_text(SUMS)? else { return Ok(false) };
    let Some(old) = old.filter(|_| ctx.run == 1 && !schemas.has_plugins() && fit.is_equal()) else { return Ok(false) };
    let Some(new) = sums(Side::New)? else { return Ok(false) };
    Ok(brought == both(old, &new) && schemas.versions(ctx)?.is_current())
}

/// Once everything is brought and looked at. `old`: the sums from before the copy, so that what changed meanwhile shows.
pub(crate) fn remember(old: Option<&str>) -> Result<(), Failure> {
    match (old, sums(Side::New)?) {
        (Some(old), Some(new)) => journal::remember(SUMS, both(old, &new)),
        _ => Ok(()),
    }
}

/// Before anything on new is changed.
pub(crate) fn forget() -> Result<(), Failure> {
    journal::forget(SUMS)
}
