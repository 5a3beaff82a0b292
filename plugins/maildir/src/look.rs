//! What both sides hold, and what it means: space, changes to come, and what a difference is once new is in use.

use rehome_sdk::files::Comparison;
use rehome_sdk::prelude::*;
use rehome_sdk::{amount, bytes};

use crate::{Closeness, Config, Pass, mail, requests};

/// By the request of this pass: filters and scope are the same in both, limits of the grant may not be.
pub(crate) fn compare(pass: Pass) -> Result<Comparison, Failure> {
    match pass {
        Pass::Hot => requests::sync::HOT.compare(),
        Pass::Cold => requests::sync::COLD.compare(),
    }
}

/// How far Dovecot is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runs {
    Yes,
    /// on its way down: it lets nobody in any more
    Stopping,
    No,
}

/// A side that is a folder runs nothing.
pub(crate) fn runs(side: Side) -> Result<Runs, Failure> {
    match requests::exec::ACTIVE.on(side).run() {
        Ok(output) => Ok(match output.text().as_str() {
            "active" | "activating" | "reloading" => Runs::Yes,
            "deactivating" => Runs::Stopping,
            _ => Runs::No,
        }),
        Err(Failure::Unsupported(_)) => Ok(Runs::No),
        Err(failure) => Err(failure),
    }
}

/// Whether Dovecot runs there, if only for a moment more.
pub(crate) fn is_active(side: Side) -> Result<bool, Failure> {
    Ok(runs(side)? != Runs::No)
}

/// "12 missing on new (4.5 MB), 3 only on new, 1 different".
pub(crate) fn words(comparison: &Comparison) -> String {
    if comparison.is_equal() {
        return format!("{} on old, the same on new", amount(comparison.examined, "entry", "entries"));
    }
    let mut parts = Vec::new();
    if comparison.missing > 0 {
        parts.push(format!("{} missing on new ({})", comparison.missing, bytes(comparison.missing_bytes)));
    }
    if comparison.extra > 0 {
        parts.push(format!("{} only on new", comparison.extra));
    }
    if comparison.different > 0 {
        parts.push(format!("{} different", comparison.different));
    }
    parts.join(", ")
}

/// Whether what is missing fits. A twentieth is left free: a full disk stops more than the copy.
pub(crate) fn space(ctx: &Context<Config>, comparison: &Comparison, found: &mut Findings) -> Result<(), Failure> {
    let free = requests::tree::MAIL.on(Side::New).free()?;
    let subject = format!("disk under {} on new", ctx.config.path);
    let needed = comparison.missing_bytes.saturating_add(comparison.missing_bytes / 20);
    let files = comparison.missing.saturating_add(comparison.missing / 20);
    if needed > free.bytes {
        found
            .blocker(&subject, format!("has {} left, and the mail needs {}", bytes(free.bytes), bytes(needed)))
            .hint("make room, or put the mail on a larger disk, before anything is copied");
    }
    if files > free.inodes {
        found
            .blocker(&subject, format!("has {} inodes left, and the mail needs {files}", free.inodes))
            .hint("`df -i` shows them: a file system with more inodes is needed");
    }
    Ok(())
}

/// What the pass would change.
pub(crate) fn changes(ctx: &Context<Config>, comparison: &Comparison, forecast: &mut Forecast) {
    let subject = format!("{} on new", mail(ctx));
    if comparison.missing > 0 {
        let text =
            format!("{} copied, {}", amount(comparison.missing, "file", "files"), bytes(comparison.missing_bytes));
        forecast.change(&subject, "", text);
    }
    if comparison.different > 0 {
        let text = format!(
            "{} made as on old: flags, UID lists, owners, times",
            amount(comparison.different, "file", "files")
        );
        forecast.change(&subject, "", text);
    }
    if comparison.extra > 0 {
        let text = format!("{} set aside: old does not have them", amount(comparison.extra, "file", "files"));
        forecast.change(&subject, "", text).irreversible();
    }
    if ctx.config.pass == Pass::Cold && !comparison.is_equal() {
        let text = "undo carries mail that arrives on new back to old, but not flags, moves and deletions";
        forecast.change("what users do on new after the cutover", "", text).irreversible();
    }
}

/// As [`compare`], with the bytes of every file: each side hashes its own.
fn compare_contents(pass: Pass) -> Result<Comparison, Failure> {
    match pass {
        Pass::Hot => requests::sync::HOT.compare_contents(),
        Pass::Cold => requests::sync::COLD.compare_contents(),
    }
}

/// Messages whose bytes differ under one name, size and time. No mail server does that: a disk, a copy by hand, or somebody.
fn spoiled(comparison: &Comparison) -> Vec<&str> {
    let is_message = |path: &str| path.contains("/cur/") || path.contains("/new/");
    let paths = comparison.examples.iter().filter_map(|example| example.strip_suffix(": content"));
    paths.filter(|path| is_message(path)).collect()
}

/// Both sides after a pass. Once a Dovecot runs on new it renames (flags, `new` to `cur`), adds, and writes UID lists:
/// then only what is missing is a mismatch, and what a message says.
pub(crate) fn verify(ctx: &Context<Config>, found: &mut Findings) -> Result<(), Failure> {
    let full = ctx.config.verify == Closeness::Full;
    let comparison = if full { compare_contents(ctx.config.pass)? } else { compare(ctx.config.pass)? };
    let text = words(&comparison);
    if comparison.is_equal() {
        found.ok(mail(ctx), if full { format!("{text}, contents included") } else { text });
        return Ok(());
    }
    let spoiled = spoiled(&comparison);
    if !spoiled.is_empty() {
        let (severity, hint) = match ctx.config.pass {
            Pass::Hot => (
                Severity::Warning,
                format!("move those away on new, then `rehome apply --again {}` copies them anew", ctx.phase),
            ),
            Pass::Cold => (
                Severity::Blocker,
                "old's files are still there: see which are right, and copy those over the others by hand".to_string(),
            ),
        };
        let text = format!("other bytes on new under the same name, size and time: {}", spoiled.join("; "));
        found.add(severity, mail(ctx), text).hint(hint);
    }
    if ctx.config.pass == Pass::Hot {
        found.note(mail(ctx), format!("{text}: changed since, and brought by the next pass"));
        return Ok(());
    }
    let in_use = is_active(Side::New)?;
    if comparison.missing > 0 {
        let finding = found.blocker(mail(ctx), format!("{text}: {}", comparison.examples.join("; ")));
        if in_use {
            finding.hint("mail that its user has deleted on new since the cutover is missing rightly");
        }
    } else if in_use {
        found.ok(mail(ctx), format!("nothing of old is missing on new, which is in use: {text}"));
    } else {
        found.blocker(mail(ctx), format!("{text}: {}", comparison.examples.join("; ")));
    }
    Ok(())
}
