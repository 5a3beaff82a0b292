//! A real session: a journal on disk, two empty folders as sides, a manifest. All of it goes away with the value.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rehome_gatekeeper::types::{Context, Stage, Verb};
use rehome_gatekeeper::{Clock, Event, Host, Journal, Observer, Scope, Session, SideSpec};
use rehome_manifest::{Config, Manifest, fill};
use rehome_remote::{Options, Target};

/// One exec request and one question; what a test grants of them is its business.
const MANIFEST: &str = r#"
name = "guest"
version = "0.1.0"
api = "0.1"
about = "A phase of the runtime's own tests"

[exec.look]
on = ["old"]
argv = ["true"]
effect = "read"

[question.later]
kind = "wait"
about = "wait for a moment"
"#;

/// Keeps what the observer is told.
#[derive(Default)]
pub struct Seen(Mutex<Vec<Event>>);

impl Observer for Seen {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

/// A migration in a temporary folder.
pub struct Bench {
    host: Arc<Host>,
    seen: Arc<Seen>,
    _folder: tempfile::TempDir,
}

impl Bench {
    pub async fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let side = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            SideSpec {
                target: Target::Folder(path),
                options: Options::default(),
                databases: BTreeMap::new(),
                redis: Default::default(),
            }
        };
        let (old, new) = (side("old"), side("new"));
        let journal = Arc::new(Journal::open(folder.path()).await.unwrap());
        let seen = Arc::new(Seen::default());
        let host = Host::new(old, new, journal, seen.clone(), Arc::new(Clock::default()), folder.path());
        Bench { host, seen, _folder: folder }
    }

    /// A session for one call, with these requests granted.
    pub fn session(&self, verb: Verb, grants: &[&str]) -> Arc<Session> {
        let manifest = Manifest::parse(MANIFEST).unwrap();
        let config = Config::check(&manifest, &toml::Table::new()).unwrap();
        let filled = Arc::new(fill(&manifest, config).unwrap());
        let scope = Scope {
            phase: "one".into(),
            component: "guest".into(),
            run: 1,
            verb,
            approve: "rehome approve one".into(),
        };
        let grants = grants.iter().map(|id| (*id).to_string()).collect();
        Arc::new(Session::new(self.host.clone(), scope, filled, grants))
    }

    /// Lines of the report so far.
    pub fn lines(&self) -> Vec<String> {
        let events = self.seen.0.lock().unwrap();
        events
            .iter()
            .filter_map(|event| if let Event::Log { text, .. } = event { Some(text.clone()) } else { None })
            .collect()
    }
}

/// What a phase is told.
pub fn context(run: u32) -> Context {
    Context { phase: "one".into(), stage: Stage::Copy, run, config: "{}".into() }
}
