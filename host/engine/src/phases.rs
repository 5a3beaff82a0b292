//! From the plan's phases to components: where a component's file is, what it asks for with the plan's config filled in.
//! Invariant: the bytes that were hashed are the bytes that are loaded; a file is read once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rehome_gatekeeper::Component;
use rehome_manifest::{Config, Filled, Manifest, fill};
use sha2::{Digest, Sha256};

use crate::error::{Error, Explanation};
use crate::plan::{PhasePlan, Plan, PlanError, below};
use crate::publisher::{self, Signed};

/// Makes components of files. `host/runtime` for wasm; plain Rust in tests.
pub trait Loader: Send + Sync {
    /// A look at a component's file. Nothing of the component runs.
    ///
    /// # Errors
    /// It is no component, has no manifest, or one that could not be obeyed to the letter.
    fn look(&self, bytes: &[u8]) -> Result<Looked, LoadFailed>;

    /// The component, ready to be called. May take seconds.
    ///
    /// # Errors
    /// It is no component of this contract.
    fn load(&self, bytes: &[u8]) -> Result<Arc<dyn Component>, LoadFailed>;
}

/// What can be known of a component without running it.
#[derive(Clone, Debug)]
pub struct Looked {
    /// what it asks for
    pub manifest: Manifest,
    /// what an operator should know: requests it has no import for, and the reverse; a sentence each
    pub remarks: Vec<String>,
}

/// Why a file is no component that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct LoadFailed {
    /// one line or more
    pub why: String,
    /// what to do
    pub hint: Option<String>,
}

/// Folders where components are looked for after the plan's own.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// `$REHOME_COMPONENTS`
    pub environment: Option<PathBuf>,
    /// the folder of the running executable
    pub executable: Option<PathBuf>,
}

/// A phase with its component.
#[derive(Clone, Debug)]
pub struct Phase {
    /// as the plan has it
    pub plan: PhasePlan,
    /// the component's file
    pub file: PathBuf,
    /// `sha256:…` of the file
    pub digest: String,
    /// what it asks for, config filled in
    pub filled: Arc<Filled>,
    /// who vouches for it
    pub signed: Signed,
    /// where its requests and its imports do not fit together
    pub remarks: Vec<String>,
    bytes: Arc<Vec<u8>>,
}

/// A component that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("component `{name}` cannot be used: {}", path.display())]
pub struct ComponentError {
    /// as the plan names it
    pub name: String,
    /// its file
    pub path: PathBuf,
    /// why
    pub source: LoadFailed,
}

impl Places {
    /// Those of this process, as they were when it was first asked: absolute, wherever it goes later.
    pub fn of_process() -> Places {
        static PLACES: std::sync::OnceLock<Places> = std::sync::OnceLock::new();
        let look = || {
            let executable = std::env::current_exe().ok().and_then(|exe| exe.canonicalize().ok());
            let environment = std::env::var_os("REHOME_COMPONENTS").filter(|folder| !folder.is_empty());
            Places {
                environment: environment.and_then(|folder| std::path::absolute(folder).ok()),
                executable: executable.and_then(|exe| exe.parent().map(Path::to_path_buf)),
            }
        };
        PLACES.get_or_init(look).clone()
    }

    fn folders(&self, plan: &Plan) -> Vec<PathBuf> {
        let mut folders = plan.components.clone();
        folders.push(below(plan.folder(), Path::new("components")));
        folders.extend(self.environment.clone());
        if let Some(beside) = &self.executable {
            folders.push(beside.join("components"));
            if let Some(above) = beside.parent() {
                folders.extend(["components", "lib/rehome/components"].map(|name| above.join(name)));
            }
        }
        let mut seen = Vec::new();
        folders.retain(|folder| {
            !seen.contains(folder) && {
                seen.push(folder.clone());
                true
            }
        });
        folders
    }

    /// The file of a phase's component.
    fn find(&self, plan: &Plan, phase: &PhasePlan) -> Result<PathBuf, PlanError> {
        let name = &phase.component;
        let is_path = name.contains('/') || name.ends_with(".wasm");
        let candidates: Vec<PathBuf> = if is_path {
            vec![below(plan.folder(), Path::new(name))]
        } else {
            self.folders(plan).iter().map(|folder| folder.join(format!("{name}.wasm"))).collect()
        };
        if let Some(found) = candidates.iter().find(|candidate| candidate.is_file()) {
            return Ok(found.clone());
        }
        let mut refused =
            plan.refuse(&phase.spans.component, format!("phase `{}`: there is no component `{name}`", phase.id));
        for candidate in &candidates {
            refused = refused.more(format!("not there: {}", candidate.display()));
        }
        let hint = if is_path {
            "build it (`rehome phase build`), or correct the path".to_string()
        } else {
            format!(
                "put {name}.wasm into a folder named by `components` under [migration], or by REHOME_COMPONENTS; \
                 in a checkout of rehome, `cargo xtask build` builds those that come with it"
            )
        };
        Err(refused.hint(hint).into())
    }
}

/// A component's file, read once however many phases it does.
struct Read {
    bytes: Arc<Vec<u8>>,
    digest: String,
    looked: Looked,
    signed: Signed,
}

