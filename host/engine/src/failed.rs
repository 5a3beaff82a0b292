//! A phase that did not do what it was called for, told in the house's way: subject, who did it, what the tool said, what
//! state things are in, what to do. Invariant: "nothing was changed" is only said where the journal shows it.

use rehome_gatekeeper::CallError;
use rehome_gatekeeper::journal::{Effect, State};
use rehome_gatekeeper::types::{Effect as EffectKind, Failure, Verb};
use rehome_manifest::Filled;

use crate::error::Explanation;
use crate::phases::{Phase, short};

/// A phase that failed.
#[derive(Debug, thiserror::Error)]
#[error("phase `{phase}`: {}", first_line(cause))]
pub struct PhaseFailed {
    /// its id in the plan
    pub phase: String,
    /// "maildir 0.1.0"
    pub component: String,
    /// of the component's file
    pub digest: String,
    /// what it was called for
    pub verb: Verb,
    /// which run
    pub run: u32,
    /// how many calls it had made
    pub calls: u64,
    /// why
    pub cause: CallError,
    /// somebody else has a side by now, whatever it says itself
    pub taken_over: bool,
    /// what state things are in; a line each
    pub state: Vec<String>,
}

fn first_line(cause: &CallError) -> String {
    cause.to_string().lines().next().unwrap_or("failed").to_string()
}

impl PhaseFailed {
    pub(crate) fn new(phase: &Phase, verb: Verb, run: u32, calls: u64, cause: CallError) -> PhaseFailed {
        PhaseFailed {
            phase: phase.id().to_string(),
            component: phase.component(),
            digest: phase.digest.clone(),
            verb,
            run,
            calls,
            cause,
            taken_over: false,
            state: vec![],
        }
    }

    /// Whether it asked for what is not approved.
    pub fn denied(&self) -> bool {
        matches!(self.cause, CallError::Failure(Failure::Denied(_)))
    }

    /// As people read it.
    pub fn explain(&self) -> Explanation {
        let said = self.cause.to_string();
        let (said, hint) = match said.split_once("\nhint: ") {
            Some((said, hint)) => (said.to_string(), Some(hint.to_string())),
            None => (said, None),
        };
        let mut explanation = Explanation::of(self.to_string()).line(format!(
            "component {}, {}, under `{}`, run {}, call {}",
            self.component,
            short(&self.digest),
            self.verb,
            self.run,
            self.calls
        ));
        for line in said.lines().skip(1) {
            explanation = explanation.line(line);
        }
        if let CallError::Trap { trace, .. } = &self.cause {
            let names = trace.iter().take(8).map(|name| format!("in {name}"));
            explanation.context.extend(names);
        }
        explanation.context.extend(self.state.iter().cloned());
        explanation.hint(hint.unwrap_or_else(|| self.hint()))
    }

    fn hint(&self) -> String {
        let again = format!("then run `rehome {}` again", self.verb);
        let on = if matches!(self.verb, Verb::Apply | Verb::Undo) { ": it goes on where it stopped" } else { "" };
        let failure = match &self.cause {
            CallError::Trap { .. } => {
                return "this is a fault of the component, not of your servers: tell its author the lines above".into();
            }
            CallError::Failure(failure) => failure,
        };
        match failure {
            Failure::Denied(_) => "read what is asked for and grant it: `rehome approve`".into(),
            Failure::ReadOnly(_) => {
                "this is a fault of the component: tell its author; nothing came of it, the host refused".into()
            }
            Failure::OutcomeUnknown { effect_id, .. } => format!(
                "look at that side, and say whether it happened: `rehome resolve {phase} did {effect_id}` or `rehome resolve \
                 {phase} did-not {effect_id}`; {again}{on}",
                phase = self.phase
            ),
            Failure::Stopped(finding) => {
                finding.hint.clone().unwrap_or_else(|| format!("put right what it names, {again}{on}"))
            }
            Failure::Unreachable(_) => format!("see that the side and its service answer, {again}{on}"),
            _ => format!("put right what it names, {again}{on}"),
        }
    }
}

/// What a run of a phase has done so far, from the journal. Reads and refusals are left out.
pub(crate) fn changes<'a>(
    effects: &'a [Effect],
    filled: &'a Filled,
    run: u32,
    verb: Verb,
) -> impl Iterator<Item = &'a Effect> {
    effects.iter().filter(move |effect| {
        effect.key.run == run
            && effect.key.verb == verb
            && effect.state != State::Refused
            && !only_looked(effect, filled)
    })
}

/// Whether it only looked: a read, or the comparison that belongs to a copy or a sync.
fn only_looked(effect: &Effect, filled: &Filled) -> bool {
    let reads = filled.requests.get(&effect.key.request).is_some_and(|request| request.effect == EffectKind::Read);
    reads || effect.key.values.starts_with("[\"compare\"")
}

/// Which requests a run made under a verb that now stand in one of these states: "`exec.stop` on old", each once.
pub(crate) fn effects_of_run(
    effects: &[Effect],
    filled: &Filled,
    run: u32,
    verb: Verb,
    states: &[State],
) -> Vec<String> {
    let mut named: Vec<String> = Vec::new();
    for effect in changes(effects, filled, run, verb).filter(|effect| states.contains(&effect.state)) {
        let side = effect.key.side.map(|side| format!(" on {side}")).unwrap_or_default();
        let name = format!("`{}`{side}", effect.key.request);
        if !named.contains(&name) {
            named.push(name);
        }
    }
    named
}

/// What state a run of a phase is in, in words.
pub(crate) fn state_of(effects: &[Effect], filled: &Filled, phase: &str, run: u32) -> Vec<String> {
    let mut lines = Vec::new();
    for (heading, states) in [
        ("done in this run", &[State::Done][..]),
        ("not done, or only in part", &[State::Failed]),
        ("begun, and not seen to its end", &[State::Begun, State::Unknown]),
    ] {
        let named = effects_of_run(effects, filled, run, Verb::Apply, states);
        if !named.is_empty() {
            lines.push(format!("{heading}: {}", named.join(", ")));
        }
    }
    if lines.is_empty() {
        lines.push(format!("phase `{phase}` has changed nothing"));
    }
    lines
}
