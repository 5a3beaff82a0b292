//! A name below the root of a tree, as bytes.
//! Invariant: a `RelativePath` has no empty, `.` or `..` component, no NUL, and does not begin with `/`; the empty one is the root.
//! See `listing` for what else is asked of a path that a side reports.

use crate::{Error, escape};
use std::fmt;

/// The longest path taken from anyone, in bytes (Linux: PATH_MAX).
const LONGEST_PATH: usize = 4096;
/// The longest component, in bytes (Linux: NAME_MAX).
const LONGEST_NAME: usize = 255;

/// A path below the root of a tree: components joined by `/`, bytes throughout. Its `Display` escapes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RelativePath(Vec<u8>);

impl RelativePath {
    /// The root of the tree itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// Checks `bytes`. The empty path is the root.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is absolute, holds an empty, `.` or `..` component or a NUL, or is too long for Linux.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let bytes = bytes.into();
        match fault(&bytes) {
            None => Ok(Self(bytes)),
            Some(why) => Err(Error::Invalid {
                what: format!("path \"{}\"", escape(&bytes)),
                why: why.to_owned(),
                remedy: "name a path below the root of the tree, such as \"example.org/user\"".to_owned(),
            }),
        }
    }

    /// The bytes, without a leading or trailing `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes the bytes out.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Whether this is the root of the tree.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        name_of(&self.0)
    }

    /// The folder that holds this; the root is its own parent.
    pub fn parent(&self) -> Self {
        Self(parent_of(&self.0).to_vec())
    }

    /// This path with one more component.
    pub(crate) fn join(&self, name: &[u8]) -> Self {
        Self(join(&self.0, name))
    }

    /// Whether this is `folder` or lies below it.
    pub fn is_within(&self, folder: &[u8]) -> bool {
        is_within(&self.0, folder)
    }
}

/// The folder of a path, as bytes; empty for what lies in the root.
pub(crate) fn parent_of(path: &[u8]) -> &[u8] {
    path.iter().rposition(|&byte| byte == b'/').map_or(b"", |at| &path[..at])
}

/// The last component of a path, as bytes.
pub(crate) fn name_of(path: &[u8]) -> &[u8] {
    path.iter().rposition(|&byte| byte == b'/').map_or(path, |at| &path[at + 1..])
}

/// `folder/name`, or `name` in the root.
pub(crate) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(folder.len() + 1 + name.len());
    path.extend_from_slice(folder);
    if !folder.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Whether `path` is `folder` or lies below it; everything lies below the root (empty).
pub(crate) fn is_within(path: &[u8], folder: &[u8]) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// Why these bytes are no relative path.
fn fault(bytes: &[u8]) -> Option<&'static str> {
    if bytes.is_empty() {
        return None;
    }
    if bytes.len() > LONGEST_PATH {
        return Some("it is longer than 4096 bytes");
    }
    if bytes[0] == b'/' {
        return Some("it is absolute");
    }
    bytes.split(|&byte| byte == b'/').find_map(name_fault)
}

/// Why these bytes are no name of one file.
pub(crate) fn name_fault(name: &[u8]) -> Option<&'static str> {
    match name {
        b"" => Some("it has an empty component"),
        b"." | b".." => Some("it has a component `.` or `..`"),
        name if name.contains(&0) => Some("it holds a NUL"),
        name if name.len() > LONGEST_NAME => Some("it has a component longer than 255 bytes"),
        _ => None,
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&escape(&self.0))
    }
}

impl fmt::Debug for RelativePath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{self}\"")
    }
}

impl AsRef<[u8]> for RelativePath {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_out_of_the_tree_are_refused() {
        let long = vec![b'x'; 256];
        for bad in [&b"/etc"[..], b"..", b"a/../b", b"a//b", b"a/", b"./a", b"a/.", b"a\0b", &long] {
            assert!(RelativePath::new(bad).is_err(), "{}", escape(bad));
        }
    }

    #[test]
    fn odd_names_are_kept_byte_for_byte() {
        for good in [&b""[..], b"-rf", b"a b\n", b".&AOQ-", b"caf\xe9/..x", b"..."] {
            assert_eq!(RelativePath::new(good).unwrap().as_bytes(), good);
        }
    }

    #[test]
    fn within_means_whole_components() {
        let path = RelativePath::new(&b"a/bc/d"[..]).unwrap();
        assert!(path.is_within(b"a") && path.is_within(b"a/bc") && path.is_within(b"") && path.is_within(b"a/bc/d"));
        assert!(!path.is_within(b"a/b") && !path.is_within(b"b"));
        assert_eq!((path.name(), path.parent().as_bytes()), (&b"d"[..], &b"a/bc"[..]));
    }
}
