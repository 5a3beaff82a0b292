//! The words of the contract as plain Rust: what `wit/types.wit`, `wit/lifecycle.wit` and their neighbours say,
//! without wasm. Every crate above and below speaks in these; `host/runtime` turns them into what a component sees.

use std::fmt;

use serde::{Deserialize, Serialize};

use rehome_manifest::shown_as_serialized;
pub use rehome_manifest::words::{Effect, SideName, Stage, Verb};

shown_as_serialized! {
    Severity: Ok "ok", Note "note", Warning "warning", Blocker "blocker";
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// looked at, and fine
    Ok,
    /// good to know
    Note,
    /// may hurt
    Warning,
    /// stops the migration; under `verify` a mismatch
    Blocker,
}

/// One thing a person should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// how much it matters
    pub severity: Severity,
    /// what it is about: "mailbox john@example.org"
    pub subject: String,
    /// what was seen
    pub text: String,
    /// what to do about it
    pub hint: Option<String>,
}

/// All records of one owner and type (RFC 9499); names with their last dot, data in presentation format, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rrset {
    /// "example.org."
    pub owner: String,
    /// "MX"
    pub kind: String,
    /// seconds
    pub ttl: u32,
    /// "10 mail.example.org."
    pub data: Vec<String>,
}

/// What one authoritative server answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsAnswer {
    /// "ns1.example.org (192.0.2.53)"
    pub server: String,
    /// of the zone, as that server has it
    pub serial: u32,
    /// none: it has no such records
    pub rrset: Option<Rrset>,
}

/// Keys of a pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// as of SCAN MATCH
    pub pattern: String,
    /// how many
    pub keys: u64,
}

/// Keys of both sides, compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named for what they count")]
pub struct RedisDifferences {
    pub equal: u64,
    pub only_old: u64,
    pub only_new: u64,
    pub different: u64,
}

/// A point where the migration waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gate {
    /// for the operator's word: the question's key
    Question(String),
    /// for a moment: UTC, seconds since 1970
    Moment(u64),
}

/// What a tool on a side said when it did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// the request: "exec.stop"
    pub request: String,
    /// exit status, if it had one
    pub status: Option<i32>,
    /// its last words, at most 4 KiB, made safe to show
    pub diagnostic: String,
}

/// The one failure of the contract; see `wit/types.wit` for what a phase can do about each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "documented where the contract is: wit/types.wit")]
pub enum Failure {
    Denied(String),
    ReadOnly(String),
    RefusedValue(String),
    Unsupported(String),
    Waiting(Gate),
    OutcomeUnknown { effect_id: u64, request: String, values: Vec<String> },
    EndedBadly(Tool),
    Unreachable(String),
    OverLimit(String),
    Conflict(String),
    NotFound(String),
    Stopped(Finding),
    Other(Tool),
}

impl Failure {
    /// The host's own trouble with a request, in its words.
    pub fn other(request: impl Into<String>, diagnostic: impl fmt::Display) -> Failure {
        Failure::Other(Tool { request: request.into(), status: None, diagnostic: diagnostic.to_string() })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Denied(text)
            | Failure::ReadOnly(text)
            | Failure::RefusedValue(text)
            | Failure::Unsupported(text)
            | Failure::Unreachable(text)
            | Failure::OverLimit(text)
            | Failure::Conflict(text)
            | Failure::NotFound(text) => f.write_str(text),
            Failure::Waiting(Gate::Question(key)) => write!(f, "waits for an answer to `{key}`"),
            Failure::Waiting(Gate::Moment(at)) => write!(f, "waits until {}", crate::clock::utc(*at)),
            Failure::OutcomeUnknown { effect_id, request, values } => {
                write!(f, "`{request}`")?;
                if !values.is_empty() {
                    write!(f, " for {}", values.join(", "))?;
                }
                write!(f, " was begun earlier (effect {effect_id}) and nobody saw how it ended")
            }
            Failure::EndedBadly(tool) => {
                match tool.status {
                    Some(status) => write!(f, "`{}` ended with status {status}", tool.request)?,
                    None => write!(f, "`{}` did not succeed", tool.request)?,
                }
                if tool.diagnostic.is_empty() { Ok(()) } else { write!(f, "\n{}", tool.diagnostic) }
            }
            Failure::Other(tool) => write!(f, "`{}`: {}", tool.request, tool.diagnostic),
            Failure::Stopped(finding) => write!(f, "{}: {}", finding.subject, finding.text),
        }
    }
}

impl std::error::Error for Failure {}

