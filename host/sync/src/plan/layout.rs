//! The maildir layout: which folders are mailboxes, what a message is, what its base name is.
//! Invariant: a mailbox is a folder that holds `cur` and `new`; a message is a regular file directly in one of these.
//! With the plain strategy there are no mailboxes, and every question here is answered accordingly.

use super::Stage;
use crate::listing::Listing;
use crate::path::{name_of, parent_of};
use crate::{Kind, RelativePath, Strategy};
use std::collections::{HashMap, HashSet};

/// The mailboxes of two trees.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    maildir: bool,
    mailboxes: HashSet<Vec<u8>>,
}

impl Layout {
    pub(crate) fn find(strategy: Strategy, listings: [&Listing; 2]) -> Self {
        let mut layout = Self { maildir: strategy == Strategy::Maildir, mailboxes: HashSet::new() };
        if !layout.maildir {
            return layout;
        }
        for listing in listings {
            let mut parts: HashMap<&[u8], u8> = HashMap::new();
            for entry in listing.entries.iter().filter(|entry| entry.kind == Kind::Folder) {
                let bit = match entry.path.name() {
                    b"cur" => 1,
                    b"new" => 2,
                    _ => continue,
                };
                *parts.entry(parent_of(entry.path.as_bytes())).or_default() |= bit;
            }
            layout.mailboxes.extend(parts.iter().filter(|(_, bits)| **bits == 3).map(|(path, _)| path.to_vec()));
        }
        layout
    }

    pub(crate) fn is_maildir(&self) -> bool {
        self.maildir
    }

    pub(crate) fn is_mailbox(&self, folder: &[u8]) -> bool {
        self.mailboxes.contains(folder)
    }

    /// The mailbox whose `cur` or `new` holds this path.
    pub(crate) fn mailbox_of_message<'path>(&self, path: &'path [u8]) -> Option<&'path [u8]> {
        let leaf = parent_of(path);
        let mailbox = parent_of(leaf);
        (matches!(name_of(leaf), b"cur" | b"new") && self.is_mailbox(mailbox)).then_some(mailbox)
    }

    /// Whether it lies below the `tmp` of a mailbox: half-delivered mail, of no use to anybody else.
    pub(crate) fn in_tmp(&self, path: &[u8]) -> bool {
        if !self.maildir {
            return false;
        }
        let mut folder = parent_of(path);
        while !folder.is_empty() {
            if name_of(folder) == b"tmp" && self.is_mailbox(parent_of(folder)) {
                return true;
            }
            folder = parent_of(folder);
        }
        false
    }

    /// The `tmp` of a mailbox itself.
    pub(crate) fn is_tmp(&self, path: &[u8]) -> bool {
        name_of(path) == b"tmp" && self.is_mailbox(parent_of(path))
    }

    /// The folder that counts as changed when this path did: the mailbox, or the folder it lies in.
    pub(crate) fn unit(&self, path: &[u8]) -> RelativePath {
        let parent = parent_of(path);
        let unit = match name_of(parent) {
            b"cur" | b"new" | b"tmp" if self.is_mailbox(parent_of(parent)) => parent_of(parent),
            _ => parent,
        };
        RelativePath::new(unit).unwrap_or_default()
    }

    pub(crate) fn stage(&self, path: &[u8]) -> Stage {
        if !self.maildir || self.mailbox_of_message(path).is_some() {
            Stage::Content
        } else if name_of(path) == b"dovecot-keywords" && self.is_mailbox(parent_of(path)) {
            Stage::First
        } else {
            Stage::Last
        }
    }
}

/// The name of a message without its flags: up to `:2,`.
pub(crate) fn base_name(name: &[u8]) -> &[u8] {
    name.windows(3).position(|part| part == b":2,").map_or(name, |at| &name[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_name_ends_where_the_flags_begin() {
        assert_eq!(base_name(b"1.M2P3.host,S=4,W=5:2,FS"), b"1.M2P3.host,S=4,W=5");
        assert_eq!(base_name(b"1.host"), b"1.host");
        assert_eq!(base_name(b"1.host:1,x"), b"1.host:1,x");
        assert_eq!(base_name(b"a:2,S:2,T"), b"a");
    }
}
