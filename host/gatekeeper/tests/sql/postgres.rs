//! PostgreSQL: a real server, where one is installed. Root cannot run it: then it runs as `nobody`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rehome_gatekeeper::types::{Failure, SideName, SqlValue, Verb};
use rehome_gatekeeper::{Account, DatabasePlace};

use crate::lab::{Lab, SIDES, Spot, difference, ended_badly, program, text};

const REQUESTS: &str = r#"
[schema.mail]
on = ["old", "new"]
database = "DB"

[sql.odd]
on = ["old", "new"]
database = "DB"
text = "SELECT * FROM odd WHERE s = :s AND d = :d AND id >= :id::int AND s = :s"
effect = "read"

[sql.all]
on = ["old", "new"]
database = "DB"
text = "SELECT id, s FROM odd"
effect = "read"

[sql.writes]
on = ["old"]
database = "DB"
text = "WITH gone AS (DELETE FROM odd RETURNING id) SELECT count(*) FROM gone"
effect = "read"

[sql.update]
on = ["new"]
database = "DB"
text = "UPDATE odd SET s = :s, b = :b, flag = :flag WHERE id = :id"
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
insert = "INSERT INTO odd VALUES (:id, :s, :b, :d, :f, :flag, :day, :ts, :span, :tags, :j, :mood, :net, :small, :real)"

[copy.all]
database = "DB"
kind = "tables"
effect = "once"
reason = "not served"
"#;

const ODD: &str = "
CREATE TYPE mood AS ENUM ('glad', 'it''s');
CREATE TABLE odd (id bigint PRIMARY KEY, s text, b bytea, d numeric, f double precision, flag boolean, day date,
  ts timestamptz, span interval, tags text[], j jsonb, mood mood, net inet, small smallint, real real)";
const ROWS: &str = r#"
INSERT INTO odd VALUES (9223372036854775807, E'it''s \\ \n 😀', '\x00ff27', 12345678901234567890.000000001, 'NaN', true,
  '4713-01-01 BC', '2001-10-28 01:30:00.000001+02', '-1 year 3 days 04:05:06.7', '{"a,b",NULL,"c\"d"}', '{"a": [1, null]}', 'it''s',
  '10.0.0.0/8', -32768, 0.1), (2, '', '', 0, 0.1, false, 'infinity', '-infinity', '0', '{}', 'null', 'glad', '::1', 0, 'Infinity');
INSERT INTO odd VALUES (1)"#;

struct Server {
    folder: tempfile::TempDir,
    child: Child,
    lab: Lab,
}

/// A program of the server, as somebody who may run it.
fn of_server(bin: &Path, name: &str) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(bin.join(name));
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(bin.join(name));
    command
}

impl Server {
    /// None where PostgreSQL is not installed.
    async fn start() -> Option<Server> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
        let bin = program("postgres", &folders, false)?.parent()?.to_path_buf();
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        for path in [folder.path().to_path_buf(), data.clone(), folder.path().join("old"), folder.path().join("new")] {
            std::fs::create_dir_all(&path).expect("a folder");
            if rustix::process::geteuid().is_root() {
                assert!(Command::new("chown").arg("nobody:nogroup").arg(&path).status().expect("chown").success());
            }
        }
        let made = of_server(&bin, "initdb")
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .output()
            .expect("initdb");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        // One server is both sides: a database for each, by a socket of its own name in the side's folder.
        let sockets = format!("{},{}", folder.path().join("old").display(), folder.path().join("new").display());
        let child = of_server(&bin, "postgres")
            .args(["-p", "5433", "-F", "-c", "listen_addresses="])
            .args(["-k", &sockets])
            .arg("-D")
            .arg(&data)
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("postgres");
        let spot = |side: SideName, user: &str| Spot {
            folder: folder.path().join(side.as_str()),
            place: DatabasePlace::Postgres {
                socket: "/.s.PGSQL.5433".into(),
                account: Account::by_socket(user),
                reader: None,
            },
        };
        let lab = Lab::new(REQUESTS, "mail", spot(SideName::Old, "one"), spot(SideName::New, "two")).await;
        let server = Server { folder, child, lab };
        for attempt in 0.. {
            // Each side has its user, whose tables are in a schema of that name: the search path finds them.
            let sql = "CREATE ROLE one SUPERUSER LOGIN; CREATE ROLE two SUPERUSER LOGIN";
            match server.psql("postgres", "postgres", sql) {
                Ok(_) => break,
                Err(words) => assert!(attempt < 300, "{words}"),
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        server.psql("postgres", "postgres", "CREATE DATABASE mail").expect("a database");
        for (user, sql) in [("one", "CREATE SCHEMA one"), ("two", "CREATE SCHEMA two")] {
            server.psql(user, "mail", sql).expect("a schema");
            server.psql(user, "mail", ODD).expect("tables");
        }
        Some(server)
    }

    fn psql(&self, user: &str, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-q", "-A", "-t", "-p", "5433", "-v", "ON_ERROR_STOP=1", "-h"])
            .arg(self.folder.path().join("old"));
        let done = psql.args(["-U", user, "-d", database, "-c", sql]).output().expect("psql");
        match done.status.success() {
            true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
        }
    }

    fn rows(&self, side: SideName) -> String {
        let user = if side == SideName::Old { "one" } else { "two" };
        self.psql(user, "mail", "SELECT * FROM odd ORDER BY id").expect("rows")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGQUIT: at once, and its own children with it.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        }
        let _ = self.child.wait();
    }
}

