//! The column that holds the hashes: `varchar(32)` in guides before Jessie, too narrow for a hash with its scheme's name.

use rehome_sdk::prelude::*;
use rehome_sdk::schema::{column, find, length};
use rehome_sdk::sql::Column;

use crate::{Config, requests};

/// As in the guides since Jessie.
pub(crate) const WIDE: &str = "varchar(150)";
const WIDTH: u64 = 150;

fn password() -> Result<Result<Column, String>, Failure> {
    let new = requests::schema::ACCOUNTS.describe(Side::New)?;
    if !matches!(new.product.as_str(), "mariadb" | "mysql") {
        return Ok(Err(format!("is a {} database: this phase knows MariaDB and MySQL", new.product)));
    }
    let Some(table) = find(&new, "virtual_users") else { return Ok(Err("has no table `virtual_users`".into())) };
    Ok(column(table, "password").cloned().ok_or_else(|| "has no column `virtual_users.password`".into()))
}

/// Whether the phase can work at all; if not, a blocker says why.
pub(crate) fn check(ctx: &Context<Config>, found: &mut Findings) -> Result<bool, Failure> {
    let subject = format!("database {} on new", ctx.config.database);
    match password() {
        Ok(Ok(_)) => return Ok(true),
        Ok(Err(why)) => {
            found.blocker(subject, why).hint(
                "set `database` to the one of the ISPmail guide, or leave this phase out of the plan: it is for old MD5 hashes",
            );
        }
        Err(
            failure @ (Failure::EndedBadly(_) | Failure::Unreachable(_) | Failure::NotFound(_) | Failure::Other(_)),
        ) => {
            let (words, remedy) = failure.words_and_remedy();
            found.blocker(subject, words).hint = remedy;
        }
        Err(failure) => return Err(failure),
    }
    Ok(false)
}

/// The column, if it has to be widened.
pub(crate) fn too_narrow(ctx: &Context<Config>) -> Result<Option<Column>, Failure> {
    match password()? {
        Ok(column) => Ok(Some(column).filter(|column| length(&column.kind).is_some_and(|width| width < WIDTH))),
        Err(why) => Err(stopped(format!("database {} on new", ctx.config.database), why)),
    }
}

/// Widens it where it is too narrow, and looks.
pub(crate) fn widen(ctx: &Context<Config>) -> Result<(), Failure> {
    let Some(before) = too_narrow(ctx)? else { return Ok(()) };
    let statement = if before.nullable { requests::sql::WIDEN_NULLABLE } else { requests::sql::WIDEN };
    statement.on(Side::New).execute()?;
    if let Some(still) = too_narrow(ctx)? {
        return Err(stopped("virtual_users.password on new", format!("is still {} after it was widened", still.kind)));
    }
    report::info(&format!("virtual_users.password on new was {}, and is {WIDE} now", before.kind));
    Ok(())
}
