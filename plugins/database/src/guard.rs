//! Keeps domains that only new has: without a list in the plan the copy replaces all rows of new, and would delete them.
//! Those that an earlier copy of this component brought may go: they went on old.

use rehome_sdk::prelude::*;

use crate::{Config, requests};

const COPIED: &str = "copied-domains";

/// Domains that the copy would delete and that nobody can want deleted.
fn only_on_new(ctx: &Context<Config>) -> Result<Vec<String>, Failure> {
    if !ctx.config.domains.is_empty() {
        return Ok(Vec::new());
    }
    let old = domains(Side::Old)?;
    let ours = journal::recall_long(COPIED)?.map(|text| lines(&text)).unwrap_or_default();
    let mut others = domains(Side::New)?;
    others.retain(|domain| !has(&old, domain) && !has(&ours, domain));
    Ok(others)
}

fn domains(side: Side) -> Result<Vec<String>, Failure> {
    Ok(requests::sql::DOMAINS.on(side).rows()?.texts("name"))
}

fn has(list: &[String], domain: &str) -> bool {
    list.iter().any(|known| known.eq_ignore_ascii_case(domain))
}

/// The same as findings, with what else can be seen in the domains.
pub(crate) fn check(ctx: &Context<Config>, found: &mut Findings) -> Result<(), Failure> {
    let old = domains(Side::Old)?;
    let database = &ctx.config.database;
    for missing in ctx.config.domains.iter().filter(|wanted| !has(&old, wanted)) {
        found
            .blocker(format!("domain {missing}"), format!("is not in the database {database} of old"))
            .hint("correct `domains` in the plan");
    }
    if old.is_empty() {
        found
            .blocker(format!("database {database} on old"), "has no domains: there is nothing to copy")
            .hint("is it the right database? Copying it would empty the one on new");
    } else {
        found.ok(
            format!("database {database} on old"),
            format!("holds {}", rehome_sdk::amount(old.len() as u64, "domain", "domains")),
        );
    }
    for domain in only_on_new(ctx)? {
        found
            .blocker(format!("domain {domain} on new"), "is not on old: a copy of all domains would delete it")
            .hint(HINT);
    }
    Ok(())
}

const HINT: &str = "name the domains that move in the plan (`domains = […]`), or delete this one on new";

/// Stops `apply` before anything is deleted that should not be.
pub(crate) fn refuse(ctx: &Context<Config>) -> Result<(), Failure> {
    if domains(Side::Old)?.is_empty() {
        return Err(stopped(format!("database {} on old", ctx.config.database), "has no domains: nothing to copy"));
    }
    match only_on_new(ctx)?.as_slice() {
        [] => Ok(()),
        others => Err(stopped(
            format!("{} on new", others.join(", ")),
            "only new has them, and a copy of all domains would delete them",
        )
        .hint(HINT)),
    }
}

/// After a copy: what is on new now came from old.
pub(crate) fn remember_copied() -> Result<(), Failure> {
    journal::remember_long(COPIED, domains(Side::Old)?.join("\n").as_bytes())
}

/// After undo.
pub(crate) fn forget_copied() -> Result<(), Failure> {
    journal::forget(COPIED)
}
