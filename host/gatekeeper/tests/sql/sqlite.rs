//! SQLite files, through sessions.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rehome_gatekeeper::DatabasePlace;
use rehome_gatekeeper::types::{Failure, SideName, SqlColumn, SqlValue, Verb};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};

use crate::lab::{Lab, SIDES, Spot, difference, ended_badly, text};

const HASH: &str = "{SHA512-CRYPT}$6$secret";

/// The guide's schema.
const SCHEMA: &str = "
CREATE TABLE virtual_domains (id INTEGER PRIMARY KEY AUTOINCREMENT, name VARCHAR(50) NOT NULL);
CREATE TABLE virtual_users (id INTEGER PRIMARY KEY, domain_id INT NOT NULL REFERENCES virtual_domains(id) ON DELETE CASCADE,
  email VARCHAR(100) NOT NULL UNIQUE, password VARCHAR(150) NOT NULL, quota BIGINT NOT NULL DEFAULT 0);
";

const REQUESTS: &str = r#"
[schema.mail]
on = ["old", "new"]
database = "DB"

[sql.users]
on = ["old", "new"]
database = "DB"
text = "SELECT email, quota FROM virtual_users WHERE quota >= :least ORDER BY email -- :not"
effect = "read"
yields = "column:email"

[sql.pretends]
on = ["old", "new"]
database = "DB"
text = "WITH a AS (SELECT 1) DELETE FROM virtual_users"
effect = "read"

[sql.two]
on = ["old"]
database = "DB"
text = "SELECT 1; SELECT 2"
effect = "read"

[sql.attach]
on = ["new"]
database = "DB"
text = "ATTACH '/tmp/other.db' AS other"
effect = "repeatable"
reason = "must be refused"

[sql.many]
on = ["old"]
database = "DB"
text = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows) SELECT i FROM n"
effect = "read"

[sql.large]
on = ["old"]
database = "DB"
text = "SELECT zeroblob(17000000) AS b"
effect = "read"

[sql.quota]
on = ["new"]
database = "DB"
text = "UPDATE virtual_users SET quota = :quota WHERE email <> :email OR quota = :quota"
effect = "once"
reason = "sets quotas"

[copy.accounts]
database = "DB"
kind = "rows"
effect = "repeatable"
reason = "accounts"
[[copy.accounts.step]]
table = "domains"
delete = "DELETE FROM virtual_domains"
select = "SELECT name, id FROM virtual_domains"
insert = "INSERT INTO virtual_domains (id, name) VALUES (:id, :name)"
[[copy.accounts.step]]
table = "users"
select = "SELECT * FROM virtual_users"
insert = "INSERT INTO virtual_users (id, domain_id, email, password, quota) VALUES (:id, :domain_id, :EMAIL, :password, :quota)"

[copy.wrong]
database = "DB"
kind = "rows"
effect = "repeatable"
reason = "names a column that is not there"
[[copy.wrong.step]]
table = "users"
delete = "DELETE FROM virtual_users"
select = "SELECT email FROM virtual_users"
insert = "INSERT INTO virtual_users (email) VALUES (:mail)"

[copy.ddl]
database = "DB"
kind = "rows"
effect = "repeatable"
reason = "would end the transaction"
[[copy.ddl.step]]
table = "users"
delete = "DROP TABLE virtual_users"
select = "SELECT email FROM virtual_users"
insert = "INSERT INTO virtual_users (email) VALUES (:email)"

[copy.all]
database = "DB"
kind = "tables"
effect = "once"
reason = "everything"

[snapshot.mail]
on = ["old", "new"]
database = "DB"
reason = "to take it back"
"#;

struct Files {
    folder: tempfile::TempDir,
    lab: Lab,
}

async fn open(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.expect("a database")
}

