//! MariaDB servers that the tests start, and databases on them. Servers are shared by the tests that run at a time, databases
//! are not.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;

use rehome_gatekeeper::types::SideName;
use rehome_gatekeeper::{Account, DatabasePlace};

use crate::lab::{Lab, SIDES, Spot, program};

/// Two servers in a folder, each with a socket and no network.
pub struct Servers {
    folder: tempfile::TempDir,
    running: Vec<Child>,
}

impl Servers {
    /// None where MariaDB is not installed.
    pub fn shared() -> Option<Arc<Servers>> {
        static SHARED: Mutex<Weak<Servers>> = Mutex::new(Weak::new());
        let program = program("mariadbd", &["/usr/sbin", "/usr/bin", "/usr/local/bin"].map(PathBuf::from), true)?;
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Some(shared.upgrade().unwrap_or_else(|| {
            let servers = Arc::new(Servers::start(&program));
            *shared = Arc::downgrade(&servers);
            servers
        }))
    }

    fn start(program: &Path) -> Servers {
        let folder = tempfile::tempdir().expect("a folder");
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        std::fs::create_dir(&old).expect("a folder");
        let made = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=socket"])
            .arg(format!("--auth-root-socket-user={}", user()))
            .arg(format!("--user={}", user()))
            .arg(format!("--datadir={}", old.join("data").display()))
            .args(["--innodb-log-file-size=8M", "--skip-name-resolve"])
            .output()
            .expect("mariadb-install-db");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let copy =
            |from: &Path, to: &Path| Command::new("cp").arg("-a").args([from, to]).status().expect("cp").success();
        assert!(copy(&old, &new));
        if let Some(other) = other_release() {
            std::fs::remove_dir_all(old.join("data")).expect("a folder");
            assert!(copy(&other.join("data"), &old));
        }
        let mut servers = Servers { folder, running: vec![] };
        for side in SIDES {
            servers.run(program, side);
        }
        servers
    }

