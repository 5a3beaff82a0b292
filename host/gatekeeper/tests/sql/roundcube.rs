//! The statements of the phase `roundcube` on real servers: with tables of our own like those of Roundcube 1.4 (old) and 1.6
//! (new), or, where the variable REHOME_TEST_ROUNDCUBE names a folder with `old.sql`, `new.sql` and `update.sql`, with the real ones.

use rehome_gatekeeper::types::{SideName, SqlValue, Verb};

use crate::lab::{Lab, text};
use crate::servers::Databases;

/// What the phase reads and writes, with the keys that make it hard.
const TABLES: &str = "
CREATE TABLE users (user_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, username VARCHAR(128) BINARY NOT NULL,
  mail_host VARCHAR(128) NOT NULL, created DATETIME NOT NULL DEFAULT '1000-01-01 00:00:00', last_login DATETIME,
  language VARCHAR(16), preferences LONGTEXT, UNIQUE username (username, mail_host)) ENGINE=InnoDB CHARSET=ITS_OWN;
CREATE TABLE identities (identity_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, user_id INT UNSIGNED NOT NULL,
  changed DATETIME NOT NULL DEFAULT '1000-01-01 00:00:00', del TINYINT(1) NOT NULL DEFAULT 0, standard TINYINT(1) NOT NULL DEFAULT 0,
  name VARCHAR(128) NOT NULL, organization VARCHAR(128) NOT NULL DEFAULT '', email VARCHAR(128) NOT NULL,
  `reply-to` VARCHAR(128) NOT NULL DEFAULT '', bcc VARCHAR(128) NOT NULL DEFAULT '', signature LONGTEXT,
  html_signature TINYINT(1) NOT NULL DEFAULT 0, OF_USER) ENGINE=InnoDB CHARSET=ITS_OWN;
CREATE TABLE contacts (contact_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, user_id INT UNSIGNED NOT NULL,
  changed DATETIME NOT NULL DEFAULT '1000-01-01 00:00:00', del TINYINT(1) NOT NULL DEFAULT 0, name VARCHAR(128) NOT NULL DEFAULT '',
  email TEXT NOT NULL, firstname VARCHAR(128) NOT NULL DEFAULT '', surname VARCHAR(128) NOT NULL DEFAULT '', vcard LONGTEXT,
  words TEXT, OF_USER) ENGINE=InnoDB CHARSET=ITS_OWN;
CREATE TABLE contactgroups (contactgroup_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, user_id INT UNSIGNED NOT NULL,
  changed DATETIME NOT NULL DEFAULT '1000-01-01 00:00:00', del TINYINT(1) NOT NULL DEFAULT 0, name VARCHAR(128) NOT NULL DEFAULT '',
  OF_USER) ENGINE=InnoDB CHARSET=ITS_OWN;
CREATE TABLE contactgroupmembers (contactgroup_id INT UNSIGNED NOT NULL, contact_id INT UNSIGNED NOT NULL,
  created DATETIME NOT NULL DEFAULT '1000-01-01 00:00:00', PRIMARY KEY (contactgroup_id, contact_id),
  FOREIGN KEY (contactgroup_id) REFERENCES contactgroups (contactgroup_id) ON DELETE CASCADE,
  FOREIGN KEY (contact_id) REFERENCES contacts (contact_id) ON DELETE CASCADE) ENGINE=InnoDB;
CREATE TABLE searches (search_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, user_id INT UNSIGNED NOT NULL,
  type INT NOT NULL DEFAULT 0, name VARCHAR(128) NOT NULL, data TEXT, OF_USER) ENGINE=InnoDB CHARSET=ITS_OWN;
CREATE TABLE dictionary (id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, user_id INT UNSIGNED, language VARCHAR(16) NOT NULL,
  data LONGTEXT NOT NULL, OF_USER) ENGINE=InnoDB CHARSET=ITS_OWN;
CREATE TABLE filestore (file_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, user_id INT UNSIGNED NOT NULL,
  context VARCHAR(32) NOT NULL, filename VARCHAR(128) NOT NULL, mtime INT NOT NULL, data LONGTEXT NOT NULL, OF_USER) ENGINE=InnoDB CHARSET=ITS_OWN;
CREATE TABLE system (name VARCHAR(64) NOT NULL PRIMARY KEY, value MEDIUMTEXT) ENGINE=InnoDB CHARSET=ITS_OWN;
INSERT INTO system VALUES ('roundcube-version', 'VERSION');";
const NEWER: &str = "
CREATE TABLE collected_addresses (address_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, changed DATETIME NOT NULL DEFAULT '1000-01-01 00:00:00',
  name VARCHAR(255) NOT NULL DEFAULT '', email VARCHAR(255) NOT NULL, user_id INT UNSIGNED NOT NULL, type INT UNSIGNED NOT NULL,
  OF_USER, UNIQUE (user_id, type, email)) ENGINE=InnoDB CHARSET=ITS_OWN;
