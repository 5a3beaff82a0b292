//! Dovecot: what its configuration sets on old (`doveconf -n`), against what is in effect on new (`doveconf`). doveconf hides
//! passwords and keys itself; the file with the database's password is never read. Where mail lies is `crate::mailboxes`'s.

use std::collections::BTreeMap;

use rehome_sdk::prelude::*;

use super::{changed, release, value};
use crate::{heard, requests};

/// Settings that belong to a host or a version, and those that are compared elsewhere.
const OWN: &[&str] = &[
    "dovecot_config_version",
    "dovecot_storage_version",
    "hostname",
    "listen",
    "login_greeting",
    "mail_home",
    "mail_location",
    "managesieve_notify_capability",
    "managesieve_sieve_capability",
    "ssl_ca",
    "ssl_cert",
    "ssl_client_ca_dir",
    "ssl_client_ca_file",
    "ssl_dh",
    "ssl_key",
];

/// Parts of names whose settings users notice: who gets in, by what, and what happens to their mail.
const WEIGHTY: &[&str] = &[
    "auth",
    "protocols",
    "plugin",
    "passdb",
    "userdb",
    "limit",
    "max_userip",
    "listener",
    "namespace",
    "quota",
    "sieve",
];

/// Dovecot on a side; blocks are parts of names: `service auth/unix_listener /var/spool/postfix/private/auth/mode`.
#[derive(Debug, Default)]
pub(crate) struct Dovecot {
    pub(crate) version: String,
    /// what the configuration sets
    pub(crate) set: BTreeMap<String, String>,
    /// everything, with defaults
    pub(crate) all: BTreeMap<String, String>,
    /// warnings about it
    said: Vec<String>,
}

/// None, with a finding, where it cannot be read.
pub(crate) fn settings(side: Side, found: &mut Findings) -> Result<Option<Dovecot>, Failure> {
    let read = || -> Result<Dovecot, Failure> {
        let set = requests::exec::DOVECOT_SET.on(side).run()?;
        let text = set.lines();
        // "# 2.3.13 (89f716dc2): /etc/dovecot/dovecot.conf"
        let version = text.first().and_then(|line| line.strip_prefix("# ")).and_then(|line| line.split(' ').next());
        Ok(Dovecot {
            version: version.unwrap_or_default().to_string(),
            said: lines(&set.stderr),
            set: flat(&text),
            all: flat(&requests::exec::DOVECOT_ALL.on(side).run()?.lines()),
        })
    };
    match heard(read())? {
        Ok(dovecot) => Ok(Some(dovecot)),
        Err(why) => {
            found.warning(format!("Dovecot on {side}"), format!("its settings cannot be compared: {why}"));
            Ok(None)
        }
    }
}

pub(super) fn check(old: &Dovecot, new: &Dovecot, found: &mut Findings) {
    for line in new.said.iter().filter(|line| line.contains("Warning:")) {
        let text = line.trim_start_matches("doveconf: Warning: ");
        found.warning("Dovecot on new", text).hint("`doveconf -n` on new says so: correct it in its configuration");
    }
    let names = compared(old);
    if release(&old.version) < (2, 4) && release(&new.version) >= (2, 4) {
        other_words(&names, old, new, found);
        return;
    }
    for name in names {
        setting(name, old, new, found);
    }
    changed::dovecot(old, new, found);
}

/// The names that are worth a comparison.
fn compared(old: &Dovecot) -> Vec<&String> {
    let is_own = |name: &str| OWN.contains(&name.rsplit('/').next().unwrap_or(name));
    // A separator, a prefix and a location decide where mail is looked for.
    let is_place = |name: &str| {
        name.starts_with("namespace ")
            && ["separator", "prefix", "location"].contains(&name.rsplit('/').next().unwrap_or_default())
    };
    let is_hidden = |value: &str| value.starts_with("# hidden");
    old.set
        .iter()
        .filter(|(name, value)| !is_own(name) && !is_place(name) && !is_hidden(value))
        .map(|(name, _)| name)
        .collect()
}

