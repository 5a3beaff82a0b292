//! A migration: a plan with its lock and its state. Each verb is a method, in a file of its own; what they share to call
//! phases is in `work.rs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rehome_gatekeeper::Clock;
use rehome_gatekeeper::types::Stage;

use crate::approval::Approval;
use crate::error::{Error, UsageError};
use crate::lock::Lock;
use crate::phases::{Loader, Phase, Places, resolve};
use crate::plan::Plan;
use crate::state::State;

/// What a migration needs to know of the process it runs in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// where components are looked for
    pub places: Places,
    /// who works here: "root@new"
    pub who: String,
    /// for tests: gates compare against a clock that is this much ahead
    pub clock_ahead: Duration,
    /// for tests: where the files of a machine begin that rehome itself reads and writes there, old and new; "" otherwise
    pub roots: [PathBuf; 2],
}

/// A plan with its lock and its state.
pub struct Migration {
    pub(crate) plan: Plan,
    pub(crate) state: State,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<Clock>,
}

impl Settings {
    /// Those of this process; `REHOME_CLOCK_AHEAD` (seconds, for tests) moves the clock.
    pub fn of_process() -> Settings {
        let ahead = std::env::var("REHOME_CLOCK_AHEAD").ok().and_then(|text| text.parse().ok()).unwrap_or_default();
        let (places, clock_ahead) = (Places::of_process(), Duration::from_secs(ahead));
        Settings { places, who: crate::who::who(), clock_ahead, roots: Default::default() }
    }
}

impl Migration {
    /// Reads the plan at `path`. Nothing is made, nothing is reached.
    ///
    /// # Errors
    /// The plan cannot be read, or is refused.
    pub fn open(path: &Path, settings: Settings) -> Result<Migration, Error> {
        let plan = Plan::read(path)?;
        let clock = Arc::new(Clock::ahead_by(settings.clock_ahead));
        Ok(Migration { state: State::beside(path), plan, settings, clock })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The state's folder.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The lock file.
    pub fn lock_path(&self) -> PathBuf {
        Lock::beside(self.plan.path())
    }

    /// Every phase with its component.
    ///
    /// # Errors
    /// A component is missing or broken, or the plan's config does not fit it.
    pub fn phases(&self, loader: &dyn Loader) -> Result<Vec<Phase>, Error> {
        resolve(&self.plan, &self.settings.places, loader)
    }

    /// What the phases ask for, against what is approved.
    ///
    /// # Errors
    /// As [`Migration::phases`]; or the lock cannot be read.
    pub fn approval(&self, loader: &dyn Loader) -> Result<Approval, Error> {
        let phases = self.phases(loader)?;
        let path = self.lock_path();
        Ok(Approval::of(&self.plan, &phases, Lock::read(&path)?, &path))
    }

    /// Grants everything `approval` shows, but for `less`. Answers how many requests are granted, and how many are not.
    ///
    /// # Errors
    /// As [`Approval::grant`].
    pub fn approve(&self, approval: &Approval, less: &crate::Less) -> Result<(usize, usize), Error> {
        approval.grant(less, &self.settings.who, self.clock.now())
    }

    /// Refuses a phase that the plan does not have, naming the nearest.
    pub(crate) fn known_phase(&self, id: &str) -> Result<(), UsageError> {
        match self.plan.phase(id) {
            Some(_) => Ok(()),
            None => Err(UsageError::unknown("phase", id, self.plan.phases.iter().map(|phase| phase.id.as_str()))),
        }
    }
}

/// Whether a phase is within what the command line asks for.
pub(crate) fn within(stage: Stage, until: Option<Stage>) -> bool {
    until.is_none_or(|until| stage <= until)
}
