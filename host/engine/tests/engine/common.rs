//! A migration between two folders whose components are plain Rust: the file of a component is its manifest, its code a
//! closure of the test. Everything else is the real thing: plan, lock, journal, gatekeeper, sides.
use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rehome_engine::{Applied, ApplyScope, Cancel, Error, Event, Findings, Less, LoadFailed, Loader, Looked, Migration};
use rehome_engine::{Places, Settings, Sink};
use rehome_gatekeeper::types::{Answer, Context, Failure, Finding, Severity, Verb};
use rehome_gatekeeper::{CallError, Component, Session};
use rehome_manifest::Manifest;

pub type Called = Pin<Box<dyn Future<Output = Result<Answer, CallError>> + Send>>;
type Code = Arc<dyn Fn(Verb, Context, Arc<Session>) -> Called + Send + Sync>;

/// Components by the names in their manifests.
#[derive(Clone, Default)]
pub struct Components(BTreeMap<String, Code>);

impl Components {
    pub fn with<F, C>(mut self, name: &str, code: C) -> Components
    where
        F: Future<Output = Result<Answer, Failure>> + Send + 'static,
        C: Fn(Verb, Context, Arc<Session>) -> F + Send + Sync + 'static,
    {
        let code = Arc::new(code);
        let boxed: Code = Arc::new(move |verb, context, session| {
            let future = code(verb, context, session);
            Box::pin(async move { future.await.map_err(CallError::Failure) })
        });
        self.0.insert(name.into(), boxed);
        self
    }
}

struct Plain(Code);

#[async_trait::async_trait]
impl Component for Plain {
    async fn call(&self, verb: Verb, context: &Context, session: Arc<Session>) -> Result<Answer, CallError> {
        (self.0)(verb, context.clone(), session).await
    }
}

impl Loader for Components {
    fn look(&self, bytes: &[u8]) -> Result<Looked, LoadFailed> {
        let text = String::from_utf8_lossy(bytes);
        let failed = |why: String| LoadFailed { why, hint: None };
        let manifest = Manifest::parse(&text).map_err(|error| failed(error.to_string()))?;
        Ok(Looked { manifest, remarks: vec![] })
    }

    fn load(&self, bytes: &[u8]) -> Result<Arc<dyn Component>, LoadFailed> {
        let name = self.look(bytes)?.manifest.name;
        Ok(Arc::new(Plain(self.0[&name].clone())))
    }
}

/// What a component answers when it has nothing to say.
pub fn nothing(verb: Verb) -> Answer {
    match verb {
        Verb::Check | Verb::Verify => Answer::Findings(vec![]),
        Verb::Preview => Answer::Forecast(Default::default()),
        Verb::Apply | Verb::Undo => Answer::Done,
    }
}

pub fn blocker(text: &str) -> Finding {
    Finding {
        severity: Severity::Blocker,
        subject: "the disk".into(),
        text: text.into(),
        hint: Some("make room".into()),
    }
}

/// Writes `/note` on new under `apply`, through the gatekeeper.
pub fn writer(manifest_name: &str) -> String {
    format!(
        "name = \"{manifest_name}\"\nversion = \"0.1.0\"\napi = \"0.1\"\nabout = \"writes a note\"\n\
         [file.note]\non = [\"new\"]\npath = \"/data/note\"\nmode = \"0644\"\nowner = \"{}\"\ntext = \"hello\"\n\
         reason = \"a note\"\n[tree.data]\non = [\"new\"]\npath = \"/data\"\naccess = \"list\"\n",
        us()
    )
}

pub const ASKER: &str = "name = \"asker\"\nversion = \"0.1.0\"\napi = \"0.1\"\nabout = \"asks\"\n\
    [question.go]\nkind = \"confirm\"\nabout = \"whether to go on\"\n\
    [question.which]\nkind = \"choose\"\nabout = \"which ones\"\n\
    [question.quiet]\nkind = \"wait\"\nabout = \"until it is quiet\"\n";

