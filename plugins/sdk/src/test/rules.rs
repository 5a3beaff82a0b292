//! The rules that the test host keeps, as a real one does: granted, on that side, under that verb; values that fit their
//! holes and come from their sources. What it cannot know (what a command does) it does not pretend.

use rehome_manifest::hole::segments;
use rehome_manifest::words::{Effect, SideName, Verb};
use rehome_manifest::{Hole, HoleType, Manifest, Segment, Source};

use super::State;
use crate::sql::Rows;
use crate::{Failure, Side, lines};

/// What a request declares about when and where it may be called.
pub(crate) struct Allowed {
    pub(crate) on: Vec<SideName>,
    pub(crate) effect: Effect,
    pub(crate) verbs: Vec<Verb>,
}

fn name_of(side: Side) -> SideName {
    match side {
        Side::Old => SideName::Old,
        Side::New => SideName::New,
    }
}

impl State {
    pub(crate) fn manifest(&self) -> &Manifest {
        &self.filled.as_ref().expect("set by `Host::call`").manifest
    }

    fn verb(&self) -> Verb {
        self.verb.expect("set by `Host::call`")
    }

    /// Refuses what a real host refuses before it looks at values.
    pub(crate) fn allow(&self, id: &str, side: Option<Side>, request: &Allowed) -> Result<(), Failure> {
        if let Some(side) = side
            && !request.on.contains(&name_of(side))
        {
            return Err(Failure::Denied(format!("`{id}` is not requested on {side}")));
        }
        self.allow_effect(id, request.effect)?;
        if !request.verbs.is_empty() && !request.verbs.contains(&self.verb()) {
            return Err(Failure::ReadOnly(format!("`{id}` is kept for another verb than {}", self.verb())));
        }
        Ok(())
    }

    /// `check`, `preview` and `verify` only read.
    pub(crate) fn allow_effect(&self, id: &str, effect: Effect) -> Result<(), Failure> {
        if self.verb().only_reads() && effect != Effect::Read {
            return Err(Failure::ReadOnly(format!("`{id}` is {effect}, and {} only reads", self.verb())));
        }
        Ok(())
    }

    /// Checks values against the holes of an argv.
    pub(crate) fn holes(&self, id: &str, argv: &[String], values: &[String]) -> Result<(), Failure> {
        let holes: Vec<Hole> =
            argv.iter().filter_map(|argument| Hole::parse(argument).ok().flatten()).filter(Hole::takes_value).collect();
        self.fill(id, &holes, values)
    }

    /// Checks rows against the holes of a line template.
    pub(crate) fn rows(&self, id: &str, template: Option<&str>, rows: &[Vec<String>]) -> Result<(), Failure> {
        let holes: Vec<Hole> = segments(template.unwrap_or_default())
            .unwrap_or_default()
            .into_iter()
            .filter_map(|segment| match segment {
                Segment::Hole(hole) => Some(hole),
                Segment::Literal(_) => None,
            })
            .collect();
        rows.iter().try_for_each(|row| self.fill(id, &holes, row))
    }

    fn fill(&self, id: &str, holes: &[Hole], values: &[String]) -> Result<(), Failure> {
        if holes.len() != values.len() {
            return Err(Failure::RefusedValue(format!(
                "`{id}` has {} holes, and got {} values",
                holes.len(),
                values.len()
            )));
        }
        for (hole, value) in holes.iter().zip(values) {
            let refused = |why: &str| {
                Failure::RefusedValue(format!("`{id}`: hole `{}`: `{}` {why}", hole.name, value.escape_default()))
            };
            if let HoleType::Value(kind) = hole.kind {
                kind.check(value).map_err(|why| refused(&why))?;
            }
            let mut of = hole.sources.of.iter();
            let from = |source: &Source| self.has_yielded(source, value);
            let comes = hole.sources.of.is_empty() || if hole.sources.all { of.all(from) } else { of.any(from) };
            if !comes {
                let sources: Vec<String> = hole.sources.of.iter().map(ToString::to_string).collect();
                return Err(refused(&format!("was not yielded by {} in this call", sources.join(", "))));
            }
        }
        Ok(())
    }

    fn has_yielded(&self, source: &Source, value: &String) -> bool {
        match source {
            Source::Yielded(id) => self.yielded.get(id).is_some_and(|set| set.contains(value)),
            Source::Config(key) => {
                let filled = self.filled.as_ref().expect("set by `Host::call`");
                filled.config.get(key).is_some_and(|set| set.texts.contains(value))
            }
            Source::Operator(key) => self.answers.get(key).is_some_and(|answer| answer.values.contains(value)),
        }
    }

    /// Keeps what a read yields as a source of later holes.
    pub(crate) fn keep_output(&mut self, id: &str, yields: Option<&str>, stdout: &[u8]) {
        let set: Vec<String> = match yields {
            Some("lines") => lines(stdout),
            Some("words") => String::from_utf8_lossy(stdout).split_whitespace().map(String::from).collect(),
            Some(yields) => {
                let Some(pointer) = yields.strip_prefix("json-lines:") else { return };
                let text = |line: &String| {
                    let value: serde_json::Value = serde_json::from_str(line).ok()?;
                    value.pointer(pointer)?.as_str().map(String::from)
                };
                lines(stdout).iter().filter_map(text).collect()
            }
            None => return,
        };
        self.yielded.entry(id.to_string()).or_default().extend(set);
    }

    /// The same for the rows of a query.
    pub(crate) fn keep_rows(&mut self, id: &str, yields: Option<&str>, rows: &Rows) {
        if let Some(column) = yields.and_then(|yields| yields.strip_prefix("column:")) {
            self.yielded.entry(id.to_string()).or_default().extend(rows.texts(column));
        }
    }
}
