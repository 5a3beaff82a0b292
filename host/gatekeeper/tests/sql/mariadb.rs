//! MariaDB: two real servers, `mariadb-dump` as the oracle.

use std::path::Path;

use rehome_gatekeeper::types::{Failure, SideName, SqlValue, Verb};
use rehome_gatekeeper::{Account, DatabasePlace};

use crate::lab::{Lab, SIDES, Spot, difference, ended_badly, text};
use crate::servers::{Databases, Reader, other_release};

const REQUESTS: &str = r#"
[schema.mail]
on = ["old", "new"]
database = "DB"

[sql.odd]
on = ["old", "new"]
database = "DB"
text = "SELECT * FROM odd WHERE id = :id OR s = :s ORDER BY id"
effect = "read"

[sql.outfile]
on = ["old"]
database = "DB"
text = "SELECT 1 INTO OUTFILE '/tmp/rehome-out'"
effect = "read"

[sql.hidden]
on = ["old"]
database = "DB"
text = "SELECT 1 /*M!100000 INTO OUTFILE '/tmp/rehome-out' */"
effect = "read"

[sql.writes]
on = ["old"]
database = "DB"
text = "SELECT writes()"
effect = "read"

[sql.mode]
on = ["old"]
database = "DB"
text = "SELECT @@sql_mode = @@global.sql_mode, @@time_zone, @@character_set_client, 'a' || 'b'"
effect = "read"

[sql.update]
on = ["new"]
database = "DB"
text = "UPDATE odd SET s = :s WHERE id = :id AND s <> :s"
effect = "repeatable"
reason = "changes a row"

[copy.odd]
database = "DB"
kind = "rows"
effect = "repeatable"
reason = "odd values"
[[copy.odd.step]]
table = "odd"
delete = "DELETE FROM odd"
select = "SELECT * FROM odd"
insert = "INSERT INTO odd (COLUMNS) VALUES (VALUES)"

[copy.users]
database = "DB"
kind = "rows"
effect = "repeatable"
reason = "accounts"
[[copy.users.step]]
table = "domains"
delete = "DELETE FROM domains"
select = "SELECT id, name FROM domains"
insert = "INSERT INTO domains (name, id) VALUES (:name, :id)"
[[copy.users.step]]
table = "users"
select = "SELECT id, domain, email, password FROM users"
insert = "INSERT INTO users (id, domain, email, password, quota) VALUES (:id, :domain, :email, :password, 0)"

[copy.all]
database = "DB"
kind = "tables"
effect = "once"
reason = "everything"

[copy.some]
database = "DB"
kind = "tables"
tables = ["domains", "nothing"]
effect = "once"
reason = "a table that is not there"

[snapshot.mail]
on = ["old", "new"]
database = "DB"
reason = "to take it back"
"#;

const ODD_COLUMNS: &str = "id u i flag d f g s l cs b vb bits y dt dtm ts tm e st j uu ip z geo utf16";

