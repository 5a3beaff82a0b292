//! What is wrong with a plan, with the line that is: shown as the operator wrote it, a mark below the words that matter.
//! Invariant: what a plan holds may be anybody's text; whoever shows an error escapes it.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use super::Source;
use crate::error::Explanation;
use crate::nearest::nearest;

/// Why a plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// the file is not there, or cannot be read
    #[error("cannot read the plan {}", path.display())]
    Unreadable {
        /// the file
        path: PathBuf,
        /// what the system said
        source: std::io::Error,
    },
    /// a place in it
    #[error("{0}")]
    Refused(Box<Refused>),
}

/// A place in a plan that is refused.
#[derive(Clone, Debug)]
pub struct Refused {
    /// the file, as it was named
    pub path: PathBuf,
    /// counted from 1
    pub line: usize,
    /// in characters, counted from 1
    pub column: usize,
    /// what is wrong, naming the key
    pub what: String,
    /// what would be accepted, and more: a line each
    pub more: Vec<String>,
    /// what to do
    pub hint: Option<String>,
    /// the line as written
    excerpt: String,
    /// characters to mark
    width: usize,
}

impl Refused {
    pub(crate) fn at(source: &Source, span: Range<usize>, what: impl Into<String>) -> Refused {
        let text = &source.text;
        let at = floor(text, span.start.min(text.len()));
        let begin = text[..at].rfind('\n').map_or(0, |feed| feed + 1);
        let end = text[begin..].find('\n').map_or(text.len(), |feed| begin + feed);
        let stop = floor(text, span.end.clamp(at, end));
        Refused {
            path: source.path.clone(),
            line: text[..begin].matches('\n').count() + 1,
            column: text[begin..at].chars().count() + 1,
            what: what.into(),
            more: Vec::new(),
            hint: None,
            excerpt: text[begin..end].trim_end_matches('\r').to_string(),
            width: text[at..stop.max(at)].chars().count().max(1),
        }
    }

    pub(crate) fn more(mut self, line: impl Into<String>) -> Refused {
        self.more.push(line.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Refused {
        self.hint = Some(hint.into());
        self
    }

    /// From what the TOML reader said.
    pub(crate) fn from_toml(source: &Source, error: &toml::de::Error) -> Refused {
        let span = error.span().unwrap_or(0..0);
        let mut lines = error.message().lines();
        let said = lines.next().unwrap_or("is not TOML");
        let rest: Vec<String> = lines.map(String::from).collect();
        let (word, list) = (quoted(said), said.split_once("expected ").map(|(_, list)| list));
        let key = key_at(&source.text, span.start);
        if said.starts_with("unknown field") {
            let known: Vec<&str> = list.map(every_quoted).unwrap_or_default();
            let refused = Refused::at(source, span, format!("unknown key `{word}`"));
            let near = nearest(word, known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
            let refused = refused.more(format!("keys here are: {}", known.join(", ")));
            return Refused { hint: near, ..refused };
        }
        if said.starts_with("unknown variant") {
            let known: Vec<&str> = list.map(every_quoted).unwrap_or_default();
            return Refused::at(source, span, format!("{}`{word}` is not a value of it", of(&key)))
                .more(format!("it is one of: {}", known.join(", ")));
        }
        if said.starts_with("missing field") {
            return Refused::at(source, span, format!("the key `{word}` is missing here"));
        }
        let what = match said.split_once(", expected ") {
            Some((found, expected)) if said.starts_with("invalid type: ") => {
                format!("{}should be {expected}, and is {}", of(&key), kind(found.trim_start_matches("invalid type: ")))
            }
            _ => format!("{}{said}", of(&key)),
        };
        Refused { more: rest, ..Refused::at(source, span, what) }
    }

    pub(crate) fn explain(&self) -> Explanation {
        let number = self.line.to_string();
        let before: String = self.excerpt.chars().take(self.column - 1).map(blank).collect();
        let mark = format!("{} | {before}{}", " ".repeat(number.len()), "^".repeat(self.width));
        let mut context = vec![format!("{number} | {}", self.excerpt), mark];
        context.extend(self.more.iter().cloned());
        Explanation { headline: self.to_string(), context, hint: self.hint.clone() }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.path.display(), self.line, self.column, self.what)
    }
}

impl From<Refused> for PlanError {
    fn from(refused: Refused) -> PlanError {
        PlanError::Refused(Box::new(refused))
    }
}

impl PlanError {
    pub(crate) fn explain(&self) -> Explanation {
        match self {
            PlanError::Unreadable { source, .. } => Explanation::of(self.to_string()).line(source.to_string()).hint(
                "go to the folder of the plan, or name it: `rehome --plan FILE …`; `rehome demo` shows one at work",
            ),
            PlanError::Refused(refused) => refused.explain(),
        }
    }
}

/// serde's words for what it found, as plans call it.
fn kind(found: &str) -> String {
    let (word, value) = found.split_once(' ').unwrap_or((found, ""));
    let word = match word {
        "sequence" => "a list",
        "map" => "a table",
        "string" => "the string",
        "integer" => "the number",
        "floating" => return format!("the number {}", value.trim_start_matches("point ")),
        "boolean" => "the boolean",
        other => other,
    };
    if value.is_empty() { word.to_string() } else { format!("{word} {value}") }
}

fn of(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("`{key}`: ") }
}

/// The key whose value stands at `at`: what is before the last `=` that begins a line's value.
fn key_at(text: &str, at: usize) -> String {
    let at = floor(text, at.min(text.len()));
    let end = text[at..].find('\n').map_or(text.len(), |feed| at + feed);
    let lines = text[..end].lines().rev();
    for line in lines {
        let line = line.trim();
        if line.starts_with('[') && line.ends_with(']') && !line.contains('=') {
            return String::new();
        }
        let bare = |c: char| c.is_ascii_alphanumeric() || "-_.\" ".contains(c);
        if let Some((key, _)) = line.split_once('=')
            && key.chars().all(bare)
        {
            return key.trim().to_string();
        }
    }
    String::new()
}

fn quoted(text: &str) -> &str {
    every_quoted(text).first().copied().unwrap_or_default()
}

fn every_quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Keeps a tab a tab, so that the mark stands below its word.
fn blank(c: char) -> char {
    if c == '\t' { '\t' } else { ' ' }
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
