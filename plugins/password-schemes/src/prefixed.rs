//! Whose hash got its prefix: remembered before the first one changes, so that undo takes off what this phase put there and
//! leaves alone what had it before. Addresses are kept, never hashes.

use std::collections::BTreeSet;

use rehome_sdk::prelude::*;
use rehome_sdk::sql::Value;

use crate::{Config, requests};

/// Placeholders of the statement of undo.
const AT_ONCE: usize = 10;

fn key(ctx: &Context<Config>) -> String {
    format!("prefixed/{}", ctx.phase)
}

fn remembered(ctx: &Context<Config>) -> Result<BTreeSet<String>, Failure> {
    Ok(journal::recall_long(&key(ctx))?.map(|text| lines(&text).into_iter().collect()).unwrap_or_default())
}

/// Adds those that have a bare hash now.
pub(crate) fn remember(ctx: &Context<Config>) -> Result<(), Failure> {
    let bare = match ctx.config.domains.as_slice() {
        [] => requests::sql::BARE.on(Side::New).rows()?,
        _ => requests::sql::BARE_OF_DOMAINS.on(Side::New).rows()?,
    };
    let mut all = remembered(ctx)?;
    all.extend(bare.texts("email"));
    let text = all.into_iter().collect::<Vec<_>>().join("\n");
    journal::remember_long(&key(ctx), text.as_bytes())
}

/// Answers how many hashes changed.
pub(crate) fn prefix(config: &Config) -> Result<u64, Failure> {
    match config.domains.as_slice() {
        [] => requests::sql::PREFIX.on(Side::New).execute(),
        _ => requests::sql::PREFIX_OF_DOMAINS.on(Side::New).execute(),
    }
}

/// Takes the prefix off again, and answers of how many; none if this phase put it nowhere.
pub(crate) fn strip(ctx: &Context<Config>) -> Result<Option<u64>, Failure> {
    let users: Vec<String> = remembered(ctx)?.into_iter().collect();
    if users.is_empty() {
        return Ok(None);
    }
    let mut taken = 0;
    for (at, some) in users.chunks(AT_ONCE).enumerate() {
        // A statement has a fixed number of values: the last one is named again.
        let value = |place: usize| Value::from(some[place.min(some.len() - 1)].as_str());
        taken += requests::sql::STRIP.on(Side::New).execute_with(std::array::from_fn::<_, AT_ONCE, _>(value))?;
        report::progress((at * AT_ONCE + some.len()) as u64, Some(users.len() as u64), "passwords");
    }
    journal::forget(&key(ctx))?;
    Ok(Some(taken))
}