/// Every phase of a plan with its component, in the plan's order.
///
/// # Errors
/// A component is missing or broken, or the plan's config does not fit it: with the plan's line.
pub fn resolve(plan: &Plan, places: &Places, loader: &dyn Loader) -> Result<Vec<Phase>, Error> {
    let mut read: HashMap<PathBuf, Read> = HashMap::new();
    let mut phases = Vec::with_capacity(plan.phases.len());
    for phase in &plan.phases {
        let file = places.find(plan, phase)?;
        if !read.contains_key(&file) {
            let broken = |source| ComponentError { name: phase.component.clone(), path: file.clone(), source };
            let bytes =
                std::fs::read(&file).map_err(|error| broken(LoadFailed { why: error.to_string(), hint: None }))?;
            let looked = loader.look(&bytes).map_err(broken)?;
            let (digest, signed) = (digest(&bytes), publisher::look(&file, &bytes, &plan.publishers));
            read.insert(file.clone(), Read { bytes: Arc::new(bytes), digest, looked, signed });
        }
        let Read { bytes, digest, looked, signed } = &read[&file];
        vouched(phase, &file, signed)?;
        let filled = filled(plan, phase, &looked.manifest)?;
        let (bytes, digest, filled) = (bytes.clone(), digest.clone(), Arc::new(filled));
        let (signed, remarks) = (signed.clone(), looked.remarks.clone());
        phases.push(Phase { plan: phase.clone(), file, digest, filled, signed, remarks, bytes });
    }
    Ok(phases)
}

/// Refuses a component that is not signed by whom the plan says.
fn vouched(phase: &PhasePlan, file: &Path, signed: &Signed) -> Result<(), ComponentError> {
    let Some(wanted) = &phase.publisher else { return Ok(()) };
    let found = match signed {
        Signed::By(publisher) if publisher.name == *wanted => return Ok(()),
        Signed::By(publisher) => format!("it is signed by `{}`", publisher.name),
        Signed::No => format!("there is no {}", publisher::signature_of(file).display()),
        Signed::Not(doubt) => doubt.to_string(),
    };
    let why = format!("phase `{}` is to be signed by `{wanted}`: {found}", phase.id);
    let hint = "get the component and its signature again from its publisher; nothing of it was run".to_string();
    let source = LoadFailed { why, hint: Some(hint) };
    Err(ComponentError { name: phase.component.clone(), path: file.to_path_buf(), source })
}

fn filled(plan: &Plan, phase: &PhasePlan, manifest: &Manifest) -> Result<Filled, PlanError> {
    let config = Config::check(manifest, &phase.config).map_err(|error| {
        let at = phase.spans.config.get(error.key()).unwrap_or(&phase.spans.whole);
        let mut refused = plan.refuse(at, format!("phase `{}`: {error}", phase.id));
        let known = manifest.config.keys().map(String::as_str);
        if !phase.spans.config.contains_key(error.key()) {
            refused = refused.hint(format!("set it under [phase.config]: {} = …", error.key()));
        } else if let Some(near) = crate::nearest::nearest(error.key(), known).filter(|near| *near != error.key()) {
            refused = refused.hint(format!("did you mean `{near}`?"));
        }
        refused
    })?;
    for (key, declared) in &manifest.config {
        let named = config.get(key).filter(|_| declared.kind == "secret").and_then(|value| value.texts.first());
        if let Some(name) = named.filter(|name| !plan.services.secrets.contains_key(*name)) {
            let at = phase.spans.config.get(key).unwrap_or(&phase.spans.whole);
            let what = format!("phase `{}`: config key `{key}`: the plan has no secret `{name}`", phase.id);
            let hint = format!("name its file in the plan: [secret.{name}] with file = \"/root/{name}\" (mode 0600)");
            return Err(plan.refuse(at, what).hint(hint).into());
        }
    }
    fill(manifest, config).map_err(|error| {
        let what =
            format!("phase `{}`: with this config, component `{}` asks for what cannot be", phase.id, manifest.name);
        plan.refuse(&phase.spans.component, what).more(error.to_string()).into()
    })
}

impl Phase {
    /// Its id in the plan.
    pub fn id(&self) -> &str {
        &self.plan.id
    }

    /// "maildir 0.1.0".
    pub fn component(&self) -> String {
        format!("{} {}", self.filled.manifest.name, self.filled.manifest.version)
    }

    /// The component, ready to be called.
    pub(crate) fn load(&self, loader: &dyn Loader) -> Result<Arc<dyn Component>, ComponentError> {
        loader.load(&self.bytes).map_err(|source| ComponentError {
            name: self.plan.component.clone(),
            path: self.file.clone(),
            source,
        })
    }
}

impl ComponentError {
    pub(crate) fn explain(&self) -> Explanation {
        let explanation = Explanation::of(self.to_string()).line(&self.source.why);
        explanation.hint(self.source.hint.clone().unwrap_or_else(|| {
            format!(
                "build or fetch it again; `rehome phase inspect {}` shows what can be read of it",
                self.path.display()
            )
        }))
    }
}

/// `sha256:…` of a component's file.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::from("sha256:"), |text, byte| format!("{text}{byte:02x}"))
}

/// A digest as messages show it: enough to tell two apart.
pub fn short(digest: &str) -> &str {
    digest.get(..("sha256:".len() + 12)).unwrap_or(digest)
}
