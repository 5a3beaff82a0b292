//! Whether the mail fits on the disk of new: bytes and inodes, against what a comparison says is missing there.

use rehome_sdk::prelude::*;
use rehome_sdk::{amount, bytes};

use crate::{Config, heard, requests};

pub(crate) fn check(config: &Config, found: &mut Findings) -> Result<(), Failure> {
    let subject = format!("disk under {} on new", config.vmail);
    let compared = heard(requests::sync::MAIL.compare())?;
    let free = heard(requests::tree::MAIL.on(Side::New).free())?;
    let (compared, free) = match (compared, free) {
        (Ok(compared), Ok(free)) => (compared, free),
        (Err(why), _) | (_, Err(why)) => {
            found
                .blocker(subject, format!("cannot be compared with the mail on old: {why}"))
                .hint(format!("{} must be there on both sides; `vmail` in the plan says where it is", config.vmail));
            return Ok(());
        }
    };
    // A twentieth more: folders, indexes, and mail that arrives meanwhile.
    let needed = compared.missing_bytes.saturating_add(compared.missing_bytes / 20);
    let files = compared.missing.saturating_add(compared.missing / 20);
    let mail = format!("{} to copy, {}", amount(compared.missing, "file", "files"), bytes(compared.missing_bytes));
    if needed > free.bytes {
        found
            .blocker(&subject, format!("has {} left, and needs {}: {mail}", bytes(free.bytes), bytes(needed)))
            .hint("make room, or put the mail on a larger disk, before anything is copied");
    }
    if files > free.inodes {
        found
            .blocker(&subject, format!("has {} inodes left, and needs {files}: {mail}", free.inodes))
            .hint("`df -i` shows them: a file system with more inodes is needed");
    }
    if needed <= free.bytes && files <= free.inodes {
        found.ok(subject, format!("has {} left: {mail}", bytes(free.bytes)));
    }
    Ok(())
}
