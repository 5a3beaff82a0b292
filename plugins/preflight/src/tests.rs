//! Unit tests of the phase against the test host: each thing that goes wrong is found, and named.

use rehome_sdk::exec::Output;
use rehome_sdk::files::{Comparison, Space};
use rehome_sdk::sql::{Column, Description, Table};
use rehome_sdk::test::Host;
use serde_json::json;

use super::*;

fn described(version: &str, password: &str) -> Description {
    let column =
        |name: &str, kind: &str| Column { name: name.into(), kind: kind.into(), nullable: false, default: None };
    let table = |name: &str, columns: Vec<Column>| Table { name: name.into(), columns };
    Description {
        product: "mariadb".into(),
        version: version.into(),
        tables: vec![
            table("virtual_domains", vec![column("name", "varchar(50)")]),
            table("virtual_users", vec![column("email", "varchar(100)"), column("password", password)]),
            table("virtual_aliases", vec![column("source", "varchar(100)"), column("destination", "varchar(100)")]),
        ],
    }
}

/// Two servers with which nothing is wrong.
pub(crate) fn host() -> Host {
    let mut host = Host::new(requests::MANIFEST);
    let now = host.now();
    for (side, release, version) in [(Side::Old, "11 (bullseye)", "10.5.29"), (Side::New, "12 (bookworm)", "10.11.14")]
    {
        host.exec("clock", side).says(&now.to_string());
        host.exec("release", side).says(&format!("NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux {release}\"\n"));
        host.exec("services", side).says("active\nactive\nactive\nactive\nactive\n");
        host.exec("account", side).says("vmail:x:5000:5000::/var/vmail:/usr/sbin/nologin\n");
        host.exec("dovecot-version", side).says("2.3.19.1 (9b53102964)\n");
        host.exec("postfix-version", side).says("3.7.11\n");
        host.exec("users", side).says("john@example.org\n");
        settings(&mut host, side);
        host.schema("accounts", side).gives(described(version, "varchar(150)"));
        host.query("users", side).counts(1);
    }
    host.exec("dovecot-settings", Side::New).says("# 2.3.19.1\n");
    host.exec("postfix-settings", Side::New).says("");
    host.exec("rspamd-settings", Side::New).says("syntax OK\n");
    let comparison =
        Comparison { examined: 10, missing: 10, missing_bytes: 10_000, extra: 0, different: 0, examples: Vec::new() };
    host.comparison("mail").gives(comparison);
    host.free("mail", Side::New).gives(Space { bytes: 1_000_000, inodes: 1000 });
    host
}

pub(crate) const MAIN: &str = "mydestination = localhost\nsmtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated \
                    defer_unauth_destination\n";
pub(crate) const KNOWN: &str = "mail_version = 3\nmydestination = $myhostname\nmyhostname = HOST.example.org\nmydomain = localdomain\n\
                     always_bcc =\nsmtpd_relay_restrictions =\nsmtpd_recipient_restrictions =\ncompatibility_level = 3.6\n";
pub(crate) const DOVECOT: &str =
    "mail_location = maildir:~/Maildir\nnamespace inbox {\n  separator = \n}\nprotocols = \" imap lmtp\"\n";

/// A side whose settings are the guide's.
fn settings(host: &mut Host, side: Side) {
    host.exec("packages", side).says("rspamd\t3.4-1\n");
    host.exec("postfix-set", side).says(MAIN);
    host.exec("postfix-defaults", side).says(&KNOWN.replace("HOST", side.word()));
    host.exec("postfix-services", side).says("smtp inet n - y - - smtpd\n");
    host.exec("postfix-overrides", side).says("");
    host.exec("postfix-queries", side).says("/etc/postfix/mysql-x.cf:query = SELECT 1\n");
    host.exec("dovecot-set", side).says(&format!("# 2.3.19.1 (9b53): /etc/dovecot/dovecot.conf\n{DOVECOT}"));
    host.exec("dovecot-all", side).says(DOVECOT);
    host.exec("user-query", side)
        .says("user_query = SELECT email as user, '/var/vmail/%d/%n' AS home FROM virtual_users\n");
    host.exec("conffiles", side).says(" /etc/rspamd/options.inc 0123\n");
    host.exec("aliases", side).says("postmaster: root\n");
    host.exec("safe-keys", side).ends(2, "", "");
    host.exec("digest", side).by(|_| Ok(Output { status: 0, stdout: b"0123  x".to_vec(), stderr: Vec::new() }));
    host.list("etc", side).by(|_| Ok(Vec::new()));
    host.list("crontabs", side).fails(Failure::NotFound("no such folder".into()));
    match side {
        Side::Old => host
            .exec("user", side)
            .says("field\tvalue\nuid\t5000\nhome\t/var/vmail/example.org/john\nmail\tmaildir:~/Maildir\n"),
        Side::New => host.exec("user", side).ends(67, "field\tvalue\n", "userdb lookup: user doesn't exist"),
    };
}

