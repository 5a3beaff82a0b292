//! Two folders as sides, a manifest, a journal; and what the tests ask of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use rehome_gatekeeper::types::{Failure, SideName, SqlDifference, SqlValue, Verb};
use rehome_gatekeeper::{Clock, DatabasePlace, Host, Journal, Scope, Services, Session, SideSpec};
use rehome_manifest::{Config, Filled, Manifest, fill};
use rehome_remote::{Options, Target};

/// Where a database is, and in which folder its side is.
#[derive(Clone)]
pub struct Spot {
    pub folder: PathBuf,
    pub place: DatabasePlace,
}

pub struct Lab {
    folder: tempfile::TempDir,
    pub journal: Arc<Journal>,
    filled: Arc<Filled>,
    old: Spot,
    new: Spot,
    database: String,
    services: Services,
}

impl Lab {
    /// `requests` is the manifest but its head; `DB` in it is the database.
    pub async fn new(requests: &str, database: &str, old: Spot, new: Spot) -> Lab {
        let head = "name = \"probe\"\nversion = \"0.1.0\"\napi = \"0.1\"\nabout = \"tries databases\"\n";
        let manifest =
            Manifest::parse(&format!("{head}{}", requests.replace("DB", database))).expect("a good manifest");
        let filled = fill(&manifest, Config::default()).expect("nothing to fill");
        Lab::of(filled, database, old, new).await
    }

    /// The requests of a phase of this workspace, with what a plan would set.
    pub async fn of_phase(phase: &str, config: &toml::Table, database: &str, old: Spot, new: Spot) -> Lab {
        let path = format!("{}/../../plugins/{phase}/manifest.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("the manifest of a phase");
        let manifest = Manifest::parse(&text).expect("a good manifest");
        let config = Config::check(&manifest, config).expect("a good config");
        Lab::of(fill(&manifest, config).expect("a config that fits"), database, old, new).await
    }

    async fn of(filled: Filled, database: &str, old: Spot, new: Spot) -> Lab {
        let filled = Arc::new(filled);
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("state")).expect("a folder");
        let journal = Arc::new(Journal::open(&folder.path().join("state")).await.expect("a journal"));
        Lab { folder, journal, filled, old, new, database: database.into(), services: Services::default() }
    }

    /// A secret of the plan, in a file that nobody else may read.
    pub fn keep_secret(&mut self, name: &str, holds: &str) {
        let path = self.folder.path().join(name);
        std::fs::write(&path, format!("{holds}\n")).expect("a file");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, mode).expect("a file of our own");
        self.services.secrets.insert(name.into(), path);
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub fn session(&self, verb: Verb, run: u32) -> Session {
        let spec = |spot: &Spot| SideSpec {
            target: Target::Folder(spot.folder.clone()),
            options: Options { control_dir: self.folder.path().join("control"), ..Options::default() },
            databases: BTreeMap::from([(self.database.clone(), spot.place.clone())]),
            redis: Default::default(),
        };
        let clock = Arc::new(Clock::default());
        let host = Host::with_services(
            spec(&self.old),
            spec(&self.new),
            self.journal.clone(),
            Arc::new(()),
            clock,
            (&self.state(), self.services.clone()),
        );
        let scope = Scope { phase: "p".into(), component: "probe".into(), run, verb, approve: "rehome approve".into() };
        let grants: BTreeSet<String> = self.filled.requests.keys().cloned().collect();
        Session::new(host, scope, self.filled.clone(), grants)
    }

    pub fn apply(&self) -> Session {
        self.session(Verb::Apply, 1)
    }

    /// Whether these bytes are anywhere in the journal.
    pub async fn journal_holds(&self, needle: &str) -> bool {
        self.journal.flush().await.expect("a journal");
        let files = std::fs::read_dir(self.state()).expect("a folder").flatten().map(|entry| entry.path());
        files.filter(|path| path.is_file()).any(|path| {
            let bytes = std::fs::read(path).expect("readable");
            bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
        })
    }
}

pub fn text(text: &str) -> SqlValue {
    SqlValue::Text(text.into())
}

pub fn difference(table: &str, old_rows: u64, new_rows: u64, equal: bool) -> SqlDifference {
    SqlDifference { table: table.into(), old_rows, new_rows, equal }
}

/// The words of a failure of which nothing else is expected.
pub fn ended_badly<T: std::fmt::Debug>(result: Result<T, Failure>) -> String {
    match result {
        Err(Failure::EndedBadly(tool)) => tool.diagnostic,
        other => panic!("not `ended-badly`: {other:?}"),
    }
}

pub const SIDES: [SideName; 2] = [SideName::Old, SideName::New];

/// Where a program is. Without it, the reason to skip is printed; in CI those of `needed` must be there.
pub fn program(name: &str, folders: &[PathBuf], needed: bool) -> Option<PathBuf> {
    let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        let ci = std::env::var("CI").is_ok_and(|value| value == "true");
        assert!(!(ci && needed), "CI=true, and {name} is not installed");
        println!("skipped: {name} is not installed");
    }
    found
}