impl Files {
    /// Old with the guide's schema and two users, new with the schema.
    async fn new() -> Files {
        let folder = tempfile::tempdir().expect("a folder");
        let spot = |side: &str| {
            let place = DatabasePlace::Sqlite { path: "/srv/mail.db".into() };
            std::fs::create_dir_all(folder.path().join(side).join("srv")).expect("a folder");
            Spot { folder: folder.path().join(side), place }
        };
        let (old, new) = (spot("old"), spot("new"));
        let lab = Lab::new(REQUESTS, "mailserver", old, new).await;
        let files = Files { folder, lab };
        files.run(SideName::Old, SCHEMA).await;
        files.run(SideName::New, SCHEMA).await;
        let users = format!(
            "INSERT INTO virtual_domains VALUES (3, 'example.org'), (4, 'münchen.example');
             INSERT INTO virtual_users VALUES (7, 3, 'john@example.org', '{HASH}1', 5), (8, 4, 'jörg@münchen.example', '{HASH}2', 0)"
        );
        files.run(SideName::Old, &users).await;
        files
    }

    fn path(&self, side: SideName) -> std::path::PathBuf {
        self.folder.path().join(side.as_str()).join("srv/mail.db")
    }

    async fn run(&self, side: SideName, sql: &str) {
        let mut connection = open(&self.path(side)).await;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("good SQL");
    }

    /// Rows as SQLite itself quotes their values.
    async fn rows(&self, side: SideName, sql: &str) -> Vec<String> {
        let mut connection = open(&self.path(side)).await;
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection).await.expect("good SQL");
        rows.iter().map(|row| row.get::<String, _>(0)).collect()
    }
}

#[tokio::test]
async fn describe_names_tables_and_columns_as_they_were_declared() {
    let files = Files::new().await;
    let found = files.lab.session(Verb::Check, 1).describe("mail", SideName::Old).await.unwrap();
    assert_eq!(found.product, "sqlite");
    assert!(found.version.starts_with("3."), "{}", found.version);
    let names: Vec<&str> = found.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["virtual_domains", "virtual_users"]);
    let quota = SqlColumn { name: "quota".into(), kind: "BIGINT".into(), nullable: false, default: Some("0".into()) };
    assert_eq!(found.tables[1].columns[4], quota);
}

#[tokio::test]
async fn a_query_binds_its_values_and_yields_a_column() {
    let files = Files::new().await;
    let session = files.lab.session(Verb::Preview, 1);
    let rows = session.query("users", SideName::Old, &[SqlValue::Integer(0)]).await.unwrap();
    assert_eq!(rows.columns, ["email", "quota"]);
    assert_eq!(rows.rows[1], [text("jörg@münchen.example"), SqlValue::Integer(0)]);
    let rows = session.query("users", SideName::New, &[SqlValue::Integer(0)]).await.unwrap();
    assert_eq!((rows.columns, rows.rows), (vec!["email".to_string(), "quota".into()], vec![]), "columns of no rows");
    let Err(Failure::RefusedValue(why)) = session.query("users", SideName::Old, &[]).await else { panic!("taken") };
    assert!(why.contains("sql.users") && why.contains(":least"), "{why}");
}

#[tokio::test]
async fn a_statement_that_only_says_it_reads_changes_nothing() {
    let files = Files::new().await;
    let session = files.lab.session(Verb::Check, 1);
    // It begins like a query: the connection itself is read-only.
    ended_badly(session.query("pretends", SideName::Old, &[]).await);
    assert!(matches!(session.query("two", SideName::Old, &[]).await, Err(Failure::RefusedValue(_))));
    assert_eq!(files.rows(SideName::Old, "SELECT CAST(count(*) AS TEXT) FROM virtual_users").await, ["2"]);
    assert!(matches!(session.query("quota", SideName::New, &[]).await, Err(Failure::ReadOnly(_))));
    let query = files.lab.apply().query("quota", SideName::New, &[]).await;
    assert!(matches!(query, Err(Failure::RefusedValue(_))), "{query:?}");
    assert!(matches!(session.execute("users", SideName::New, &[]).await, Err(Failure::RefusedValue(_))));
    let attach = files.lab.apply().execute("attach", SideName::New, &[]).await;
    assert!(matches!(attach, Err(Failure::RefusedValue(_))), "{attach:?}");
}

#[tokio::test]
async fn too_many_rows_or_bytes_are_over_limit() {
    let files = Files::new().await;
    let session = files.lab.apply();
    let rows = session.query("many", SideName::Old, &[SqlValue::Integer(100_000)]).await.unwrap();
    assert_eq!(rows.rows.len(), 100_000);
    let more = session.query("many", SideName::Old, &[SqlValue::Integer(100_001)]).await;
    assert!(matches!(more, Err(Failure::OverLimit(_))));
    assert!(matches!(session.query("large", SideName::Old, &[]).await, Err(Failure::OverLimit(_))));
}

