//! Everything a verb can end with, short of success. Each explains itself the same way: a headline with the subject first,
//! the lines that belong to it, and what to do. Whoever shows one escapes it; nothing here knows a terminal.

use rehome_gatekeeper::JournalError;
use rehome_gatekeeper::types::SideName;

use crate::approval::NotApproved;
use crate::failed::PhaseFailed;
use crate::gate::OtherGate;
use crate::lock::LockError;
use crate::phases::ComponentError;
use crate::plan::PlanError;
use crate::sides::{Doubt, SidesError};
use crate::state::{Held, StateError};

/// An error as people read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// subject first, in one line
    pub headline: String,
    /// who did it, what the tool said, what state things are in; a line each
    pub context: Vec<String>,
    /// what to do
    pub hint: Option<String>,
}

/// What kind of error it is, for an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// anything that is none of the others
    Error,
    /// a command line that cannot be meant
    Usage,
    /// another rehome is at work on this migration, or on one of its sides
    Held,
    /// something asks for what the operator has not approved
    NotApproved,
}

/// Why a verb ended without doing what it is for.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each is documented where it is made")]
pub enum Error {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Component(#[from] ComponentError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    NotApproved(#[from] NotApproved),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Held(#[from] Held),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Side(#[from] SideError),
    #[error(transparent)]
    Gate(#[from] OtherGate),
    #[error(transparent)]
    Sides(Box<SidesError>),
    #[error(transparent)]
    Doubt(Box<Doubt>),
    #[error(transparent)]
    Usage(#[from] UsageError),
    #[error(transparent)]
    Phase(#[from] Box<PhaseFailed>),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// A side that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the {side} side: {source}")]
pub struct SideError {
    /// which
    pub side: SideName,
    /// why
    pub source: rehome_remote::Error,
}

/// A command line that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct UsageError {
    /// what is wrong
    pub what: String,
    /// what there is instead; a line each
    pub more: Vec<String>,
    /// what to type
    pub hint: Option<String>,
}

/// The operator stopped it, by Ctrl-C or a signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", match phase { Some(phase) => format!("stopped during phase `{phase}`"), None => "stopped".to_string() })]
pub struct Interrupted {
    /// in which phase, if one was called
    pub phase: Option<String>,
    /// what state things are in; a line each
    pub state: Vec<String>,
    /// how to go on
    pub hint: String,
}

impl Explanation {
    /// One with a headline only.
    pub fn of(headline: impl Into<String>) -> Explanation {
        Explanation { headline: headline.into(), ..Explanation::default() }
    }

    /// With one more line (or several, at line feeds).
    pub fn line(mut self, text: impl AsRef<str>) -> Explanation {
        self.context.extend(text.as_ref().lines().map(String::from));
        self
    }

    /// With a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Explanation {
        self.hint = Some(hint.into());
        self
    }
}

impl Error {
    /// What kind it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Usage(_) => ErrorKind::Usage,
            Error::Held(_) => ErrorKind::Held,
            Error::Sides(error) if error.held() => ErrorKind::Held,
            Error::Doubt(doubt) if doubt.held() => ErrorKind::Held,
            Error::NotApproved(_) => ErrorKind::NotApproved,
            Error::Phase(failed) if failed.taken_over => ErrorKind::Held,
            Error::Phase(failed) if failed.denied() => ErrorKind::NotApproved,
            _ => ErrorKind::Error,
        }
    }

    /// As people read it.
    pub fn explain(&self) -> Explanation {
        match self {
            Error::Plan(error) => error.explain(),
            Error::Component(error) => error.explain(),
            Error::Lock(error) => error.explain(),
            Error::NotApproved(error) => error.explain(),
            Error::State(error) => error.explain(),
            Error::Held(held) => held.explain(),
            Error::Journal(error) if error.damaged => {
                Explanation::of(error.to_string()).line("the file is damaged").hint(
                    "`rehome resolve journal` keeps it aside and begins a new one, with what can still be read of it",
                )
            }
            Error::Journal(error) => Explanation::of(error.to_string())
                .hint("is there space left, and may this user write there? rehome does nothing that it cannot record"),
            Error::Side(error) => error.explain(),
            Error::Gate(error) => error.explain(),
            Error::Sides(error) => error.explain(),
            Error::Doubt(doubt) => doubt.explain(),
            Error::Usage(error) => {
                Explanation { headline: error.what.clone(), context: error.more.clone(), hint: error.hint.clone() }
            }
            Error::Phase(failed) => failed.explain(),
            Error::Interrupted(interrupted) => Explanation {
                headline: interrupted.to_string(),
                context: interrupted.state.clone(),
                hint: Some(interrupted.hint.clone()),
            },
        }
    }
}

impl From<Doubt> for Error {
    fn from(doubt: Doubt) -> Error {
        Error::Doubt(Box::new(doubt))
    }
}

impl SideError {
    fn explain(&self) -> Explanation {
        let said = causes(&self.source);
        let mut lines = said.lines().map(|line| line.trim_start().to_string());
        let headline = lines.next().unwrap_or_default();
        let mut explanation = Explanation::of(headline);
        explanation.context.extend(lines);
        explanation
            .line(format!("it is the side [{}] of the plan", self.side))
            .line("nothing was changed")
            .hint(self.source.remedy())
    }
}

/// An error with its causes.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl UsageError {
    /// Something on the command line that the plan does not have, with the nearest that it has.
    pub fn unknown<'a>(what: &str, word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> UsageError {
        let all: Vec<&str> = known.clone().into_iter().collect();
        let near = crate::nearest::nearest(word, known);
        UsageError {
            what: format!("there is no {what} `{word}`"),
            more: vec![format!("there is: {}", if all.is_empty() { "none".to_string() } else { all.join(", ") })],
            hint: near.map(|near| format!("did you mean `{near}`?")),
        }
    }
}