CREATE TABLE responses (response_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, user_id INT UNSIGNED NOT NULL, name VARCHAR(255) NOT NULL,
  data LONGTEXT NOT NULL, is_html TINYINT(1) NOT NULL DEFAULT 0, changed DATETIME NOT NULL DEFAULT '1000-01-01 00:00:00',
  del TINYINT(1) NOT NULL DEFAULT 0, OF_USER) ENGINE=InnoDB CHARSET=ITS_OWN;";

fn made(tables: &str, charset: &str, version: &str) -> String {
    let of_user = "FOREIGN KEY (user_id) REFERENCES users (user_id) ON DELETE CASCADE ON UPDATE CASCADE";
    tables.replace("OF_USER", of_user).replace("ITS_OWN", charset).replace("VERSION", version)
}

/// A file of the folder with the real tables, or ours.
fn schema(file: &str) -> String {
    match std::env::var_os("REHOME_TEST_ROUNDCUBE") {
        Some(folder) => std::fs::read_to_string(std::path::Path::new(&folder).join(file)).expect("the real tables"),
        None => match file {
            "old.sql" => made(TABLES, "utf8", "2019092900"),
            "new.sql" => made(&format!("{TABLES}{NEWER}"), "utf8mb4", "2022081200"),
            _ => {
                made(NEWER, "utf8mb4", "") + "UPDATE system SET value = '2022081200' WHERE name = 'roundcube-version';"
            }
        },
    }
}

/// Two users under the name in use, one of them also under the new name, from long ago; groups whose members are neither the
/// first contacts nor in order; what was deleted stays deleted.
const PEOPLE: &str = "
INSERT INTO users (user_id, username, mail_host, last_login, language, preferences) VALUES
 (5, 'john@example.org', 'webmail.old.example', '2024-05-01 10:00:00', 'de_DE', 'a:1:{s:4:\"skin\";s:7:\"elastic\";}'),
 (9, 'jane@example.org', 'webmail.old.example', NULL, 'en_US', NULL),
 (2, 'john@example.org', 'webmail.new.example', '2019-01-01 00:00:00', NULL, NULL),
 (11, 'joe@example.com', 'webmail.old.example', NULL, NULL, NULL);
INSERT INTO identities (user_id, standard, name, email, `reply-to`, signature) VALUES
 (5, 1, 'John Größe', 'john@example.org', 'jd@example.org', '-- \\nJohn'), (5, 0, 'Sales', 'sales@example.org', '', NULL),
 (9, 1, 'Jane', 'jane@example.org', '', NULL), (2, 1, 'Old John', 'john@example.org', '', NULL), (11, 1, 'Joe', 'joe@example.com', '', NULL);
INSERT INTO contacts (contact_id, user_id, del, name, email, vcard, words) VALUES
 (3, 5, 0, 'Ann', 'ann@example.net', 'BEGIN:VCARD', 'ann'), (4, 5, 1, 'Gone', 'gone@example.net', NULL, NULL),
 (7, 9, 0, 'Ann', 'ann@example.net', NULL, NULL), (8, 5, 0, 'Zoë', 'zoe@example.net', 'BEGIN:VCARD\\nPHOTO', 'zoë'),
 (10, 5, 0, 'Ann', 'ann@example.net', NULL, NULL), (12, 11, 0, 'Bob', 'bob@example.net', NULL, NULL), (13, 2, 0, 'X', 'x@example.net', NULL, NULL);
INSERT INTO contactgroups (contactgroup_id, user_id, name) VALUES (6, 5, 'Friends'), (7, 5, 'Work'), (8, 9, 'Friends');
INSERT INTO contactgroupmembers (contactgroup_id, contact_id) VALUES (7, 10), (6, 8), (7, 8), (8, 7);
INSERT INTO searches (user_id, type, name, data) VALUES (5, 2, 'unseen', 'x');
INSERT INTO dictionary (user_id, language, data) VALUES (5, 'de', 'foo'), (NULL, 'en', 'shared');
INSERT INTO filestore (user_id, context, filename, mtime, data) VALUES (5, 'enigma', 'key', 1, 'c2VjcmV0');";

