//! A walk through the whole contract: each function is denied where nothing is granted, refused under a verb that only reads
//! where it would change something, and in the journal after it ran. The functions are read from `wit/`: one that is new
//! there and has no row here fails this test.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use rehome_gatekeeper::journal::{Effect, State};
use rehome_gatekeeper::types::{Closeness, Failure, Level, Settlement, SideName, Verb};
use rehome_gatekeeper::{Clock, DatabasePlace, Host, Journal, Scope, Session, SideSpec};
use rehome_manifest::{Config, Manifest, fill};
use rehome_remote::{Options, Target};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use wit_parser::{WorldItem, WorldKey};

use rehome_hostile::guest::contract;

/// Every kind of request that there is.
const MANIFEST: &str = r#"
name = "walker"
version = "0.1.0"
api = "0.1"
about = "Asks for one of everything"

[exec.look]
on = ["new"]
argv = ["true"]
effect = "read"

[exec.change]
on = ["new"]
argv = ["touch", "WORLD/made-by-exec"]
effect = "repeatable"
reason = "a test"

[exec.rows]
on = ["new"]
argv = ["touch", "WORLD/made-by-rows"]
rows = "{what: text from exec.source}"
effect = "repeatable"
reason = "a test"

[exec.source]
on = ["new"]
argv = ["echo", "x"]
effect = "read"
yields = "lines"

[exec.sink]
on = ["new"]
argv = ["touch", "WORLD/made-by-pipe"]
effect = "repeatable"
reason = "a test"

[pipe.both]
source = "source on new"
sink = "sink on new"
effect = "repeatable"
reason = "a test"

[tree.data]
on = ["old", "new"]
path = "WORLD/data"
access = "read"

[tree.names]
on = ["new"]
path = "WORLD/data"
access = "list"

[sync.data]
tree = "data"
to = "new"
into = "WORLD/copied"
from = "new"
reason = "a test"

[file.note]
on = ["new"]
path = "WORLD/data/note"
mode = "0644"
owner = "OWNER"
text = "hello"
reason = "a test"

[aside.some]
on = ["new"]
tree = "data"
names = ["kept"]
reason = "a test"

[schema.mail]
on = ["new"]
database = "mail"

[sql.users]
on = ["new"]
database = "mail"
text = "SELECT name FROM users"
effect = "read"

[sql.add]
on = ["new"]
database = "mail"
text = "INSERT INTO users (name) VALUES ('added')"
effect = "repeatable"
reason = "a test"

[copy.users]
database = "mail"
kind = "rows"
effect = "repeatable"
reason = "a test"
[[copy.users.step]]
table = "users"
delete = "DELETE FROM users"
select = "SELECT name FROM users"
insert = "INSERT INTO users (name) VALUES (:name)"

[snapshot.mail]
on = ["new"]
database = "mail"
reason = "a test"

[redis-copy.keys]
databases = [0]
patterns = ["*"]
reason = "a test"

[lookup.mx]
owner = "example.org"
kind = "MX"

[record.mail]
owner = "mail.example.org"
kind = "A"
data = ["192.0.2.1"]
key = "dns"
reason = "a test"

[question.go]
kind = "confirm"
about = "go on"

[question.which]
kind = "choose"
about = "which"

[question.later]
kind = "wait"
about = "wait"
"#;

