//! Unit tests of the phase against the test host. What its statements do to real tables is tried on real servers, in
//! `host/gatekeeper/tests/sql/roundcube.rs`; what Roundcube's own script does, in the lab (`tests/e2e/webmail.rs`).

mod alike;
mod copies;
mod findings;

use rehome_sdk::files::{Entry as File, Kind};
use rehome_sdk::sql::{Column, Description, Difference, Rows, Table, Value};
use rehome_sdk::test::Host;
use serde_json::json;

use super::*;

/// Versions of the tables of Roundcube 1.4 and 1.6.
const OLDER: &str = "2019092900";
const NEWER: &str = "2022081200";

/// Roundcube's own tables, with `more` of plugins or of newer versions.
fn described(more: &[&str]) -> Description {
    let column = |name: &&str| Column { name: name.to_string(), kind: "text".into(), nullable: true, default: None };
    let table =
        |name: &str, columns: &[&str]| Table { name: name.into(), columns: columns.iter().map(column).collect() };
    let mut tables: Vec<Table> = schema::NEEDED.iter().map(|(name, columns)| table(name, columns)).collect();
    tables.push(table("system", &["name", "value"]));
    tables.push(table("filestore", &["file_id", "user_id", "context", "filename", "mtime", "data"]));
    tables.extend(more.iter().map(|name| table(name, &["user_id"])));
    Description { product: "mariadb".into(), version: "10.5.29".into(), tables }
}

fn version(value: &str) -> Rows {
    Rows { columns: vec!["value".into()], rows: vec![vec![Value::from(value)]] }
}

/// One user: name, IMAP server, last login, contacts.
type User<'a> = (&'a str, &'a str, &'a str, i64);

const COLUMNS: [&str; 9] = [
    "username",
    "mail_host",
    "last_login",
    "contacts",
    "contact_groups",
    "members",
    "identities",
    "searches",
    "content",
];

/// Everybody has one group with one member and one identity; the content is as many contacts as there are.
fn users(all: &[User<'_>]) -> Rows {
    let row = |(user, host, login, contacts): &User<'_>| {
        let texts = [*user, *host, *login].map(Value::from);
        let counts = [*contacts, 1, 1, 1, 0].map(Value::Integer);
        texts.into_iter().chain(counts).chain([Value::from(format!("sum {contacts}").as_str())]).collect()
    };
    Rows { columns: COLUMNS.map(String::from).to_vec(), rows: all.iter().map(row).collect() }
}

const JOHN: User<'_> = ("john@example.org", "old.example", "2024-05-01 10:00:00", 5);
const JANE: User<'_> = ("jane@example.org", "old.example", "", 2);

/// The same user as Roundcube on new looks for it.
fn moved((user, _, login, contacts): User<'static>) -> User<'static> {
    (user, "new.example", login, contacts)
}

fn file(name: &str) -> File {
    File {
        path: name.as_bytes().to_vec(),
        kind: Kind::File,
        size: 1,
        modified: 0,
        mode: 0o644,
        owner: "root".into(),
        links: 1,
    }
}

fn same() -> Vec<Difference> {
    vec![Difference { table: "users".into(), old_rows: 2, new_rows: 2, equal: true }]
}

/// Roundcube 1.4 with two users on old; 1.6 with none on new, where the copy and the update script work.
fn host() -> Host {
    let mut host = Host::new(requests::MANIFEST);
    host.schema("webmail", Side::Old).gives(described(&[]));
    host.schema("webmail", Side::New).gives(described(&["responses", "collected_addresses"]));
    host.query("version", Side::Old).gives(version(OLDER));
    // As installed, as copied, as the script leaves it.
    host.query("version", Side::New).gives(version(NEWER)).gives(version(OLDER)).gives(version(NEWER));
    host.query("ledger", Side::Old).gives(users(&[JANE, JOHN]));
    host.query("ledger", Side::New).gives(users(&[])).gives(users(&[moved(JANE), moved(JOHN)]));
    host.exec("imap-host", Side::Old).says("$config['default_host'] = 'tls://old.example';\n");
    host.exec("imap-host", Side::New).says("$config['imap_host'] = 'tls://new.example:143';\n");
    host.list("updates", Side::New).gives(vec![file("2019092900.sql"), file("2022081200.sql"), file("README")]);
    host.list("programs", Side::New).gives(vec![file("update.sh"), file("updatedb.sh")]);
    host.snapshot("target", Side::New).gives("s1".into());
    host.difference("whole").gives(same());
    host.statement("set-host", Side::New).gives(2);
    for side in SIDES {
        host.query("sums", side).holds(["Table", "Checksum"], &[["roundcube.users", "1"]]);
    }
    host
}

/// Two users of example.org beside what new has: tables of the version of new on both sides.
fn merging() -> Host {
    let mut host = host();
    let newer = described(&["responses", "collected_addresses"]);
    host.schema("webmail", Side::Old).anew().gives(newer);
    host.query("version", Side::New).anew().gives(version(NEWER));
    let mut unequal = same();
    unequal[0].equal = false;
    host.difference("people").gives(unequal).gives(same());
    host.difference("files").gives(same());
    host.difference("recent").gives(same());
    host
}

fn named() -> serde_json::Value {
    json!({ "domains": ["example.org"] })
}

fn of(found: &[Finding], severity: Severity) -> Vec<String> {
    let line = |finding: &Finding| {
        format!("{}: {} ({})", finding.subject, finding.text, finding.hint.as_deref().unwrap_or_default())
    };
    found.iter().filter(|finding| finding.severity == severity).map(line).collect()
}

fn blockers(host: &mut Host, config: serde_json::Value) -> Vec<String> {
    of(&host.check::<Roundcube>(config).unwrap(), Severity::Blocker)
}

fn said(host: &Host, words: &str) -> bool {
    host.reported().iter().any(|line| line.contains(words))
}