/// What the pages of webmail show of each user on new: groups with the names of their members.
const GROUPS: &str = "SELECT CONCAT(u.username, ' ', u.mail_host, ' ', g.name, ': ', GROUP_CONCAT(CONCAT(c.name, COALESCE(c.vcard, '')) ORDER BY c.contact_id SEPARATOR ', '))
 FROM contactgroupmembers m JOIN contactgroups g USING (contactgroup_id) JOIN contacts c USING (contact_id) JOIN users u ON u.user_id = c.user_id AND u.user_id = g.user_id
 GROUP BY u.user_id, g.contactgroup_id ORDER BY 1";

async fn ledger(lab: &Lab, side: SideName) -> Vec<String> {
    let rows = lab.session(Verb::Check, 1).query("ledger", side, &[]).await.unwrap();
    let word = |value: &SqlValue| match value {
        SqlValue::Text(text) => text.clone(),
        SqlValue::Integer(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    rows.rows.iter().map(|row| row.iter().map(word).collect::<Vec<_>>().join(" ")).collect()
}

async fn sums(lab: &Lab) -> Vec<Vec<SqlValue>> {
    lab.session(Verb::Preview, 1).query("sums", SideName::Old, &[]).await.unwrap().rows
}

async fn set_host(lab: &Lab, suffix: &str) -> [u64; 2] {
    let (old, new) = (text("webmail.old.example"), text("webmail.new.example"));
    let kept = lab.apply().execute(&format!("keep-former{suffix}"), SideName::New, &[old.clone(), new.clone()]).await;
    let set = lab.apply().execute(&format!("set-host{suffix}"), SideName::New, &[new, old]).await;
    [kept.unwrap(), set.unwrap()]
}

#[tokio::test]
async fn whole_tables_of_an_older_version_are_brought_up_and_their_users_are_found_by_the_new_host() {
    let Some(at) = Databases::new("").await else { return };
    let lab = at.phase("roundcube", "").await;
    at.sql(SideName::Old, &schema("old.sql"));
    at.sql(SideName::Old, PEOPLE);
    at.sql(SideName::New, &schema("new.sql"));
    let before = ledger(&lab, SideName::Old).await;
    assert!(before[1].starts_with("joe@example.com webmail.old.example  1 0 0 1 0 "), "{before:?}");
    assert!(before[3].starts_with("john@example.org webmail.old.example 2024-05-01 10:00:00 3 2 3 2 1 "), "{before:?}");
    lab.apply().execute("clear-newer", SideName::New, &[]).await.unwrap();
    lab.apply().copy("whole").await.unwrap();
    let compared = lab.apply().compare_rows("whole").await.unwrap();
    assert!(compared.iter().all(|table| table.equal), "{compared:?}");
    let version = lab.apply().query("version", SideName::New, &[]).await.unwrap();
    assert_eq!(version.rows, [[text("2019092900")]], "as on old");
    // Roundcube's update script.
    at.sql(SideName::New, &schema("update.sql"));
    assert_eq!(ledger(&lab, SideName::New).await, before, "the update changes nothing that is counted");
    assert_eq!(set_host(&lab, "").await, [1, 3]);
    assert_eq!(set_host(&lab, "").await, [0, 0], "the second time");
    let after = ledger(&lab, SideName::New).await;
    let moved: Vec<String> = before
        .iter()
        .map(|line| line.replace("webmail.new.example", "webmail.new.example.former"))
        .map(|line| line.replace("webmail.old.example", "webmail.new.example"))
        .collect();
    let mut sorted = moved.clone();
    sorted.sort();
    let mut found = after.clone();
    found.sort();
    assert_eq!(found, sorted);
    at.sql(SideName::New, "INSERT INTO collected_addresses (user_id, email, type) VALUES (5, 'x', 1)");
    assert_eq!(at.sql(SideName::New, "SELECT value FROM system WHERE name = 'roundcube-version'"), "2022081200");
}

#[tokio::test]
async fn each_change_that_users_make_shows_in_the_sums_and_tables_that_are_missing_are_no_failure() {
    let Some(at) = Databases::new("").await else { return };
    let lab = at.phase("roundcube", "").await;
    at.sql(SideName::Old, &schema("old.sql"));
    at.sql(SideName::Old, PEOPLE);
    let mut last = sums(&lab).await;
    assert_eq!(last.len(), 12, "a row for each table, also for those that old does not have");
    assert_eq!(last, sums(&lab).await, "looking changes nothing");
    for change in [
        "UPDATE contacts SET del = 1 WHERE contact_id = 3",
        "UPDATE contactgroupmembers SET contact_id = 3 WHERE contactgroup_id = 6",
        "UPDATE searches SET data = 'y'",
        "UPDATE identities SET signature = 'x' WHERE user_id = 9",
        "UPDATE filestore SET data = 'bmV3'",
        "UPDATE dictionary SET data = 'bar' WHERE user_id IS NULL",
        "UPDATE users SET last_login = '2025-01-01 00:00:00' WHERE user_id = 9",
    ] {
        at.sql(SideName::Old, change);
        let now = sums(&lab).await;
        assert_ne!(now, last, "{change}");
        last = now;
    }
}

#[tokio::test]
async fn users_of_some_domains_come_beside_those_that_new_has() {
    let Some(at) = Databases::new("").await else { return };
    let lab = at.phase("roundcube", "domains = [\"example.org\"]").await;
    at.sql(SideName::Old, &schema("old.sql"));
    at.sql(SideName::Old, PEOPLE);
    at.sql(SideName::New, &schema("new.sql"));
    // The same numbers as on old, for somebody else; and a trial of john's that old's entry replaces.
    at.sql(SideName::New, "INSERT INTO users (user_id, username, mail_host) VALUES (5, 'zed@other.example', 'webmail.new.example'), (6, 'john@example.org', 'webmail.new.example');
        INSERT INTO contacts (contact_id, user_id, name, email) VALUES (3, 5, 'Mine', 'mine@example.net'), (4, 6, 'Trial', 't@example.net'), (90, 5, 'More', 'm@example.net')");
    for round in 1..=2 {
        lab.apply().copy("people").await.unwrap();
        lab.apply().copy("files").await.unwrap();
        set_host(&lab, "-of-domains").await;
        for copy in ["people", "files"] {
            let compared = lab.apply().compare_rows(copy).await.unwrap();
            assert!(compared.iter().all(|table| table.equal), "{compared:?}");
        }
        let groups = at.sql(SideName::New, GROUPS);
        let expected = "jane@example.org webmail.new.example Friends: Ann\n\
            john@example.org webmail.new.example Friends: ZoëBEGIN:VCARD\\nPHOTO\n\
            john@example.org webmail.new.example Work: ZoëBEGIN:VCARD\\nPHOTO, Ann";
        assert_eq!(groups, expected, "round {round}");
        let users = at.sql(SideName::New, "SELECT CONCAT(username, ' ', mail_host, ' ', (SELECT COUNT(*) FROM contacts c WHERE c.user_id = u.user_id)) FROM users u ORDER BY 1");
        let expected = "jane@example.org webmail.new.example 1\njohn@example.org webmail.new.example 4\n\
            john@example.org webmail.new.example.former 1\nzed@other.example webmail.new.example 2";
        assert_eq!(users, expected, "round {round}");
    }
    // A contact that goes on old goes on new; one that changes on new is seen.
    at.sql(SideName::Old, "DELETE FROM contacts WHERE contact_id = 3");
    let differs = lab.apply().compare_rows("people").await.unwrap();
    assert_eq!(
        differs.iter().filter(|table| !table.equal).map(|table| table.table.as_str()).collect::<Vec<_>>(),
        ["contacts", "contactgroupmembers"]
    );
    let undo = lab.session(Verb::Undo, 1);
    assert_eq!(undo.execute("remove-users", SideName::New, &[]).await.unwrap(), 3);
    assert_eq!(at.sql(SideName::New, "SELECT COUNT(*) FROM contacts"), "2");
}

#[tokio::test]
async fn newer_tables_are_merged_where_both_sides_have_them() {
    let Some(at) = Databases::new("").await else { return };
    let lab = at.phase("roundcube", "domains = [\"example.org\"]").await;
    for side in [SideName::Old, SideName::New] {
        at.sql(side, &schema("new.sql"));
    }
    at.sql(SideName::Old, PEOPLE);
    at.sql(SideName::Old, "INSERT INTO collected_addresses (user_id, name, email, type) VALUES (5, 'Ann', 'ann@example.net', 1), (11, 'No', 'no@example.net', 1);
        INSERT INTO responses (user_id, name, data, is_html) VALUES (9, 'Thanks', '<p>Thanks</p>', 1)");
    lab.apply().copy("people").await.unwrap();
    lab.apply().copy("recent").await.unwrap();
    assert!(lab.apply().compare_rows("recent").await.unwrap().iter().all(|table| table.equal));
    let of = "SELECT CONCAT(u.username, ' ', x.name) FROM TABLE x JOIN users u USING (user_id)";
    assert_eq!(at.sql(SideName::New, &of.replace("TABLE", "collected_addresses")), "john@example.org Ann");
    assert_eq!(at.sql(SideName::New, &of.replace("TABLE", "responses")), "jane@example.org Thanks");
}
