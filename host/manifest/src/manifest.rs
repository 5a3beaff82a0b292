//! What a component asks for: its manifest, a TOML text in the custom section `rehome:manifest` of the component.
//! Nothing in it runs. `Manifest::parse` accepts it as written, `fill` fills in the plan's config;
//! only filled requests are shown, approved and obeyed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::words::{Effect, SideName, Verb};

/// The custom section of a component that holds its manifest.
pub const SECTION: &str = "rehome:manifest";
/// The contract version this host speaks: the `api` of a manifest. Within 0.1 only functions are added.
pub const API: &str = "0.1";

/// A whole manifest: everything it could ever do to a side. Requests are named within their capability; a request's id is
/// both: `exec.stop`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    /// lower case, digits and hyphens
    pub name: String,
    /// three numbers
    pub version: String,
    /// the contract version it was built for
    pub api: String,
    /// one line: what the phase does
    pub about: String,
    /// what a plan can set
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, ConfigKey>,
    /// commands
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exec: BTreeMap<String, Exec>,
    /// stdout of one command into stdin of another
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pipe: BTreeMap<String, Pipe>,
    /// trees of files
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tree: BTreeMap<String, Tree>,
    /// trees from one side to the other
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sync: BTreeMap<String, Sync>,
    /// files it may write
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub file: BTreeMap<String, File>,
    /// files it may move out of sight
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aside: BTreeMap<String, Aside>,
    /// databases whose server and schema it may look at
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schema: BTreeMap<String, Schema>,
    /// statements
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sql: BTreeMap<String, Sql>,
    /// databases, or rows of them, from old to new
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub copy: BTreeMap<String, Copy>,
    /// databases it may keep and put back
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub snapshot: BTreeMap<String, Snapshot>,
    /// keys of a Redis server, from old to new
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub redis_copy: BTreeMap<String, RedisCopy>,
    /// names it may look up in the domain name system
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lookup: BTreeMap<String, Lookup>,
    /// RRsets it may write
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub record: BTreeMap<String, Record>,
    /// what it may ask the operator
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub question: BTreeMap<String, Question>,
}

/// One key that a plan can set for a phase.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ConfigKey {
    /// a name from the table of value types, or `list of` one, or `boolean`, `duration`, `size`, `choice`
    #[serde(rename = "type")]
    pub kind: String,
    /// without one, the plan must set it
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<toml::Value>,
    /// of a `choice`: the words
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub of: Vec<String>,
    /// one line for the operator
    pub about: String,
}

/// When a request is asked for at all: `when.part = ["stop"]` or `when.domains = ["some"]`. By config key, the values of
/// which one must be the plan's; of a list `some` or `none`. What a phase does not need in this plan, nobody has to grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct When(pub BTreeMap<String, Vec<String>>);

impl When {
    /// Whether it is asked for whatever the config.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A command: an exact argv. Each element is a literal or one whole hole, `{NAME: TYPE from SOURCE}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Exec {
    /// the sides it may run on
    pub on: Vec<SideName>,
    /// program (a name in the fixed PATH, or an absolute path) and arguments
    pub argv: Vec<String>,
    /// what it does to the side, as its author says
    pub effect: Effect,
    /// why; required unless the effect is `read`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// exit statuses that are success
    #[serde(default = "zero", skip_serializing_if = "is_zero")]
    pub ok: Vec<i32>,
    /// "90s", "5m", "2h": it is ended after that
    #[serde(default = "a_minute", skip_serializing_if = "is_a_minute")]
    pub timeout: String,
    /// "1MiB": it is ended if it prints more
    #[serde(default = "a_mebibyte", skip_serializing_if = "is_a_mebibyte")]
    pub output: String,
    /// standard input
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// template of one line of standard input, for `run-with-rows`: holes in it as in argv, anywhere in the line
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<String>,
    /// what the host may take from its output as the source of later holes: `lines`, `words` (what white space parts),
    /// `json-lines:/POINTER`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yields: Option<String>,
    /// only under these verbs
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<Verb>,
    /// only where the plan's config is so
    #[serde(default, skip_serializing_if = "When::is_empty")]
    pub when: When,
}

/// stdout of one exec request into stdin of another.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pipe {
    /// `NAME on SIDE`, of an exec request without holes
    pub source: String,
    /// `NAME on SIDE`, of an exec request without holes
    pub sink: String,
    /// of both together
    pub effect: Effect,
    /// why
    pub reason: String,
    /// both are ended after that
    #[serde(default = "an_hour")]
    pub timeout: String,
    /// only under these verbs
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<Verb>,
    /// only where the plan's config is so
    #[serde(default, skip_serializing_if = "When::is_empty")]
    pub when: When,
}