#[tokio::test]
async fn a_once_statement_done_in_this_run_is_not_done_again() {
    let files = Files::new().await;
    files.lab.apply().copy("accounts").await.unwrap();
    let values = [SqlValue::Integer(99), text("john@example.org")];
    assert_eq!(files.lab.apply().execute("quota", SideName::New, &values).await, Ok(1));
    files.run(SideName::New, "UPDATE virtual_users SET quota = 1").await;
    assert_eq!(files.lab.apply().execute("quota", SideName::New, &values).await, Ok(1), "the recorded outcome");
    let quotas = "SELECT CAST(quota AS TEXT) FROM virtual_users ORDER BY 1";
    assert_eq!(files.rows(SideName::New, quotas).await, ["1", "1"]);
    let other = [SqlValue::Integer(98), text("john@example.org")];
    assert_eq!(files.lab.apply().execute("quota", SideName::New, &other).await, Ok(1), "other values, another effect");
    assert!(!files.lab.journal_holds("john@example.org").await);
}

#[tokio::test]
async fn rows_are_copied_by_column_name_and_again_to_the_same() {
    let files = Files::new().await;
    let session = files.lab.apply();
    assert_eq!(
        files.lab.session(Verb::Preview, 1).compare_rows("accounts").await.unwrap(),
        [difference("domains", 2, 0, false), difference("users", 2, 0, false)]
    );
    let copied = session.copy("accounts").await.unwrap();
    assert_eq!(copied.tables, [("domains".to_string(), 2), ("users".into(), 2)]);
    files.run(SideName::Old, "DELETE FROM virtual_users WHERE id = 7").await;
    let copied = session.copy("accounts").await.unwrap();
    assert_eq!(copied.tables, [("domains".to_string(), 2), ("users".into(), 1)]);
    let users = "SELECT id || email || password FROM virtual_users";
    assert_eq!(files.rows(SideName::New, users).await, [format!("8jörg@münchen.example{HASH}2")]);
    assert_eq!(
        files.lab.session(Verb::Verify, 1).compare_rows("accounts").await.unwrap(),
        [difference("domains", 2, 2, true), difference("users", 1, 1, true)]
    );
    assert!(!files.lab.journal_holds("SHA512").await);
}

#[tokio::test]
async fn a_copy_that_breaks_off_leaves_the_former_rows_and_says_nothing_of_them() {
    let files = Files::new().await;
    files.lab.apply().copy("accounts").await.unwrap();
    // Something on new that the copy collides with, in a row that its delete does not take.
    files
        .run(
            SideName::New,
            "CREATE TRIGGER no BEFORE INSERT ON virtual_users WHEN new.id = 8 BEGIN
               SELECT raise(ABORT, 'not jörg@münchen.example'); END",
        )
        .await;
    let words = ended_badly(files.lab.apply().copy("accounts").await);
    assert!(words.contains("row 2 of step `users`") && words.contains("`mailserver` on new"), "{words}");
    assert!(!words.contains("jörg"), "{words}");
    assert_eq!(files.rows(SideName::New, "SELECT CAST(count(*) AS TEXT) FROM virtual_users").await, ["2"]);
    assert!(!files.lab.journal_holds("jörg@").await);
}

