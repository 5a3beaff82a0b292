//! Holes: places in a request that a value fills at run time, `{NAME: TYPE from SOURCE}`. The type says what it may look
//! like, the source where it must have come from. In an argv a hole is a whole argument; in a line template it may stand
//! between literals.

use std::fmt;

use crate::value::ValueType;

/// A hole of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// what messages call it
    pub name: String,
    /// what may fill it
    pub kind: HoleType,
    /// where the value must have come from
    pub sources: Sources,
}

/// What may fill a hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoleType {
    /// a value of the table
    Value(ValueType),
    /// a file or folder of a granted tree: the value is relative to it, the argument becomes absolute
    PathIn(String),
    /// the first line that an exec request printed the first time it ran on that side: never what it says later
    AsFirstSeen(String),
}

/// Where a value must have come from, in this call of the phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// all of them (`and`), or any (`or`)
    pub all: bool,
    /// at least one, except for paths and first-seen lines, which are their own source
    pub of: Vec<Source>,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// what a read request yielded, by its id: "exec.users", "sql.accounts", "lookup.mx"
    Yielded(String),
    /// what the operator chose, by the question's key
    Operator(String),
    /// what the plan sets, by the key of a list in the config
    Config(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Yielded(id) => f.write_str(id),
            Source::Operator(key) => write!(f, "operator.{key}"),
            Source::Config(key) => write!(f, "config.{key}"),
        }
    }
}

/// A piece of a line template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// as it stands
    Literal(String),
    /// filled by a value
    Hole(Hole),
}

impl Hole {
    /// Whether the phase names the value. What was seen first, only the host knows.
    pub fn takes_value(&self) -> bool {
        !matches!(self.kind, HoleType::AsFirstSeen(_))
    }

    /// The hole that an argument is, if it is one. Everything that does not look like `{name: …}` is a literal.
    pub fn parse(argument: &str) -> Result<Option<Hole>, String> {
        match segments(argument)?.as_slice() {
            [Segment::Hole(hole)] => Ok(Some(hole.clone())),
            pieces if pieces.iter().any(|piece| matches!(piece, Segment::Hole(_))) => {
                Err(format!("`{argument}`: a hole is a whole argument; put fixed values in with ${{config.…}}"))
            }
            _ => Ok(None),
        }
    }
}

/// A template as literals and holes.
pub fn segments(template: &str) -> Result<Vec<Segment>, String> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        literal.push_str(&rest[..at]);
        rest = &rest[at..];
        let Some((name, after)) = opening(rest) else {
            literal.push('{');
            rest = &rest[1..];
            continue;
        };
        let Some(end) = after.find('}') else { return Err(format!("`{template}`: the hole `{name}` has no `}}`")) };
        if !literal.is_empty() {
            pieces.push(Segment::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(Segment::Hole(declared(name, &after[..end])?));
        rest = &after[end + 1..];
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Segment::Literal(literal));
    }
    Ok(pieces)
}

/// `{name:` at the start of `text`: the name, and what follows the colon.
fn opening(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text[1..].split_once(':')?;
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    is_name.then_some((name, after))
}

fn declared(name: &str, text: &str) -> Result<Hole, String> {
    let (kind, sources) = match text.split_once(" from ") {
        Some((kind, sources)) => (kind.trim(), Some(sources.trim())),
        None => (text.trim(), None),
    };
    let kind = hole_type(kind).map_err(|why| format!("hole `{name}`: {why}"))?;
    let sources = match sources {
        Some(text) => parse_sources(text).map_err(|why| format!("hole `{name}`: {why}"))?,
        None => Sources::default(),
    };
    match (&kind, sources.of.is_empty()) {
        (HoleType::Value(_), true) => Err(format!(
            "hole `{name}`: say where its values come from: `from exec.…`, `from sql.…` or `from operator.…`"
        )),
        (HoleType::AsFirstSeen(_), false) => {
            Err(format!("hole `{name}`: `as-first-seen` is its own source; drop `from`"))
        }
        _ => Ok(Hole { name: name.into(), kind, sources }),
    }
}

fn hole_type(text: &str) -> Result<HoleType, String> {
    if let Some(tree) = inside(text, "path-in(") {
        return Ok(HoleType::PathIn(tree.to_string()));
    }
    if let Some(request) = inside(text, "as-first-seen(") {
        return Ok(HoleType::AsFirstSeen(request.to_string()));
    }
    ValueType::named(text).map(HoleType::Value).ok_or_else(|| {
        format!(
            "`{text}` is no type; types are {}, path-in(TREE) and as-first-seen(exec.NAME)",
            ValueType::names().collect::<Vec<_>>().join(", ")
        )
    })
}

fn inside<'a>(text: &'a str, opening: &str) -> Option<&'a str> {
    text.strip_prefix(opening)?.strip_suffix(')').map(str::trim)
}

fn parse_sources(text: &str) -> Result<Sources, String> {
    let (all, parts): (bool, Vec<&str>) = match (text.contains(" and "), text.contains(" or ")) {
        (true, true) => return Err("mixes `and` with `or`".into()),
        (true, false) => (true, text.split(" and ").collect()),
        _ => (false, text.split(" or ").collect()),
    };
    let of = parts
        .into_iter()
        .map(|part| match part.trim().split_once('.') {
            Some(("operator", key)) => Ok(Source::Operator(key.to_string())),
            Some(("config", key)) => Ok(Source::Config(key.to_string())),
            Some(("exec" | "sql" | "lookup", _)) => Ok(Source::Yielded(part.trim().to_string())),
            _ => Err(format!(
                "`{part}` is no source; sources are exec.NAME, sql.NAME, lookup.NAME, operator.KEY and config.KEY"
            )),
        })
        .collect::<Result<_, _>>()?;
    Ok(Sources { all, of })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_names_its_type_and_its_sources() {
        let hole = Hole::parse("{id: queue-id from exec.queue and operator.delete}").unwrap().unwrap();
        assert_eq!(hole.kind, HoleType::Value(ValueType::QueueId));
        assert!(hole.sources.all);
        assert_eq!(hole.sources.of, [Source::Yielded("exec.queue".into()), Source::Operator("delete".into())]);
        assert!(
            matches!(Hole::parse("{k: path-in(dkim)}").unwrap().unwrap().kind, HoleType::PathIn(tree) if tree == "dkim")
        );
    }

    #[test]
    fn braces_that_are_no_hole_are_literal() {
        for literal in ["inline:{ {192.0.2.1=DISABLE} }", "{}", "{A: b}", "json:{\"a\": 1}", "plain"] {
            assert_eq!(Hole::parse(literal), Ok(None), "{literal}");
        }
    }

    #[test]
    fn a_hole_inside_an_argument_or_without_source_is_refused() {
        for argument in [
            "x={v: domain from exec.a}",
            "{v: domain}",
            "{v: glob from exec.a}",
            "{v: domain from file.a}",
            "{v: domain from exec.a or exec.b and exec.c}",
            "{v: domain from exec.a",
        ] {
            assert!(Hole::parse(argument).is_err(), "{argument}");
        }
    }

    #[test]
    fn a_line_template_has_literals_between_its_holes() {
        let pieces = segments("{a: domain from sql.d}\tREJECT {b: text from sql.t}\n").unwrap();
        assert_eq!(pieces.len(), 4);
        assert_eq!(pieces[1], Segment::Literal("\tREJECT ".into()));
    }
}