/// Every type whose values are easily lost.
const ODD: &str = "
CREATE TABLE odd (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, u BIGINT UNSIGNED, i TINYINT, flag TINYINT(1) UNSIGNED,
  d DECIMAL(65,30), f FLOAT, g DOUBLE, s VARCHAR(200) CHARACTER SET utf8mb4, l VARCHAR(50) CHARACTER SET latin1,
  cs VARCHAR(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, b BLOB, vb VARBINARY(10), bits BIT(12), y YEAR, dt DATE,
  dtm DATETIME(6), ts TIMESTAMP NULL, tm TIME(3), e ENUM('a','ü'), st SET('x','y'), j JSON, uu UUID, ip INET6,
  z INT(8) UNSIGNED ZEROFILL, geo POINT, utf16 VARCHAR(20) CHARACTER SET utf16, gen INT AS (i + 1) VIRTUAL,
  kept INT AS (i + 2) STORED) ENGINE=InnoDB";
const ODD_ROWS: &str = r#"
SET time_zone = '+00:00', sql_mode = 'ALLOW_INVALID_DATES';
INSERT INTO odd (id) VALUES (0), (-5);
UPDATE odd SET id = 0 WHERE id > 0;
INSERT INTO odd (u, i, flag, d, f, g, s, l, cs, b, vb, bits, y, dt, dtm, ts, tm, e, st, j, uu, ip, z, geo, utf16) VALUES
 (18446744073709551615, -128, 255, 12345678901234567890123456789012345.123456789012345678901234567891, 16777217, 0.1,
  'it''s \\ \0 \n 😀', 'größe €', 'Bin', x'00ff27225c0a', x'ff00', b'101010101010', 2155, '0000-00-00', '0000-00-00 00:00:00',
  '2001-10-28 01:30:00', '-838:59:59.000', 'ü', 'x,y', '{"a": [1, null]}', '123e4567-e89b-12d3-a456-426655440000', '::ffff:1.2.3.4',
  42, POINT(1.5, -2), '€😀'),
 (0, 127, 0, -0.000000000000000000000000000001, 0.1, 1.7976931348623157e308, '', '', '', '', '', b'0', 0, '2020-02-00',
  '2020-02-31 23:59:59.000001', '2001-10-28 00:30:00', '00:00:00.001', NULL, '', '[]', NULL, NULL, 99999999, NULL, ''),
 (1, 1, 1, 1, 1e-38, 5e-324, REPEAT('x', 200), 'x', 'x', REPEAT(x'00', 60000), 'x', b'1', 1901, '9999-12-31', '9999-12-31 23:59:59.999999',
  '2038-01-19 03:14:07', '838:59:58.999', 'a', 'y', 'null', NULL, '::', 0, NULL, NULL)"#;

const ACCOUNTS: &str = "
CREATE TABLE domains (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50) NOT NULL) ENGINE=InnoDB;
CREATE TABLE users (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, domain INT NOT NULL, email VARCHAR(100) NOT NULL UNIQUE,
  password VARCHAR(150) NOT NULL, quota BIGINT NOT NULL DEFAULT 7,
  FOREIGN KEY (domain) REFERENCES domains (id) ON DELETE CASCADE) ENGINE=InnoDB;";
const JOHN: &str = "INSERT INTO domains VALUES (3, 'example.org');
INSERT INTO users VALUES (9, 3, 'john@example.org', '{SHA512-CRYPT}$6$secret', 1), (10, 3, 'jane@example.org', '{SHA512-CRYPT}$6$other', 1)";

/// `ODD` for both servers: MariaDB has had UUID since 10.7.
fn odd() -> String {
    if other_release().is_some() { ODD.replace(" UUID", " CHAR(36)") } else { ODD.to_string() }
}

/// The requests, with an INSERT that names every column of `odd`.
fn requests() -> String {
    let columns: Vec<&str> = ODD_COLUMNS.split(' ').collect();
    let values: Vec<String> = columns.iter().map(|column| format!(":{column}")).collect();
    REQUESTS.replace("(COLUMNS) VALUES (VALUES)", &format!("({}) VALUES ({})", columns.join(", "), values.join(", ")))
}

/// The test's databases, or the end of the test where there is no MariaDB.
macro_rules! databases {
    () => {
        match Databases::new(&requests()).await {
            Some(databases) => databases,
            None => return,
        }
    };
}

#[tokio::test]
async fn rows_of_every_type_arrive_as_they_were() {
    let at = databases!();
    for side in SIDES {
        at.sql(side, &odd());
    }
    at.sql(SideName::Old, ODD_ROWS);
    at.sql(SideName::New, "INSERT INTO odd (i) VALUES (1)");
    let copied = at.lab.apply().copy("odd").await.unwrap();
    assert_eq!(copied.tables, [("odd".to_string(), 5)]);
    let counter = |dump: String| {
        dump.split(" AUTO_INCREMENT=")
            .map(|part| part.trim_start_matches(char::is_numeric).to_string())
            .collect::<String>()
    };
    assert_eq!(counter(at.dump(SideName::New, &[])), counter(at.dump(SideName::Old, &[])));
    // mariadb-dump writes FLOAT with six digits.
    let floats = "SELECT f + 0e0, HEX(CAST(g AS CHAR)), HEX(geo), HEX(utf16) FROM odd ORDER BY id";
    assert_eq!(at.sql(SideName::New, floats), at.sql(SideName::Old, floats));
    assert_eq!(at.lab.session(Verb::Verify, 1).compare_rows("odd").await.unwrap(), [difference("odd", 5, 5, true)]);
    at.sql(SideName::New, "UPDATE odd SET d = d + 0.000000000000000000000000000001 WHERE flag = 255");
    assert_eq!(at.lab.session(Verb::Verify, 1).compare_rows("odd").await.unwrap(), [difference("odd", 5, 5, false)]);
}

