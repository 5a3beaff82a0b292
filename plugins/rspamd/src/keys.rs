//! The DKIM keys as files. Their bytes go from side to side and never come here: names, sizes, owners and modes do.
//! Invariant: nothing that new had is lost; a key of the same name with another content is kept aside.

use rehome_sdk::amount;
use rehome_sdk::files::{Comparison, Entry, Kind};
use rehome_sdk::prelude::*;

use crate::{Config, changing, requests, severity};

/// The names that new had before the first pass. Begins with a word, for nothing at all cannot be remembered.
const BEFORE: &str = "keys-of-new-before";
const HAD: &str = "had:\n";

/// The files of a side; none: there is no such folder.
pub(crate) fn files(side: Side) -> Result<Option<Vec<Entry>>, Failure> {
    match requests::tree::KEYS.on(side).list(b"", 0) {
        Ok(entries) => Ok(Some(entries.into_iter().filter(|entry| entry.kind == Kind::File).collect())),
        Err(Failure::NotFound(_)) => Ok(None),
        Err(failure) => Err(failure),
    }
}

pub(crate) fn name(entry: &Entry) -> String {
    String::from_utf8_lossy(&entry.path).into_owned()
}

/// Whether old has keys at all.
fn to_bring() -> Result<Vec<Entry>, Failure> {
    Ok(files(Side::Old)?.unwrap_or_default())
}

pub(crate) fn check(config: &Config, found: &mut Findings) -> Result<(), Failure> {
    let keys = to_bring()?;
    let subject = |side: Side| format!("DKIM keys on {side}");
    if keys.is_empty() {
        found.note(subject(Side::Old), format!("there are none in {}: nothing is signed there", config.dkim_folder));
        return Ok(());
    }
    found.ok(subject(Side::Old), amount(keys.len() as u64, "file", "files"));
    let Some(on_new) = files(Side::New)? else {
        let (user, group) = config.dkim_owner.split_once(':').unwrap_or((&config.dkim_owner, &config.dkim_owner));
        found
            .blocker(subject(Side::New), format!("{} is not there", config.dkim_folder))
            .hint(format!("install -d -o {user} -g {group} -m 0750 {}", config.dkim_folder));
        return Ok(());
    };
    if on_new.is_empty() {
        return Ok(());
    }
    let comparison = requests::sync::KEYS.compare_contents()?;
    if comparison.different > 0 {
        let text = format!("other ones under the same names: {}", comparison.examples.join("; "));
        found.warning(subject(Side::New), text).hint("those of old take their place, and those of new are kept aside");
    }
    Ok(())
}

pub(crate) fn preview(config: &Config, forecast: &mut Forecast) -> Result<(), Failure> {
    let keys = to_bring()?;
    if keys.is_empty() || files(Side::New)?.is_none() {
        return Ok(());
    }
    let comparison = requests::sync::KEYS.compare_contents()?;
    let subject = format!("DKIM keys in {} on new", config.dkim_folder);
    if comparison.missing > 0 {
        let change = forecast.change(&subject, "", format!("{} of old", amount(comparison.missing, "file", "files")));
        if had_keys()? {
            change.irreversible();
            forecast.not_yet("on undo the keys of old stay on new, beside its own: nothing there uses them");
        }
    }
    if comparison.different > 0 {
        let text = format!(
            "{} replaced by those of old; the former ones are kept aside, and undo does not put them back",
            amount(comparison.different, "file", "files")
        );
        forecast.change(&subject, "", text).irreversible();
    }
    let wrong = wrong()?;
    if comparison.missing + comparison.different == 0 && !wrong.is_empty() {
        forecast.change(subject, wrong.join("; "), format!("{}, modes as on old", config.dkim_owner));
    }
    Ok(())
}

/// Whether new had keys of its own: then undo cannot tell by their folder which ones came from old.
fn had_keys() -> Result<bool, Failure> {
    match journal::recall_text(BEFORE)? {
        Some(text) => Ok(text.trim_end() != HAD.trim_end()),
        None => Ok(files(Side::New)?.is_some_and(|files| !files.is_empty())),
    }
}

pub(crate) fn bring(config: &Config) -> Result<(), Failure> {
    let keys = to_bring()?;
    if keys.is_empty() {
        report::info("old has no DKIM keys: none are copied");
        return Ok(());
    }
    let Some(on_new) = files(Side::New)? else {
        return Err(stopped("DKIM keys on new", format!("{} is not there", config.dkim_folder))
            .hint("`rehome check` says how to make it"));
    };
    if journal::recall(BEFORE)?.is_none() {
        let names: Vec<String> = on_new.iter().map(name).collect();
        journal::remember(BEFORE, format!("{HAD}{}", names.join("\n")))?;
    }
    if lacks(&requests::sync::OWNERS.compare_contents()?) == 0 {
        return Ok(());
    }
    changing()?;
    let report = requests::sync::KEYS.run()?;
    requests::sync::OWNERS.run()?;
    if report.copied > 0 {
        report::info(&format!("{} copied, of {}", amount(report.copied, "DKIM key", "DKIM keys"), keys.len()));
    }
    match wrong()?.as_slice() {
        [] => Ok(()),
        wrong => Err(stopped("DKIM keys on new", wrong.join("; "))),
    }
}

/// How many keys are not on new as they must be. What only new has does not count.
fn lacks(comparison: &Comparison) -> u64 {
    comparison.missing + comparison.different
}

/// What is not as on old: contents, and what rspamd needs to read a key, its owner, group and mode.
fn wrong() -> Result<Vec<String>, Failure> {
    let comparison = requests::sync::OWNERS.compare_contents()?;
    let found = lacks(&comparison);
    if found == 0 {
        return Ok(Vec::new());
    }
    let only_on_new = |example: &String| example.contains("only on the target");
    let named: Vec<String> = comparison.examples.into_iter().filter(|example| !only_on_new(example)).collect();
    Ok(if named.is_empty() { vec![format!("{} differ", amount(found, "file", "files"))] } else { named })
}

pub(crate) fn verify(ctx: &Context<Config>, found: &mut Findings) -> Result<(), Failure> {
    let keys = to_bring()?;
    if keys.is_empty() {
        return Ok(());
    }
    let wrong = match files(Side::New)? {
        Some(_) => wrong()?,
        None => vec![format!("{} is not there", ctx.config.dkim_folder)],
    };
    if wrong.is_empty() {
        let text = format!("{} as on old, of {}", amount(keys.len() as u64, "file", "files"), ctx.config.dkim_owner);
        found.ok("DKIM keys on new", text);
    } else {
        found.add(severity(ctx), "DKIM keys on new", wrong.join("; "));
    }
    Ok(())
}

pub(crate) fn back(config: &Config) -> Result<(), Failure> {
    let Some(text) = journal::recall_text(BEFORE)? else { return Ok(()) };
    let before: Vec<String> = lines(text.strip_prefix(HAD).unwrap_or_default().as_bytes());
    if before.is_empty() {
        let moved = requests::aside::KEYS.on(Side::New).set_aside(&[Vec::new()])?;
        report::info(&format!("{} moved out of {} on new", amount(moved, "DKIM key", "DKIM keys"), config.dkim_folder));
    }
    let left: Vec<String> =
        files(Side::New)?.unwrap_or_default().iter().map(name).filter(|name| !before.contains(name)).collect();
    if !left.is_empty() {
        report::warning(&format!(
            "files of old stay in {} on new, beside those it had: {}",
            config.dkim_folder,
            left.join(", ")
        ));
    }
    journal::forget(BEFORE)
}
