//! The two sides as machines: which they are (machine-id(5)), and whose they are (a record on each). Folders have neither.
//! Invariant: what a side says is compared with what the state knows before anything is changed there. The rules are in
//! `judge.rs`, claiming in `claim.rs`, a state that knows less than the sides do in `doubt.rs`.

mod claim;
mod doubt;
mod error;
mod judge;
mod record;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use rehome_gatekeeper::Journal;
use rehome_gatekeeper::types::SideName;
use rehome_remote::Side;
use serde::{Deserialize, Serialize};

pub(crate) use claim::{Claim, Claimant};
pub use doubt::{Doubt, Lost, Vouched};
pub use error::SidesError;
pub(crate) use judge::{machines_fit, may_be_rebuilt, may_claim, whose};
pub use record::{PhaseRecord, Place, Record};
pub(crate) use record::{Seen, look, swap};

use crate::error::Error;
use crate::migration::Migration;
use crate::plan::folder_of;

/// A side that is a machine, with its records as they were last seen.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) side: SideName,
    pub(crate) at: Side,
    /// "" but in tests
    pub(crate) root: PathBuf,
    pub(crate) seen: Seen,
}

/// A verb that changes the sides, from its claim until it has let go of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Working {
    /// "root@new"
    pub who: String,
    /// "apply"
    pub verb: String,
    /// UTC, seconds since 1970
    pub since: u64,
}

/// What the state knows of itself.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) id: String,
    pub(crate) name: String,
    /// the stem of the plan's file
    pub(crate) plan: String,
    pub(crate) place: Place,
    pub(crate) epoch: u64,
    pub(crate) mark: u64,
    /// the machines it began with
    pub(crate) machines: [Option<String>; 2],
    /// the mark that was last left on each side
    pub(crate) left: [Option<u64>; 2],
    /// a verb that has not let go
    pub(crate) working: Option<Working>,
}

impl Known {
    /// What a state knows that cannot be read.
    pub(crate) fn nothing(plan: String, place: Place) -> Known {
        let (id, name) = (String::new(), String::new());
        Known { id, name, plan, place, epoch: 0, mark: 0, machines: [None, None], left: [None, None], working: None }
    }
}

/// Both sides, for loops.
pub(crate) const SIDES: [SideName; 2] = [SideName::Old, SideName::New];

pub(crate) fn at(side: SideName) -> usize {
    usize::from(side == SideName::New)
}

/// The key of a fact about a side: "machine.old".
pub(crate) fn fact(what: &str, side: SideName) -> String {
    format!("{what}.{side}")
}

impl Machine {
    /// Looks at a side; none for a folder.
    pub(crate) async fn look(at: &Side, side: SideName, root: &Path) -> Result<Option<Machine>, SidesError> {
        if at.root().is_some() {
            return Ok(None);
        }
        let seen = look(at, side, root).await?;
        Ok(Some(Machine { side, at: at.clone(), root: root.to_path_buf(), seen }))
    }

    pub(crate) fn name(&self) -> String {
        self.at.name().to_string()
    }
}

/// The machine-ids of both sides, as they were seen.
pub(crate) fn pair(machines: &[Machine]) -> [Option<String>; 2] {
    SIDES.map(|side| machines.iter().find(|machine| machine.side == side).and_then(|found| found.seen.machine.clone()))
}

impl Migration {
    /// What the state knows of itself.
    pub(crate) async fn known(&self, journal: &Journal) -> Result<Known, Error> {
        let mut known = Known {
            id: journal.fact("id").await?.unwrap_or_default(),
            name: self.plan.name.clone(),
            plan: self.plan_stem(),
            place: self.place(),
            epoch: journal.fact("epoch").await?.and_then(|text| text.parse().ok()).unwrap_or(1),
            mark: journal.mark().await?,
            machines: [None, None],
            left: [None, None],
            working: journal.fact("working").await?.and_then(|text| serde_json::from_str(&text).ok()),
        };
        for side in SIDES {
            known.machines[at(side)] = journal.fact(&fact("machine", side)).await?;
            known.left[at(side)] = journal.fact(&fact("record", side)).await?.and_then(|text| text.parse().ok());
        }
        Ok(known)
    }

    /// "plan" for plan.toml: a folder may hold several plans, each with a state of its own.
    pub(crate) fn plan_stem(&self) -> String {
        self.plan.path().file_stem().map_or_else(|| "plan".into(), |stem| stem.to_string_lossy().into_owned())
    }

    /// Where this state is.
    pub(crate) fn place(&self) -> Place {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_string();
        let ids = ["/etc/machine-id", "/var/lib/dbus/machine-id"].map(|path| std::fs::read_to_string(path).ok());
        let machine = ids.into_iter().flatten().map(|text| text.trim().to_string()).find(|id| !id.is_empty());
        let folder = folder_of(self.plan.path()).canonicalize().unwrap_or_default();
        let name = self.state.folder().file_name().unwrap_or_default();
        Place { host, machine, folder: folder.join(name).display().to_string() }
    }

    /// Looks at both sides as they are connected.
    pub(crate) async fn look_at(&self, old: &Side, new: &Side) -> Result<Vec<Machine>, Error> {
        let [root_old, root_new] = &self.settings.roots;
        let both =
            tokio::join!(Machine::look(old, SideName::Old, root_old), Machine::look(new, SideName::New, root_new));
        Ok([both.0?, both.1?].into_iter().flatten().collect())
    }

    /// Connects both sides for rehome's own look, without phases. Whoever calls it closes them.
    pub(crate) async fn reach(&self) -> Result<[Side; 2], Error> {
        let connect = |side: SideName| async move {
            let plan = self.plan.side(side);
            let connected = Side::connect(&plan.target, &plan.options).await;
            connected.map_err(|source| Error::from(crate::error::SideError { side, source }))
        };
        match tokio::join!(connect(SideName::Old), connect(SideName::New)) {
            (Ok(old), Ok(new)) => Ok([old, new]),
            (Err(error), other) | (other, Err(error)) => {
                if let Ok(side) = other {
                    side.close().await;
                }
                Err(error)
            }
        }
    }
}
