//! Which versions of Roundcube's tables there are: `system` has the number of the last update that was made
//! (`roundcube-version`, since 0.9), the files of the update script have the newest one that new knows.

use rehome_sdk::prelude::*;
use rehome_sdk::schema::{column, find};
use rehome_sdk::sql::Description;

use crate::{Config, requests};

/// What Roundcube's update script takes tables without a number for: those of 0.9-beta.
const BEFORE_NUMBERS: u64 = 2_012_080_700;
/// Those of 0.7 and 0.8, as the script calls them when it is told so (`rcmail_utils::db_update`).
const OLDEST: u64 = 2_011_111_600;

/// Tables and columns without which nothing can be copied.
pub(crate) const NEEDED: [(&str, &[&str]); 7] = [
    ("users", &["user_id", "username", "mail_host", "last_login", "language", "preferences"]),
    ("identities", &["user_id", "standard", "name", "email", "signature"]),
    ("contacts", &["contact_id", "user_id", "name", "email", "vcard"]),
    ("contactgroups", &["contactgroup_id", "user_id", "name"]),
    ("contactgroupmembers", &["contactgroup_id", "contact_id"]),
    ("searches", &["user_id", "name", "data"]),
    ("dictionary", &["user_id", "language", "data"]),
];
/// The rest of Roundcube's own: everything else is of plugins.
const OTHERS: [&str; 12] = [
    "session",
    "cache",
    "cache_shared",
    "cache_index",
    "cache_thread",
    "cache_messages",
    "system",
    "filestore",
    "collected_addresses",
    "responses",
    "uploads",
    "messages",
];

/// Both sides' tables.
pub(crate) struct Schemas {
    old: Description,
    new: Description,
}

/// Numbers of the last update; of new also that which its Roundcube needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) old: Option<u64>,
    pub(crate) new: Option<u64>,
    pub(crate) target: Option<u64>,
}

impl Versions {
    /// Whether the tables on new are what Roundcube there needs, as far as it is known.
    pub(crate) fn is_current(&self) -> bool {
        self.target.is_none_or(|target| self.new.is_some_and(|new| new >= target))
    }
}

/// "2022081200".
pub(crate) fn word(version: Option<u64>) -> String {
    version.map_or_else(|| "unknown".into(), |version| version.to_string())
}

/// Both sides, or none with a blocker for the one that cannot be read.
pub(crate) fn describe(ctx: &Context<Config>, found: &mut Findings) -> Result<Option<Schemas>, Failure> {
    let mut both = Vec::new();
    for side in SIDES {
        let subject = format!("database {} on {side}", ctx.config.database);
        match requests::schema::WEBMAIL.describe(side) {
            Ok(description) if !matches!(description.product.as_str(), "mariadb" | "mysql") => {
                let text = format!("is of {}: this phase knows MariaDB and MySQL", description.product);
                found.blocker(subject, text);
            }
            Ok(description) => both.push(description),
            Err(
                failure @ (Failure::EndedBadly(_) | Failure::Unreachable(_) | Failure::NotFound(_) | Failure::Other(_)),
            ) => {
                let (words, remedy) = failure.words_and_remedy();
                let other = "leave this phase out of the plan if there is no Roundcube; set `database` if its database has another name";
                found.blocker(subject, words).hint(remedy.unwrap_or_else(|| other.into()));
            }
            Err(failure) => return Err(failure),
        }
    }
    let mut both = both.into_iter();
    Ok(both.next().zip(both.next()).map(|(old, new)| Schemas { old, new }))
}

pub(crate) fn must_describe(ctx: &Context<Config>) -> Result<Schemas, Failure> {
    let mut found = Findings::new();
    match describe(ctx, &mut found)? {
        Some(schemas) => Ok(schemas),
        None => Err(found.blockers().next().cloned().map_or_else(
            || stopped(format!("database {}", ctx.config.database), "cannot be looked at"),
            Failure::Stopped,
        )),
    }
}

fn has(side: &Description, table: &str) -> bool {
    find(side, table).is_some()
}

impl Schemas {
    /// Installed without its tables: the copy brings them, if all are copied.
    pub(crate) fn new_is_empty(&self) -> bool {
        !has(&self.new, "users")
    }

    /// Whether new has tables of Roundcube 0.7 or 0.8: no number, and the column that 0.9 took away.
    pub(crate) fn new_is_oldest(&self) -> bool {
        unnumbered(&self.new) == Some(OLDEST)
    }

    pub(crate) fn both_have(&self, tables: &[&str], columns: &[&str]) -> bool {
        [&self.old, &self.new].iter().all(|side| {
            tables.iter().all(|table| {
                find(side, table).is_some_and(|table| columns.iter().all(|name| column(table, name).is_some()))
            })
        })
    }

    pub(crate) fn versions(&self, ctx: &Context<Config>) -> Result<Versions, Failure> {
        let old = version(Side::Old, &self.old)?;
        let new = if self.new_is_empty() { None } else { version(Side::New, &self.new)? };
        let newest = match newest_update()? {
            Some(newest) => Some(newest),
            None => remembered_target(ctx)?.or(new),
        };
        Ok(Versions { old, new, target: newest })
    }