/// What may be looked at in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// names, sizes, times
    List,
    /// contents as well
    Read,
}

/// A tree of files. What may be done in it, other requests say.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tree {
    /// the sides it lies on
    pub on: Vec<SideName>,
    /// absolute
    pub path: String,
    /// only below these folders of it (none: all)
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
    /// what the component itself may see
    pub access: Access,
    /// only where the plan's config is so
    #[serde(default, skip_serializing_if = "When::is_empty")]
    pub when: When,
}

/// How a tree is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// files are what their path, size and time say
    #[default]
    Plain,
    /// Maildir++: a message never changes under its base name; flags are in the name
    Maildir,
}

/// A tree from one side to the other, or into another folder: a copy that is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sync {
    /// a tree request: what is read; without `into` it lies on both sides
    pub tree: String,
    /// the side that is read, where that is not the other one; with `into`, it may be the side that is written
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<SideName>,
    /// the side that is written
    pub to: SideName,
    /// absolute: the folder that is written, where that is not the path of the tree; it must be there
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<String>,
    /// how it is laid out
    #[serde(default)]
    pub layout: Layout,
    /// whether what the source lacks is kept aside on the target
    #[serde(default)]
    pub delete: bool,
    /// "5%" of the target's files, or a number of files: more, and nothing is deleted
    #[serde(default = "five_percent")]
    pub delete_limit: String,
    /// file names that are left alone: `dovecot.index*`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// nothing on the target is overwritten, renamed or deleted; required when `to = "old"`
    #[serde(default)]
    pub add_only: bool,
    /// under `add-only`, file names that are replaced all the same; the former ones are kept aside
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_replace: Vec<String>,
    /// `USER:GROUP` for everything, instead of the same names as on the source
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// why
    pub reason: String,
    /// only under these verbs
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<Verb>,
    /// only where the plan's config is so
    #[serde(default, skip_serializing_if = "When::is_empty")]
    pub when: When,
}

impl Sync {
    /// The side that is read.
    pub fn source(&self) -> SideName {
        self.from.unwrap_or(match self.to {
            SideName::New => SideName::Old,
            SideName::Old => SideName::New,
        })
    }
}

/// A file the phase may write: its path, mode, owner and text are here.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct File {
    /// the sides
    pub on: Vec<SideName>,
    /// absolute
    pub path: String,
    /// "0644"
    pub mode: String,
    /// `USER:GROUP`
    #[serde(default = "root", skip_serializing_if = "is_root")]
    pub owner: String,
    /// what it holds, before the lines
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// template of one line, for `rows`: holes in it as in argv, anywhere in the line
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// why
    pub reason: String,
    /// only under these verbs
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<Verb>,
    /// only where the plan's config is so
    #[serde(default, skip_serializing_if = "When::is_empty")]
    pub when: When,
}

/// Files to move out of sight.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Aside {
    /// the sides
    pub on: Vec<SideName>,
    /// a tree request
    pub tree: String,
    /// file names: `dovecot.index*`
    pub names: Vec<String>,
    /// why
    pub reason: String,
    /// only under these verbs
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<Verb>,
    /// only where the plan's config is so
    #[serde(default, skip_serializing_if = "When::is_empty")]
    pub when: When,
}

/// A look at a database's server and schema.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Schema {
    /// the sides
    pub on: Vec<SideName>,
    /// its name; the plan says where it is
    pub database: String,
    /// only where the plan's config is so
    #[serde(default, skip_serializing_if = "When::is_empty")]
    pub when: When,
}

/// One statement. `:name` in it are bound values, in the order of their first appearance.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sql {
    /// the sides
    pub on: Vec<SideName>,
    /// its name; the plan says where it is
    pub database: String,
    /// the statement
    pub text: String,
    /// what it does, as its author says
    pub effect: Effect,
    /// why; required unless the effect is `read`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// what the host may take from its rows as the source of later holes: `column:NAME`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yields: Option<String>,
    /// only under these verbs
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<Verb>,
    /// only where the plan's config is so
    #[serde(default, skip_serializing_if = "When::is_empty")]
    pub when: When,
}

/// What a copy moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CopyKind {
    /// rows by column name, in one transaction
    Rows,
    /// whole tables, made anew
    Tables,
}

