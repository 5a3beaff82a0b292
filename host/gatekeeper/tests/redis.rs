//! `redis` against real servers: two Redis daemons on unix sockets, read by clients of the tests' own.
#![expect(clippy::disallowed_methods, reason = "the tests run servers themselves")]
#![expect(clippy::disallowed_macros, reason = "the tests say what they skip")]

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use redis::Connection;
use rehome_gatekeeper::types::{Failure, RedisDifferences, SideName, Verb};
use rehome_gatekeeper::{Clock, Host, Journal, RedisDoor, RedisPlace, Scope, Services, Session, SideSpec};
use rehome_manifest::{Config, Filled, Manifest, fill};
use rehome_remote::{Options, Target};

const MANIFEST: &str = r#"
name = "probe"
version = "0.1.0"
api = "0.1"
about = "tries Redis"
[redis-copy.learned]
databases = [0, 3]
patterns = ["RS*", "ham_*"]
reason = "what was learned"
"#;

/// Two servers in a folder; gone with the value.
struct Bench {
    folder: tempfile::TempDir,
    running: Vec<Child>,
    journal: Arc<Journal>,
    filled: Arc<Filled>,
    password: Option<String>,
}

/// Debian's redis-tools has the server as well: one program, which looks at its own name.
fn server() -> Option<PathBuf> {
    let places = ["/usr/bin/redis-server", "/usr/local/bin/redis-server", "/usr/bin/redis-check-rdb"];
    places.into_iter().map(PathBuf::from).find(|path| path.exists())
}

impl Bench {
    async fn new() -> Option<Bench> {
        Bench::with(&[]).await
    }

    /// None where Redis is not installed: said, not hidden.
    async fn with(extra: &[&str]) -> Option<Bench> {
        let Some(program) = server() else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "CI=true, and this test's server is not installed");
            println!("skipped: no redis-server on this machine (Debian: apt-get install redis-tools)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        let journal = Arc::new(Journal::open(&folder.path().join("state")).await.unwrap());
        let filled = Arc::new(fill(&Manifest::parse(MANIFEST).unwrap(), Config::default()).unwrap());
        let mut bench = Bench { folder, running: vec![], journal, filled, password: None };
        for side in ["old", "new"] {
            bench.run(&program, side, extra);
        }
        Some(bench)
    }

    fn run(&mut self, program: &Path, side: &str, extra: &[&str]) {
        let folder = self.folder.path().join(side);
        std::fs::create_dir(&folder).unwrap();
        let socket = folder.join("redis.sock");
        let mut command = Command::new(program);
        command.arg0("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--dir"]).arg(&folder);
        command.arg("--unixsocket").arg(&socket).args(extra).stdin(Stdio::null()).stdout(Stdio::null());
        self.running.push(command.spawn().unwrap());
        for _ in 0..200 {
            if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
        panic!("redis-server does not listen on {}", socket.display());
    }

    fn client(&self, side: &str, database: u32) -> Connection {
        let path = self.folder.path().join(side).join("redis.sock");
        let url = format!("redis+unix://{}?db={database}", path.display());
        redis::Client::open(url).unwrap().get_connection().unwrap()
    }

    fn session(&self, verb: Verb) -> Session {
        let folder = self.folder.path();
        let spec = |side: &str| SideSpec {
            target: Target::Folder(folder.join(side)),
            options: Options { control_dir: folder.join("control"), ..Options::default() },
            databases: BTreeMap::new(),
            redis: RedisPlace {
                door: RedisDoor::Socket("/redis.sock".into()),
                user: None,
                password: self.password.clone(),
            },
        };
        let secrets = [("redis".to_string(), folder.join("secret"))];
        let services = Services { secrets: secrets.into(), ..Services::default() };
        let state = folder.join("state");
        let clock = Arc::new(Clock::default());
        let host = Host::with_services(
            spec("old"),
            spec("new"),
            self.journal.clone(),
            Arc::new(()),
            clock,
            (&state, services),
        );
        let scope =
            Scope { phase: "p".into(), component: "probe".into(), run: 1, verb, approve: "rehome approve".into() };
        let grants: BTreeSet<String> = self.filled.requests.keys().cloned().collect();
        Session::new(host, scope, self.filled.clone(), grants)
    }