fn setting(name: &str, old: &Dovecot, new: &Dovecot, found: &mut Findings) {
    let before = old.set.get(name).map(String::as_str).unwrap_or_default();
    let after = new.all.get(name);
    if after.is_some_and(|after| value::is_same(before, after)) {
        return;
    }
    // While a migration is under way Dovecot on new may run closed: then it has no protocols for a while.
    if name == "protocols" && after.is_none_or(|after| after.is_empty() || after == "none") {
        return;
    }
    let is_free = name.contains('/');
    let subject = format!("Dovecot setting {name}");
    let text = match after {
        Some(after) => {
            let by_default = if new.set.contains_key(name) { "" } else { ", its default," };
            format!("is {} on old, and {}{by_default} on new", value::shown(name, before), value::shown(name, after))
        }
        None if is_free => format!("is {} on old, and not set on new", value::shown(name, before)),
        None => format!("is {} on old; Dovecot {} has no such setting", value::shown(name, before), new.version),
    };
    if WEIGHTY.iter().any(|part| name.contains(part)) {
        found
            .warning(subject, text)
            .hint("if you still want it: set it on new, in a file of its own in /etc/dovecot/conf.d");
    } else {
        found.note(subject, text);
    }
}

/// From 2.3 to 2.4 nearly every name is another: one finding, not fifty.
fn other_words(names: &[&String], old: &Dovecot, new: &Dovecot, found: &mut Findings) {
    let is_there = |name: &&&String| new.all.get(**name) == old.set.get(**name);
    let gone: Vec<&str> = names.iter().filter(|name| !is_there(name)).map(|name| name.as_str()).collect();
    if !gone.is_empty() {
        let text = format!(
            "old sets {} in the words of Dovecot {}, and new has Dovecot {}, which has other words: {}",
            rehome_sdk::amount(gone.len() as u64, "thing", "things"),
            old.version,
            new.version,
            gone.join(", ")
        );
        found
            .warning("Dovecot's settings", text)
            .hint("look at each that is your own: https://doc.dovecot.org/latest/installation/upgrade/2.3-to-2.4.html");
    }
}

/// doveconf's blocks as names with slashes; blocks without a name of their own are numbered: `passdb 2/driver`.
fn flat(lines: &[String]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut path: Vec<String> = Vec::new();
    let mut unnamed: BTreeMap<String, u32> = BTreeMap::new();
    for line in lines.iter().filter(|line| !line.starts_with('#')) {
        if line == "}" {
            path.pop();
        } else if let Some(block) = line.strip_suffix('{') {
            let block = block.trim();
            let full = [path.join("/"), block.to_string()].join("/");
            if block.contains(' ') || block == "plugin" {
                path.push(block.to_string());
            } else {
                let number = unnamed.entry(full).or_default();
                *number += 1;
                path.push(format!("{block} {number}"));
            }
        } else if let Some((name, text)) = line.split_once('=') {
            let name = path.iter().map(String::as_str).chain([name.trim()]).collect::<Vec<_>>().join("/");
            all.insert(name, text.trim().trim_matches('"').trim().to_string());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_become_parts_of_names() {
        let text = "# 2.3.13 (89f716dc2): /etc/dovecot/dovecot.conf\nprotocols = \" imap lmtp\"\npassdb {\n  driver = sql\n}\n\
                    passdb {\n  driver = pam\n}\nservice auth {\n  unix_listener /var/spool/postfix/private/auth {\n    \
                    mode = 0660\n  }\n}\nplugin {\n  sieve = file:~/sieve;active=~/.dovecot.sieve\n}\n";
        let all = flat(&lines(text.as_bytes()));
        assert_eq!(all["protocols"], "imap lmtp");
        assert_eq!((all["passdb 1/driver"].as_str(), all["passdb 2/driver"].as_str()), ("sql", "pam"));
        assert_eq!(all["service auth/unix_listener /var/spool/postfix/private/auth/mode"], "0660");
        assert_eq!(all["plugin/sieve"], "file:~/sieve;active=~/.dovecot.sieve");
        assert_eq!(all.len(), 5);
    }
}