    fn run(&mut self, program: &Path, side: SideName) {
        let place = self.place(side);
        let log = std::fs::File::create(place.join("log")).expect("a file");
        let other = other_release().filter(|_| side == SideName::Old);
        let server = Command::new(other.map_or(program.into(), |other| other.join("mariadbd")))
            .args(["--no-defaults", "--skip-networking", "--performance-schema=OFF", "--skip-log-bin"])
            .args(["--innodb-log-file-size=8M", "--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=2"])
            .args(["--max-allowed-packet=64M", "--event-scheduler=OFF"])
            .arg(format!("--user={}", user()))
            .arg(format!("--datadir={}", place.join("data").display()))
            .arg(format!("--socket={}", place.join("s").display()))
            .arg(format!("--pid-file={}", place.join("pid").display()))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("mariadbd");
        self.running.push(server);
        for _ in 0..600 {
            let asked = self.client("mariadb", side).args(["-e", "SELECT 1"]).output().expect("mariadb");
            if asked.status.success() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("mariadbd does not answer: {}", std::fs::read_to_string(place.join("log")).unwrap_or_default());
    }

    pub fn place(&self, side: SideName) -> PathBuf {
        self.folder.path().join(side.as_str())
    }

    fn client(&self, program: &str, side: SideName) -> Command {
        let mut client = Command::new(program);
        client.arg("--no-defaults").arg(format!("--socket={}", self.place(side).join("s").display()));
        client.arg(format!("--user={}", user())).arg("--default-character-set=utf8mb4");
        client
    }

    /// Runs SQL through the server's own client, without its strictness.
    pub fn sql(&self, side: SideName, database: &str, sql: &str) -> String {
        let mut client = self.client("mariadb", side);
        client.args(["--batch", "--skip-column-names", "--init-command=SET sql_mode=''", database, "-e", sql]);
        let done = client.output().expect("mariadb");
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim_end().to_string()
    }

    /// A statement with semicolons in it, on old.
    pub fn routine(&self, database: &str, sql: &str) {
        self.sql(SideName::Old, database, &format!("DELIMITER $$\n{sql}$$"));
    }

    /// What mariadb-dump says of a database.
    fn dump(&self, side: SideName, database: &str, options: &[&str]) -> String {
        let mut client = self.client("mariadb-dump", side);
        client.args([
            "--skip-dump-date",
            "--order-by-primary",
            "--skip-comments",
            "--hex-blob",
            "--max-allowed-packet=64M",
        ]);
        let done = client.args(options).arg(database).output().expect("mariadb-dump");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for server in &mut self.running {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// To run these tests across releases, as a migration does: a folder with `mariadbd` of another release and its `data`,
/// with which the old side is run.
pub fn other_release() -> Option<PathBuf> {
    std::env::var_os("REHOME_TEST_OLD_MARIADB").map(PathBuf::from)
}

fn user() -> String {
    let id = Command::new("id").arg("-un").output().expect("id");
    String::from_utf8_lossy(&id.stdout).trim().to_string()
}

/// A database of its own on both servers.
pub struct Databases {
    pub servers: Arc<Servers>,
    pub lab: Lab,
    pub name: String,
}

impl Databases {
    pub async fn new(requests: &str) -> Option<Databases> {
        Databases::as_user(requests, &user()).await
    }

    pub async fn as_user(requests: &str, login: &str) -> Option<Databases> {
        Databases::logging_in(requests, login, None, None).await
    }

    /// With the name of a secret and what it holds.
    pub async fn logging_in(
        requests: &str,
        login: &str,
        secret: Option<(&str, &str)>,
        reader: Option<&str>,
    ) -> Option<Databases> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let servers = Servers::shared()?;
        let name = format!("mail-server{}", MADE.fetch_add(1, Ordering::Relaxed));
        let spot = |side: SideName| Spot {
            folder: servers.place(side),
            place: DatabasePlace::MySql {
                socket: "/s".into(),
                account: Account { user: login.into(), password: secret.map(|(name, _)| name.to_string()) },
                reader: reader.map(Account::by_socket),
            },
        };
        let mut lab = Lab::new(requests, &name, spot(SideName::Old), spot(SideName::New)).await;
        if let Some((secret, holds)) = secret {
            lab.keep_secret(secret, holds);
        }
        for side in SIDES {
            servers.sql(side, "mysql", &format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4"));
        }
        Some(Databases { servers, lab, name })
    }

    /// The requests of a phase of this workspace on these databases, with what a plan would set beside `database`.
    pub async fn phase(&self, phase: &str, config: &str) -> Lab {
        let mut config: toml::Table = config.parse().expect("TOML");
        config.insert("database".into(), self.name.clone().into());
        let spot = |side: SideName| Spot {
            folder: self.servers.place(side),
            place: DatabasePlace::MySql { socket: "/s".into(), account: Account::by_socket(&user()), reader: None },
        };
        Lab::of_phase(phase, &config, &self.name, spot(SideName::Old), spot(SideName::New)).await
    }

    pub fn sql(&self, side: SideName, sql: &str) -> String {
        self.servers.sql(side, &self.name, sql)
    }

    pub fn dump(&self, side: SideName, options: &[&str]) -> String {
        self.servers.dump(side, &self.name, options)
    }

    /// What a query locks stays locked until this is dropped.
    pub fn hold(&self, side: SideName, query: &str) -> Held {
        let mut client = self.servers.client("mariadb", side);
        client.args(["--batch", "--unbuffered", &self.name]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut client = client.spawn().expect("mariadb");
        writeln!(client.stdin.as_mut().expect("a pipe"), "START TRANSACTION; {query};").expect("it reads");
        let answer = client.stdout.as_mut().expect("a pipe").read(&mut [0]).expect("it answers");
        assert!(answer > 0, "nothing is locked");
        Held(client)
    }
}

impl Drop for Databases {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            for side in SIDES {
                self.servers.sql(side, "mysql", &format!("DROP DATABASE `{}`", self.name));
            }
        }
    }
}

/// A client within a transaction.
pub struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A client that asks new one thing again and again.
pub struct Reader {
    client: Child,
    feeding: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    said: tempfile::NamedTempFile,
}

impl Reader {
    pub fn start(at: &Databases, query: &'static str) -> Reader {
        let said = tempfile::NamedTempFile::new().expect("a file");
        let mut client = at.servers.client("mariadb", SideName::New);
        client.args(["--batch", "--skip-column-names", "--unbuffered", &at.name]).stdin(Stdio::piped());
        let mut client = client.stdout(said.reopen().expect("a file")).spawn().expect("mariadb");
        let mut asks = client.stdin.take().expect("a pipe");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        // A client that ended, because a query failed, takes no more.
        let feeding =
            std::thread::spawn(move || while !stopped.load(Ordering::Relaxed) && writeln!(asks, "{query}").is_ok() {});
        Reader { client, feeding, stop, said }
    }

    /// What it was answered.
    pub fn stop(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.feeding.join().expect("it feeds");
        assert!(self.client.wait().expect("mariadb").success(), "a query failed");
        std::fs::read_to_string(self.said.path()).expect("a file").lines().map(String::from).collect()
    }
}