/// What a phase is told when it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// the phase's id in the plan
    pub phase: String,
    /// where it stands
    pub stage: Stage,
    /// 1 for the first deliberate run
    pub run: u32,
    /// a JSON object, validated, defaults filled in
    pub config: String,
}

/// One thing `apply` would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// "virtual_users on new"
    pub subject: String,
    /// how it is now
    pub before: Option<String>,
    /// how it would be
    pub after: String,
    /// whether `undo` can take it back
    pub reversible: bool,
}

/// A phase's answer to `preview`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// empty: nothing left to do
    pub changes: Vec<Change>,
    /// how long services will stand still for it, if it knows
    pub cutover_milliseconds: Option<u64>,
    /// what cannot be known yet
    pub not_known_yet: Vec<String>,
}

/// What a phase answers when it does not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// of `check` and `verify`
    Findings(Vec<Finding>),
    /// of `preview`
    Forecast(Forecast),
    /// of `apply` and `undo`
    Done,
}

/// A value to or from a database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the variants are SQL's own")]
pub enum SqlValue {
    Null,
    Integer(i64),
    Unsigned(u64),
    Real(f64),
    Text(String),
    Bytes(Vec<u8>),
}

/// Rows of a query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SqlRows {
    /// names, as the server gives them
    pub columns: Vec<String>,
    /// one list of values a row, in the columns' order
    pub rows: Vec<Vec<SqlValue>>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlColumn {
    /// its name
    pub name: String,
    /// as the server writes it: "varchar(150)"
    pub kind: String,
    /// whether NULL may stand in it
    pub nullable: bool,
    /// its default, as the server writes it
    pub default: Option<String>,
}

/// A table of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlTable {
    /// its name
    pub name: String,
    /// in the order of the table
    pub columns: Vec<SqlColumn>,
}

/// A database server and the schema of one database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlDescription {
    /// "mariadb", "mysql", "postgresql" or "sqlite"
    pub product: String,
    /// "10.5.29"
    pub version: String,
    /// by name
    pub tables: Vec<SqlTable>,
}

/// What a copy moved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlCopied {
    /// rows written, per step or table
    pub tables: Vec<(String, u64)>,
    /// how long it took
    pub milliseconds: u64,
}

/// One table, both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlDifference {
    /// its name
    pub table: String,
    /// rows on old
    pub old_rows: u64,
    /// rows on new
    pub new_rows: u64,
    /// same rows with the same values, whatever their order and their generated ids
    pub equal: bool,
}

/// What a command left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecOutput {
    /// one that the request lists as success
    pub status: i32,
    /// bytes, whatever their encoding
    pub stdout: Vec<u8>,
    /// bytes, whatever their encoding
    pub stderr: Vec<u8>,
}

/// What went through a pipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named for what they are")]
pub struct Moved {
    pub bytes: u64,
    pub source_status: i32,
    pub sink_status: i32,
}

/// What kind of thing a name in a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named for what they are")]
pub enum Kind {
    File,
    Folder,
    Symlink,
    Other,
}

/// One name in a tree. Units as in `wit/files.wit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in wit/files.wit")]
pub struct Entry {
    pub path: Vec<u8>,
    pub kind: Kind,
    pub size: u64,
    pub modified: i64,
    pub mode: u32,
    pub owner: String,
    pub links: u64,
}

/// What a sync did. Units as in `wit/files.wit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in wit/files.wit")]
pub struct SyncReport {
    pub examined: u64,
    pub copied: u64,
    pub bytes: u64,
    pub renamed: u64,
    pub set_aside: u64,
    pub vanished: u64,
    pub milliseconds: u64,
    pub mark: String,
}

/// What syncs touched since a mark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in wit/files.wit")]
pub struct Touched {
    pub folders: Vec<Vec<u8>>,
    pub mark: String,
}

/// What differs between the two sides of a sync. Units as in `wit/files.wit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in wit/files.wit")]
pub struct FileComparison {
    pub examined: u64,
    pub missing: u64,
    pub missing_bytes: u64,
    pub extra: u64,
    pub different: u64,
    pub examples: Vec<String>,
}

/// How closely `compare` looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Closeness {
    /// names, sizes, times, owners
    Metadata,
    /// the bytes of every file as well
    Contents,
}

/// What the operator said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorAnswer {
    /// the words
    pub values: Vec<String>,
    /// the user, as "root@new"
    pub who: String,
    /// UTC, seconds since 1970
    pub at: u64,
}

/// What a phase saw about an outcome nobody knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Settlement {
    /// the effect is there
    Done,
    /// it is not
    NotDone,
}

/// How loud a line of a phase is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the usual ones")]
pub enum Level {
    Debug,
    Info,
    Warning,
    Error,
}
