//! `answer`: the operator's word at a gate, recorded in the journal. It may come before it is asked for, and while `apply`
//! runs; the phase reads it when it is called next.

use rehome_gatekeeper::journal::{Asked, Journal, RunState};
use rehome_gatekeeper::types::OperatorAnswer;
use rehome_manifest::manifest::QuestionKind;

use crate::error::{Error, UsageError};
use crate::migration::Migration;
use crate::phases::{Loader, Phase};

/// What was recorded.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Answered {
    /// the phase's id
    pub phase: String,
    /// the run it is for
    pub run: u32,
    /// the question's key
    pub key: String,
    /// the answer
    pub values: Vec<String>,
    /// whether the phase had asked already
    pub asked: bool,
}

impl Migration {
    /// Records an answer.
    ///
    /// # Errors
    /// No such phase or question; a value that is none of the options; a phase that is done.
    pub async fn answer(&self, id: &str, key: &str, values: &[String], loader: &dyn Loader) -> Result<Answered, Error> {
        self.known_phase(id)?;
        let phases = self.phases(loader)?;
        let Some(phase) = phases.iter().find(|phase| phase.id() == id) else {
            return Err(UsageError::unknown("phase", id, phases.iter().map(Phase::id)).into());
        };
        let kind = kind_of(phase, key)?;
        let journal = self.state.journal().await?;
        let run = run_for(&journal, id).await?;
        let asked = journal.questions(id, run).await?.into_iter().find(|(name, _, _)| name == key);
        let asked = asked.map(|(_, asked, _)| asked).filter(|asked| !asked.question.is_empty());
        fits(kind, key, values, asked.as_ref())?;
        let answer = OperatorAnswer { values: values.to_vec(), who: self.settings.who.clone(), at: self.clock.now() };
        journal.answer(id, run, key, &answer).await?;
        Ok(Answered { phase: id.into(), run, key: key.into(), values: values.to_vec(), asked: asked.is_some() })
    }
}

fn kind_of(phase: &Phase, key: &str) -> Result<QuestionKind, UsageError> {
    let questions = &phase.filled.manifest.question;
    let Some(question) = questions.get(key) else {
        let known = questions.keys().map(String::as_str);
        return Err(UsageError::unknown(&format!("question in phase `{}` called", phase.id()), key, known));
    };
    if question.kind == QuestionKind::Wait {
        return Err(UsageError {
            what: format!("`{key}` of phase `{}` is answered by time, not by a word", phase.id()),
            more: vec![question.about.clone()],
            hint: Some("`rehome status` says until when it waits".into()),
        });
    }
    Ok(question.kind)
}

/// The run that will read the answer.
async fn run_for(journal: &Journal, id: &str) -> Result<u32, Error> {
    match journal.last_run(id).await? {
        None => Ok(1),
        Some(run) if run.state == RunState::Undone => Ok(run.run + 1),
        Some(run) if run.state == RunState::Done => Err(UsageError {
            what: format!("phase `{id}` is done: nothing reads an answer any more"),
            more: vec![],
            hint: Some(format!("to go through it once more: `rehome apply --again {id}`")),
        }
        .into()),
        Some(run) => Ok(run.run),
    }
}

fn fits(kind: QuestionKind, key: &str, values: &[String], asked: Option<&Asked>) -> Result<(), UsageError> {
    let refuse =
        |what: String, options: &str| UsageError { what, more: vec![format!("it takes: {options}")], hint: None };
    if kind == QuestionKind::Confirm {
        return match values {
            [word] if word == "yes" || word == "no" => Ok(()),
            _ => Err(refuse(format!("`{}` is no answer to `{key}`", values.join(" ")), "yes or no")),
        };
    }
    let Some(asked) = asked else { return Ok(()) };
    match values.iter().find(|value| !asked.options.contains(value)) {
        Some(value) => Err(refuse(format!("`{value}` is no answer to `{key}`"), &asked.options.join(", "))),
        None => Ok(()),
    }
}