pub(crate) fn check(host: &mut Host) -> Vec<Finding> {
    host.check::<Preflight>(json!({})).unwrap()
}

/// What is at least a warning, as "blocker user vmail: is …".
pub(crate) fn troubles(host: &mut Host) -> Vec<String> {
    let word = |severity| match severity {
        Severity::Blocker => Some("blocker"),
        Severity::Warning => Some("warning"),
        _ => None,
    };
    check(host)
        .iter()
        .filter_map(|finding| Some(format!("{} {}: {}", word(finding.severity)?, finding.subject, finding.text)))
        .collect()
}

#[test]
fn two_working_servers_have_no_troubles_and_their_versions_are_noted() {
    let mut host = host();
    assert_eq!(troubles(&mut host), Vec::<String>::new());
    let notes: Vec<String> = check(&mut host)
        .iter()
        .filter(|finding| finding.severity == Severity::Note)
        .map(|finding| format!("{}: {}", finding.subject, finding.text))
        .collect();
    for note in [
        "Debian on old: Debian GNU/Linux 11 (bullseye)",
        "Dovecot on new: Dovecot 2.3.19.1 (9b53102964)",
        "Postfix on old: Postfix 3.7.11",
        "database on new: MariaDB 10.11.14",
    ] {
        assert!(notes.contains(&note.to_string()), "{notes:?}");
    }
    host.apply::<Preflight>(json!({})).unwrap();
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn dovecot_without_iterate_query_is_found_on_either_side() {
    let mut host = host();
    host.exec("users", Side::Old).anew().ends(75, "", "Error: User listing returned failure");
    host.exec("users", Side::New).anew().says("");
    host.query("some-users", Side::Old).holds(["email"], &[["john@example.org"]]);
    let found = troubles(&mut host);
    assert!(found[0].starts_with("warning Dovecot on old: cannot list its users: Error: User listing"), "{found:?}");
    assert!(found[1].contains("warning Dovecot on new") && found[1].contains("iterate_query"), "{found:?}");
    // a new side without users lists nobody rightly
    host.query("users", Side::New).anew().counts(0);
    assert_eq!(troubles(&mut host).len(), 1);
}

#[test]
fn a_full_disk_and_missing_inodes_are_found() {
    let mut host = host();
    host.free("mail", Side::New).anew().gives(Space { bytes: 9_000, inodes: 3 });
    let found = troubles(&mut host);
    assert_eq!(
        found[0],
        "blocker disk under /var/vmail on new: has 9.0 kB left, and needs 10.5 kB: 10 files to copy, 10.0 kB"
    );
    assert!(found[1].contains("has 3 inodes left, and needs 10"), "{found:?}");
}

#[test]
fn another_uid_is_found_with_both_numbers_and_the_remedy() {
    let mut host = host();
    host.exec("account", Side::New).anew().says("vmail:x:5001:5000::/var/vmail:/usr/sbin/nologin\n");
    assert_eq!(troubles(&mut host), ["blocker user vmail: is 5000:5000 on old and 5001:5000 on new"]);
    let found = check(&mut host);
    let hint = found.iter().find(|finding| finding.subject == "user vmail").and_then(|finding| finding.hint.clone());
    assert!(hint.unwrap().contains("`usermod -u 5000 vmail`"));
    host.exec("account", Side::New).anew().ends(2, "", "");
    assert_eq!(troubles(&mut host), ["blocker user vmail on new: is not there"]);
}

#[test]
fn a_stopped_service_is_found_by_its_name() {
    let mut host = host();
    host.exec("services", Side::New).anew().ends(3, "active\nactive\nactive\nfailed\nactive\n", "");
    assert_eq!(troubles(&mut host), ["blocker rspamd on new: does not run: systemd says failed"]);
}

#[test]
fn a_stopped_dovecot_is_not_asked_for_its_users() {
    let mut host = host();
    host.exec("services", Side::Old).anew().ends(3, "inactive\nactive\nactive\nactive\nactive\n", "");
    assert_eq!(troubles(&mut host), ["blocker dovecot on old: does not run: systemd says inactive"]);
    assert!(!host.calls().contains(&"exec.users on old".to_string()));
}

#[test]
fn a_database_that_refuses_root_is_found_with_the_servers_words() {
    let mut host = host();
    let refused = rehome_sdk::Tool {
        request: "schema.accounts".into(),
        status: None,
        diagnostic: "1698 (28000): Access denied for user 'root'@'localhost'".into(),
    };
    host.schema("accounts", Side::Old).anew().fails(Failure::EndedBadly(refused));
    let found = troubles(&mut host);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("blocker database on old: does not let root in") && found[0].contains("Access denied")
    );
}

