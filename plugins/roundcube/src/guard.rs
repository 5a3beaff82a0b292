//! Keeps what only new has: old's tables (or rows) replace those of new. A user whom old does not know would be lost, and so
//! would be what somebody who works on new already has added there since an earlier copy of this component.
//! Invariant: `apply` stops before anybody loses a contact without a word; those that an earlier copy brought may go.

use rehome_sdk::amount;
use rehome_sdk::prelude::*;

use crate::Config;
use crate::in_use;
use crate::ledger::{Entry, Ledger};

const COPIED: &str = "copied-users";

/// Somebody of new to whom a copy would do harm.
struct Loss<'a> {
    entry: &'a Entry,
    text: String,
    /// `apply` does not do it
    refused: bool,
}

/// Users that an earlier copy brought.
fn ours() -> Result<Vec<String>, Failure> {
    Ok(journal::recall_long(COPIED)?.map(|text| lines(&text)).unwrap_or_default())
}

fn losses<'a>(ctx: &Context<Config>, old: &Ledger, new: &'a Ledger) -> Result<Vec<Loss<'a>>, Failure> {
    let ours = ours()?;
    // Asked for again once users have moved: whatever they have changed on new is theirs, not only what they have added.
    let moved = ctx.run > 1 && !in_use(ctx);
    let loss = |entry: &'a Entry| {
        let contacts = amount(entry.contacts, "contact", "contacts");
        let same: Vec<&Entry> = old.0.iter().filter(|user| user.user == entry.user).collect();
        let copied = ours.contains(&entry.user);
        if same.is_empty() {
            let text = format!("is not on old, and would be lost with {contacts}");
            return (!copied).then_some(Loss { entry, text, refused: true });
        }
        if !copied {
            let text = format!("has {contacts} on new: those of old take their place");
            return (entry.contacts > 0).then_some(Loss { entry, text, refused: false });
        }
        let is_later = same.iter().all(|user| user.last_login < entry.last_login);
        let is_changed = same.iter().all(|user| user.content != entry.content);
        let has_more = same.iter().all(|user| user.total() < entry.total());
        let known = same.iter().map(|user| user.contacts).max().unwrap_or_default();
        let text = format!("has used Roundcube on new since the copy: {contacts} there, {known} on old");
        (is_later && is_changed).then_some(Loss { entry, text, refused: has_more || moved })
    };
    Ok(new.0.iter().filter_map(loss).collect())
}

/// The same as findings.
pub(crate) fn check(ctx: &Context<Config>, old: &Ledger, new: &Ledger, found: &mut Findings) -> Result<(), Failure> {
    for loss in losses(ctx, old, new)? {
        let subject = format!("webmail user {} on new", loss.entry.user);
        if loss.refused {
            found.blocker(subject, &loss.text).hint(hint(ctx, loss.entry));
        } else {
            found.warning(subject, &loss.text).hint("the snapshot of new keeps what is there, for undo");
        }
    }
    Ok(())
}

fn hint(ctx: &Context<Config>, entry: &Entry) -> String {
    let other = match ctx.config.domains.as_slice() {
        [] => "name the domains that move in the plan (`domains = […]`), or ",
        _ => "",
    };
    format!(
        "{other}delete the user on new, if what is there may go: DELETE FROM users WHERE username = '{}' AND mail_host = '{}'",
        entry.user, entry.host
    )
}

/// Stops `apply` before anybody loses something; says what it replaces.
pub(crate) fn refuse(ctx: &Context<Config>, old: &Ledger, new: &Ledger) -> Result<(), Failure> {
    let (refused, replaced): (Vec<Loss<'_>>, Vec<Loss<'_>>) =
        losses(ctx, old, new)?.into_iter().partition(|loss| loss.refused);
    for loss in replaced {
        report::warning(&format!("webmail user {} on new {}", loss.entry.user, loss.text));
    }
    let Some(first) = refused.first() else { return Ok(()) };
    let more = match refused.len() {
        1 => String::new(),
        all => format!(" (and {} more)", all - 1),
    };
    Err(stopped(format!("webmail user {} on new", first.entry.user), format!("{}{more}", first.text))
        .hint(hint(ctx, first.entry)))
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
