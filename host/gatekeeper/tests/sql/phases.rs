//! The statements of the phases in `plugins/`, on real servers with tables like the guides': what the phases' own unit tests
//! cannot show.

use rehome_gatekeeper::types::{SideName, SqlValue, Verb};

use crate::lab::{Lab, difference, text};
use crate::servers::Databases;

/// As in the guides for Wheezy and Jessie: bare MD5 in 32 characters, no quota.
const GUIDE: &str = "
CREATE TABLE virtual_domains (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50) NOT NULL) ENGINE=InnoDB CHARSET=utf8;
CREATE TABLE virtual_users (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, domain_id INT NOT NULL, password VARCHAR(WIDTH) NOT NULL,
  email VARCHAR(100) NOT NULL, UNIQUE KEY email (email),
  FOREIGN KEY (domain_id) REFERENCES virtual_domains (id) ON DELETE CASCADE) ENGINE=InnoDB CHARSET=utf8;
CREATE TABLE virtual_aliases (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, domain_id INT NOT NULL, source VARCHAR(100) NOT NULL,
  destination VARCHAR(100) NOT NULL, FOREIGN KEY (domain_id) REFERENCES virtual_domains (id) ON DELETE CASCADE) ENGINE=InnoDB CHARSET=utf8;
INSERT INTO virtual_domains VALUES (1, 'example.org'), (2, 'example.com');";

/// MD5 of `secret`, in both cases; what else is 32 characters or nearly so; and other schemes, which fit 150 only.
const SHORT: &str = "INSERT INTO virtual_users VALUES
 (1, 1, '5ebe2294ecd0e0f08eab7690d2a6ee69', 'john@example.org'), (2, 1, '5EBE2294ECD0E0F08EAB7690D2A6EE69', 'jane@example.org'),
 (3, 2, '5ebe2294ecd0e0f08eab7690d2a6ee69', 'joe@example.com'), (4, 1, '5ebe2294ecd0e0f08eab7690d2a6ee6g', 'no-hex@example.org'),
 (5, 1, '5ebe2294ecd0e0f08eab7690d2a6ee6', 'short@example.org');
INSERT INTO virtual_aliases VALUES (1, 1, 'postmaster@example.org', 'john@example.org');";
const LONG: &str = "INSERT INTO virtual_users VALUES
 (6, 1, '{PLAIN-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69', 'prefixed@example.org'), (7, 1, '{SHA256-CRYPT}$5$salt$hash', 'sha@example.org'),
 (8, 1, '$6$salt$hash', 'crypt@example.org'), (9, 1, '{SSHA.HEX}aabb', 'hex@example.org'), (10, 2, '$2y$05$salt', 'blf@example.com')";

fn guide(width: &str) -> String {
    GUIDE.replace("WIDTH", width)
}

/// A name and a number in each row.
async fn counts(lab: &Lab, name: &str, side: SideName) -> Vec<(String, i64)> {
    let rows = lab.session(Verb::Check, 1).query(name, side, &[]).await.unwrap().rows;
    let pair = |row: Vec<SqlValue>| match row.as_slice() {
        [SqlValue::Text(name), SqlValue::Integer(number)] => (name.clone(), *number),
        other => panic!("not a name and a number: {other:?}"),
    };
    rows.into_iter().map(pair).collect()
}

fn pairs(of: &[(&str, i64)]) -> Vec<(String, i64)> {
    of.iter().map(|(name, number)| (name.to_string(), *number)).collect()
}

const PASSWORDS: &str = "SELECT email, password FROM virtual_users ORDER BY email";

#[tokio::test]
async fn only_bare_hashes_are_prefixed_and_only_once_and_undo_strips_what_was_prefixed() {
    let Some(at) = Databases::new("").await else { return };
    let schemes = at.phase("password-schemes", "").await;
    at.sql(SideName::New, &guide("150"));
    at.sql(SideName::New, SHORT);
    at.sql(SideName::New, LONG);
    let before = at.sql(SideName::New, PASSWORDS);
    let mixed = [
        ("$2y$", 1),
        ("$6$", 1),
        ("bare MD5", 3),
        ("PLAIN-MD5", 1),
        ("SHA256-CRYPT", 1),
        ("SSHA.HEX", 1),
        ("unnamed", 2),
    ];
    assert_eq!(counts(&schemes, "schemes", SideName::New).await, pairs(&mixed));
    let bare = schemes.session(Verb::Check, 1).query("bare", SideName::New, &[]).await.unwrap();
    assert_eq!(
        format!("{:?}", bare.rows),
        r#"[[Text("jane@example.org")], [Text("joe@example.com")], [Text("john@example.org")]]"#
    );

    assert_eq!(schemes.apply().execute("prefix", SideName::New, &[]).await.unwrap(), 3);
    let once = at.sql(SideName::New, PASSWORDS);
    assert!(once.contains("jane@example.org\t{PLAIN-MD5}5EBE2294ECD0E0F08EAB7690D2A6EE69\n"), "{once}");
    assert_eq!(once.matches("{PLAIN-MD5}").count(), 4, "{once}");
    assert_eq!(schemes.apply().execute("prefix", SideName::New, &[]).await.unwrap(), 0, "the second time");
    assert_eq!(at.sql(SideName::New, PASSWORDS), once);
    let after = [("$2y$", 1), ("$6$", 1), ("PLAIN-MD5", 4), ("SHA256-CRYPT", 1), ("SSHA.HEX", 1), ("unnamed", 2)];
    assert_eq!(counts(&schemes, "schemes", SideName::New).await, pairs(&after));

    // Who has set a new password meanwhile keeps it.
    at.sql(SideName::New, "UPDATE virtual_users SET password = '{SHA512-CRYPT}$6$new' WHERE email = 'joe@example.com'");
    let users = ["jane", "joe", "john", "john", "john", "john", "john", "john", "john", "john"];
    let users = users.map(|user| text(&format!("{user}@example.{}", if user == "joe" { "com" } else { "org" })));
    let undo = schemes.session(Verb::Undo, 1);
    assert_eq!(undo.execute("strip", SideName::New, &users).await.unwrap(), 2);
    let joe = "joe@example.com\t";
    let expected =
        before.replace(&format!("{joe}5ebe2294ecd0e0f08eab7690d2a6ee69"), &format!("{joe}{{SHA512-CRYPT}}$6$new"));
    assert_eq!(at.sql(SideName::New, PASSWORDS), expected, "the one that was prefixed before keeps its prefix");
}