#[tokio::test]
async fn steps_that_cannot_work_are_refused_before_anything_is_deleted() {
    let files = Files::new().await;
    files.lab.apply().copy("accounts").await.unwrap();
    let Err(Failure::RefusedValue(why)) = files.lab.apply().copy("wrong").await else { panic!("copied") };
    assert!(why.contains("no column `mail`") && why.contains("email"), "{why}");
    let Err(Failure::RefusedValue(why)) = files.lab.apply().copy("ddl").await else { panic!("copied") };
    assert!(why.contains("DROP"), "{why}");
    assert_eq!(files.rows(SideName::New, "SELECT CAST(count(*) AS TEXT) FROM virtual_users").await, ["2"]);
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_found_and_not_made() {
    let files = Files::new().await;
    std::fs::remove_file(files.path(SideName::New)).unwrap();
    let session = files.lab.apply();
    assert!(matches!(session.describe("mail", SideName::New).await, Err(Failure::NotFound(_))));
    assert!(matches!(session.copy("accounts").await, Err(Failure::NotFound(_))));
    assert!(!files.path(SideName::New).exists());
}

#[tokio::test]
async fn a_table_that_a_side_lacks_is_named() {
    let files = Files::new().await;
    files.run(SideName::New, "DROP TABLE virtual_users").await;
    let words = ended_badly(files.lab.session(Verb::Check, 1).compare_rows("accounts").await);
    assert!(words.contains("virtual_users") && words.contains("on new"), "{words}");
}

/// Values of every storage class, where types do not say so.
const ODD: &str = "
CREATE TABLE odd (a, b TEXT, c INTEGER, \"d \"\"e\" REAL, g AS (c + 1)) ;
INSERT INTO odd VALUES (NULL, '', 9223372036854775807, 0.1), (x'00ff', 'ünï\u{1F600}', -9223372036854775808, 1e300),
  ('text', x'', 0, -0.0), (1, 'line
break', 1, 9e999), (1, 'line
break', 1, 9e999);
CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT);
INSERT INTO counted VALUES (41); DELETE FROM counted;
CREATE INDEX odd_b ON odd (b) WHERE c > 0;
CREATE VIEW second AS SELECT * FROM first;
CREATE VIEW first AS SELECT a FROM odd;
CREATE TRIGGER odd_log AFTER DELETE ON odd BEGIN SELECT CASE WHEN 1 THEN 2 END; DELETE FROM counted; END;
PRAGMA user_version = 17;
";
const QUOTED: &str = "SELECT quote(a) || quote(b) || quote(c) || quote(\"d \"\"e\") || quote(g) FROM odd ORDER BY 1";
const MADE: &str = "SELECT type || name || coalesce(sql, '') FROM sqlite_master ORDER BY 1";

#[tokio::test]
async fn whole_tables_are_the_same_afterwards() {
    let files = Files::new().await;
    files.run(SideName::Old, ODD).await;
    files.run(SideName::New, "CREATE TABLE odd (other); INSERT INTO odd VALUES (1); CREATE TABLE mine (a)").await;
    let before = files.lab.session(Verb::Check, 1).compare_rows("all").await.unwrap();
    assert!(
        before.contains(&difference("odd", 5, 1, false)) && before.contains(&difference("view first", 0, 0, false))
    );
    let copied = files.lab.apply().copy("all").await.unwrap();
    assert!(copied.tables.contains(&("odd".into(), 5)), "{copied:?}");
    assert_eq!(files.rows(SideName::New, QUOTED).await, files.rows(SideName::Old, QUOTED).await);
    let made = files.rows(SideName::New, MADE).await;
    assert_eq!(
        made.iter().filter(|made| !made.starts_with("tablemine")).count(),
        files.rows(SideName::Old, MADE).await.len()
    );
    let after = files.lab.session(Verb::Verify, 1).compare_rows("all").await.unwrap();
    assert!(after.iter().all(|difference| difference.equal), "{after:?}");
    files.run(SideName::New, "INSERT INTO counted DEFAULT VALUES").await;
    assert_eq!(files.rows(SideName::New, "SELECT CAST(id AS TEXT) FROM counted").await, ["42"]);
    files.run(SideName::New, "UPDATE odd SET b = 'y' WHERE c = 0").await;
    let after = files.lab.session(Verb::Verify, 1).compare_rows("all").await.unwrap();
    assert!(after.contains(&difference("odd", 5, 5, false)), "{after:?}");
}

#[tokio::test]
async fn whole_tables_that_break_off_leave_the_file_as_it_was() {
    let files = Files::new().await;
    files.run(SideName::Old, "CREATE TABLE zz (a); INSERT INTO zz VALUES (CAST(x'ff' AS TEXT))").await;
    files.run(SideName::New, "INSERT INTO virtual_domains VALUES (1, 'mine')").await;
    let Err(Failure::Unsupported(why)) = files.lab.apply().copy("all").await else { panic!("copied") };
    assert!(why.contains("UTF-8") && why.contains("column `a`"), "{why}");
    assert_eq!(files.rows(SideName::New, "SELECT name FROM virtual_domains").await, ["mine"]);
}

#[tokio::test]
async fn a_hostile_schema_makes_nothing_but_what_it_names() {
    let files = Files::new().await;
    let target = files.folder.path().join("stolen.db");
    let hostile = format!("CREATE TABLE plain (a); ATTACH '{}' AS b", target.display()).replace('\'', "''");
    let rewrite = format!(
        "CREATE TABLE plain (a); PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = '{hostile}' WHERE name = 'plain'"
    );
    files.run(SideName::Old, &rewrite).await;
    let result = files.lab.apply().copy("all").await;
    assert!(matches!(&result, Err(Failure::Unsupported(why)) if why.contains("more than one statement")), "{result:?}");
    assert!(!target.exists());
}

#[tokio::test]
async fn a_snapshot_is_taken_once_a_run_is_private_and_can_be_put_back() {
    let files = Files::new().await;
    files.run(SideName::New, ODD).await;
    let before = (files.rows(SideName::New, QUOTED).await, files.rows(SideName::New, MADE).await);
    assert_eq!(files.lab.apply().snapshot("mail", SideName::New).await.unwrap(), "p-1-mail-new");
    let path = files.lab.state().join("snapshots/p-1-mail-new");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);

    files
        .run(SideName::New, "DELETE FROM odd; DROP TRIGGER odd_log; CREATE TABLE later (a); PRAGMA user_version = 18")
        .await;
    assert_eq!(files.lab.apply().snapshot("mail", SideName::New).await.unwrap(), "p-1-mail-new", "not taken again");
    let undo = files.lab.session(Verb::Undo, 2);
    undo.restore_snapshot("mail", SideName::New, "p-1-mail-new").await.unwrap();
    assert_eq!((files.rows(SideName::New, QUOTED).await, files.rows(SideName::New, MADE).await), before);

    // What was there in between is a snapshot too.
    undo.restore_snapshot("mail", SideName::New, "p-2-mail-new-before-restore-1").await.unwrap();
    assert_eq!(files.rows(SideName::New, QUOTED).await, [""; 0]);
    assert!(files.rows(SideName::New, MADE).await.iter().any(|made| made.starts_with("tablelater")));
}

#[tokio::test]
async fn a_snapshot_begun_by_a_killed_run_is_taken_anew() {
    let files = Files::new().await;
    let folder = files.lab.state().join("snapshots");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(".p-1-mail-old.part"), "half").unwrap();
    assert_eq!(files.lab.apply().snapshot("mail", SideName::Old).await.unwrap(), "p-1-mail-old");
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["p-1-mail-old"]);
}

