//! What `undo` would take back, and how far one that is under way has come: read from the plan and the journal alone.
//! Invariant: an undo that has not ended is gone on with as it was begun; it never grows without a question.

use rehome_gatekeeper::journal::{Irreversible, Run, RunState, Undo};
use rehome_gatekeeper::types::Stage;
use serde::Serialize;

use crate::error::{Error, UsageError};
use crate::migration::Migration;
use crate::plan::PhasePlan;

/// What the command line asks `undo` for.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// no phase of an earlier stage; none: as an undo that is under way was begun, else everything
    pub down_to: Option<Stage>,
    /// whoever else is at work on the sides is not any more
    pub take_over: bool,
}

/// What `undo` would do.
#[derive(Clone, Debug, Serialize)]
pub struct UndoPlan {
    /// what it takes back, in that order
    pub phases: Vec<ToUndo>,
    /// it only goes on with an undo that was begun like this: nobody need be asked again
    pub goes_on: bool,
    /// how far an undo that is under way has come
    pub under_way: Option<UndoProgress>,
    /// phases that were begun and that the plan does not have any more: nothing takes them back
    pub left_over: Vec<String>,
}

/// A phase that `undo` would take back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToUndo {
    /// its id in the plan
    pub phase: String,
    /// where it stands
    pub stage: Stage,
    /// as the plan names it
    pub component: String,
    /// taking it back was begun before
    pub under_way: bool,
    /// whether a preview of its run was ever made: without one nobody has said what is irreversible
    pub previewed: bool,
    /// what previews of its run marked as irreversible
    pub irreversible: Vec<Irreversible>,
}

/// How far an undo has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct UndoProgress {
    /// phases that are taken back
    pub taken_back: usize,
    /// phases that it was begun for
    pub total: usize,
    /// UTC, seconds since 1970
    pub begun_at: u64,
}

/// The phases to take back, each with its last run.
pub(crate) struct Chosen<'a> {
    pub(crate) phases: Vec<(&'a PhasePlan, &'a Run)>,
    pub(crate) goes_on: bool,
}

impl Migration {
    /// What `undo` would take back, in that order. Reaches no side.
    ///
    /// # Errors
    /// The journal cannot be read; the scope leaves out a phase that is taken back only in part.
    pub async fn to_undo(&self, scope: &Scope) -> Result<UndoPlan, Error> {
        let Some(journal) = self.state.journal_if_there().await? else {
            return Ok(UndoPlan { phases: vec![], goes_on: false, under_way: None, left_over: vec![] });
        };
        let (runs, open) = (journal.runs().await?, journal.open_undo().await?);
        let chosen = choose(&self.plan.phases, &runs, open.as_ref(), scope)?;
        let mut phases = Vec::with_capacity(chosen.phases.len());
        for (phase, run) in chosen.phases {
            let marked = journal.previewed(&phase.id, run.run).await?;
            phases.push(ToUndo {
                phase: phase.id.clone(),
                stage: phase.stage,
                component: phase.component.clone(),
                under_way: run.state.is_undoing(),
                previewed: marked.is_some(),
                irreversible: marked.unwrap_or_default(),
            });
        }
        let mut left_over: Vec<String> = Vec::new();
        for run in runs.iter().rev().filter(|run| self.plan.phase(&run.phase).is_none()) {
            let is_last = last(&runs, &run.phase).is_some_and(|last| last.run == run.run);
            if is_last && run.state != RunState::Undone {
                left_over.push(run.phase.clone());
            }
        }
        Ok(UndoPlan {
            phases,
            goes_on: chosen.goes_on,
            under_way: progress(&self.plan.phases, &runs, open.as_ref()),
            left_over,
        })
    }
}

fn last<'a>(runs: &'a [Run], phase: &str) -> Option<&'a Run> {
    runs.iter().rev().find(|run| run.phase == phase)
}

/// Which phases a scope means, the last one first.
pub(crate) fn choose<'a>(
    phases: &'a [PhasePlan],
    runs: &'a [Run],
    open: Option<&Undo>,
    scope: &Scope,
) -> Result<Chosen<'a>, UsageError> {
    let begun = phases.iter().rev().filter_map(|phase| Some((phase, last(runs, &phase.id)?)));
    let begun: Vec<_> = begun.filter(|(_, run)| run.state != RunState::Undone).collect();
    let belongs = |run: &Run| {
        run.state.is_undoing()
            || open
                .is_some_and(|open| open.phases.iter().any(|(phase, number)| *phase == run.phase && *number == run.run))
    };
    let rest: Vec<_> = begun.iter().copied().filter(|(_, run)| belongs(run)).collect();
    let Some(stage) = scope.down_to else {
        let goes_on = !rest.is_empty();
        return Ok(Chosen { phases: if goes_on { rest } else { begun }, goes_on });
    };
    let within: Vec<_> = begun.into_iter().filter(|(phase, _)| phase.stage >= stage).collect();
    if let Some((half, _)) = rest.iter().find(|(phase, run)| run.state.is_undoing() && phase.stage < stage) {
        return Err(UsageError {
            what: format!("phase `{}` of stage {} is taken back only in part", half.id, half.stage),
            more: vec![format!("an undo down to {stage} would leave it like that")],
            hint: Some("`rehome undo` goes on with it".into()),
        });
    }
    let same = |(one, other): (&(&PhasePlan, &Run), &(&PhasePlan, &Run))| one.0.id == other.0.id;
    let goes_on = !rest.is_empty() && rest.len() == within.len() && rest.iter().zip(&within).all(same);
    Ok(Chosen { phases: within, goes_on })
}

/// How far an undo has come, if one is under way: it was begun, and something of it is left.
pub(crate) fn progress(phases: &[PhasePlan], runs: &[Run], open: Option<&Undo>) -> Option<UndoProgress> {
    let rest = choose(phases, runs, open, &Scope::default()).ok().filter(|chosen| chosen.goes_on)?;
    let planned = |id: &str| phases.iter().any(|phase| phase.id == id);
    let known = open.map_or(0, |open| open.phases.iter().filter(|(phase, _)| planned(phase)).count());
    let total = known.max(rest.phases.len());
    let begun_at = open.map(|open| open.begun_at).unwrap_or_default();
    Some(UndoProgress { taken_back: total - rest.phases.len(), total, begun_at })
}
