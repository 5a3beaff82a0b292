//! `resolve journal`: a new state for a migration whose journal is damaged, gone or an older copy.
//! Invariant: the former journal is kept aside, never removed; the new one is whole before it takes its place, and knows no
//! phase as done; on the sides the epoch is raised, so that no other copy goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rehome_gatekeeper::Journal;
use rehome_gatekeeper::journal::{Rebuild, RunState, Salvaged};
use rehome_gatekeeper::types::{Stage, Verb};
use serde::Serialize;

use crate::error::{Error, UsageError};
use crate::migration::Migration;
use crate::sides::{Claim, Claimant, Doubt, Lost, Machine, Record, machines_fit, may_be_rebuilt, may_claim};
use crate::state::StateError;

/// A journal that can be rebuilt, and from what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToRebuild {
    /// what became of it
    pub lost: Lost,
    /// in a sentence
    pub headline: String,
    /// what the sides vouch for; a line each
    pub lines: Vec<String>,
}

/// A journal, rebuilt.
#[derive(Clone, Debug, Serialize)]
pub struct Rebuilt {
    /// where the former one is; none: there was none
    pub aside: Option<PathBuf>,
    /// what was taken over of it
    pub salvaged: Salvaged,
}

impl Migration {
    /// What became of the journal, and what the sides vouch for. Changes nothing.
    ///
    /// # Errors
    /// It is whole, and knows as much as the sides; a side cannot be reached.
    pub async fn to_rebuild(&self) -> Result<ToRebuild, Error> {
        let _guard = self.for_resolve().await?;
        let (doubt, machines) = self.doubt().await?;
        for machine in machines {
            machine.at.close().await;
        }
        Ok(ToRebuild { headline: doubt.to_string(), lines: doubt.lines(), lost: doubt.lost })
    }

    /// Rebuilds the journal from what is left of it and from both sides.
    ///
    /// # Errors
    /// As [`Migration::to_rebuild`]; the state's folder cannot be written.
    pub async fn rebuild(&self) -> Result<Rebuilt, Error> {
        let _guard = self.for_resolve().await?;
        let (doubt, machines) = self.doubt().await?;
        let result = self.rebuild_from(&doubt, &machines).await;
        for machine in &machines {
            machine.at.close().await;
        }
        result
    }

    async fn rebuild_from(&self, doubt: &Doubt, machines: &[Machine]) -> Result<Rebuilt, Error> {
        may_be_rebuilt(machines, doubt.best())?;
        let work = self.state.folder().join("rebuild");
        let copied = self.copy_aside(&work, doubt)?;
        let phases: Vec<_> = doubt.best().map(|record| self.phases_of(record)).unwrap_or_default();
        let epoch = doubt.vouched.iter().map(|vouched| vouched.record.epoch).max().unwrap_or(1);
        let how = Rebuild {
            from: copied.as_deref(),
            into: &work.join("new"),
            id: doubt.best().map(|record| record.migration.as_str()),
            epoch,
            mark: doubt.best().map_or(doubt.mark, |record| record.mark.max(doubt.mark)),
            who: &self.settings.who,
            phases: &phases,
        };
        let salvaged = Journal::rebuild(&how).await?;
        let aside = self.put_in_place(&work.join("new/journal.db"))?;
        let _ = std::fs::remove_dir_all(&work);
        self.raise(machines).await?;
        Ok(Rebuilt { aside, salvaged })
    }

    /// Why the journal cannot be gone on with, and the machines as they were seen.
    async fn doubt(&self) -> Result<(Doubt, Vec<Machine>), Error> {
        let opened = async {
            let journal = self.state.journal().await?;
            let known = self.known(&journal).await?;
            journal.check(true).await?;
            Ok::<_, Error>(known)
        };
        let opened = opened.await;
        let [old, new] = self.reach().await?;
        let machines = self.look_at(&old, &new).await?;
        let doubt = match opened {
            Err(Error::Journal(error)) if error.damaged => self.doubt_of(Lost::Damaged(error.to_string()), &machines),
            Err(error) => return Err(error),
            Ok(known) => {
                machines_fit(&machines, &known)?;
                // Only what the state lacks is meant here: who else is at work is said by the list of what the sides know.
                match may_claim(&machines, &known, true) {
                    Err(Error::Doubt(doubt)) => *doubt,
                    Err(error) => return Err(error),
                    Ok(()) => {
                        return Err(UsageError {
                            what: "the journal is whole, and knows as much as the sides do: nothing to resolve".into(),
                            more: vec![],
                            hint: Some("`rehome status` says how the migration stands".into()),
                        }
                        .into());
                    }
                }
            }
        };
        Ok((doubt, machines))
    }

    /// The journal's files, copied to where SQLite may write to them.
    fn copy_aside(&self, work: &Path, doubt: &Doubt) -> Result<Option<PathBuf>, StateError> {
        let _ = std::fs::remove_dir_all(work);
        for folder in [work.to_path_buf(), work.join("old"), work.join("new")] {
            std::fs::create_dir(&folder).map_err(|error| self.state.cannot(&error))?;
        }
        if doubt.lost == Lost::Gone {
            return Ok(None);
        }
        for end in ["", "-wal"] {
            let from = self.state.folder().join(format!("journal.db{end}"));
            if from.exists() {
                let to = work.join(format!("old/journal.db{end}"));
                std::fs::copy(&from, to).map_err(|error| self.state.cannot(&error))?;
            }
        }
        Ok(Some(work.join("old/journal.db")))
    }

    /// The former files under another name, the new one in their place.
    fn put_in_place(&self, new: &Path) -> Result<Option<PathBuf>, StateError> {
        let folder = self.state.folder();
        let stamp = self.clock.now();
        let aside = folder.join(format!("journal.lost-{stamp}.db"));
        let put = || -> std::io::Result<bool> {
            let mut kept = false;
            // What was not in the file yet goes first: without it the file is an older one, which is found out again.
            for end in ["-wal", "-shm", ""] {
                let from = folder.join(format!("journal.db{end}"));
                if from.exists() {
                    std::fs::rename(&from, folder.join(format!("journal.lost-{stamp}.db{end}")))?;
                    kept |= end.is_empty();
                }
            }
            std::fs::rename(new, folder.join("journal.db"))?;
            std::fs::File::open(folder)?.sync_all()?;
            Ok(kept)
        };
        let kept = put().map_err(|error| self.state.cannot(&error))?;
        Ok(kept.then_some(aside))
    }

    /// What the sides say of phases, with the stages of the plan.
    fn phases_of(&self, record: &Record) -> Vec<(String, u32, Stage, RunState)> {
        let of_plan = record.phases.iter().map(|known| {
            let stage = self.plan.phase(&known.phase).map_or(Stage::Prepare, |phase| phase.stage);
            (known.phase.clone(), known.run, stage, known.state)
        });
        of_plan.collect()
    }

    /// Raises the epoch on the sides, and leaves them free.
    async fn raise(&self, machines: &[Machine]) -> Result<(), Error> {
        if machines.is_empty() {
            return Ok(());
        }
        let journal = Arc::new(self.state.journal().await?);
        let known = self.known(&journal).await?;
        let claimant = Claimant { who: &self.settings.who, verb: Verb::Apply, clock: &self.clock, take_over: true };
        Claim::take(machines.to_vec(), known, journal, &claimant).await?.let_go(false).await;
        Ok(())
    }
}