    async fn copy(&self) -> u64 {
        let tallies = self.session(Verb::Apply).redis_copy("learned").await.unwrap();
        tallies.iter().map(|tally| tally.keys).sum()
    }

    async fn compare(&self) -> RedisDifferences {
        self.session(Verb::Verify).redis_compare("learned").await.unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for child in &mut self.running {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn run(connection: &mut Connection, words: &[&[u8]]) {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command.query::<redis::Value>(connection).unwrap();
}

/// Keys of every type; some expire; some are not asked for.
fn fill_old(bench: &Bench) {
    let mut old = bench.client("old", 0);
    run(&mut old, &[b"SET", b"RS1", b"value\r\n\0\xff"]);
    run(&mut old, &[b"SET", b"RS\xfe\x00bin", b"key of bytes"]);
    run(&mut old, &[b"HSET", b"RSh", b"a", b"1", b"b", b"2"]);
    run(&mut old, &[b"SADD", b"RSs", b"x", b"y", b"z"]);
    run(&mut old, &[b"RPUSH", b"RSl", b"1", b"2", b"1"]);
    run(&mut old, &[b"ZADD", b"RSz", b"1.5", b"m", b"2", b"n"]);
    run(&mut old, &[b"XADD", b"RSx", b"1-1", b"f", b"v"]);
    run(&mut old, &[b"SET", b"RSttl", b"soon", b"PX", b"600000"]);
    run(&mut old, &[b"SET", b"other", b"not asked for"]);
    run(&mut bench.client("old", 3), &[b"SET", b"ham_1", b"three"]);
    run(&mut bench.client("old", 1), &[b"SET", b"RS1", b"another database"]);
}

fn text(connection: &mut Connection, key: &str) -> Option<Vec<u8>> {
    redis::cmd("GET").arg(key).query(connection).unwrap()
}

#[tokio::test]
async fn keys_of_the_patterns_and_databases_arrive_with_their_times_to_live() {
    let Some(bench) = Bench::new().await else { return };
    fill_old(&bench);
    run(&mut bench.client("new", 0), &[b"SET", b"mine", b"stays"]);
    assert_eq!(bench.copy().await, 9);
    let mut new = bench.client("new", 0);
    assert_eq!(text(&mut new, "RS1").unwrap(), b"value\r\n\0\xff");
    let ttl: i64 = redis::cmd("PTTL").arg("RSttl").query(&mut new).unwrap();
    assert!((590_000..=600_000).contains(&ttl), "{ttl}");
    assert_eq!(redis::cmd("TTL").arg("RS1").query::<i64>(&mut new).unwrap(), -1);
    assert_eq!(text(&mut new, "other"), None);
    assert_eq!(text(&mut new, "mine").unwrap(), b"stays");
    assert_eq!(redis::cmd("DBSIZE").query::<u64>(&mut bench.client("new", 1)).unwrap(), 0);
    assert_eq!(text(&mut bench.client("new", 3), "ham_1").unwrap(), b"three");
    let list: Vec<String> = redis::cmd("LRANGE").arg("RSl").arg(0).arg(-1).query(&mut new).unwrap();
    assert_eq!(list, ["1", "2", "1"]);
    assert_eq!(bench.compare().await, RedisDifferences { equal: 9, ..Default::default() });
    assert_eq!(bench.copy().await, 9, "safe to repeat");
    assert_eq!(bench.compare().await, RedisDifferences { equal: 9, ..Default::default() });
}

#[tokio::test]
async fn each_kind_of_difference_is_seen() {
    let Some(bench) = Bench::new().await else { return };
    fill_old(&bench);
    bench.copy().await;
    let mut new = bench.client("new", 0);
    run(&mut new, &[b"HSET", b"RSh", b"a", b"9"]);
    run(&mut new, &[b"PERSIST", b"RSttl"]);
    run(&mut new, &[b"DEL", b"RSl"]);
    run(&mut new, &[b"RPUSH", b"RSl", b"2", b"1", b"1"]);
    run(&mut new, &[b"DEL", b"RSz"]);
    run(&mut new, &[b"SET", b"RSnew", b"learned here"]);
    let seen = bench.compare().await;
    assert_eq!(seen, RedisDifferences { equal: 5, only_old: 1, only_new: 1, different: 3 });
    let counted = bench.session(Verb::Check).redis_count("learned", SideName::New).await.unwrap();
    assert_eq!(counted.iter().map(|tally| tally.keys).collect::<Vec<_>>(), [8, 1]);
}

#[tokio::test]
async fn what_new_held_before_comes_back_also_after_a_second_copy() {
    let Some(bench) = Bench::new().await else { return };
    fill_old(&bench);
    let mut new = bench.client("new", 0);
    run(&mut new, &[b"SET", b"RS1", b"of new", b"PX", b"500000"]);
    run(&mut new, &[b"SET", b"RSown", b"only here"]);
    bench.copy().await;
    run(&mut bench.client("old", 0), &[b"SET", b"RSlater", b"came later"]);
    bench.copy().await;
    assert_eq!(text(&mut new, "RSlater").unwrap(), b"came later");
    let undo = bench.session(Verb::Undo);
    assert_eq!(undo.redis_restore("learned").await.unwrap(), 10);
    assert_eq!(text(&mut new, "RS1").unwrap(), b"of new");
    assert!(redis::cmd("PTTL").arg("RS1").query::<i64>(&mut new).unwrap() > 0);
    assert_eq!(text(&mut new, "RSown").unwrap(), b"only here");
    assert_eq!(redis::cmd("DBSIZE").query::<u64>(&mut new).unwrap(), 2);
    assert_eq!(redis::cmd("DBSIZE").query::<u64>(&mut bench.client("new", 3)).unwrap(), 0);
    assert_eq!(undo.redis_restore("learned").await.unwrap(), 0, "nothing is kept any more");
}

#[tokio::test]
async fn many_keys_are_each_copied_once() {
    let Some(bench) = Bench::new().await else { return };
    let mut pipe = redis::Pipeline::new();
    for number in 0..20_000 {
        pipe.cmd("HSET").arg(format!("RS{number}")).arg("H").arg(number).ignore();
    }
    pipe.query::<()>(&mut bench.client("old", 0)).unwrap();
    assert_eq!(bench.copy().await, 20_000);
    assert_eq!(bench.compare().await, RedisDifferences { equal: 20_000, ..Default::default() });
}

#[tokio::test]
async fn looking_changes_nothing_and_copying_is_refused_to_those_who_look() {
    let Some(bench) = Bench::new().await else { return };
    fill_old(&bench);
    let refused = bench.session(Verb::Check).redis_copy("learned").await.unwrap_err();
    assert!(matches!(refused, Failure::ReadOnly(_)), "{refused}");
    assert_eq!(redis::cmd("DBSIZE").query::<u64>(&mut bench.client("new", 0)).unwrap(), 0);
    let version = bench.session(Verb::Check).redis_version("learned", SideName::Old).await.unwrap();
    assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{version}");
}

#[tokio::test]
async fn a_password_comes_from_a_secret_and_its_lack_is_explained() {
    use std::os::unix::fs::PermissionsExt;
    let Some(mut bench) = Bench::with(&["--requirepass", "open-sesame-4711"]).await else { return };
    let failure = bench.session(Verb::Check).redis_compare("learned").await.unwrap_err().to_string();
    assert!(failure.contains("password") && failure.contains("[secret.NAME]"), "{failure}");
    let file = bench.folder.path().join("secret");
    std::fs::write(&file, "open-sesame-4711\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    bench.password = Some("redis".into());
    assert_eq!(bench.compare().await, RedisDifferences::default());
    std::fs::write(&file, "wrong-4711\n").unwrap();
    let failure = bench.session(Verb::Check).redis_compare("learned").await.unwrap_err().to_string();
    assert!(!failure.contains("4711"), "{failure}");
}

#[tokio::test]
async fn a_server_that_does_not_run_is_named() {
    let Some(mut bench) = Bench::new().await else { return };
    let mut old = bench.running.remove(0);
    drop(old.kill());
    drop(old.wait());
    let failure = bench.session(Verb::Check).redis_compare("learned").await.unwrap_err();
    assert!(matches!(&failure, Failure::Unreachable(text) if text.contains("Redis on old")), "{failure}");
}
