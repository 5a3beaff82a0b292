//! The last backup of old: mail, /etc, state, databases. Copied into a folder of new and compared by contents, or the
//! operator's own. Invariant: old is only read; what was compared once is compared again only where something changed.

use rehome_sdk::files::{Comparison, Sync};
use rehome_sdk::prelude::*;
use rehome_sdk::{amount, bytes};

use crate::{Backup, Config, requests};

/// How often a tree is copied until it stands still.
const PASSES: u32 = 3;

/// One tree of the backup.
struct Part {
    what: &'static str,
    sync: Sync,
    /// whether services that are about to stop write there for as long as they run
    lives: bool,
}

/// When it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// old's services run
    Before,
    /// they are stopped: nothing may differ any more
    After,
}

fn parts(config: &Config) -> Vec<Part> {
    let mut parts = vec![
        Part { what: "mail", sync: requests::sync::MAIL, lives: false },
        Part { what: "settings", sync: requests::sync::SETTINGS, lives: false },
    ];
    if !config.state.is_empty() {
        parts.push(Part { what: "state", sync: requests::sync::STATE, lives: true });
    }
    parts
}

impl Part {
    /// Remembered once it was compared by contents; forgotten when a pass brings something new.
    fn compared(&self) -> String {
        format!("compared/{}", self.what)
    }