/// The test's server, or the end of the test where there is none.
macro_rules! server {
    () => {
        match Server::start().await {
            Some(server) => server,
            None => return,
        }
    };
}

#[tokio::test]
async fn rows_of_every_type_arrive_as_they_were() {
    let server = server!();
    server.psql("one", "mail", ROWS).unwrap();
    let copied = server.lab.apply().copy("odd").await.unwrap();
    assert_eq!(copied.tables, [("odd".to_string(), 3)]);
    assert_eq!(server.rows(SideName::New), server.rows(SideName::Old));
    server.lab.apply().copy("odd").await.unwrap();
    assert_eq!(server.lab.session(Verb::Verify, 1).compare_rows("odd").await.unwrap(), [difference("odd", 3, 3, true)]);
    server.psql("two", "mail", "UPDATE odd SET span = span + '1 microsecond' WHERE id = 2").unwrap();
    assert_eq!(
        server.lab.session(Verb::Verify, 1).compare_rows("odd").await.unwrap(),
        [difference("odd", 3, 3, false)]
    );
}

#[tokio::test]
async fn values_are_bound_and_cannot_leave_their_quotes() {
    let server = server!();
    server.psql("one", "mail", ROWS).unwrap();
    let values = [text("it's \\ \n 😀"), text("12345678901234567890.000000001"), SqlValue::Integer(1)];
    let found = server.lab.session(Verb::Check, 1).query("odd", SideName::Old, &values).await.unwrap();
    assert_eq!(found.rows.len(), 1);
    assert_eq!(
        found.rows[0][..4],
        [SqlValue::Integer(i64::MAX), values[0].clone(), SqlValue::Bytes(vec![0, 255, 0x27]), values[1].clone()]
    );
    assert!(matches!(found.rows[0][4], SqlValue::Real(real) if real.is_nan()));
    assert_eq!(found.rows[0][5], SqlValue::Integer(1));
    server.psql("two", "mail", "INSERT INTO odd (id) VALUES (1), (2)").unwrap();
    let hostile = text("x'); DROP TABLE odd; --\\' $1 E'\\'");
    let values = [hostile.clone(), SqlValue::Bytes(vec![0, 39]), SqlValue::Integer(0), SqlValue::Integer(2)];
    assert_eq!(server.lab.apply().execute("update", SideName::New, &values).await, Ok(1));
    let found = server.lab.apply().query("all", SideName::New, &[]).await.unwrap();
    assert!(found.rows.contains(&vec![SqlValue::Integer(2), hostile]));
    let nul = [text("a\0b"), SqlValue::Null, SqlValue::Null, SqlValue::Integer(2)];
    assert!(matches!(server.lab.apply().execute("update", SideName::New, &nul).await, Err(Failure::RefusedValue(_))));
    let wrong = [text("secret"), SqlValue::Null, text("secretive"), SqlValue::Integer(2)];
    let words = ended_badly(server.lab.apply().execute("update", SideName::New, &wrong).await);
    assert!(words.contains("22P02") && !words.contains("secret"), "{words}");
}

#[tokio::test]
async fn a_statement_that_only_says_it_reads_changes_nothing() {
    let server = server!();
    server.psql("one", "mail", ROWS).unwrap();
    let words = ended_badly(server.lab.session(Verb::Check, 1).query("writes", SideName::Old, &[]).await);
    assert!(words.contains("read-only transaction"), "{words}");
}

#[tokio::test]
async fn a_copy_that_breaks_off_leaves_the_former_rows() {
    let server = server!();
    server.psql("one", "mail", ROWS).unwrap();
    server.psql("two", "mail", "INSERT INTO odd (id) VALUES (5); ALTER TABLE odd ADD CHECK (id <> 2)").unwrap();
    let words = ended_badly(server.lab.apply().copy("odd").await);
    assert!(words.contains("violates check constraint") && words.contains("row 2 of step `odd`"), "{words}");
    assert_eq!(server.psql("two", "mail", "SELECT id FROM odd").unwrap(), "5\n");
}

#[tokio::test]
async fn whole_tables_are_unsupported_and_the_schema_is_described() {
    let server = server!();
    assert!(matches!(server.lab.apply().copy("all").await, Err(Failure::Unsupported(_))));
    for side in SIDES {
        let found = server.lab.session(Verb::Check, 1).describe("mail", side).await.unwrap();
        assert_eq!(found.product, "postgresql");
        assert!(found.version.starts_with(|c: char| c.is_ascii_digit()), "{}", found.version);
        assert_eq!((found.tables.len(), found.tables[0].columns[7].kind.as_str()), (1, "timestamp with time zone"));
    }
}