#[tokio::test]
async fn a_query_answers_values_as_the_server_writes_them() {
    let at = databases!();
    at.sql(SideName::Old, &odd());
    at.sql(SideName::Old, ODD_ROWS);
    let values = [SqlValue::Integer(-5), text("it's \\ \0 \n 😀")];
    let found = at.lab.session(Verb::Check, 1).query("odd", SideName::Old, &values).await.unwrap();
    assert_eq!(found.rows.len(), 2);
    assert!(found.rows[0][1..25].iter().all(|value| *value == SqlValue::Null));
    let column = |name: &str| found.rows[1][found.columns.iter().position(|column| column == name).unwrap()].clone();
    assert_eq!(column("u"), SqlValue::Unsigned(u64::MAX));
    assert_eq!(column("flag"), SqlValue::Integer(255));
    assert_eq!(column("d"), text("12345678901234567890123456789012345.123456789012345678901234567891"));
    assert_eq!(column("s"), values[1]);
    assert_eq!(column("l"), text("größe €"));
    assert_eq!(column("cs"), text("Bin"));
    assert_eq!(column("b"), SqlValue::Bytes(vec![0, 255, 0x27, 0x22, 0x5c, 10]));
    assert_eq!(column("dt"), text("0000-00-00"));
    assert_eq!(column("dtm"), text("0000-00-00 00:00:00"));
    assert_eq!(column("tm"), text("-838:59:59"));
    assert_eq!((column("e"), column("st")), (text("ü"), text("x,y")));
    assert_eq!(column("uu"), text("123e4567-e89b-12d3-a456-426655440000"));
    assert_eq!(column("gen"), SqlValue::Integer(-127));
}

#[tokio::test]
async fn statements_run_under_the_servers_own_settings() {
    let at = databases!();
    let found = at.lab.apply().query("mode", SideName::Old, &[]).await.unwrap();
    assert_eq!(found.rows[0][..3], [SqlValue::Integer(1), text("SYSTEM"), text("utf8mb4")]);
    assert_eq!(found.rows[0][3], SqlValue::Integer(0), "|| is OR where the server says so");
}

#[tokio::test]
async fn a_read_writes_neither_files_nor_rows() {
    let at = databases!();
    at.sql(SideName::Old, "CREATE TABLE t (a INT) ENGINE=InnoDB");
    at.servers.routine(
        &at.name,
        "CREATE FUNCTION writes() RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO t VALUES (1); RETURN 1; END",
    );
    let session = at.lab.session(Verb::Check, 1);
    for name in ["outfile", "hidden"] {
        let result = session.query(name, SideName::Old, &[]).await;
        assert!(matches!(result, Err(Failure::RefusedValue(_))), "{result:?}");
    }
    assert!(!Path::new("/tmp/rehome-out").exists());
    let words = ended_badly(session.query("writes", SideName::Old, &[]).await);
    assert!(words.contains("READ ONLY"), "{words}");
    assert_eq!(at.sql(SideName::Old, "SELECT COUNT(*) FROM t"), "0");
}

#[tokio::test]
async fn execute_binds_values_and_counts_rows() {
    let at = databases!();
    at.sql(SideName::New, &odd());
    at.sql(SideName::New, "INSERT INTO odd (id, s) VALUES (1, 'a'), (2, 'b')");
    let values = [text("x'; DROP TABLE odd; -- \\"), SqlValue::Integer(2)];
    assert_eq!(at.lab.apply().execute("update", SideName::New, &values).await, Ok(1));
    assert_eq!(at.lab.apply().execute("update", SideName::New, &values).await, Ok(0));
    assert_eq!(at.sql(SideName::New, "SELECT id FROM odd WHERE s LIKE '%DROP%'"), "2");
}

#[tokio::test]
async fn describe_knows_the_product_and_the_columns() {
    let at = databases!();
    at.sql(SideName::Old, ACCOUNTS);
    let found = at.lab.session(Verb::Check, 1).describe("mail", SideName::Old).await.unwrap();
    assert_eq!(found.product, "mariadb");
    assert!(found.version.split('.').count() == 3, "{}", found.version);
    let password = found.tables[1].columns.iter().find(|column| column.name == "password").unwrap();
    assert_eq!((password.kind.as_str(), password.nullable), ("varchar(150)", false));
}