    pub(crate) fn check(&self, ctx: &Context<Config>, found: &mut Findings) -> Result<(), Failure> {
        let merging = !ctx.config.domains.is_empty();
        self.tables(Side::Old, &self.old, found);
        if merging || !self.new_is_empty() {
            self.tables(Side::New, &self.new, found);
        }
        if found.blockers().next().is_some() {
            return Ok(());
        }
        let versions = self.versions(ctx)?;
        let (old, target) = (versions.old.unwrap_or(BEFORE_NUMBERS), versions.target);
        found.note("Roundcube's tables", format!("version {old} on old, {} on new", word(target)));
        if target.is_some_and(|target| old > target) {
            found
                .blocker(
                    "Roundcube on new",
                    format!("is older than on old: its tables are of version {}, those of old {old}", word(target)),
                )
                .hint("install a newer Roundcube on new");
        }
        if merging && !versions.is_current() {
            found
                .blocker(
                    "Roundcube's tables on new",
                    format!("are of version {}, and it needs {}", word(versions.new), word(target)),
                )
                .hint(SCRIPT);
        }
        if !merging && target.is_some_and(|target| old < target) && !script_is_there()? {
            found
                .blocker("Roundcube's update script on new", "is not there, and the tables of old need it")
                .hint("/usr/share/roundcube/bin/updatedb.sh comes with the package roundcube-core");
        }
        self.plugins(merging, found);
        Ok(())
    }

    fn tables(&self, side: Side, description: &Description, found: &mut Findings) {
        for (name, columns) in NEEDED {
            let Some(table) = find(description, name) else {
                found.blocker(format!("{name} on {side}"), "is not there").hint(match side {
                    Side::Old => "is it Roundcube's database? Set `database` if it has another name",
                    Side::New => "`dpkg-reconfigure roundcube-core` on new makes Roundcube's tables",
                });
                continue;
            };
            for missing in columns.iter().filter(|wanted| column(table, wanted).is_none()) {
                found.blocker(format!("{name} on {side}"), format!("has no column `{missing}`"));
            }
        }
    }

    /// Whether old has tables of plugins.
    pub(crate) fn has_plugins(&self) -> bool {
        !self.theirs().is_empty()
    }

    fn theirs(&self) -> Vec<&str> {
        let is_own =
            |name: &str| NEEDED.iter().map(|(own, _)| *own).chain(OTHERS).any(|own| own.eq_ignore_ascii_case(name));
        self.old.tables.iter().map(|table| table.name.as_str()).filter(|name| !is_own(name)).collect()
    }

    /// Tables of plugins.
    fn plugins(&self, merging: bool, found: &mut Findings) {
        let theirs = self.theirs();
        if theirs.is_empty() {
            return;
        }
        let names = theirs.join(", ");
        if merging {
            found.warning("tables of plugins on old", format!("{names}: they stay behind"));
        } else {
            found
                .note("tables of plugins on old", format!("{names}: copied with the rest"))
                .hint("new needs the same plugins, and they may have updates of their own");
        }
    }

    pub(crate) fn verify(&self, ctx: &Context<Config>, found: &mut Findings) -> Result<(), Failure> {
        let versions = self.versions(ctx)?;
        if versions.is_current() {
            found.ok("Roundcube's tables on new", format!("version {}", word(versions.new)));
        } else {
            let text = format!("are of version {}, and Roundcube needs {}", word(versions.new), word(versions.target));
            found.blocker("Roundcube's tables on new", text).hint(SCRIPT);
        }
        Ok(())
    }

    /// What new's own tables were, where no file says what they must be: before they are replaced.
    pub(crate) fn remember_target(&self, ctx: &Context<Config>) -> Result<(), Failure> {
        if remembered_target(ctx)?.is_some() {
            return Ok(());
        }
        match self.versions(ctx)?.target {
            Some(target) => journal::remember(&key(ctx), target.to_string()),
            None => Ok(()),
        }
    }
}

const SCRIPT: &str =
    "run `/usr/share/roundcube/bin/updatedb.sh --package=roundcube --dir=/usr/share/roundcube/SQL` on new";

fn key(ctx: &Context<Config>) -> String {
    format!("target/{}", ctx.phase)
}

fn remembered_target(ctx: &Context<Config>) -> Result<Option<u64>, Failure> {
    Ok(journal::recall_text(&key(ctx))?.and_then(|text| text.parse().ok()))
}

pub(crate) fn forget_target(ctx: &Context<Config>) -> Result<(), Failure> {
    journal::forget(&key(ctx))
}

/// The version of tables without a number; none of those that have one.
fn unnumbered(side: &Description) -> Option<u64> {
    let has_alias = find(side, "users").is_some_and(|users| column(users, "alias").is_some());
    match (has(side, "system"), has_alias) {
        (true, _) => None,
        (false, true) => Some(OLDEST),
        (false, false) => Some(BEFORE_NUMBERS),
    }
}

fn version(side: Side, description: &Description) -> Result<Option<u64>, Failure> {
    if let Some(version) = unnumbered(description) {
        return Ok(Some(version));
    }
    let values = requests::sql::VERSION.on(side).rows()?.texts("value");
    let digits = |text: &String| text.chars().filter(char::is_ascii_digit).collect::<String>().parse().ok();
    Ok(Some(values.first().and_then(digits).unwrap_or(BEFORE_NUMBERS)))
}

/// The number of the newest update that new's Roundcube has; none where its files are elsewhere.
fn newest_update() -> Result<Option<u64>, Failure> {
    let number = |path: &[u8]| std::str::from_utf8(path).ok()?.strip_suffix(".sql")?.parse::<u64>().ok();
    match requests::tree::UPDATES.on(Side::New).list(b"", 1) {
        Ok(entries) => Ok(entries.iter().filter_map(|entry| number(&entry.path)).max()),
        Err(Failure::NotFound(_) | Failure::Unsupported(_)) => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn script_is_there() -> Result<bool, Failure> {
    match requests::tree::PROGRAMS.on(Side::New).list(b"", 1) {
        Ok(entries) => Ok(entries.iter().any(|entry| entry.path == b"updatedb.sh")),
        Err(Failure::NotFound(_)) => Ok(false),
        // It runs no commands, but nobody has said that the script is missing.
        Err(Failure::Unsupported(_)) => Ok(true),
        Err(failure) => Err(failure),
    }
}