/// What a function needs.
#[derive(Clone, Copy, PartialEq)]
enum Needs {
    /// nothing: it reaches no side
    Nothing,
    /// nothing, and not a verb that only reads: it writes rehome's own record
    Record,
    /// this request, which only reads, or asks
    Reads(&'static str),
    /// this request, which changes something
    Changes(&'static str),
}

use Needs::{Changes, Nothing, Reads, Record};

/// Calls a function of the contract by its name; one that changes and one that reads, where it does both.
async fn call(session: &Session, function: &str) -> Vec<(Needs, Result<(), Failure>)> {
    const NEW: SideName = SideName::New;
    let one = |needs: Needs, outcome: Result<(), Failure>| vec![(needs, outcome)];
    match function {
        "clock.now" | "clock.elapsed" | "clock.random" | "report.log" | "report.progress" => {
            match function {
                "clock.now" => _ = session.now(),
                "clock.elapsed" => _ = session.elapsed(),
                "clock.random" => _ = session.random(4),
                "report.log" => session.log(Level::Info, "walking"),
                _ => session.progress(1, None, "walking"),
            }
            one(Nothing, Ok(()))
        }
        "clock.sleep" => one(Nothing, session.sleep(1).await),
        "journal.recall" => one(Nothing, session.recall("key").await.map(drop)),
        "journal.remember" => one(Record, session.remember("key", b"value").await),
        "journal.settle" => one(Record, session.settle(4711, Settlement::Done).await),
        "exec.run" => vec![
            (Reads("exec.look"), session.run("look", NEW, &[]).await.map(drop)),
            (Changes("exec.change"), session.run("change", NEW, &[]).await.map(drop)),
        ],
        "exec.run-each" => {
            let each = session.run_each("change", NEW, &[vec![]]).await;
            one(Changes("exec.change"), each.and_then(|each| each.into_iter().try_for_each(|one| one.map(drop))))
        }
        "exec.run-with-rows" => one(Changes("exec.rows"), session.run_with_rows("rows", NEW, &[], &[]).await.map(drop)),
        "exec.pipe" => one(Changes("pipe.both"), session.pipe("both").await.map(drop)),
        "files.sync" => one(Changes("sync.data"), session.sync("data").await.map(drop)),
        "files.compare" => one(Reads("sync.data"), session.compare_files("data", Closeness::Metadata).await.map(drop)),
        "files.touched" => one(Reads("tree.data"), session.touched("data", None).await.map(drop)),
        "files.list" => one(Reads("tree.data"), session.list("data", NEW, b"", 1).await.map(drop)),
        "files.read" => one(Reads("tree.data"), session.read("data", NEW, b"kept").await.map(drop)),
        "files.free" => one(Reads("tree.data"), session.free_space("data", NEW).await.map(drop)),
        "files.put" => one(Changes("file.note"), session.put("note", NEW, &[]).await),
        "files.restore" => one(Changes("file.note"), session.restore_file("note", NEW).await),
        "files.set-aside" => {
            one(Changes("aside.some"), session.set_aside("some", NEW, &[b"".to_vec()]).await.map(drop))
        }
        "sql.describe" => one(Reads("schema.mail"), session.describe("mail", NEW).await.map(drop)),
        "sql.query" => one(Reads("sql.users"), session.query("users", NEW, &[]).await.map(drop)),
        "sql.execute" => one(Changes("sql.add"), session.execute("add", NEW, &[]).await.map(drop)),
        "sql.copy" => one(Changes("copy.users"), session.copy("users").await.map(drop)),
        "sql.compare" => one(Reads("copy.users"), session.compare_rows("users").await.map(drop)),
        "sql.snapshot" => one(Changes("snapshot.mail"), session.snapshot("mail", NEW).await.map(drop)),
        "sql.restore" => one(Changes("snapshot.mail"), session.restore_snapshot("mail", NEW, "none").await),
        "redis.server-version" => one(Reads("redis-copy.keys"), session.redis_version("keys", NEW).await.map(drop)),
        "redis.copy" => one(Changes("redis-copy.keys"), session.redis_copy("keys").await.map(drop)),
        "redis.count" => one(Reads("redis-copy.keys"), session.redis_count("keys", NEW).await.map(drop)),
        "redis.compare" => one(Reads("redis-copy.keys"), session.redis_compare("keys").await.map(drop)),
        "redis.restore" => one(Changes("redis-copy.keys"), session.redis_restore("keys").await.map(drop)),
        "dns.look-up" => one(Reads("lookup.mx"), session.look_up("mx", &[]).await.map(drop)),
        "dns.planned" => one(Reads("record.mail"), session.planned("mail", &[]).await.map(drop)),
        "dns.update" => one(Changes("record.mail"), session.update("mail", &[], None).await.map(drop)),
        "dns.restore" => one(Changes("record.mail"), session.restore_record("mail", &[]).await),
        "operator.confirm" => one(Reads("question.go"), session.confirm("go", "go on?").await.map(drop)),
        "operator.choose" => {
            one(Reads("question.which"), session.choose("which", "which?", &["a".into()]).await.map(drop))
        }
        "operator.wait-until" => one(Reads("question.later"), session.wait_until("later", 1).await),
        other => {
            panic!("`{other}` is new in the contract, and nothing here shows that it is denied, refused and recorded")
        }
    }
}

/// Every function of the contract, as `exec.run`.
fn functions() -> Vec<String> {
    let (resolve, world) = contract();
    let mut names = Vec::new();
    for (key, item) in &resolve.worlds[world].imports {
        let (WorldKey::Interface(_), WorldItem::Interface { id, .. }) = (key, item) else { continue };
        let interface = &resolve.interfaces[*id];
        let named = interface.name.as_deref().expect("interfaces of a package have names");
        names.extend(interface.functions.keys().map(|function| format!("{named}.{function}")));
    }
    assert!(names.len() > 30, "{names:?}");
    names
}

/// Both sides are this machine; everything that requests name is in a folder of the test's own. There is no Redis and no
/// name server: their functions fail, and that is in the journal.
struct World {
    folder: tempfile::TempDir,
    journal: Arc<Journal>,
    host: Arc<Host>,
}

impl World {
    async fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        for name in ["data", "copied", "state"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("data/kept"), "kept").unwrap();
        let mut sides = Vec::new();
        for name in ["old.db", "new.db"] {
            let file = folder.path().join(name);
            let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
            let mut database = options.connect().await.unwrap();
            sqlx::query("CREATE TABLE users (name TEXT)").execute(&mut database).await.unwrap();
            database.close().await.unwrap();
            sides.push(SideSpec {
                target: Target::Local,
                options: Options { control_dir: folder.path().join("c"), ..Options::default() },
                databases: BTreeMap::from([("mail".into(), DatabasePlace::Sqlite { path: file })]),
                redis: Default::default(),
            });
        }
        let (new, old) = (sides.remove(1), sides.remove(0));
        let state = folder.path().join("state");
        let journal = Arc::new(Journal::open(&state).await.unwrap());
        let host = Host::new(old, new, journal.clone(), Arc::new(()), Arc::new(Clock::default()), &state);
        World { folder, journal, host }
    }

    /// `granted`: everything that the manifest asks for, or nothing.
    fn session(&self, verb: Verb, granted: bool) -> Session {
        let owner = format!("{}:{}", rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let text = MANIFEST.replace("WORLD", &self.folder.path().display().to_string()).replace("OWNER", &owner);
        let manifest = Manifest::parse(&text).unwrap();
        let config = Config::check(&manifest, &toml::Table::new()).unwrap();
        let filled = Arc::new(fill(&manifest, config).unwrap());
        let scope =
            Scope { phase: "walk".into(), component: "walker".into(), run: 1, verb, approve: "rehome approve".into() };
        let grants = if granted { filled.requests.keys().cloned().collect() } else { Default::default() };
        Session::new(self.host.clone(), scope, filled, grants)
    }

    /// What the journal has gained, and forgets for the next look.
    async fn recorded(&self, before: usize) -> Vec<Effect> {
        self.journal.effects_of(None).await.unwrap().split_off(before)
    }

    /// Everything that requests could change.
    fn content(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut waiting = vec![self.folder.path().to_path_buf()];
        while let Some(folder) = waiting.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                match entry.path() {
                    path if path.ends_with("state") || path.ends_with("c") => {}
                    path if path.is_dir() => waiting.push(path),
                    path => _ = found.insert(path.clone(), std::fs::read(&path).unwrap()),
                }
            }
        }
        found
    }

