//! Whether a state may claim the sides as they are. Pure: what the state knows and what was seen, to a yes or a reason.
//! Invariant: nothing here is decided by time; a claim that nobody has let go of is only ended by its own state, or by
//! somebody who says so.

use super::record::{Found, Record};
use super::{Doubt, Known, Lost, Machine, SidesError, at, pair};
use crate::error::Error;
use rehome_gatekeeper::types::SideName;

/// Whether these are the machines that the migration began with, and two of them.
pub(crate) fn machines_fit(machines: &[Machine], known: &Known) -> Result<(), SidesError> {
    for machine in machines {
        if let Some(pinned) = &known.machines[at(machine.side)]
            && machine.seen.machine.as_ref() != Some(pinned)
        {
            let (known, found) = (pinned.clone(), machine.seen.machine.clone());
            return Err(SidesError::Another { side: machine.side, name: machine.name(), known, found });
        }
    }
    if let [old, new] = machines
        && let (Some(id), true) = (&old.seen.machine, old.seen.machine == new.seen.machine)
    {
        return Err(SidesError::Same { old: old.name(), new: new.name(), id: id.clone() });
    }
    Ok(())
}

/// Whether a state may claim the sides; with `take_over` also from those who are at work there.
pub(crate) fn may_claim(machines: &[Machine], known: &Known, take_over: bool) -> Result<(), Error> {
    doubts(machines, known, take_over)?;
    for machine in machines {
        others(machine, &known.id, take_over)?;
        own(machine, known, take_over)?;
    }
    Ok(())
}

/// Whether a state may be rebuilt for the migration of this record: nobody is at work on the sides for another one.
pub(crate) fn may_be_rebuilt(machines: &[Machine], record: Option<&Record>) -> Result<(), SidesError> {
    let id = record.map(|record| record.migration.as_str()).unwrap_or_default();
    machines.iter().try_for_each(|machine| others(machine, id, false))
}

/// Whose the sides are: records of this very plan between these machines that the state knows nothing of.
pub(crate) fn whose<'a>(machines: &'a [Machine], known: &'a Known) -> impl Iterator<Item = (SideName, &'a Record)> {
    let pair = pair(machines);
    machines.iter().flat_map(move |machine| {
        let pair = pair.clone();
        let records = machine.seen.records.iter().filter_map(|found| found.record.as_ref().ok());
        let records = records.filter(move |record| {
            record.migration != known.id
                && record.plan == known.plan
                && [&record.old, &record.new] == [&pair[0], &pair[1]]
        });
        records.map(move |record| (machine.side, record))
    })
}

/// Whether the sides know more than the state does.
fn doubts(machines: &[Machine], known: &Known, take_over: bool) -> Result<(), Error> {
    let has_claimed = known.left.iter().any(Option::is_some) || known.working.is_some();
    if !has_claimed && let Some((_, record)) = whose(machines, known).max_by_key(|(_, record)| record.mark) {
        // Of somebody at work the operator is told that first.
        return Err(Doubt::new(Lost::Gone, machines, &record.migration, known.mark).into());
    }
    for machine in machines {
        let Some(Found { record: Ok(record), .. }) = machine.seen.of(&known.id) else { continue };
        let elsewhere = record.epoch > known.epoch || record.at_work && record.place != known.place;
        if record.mark > known.mark && (take_over || !elsewhere) {
            return Err(Doubt::new(Lost::Older, machines, &known.id, known.mark).into());
        }
    }
    Ok(())
}

/// Other migrations of a side.
fn others(machine: &Machine, id: &str, take_over: bool) -> Result<(), SidesError> {
    for found in machine.seen.records.iter().filter(|found| found.id != id) {
        match &found.record {
            Ok(record) if record.at_work && !take_over => {
                let (side, name, record) = (machine.side, machine.name(), Box::new(record.clone()));
                return Err(SidesError::AtWork { side, name, ours: false, record });
            }
            Ok(_) => {}
            Err(why) => {
                let (side, name, id, why) = (machine.side, machine.name(), found.id.clone(), why.clone());
                return Err(SidesError::Unreadable { side, name, id, ours: false, why });
            }
        }
    }
    Ok(())
}

/// This migration's own record on a side.
fn own(machine: &Machine, known: &Known, take_over: bool) -> Result<(), SidesError> {
    let (side, name, left) = (machine.side, machine.name(), known.left[at(machine.side)]);
    let record = match machine.seen.of(&known.id).map(|found| &found.record) {
        None => return left.map_or(Ok(()), |known| Err(SidesError::Restored { side, name, known, found: None })),
        Some(Err(why)) => {
            let (id, why) = (known.id.clone(), why.clone());
            return Err(SidesError::Unreadable { side, name, id, ours: true, why });
        }
        Some(Ok(record)) => record,
    };
    if !take_over && record.epoch > known.epoch {
        return Err(SidesError::TakenOver { side, name, known: known.epoch, record: Box::new(record.clone()) });
    }
    if !take_over && record.at_work && record.place != known.place {
        return Err(SidesError::AtWork { side, name, ours: true, record: Box::new(record.clone()) });
    }
    match left {
        Some(left) if record.mark < left => {
            Err(SidesError::Restored { side, name, known: left, found: Some(record.mark) })
        }
        _ => Ok(()),
    }
}

/// The records of other migrations at work on a side.
pub(super) fn at_work(machine: &Machine, known: &Known) -> Vec<Record> {
    let records = machine.seen.records.iter().filter_map(|found| found.record.as_ref().ok());
    records.filter(|record| record.at_work && record.migration != known.id).cloned().collect()
}
