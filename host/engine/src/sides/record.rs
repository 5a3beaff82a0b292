//! The record of a migration on a side: who works there, with which epoch, how far its journal had come. `record.pl` (of
//! `rehome-remote`) keeps it there; what it means is decided in `claim.rs`.
//! Invariant: a record is only replaced by somebody who has seen all of the side's records as they are.

use std::path::Path;
use std::time::Duration;

use rehome_gatekeeper::journal::RunState;
use rehome_gatekeeper::types::SideName;
use rehome_remote::programs::RECORD as PROGRAM;
use rehome_remote::{Command, Side};
use serde::{Deserialize, Serialize};

use super::SidesError;

/// For one look or one swap; a lock is waited for five seconds at most.
const PATIENCE: Duration = Duration::from_secs(30);
/// The format of a record.
const VERSION: u32 = 1;

/// What a side knows of a migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    /// the format
    pub rehome: u32,
    /// the migration's id, the name of the record's file
    pub migration: String,
    /// what the operator calls it
    pub name: String,
    /// the stem of the plan's file: "plan"
    pub plan: String,
    /// raised by each take-over
    pub epoch: u64,
    /// whether a verb is at work
    pub at_work: bool,
    /// "apply"
    pub verb: String,
    /// "root@new"
    pub who: String,
    /// where its state is
    pub place: Place,
    /// UTC, seconds since 1970: when the verb began
    pub since: u64,
    /// the number of the journal's last effect
    pub mark: u64,
    /// machine-id(5) of the old side, if it is a machine that has one
    pub old: Option<String>,
    /// and of the new one
    pub new: Option<String>,
    /// the phases that ran, each with its last run
    pub phases: Vec<PhaseRecord>,
    /// who took the side over for another migration, if somebody did
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<Taken>,
}

/// A take-over for another migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// "root@new"
    pub who: String,
    /// where the state of that migration is
    pub place: Place,
    /// UTC, seconds since 1970
    pub at: u64,
}

/// Where a migration's state is. A copy of the state is at another place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// the machine's name
    pub host: String,
    /// its machine-id(5)
    pub machine: Option<String>,
    /// the folder
    pub folder: String,
}

/// What a side knows of a phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseRecord {
    /// its id in the plan
    pub phase: String,
    /// its last run
    pub run: u32,
    /// how that stood
    pub state: RunState,
}

/// A record as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// the migration's id
    pub id: String,
    /// why it means nothing, if it cannot be read
    pub record: Result<Record, String>,
}

/// A look at a side's records.
#[derive(Clone, Debug)]
pub struct Seen {
    /// machine-id(5), if it has one
    pub machine: Option<String>,
    /// in the order of their ids
    pub records: Vec<Found>,
    /// the records, byte for byte: what the next swap is compared with
    listing: Vec<u8>,
}

/// What came of putting a record in place.
pub enum Swapped {
    /// it is there, durably; what the side's records are now
    Done(Seen),
    /// the records were not those that had been seen
    Changed(Seen),
}

impl Record {
    /// "root@new runs `rehome apply` since 2026-11-22 03:04:05 UTC"
    pub fn at(&self) -> String {
        let since = rehome_gatekeeper::clock::utc(self.since);
        format!("{}, `rehome {}` since {since}, its state is {}", self.who, self.verb, self.place)
    }

    fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    fn parse(text: &[u8]) -> Result<Record, String> {
        let record: Record = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        match record.rehome {
            VERSION => Ok(record),
            later => Err(format!("it was written by another rehome (format {later}, this one knows {VERSION})")),
        }
    }

    /// The format that this rehome writes.
    pub const VERSION: u32 = VERSION;
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on {}", self.folder, self.host)
    }
}

impl Seen {
    /// The record of a migration, if there is one.
    pub fn of(&self, id: &str) -> Option<&Found> {
        self.records.iter().find(|found| found.id == id)
    }

    fn parse(machine: &[u8], listing: &[u8]) -> Option<Seen> {
        let machine = machine.strip_prefix(b"machine ")?;
        let machine = (machine != b"-").then(|| String::from_utf8_lossy(machine).into_owned());
        let mut records = Vec::new();
        let mut rest = listing;
        while !rest.is_empty() {
            let (head, after) = line(rest)?;
            let mut words = std::str::from_utf8(head).ok()?.strip_prefix("record ")?.split(' ');
            let (id, length) = (words.next()?.to_string(), words.next()?.parse::<usize>().ok()?);
            let text = after.get(..length)?;
            let record = Record::parse(text).and_then(|record| match record.migration == id {
                true => Ok(record),
                false => Err("it is of another migration".into()),
            });
            records.push(Found { id, record });
            rest = &after[length..];
        }
        Some(Seen { machine, records, listing: listing.to_vec() })
    }
}

fn line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == b'\n')?;
    Some((&text[..at], &text[at + 1..]))
}

/// Looks at the records of a side; changes nothing. `root`: "" but in tests.
pub async fn look(side: &Side, name: SideName, root: &Path) -> Result<Seen, SidesError> {
    match ask(side, name, root, &[b"look"], &[]).await? {
        Swapped::Done(seen) | Swapped::Changed(seen) => Ok(seen),
    }
}

/// Puts a record of `id` in place (none: removes it), if the side's records are still those that were seen.
pub async fn swap(
    side: &Side,
    name: SideName,
    root: &Path,
    seen: &Seen,
    (id, record): (&str, Option<&Record>),
) -> Result<Swapped, SidesError> {
    let text = record.map(Record::to_text).unwrap_or_default();
    ask(side, name, root, &[b"swap", id.as_bytes(), text.as_bytes()], &seen.listing).await
}

async fn ask(side: &Side, name: SideName, root: &Path, words: &[&[u8]], input: &[u8]) -> Result<Swapped, SidesError> {
    use std::os::unix::ffi::OsStrExt;
    let mut argv: Vec<&[u8]> = vec![b"/usr/bin/perl" as &[u8], b"-e", PROGRAM.as_bytes(), b"--"];
    argv.push(root.as_os_str().as_bytes());
    argv.extend(words);
    let command = Command::new(argv).stdin(input).timeout(PATIENCE);
    let output = side.run(&command).await.map_err(|source| SidesError::Side { side: name, source })?;
    let odd = |said: &[u8]| SidesError::Record {
        side: name,
        name: side.name().to_string(),
        said: String::from_utf8_lossy(said).trim().escape_debug().take(400).collect(),
    };
    let Some((word, rest)) = line(&output.stdout).filter(|_| output.success()) else {
        return Err(odd(if output.stderr.is_empty() { &output.stdout } else { &output.stderr }));
    };
    if let Some(why) = word.strip_prefix(b"no ") {
        return Err(odd(why));
    }
    let seen = line(rest).and_then(|(machine, listing)| Seen::parse(machine, listing));
    match (word, seen) {
        (b"done" | b"seen", Some(seen)) => Ok(Swapped::Done(seen)),
        (b"changed", Some(seen)) => Ok(Swapped::Changed(seen)),
        _ => Err(odd(&output.stdout)),
    }
}
