//! The selector map: a line for each domain, `DOMAIN SELECTOR`. It lies in a folder of settings, of which nothing else is
//! moved; without it rspamd looks for keys under its general selector and signs nothing.
//! Invariant: what new has for other domains stays.

use std::collections::BTreeMap;

use rehome_sdk::prelude::*;

use crate::signing::Signing;
use crate::{Config, changing, requests, severity};

/// The map of a side, and lines that are not `DOMAIN SELECTOR`.
#[derive(Default)]
pub(crate) struct Map {
    pub(crate) selectors: BTreeMap<String, String>,
    odd: Vec<String>,
}

impl Map {
    pub(crate) fn of(side: Side) -> Result<Map, Failure> {
        let mut map = Map::default();
        for line in requests::exec::SELECTORS.on(side).run()?.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [first, ..] if first.starts_with('#') => {}
                [domain, selector] => {
                    map.selectors.insert(domain.to_string(), selector.to_string());
                }
                _ => map.odd.push(line),
            }
        }
        Ok(map)
    }

    /// Whether there is nothing in it to bring or to tell: then it does not matter whether rspamd uses it, which takes rspamd
    /// longer to say.
    fn is_in(&self, other: &Map) -> bool {
        self.not_in(other).is_empty() && self.odd.is_empty()
    }

    /// Entries of `self` that another map has not, or otherwise.
    fn not_in<'a>(&'a self, other: &Map) -> Vec<(&'a String, &'a String)> {
        self.selectors.iter().filter(|(domain, selector)| other.selectors.get(*domain) != Some(*selector)).collect()
    }
}

/// Whether rspamd on old uses a map at all.
fn is_used() -> Result<bool, Failure> {
    Ok(Signing::of(Side::Old)?.selector_map().is_some())
}

pub(crate) fn preview(config: &Config, forecast: &mut Forecast) -> Result<(), Failure> {
    let (old, new) = (Map::of(Side::Old)?, Map::of(Side::New)?);
    if old.is_in(&new) || !is_used()? {
        return Ok(());
    }
    for (domain, selector) in old.not_in(&new) {
        let before = new.selectors.get(domain).cloned().unwrap_or("no selector".into());
        forecast.change(format!("{} on new, {domain}", config.selector_map), before, selector);
    }
    Ok(())
}

pub(crate) fn bring(config: &Config) -> Result<(), Failure> {
    let (old, new) = (Map::of(Side::Old)?, Map::of(Side::New)?);
    if old.is_in(&new) || !is_used()? {
        return Ok(());
    }
    for line in &old.odd {
        report::warning(&format!("{} on old: `{line}` is not `DOMAIN SELECTOR`, and is left out", config.selector_map));
    }
    if old.not_in(&new).is_empty() {
        return Ok(());
    }
    changing()?;
    let mut all = new.selectors;
    all.extend(old.selectors.clone());
    requests::file::SELECTOR_MAP.on(Side::New).put_rows(all.iter().map(|(domain, selector)| [domain, selector]))?;
    match old.not_in(&Map::of(Side::New)?).as_slice() {
        [] => Ok(()),
        missing => Err(stopped(format!("{} on new", config.selector_map), format!("still lacks {}", words(missing)))),
    }
}

pub(crate) fn verify(ctx: &Context<Config>, found: &mut Findings) -> Result<(), Failure> {
    if !is_used()? {
        return Ok(());
    }
    let (old, new) = (Map::of(Side::Old)?, Map::of(Side::New)?);
    let subject = format!("{} on new", ctx.config.selector_map);
    match old.not_in(&new).as_slice() {
        [] => {
            let count = old.selectors.len() as u64;
            found.ok(subject.clone(), rehome_sdk::amount(count, "selector as on old", "selectors as on old"));
        }
        missing => {
            found.add(severity(ctx), subject.clone(), format!("lacks {}", words(missing)));
        }
    }
    for line in old.odd.iter().filter(|line| !new.odd.contains(line)) {
        found
            .add(severity(ctx), subject.clone(), format!("lacks the line `{line}`, which is not `DOMAIN SELECTOR`"))
            .hint("write it there by hand");
    }
    Ok(())
}

/// The host says what to do where somebody changed the map meanwhile.
pub(crate) fn back() -> Result<(), Failure> {
    requests::file::SELECTOR_MAP.on(Side::New).restore()
}

fn words(entries: &[(&String, &String)]) -> String {
    entries.iter().map(|(domain, selector)| format!("`{domain} {selector}`")).collect::<Vec<_>>().join(", ")
}
