//! Where mail lives. Once the cold pass of some domains is done, new is the side that counts for them: another pass would
//! set aside what arrived there and bring back what was deleted. Remembered per mail folder, until undo.

use std::collections::BTreeSet;

use rehome_sdk::prelude::*;

use crate::Config;

/// Stands for all domains of the folder.
const ALL: &str = "*";

/// A journal key holds 200 bytes; a longer path is cut to what fits, from its end, where paths differ.
fn key(config: &Config) -> String {
    let path = &config.path;
    let mut from = path.len().saturating_sub(180);
    while !path.is_char_boundary(from) {
        from += 1;
    }
    format!("cold-done:{}", &path[from..])
}

fn remembered(config: &Config) -> Result<BTreeSet<String>, Failure> {
    Ok(journal::recall_long(&key(config))?.map(|text| lines(&text).into_iter().collect()).unwrap_or_default())
}

fn own(config: &Config) -> BTreeSet<String> {
    match config.domains.as_slice() {
        [] => [ALL.to_string()].into(),
        domains => domains.iter().map(|domain| domain.to_ascii_lowercase()).collect(),
    }
}

/// Whether the cold pass of any of these domains is done.
pub(crate) fn on_new(config: &Config) -> Result<bool, Failure> {
    let (done, own) = (remembered(config)?, own(config));
    let everything = done.contains(ALL) || own.contains(ALL);
    Ok(!done.is_empty() && (everything || !done.is_disjoint(&own)))
}

/// After the cold pass.
pub(crate) fn begins_on_new(config: &Config) -> Result<(), Failure> {
    let mut done = remembered(config)?;
    done.extend(own(config));
    write(config, &done)
}

/// After undo.
pub(crate) fn is_back_on_old(config: &Config) -> Result<(), Failure> {
    let (mut done, own) = (remembered(config)?, own(config));
    done.retain(|domain| !own.contains(domain));
    write(config, &done)
}

fn write(config: &Config, done: &BTreeSet<String>) -> Result<(), Failure> {
    let text = done.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
    journal::remember_long(&key(config), text.as_bytes())
}
