//! `apply` and `undo`: new's own tree is kept, old's comes over it, services reload; and back.
//! Invariant: nothing of new is replaced before all of new's tree is kept, byte by byte; and a certificate that new renewed
//! by itself is never replaced by an older one.

use rehome_sdk::amount;
use rehome_sdk::prelude::*;

use crate::lineage::{self, Lineage};
use crate::{Config, Tree, requests};

/// Remembered once new's own tree is kept.
const KEPT: &str = "kept";
/// Remembered from before the first change until services have reloaded.
const RELOAD: &str = "reload";

/// How long a service may take to be seen running after a reload, in seconds.
const MOMENT: u32 = 15;

pub(crate) fn preview(config: &Config, forecast: &mut Forecast) -> Result<(), Failure> {
    if !lineage::tree_is_there(Side::Old)? {
        return Ok(());
    }
    let of_old = lineage::all(config, Side::Old)?;
    let there = lineage::tree_is_there(Side::New)?;
    let of_new = if there { lineage::all(config, Side::New)? } else { Vec::new() };
    let words = |one: &Lineage| one.certificate.as_ref().map_or_else(Clone::clone, |it| it.words());
    for one in &of_old {
        let own = of_new.iter().find(|own| own.name == one.name);
        if !own.is_some_and(|own| is_same(own, one)) {
            let before = own.map_or("not there".into(), words);
            forecast.change(format!("certificate {} on new", one.name), before, words(one));
        }
    }
    let differ = match there {
        true => requests::sync::CERTIFICATES.compare()?,
        false => {
            forecast.change(Tree(config, Side::New).to_string(), "not there", "as on old");
            return Ok(());
        }
    };
    if differ.missing + differ.different > 0 {
        let counts = format!("{} missing, {} different", differ.missing, differ.different);
        let after = format!("accounts, keys and hooks as on old; what new has now is kept in {}", config.kept);
        forecast.change(Tree(config, Side::New).to_string(), counts, after);
        forecast.change(config.services.join(", ") + " on new", "", "reloaded, where they run");
    }
    Ok(())
}

pub(crate) fn is_same(one: &Lineage, other: &Lineage) -> bool {
    matches!((&one.certificate, &other.certificate), (Ok(one), Ok(other)) if one.is(other))
}

pub(crate) fn apply(config: &Config) -> Result<(), Failure> {
    if !lineage::tree_is_there(Side::Old)? {
        report::info(&format!("{} is not there: no certificate is moved", Tree(config, Side::Old)));
        return Ok(());
    }
    let of_old = lineage::all(config, Side::Old)?;
    if !lineage::tree_is_there(Side::New)? {
        requests::exec::MAKE_TREE.on(Side::New).run()?;
    }
    let of_new = lineage::all(config, Side::New)?;
    nothing_was_renewed(&of_old, &of_new)?;
    keep()?;
    let left = leftovers(&of_old)?;
    let differ = requests::sync::CERTIFICATES.compare_contents()?;
    if left.is_empty() && differ.missing + differ.different == 0 && journal::recall(RELOAD)?.is_none() {
        return remember(&of_old);
    }
    journal::remember(RELOAD, "due")?;
    if !left.is_empty() {
        let count = requests::aside::LEFTOVERS.on(Side::New).set_aside(&left)?;
        report::info(&format!("{} of new's own archive set aside", amount(count, "file", "files")));
    }
    let report = requests::sync::CERTIFICATES.run()?;
    report::info(&format!("copied {}", amount(report.copied, "file", "files")));
    let differ = requests::sync::CERTIFICATES.compare_contents()?;
    if differ.missing + differ.different > 0 {
        let text = format!("differs from old after it was copied: {}", differ.examples.join("; "));
        return Err(stopped(Tree(config, Side::New).to_string(), text)
            .hint("does certbot run on old at this moment? then run `rehome apply` again"));
    }
    remember(&of_old)?;
    reload(config)
}

