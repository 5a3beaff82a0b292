//! Settings made by hand: what is in effect on old and not on new. A fresh installation has the guide's settings, not the
//! operator's own. Invariant: nothing is copied, no secret is shown, and what belongs to a host (its name, its addresses,
//! its certificates) is no difference. `postfix`, `dovecot` and `files` each look at one kind; `relay` and `changed` know traps.

mod aliases;
mod changed;
mod dovecot;
mod files;
mod milters;
mod postfix;
mod relay;
mod value;

use rehome_sdk::prelude::*;

pub(crate) use dovecot::{Dovecot, settings as dovecot};

/// Both sides must be machines. `dovecot`: their Dovecots, where both could be read. Files, whose digests take the longest,
/// are left out where that was looked at before.
pub(crate) fn check(
    dovecot: Option<(&Dovecot, &Dovecot)>,
    with_files: bool,
    found: &mut Findings,
) -> Result<(), Failure> {
    let before = found.as_slice().len();
    postfix::check(found)?;
    if let Some((old, new)) = dovecot {
        dovecot::check(old, new, found);
    }
    if with_files {
        files::check(found)?;
    }
    aliases::check(found)?;
    milters::check(found)?;
    if found.as_slice().len() == before {
        found.ok("settings made by hand", "what is in effect on old is in effect on new as well");
    }
    Ok(())
}

/// "3.5.25" and "2.3.19.1 (9b53102964)": the first two numbers.
fn release(version: &str) -> (u32, u32) {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