#[tokio::test]
async fn a_copy_that_breaks_off_leaves_the_former_rows_and_says_nothing_of_them() {
    let at = databases!();
    for side in SIDES {
        at.sql(side, ACCOUNTS);
    }
    at.sql(SideName::Old, JOHN);
    at.lab.apply().copy("users").await.unwrap();
    assert_eq!(
        at.sql(SideName::New, "SELECT id, domain, email, quota FROM users WHERE id = 9"),
        "9\t3\tjohn@example.org\t0"
    );
    at.sql(SideName::Old, "ALTER TABLE users DROP KEY email; UPDATE users SET email = 'it''s@example.org'");
    let words = ended_badly(at.lab.apply().copy("users").await);
    assert!(words.contains("1062") && words.contains("for key") && words.contains("row 2 of step `users`"), "{words}");
    assert!(!words.contains("example.org"), "{words}");
    at.sql(SideName::New, "ALTER TABLE users MODIFY password INT");
    at.sql(SideName::Old, "UPDATE users SET email = id");
    let words = ended_badly(at.lab.apply().copy("users").await);
    assert!(words.contains("Incorrect integer value: '…' for column"), "{words}");
    assert_eq!(at.sql(SideName::New, "SELECT COUNT(*) FROM users"), "2");
    for secret in ["SHA512", "secret", "it's"] {
        assert!(!at.lab.journal_holds(secret).await, "{secret}");
    }
}

