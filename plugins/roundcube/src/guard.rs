//! Keeps users that only new has: old's tables replace those of new, and their contacts would go. Those that an earlier copy
//! of this component brought may go: they went on old.

use rehome_sdk::amount;
use rehome_sdk::prelude::*;

use crate::Config;
use crate::ledger::{Entry, Ledger};

const COPIED: &str = "copied-users";

/// Users that an earlier copy brought.
fn ours() -> Result<Vec<String>, Failure> {
    Ok(journal::recall_long(COPIED)?.map(|text| lines(&text)).unwrap_or_default())
}

fn only_on_new<'a>(ctx: &Context<Config>, old: &Ledger, new: &'a Ledger) -> Result<Vec<&'a Entry>, Failure> {
    if !ctx.config.domains.is_empty() {
        return Ok(Vec::new());
    }
    let ours = ours()?;
    let known = |entry: &&Entry| old.0.iter().any(|user| user.user == entry.user) || ours.contains(&entry.user);
    Ok(new.0.iter().filter(|entry| !known(entry)).collect())
}

/// The same as findings; and who has contacts on both sides.
pub(crate) fn check(ctx: &Context<Config>, old: &Ledger, new: &Ledger, found: &mut Findings) -> Result<(), Failure> {
    for entry in only_on_new(ctx, old, new)? {
        let contacts = amount(entry.contacts, "contact", "contacts");
        found
            .blocker(
                format!("webmail user {} on new", entry.user),
                format!("is not on old, and would be lost with {contacts}"),
            )
            .hint(hint(&entry.user));
    }
    let ours = ours()?;
    let both = new.0.iter().filter(|entry| entry.contacts > 0 && !ours.contains(&entry.user));
    for entry in both.filter(|entry| old.0.iter().any(|user| user.user == entry.user)) {
        let text =
            format!("has {} on new: those of old take their place", amount(entry.contacts, "contact", "contacts"));
        found.warning(format!("webmail user {}", entry.user), text).hint("the snapshot of new keeps them, for undo");
    }
    Ok(())
}

fn hint(user: &str) -> String {
    format!(
        "name the domains that move in the plan (`domains = […]`), or delete a user that was only a trial: \
         DELETE FROM users WHERE username = '{user}'"
    )
}

/// Stops `apply` before anybody is lost.
pub(crate) fn refuse(ctx: &Context<Config>, old: &Ledger, new: &Ledger) -> Result<(), Failure> {
    let others = only_on_new(ctx, old, new)?;
    let Some(first) = others.first() else { return Ok(()) };
    let names: Vec<&str> = others.iter().take(5).map(|entry| entry.user.as_str()).collect();
    let more = if others.len() > names.len() { ", …" } else { "" };
    let subject = format!("webmail users on new: {}{more}", names.join(", "));
    Err(stopped(subject, "only new has them, and they would be lost").hint(hint(&first.user)))
}

/// After a copy: these came from old.
pub(crate) fn remember_copied(old: &Ledger) -> Result<(), Failure> {
    let mut users = ours()?;
    users.extend(old.0.iter().map(|entry| entry.user.clone()));
    users.sort();
    users.dedup();
    journal::remember_long(COPIED, users.join("\n").as_bytes())
}

/// After undo.
pub(crate) fn forget_copied() -> Result<(), Failure> {
    journal::forget(COPIED)
}