/// A database, or some of its rows, from old to new.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Copy {
    /// its name; the plan says where it is on either side
    pub database: String,
    /// what moves
    pub kind: CopyKind,
    /// `rows` is repeatable, `tables` is once
    pub effect: Effect,
    /// of `rows`: in this order
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub step: Vec<CopyStep>,
    /// of `tables`: which (none: all)
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<String>,
    /// why
    pub reason: String,
    /// only under these verbs
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<Verb>,
    /// only where the plan's config is so
    #[serde(default, skip_serializing_if = "When::is_empty")]
    pub when: When,
}

/// One step of a copy of rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CopyStep {
    /// what reports call it
    pub table: String,
    /// on new, before all inserts; the steps' deletes run in their order
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete: Option<String>,
    /// on old, and to compare on both sides
    pub select: String,
    /// on both sides to compare, instead of `select`: where what was copied may rightly change in some way afterwards
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<String>,
    /// on new, once a row: `:column` is that column of the SELECT
    pub insert: String,
}

/// A database to keep as it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Snapshot {
    /// the sides
    pub on: Vec<SideName>,
    /// its name; the plan says where it is
    pub database: String,
    /// why
    pub reason: String,
    /// only where the plan's config is so
    #[serde(default, skip_serializing_if = "When::is_empty")]
    pub when: When,
}

/// Keys of a Redis server, from old to new.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RedisCopy {
    /// database numbers, or a list of the config
    #[serde(deserialize_with = "numbers")]
    pub databases: Vec<String>,
    /// glob patterns of keys, as of SCAN MATCH
    pub patterns: Vec<String>,
    /// why
    pub reason: String,
    /// only under these verbs
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<Verb>,
    /// only where the plan's config is so
    #[serde(default, skip_serializing_if = "When::is_empty")]
    pub when: When,
}

impl RedisCopy {
    /// The databases' numbers, once the config is filled in.
    pub fn numbers(&self) -> Vec<u32> {
        self.databases.iter().filter_map(|number| number.parse().ok()).collect()
    }
}

/// Numbers, and texts that become numbers once the config is filled in.
fn numbers<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u32),
        Text(String),
    }
    let texts = |written| match written {
        Written::Number(number) => number.to_string(),
        Written::Text(text) => text,
    };
    Ok(Vec::<Written>::deserialize(from)?.into_iter().map(texts).collect())
}

/// A name the phase may look up at its zone's authoritative servers. What they answer (names without the last dot, and
/// addresses) may fill holes whose source is `lookup.NAME`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Lookup {
    /// a name, with holes in it as in a line template; for the kind PTR an address
    pub owner: String,
    /// "MX"
    pub kind: String,
    /// only where the plan's config is so
    #[serde(default, skip_serializing_if = "When::is_empty")]
    pub when: When,
}

/// A host name or an address that takes the place of another in the records that are there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Swap {
    /// records that name it are changed, others are kept as they are
    pub from: String,
    /// what they name afterwards
    pub to: String,
}

/// An RRset the phase may write.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Record {
    /// a name, with holes in it as in a line template
    pub owner: String,
    /// "A", "AAAA", "CNAME", "MX" or "TXT"
    pub kind: String,
    /// in presentation format; none: those that are there
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<String>,
    /// instead of `data`: those that are there, with one name or address for another
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap: Option<Swap>,
    /// seconds, or `first-seen`: what it was before this component first wrote it; none: as it is
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// the name of a secret of the plan: the key that signs the update
    pub key: String,
    /// why
    pub reason: String,
    /// only under these verbs
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<Verb>,
    /// only where the plan's config is so
    #[serde(default, skip_serializing_if = "When::is_empty")]
    pub when: When,
}

/// Something the phase may ask the operator, or wait for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Question {
    /// how it is answered
    pub kind: QuestionKind,
    /// one line for the operator, when they approve
    pub about: String,
    /// only where the plan's config is so
    #[serde(default, skip_serializing_if = "When::is_empty")]
    pub when: When,
}

/// How a question is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QuestionKind {
    /// by `yes` or `no`
    Confirm,
    /// by some of the options the phase offers
    Choose,
    /// by time
    Wait,
}

fn zero() -> Vec<i32> {
    vec![0]
}
fn is_zero(ok: &[i32]) -> bool {
    ok == [0]
}
fn a_minute() -> String {
    "60s".into()
}
fn is_a_minute(text: &str) -> bool {
    text == "60s"
}
fn an_hour() -> String {
    "1h".into()
}
fn a_mebibyte() -> String {
    "1MiB".into()
}
fn is_a_mebibyte(text: &str) -> bool {
    text == "1MiB"
}
fn five_percent() -> String {
    "5%".into()
}
fn root() -> String {
    "root:root".into()
}
fn is_root(owner: &str) -> bool {
    owner == "root:root"
}