#[test]
fn a_newer_database_on_old_is_found() {
    let mut host = host();
    host.schema("accounts", Side::Old).anew().gives(described("11.4.2", "varchar(150)"));
    assert_eq!(troubles(&mut host), ["blocker database: is MariaDB 11.4.2 on old, and only 10.11.14 on new"]);
    host.schema("accounts", Side::Old).anew().gives(described("10.11.15", "varchar(150)"));
    assert_eq!(troubles(&mut host), ["warning database: is MariaDB 10.11.15 on old, and only 10.11.14 on new"]);
}

#[test]
fn schemas_that_do_not_fit_are_found() {
    let mut host = host();
    let mut narrow = described("10.11.14", "varchar(32)");
    narrow.tables.pop();
    host.schema("accounts", Side::New).anew().gives(narrow);
    assert_eq!(
        troubles(&mut host),
        [
            "blocker virtual_users.password: is varchar(150) on old and only varchar(32) on new",
            "blocker virtual_aliases on new: is not there",
        ]
    );
}

#[test]
fn settings_that_do_not_load_and_clocks_apart_are_found() {
    let mut host = host();
    host.exec("dovecot-settings", Side::New).anew().ends(89, "", "doveconf: Fatal: Error in configuration file");
    host.exec("postfix-settings", Side::New).anew().ends(1, "", "fatal: bad string length");
    let late = (host.now() + 86_400).to_string();
    host.exec("clock", Side::New).anew().says(&late);
    let found = troubles(&mut host);
    assert_eq!(found[0], "warning clocks: new is 86400 s ahead of old");
    assert!(found[1].starts_with("blocker Dovecot's settings on new") && found[1].contains("configuration file"));
    assert!(found[2].starts_with("blocker Postfix's settings on new"), "{found:?}");
}

#[test]
fn apply_looks_again_and_stops_at_the_first_of_all_blockers() {
    let mut host = host();
    host.exec("services", Side::New).anew().ends(3, "failed\nactive\nactive\nfailed\nactive\n", "");
    let why = host.apply::<Preflight>(json!({})).unwrap_err().words();
    assert_eq!(why, "dovecot on new: does not run: systemd says failed (and 1 more)");
    assert!(host.reported().contains(&"error: rspamd on new: does not run: systemd says failed".to_string()));
}

#[test]
fn sides_that_are_folders_are_said_to_be_so_and_the_rest_is_looked_at() {
    let mut host = host();
    for side in SIDES {
        host.exec("clock", side).anew().is_unsupported();
        let sqlite =
            Description { product: "sqlite".into(), version: "3.46.0".into(), ..described("", "varchar(150)") };
        host.schema("accounts", side).anew().gives(sqlite);
    }
    assert_eq!(troubles(&mut host), Vec::<String>::new());
    let found = check(&mut host);
    assert_eq!(found.iter().filter(|finding| finding.text.contains("runs no commands")).count(), 2);
    assert!(found.iter().any(|finding| finding.subject == "disk under /var/vmail on new"));
    assert!(!host.calls().iter().any(|call| call.starts_with("exec.services")));
}

#[test]
fn its_sync_can_never_run() {
    let mut host = host();
    // Not even a mistake could: the host keeps it for verbs that only read.
    struct Mistake;
    impl Phase for Mistake {
        type Config = Config;
        fn preview(_: &Context<Config>) -> Result<Forecast, Failure> {
            requests::sync::MAIL.run().map(|_| Forecast::default())
        }
        fn apply(_: &Context<Config>) -> Result<(), Failure> {
            requests::sync::MAIL.run().map(drop)
        }
        fn undo(_: &Context<Config>) -> Result<(), Failure> {
            requests::sync::MAIL.run().map(drop)
        }
    }
    assert!(matches!(host.preview::<Mistake>(json!({})), Err(Failure::ReadOnly(_))));
    assert!(matches!(host.apply::<Mistake>(json!({})), Err(Failure::ReadOnly(_))));
    assert!(matches!(host.undo::<Mistake>(json!({})), Err(Failure::ReadOnly(_))));
}
