//! What is safe to do now: one sentence and the commands, for `status`. The first thing that stands in the way decides.

use serde::Serialize;

use crate::outcome::Question;
use crate::state::Holder;
use crate::status::{OpenEffect, PhaseStanding, PhaseStatus};
use crate::to_undo::UndoProgress;

/// What is safe to do now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Next {
    /// in a sentence
    pub text: String,
    /// what to type, in this order
    pub commands: Vec<String>,
}

impl Next {
    fn say(text: impl Into<String>, commands: &[&str]) -> Next {
        Next { text: text.into(), commands: commands.iter().map(|command| command.to_string()).collect() }
    }
}

/// `now`: UTC, seconds since 1970.
pub(crate) fn next(
    phases: &[PhaseStatus],
    open: &[OpenEffect],
    undo: Option<UndoProgress>,
    holder: Option<&Holder>,
    now: u64,
) -> Next {
    if let Some(holder) = holder {
        return Next::say(
            format!("{} is at work here (`rehome {}`, process {})", holder.who, holder.verb, holder.pid),
            &[],
        );
    }
    if phases.iter().any(|phase| !phase.approved) {
        return Next::say("read what the phases ask for, and grant it", &["rehome approve"]);
    }
    if let Some(asked) = phases.iter().find_map(|phase| asked(phase, open)) {
        return asked;
    }
    if let Some(undo) = undo {
        return of_undo(phases, undo, now);
    }
    let Some(at) = phases.iter().position(|phase| !matches!(phase.standing, PhaseStanding::Done)) else {
        return Next::say("everything is done; compare both sides", &["rehome verify"]);
    };
    let id = &phases[at].phase;
    match &phases[at].standing {
        PhaseStanding::Waiting(Question::Question { key, answered: Some(values), .. }) => {
            Next::say(format!("`{key}` is answered ({}); `apply` goes on", values.join(" ")), &["rehome apply"])
        }
        PhaseStanding::Waiting(Question::Question { command, .. }) => {
            Next::say(format!("phase `{id}` waits for your answer"), &[command, "rehome apply"])
        }
        PhaseStanding::Waiting(Question::Moment { at: moment, until, .. }) if now < *moment => {
            let after = match phases.get(at + 1) {
                Some(after) => format!("; after it comes `{}` ({})", after.phase, after.stage),
                None => "; it is the last one".to_string(),
            };
            let text = format!("phase `{id}` waits until {until} ({}){after}; from then on", away(*moment - now));
            Next::say(text, &["rehome apply"])
        }
        PhaseStanding::Waiting(Question::Moment { until, .. }) => {
            Next::say(format!("the time that phase `{id}` waited for has come ({until})"), &["rehome apply"])
        }
        PhaseStanding::Interrupted => {
            Next::say(format!("phase `{id}` was interrupted; `apply` goes on with it"), &["rehome apply"])
        }
        PhaseStanding::Failed { .. } => {
            Next::say(format!("put right what phase `{id}` names; `apply` goes on with it"), &["rehome apply"])
        }
        _ if phases.iter().all(|phase| phase.run.is_none()) => {
            Next::say("nothing has been changed yet", &["rehome check", "rehome preview", "rehome apply"])
        }
        _ => Next::say(format!("phase `{id}` is next"), &["rehome preview", "rehome apply"]),
    }
}

/// A phase that has looked, and could not tell how an effect ended: only the operator can.
fn asked(phase: &PhaseStatus, open: &[OpenEffect]) -> Option<Next> {
    let failed = matches!(phase.standing, PhaseStanding::Failed { .. } | PhaseStanding::Undoing { said: Some(_), .. });
    let effect = open.iter().find(|effect| failed && effect.phase == phase.phase)?;
    let text = format!(
        "phase `{}` could not tell whether `{}`{} happened: look there, then say so, and `{}` goes on",
        phase.phase,
        effect.request,
        effect.side.map(|side| format!(" on {side}")).unwrap_or_default(),
        effect.verb
    );
    let [did, did_not] = &effect.commands;
    Some(Next::say(text, &[did, did_not, &format!("rehome {}", effect.verb)]))
}

/// While an undo has not ended, nothing else is safe.
fn of_undo(phases: &[PhaseStatus], undo: UndoProgress, now: u64) -> Next {
    let UndoProgress { taken_back, total, .. } = undo;
    let so_far = format!("an undo is under way: {taken_back} of {total} phases are taken back");
    let half = phases.iter().rev().find(|phase| matches!(phase.standing, PhaseStanding::Undoing { .. }));
    let Some((id, PhaseStanding::Undoing { waits, said })) = half.map(|phase| (&phase.phase, &phase.standing)) else {
        return Next::say(format!("{so_far}; `undo` goes on"), &["rehome undo"]);
    };
    match (waits, said) {
        (Some(Question::Moment { at, until, .. }), _) if now < *at => {
            let text = format!("{so_far}; phase `{id}` waits until {until} ({}); from then on", away(*at - now));
            Next::say(text, &["rehome undo"])
        }
        (Some(Question::Question { command, answered: None, .. }), _) => {
            Next::say(format!("{so_far}; phase `{id}` waits for your answer"), &[command, "rehome undo"])
        }
        (_, Some(_)) => {
            let text = format!("{so_far}; put right what phase `{id}` names; `undo` goes on with it");
            Next::say(text, &["rehome undo"])
        }
        _ => Next::say(format!("{so_far}; `undo` goes on with phase `{id}`"), &["rehome undo"]),
    }
}

/// "in 40 s", "in 12 min", "in 23 h 5 min", "in 6 d 3 h".
fn away(seconds: u64) -> String {
    let (minutes, hours) = (seconds.div_ceil(60), seconds / 3600);
    match seconds {
        0..60 => format!("in {seconds} s"),
        60..3600 => format!("in {minutes} min"),
        3600..172_800 => format!("in {hours} h {} min", seconds / 60 % 60),
        _ => format!("in {} d {} h", hours / 24, hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::away;

    #[test]
    fn how_long_it_is_until_then_reads_well() {
        let said = [5, 60, 61, 3600, 86_399, 604_799].map(away);
        assert_eq!(said, ["in 5 s", "in 1 min", "in 2 min", "in 1 h 0 min", "in 23 h 59 min", "in 6 d 23 h"]);
    }
}