#[tokio::test]
async fn a_copy_whose_connection_is_cut_leaves_the_former_rows() {
    let at = databases!();
    for side in SIDES {
        at.sql(side, ACCOUNTS);
        at.sql(side, JOHN);
    }
    // Each row takes so long that the connection is cut while one is written.
    at.sql(SideName::New, "CREATE TRIGGER slow BEFORE INSERT ON users FOR EACH ROW SET @slept = SLEEP(60)");
    let (servers, name) = (at.servers.clone(), at.name.clone());
    let cut = tokio::task::spawn_blocking(move || {
        let find = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND state = 'User sleep'";
        for _ in 0..1200 {
            match servers.sql(SideName::New, &name, find).as_str() {
                "" => std::thread::sleep(std::time::Duration::from_millis(50)),
                id => return servers.sql(SideName::New, &name, &format!("KILL CONNECTION {id}")),
            }
        }
        panic!("no row was written");
    });
    let result = at.lab.apply().copy("users").await;
    cut.await.unwrap();
    assert!(matches!(result, Err(Failure::Unreachable(_))), "{result:?}");
    assert_eq!(at.sql(SideName::New, "SELECT COUNT(*), MIN(quota) FROM users"), "2\t1");
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_not_cut() {
    let at = databases!();
    for side in SIDES {
        at.sql(side, ACCOUNTS);
    }
    at.sql(SideName::Old, JOHN);
    at.sql(SideName::New, "ALTER TABLE users MODIFY password VARCHAR(5)");
    let words = ended_badly(at.lab.apply().copy("users").await);
    assert!(words.contains("Data too long for column 'password'"), "{words}");
    assert_eq!(at.sql(SideName::New, "SELECT COUNT(*) FROM domains"), "0");
}

#[tokio::test]
async fn rows_go_into_no_table_without_transactions() {
    let at = databases!();
    for side in SIDES {
        at.sql(side, &ACCOUNTS.replace("InnoDB", "MyISAM"));
    }
    let Err(Failure::Unsupported(why)) = at.lab.apply().copy("users").await else { panic!("copied") };
    assert!(why.contains("MyISAM") && why.contains("ALTER TABLE"), "{why}");
}

/// Tables that need each other, views in the wrong order, triggers, a first column over 16 MiB.
fn whole(at: &Databases) {
    at.sql(SideName::Old, &odd());
    at.sql(SideName::Old, ODD_ROWS);
    at.sql(SideName::Old, ACCOUNTS);
    at.sql(SideName::Old, JOHN);
    at.sql(
        SideName::Old,
        "CREATE TABLE `odd ``name` (`select` LONGBLOB, n INT, KEY (n)) ENGINE=InnoDB COMMENT='it''s; \"odd\"';
         INSERT INTO `odd ``name` SELECT REPEAT('a', 17000000), 1;
         INSERT INTO `odd ``name` SELECT NULL, seq FROM seq_1_to_1234;
         CREATE TABLE a (id INT PRIMARY KEY, b INT) ENGINE=InnoDB; CREATE TABLE b (id INT PRIMARY KEY, a INT REFERENCES a (id)) ENGINE=InnoDB;
         ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b (id);
         SET foreign_key_checks = 0; INSERT INTO a VALUES (1, 2); INSERT INTO b VALUES (2, 1);
         CREATE VIEW z_first AS SELECT email FROM users; CREATE VIEW a_second AS SELECT email FROM z_first;",
    );
    at.servers.routine(
        &at.name,
        "CREATE TRIGGER grow BEFORE INSERT ON domains FOR EACH ROW BEGIN SET NEW.name = LOWER(NEW.name); SET @x = ';'; END",
    );
}

const EVERYTHING: &[&str] = &["--triggers"];

#[tokio::test]
async fn whole_tables_are_the_same_afterwards() {
    let at = databases!();
    whole(&at);
    at.sql(SideName::New, "CREATE VIEW odd AS SELECT 1; CREATE TABLE a_second (a INT)");
    let before = at.lab.session(Verb::Check, 1).compare_rows("all").await.unwrap();
    assert!(before.contains(&difference("users", 2, 0, false)), "{before:?}");
    let copied = at.lab.apply().copy("all").await.unwrap();
    assert!(copied.tables.contains(&("odd `name".into(), 1235)), "{copied:?}");
    assert!(at.dump(SideName::New, EVERYTHING) == at.dump(SideName::Old, EVERYTHING), "dumps differ");
    let after = at.lab.session(Verb::Verify, 1).compare_rows("all").await.unwrap();
    assert!(after.iter().all(|difference| difference.equal), "{after:?}");
    at.sql(SideName::New, "ALTER TABLE users MODIFY quota INT NOT NULL DEFAULT 7");
    let after = at.lab.session(Verb::Verify, 1).compare_rows("all").await.unwrap();
    assert!(after.contains(&difference("users", 2, 2, false)), "{after:?}");
}

#[tokio::test]
async fn tables_that_are_not_there_or_cannot_be_taken_are_named() {
    let at = databases!();
    at.sql(SideName::Old, ACCOUNTS);
    let Err(Failure::NotFound(why)) = at.lab.apply().copy("some").await else { panic!("copied") };
    assert!(why.contains("`nothing`") && why.contains("on old"), "{why}");
    at.sql(SideName::Old, "CREATE SEQUENCE numbers");
    let Err(Failure::Unsupported(why)) = at.lab.apply().copy("all").await else { panic!("copied") };
    assert!(why.contains("`numbers` is a SEQUENCE"), "{why}");
}

#[tokio::test]
async fn a_snapshot_puts_everything_back_and_keeps_what_came_since() {
    let at = databases!();
    whole(&at);
    let before = at.dump(SideName::Old, EVERYTHING);
    let name = at.lab.apply().snapshot("mail", SideName::Old).await.unwrap();
    assert_eq!(name, "p-1-mail-old");
    at.sql(SideName::Old, "DROP TRIGGER grow; DROP VIEW a_second; DELETE FROM users; CREATE TABLE later (a INT); INSERT INTO later VALUES (1)");
    assert_eq!(at.lab.apply().snapshot("mail", SideName::Old).await.unwrap(), name, "not taken again");
    let since = at.dump(SideName::Old, EVERYTHING);
    let undo = at.lab.session(Verb::Undo, 2);
    undo.restore_snapshot("mail", SideName::Old, &name).await.unwrap();
    assert!(at.dump(SideName::Old, EVERYTHING) == before, "not as it was");
    undo.restore_snapshot("mail", SideName::Old, "p-2-mail-old-before-restore-1").await.unwrap();
    assert!(at.dump(SideName::Old, EVERYTHING) == since, "what came since is lost");
}

#[tokio::test]
async fn who_reads_while_a_snapshot_is_put_back_finds_every_table_full() {
    let at = databases!();
    at.sql(SideName::New, ACCOUNTS);
    at.sql(SideName::New, JOHN);
    at.sql(SideName::New, "INSERT INTO users (domain, email, password) SELECT 3, seq, 'x' FROM seq_1_to_5000");
    at.sql(SideName::New, "ALTER TABLE users AUTO_INCREMENT = 77777");
    at.sql(SideName::New, "CREATE TABLE nothing (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB");
    let before = at.dump(SideName::New, EVERYTHING);
    let name = at.lab.apply().snapshot("mail", SideName::New).await.unwrap();
    let reader = Reader::start(&at, "SELECT COUNT(*) FROM users JOIN domains ON domains.id = domain;");
    for _ in 0..3 {
        at.sql(SideName::New, "DELETE FROM users WHERE id > 10; INSERT INTO users VALUES (99999, 3, 'late', 'x', 1); INSERT INTO nothing VALUES (5)");
        at.lab.session(Verb::Undo, 2).restore_snapshot("mail", SideName::New, &name).await.unwrap();
        assert!(at.dump(SideName::New, EVERYTHING) == before, "not as it was");
    }
    let counts = reader.stop();
    assert!(counts.len() > 100, "hardly looked: {counts:?}");
    // Between the two statements of the loop there are two rows.
    assert!(counts.iter().all(|count| ["5002", "3", "2"].contains(&count.as_str())), "{counts:?}");
}

#[tokio::test]
async fn a_snapshot_whose_putting_back_breaks_off_halfway_changes_nothing() {
    let at = databases!();
    at.sql(SideName::New, ACCOUNTS);
    at.sql(SideName::New, JOHN);
    let before = at.dump(SideName::New, EVERYTHING);
    let name = at.lab.apply().snapshot("mail", SideName::New).await.unwrap();
    at.sql(SideName::New, "DELETE FROM users WHERE id = 9; UPDATE domains SET name = 'example.net'");
    let since = at.dump(SideName::New, EVERYTHING);
    // Domains are taken out first; users are waited for, as long as somebody holds them.
    let held = at.hold(SideName::New, "SELECT id FROM users FOR UPDATE");
    let undo = at.lab.session(Verb::Undo, 2);
    let restore = undo.restore_snapshot("mail", SideName::New, &name);
    assert!(tokio::time::timeout(std::time::Duration::from_secs(2), restore).await.is_err(), "it did not wait");
    drop(held);
    assert!(at.dump(SideName::New, EVERYTHING) == since, "half of it is back");
    at.lab.session(Verb::Undo, 3).restore_snapshot("mail", SideName::New, &name).await.unwrap();
    assert!(at.dump(SideName::New, EVERYTHING) == before, "not as it was");
}

#[tokio::test]
async fn a_snapshot_that_is_not_whole_changes_nothing() {
    let at = databases!();
    at.sql(SideName::New, ACCOUNTS);
    at.sql(SideName::New, JOHN);
    let name = at.lab.apply().snapshot("mail", SideName::New).await.unwrap();
    let path = at.lab.state().join("snapshots").join(&name);
    let whole = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    for broken in [
        lines[..lines.len() - 1].join("\n"),
        lines[..2].join("\n"),
        [lines[0], lines[lines.len() - 1]].join("\n"),
        String::new(),
    ] {
        std::fs::write(&path, broken).unwrap();
        let result = at.lab.apply().restore_snapshot("mail", SideName::New, &name).await;
        assert!(
            matches!(&result, Err(Failure::Other(tool)) if tool.diagnostic.contains("no whole snapshot")),
            "{result:?}"
        );
    }
    assert_eq!(at.sql(SideName::New, "SELECT COUNT(*) FROM users"), "2");
}

#[tokio::test]
async fn a_refused_login_ends_badly_with_the_servers_words() {
    let Some(at) = Databases::as_user(&requests(), "nobody-known").await else { return };
    let words = ended_badly(at.lab.session(Verb::Check, 1).describe("mail", SideName::New).await);
    assert!(words.contains("Access denied for user 'nobody-known'@'localhost'") && words.contains("on new"), "{words}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_unreachable() {
    let folder = tempfile::tempdir().unwrap();
    let spot = Spot {
        folder: folder.path().into(),
        place: DatabasePlace::MySql { socket: "/run/s".into(), account: Account::by_socket("root"), reader: None },
    };
    let lab = Lab::new(&requests(), "mailserver", spot.clone(), spot).await;
    let Err(Failure::Unreachable(why)) = lab.session(Verb::Check, 1).describe("mail", SideName::Old).await else {
        panic!("reached")
    };
    assert!(why.contains("`mailserver` on old"), "{why}");
}