    /// Each function in a session of its own: what it needs, how it ended, what was recorded of it.
    async fn walk(&self, verb: Verb, granted: bool) -> Vec<(String, Needs, Result<(), Failure>, Vec<Effect>)> {
        let mut walked = Vec::new();
        for function in functions() {
            let before = self.journal.effects_of(None).await.unwrap().len();
            let calls = call(&self.session(verb, granted), &function).await;
            let recorded = self.recorded(before).await;
            for (needs, outcome) in calls {
                walked.push((function.clone(), needs, outcome, recorded.clone()));
            }
        }
        walked
    }
}

fn has(recorded: &[Effect], request: &str, states: &[State]) -> bool {
    recorded.iter().any(|effect| effect.key.request == request && states.contains(&effect.state))
}

#[tokio::test]
async fn what_is_not_granted_is_denied_and_recorded_and_changes_nothing() {
    let world = World::new().await;
    let before = world.content();
    for (function, needs, outcome, recorded) in world.walk(Verb::Apply, false).await {
        match needs {
            Nothing | Record => {}
            Reads(request) | Changes(request) => {
                assert!(matches!(outcome, Err(Failure::Denied(_))), "{function}: {outcome:?}");
                assert!(has(&recorded, request, &[State::Refused]), "{function}: {recorded:?}");
            }
        }
    }
    assert_eq!(world.content(), before);
}

#[tokio::test]
async fn what_would_change_something_is_refused_under_a_verb_that_only_reads_and_recorded() {
    let world = World::new().await;
    let before = world.content();
    for verb in [Verb::Check, Verb::Preview, Verb::Verify] {
        for (function, needs, outcome, recorded) in world.walk(verb, true).await {
            let request = match needs {
                Nothing | Reads(_) => continue,
                Record => function.as_str(),
                Changes(request) => request,
            };
            assert!(matches!(outcome, Err(Failure::ReadOnly(_))), "{function} under {verb}: {outcome:?}");
            assert!(has(&recorded, request, &[State::Refused]), "{function} under {verb}: {recorded:?}");
        }
    }
    assert_eq!(world.content(), before);
}

#[tokio::test]
async fn what_ran_is_in_the_journal_with_how_it_ended() {
    let world = World::new().await;
    for (function, needs, outcome, recorded) in world.walk(Verb::Apply, true).await {
        let (Reads(request) | Changes(request)) = needs else { continue };
        assert!(!matches!(outcome, Err(Failure::Denied(_) | Failure::ReadOnly(_))), "{function}: {outcome:?}");
        let state = if outcome.is_ok() { [State::Done, State::Done] } else { [State::Failed, State::Unknown] };
        assert!(has(&recorded, request, &state), "{function} ended {outcome:?} and the journal has {recorded:?}");
    }
    let made = |name: &str| world.folder.path().join(name).exists();
    assert!(made("made-by-exec") && made("made-by-rows") && made("made-by-pipe") && made("copied/kept"));
}

#[tokio::test]
async fn a_tree_that_may_be_listed_is_not_read_and_that_is_recorded() {
    let world = World::new().await;
    let session = world.session(Verb::Check, true);
    assert!(session.list("names", SideName::New, b"", 1).await.is_ok());
    let read = session.read("names", SideName::New, b"kept").await;
    assert!(matches!(read, Err(Failure::Denied(_))), "{read:?}");
    let recorded = world.recorded(0).await;
    assert!(has(&recorded, "tree.names", &[State::Failed]), "{recorded:?}");
}