/// Whoever runs the tests, as `USER:GROUP`.
fn us() -> String {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    format!("{uid}:{gid}")
}

/// Keeps what was called and what was told.
#[derive(Default)]
pub struct Heard(Mutex<Vec<Event>>);

impl Sink for Heard {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Heard {
    /// "apply mail-hot 1", in the order of calls.
    pub fn calls(&self) -> Vec<String> {
        let heard = self.0.lock().unwrap();
        let began = heard.iter().filter_map(|event| match event {
            Event::PhaseBegan { phase, verb, run, .. } => Some(format!("{verb} {phase} {run}")),
            _ => None,
        });
        began.collect()
    }
}

/// A folder with a plan, components, and two sides.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub components: Components,
    pub heard: Arc<Heard>,
    pub ahead: Duration,
    /// where the files of machines begin
    pub roots: [PathBuf; 2],
}

impl Bench {
    pub fn new(components: Components) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        for path in ["old/data", "new/data", "components"] {
            std::fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        let roots = Default::default();
        Bench { folder, components, heard: Arc::default(), ahead: Duration::ZERO, roots }
    }

    pub fn component(&self, name: &str, manifest: &str) {
        std::fs::write(self.path(&format!("components/{name}.wasm")), manifest).unwrap();
    }

    /// `phases`: id, component, stage.
    pub fn plan(&self, phases: &[(&str, &str, &str)]) {
        self.plan_for("[old]\nfolder = \"old\"\n[new]\nfolder = \"new\"\n", phases);
    }

    /// The same, between other sides.
    pub fn plan_for(&self, sides: &str, phases: &[(&str, &str, &str)]) {
        let mut text = format!("[migration]\nname = \"a test\"\n{sides}");
        for (id, component, stage) in phases {
            text.push_str(&format!("\n[[phase]]\nid = \"{id}\"\ncomponent = \"{component}\"\nstage = \"{stage}\"\n"));
        }
        std::fs::write(self.path("plan.toml"), text).unwrap();
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub fn migration(&self) -> Migration {
        let settings = Settings {
            places: Places::default(),
            who: "tester@here".into(),
            clock_ahead: self.ahead,
            roots: self.roots.clone(),
        };
        Migration::open(&self.path("plan.toml"), settings).unwrap()
    }

    pub fn loader(&self) -> Arc<dyn Loader> {
        Arc::new(self.components.clone())
    }

    pub fn approve(&self) {
        self.approve_less(&Less::default());
    }

    pub fn approve_less(&self, less: &Less) {
        let migration = self.migration();
        let approval = migration.approval(&self.components).unwrap();
        migration.approve(&approval, less).unwrap();
    }

    pub async fn apply(&self) -> Result<Applied, Error> {
        self.apply_scope(ApplyScope::default()).await
    }

    pub async fn apply_scope(&self, scope: ApplyScope) -> Result<Applied, Error> {
        self.migration().apply(&scope, self.loader(), self.heard.clone(), Cancel::never()).await
    }

    pub async fn check(&self) -> Result<Findings, Error> {
        self.migration().check(None, self.loader(), self.heard.clone(), Cancel::never()).await
    }

    pub async fn answer(&self, phase: &str, key: &str, values: &[&str]) -> Result<rehome_engine::Answered, Error> {
        let values: Vec<String> = values.iter().map(|value| value.to_string()).collect();
        self.migration().answer(phase, key, &values, &self.components).await
    }

    pub fn calls(&self) -> Vec<String> {
        self.heard.calls()
    }
}

/// An error as one text, as the terminal would have it.
pub fn told(error: &Error) -> String {
    let explanation = error.explain();
    let mut text = format!("error: {}\n", explanation.headline);
    for line in &explanation.context {
        text.push_str(&format!("  {line}\n"));
    }
    if let Some(hint) = &explanation.hint {
        text.push_str(&format!("hint: {hint}\n"));
    }
    text
}
