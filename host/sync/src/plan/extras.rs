//! What only the target has.
//! Invariant: nothing outside the scope, in `tmp`, left out by name, or below a folder that could not be compared is an
//! extra; a folder is one only when all of it is gone on the source and no `only` limits the pass.

use super::{Extra, Planner, below_any};
use crate::path::{join, parent_of};
use crate::{Entry, Kind};
use std::collections::HashSet;

impl<'a> Planner<'a> {
    pub(super) fn extras(&mut self) {
        let target = self.target;
        let mut gone: HashSet<&'a [u8]> = HashSet::new();
        self.plan.deletable += target.unlisted;
        for (at, entry) in target.entries.iter().enumerate() {
            let below_gone = below_any(&gone, &entry.path);
            let extra = !below_gone && self.is_extra(at, entry);
            let moved = below_gone || below_any(&self.replaced, &entry.path);
            if self.counts(entry) {
                self.plan.deletable += 1;
                self.plan.would_delete += u64::from(extra || moved && !self.taken[at]);
            }
            if !extra {
                continue;
            }
            if entry.kind == Kind::Folder {
                gone.insert(entry.path.as_bytes());
            }
            self.plan.extras.push(Extra { path: entry.path.clone(), kind: entry.kind });
        }
    }

    /// Whether the limit is a share of these.
    fn counts(&self, entry: &Entry) -> bool {
        entry.kind == Kind::File
            && self.selected(entry.path.name())
            && (!self.layout.is_maildir() || self.layout.mailbox_of_message(entry.path.as_bytes()).is_some())
    }

    fn is_extra(&self, at: usize, entry: &Entry) -> bool {
        let path = entry.path.as_bytes();
        if below_any(&self.replaced, &entry.path) || below_any(&self.left_out, &entry.path) || self.layout.in_tmp(path)
        {
            return false;
        }
        let on_source = self.source.find(path).is_some();
        if entry.kind == Kind::Folder {
            return !on_source && self.options.only.is_empty() && !self.is_needless_tmp(path);
        }
        if !self.selected(entry.path.name()) {
            return false;
        }
        // The source's entry of the same path may have been a stale one, see `without_stale`; the pass looks again anyway.
        !on_source && !self.taken[at]
    }

    /// The `tmp` of a mailbox that has none on the source: its server makes it when it needs it, and would again here.
    fn is_needless_tmp(&self, path: &[u8]) -> bool {
        let mailbox = parent_of(path);
        let on_source = |leaf: &[u8]| self.source.find(&join(mailbox, leaf)).is_some();
        self.layout.is_tmp(path) && on_source(b"cur") && on_source(b"new")
    }
}
