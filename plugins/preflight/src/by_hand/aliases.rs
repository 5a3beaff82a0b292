//! /etc/aliases: who gets root's and postmaster's mail. A fresh machine keeps it to itself, where nobody reads it.

use std::collections::BTreeMap;

use rehome_sdk::prelude::*;

use super::value;
use crate::{heard, requests};

pub(super) fn check(found: &mut Findings) -> Result<(), Failure> {
    let (Some(old), Some(new)) = (read(Side::Old)?, read(Side::New)?) else { return Ok(()) };
    for (name, before) in &old {
        let text = match new.get(name) {
            Some(after) if value::is_same(before, after) => continue,
            Some(after) => {
                format!("goes to {} on old, and to {} on new", value::shown(name, before), value::shown(name, after))
            }
            None => format!("goes to {} on old, and is not there on new", value::shown(name, before)),
        };
        found
            .warning(format!("{name} in /etc/aliases"), text)
            .hint("if it is still wanted: write it into /etc/aliases on new, and run `newaliases`");
    }
    Ok(())
}

/// aliases(5): `name: value, value`, and lines that begin with white space go on. None: there is no such file.
fn read(side: Side) -> Result<Option<BTreeMap<String, String>>, Failure> {
    let Ok(output) = heard(requests::exec::ALIASES.on(side).run())? else { return Ok(None) };
    if output.status != 0 {
        return Ok(Some(BTreeMap::new()));
    }
    Ok(Some(parse(&String::from_utf8_lossy(&output.stdout))))
}

fn parse(text: &str) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    let mut last: Option<String> = None;
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        if line.starts_with([' ', '\t']) {
            if let Some(value) = last.as_ref().and_then(|name| all.get_mut(name)) {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            let name = name.trim().trim_matches('"').to_ascii_lowercase();
            all.insert(name.clone(), value.trim().to_string());
            last = Some(name);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_go_on_in_lines_that_begin_with_white_space() {
        let all =
            parse("# x\nPostmaster:    root\nroot: anna@example.org,\n  bob@example.org\n\nabuse: \"|/usr/bin/x y\"\n");
        assert_eq!(all["postmaster"], "root");
        assert_eq!(all["root"], "anna@example.org, bob@example.org");
        assert_eq!(all.len(), 3);
    }
}
