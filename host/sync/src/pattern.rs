//! Globs on the name of a file: `*`, `?`, `[a-z]`, `[!a-z]`, and `\` before a literal; bytes, not characters.
//! Invariant: a pattern sees one component, never a `/`; matching takes at most pattern length times name length steps.
//! Used by `without`, `only`, `also_replace` (`options`) and by `Tree::set_aside`.

use crate::{Error, escape};
use std::fmt;

/// A glob that has been checked. Unlike a shell's, `*` also matches a leading dot.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Vec<u8>,
    pieces: Vec<Piece>,
}

#[derive(Clone, PartialEq, Eq)]
enum Piece {
    Literal(u8),
    Any,
    Star,
    Class { negated: bool, ranges: Vec<(u8, u8)> },
}

impl Pattern {
    /// Checks a glob.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is empty, holds a `/` or a NUL, ends in `\`, or opens a `[` that it does not close.
    pub fn new(glob: impl AsRef<[u8]>) -> Result<Self, Error> {
        let text = glob.as_ref();
        match parse(text) {
            Ok(pieces) => Ok(Self { text: text.to_vec(), pieces }),
            Err(why) => Err(Error::Invalid {
                what: format!("pattern \"{}\"", escape(text)),
                why: why.to_owned(),
                remedy: "write a glob on the name of a file, such as \"dovecot.index*\"".to_owned(),
            }),
        }
    }

    /// Whether a file of this name (one component) is meant.
    pub fn matches(&self, name: &[u8]) -> bool {
        // The usual two-pointer glob: on a mismatch go back to the last star and let it take one byte more.
        let (mut at, mut piece, mut retry) = (0, 0, None);
        while at < name.len() {
            match self.pieces.get(piece) {
                Some(Piece::Star) => {
                    retry = Some((piece, at));
                    piece += 1;
                }
                Some(one) if one.takes(name[at]) => {
                    at += 1;
                    piece += 1;
                }
                _ => match retry {
                    Some((star, from)) => {
                        retry = Some((star, from + 1));
                        (piece, at) = (star + 1, from + 1);
                    }
                    None => return false,
                },
            }
        }
        self.pieces[piece..].iter().all(|rest| *rest == Piece::Star)
    }
}

impl Piece {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Piece::Literal(literal) => *literal == byte,
            Piece::Any => true,
            Piece::Star => false,
            Piece::Class { negated, ranges } => {
                ranges.iter().any(|&(low, high)| (low..=high).contains(&byte)) != *negated
            }
        }
    }
}

fn parse(text: &[u8]) -> Result<Vec<Piece>, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.contains(&b'/') || text.contains(&0) {
        return Err("it holds a `/` or a NUL, which no name of a file has");
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        pieces.push(match byte {
            b'*' => Piece::Star,
            b'?' => Piece::Any,
            b'[' => {
                let (class, after) = parse_class(rest)?;
                rest = after;
                class
            }
            b'\\' => {
                let (&literal, after) = rest.split_first().ok_or("it ends in a backslash")?;
                rest = after;
                Piece::Literal(literal)
            }
            literal => Piece::Literal(literal),
        });
    }
    Ok(pieces)
}

/// What follows a `[`: the class, and the rest after its `]`. A `]` in first place is a member.
fn parse_class(text: &[u8]) -> Result<(Piece, &[u8]), &'static str> {
    let negated = matches!(text.first(), Some(b'!' | b'^'));
    let members = if negated { &text[1..] } else { text };
    let end = members.iter().skip(1).position(|&byte| byte == b']').ok_or("it opens a `[` and does not close it")? + 1;
    let (inside, after) = (&members[..end], &members[end + 1..]);
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < inside.len() {
        if at + 2 < inside.len() && inside[at + 1] == b'-' {
            ranges.push((inside[at], inside[at + 2]));
            at += 3;
        } else {
            ranges.push((inside[at], inside[at]));
            at += 1;
        }
    }
    Ok((Piece::Class { negated, ranges }, after))
}

impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&escape(&self.text))
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    fn matches(glob: &str, name: &[u8]) -> bool {
        Pattern::new(glob).unwrap().matches(name)
    }

    #[test]
    fn globs_match_whole_names() {
        assert!(matches("dovecot.index*", b"dovecot.index.cache"));
        assert!(matches("dovecot.index*", b"dovecot.index"));
        assert!(!matches("dovecot.index*", b".dovecot.index"));
        assert!(matches("*.lock", b".\xff.lock") && !matches("*.lock", b"a.lock2"));
        assert!(matches("*a*b*c", b"xaybzc") && !matches("*a*b*c", b"xaybz"));
        assert!(matches("?[a-c][!x]", b"\nbz") && !matches("?[a-c][!x]", b"\nbx"));
        assert!(matches("[]]", b"]") && matches("\\*", b"*") && !matches("\\*", b"x"));
    }

    #[test]
    fn a_long_run_of_stars_does_not_take_for_ever() {
        let name = vec![b'a'; 255];
        assert!(!matches(&format!("{}b", "a*".repeat(100)), &name));
    }

    #[test]
    fn what_is_no_glob_on_a_name_is_refused() {
        for bad in ["", "a/b", "[a", "a\\", "a\0"] {
            assert!(Pattern::new(bad).is_err(), "{bad:?}");
        }
    }
}
