//! The plan: the file the operator owns. What is here is checked as far as a plan alone can be; what depends on a
//! component's manifest is checked in `phases.rs`. Invariant: every refusal names file, line and column. Reading: `read.rs`.

mod database;
mod error;
mod raw;
mod read;
mod services;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rehome_gatekeeper::types::{SideName, Stage};
use rehome_gatekeeper::{DatabasePlace, RedisPlace, Services, SideSpec};
use rehome_remote::{Options, Target};

use crate::publisher::Publishers;

pub use error::PlanError;

/// A plan, read and checked.
#[derive(Clone, Debug)]
pub struct Plan {
    /// what the operator calls the migration
    pub name: String,
    /// where everything is
    pub old: SidePlan,
    /// where everything goes
    pub new: SidePlan,
    /// name servers and secrets
    pub services: Services,
    /// whose signatures mean something
    pub publishers: Publishers,
    /// in their order
    pub phases: Vec<PhasePlan>,
    /// folders where components are looked for first, absolute or relative to where rehome was started
    pub components: Vec<PathBuf>,
    /// the text it was read from, to point into
    source: Source,
}

/// How a side is reached and where its databases are.
#[derive(Clone, Debug)]
pub struct SidePlan {
    /// this machine, ssh, or a folder
    pub target: Target,
    /// of ssh and sudo
    pub options: Options,
    /// those that are not where Debian puts them
    pub databases: BTreeMap<String, DatabasePlace>,
    /// where Redis is
    pub redis: RedisPlace,
}

/// One phase as the plan has it.
#[derive(Clone, Debug)]
pub struct PhasePlan {
    /// unique in the plan: letters, digits, hyphens
    pub id: String,
    /// a name, or a path to a `.wasm`
    pub component: String,
    /// where it stands
    pub stage: Stage,
    /// who must have signed its component; none: that need not be known
    pub publisher: Option<String>,
    /// the operator's words about it
    pub about: Option<String>,
    /// as written; the manifest says what is allowed
    pub config: toml::Table,
    /// where things are in the file
    pub(crate) spans: PhaseSpans,
}

/// Where things of a phase are in the plan's text, in bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct PhaseSpans {
    pub(crate) whole: Range<usize>,
    pub(crate) component: Range<usize>,
    pub(crate) config: BTreeMap<String, Range<usize>>,
}

/// A file's text, to show lines of it.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Plan {
    /// Reads the plan at `path`.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, or says something that a plan cannot say: with file, line and column.
    pub fn read(path: &Path) -> Result<Plan, PlanError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| PlanError::Unreadable { path: path.to_path_buf(), source })?;
        Plan::parse(path, &text)
    }

    /// Reads a plan from text; `path` is what messages call it, and what its relative paths are relative to.
    ///
    /// # Errors
    /// As [`Plan::read`].
    pub fn parse(path: &Path, text: &str) -> Result<Plan, PlanError> {
        read::plan(Source { path: path.to_path_buf(), text: text.to_string() })
    }

    /// The file it was read from.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// The folder that its relative paths are relative to.
    pub fn folder(&self) -> &Path {
        folder_of(&self.source.path)
    }

    /// A side of it.
    pub fn side(&self, side: SideName) -> &SidePlan {
        match side {
            SideName::Old => &self.old,
            SideName::New => &self.new,
        }
    }

    /// The phase with this id.
    pub fn phase(&self, id: &str) -> Option<&PhasePlan> {
        self.phases.iter().find(|phase| phase.id == id)
    }

    /// An error that points into this plan.
    pub(crate) fn refuse(&self, at: &Range<usize>, what: impl Into<String>) -> error::Refused {
        error::Refused::at(&self.source, at.clone(), what)
    }
}

impl SidePlan {
    /// As the gatekeeper takes it.
    pub fn spec(&self) -> SideSpec {
        SideSpec {
            target: self.target.clone(),
            options: self.options.clone(),
            databases: self.databases.clone(),
            redis: self.redis.clone(),
        }
    }
}

/// `path`, relative to `folder`, without a leading or inner `.`.
pub(crate) fn below(folder: &Path, path: &Path) -> PathBuf {
    let all = folder.join(path);
    let tidy: PathBuf = all.components().filter(|part| *part != std::path::Component::CurDir).collect();
    if tidy.as_os_str().is_empty() { PathBuf::from(".") } else { tidy }
}

/// The folder of a file; `.` for a bare name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
