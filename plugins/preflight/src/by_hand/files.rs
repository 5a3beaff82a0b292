//! Files in /etc that are the operator's own: those that no package brought, and those of a package that were changed.
//! Only their names and digests are seen (`md5sum`, as dpkg keeps it of its own files); what is in them never leaves a side.

use std::collections::BTreeMap;

use rehome_sdk::files::{Entry, Kind, TreeOn};
use rehome_sdk::prelude::*;

use crate::requests;

/// Where to look, and what a file there is.
struct Place {
    folder: &'static str,
    what: &'static str,
    /// levels
    depth: u32,
    wanted: fn(&str) -> bool,
}

const PLACES: &[Place] = &[
    Place {
        folder: "rspamd",
        what: "rspamd's settings",
        depth: 3,
        wanted: |name| !name.ends_with("dkim_selectors.map"),
    },
    Place { folder: "dovecot", what: "a global sieve script", depth: 4, wanted: |name| name.ends_with(".sieve") },
    Place { folder: "postfix", what: "a file of Postfix", depth: 3, wanted: is_postfixs },
    Place { folder: "fail2ban", what: "fail2ban's settings", depth: 3, wanted: |_| true },
    Place { folder: "cron.d", what: "a cron job", depth: 1, wanted: is_job },
    Place { folder: "cron.hourly", what: "a cron job", depth: 1, wanted: is_job },
    Place { folder: "cron.daily", what: "a cron job", depth: 1, wanted: is_job },
    Place { folder: "cron.weekly", what: "a cron job", depth: 1, wanted: is_job },
    Place { folder: "cron.monthly", what: "a cron job", depth: 1, wanted: is_job },
];

/// cron(8) runs no file with a dot in its name; packages leave some behind.
fn is_job(name: &str) -> bool {
    !name.rsplit('/').next().unwrap_or(name).contains('.')
}

/// Tables and checks: not what its package makes, not what is compared otherwise, not what postmap makes of them.
fn is_postfixs(name: &str) -> bool {
    let file = name.strip_prefix("postfix/").unwrap_or(name);
    let made =
        ["main.cf", "master.cf", "makedefs.out", "post-install", "postfix-files", "postfix-script", "postfix-wrapper"];
    let ends = [".db", ".lmdb", ".cdb", ".proto", ".cf", ".dpkg-old", ".dpkg-dist", "~", ".bak", ".orig"];
    let folders = ["dynamicmaps.cf.d/", "postfix-files.d/", "sasl/"];
    !made.contains(&file)
        && !ends.iter().any(|end| file.ends_with(end))
        && !folders.iter().any(|start| file.starts_with(start))
}

pub(super) fn check(found: &mut Findings) -> Result<(), Failure> {
    let [packaged_on_old, packaged_on_new] = [packaged(Side::Old)?, packaged(Side::New)?];
    for place in PLACES {
        let (old, new) = (files(place, Side::Old)?, files(place, Side::New)?);
        let on_old = digests(Side::Old, &old)?;
        let by_hand: Vec<&String> = old.iter().filter(|name| is_by_hand(name, &on_old, &packaged_on_old)).collect();
        let both: Vec<String> = by_hand.iter().filter(|name| new.contains(name)).map(|name| (*name).clone()).collect();
        let on_new = digests(Side::New, &both)?;
        for name in by_hand {
            let subject = format!("/etc/{name}");
            let what = place.what;
            match (on_new.get(name), on_old.get(name)) {
                (Some(after), Some(before)) if after == before => {}
                (Some(after), _) if packaged_on_new.get(name) == Some(after) => {
                    let text = format!("{what}, was changed on old, and is on new as its package brought it");
                    found.warning(subject, text).hint("look at what you changed there, and whether new needs it");
                }
                (Some(_), _) => {
                    found.note(subject, format!("{what}, is not the same on both sides"));
                }
                (None, _) => {
                    found
                        .warning(subject, format!("{what}, is on old alone"))
                        .hint("if you still want it, take it over by hand, and read it once before you do");
                }
            }
        }
    }
    crontabs(found)
}

fn is_by_hand(name: &str, digests: &BTreeMap<String, String>, packaged: &BTreeMap<String, String>) -> bool {
    digests.get(name).is_none_or(|digest| packaged.get(name) != Some(digest))
}

/// What packages brought: names below /etc, and the digest of each as it came.
fn packaged(side: Side) -> Result<BTreeMap<String, String>, Failure> {
    let answer = requests::exec::CONFFILES.on(side).run()?;
    // " /etc/cron.d/e2scrub_all 6c5f…", and " obsolete" after it where the package has it no more.
    let pair = |line: &String| {
        let mut words = line.split_whitespace();
        Some((words.next()?.strip_prefix("/etc/")?.to_string(), words.next()?.to_string()))
    };
    Ok(answer.lines().iter().filter_map(pair).collect())
}

/// Regular files of a place, by their names below /etc. A folder that is not there has none.
fn files(place: &Place, side: Side) -> Result<Vec<String>, Failure> {
    let entries = listed(requests::tree::ETC.on(side), place.folder.as_bytes(), place.depth)?;
    Ok(names(&entries).into_iter().filter(|name| (place.wanted)(name)).collect())
}

fn listed(tree: TreeOn, folder: &[u8], depth: u32) -> Result<Vec<Entry>, Failure> {
    match tree.list(folder, depth) {
        Err(Failure::NotFound(_)) => Ok(Vec::new()),
        answer => answer,
    }
}

/// A name that is no text cannot be asked for; nobody has given a setting such a name.
fn names(entries: &[Entry]) -> Vec<String> {
    let files = entries.iter().filter(|entry| entry.kind == Kind::File);
    files.filter_map(|entry| String::from_utf8(entry.path.clone()).ok()).collect()
}

fn digests(side: Side, files: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    if files.is_empty() {
        return Ok(BTreeMap::new());
    }
    let answers = requests::exec::DIGEST.on(side).run_each(files.iter().map(|name| [name]))?;
    let mut digests = BTreeMap::new();
    for (name, answer) in files.iter().zip(answers) {
        match answer {
            // "d41d8cd98f00b204e9800998ecf8427e  /etc/aliases"
            Ok(output) => {
                drop(output.text().split(' ').next().map(|word| digests.insert(name.clone(), word.to_string())))
            }
            Err(failure @ Failure::Unreachable(_)) => return Err(failure),
            // It went away meanwhile, or has a strange name: then its content is not compared.
            Err(_) => {}
        }
    }
    Ok(digests)
}

/// Users' crontabs: by the users' names alone.
fn crontabs(found: &mut Findings) -> Result<(), Failure> {
    let [old, new] = [Side::Old, Side::New].map(|side| listed(requests::tree::CRONTABS.on(side), b"", 1));
    let (old, new) = (names(&old?), names(&new?));
    for user in &old {
        if new.contains(user) {
            found.note(format!("crontab of {user}"), "is there on both sides; what is in it is not compared");
        } else {
            found.warning(format!("crontab of {user}"), "is on old alone").hint(format!(
                "`crontab -l -u {user}` on old shows it; the jobs that new needs: `crontab -e -u {user}` there"
            ));
        }
    }
    Ok(())
}
