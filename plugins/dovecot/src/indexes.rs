//! Dovecot's indexes on new, after files were copied below it. An index that knows UIDs of its own, with a UID list that
//! arrived later, shows a message under another's subject for ever, and `force-resync` keeps it so: the indexes of every
//! folder that a pass touched are set aside first.

use std::collections::BTreeSet;

use rehome_sdk::files::{Path, TouchedFolders};
use rehome_sdk::prelude::*;

use crate::{requests, users};

/// Rows of one call: enough to be fast, few enough for a bar that moves.
const AT_ONCE: usize = 200;

/// The mark up to which indexes were rebuilt: shared by all phases of this component.
const REBUILT: &str = "indexes rebuilt up to";

/// Folders that passes have touched since indexes were last rebuilt, by whichever phase.
fn touched() -> Result<TouchedFolders, Failure> {
    let since = journal::recall(REBUILT)?.and_then(|mark| String::from_utf8(mark).ok());
    requests::tree::MAIL.touched(since.as_deref())
}

/// The users of these folders, in lower case.
fn users_of(folders: &[Path]) -> BTreeSet<String> {
    folders.iter().filter_map(|folder| users::of_folder(folder)).map(|user| user.to_ascii_lowercase()).collect()
}

/// What [`rebuild`] would do.
pub(crate) fn preview(forecast: &mut Forecast) -> Result<(), Failure> {
    let folders = touched()?.folders;
    if !folders.is_empty() {
        let what = format!(
            "rebuilt for {} of {}",
            rehome_sdk::amount(folders.len() as u64, "mailbox", "mailboxes"),
            rehome_sdk::amount(users_of(&folders).len() as u64, "user", "users")
        );
        forecast.change("Dovecot's indexes on new", "", what);
    }
    Ok(())
}

/// Rebuilds what passes have touched, and answers whose mail it was. Dovecot on new must run.
pub(crate) fn rebuild() -> Result<Vec<String>, Failure> {
    let TouchedFolders { folders, mark } = touched()?;
    let wanted = users_of(&folders);
    let everybody = users::of(Side::New)?;
    let names = users::among(&everybody.names, &wanted);
    if names.len() < wanted.len() {
        let unknown = wanted.len() - names.len();
        report::warning(&format!("{unknown} of the users whose mail was copied are not known to Dovecot on new"));
    }
    let moved = requests::aside::INDEXES.on(Side::New).set_aside(&folders)?;
    let lists = requests::aside::LISTS.on(Side::New).set_aside(&roots(&folders))?;
    report::debug(&format!("set aside {moved} index files and {lists} of mailbox lists on new"));
    resync(&names)?;
    quota(&names)?;
    journal::remember(REBUILT, mark.as_bytes())?;
    Ok(names)
}

/// `DOMAIN/USER/Maildir` of each folder: there lies the index of a user's mailboxes.
fn roots(folders: &[Path]) -> Vec<Path> {
    let root = |folder: &Path| folder.splitn(4, |byte| *byte == b'/').take(3).collect::<Vec<_>>().join(&b'/');
    folders.iter().map(root).collect::<BTreeSet<_>>().into_iter().collect()
}

/// What doveadm ends with where it lists a mailbox that it cannot open: a folder whose name no IMAP client could have made
/// (a line feed, a broken UTF-7). All others of the user were resynced, and old lists and opens no more than that.
const NOT_FOUND: i32 = 68;

fn unreadable(name: &str, output: &rehome_sdk::exec::Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let folders: Vec<&str> =
        said.split("Opening mailbox ").skip(1).filter_map(|rest| rest.split(" failed").next()).collect();
    format!("{name}: Dovecot lists and cannot open {}: the files are copied, no client sees them", folders.join(", "))
}

fn resync(names: &[String]) -> Result<(), Failure> {
    let mut failed = Vec::new();
    for (at, some) in names.chunks(AT_ONCE).enumerate() {
        let results = requests::exec::RESYNC.on(Side::New).run_each(some.iter().map(|name| [name]))?;
        for (name, result) in some.iter().zip(results) {
            match result {
                Ok(output) if output.status == NOT_FOUND => report::warning(&unreadable(name, &output)),
                Ok(_) => {}
                Err(failure @ (Failure::Unreachable(_) | Failure::OutcomeUnknown(_))) => return Err(failure),
                Err(failure) => failed.push(format!("{name}: {}", failure.words())),
            }
        }
        report::progress((at * AT_ONCE + some.len()) as u64, Some(names.len() as u64), "users resynced");
    }
    if failed.is_empty() {
        return Ok(());
    }
    for line in &failed {
        report::error(line);
    }
    Err(stopped("mailboxes on new", format!("{} could not be resynced, first {}", failed.len(), failed[0]))
        .hint("`doveadm force-resync -u USER '*'` on new by hand shows more; then run `rehome apply` again"))
}

fn quota(names: &[String]) -> Result<(), Failure> {
    if !requests::exec::PLUGINS.on(Side::New).run()?.text().contains("quota") {
        return Ok(());
    }
    for some in names.chunks(AT_ONCE) {
        let results = requests::exec::QUOTA.on(Side::New).run_each(some.iter().map(|name| [name]))?;
        for (name, result) in some.iter().zip(results) {
            match result {
                Ok(_) => {}
                Err(failure @ (Failure::Unreachable(_) | Failure::OutcomeUnknown(_))) => return Err(failure),
                // A wrong sum does no harm to mail, and Dovecot corrects it in time.
                Err(failure) => report::warning(&format!("quota of {name}: {}", failure.words())),
            }
        }
    }
    Ok(())
}

/// On undo, once mail was brought back to old: the same trap there.
pub(crate) fn set_aside_on_old() -> Result<(), Failure> {
    let folders = requests::tree::MAIL.touched(None)?.folders;
    let mut all: BTreeSet<Path> = roots(&folders).into_iter().collect();
    all.extend(folders);
    let all: Vec<Path> = all.into_iter().collect();
    let moved = requests::aside::INDEXES_ON_OLD.on(Side::Old).set_aside(&all)?;
    report::info(&format!("set aside {moved} index files on old: Dovecot makes new ones"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_a_mailbox_is_its_users_maildir() {
        let folders = [b"example.org/john/Maildir/.Sent".to_vec(), b"example.org/john/Maildir".to_vec()];
        assert_eq!(roots(&folders), [b"example.org/john/Maildir".to_vec()]);
        assert_eq!(roots(&[b"example.org/john".to_vec()]), [b"example.org/john".to_vec()]);
    }
}
