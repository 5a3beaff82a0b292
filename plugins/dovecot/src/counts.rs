//! What users see: messages, next UID and UIDVALIDITY of every mailbox, over Dovecot's own IMAP. Those of old are
//! remembered before it stops; new must have as many of everything ("the files are there, but mailboxes are empty").
//! `ahead` counts on new what it has rebuilt: in the cutover only those users are counted again whose mail has changed since.
//! Invariant: nobody reaches new before each user's mailboxes, as last counted there, hold what they held on old.

use std::collections::{BTreeMap, BTreeSet};

use rehome_sdk::files::Kind;
use rehome_sdk::prelude::*;

use crate::imap::{self, Mailboxes};
use crate::{requests, service, users};

const OF_OLD: &str = "counts-of-old";
const OF_NEW: &str = "counts-of-new";
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
    write(OF_OLD, &counts)?;
    let mailboxes: usize = counts.values().map(BTreeMap::len).sum();
    report::info(&format!("counted {mailboxes} mailboxes of {} users on old", counts.len()));
    Ok(())
}

/// Remembers what these users will see on new, beside what is remembered of others. To be called before their mailboxes count
/// as read: what is killed in between is done again.
pub(crate) fn remember_new(names: &[String]) -> Result<(), Failure> {
    if names.is_empty() {
        return Ok(());
    }
    let mut all = read(OF_NEW)?.unwrap_or_default();
    let (counts, silent) = ask(Side::New, names)?;
    all.extend(counts);
    for (name, why) in silent {
        report::warning(&format!("mailboxes of {name} on new cannot be counted: {why}"));
        // Asked again in the cutover, and then it matters.
        all.insert(name, Mailboxes::new());
    }
    write(OF_NEW, &all)
}

fn write(key: &str, counts: &Counts) -> Result<(), Failure> {
    let text = serde_json::to_vec(counts)
        .map_err(|why| stopped("mailboxes", format!("their counts cannot be written down: {why}")))?;
    journal::remember_long(key, &text)
}

fn read(key: &str) -> Result<Option<Counts>, Failure> {
    Ok(journal::recall_long(key)?.and_then(|text| serde_json::from_slice(&text).ok()))
}

pub(crate) fn are_remembered() -> Result<bool, Failure> {
    Ok(read(OF_OLD)?.is_some())
}

/// Before new is opened: mailboxes must be as on old. `names` were read anew just now and are asked; of the others whose mail
/// has moved, those whose counts of `ahead` are not what old had.
pub(crate) fn must_match(names: &[String]) -> Result<(), Failure> {
    let Some(old) = read(OF_OLD)? else {
        report::warning("what users of old saw was not counted before it stopped: nothing to compare with");
        return Ok(());
    };
    let others = doubtful(&old, names)?;
    let mut all = names.to_vec();
    if !others.is_empty() {
        all.extend(users::among(&users::of(Side::New)?.names, &others));
    }
    let mut found = Findings::new();
    compare_some(&old, &all, &mut found)?;
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

/// Users whom `ahead` has counted on new with less than old has, in lower case; without `known`.
fn doubtful(old: &Counts, known: &[String]) -> Result<BTreeSet<String>, Failure> {
    let lower = |counts: Counts| -> Counts {
        counts.into_iter().map(|(name, boxes)| (name.to_ascii_lowercase(), boxes)).collect()
    };
    let (old, new) = (lower(old.clone()), lower(read(OF_NEW)?.unwrap_or_default()));
    let is_less = |name: &String, new: &Mailboxes| {
        let is_known = known.iter().any(|user| user.eq_ignore_ascii_case(name));
        !is_known && old.get(name).is_some_and(|old| !holds(old, new))
    };
    Ok(new.iter().filter(|(name, boxes)| is_less(name, boxes)).map(|(name, _)| name.clone()).collect())
}

/// Whether new has all that old has.
fn holds(old: &Mailboxes, new: &Mailboxes) -> bool {
    old.iter().all(|(name, before)| {
        new.get(name).is_some_and(|after| {
            after.messages >= before.messages
                && after.uid_validity == before.uid_validity
                && after.uid_next >= before.uid_next
        })
    })
}

/// All users, for `verify`.
pub(crate) fn verify(found: &mut Findings) -> Result<(), Failure> {
    let Some(old) = read(OF_OLD)?.filter(|old| !old.is_empty()) else {
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
            if !is_gone_on_old(user, name)? {
                found.blocker(subject, format!("is not there on new; it holds {} messages on old", before.messages));
            }
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

/// A user's Maildir below the tree, with a slash at its end.
fn maildir(user: &str) -> Option<Vec<u8>> {
    let (local, domain) = user.rsplit_once('@')?;
    Some(format!("{domain}/{local}/Maildir/").into_bytes())
}

/// A mailbox's name as Maildir++ has it in the name of a folder: `A/B` or `A.B` is `A.B`; a byte of the name is a character here.
fn bytes_of(mailbox: &str) -> Vec<u8> {
    let byte = |c: char| u8::try_from(c).unwrap_or(b'?');
    mailbox.chars().map(byte).map(|byte| if byte == b'/' { b'.' } else { byte }).collect()
}

/// How many message files a mailbox of old has; none where its folder is not to be found by the mailbox's name.
fn files_on_old(user: &str, mailbox: &str) -> Result<Option<u64>, Failure> {
    let Some(mut folder) = maildir(user) else { return Ok(None) };
    if !mailbox.eq_ignore_ascii_case("INBOX") {
        folder.push(b'.');
        folder.extend(bytes_of(mailbox));
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

/// Whether the user has deleted the mailbox after it was counted: nothing in the Maildir of old has its name, nor the name of
/// what it lies in, whatever the layout is and with or without the prefix `INBOX`. In doubt it is not gone.
fn is_gone_on_old(user: &str, mailbox: &str) -> Result<bool, Failure> {
    let Some(maildir) = maildir(user) else { return Ok(false) };
    let entries = match requests::tree::MAIL.on(Side::Old).list(&maildir[..maildir.len() - 1], 1) {
        Ok(entries) => entries,
        Err(failure @ Failure::Unreachable(_)) => return Err(failure),
        Err(_) => return Ok(false),
    };
    let name = bytes_of(mailbox);
    let bare = name.strip_prefix(b"INBOX.").unwrap_or(&name);
    let first = bare.split(|byte| *byte == b'.').next().unwrap_or_default();
    let is_it = |found: &[u8]| {
        let dotted = found.strip_prefix(b".");
        dotted == Some(&name[..]) || dotted == Some(bare) || found == first
    };
    let named = |path: &[u8]| path.rsplit(|byte| *byte == b'/').next().is_some_and(is_it);
    Ok(!mailbox.eq_ignore_ascii_case("INBOX") && !entries.iter().any(|entry| named(&entry.path)))
}