#[tokio::test]
async fn only_snapshots_of_this_request_and_side_are_put_back() {
    let files = Files::new().await;
    let session = files.lab.apply();
    session.snapshot("mail", SideName::Old).await.unwrap();
    for name in [
        "p-1-mail-old",
        "../journal.db",
        "p-1-mail-new/../../journal.db",
        "q-1-mail-new",
        "p-1-mail-new-before-restore-",
        "",
    ] {
        let result = session.restore_snapshot("mail", SideName::New, name).await;
        assert!(matches!(result, Err(Failure::RefusedValue(_))), "{name}: {result:?}");
    }
    let missing = session.restore_snapshot("mail", SideName::New, "p-9-mail-new").await;
    assert!(matches!(missing, Err(Failure::NotFound(_))), "{missing:?}");
}

#[tokio::test]
async fn reading_verbs_take_no_snapshot_and_copy_nothing() {
    let files = Files::new().await;
    for verb in [Verb::Check, Verb::Preview, Verb::Verify] {
        let session = files.lab.session(verb, 1);
        assert!(matches!(session.copy("accounts").await, Err(Failure::ReadOnly(_))));
        for side in SIDES {
            assert!(matches!(session.snapshot("mail", side).await, Err(Failure::ReadOnly(_))));
        }
    }
    assert!(!files.lab.state().join("snapshots").exists());
}
