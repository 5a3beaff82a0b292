//! What users see: messages, next UID and UIDVALIDITY of every mailbox, over Dovecot's own IMAP. Those of old are
//! remembered before it stops; new must have as many of everything ("the files are there, but mailboxes are empty").

use std::collections::BTreeMap;

use rehome_sdk::files::Kind;
use rehome_sdk::prelude::*;

use crate::imap::{self, Mailboxes};
use crate::{requests, service, users};

const REMEMBERED: &str = "counts-of-old";
const AT_ONCE: usize = 200;

type Counts = BTreeMap<String, Mailboxes>;

/// Asks for some users of a side; `users::of` must have listed them in this call. Those that did not answer come with why.
fn ask(side: Side, names: &[String]) -> Result<(Counts, Vec<(String, String)>), Failure> {
    let (mut counts, mut silent) = (Counts::new(), Vec::new());
    for (at, some) in names.chunks(AT_ONCE).enumerate() {
        let results = requests::exec::COUNTS.on(side).run_each(some.iter().map(|name| [name]))?;
        for (name, result) in some.iter().zip(results) {
            let answer = match result {
                Ok(output) => imap::mailboxes(&output.stdout),
                Err(failure @ Failure::Unreachable(_)) => return Err(failure),
                Err(failure) => Err(failure.words()),
            };
            match answer {
                Ok(mailboxes) => drop(counts.insert(name.clone(), mailboxes)),
                Err(why) => silent.push((name.clone(), why)),
            }
        }
        report::progress((at * AT_ONCE + some.len()) as u64, Some(names.len() as u64), "users counted");
    }
    Ok((counts, silent))
}

/// Remembers what users of old see. Dovecot on old must run.
pub(crate) fn remember_old() -> Result<(), Failure> {
    let names = users::of(Side::Old)?.names;
    let (counts, silent) = ask(Side::Old, &names)?;
    for (name, why) in &silent {
        report::warning(&format!("mailboxes of {name} on old cannot be counted, nor compared later: {why}"));
    }
    let text = serde_json::to_vec(&counts)
        .map_err(|why| stopped("mailboxes on old", format!("their counts cannot be written down: {why}")))?;
    journal::remember_long(REMEMBERED, &text)?;
    let mailboxes: usize = counts.values().map(BTreeMap::len).sum();
    report::info(&format!("counted {mailboxes} mailboxes of {} users on old", counts.len()));
    Ok(())
}

fn remembered() -> Result<Option<Counts>, Failure> {
    Ok(journal::recall_long(REMEMBERED)?.and_then(|text| serde_json::from_slice(&text).ok()))
}

pub(crate) fn are_remembered() -> Result<bool, Failure> {
    Ok(remembered()?.is_some())
}

/// Before new is opened: the mailboxes of these users must be as on old.
pub(crate) fn must_match(names: &[String]) -> Result<(), Failure> {
    let Some(old) = remembered()? else {
        report::warning("what users of old saw was not counted before it stopped: nothing to compare with");
        return Ok(());
    };
    let mut found = Findings::new();
    compare_some(&old, names, &mut found)?;
    let blockers: Vec<String> =
        found.blockers().map(|finding| format!("{}: {}", finding.subject, finding.text)).collect();
    let Some(first) = blockers.first() else { return Ok(()) };
    for line in &blockers {
        report::error(line);
    }
    Err(stopped("mailboxes on new", format!("{} do not hold what they held on old, first {first}", blockers.len()))
        .hint(
            "users cannot reach new yet; `rehome undo` takes the cutover back, `rehome apply` tries this phase again",
        ))
}

/// All users, for `verify`.
pub(crate) fn verify(found: &mut Findings) -> Result<(), Failure> {
    let Some(old) = remembered()? else {
        found.note("mailboxes", "were not counted on old before it stopped: nothing to compare with");
        return Ok(());
    };
    if !service::is_active(Side::New)? {
        found.blocker("Dovecot on new", "does not run: mailboxes cannot be counted");
        return Ok(());
    }
    let known = users::of(Side::New)?.names;
    let is_known = |name: &str| known.iter().any(|user| user.eq_ignore_ascii_case(name));
    for missing in old.keys().filter(|name| !is_known(name)) {
        found.blocker(format!("user {missing}"), "is not known to Dovecot on new");
    }
    let before = found.blockers().count();
    compare_some(&old, &known, found)?;
    if found.blockers().count() == before {
        let mailboxes: usize = old.values().map(BTreeMap::len).sum();
        found.ok("mailboxes on new", format!("all {mailboxes} of {} users hold what they held on old", old.len()));
    }
    Ok(())
}

fn compare_some(old: &Counts, names: &[String], found: &mut Findings) -> Result<(), Failure> {
    let of_old = |name: &str| old.iter().find(|(user, _)| user.eq_ignore_ascii_case(name)).map(|(_, boxes)| boxes);
    let names: Vec<String> = names.iter().filter(|name| of_old(name).is_some()).cloned().collect();
    let (new, silent) = ask(Side::New, &names)?;
    for (name, why) in silent {
        found.blocker(format!("mailboxes of {name} on new"), format!("cannot be read: {why}"));
    }
    for (name, mailboxes) in &new {
        if let Some(before) = of_old(name) {
            compare(name, before, mailboxes, found)?;
        }
    }
    Ok(())
}

/// New may have more (mail arrived since), and nothing less than old has.
fn compare(user: &str, old: &Mailboxes, new: &Mailboxes, found: &mut Findings) -> Result<(), Failure> {
    for (name, before) in old {
        let subject = format!("mailbox {name} of {user}");
        let Some(after) = new.get(name) else {
            found.blocker(subject, format!("is not there on new; it holds {} messages on old", before.messages));
            continue;
        };
        // A user may have deleted some after they were counted, until Dovecot on old stopped: its files say how many are left.
        if after.messages < before.messages && files_on_old(user, name)?.is_none_or(|files| after.messages < files) {
            found
                .blocker(
                    &subject,
                    format!("holds {} messages on new, and held {} on old", after.messages, before.messages),
                )
                .hint("fewer is right only where the user has deleted some since");
        }
        if after.uid_validity != before.uid_validity {
            let text = format!(
                "has UIDVALIDITY {} on old and {} on new: mail programs download it all again",
                before.uid_validity, after.uid_validity
            );
            found.blocker(&subject, text).hint("dovecot-uidlist of this mailbox was not copied, or not read");
        }
        if after.uid_next < before.uid_next {
            found.blocker(&subject, format!("gives UIDs again that it gave on old, from {}", after.uid_next));
        }
    }
    Ok(())
}

/// How many message files a mailbox of old has; none where its folder is not to be found by the mailbox's name.
fn files_on_old(user: &str, mailbox: &str) -> Result<Option<u64>, Failure> {
    let Some((local, domain)) = user.rsplit_once('@') else { return Ok(None) };
    let mut folder = format!("{domain}/{local}/Maildir/").into_bytes();
    if !mailbox.eq_ignore_ascii_case("INBOX") {
        // Maildir++: `A/B` or `A.B` is the folder `.A.B`; a byte of the name is a character here.
        folder.push(b'.');
        folder
            .extend(mailbox.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).map(|b| if b == b'/' { b'.' } else { b }));
        folder.push(b'/');
    }
    let mut files = 0;
    for part in [b"cur", b"new"] {
        match requests::tree::MAIL.on(Side::Old).list(&[&folder[..], part].concat(), 1) {
            Ok(entries) => files += entries.iter().filter(|entry| entry.kind == Kind::File).count() as u64,
            Err(failure @ Failure::Unreachable(_)) => return Err(failure),
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(files))
}