#[tokio::test]
async fn prefixes_of_named_domains_leave_the_others_alone() {
    let Some(at) = Databases::new("").await else { return };
    let schemes = at.phase("password-schemes", "domains = [\"example.com\"]").await;
    at.sql(SideName::New, &guide("150"));
    at.sql(SideName::New, SHORT);
    assert_eq!(counts(&schemes, "schemes-of-domains", SideName::New).await, pairs(&[("bare MD5", 1)]));
    assert_eq!(schemes.apply().execute("prefix-of-domains", SideName::New, &[]).await.unwrap(), 1);
    assert_eq!(at.sql(SideName::New, "SELECT email FROM virtual_users WHERE password LIKE '{%'"), "joe@example.com");
}

#[tokio::test]
async fn a_narrow_column_is_widened_and_keeps_its_values_and_its_collation() {
    let Some(at) = Databases::new("").await else { return };
    let schemes = at.phase("password-schemes", "").await;
    at.sql(SideName::New, &guide("32"));
    at.sql(SideName::New, SHORT);
    let before = at.sql(SideName::New, PASSWORDS);
    let too_long = schemes.apply().execute("prefix", SideName::New, &[]).await;
    assert!(too_long.is_err(), "what does not fit is refused, not cut: {too_long:?}");
    assert_eq!(at.sql(SideName::New, PASSWORDS), before);
    schemes.apply().execute("widen", SideName::New, &[]).await.unwrap();
    assert_eq!(at.sql(SideName::New, PASSWORDS), before);
    let column = at.sql(
        SideName::New,
        "SELECT column_type, is_nullable, character_set_name FROM information_schema.columns
        WHERE table_schema = DATABASE() AND table_name = 'virtual_users' AND column_name = 'password'",
    );
    assert!(column.starts_with("varchar(150)\tNO\tutf8"), "{column}");
    assert_eq!(schemes.apply().execute("prefix", SideName::New, &[]).await.unwrap(), 3);
}

#[tokio::test]
async fn accounts_are_the_same_with_and_without_the_prefix_of_a_hash_and_with_no_other_change() {
    let Some(at) = Databases::new("").await else { return };
    let accounts = at.phase("database", "").await;
    let schemes = at.phase("password-schemes", "").await;
    at.sql(SideName::Old, &guide("32"));
    at.sql(SideName::Old, SHORT);
    at.sql(SideName::New, &guide("150"));
    let copied = accounts.apply().copy("accounts-without-quota").await.unwrap();
    assert_eq!(copied.tables[1], ("virtual_users".to_string(), 5));
    assert!(at.sql(SideName::New, PASSWORDS).contains("john@example.org\t5ebe2294"), "copied as they are");
    schemes.apply().execute("prefix", SideName::New, &[]).await.unwrap();
    let same = [("virtual_domains", 2), ("virtual_users", 5), ("virtual_aliases", 1)]
        .map(|(table, rows)| difference(table, rows, rows, true));
    let compare = || async { accounts.session(Verb::Verify, 1).compare_rows("accounts-without-quota").await.unwrap() };
    assert_eq!(compare().await, same);
    // Another hash, another scheme, another user: seen.
    for (change, back) in [
        (
            "SET password = '{PLAIN-MD5}00000000000000000000000000000000'",
            "SET password = '{PLAIN-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69'",
        ),
        (
            "SET password = '{PLAIN-MD4}5ebe2294ecd0e0f08eab7690d2a6ee69'",
            "SET password = '5ebe2294ecd0e0f08eab7690d2a6ee69'",
        ),
        ("SET email = 'johnny@example.org'", "SET email = 'john@example.org'"),
    ] {
        at.sql(SideName::New, &format!("UPDATE virtual_users {change} WHERE id = (SELECT MIN(id) FROM virtual_users WHERE email = 'john@example.org')"));
        assert!(!compare().await[1].equal, "{change}");
        at.sql(SideName::New, &format!("UPDATE virtual_users {back} WHERE email LIKE 'john%'"));
        assert!(compare().await[1].equal, "{back}");
    }
}
