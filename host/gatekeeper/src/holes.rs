//! Fills holes: every value is of its hole's type and comes from where the request says, or nothing runs.

use rehome_manifest::hole::{Hole, HoleType, Segment, Source, segments};
use rehome_manifest::value;

use crate::door::Session;
use crate::types::{Failure, SideName};

/// What a value becomes, once checked.
pub(crate) enum Filling {
    Ready(String),
    /// a path in this tree that is still to be looked at
    PathIn(String, String),
    /// to be taken from the journal
    FirstSeen(String),
}

impl Session {
    /// An argv with its holes filled, in their order. Paths and first-seen lines are resolved later, behind the door.
    pub(crate) fn fill_argv(&self, id: &str, argv: &[String], values: &[String]) -> Result<Vec<Filling>, Failure> {
        let mut values = values.iter();
        let mut filled = Vec::with_capacity(argv.len());
        for argument in argv {
            // Parsed before when the manifest was; a second look costs microseconds and keeps one source of truth.
            let hole = Hole::parse(argument).map_err(|why| Failure::RefusedValue(format!("`{id}`: {why}")))?;
            filled.push(match hole {
                None => Filling::Ready(argument.clone()),
                Some(hole) => self.fill(id, &hole, &mut values)?,
            });
        }
        match values.count() {
            0 => Ok(filled),
            more => Err(Failure::RefusedValue(format!("`{id}` was given {more} values more than it has holes"))),
        }
    }

    /// Lines made of a template, one a row.
    pub(crate) fn fill_lines(&self, id: &str, template: &str, rows: &[Vec<String>]) -> Result<String, Failure> {
        let pieces = segments(template).map_err(|why| Failure::RefusedValue(format!("`{id}`: {why}")))?;
        let mut text = String::new();
        for row in rows {
            let mut values = row.iter();
            for piece in &pieces {
                match piece {
                    Segment::Literal(literal) => text.push_str(literal),
                    Segment::Hole(hole) => match self.fill(id, hole, &mut values)? {
                        Filling::Ready(value) => text.push_str(&value),
                        _ => return Err(Failure::RefusedValue(format!("`{id}`: a line takes plain values only"))),
                    },
                }
            }
            if values.next().is_some() {
                return Err(Failure::RefusedValue(format!("`{id}`: a row has more values than its line has holes")));
            }
            if !text.ends_with('\n') {
                text.push('\n');
            }
        }
        Ok(text)
    }

    fn fill<'v>(
        &self,
        id: &str,
        hole: &Hole,
        values: &mut impl Iterator<Item = &'v String>,
    ) -> Result<Filling, Failure> {
        // Only the host knows what was there first: this hole takes no value from the phase.
        if let HoleType::AsFirstSeen(request) = &hole.kind {
            return Ok(Filling::FirstSeen(request.clone()));
        }
        let refuse = |why: String| Failure::RefusedValue(format!("`{id}`, hole `{}`: {why}", hole.name));
        let Some(value) = values.next() else { return Err(refuse("no value was given".into())) };
        let shown = rehome_sync::escape(value.as_bytes());
        let kind = match &hole.kind {
            HoleType::Value(kind) => kind.check(value).map(|()| Filling::Ready(value.clone())),
            HoleType::PathIn(tree) => value::printable(value).map(|()| Filling::PathIn(tree.clone(), value.clone())),
            HoleType::AsFirstSeen(_) => Ok(Filling::Ready(String::new())),
        };
        let filling = kind.map_err(|why| refuse(format!("`{shown}` {why}")))?;
        self.comes_from(hole, value).map_err(|why| refuse(format!("`{shown}` {why}")))?;
        Ok(filling)
    }

    fn comes_from(&self, hole: &Hole, value: &str) -> Result<(), String> {
        if hole.sources.of.is_empty() {
            return Ok(());
        }
        let observed = self.observed();
        let set =
            |key: &String| self.filled().config.get(key).is_some_and(|set| set.texts.iter().any(|text| text == value));
        let missing = |source: &&Source| match source {
            Source::Config(key) => !set(key),
            _ => !observed.get(&source.to_string()).is_some_and(|set| set.contains(value)),
        };
        let missed: Vec<String> = hole.sources.of.iter().filter(missing).map(ToString::to_string).collect();
        let refused = if hole.sources.all { !missed.is_empty() } else { missed.len() == hole.sources.of.len() };
        if refused { Err(format!("was not among what {} gave in this call", missed.join(" and "))) } else { Ok(()) }
    }

    /// Remembers what a read request gave, as the source of later holes.
    pub(crate) fn observe(&self, id: &str, values: impl IntoIterator<Item = String>) {
        self.observed().entry(id.to_string()).or_default().extend(values);
    }
}

/// The first line that a request gave on a side, kept for `as-first-seen`.
pub(crate) fn first_seen_key(component: &str, request: &str, side: SideName) -> String {
    format!("first line of {request} of {component} on {side}")
}