    /// None: the folder is not there yet.
    fn difference(&self) -> Result<Option<Comparison>, Failure> {
        match self.sync.compare() {
            Ok(found) => Ok(Some(found)),
            Err(Failure::NotFound(_)) => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

pub(crate) fn check(config: &Config, found: &mut Findings) -> Result<(), Failure> {
    if config.webmail
        && config.backup == Backup::Copy
        && let Err(failure) = requests::schema::WEBMAIL.describe(Side::Old)
    {
        let (words, _) = failure.words_and_remedy();
        found
            .blocker(format!("database {}", config.webmail_database), format!("cannot be kept: {words}"))
            .hint("set `webmail-database` in the plan, or `webmail = false` where old has no webmail");
    }
    if config.backup == Backup::Own {
        if config.backup_place == "not named" {
            found
                .blocker("backup", "is your own, and the plan does not say where")
                .hint("set `backup-place` in the plan");
        } else {
            found.note("backup", format!("is your own, {}: you will be asked for it", config.backup_place));
        }
        return Ok(());
    }
    match requests::tree::MAIL.on(Side::Old).list(b"", 1) {
        Ok(_) => space(config, found),
        Err(Failure::NotFound(_)) => {
            found.blocker(format!("{} on old", config.mail), "is not there").hint("set `mail` in the plan");
            Ok(())
        }
        Err(failure) => Err(failure),
    }
}

/// Whether the copy fits, as far as its folder is there already.
fn space(config: &Config, found: &mut Findings) -> Result<(), Failure> {
    let free = match requests::tree::BACKUP.on(Side::New).free() {
        Ok(free) => free,
        Err(Failure::NotFound(_)) => {
            let text = "is made when the time comes; new needs room for all of old's mail once more";
            found.note(&config.backup_folder, text).hint("`du -sh` of old's mail, `df -h` on new; or backup = \"own\"");
            return Ok(());
        }
        Err(failure) => return Err(failure),
    };
    let mut missing = 0;
    for part in parts(config) {
        missing += part.difference()?.map_or(0, |found| found.missing_bytes);
    }
    let text = format!("needs {} more, and {} are free", bytes(missing), bytes(free.bytes));
    if missing > free.bytes {
        found.blocker(&config.backup_folder, text).hint("name another `backup-folder`, or choose backup = \"own\"");
    } else {
        found.ok(&config.backup_folder, text);
    }
    Ok(())
}

pub(crate) fn preview(config: &Config, forecast: &mut Forecast) -> Result<(), Failure> {
    if config.backup == Backup::Own {
        forecast.not_yet(format!("asks whether your own backup ({}) is complete", config.backup_place));
        return Ok(());
    }
    for part in parts(config) {
        let subject = format!("backup of old's {} in {}", part.what, config.backup_folder);
        match part.difference()? {
            None => {
                forecast.change(subject, "not there", "all of it, compared by contents");
            }
            Some(found) if !found.is_equal() => {
                let before = format!("{} missing, {} different", found.missing, found.different);
                forecast.change(subject, before, "as on old, compared by contents");
            }
            Some(_) => {}
        }
    }
    forecast.not_yet(format!("keeps the database{} in rehome's own folder", of_databases(config)));
    Ok(())
}

fn of_databases(config: &Config) -> String {
    if config.webmail {
        format!("s {} and {}", config.database, config.webmail_database)
    } else {
        format!(" {}", config.database)
    }
}

/// Takes it, or asks for the operator's own; what there is then, in words for the last question.
pub(crate) fn take(config: &Config, moment: Moment) -> Result<String, Failure> {
    if config.backup == Backup::Own {
        let place = &config.backup_place;
        requests::question::OWN_BACKUP.ask(&format!(
            "Is your own backup of old ({place}) complete, databases, mail and settings, and have you looked into it?"
        ))?;
        return Ok(format!("Your own backup of old is in {place}"));
    }
    requests::exec::MAKE_FOLDERS.on(Side::New).run()?;
    fits(config)?;
    let mut entries = 0;
    for part in parts(config) {
        entries += part.take(config, moment)?;
    }
    let accounts = requests::snapshot::ACCOUNTS.take(Side::Old)?;
    report::info(&format!("database {} is kept as snapshot {accounts}", config.database));
    if config.webmail {
        let webmail = requests::snapshot::WEBMAIL.take(Side::Old)?;
        report::info(&format!("database {} is kept as snapshot {webmail}", config.webmail_database));
    }
    let count = amount(entries, "entry", "entries");
    Ok(format!("The last backup of old is in {} on new: {count}, compared by contents", config.backup_folder))
}

/// Old's mail once more may be too much for new: found before the disk is full.
fn fits(config: &Config) -> Result<(), Failure> {
    let mut found = Findings::new();
    space(config, &mut found)?;
    match found.blockers().next() {
        Some(why) => Err(Failure::Stopped(why.clone())),
        None => Ok(()),
    }
}

impl Part {
    /// Copies until nothing is left to copy, then compares every byte. Answers how many entries there are.
    fn take(&self, config: &Config, moment: Moment) -> Result<u64, Failure> {
        let mut examples = String::new();
        for _ in 0..PASSES {
            let report = self.sync.run()?;
            let found = if journal::recall(&self.compared())?.is_some() && report.copied == 0 {
                self.sync.compare()?
            } else {
                journal::forget(&self.compared())?;
                self.sync.compare_contents()?
            };
            if found.is_equal() {
                journal::remember(&self.compared(), "yes")?;
                return Ok(found.examined);
            }
            if self.lives && moment == Moment::Before && found.missing == 0 {
                return Ok(found.examined);
            }
            examples = found.examples.join("; ");
        }
        Err(stopped(
            format!("backup of old's {}", self.what),
            format!("still differs after {PASSES} passes: {examples}"),
        )
        .hint(format!(
            "what writes there on old? Compare it with {} on new; then run `rehome apply` again",
            config.backup_folder
        )))
    }
}

/// How many differences a comparison names; beyond that, it only counts.
const NAMED: usize = 50;

pub(crate) fn verify(config: &Config, found: &mut Findings) -> Result<(), Failure> {
    if config.backup == Backup::Own {
        found.note("backup of old", format!("is your own: {}", config.backup_place));
        return Ok(());
    }
    for part in parts(config) {
        let subject = format!("backup of old's {} in {}", part.what, config.backup_folder);
        match part.difference()? {
            None => {
                found.blocker(subject, "is not there").hint(AGAIN);
            }
            Some(differ) => part.judge(subject, &differ, found),
        }
    }
    Ok(())
}

const AGAIN: &str = "rehome apply --again, with the id of this phase, takes it again";

impl Part {
    /// A backup that lacks something is a mismatch. What old changed since, and only that, is not.
    fn judge(&self, subject: String, differ: &Comparison, found: &mut Findings) {
        let others: Vec<&str> =
            differ.examples.iter().map(String::as_str).filter(|one| !self.is_of_the_stop(one)).collect();
        let entries = amount(differ.examined, "entry", "entries");
        let went_on = differ.missing == 0 && self.what != "mail";
        if differ.is_equal() {
            found.ok(subject, format!("{entries} as on old"));
        } else if others.is_empty() && differ.examples.len() < NAMED {
            found.ok(subject, format!("{entries} as on old before its services were disabled"));
        } else if went_on {
            found.note(subject, format!("old went on since: {}", others.join("; ")));
        } else {
            let text = format!("{} missing, {} different: {}", differ.missing, differ.different, others.join("; "));
            found.blocker(subject, text).hint(AGAIN);
        }
    }

    /// Links in /etc say what a boot starts: the backup was taken before services were disabled, and keeps them so.
    fn is_of_the_stop(&self, example: &str) -> bool {
        let of_boot = |path: &str| {
            path.starts_with("systemd/system")
                || path.starts_with("rc") && path.get(3..).is_some_and(|rest| rest.starts_with(".d"))
        };
        let place = example.split(": ").next().unwrap_or_default();
        example.contains(": not compared: ") || self.what == "settings" && of_boot(place)
    }
}
