//! Roundcube's database of new as it was: kept before the first change, put back by undo. Where only some domains moved and
//! new had nobody of them, undo takes those users away instead: a snapshot put back would erase what others did since.

use rehome_sdk::prelude::*;

use crate::ledger::Ledger;
use crate::{Config, requests};

/// Remembered instead of a snapshot.
const NOBODY_THERE: &str = "nobody there before";

fn key(ctx: &Context<Config>) -> String {
    format!("former/{}", ctx.phase)
}

/// Before the first change; the first observation wins, until undo has put it back.
pub(crate) fn keep(ctx: &Context<Config>, new: &Ledger) -> Result<(), Failure> {
    if journal::recall(&key(ctx))?.is_some() {
        return Ok(());
    }
    let snapshot = requests::snapshot::TARGET.take(Side::New)?;
    report::info(&format!("kept {} on new as snapshot {snapshot}", ctx.config.database));
    let former = if new.is_empty() && !ctx.config.domains.is_empty() { NOBODY_THERE } else { &snapshot };
    journal::remember(&key(ctx), former)
}

pub(crate) fn undo(ctx: &Context<Config>) -> Result<(), Failure> {
    let Some(former) = journal::recall_text(&key(ctx))? else {
        report::info("nothing was copied by this phase: nothing to take back");
        return Ok(());
    };
    if former == NOBODY_THERE {
        let users = requests::sql::REMOVE_USERS.on(Side::New).execute()?;
        report::info(&format!("took {users} users of {} off new again", ctx.config.domains.join(", ")));
    } else {
        requests::snapshot::TARGET.restore(Side::New, &former)?;
        report::info(&format!("put back the snapshot {former} of {} on new", ctx.config.database));
    }
    report::warning("contacts and settings that users changed on new since are not carried back to old");
    journal::forget(&key(ctx))
}
