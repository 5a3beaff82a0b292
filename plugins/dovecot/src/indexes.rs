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

/// Users whose mail was copied before Dovecot on new knew them: their accounts come with a later copy.
const WAITING: &str = "users to be known yet";

/// "yes" where Dovecot on new has quotas, else "no".
const QUOTAS: &str = "new-has-quotas";

/// "MILLISECONDS USERS" of the last rebuilding while old worked.
const TOOK: &str = "rebuilding took";

/// Folders that passes have touched since indexes were last rebuilt, by whichever phase.
fn touched() -> Result<TouchedFolders, Failure> {
    let since = journal::recall(REBUILT)?.and_then(|mark| String::from_utf8(mark).ok());
    requests::tree::MAIL.touched(since.as_deref())
}

/// The users of these folders, in lower case.
fn users_of(folders: &[Path]) -> BTreeSet<String> {
    folders.iter().filter_map(|folder| users::of_folder(folder)).map(|user| user.to_ascii_lowercase()).collect()
}

fn waiting() -> Result<BTreeSet<String>, Failure> {
    Ok(journal::recall_long(WAITING)?.map(|text| lines(&text).into_iter().collect()).unwrap_or_default())
}

/// What [`rebuild`] would do. Answers how long it should take, if it was measured.
pub(crate) fn preview(forecast: &mut Forecast) -> Result<Option<u64>, Failure> {
    let folders = touched()?.folders;
    let users = users_of(&folders).len() as u64;
    if !folders.is_empty() {
        let what = format!(
            "rebuilt for {} of {}",
            rehome_sdk::amount(folders.len() as u64, "mailbox", "mailboxes"),
            rehome_sdk::amount(users, "user", "users")
        );
        forecast.change("Dovecot's indexes on new", "", what);
    }
    let text = journal::recall_text(TOOK)?.unwrap_or_default();
    let measured =
        text.split_once(' ').and_then(|(took, of)| Some((took.parse::<u64>().ok()?, of.parse::<u64>().ok()?)));
    Ok(measured.filter(|(_, of)| *of > 0).map(|(took, of)| took.saturating_mul(users) / of))
}

/// What was rebuilt. It counts once it is remembered: whoever goes on with it first does what must not be left out.
pub(crate) struct Rebuilt {
    /// users whose mailboxes were read anew
    pub(crate) names: Vec<String>,
    mark: String,
    waiting: BTreeSet<String>,
}

impl Rebuilt {
    /// From here on only what passes touch later is rebuilt. `milliseconds`: what it took, if that shall be a measure.
    pub(crate) fn remember(&self, milliseconds: Option<u64>) -> Result<(), Failure> {
        if self.waiting != waiting()? {
            let text = self.waiting.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
            journal::remember_long(WAITING, text.as_bytes())?;
        }
        if let Some(milliseconds) = milliseconds.filter(|_| !self.names.is_empty()) {
            journal::remember(TOOK, format!("{milliseconds} {}", self.names.len()))?;
        }
        journal::remember(REBUILT, &self.mark)
    }
}

/// Whether a step is taken while users still work or while they wait: then what is known already is not asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Users {
    Work,
    Wait,
}

/// Rebuilds what passes have touched, whichever phase ran them and however they ended. Dovecot on new must run.
pub(crate) fn rebuild(meanwhile: Users) -> Result<Rebuilt, Failure> {
    let TouchedFolders { folders, mark } = touched()?;
    let mut wanted = users_of(&folders);
    wanted.extend(waiting()?);
    let names = if wanted.is_empty() { Vec::new() } else { users::among(&users::of(Side::New)?.names, &wanted) };
    let known: BTreeSet<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let waiting: BTreeSet<String> = wanted.difference(&known).cloned().collect();
    if !waiting.is_empty() {
        report::warning(&format!(
            "{} of the users whose mail was copied are not known to Dovecot on new; they are read as soon as they are",
            waiting.len()
        ));
    }
    if !folders.is_empty() {
        let moved = requests::aside::INDEXES.on(Side::New).set_aside(&folders)?;
        let lists = requests::aside::LISTS.on(Side::New).set_aside(&roots(&folders))?;
        report::debug(&format!("set aside {moved} index files and {lists} of mailbox lists on new"));
    }
    if !names.is_empty() {
        resync(&names)?;
        if has_quotas(meanwhile)? {
            quota(&names)?;
        }
    }
    Ok(Rebuilt { names, mark, waiting })
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

/// As `ahead` saw it last.
fn has_quotas(meanwhile: Users) -> Result<bool, Failure> {
    if meanwhile == Users::Wait
        && let Some(known) = journal::recall_text(QUOTAS)?
    {
        return Ok(known == "yes");
    }
    let has = requests::exec::PLUGINS.on(Side::New).run()?.text().contains("quota");
    journal::remember(QUOTAS, if has { "yes" } else { "no" })?;
    Ok(has)
}

fn quota(names: &[String]) -> Result<(), Failure> {
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