/// The whole of new's own tree, once: later it holds old's.
fn keep() -> Result<(), Failure> {
    if journal::recall(KEPT)?.is_some() {
        return Ok(());
    }
    requests::exec::MAKE_KEPT.on(Side::New).run()?;
    requests::sync::KEEP.run()?;
    let differ = requests::sync::KEEP.compare_contents()?;
    if !differ.is_equal() {
        return Err(stopped("the copy of new's own certificates", format!("differs: {}", differ.examples.join("; ")))
            .hint("does certbot run on new at this moment? then run `rehome apply` again"));
    }
    journal::remember(KEPT, "yes")
}

/// Archives on new, of certificates that old has under the same name, with files that old has not.
fn leftovers(of_old: &[Lineage]) -> Result<Vec<Vec<u8>>, Failure> {
    let mut folders = Vec::new();
    for one in of_old {
        let on_old = lineage::archived(Side::Old, &one.name)?;
        let on_new = lineage::archived(Side::New, &one.name)?;
        if on_new.iter().any(|file| !on_old.contains(file)) {
            folders.push(format!("archive/{}", one.name).into_bytes());
        }
    }
    Ok(folders)
}

fn moved_key(name: &str) -> String {
    format!("moved/{name}")
}

fn remember(of_old: &[Lineage]) -> Result<(), Failure> {
    for one in of_old {
        if let Ok(certificate) = &one.certificate {
            let key = moved_key(&one.name);
            let known = journal::recall_text(&key)?.unwrap_or_default();
            if !known.split(' ').any(|serial| serial == certificate.serial) {
                journal::remember(&key, format!("{known} {}", certificate.serial).trim())?;
            }
        }
    }
    Ok(())
}

/// Whether new has, under a name that was moved, a certificate that never came from old.
pub(crate) fn was_renewed(own: &Lineage) -> Result<bool, Failure> {
    let Some(moved) = journal::recall_text(&moved_key(&own.name))? else { return Ok(false) };
    Ok(own.certificate.as_ref().is_ok_and(|own| !moved.split(' ').any(|serial| serial == own.serial)))
}

fn nothing_was_renewed(of_old: &[Lineage], of_new: &[Lineage]) -> Result<(), Failure> {
    for own in of_new {
        let same = of_old.iter().any(|one| one.name == own.name && is_same(one, own));
        if !same && was_renewed(own)? {
            let text = "was renewed on new since it was moved: another copy would put an older one in its place";
            return Err(stopped(format!("certificate {}", own.name), text)
                .hint("nothing is left to do here: leave this phase alone; or `rehome undo` first"));
        }
    }
    Ok(())
}

/// What does not run reads its certificates when it starts.
fn reload(config: &Config) -> Result<(), Failure> {
    for unit in &config.services {
        if !is_active(unit)? {
            report::info(&format!("{unit} does not run on new: it reads its certificates when it starts"));
            continue;
        }
        requests::exec::RELOAD.on(Side::New).run_with([unit])?;
        if !clock::wait_for(MOMENT, || is_active(unit))? {
            return Err(stopped(format!("{unit} on new"), "does not run after it was reloaded")
                .hint(format!("`journalctl -u {unit}` on new says why; then run `rehome apply` again")));
        }
    }
    journal::forget(RELOAD)
}

fn is_active(unit: &str) -> Result<bool, Failure> {
    Ok(requests::exec::ACTIVE.on(Side::New).run_with([unit])?.text() == "active")
}

pub(crate) fn undo(config: &Config) -> Result<(), Failure> {
    if journal::recall(KEPT)?.is_none() {
        report::info("nothing of new's certificates was replaced");
        return Ok(());
    }
    journal::remember(RELOAD, "due")?;
    let of_new = lineage::all(config, Side::New)?;
    requests::sync::PUT_BACK.run()?;
    let differ = requests::sync::PUT_BACK.compare_contents()?;
    if !differ.is_equal() {
        let text = format!("is not what it was before: {}", differ.examples.join("; "));
        return Err(stopped(Tree(config, Side::New).to_string(), text).hint("then run `rehome undo` again"));
    }
    for own in &of_new {
        journal::forget(&moved_key(&own.name))?;
    }
    reload(config)?;
    journal::forget(KEPT)
}
