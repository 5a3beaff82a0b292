//! `resolve`: the operator's word on what rehome cannot know. Effects whose end nobody saw are here; a machine that is another
//! one in `machine.rs`, a journal that is lost in `journal.rs`. Invariant: each word is recorded with who said it, and rehome
//! asks for none that it could find out itself.

mod journal;
mod machine;

use rehome_gatekeeper::Journal;
use rehome_gatekeeper::types::Verb;

pub use journal::{Rebuilt, ToRebuild};
pub use machine::MachineHere;

use crate::error::{Error, UsageError};
use crate::migration::Migration;
use crate::state::{Guard, Holder};
use crate::status::{OpenEffect, open_effects};

/// A word on an effect, as recorded.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Resolved {
    /// which
    pub effect: OpenEffect,
    /// whether it happened
    pub did: bool,
    /// what to type now
    pub next: String,
}

impl Migration {
    /// Effects whose end nobody saw, with what to type about each. Reaches no side.
    ///
    /// # Errors
    /// The journal cannot be read; somebody is at work: what has begun may simply be under way.
    pub async fn to_resolve(&self) -> Result<Vec<OpenEffect>, Error> {
        let Some(journal) = self.state.journal_if_there().await? else { return Ok(vec![]) };
        let _guard = self.for_resolve().await?;
        Ok(open_effects(&journal.open_effects().await?))
    }

    /// Records whether an effect happened. `effect`: its number, or its request, where a phase has several open.
    ///
    /// # Errors
    /// Nothing is open there, or several are; held by another rehome.
    pub async fn resolve_outcome(&self, phase: &str, did: bool, effect: Option<&str>) -> Result<Resolved, Error> {
        let _guard = self.for_resolve().await?;
        let Some(journal) = self.state.journal_if_there().await? else { return Err(nothing(phase, &[]).into()) };
        let all = open_effects(&journal.open_effects().await?);
        let effect = chosen(&all, phase, effect)?;
        let (who, word) = (&self.settings.who, if did { "did" } else { "did-not" });
        journal.settle_by(phase, effect.id, did, &format!("{who} says")).await?;
        let values = [phase.to_string(), effect.id.to_string(), word.to_string(), who.clone()];
        journal.own("resolve.outcome", effect.side, effect.verb, &values).await?;
        Ok(Resolved { next: format!("rehome {}", effect.verb), did, effect })
    }

    pub(crate) async fn for_resolve(&self) -> Result<Guard, Error> {
        let (who, since) = (self.settings.who.clone(), self.clock.now());
        self.state.lock(&Holder { who, pid: std::process::id(), since, verb: "resolve".into() }).await
    }

    /// Records the operator's word in the journal.
    async fn recorded(&self, journal: &Journal, what: &str, values: &[String]) -> Result<(), Error> {
        let values = [values, std::slice::from_ref(&self.settings.who)].concat();
        Ok(journal.own(what, None, Verb::Apply, &values).await?)
    }
}

/// The one effect that is meant.
fn chosen(all: &[OpenEffect], phase: &str, named: Option<&str>) -> Result<OpenEffect, UsageError> {
    let of_phase: Vec<&OpenEffect> = all.iter().filter(|effect| effect.phase == phase).collect();
    if of_phase.is_empty() {
        return Err(nothing(phase, all));
    }
    let fits = |effect: &&&OpenEffect| match named {
        None => true,
        Some(word) => effect.request == word || effect.id.to_string() == word,
    };
    let fitting: Vec<&&OpenEffect> = of_phase.iter().filter(fits).collect();
    if let [one] = fitting.as_slice() {
        return Ok((**one).clone());
    }
    let what = match (named, fitting.is_empty()) {
        (Some(word), true) => format!("phase `{phase}` has no open effect `{word}`"),
        _ => format!("phase `{phase}` has several open effects: name one by its number"),
    };
    let more = of_phase.iter().map(|effect| effect.told()).collect();
    Err(UsageError { what, more, hint: Some(of_phase[0].command("did|did-not", true)) })
}

fn nothing(phase: &str, all: &[OpenEffect]) -> UsageError {
    let mut open: Vec<String> = all.iter().map(|effect| effect.phase.clone()).collect();
    open.dedup();
    let more = match open.as_slice() {
        [] => "no effect is open: rehome knows how everything ended that it began".to_string(),
        open => format!("there are, in: {}", open.join(", ")),
    };
    UsageError { what: format!("phase `{phase}` has no effect whose end nobody saw"), more: vec![more], hint: None }
}
