//! `resolve machine`: the machine that is there now is the side from now on, because the operator says so.

use rehome_gatekeeper::types::SideName;
use serde::Serialize;

use crate::error::{Error, UsageError};
use crate::migration::Migration;
use crate::sides::{Known, Machine, SidesError, at, fact, machines_fit, swap};

/// A side as the migration knows it, and as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MachineHere {
    /// which
    pub side: SideName,
    /// "root@old"
    pub name: String,
    /// machine-id(5) of the machine that the migration began with
    pub known: Option<String>,
    /// and of the one that is there
    pub found: Option<String>,
    /// why it is not taken as it is: a line each
    pub why: Vec<String>,
}

impl Migration {
    /// What stands between the migration and the machine that is a side now.
    ///
    /// # Errors
    /// Nothing does; a side cannot be reached; it is the other side's machine too.
    pub async fn machine_here(&self, side: SideName) -> Result<MachineHere, Error> {
        let _guard = self.for_resolve().await?;
        self.with_machine(side, |_, here| async move { Ok(here) }).await
    }

    /// Takes that machine as the side, if it still is the one that `here` tells of.
    ///
    /// # Errors
    /// As [`Migration::machine_here`]; it is yet another one.
    pub async fn resolve_machine(&self, here: &MachineHere) -> Result<(), Error> {
        let _guard = self.for_resolve().await?;
        let journal = self.state.journal().await?;
        let known = self.known(&journal).await?;
        let machine = self.with_machine(here.side, |machine, now| async move {
            if now != *here {
                let what = format!("{} is yet another machine now", here.side);
                let hint = Some(format!("rehome resolve machine {}", here.side));
                return Err(UsageError { what, more: vec![], hint }.into());
            }
            if machine.seen.of(&known.id).is_some_and(|found| found.record.is_err()) {
                swap(&machine.at, machine.side, &machine.root, &machine.seen, (&known.id, None)).await?;
            }
            Ok(now)
        });
        let now = machine.await?;
        self.recorded(
            &journal,
            "resolve.machine",
            &[now.side.to_string(), now.known.unwrap_or_default(), now.found.clone().unwrap_or_default()],
        )
        .await?;
        // What was left there is not asked for any more.
        journal.keep_fact(&fact("record", now.side), None).await?;
        journal.keep_fact(&fact("machine", now.side), now.found.as_deref()).await?;
        Ok(())
    }

    async fn with_machine<F, T>(&self, side: SideName, and: F) -> Result<MachineHere, Error>
    where
        F: FnOnce(Machine, MachineHere) -> T,
        T: Future<Output = Result<MachineHere, Error>>,
    {
        let journal = self.state.journal().await?;
        let known = self.known(&journal).await?;
        let [old, new] = self.reach().await?;
        let result = async {
            let machines = self.look_at(&old, &new).await?;
            let machine = machines.iter().find(|machine| machine.side == side).cloned();
            let here = here(side, machine.as_ref(), &known)?;
            // The two are still two.
            let mut taken = known.clone();
            taken.machines = [None, None];
            machines_fit(&machines, &taken)?;
            match machine {
                Some(machine) => and(machine, here).await,
                None => Ok(here),
            }
        };
        let result = result.await;
        tokio::join!(old.close(), new.close());
        result
    }
}

fn here(side: SideName, machine: Option<&Machine>, known: &Known) -> Result<MachineHere, Error> {
    let Some(machine) = machine else {
        let what = format!("{side} is a folder of this machine: nothing is kept of which one it is");
        return Err(UsageError { what, more: vec![], hint: None }.into());
    };
    let (pinned, found) = (&known.machines[at(side)], &machine.seen.machine);
    let mut why = Vec::new();
    if pinned.is_some() && pinned != found {
        let (known, found) = (pinned.clone().unwrap_or_default(), found.clone());
        why.push(SidesError::Another { side, name: machine.name(), known, found }.to_string());
    }
    let (left, record) = (known.left[at(side)], machine.seen.of(&known.id).map(|found| &found.record));
    match (left, record) {
        (Some(left), None) => {
            let lost = SidesError::Restored { side, name: machine.name(), known: left, found: None };
            why.extend([lost.to_string(), "it has no record of this migration".into()]);
        }
        (Some(left), Some(Ok(record))) if record.mark < left => {
            let (name, found) = (machine.name(), Some(record.mark));
            why.push(SidesError::Restored { side, name, known: left, found }.to_string());
        }
        (_, Some(Err(why_not))) => why.push(format!("its record of this migration cannot be read: {why_not}")),
        _ => {}
    }
    if why.is_empty() {
        let what = format!("{side} ({}) is the machine that this migration knows: nothing to resolve", machine.name());
        return Err(UsageError { what, more: vec![], hint: None }.into());
    }
    Ok(MachineHere { side, name: machine.name(), known: pinned.clone(), found: found.clone(), why })
}
