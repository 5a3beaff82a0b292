//! Planning, first half: walks the source, parents first, and finds for each entry what the target has of it.
//! Invariant: with `add_only` nothing that the target has is changed, except files that match `also_replace`.
//! Messages are matched by base name and size; everything else by path, size and time.

use super::layout::base_name;
use super::{Copy, Former, Planner, Rename, Stage, below_any};
use crate::{Entry, Kind, RelativePath};
use std::collections::HashMap;

type Key<'a> = (&'a [u8], &'a [u8]);

impl<'a> Planner<'a> {
    pub(super) fn content(&mut self) {
        let source = self.source;
        let mut messages = Vec::new();
        for (index, entry) in source.entries.iter().enumerate() {
            let path = entry.path.as_bytes();
            let named_out = entry.kind != Kind::Folder && !self.selected(entry.path.name());
            if named_out || self.layout.in_tmp(path) || below_any(&self.left_out, &entry.path) {
                continue;
            }
            self.plan.examined += 1;
            match entry.kind {
                Kind::Other => self.skip(entry, "it is a device, a pipe or a socket: such are not copied"),
                Kind::Folder => self.folder(index, entry),
                Kind::File if self.layout.mailbox_of_message(path).is_some() => messages.push(index),
                Kind::File | Kind::Symlink => self.file(index, entry),
            }
        }
        if !self.layout.is_maildir() {
            self.plan.source_files = source.entries.iter().filter(|entry| entry.kind == Kind::File).count() as u64;
            return;
        }
        self.plan.source_files = messages.len() as u64 + source.unlisted;
        self.messages(&messages);
    }

    fn skip(&mut self, entry: &Entry, why: &str) {
        self.plan.skipped.push((entry.path.clone(), why.to_owned()));
    }

    fn folder(&mut self, index: usize, entry: &'a Entry) {
        let Some(at) = self.counterpart(&entry.path) else {
            self.plan.folders.push(index);
            return;
        };
        let target = &self.target.entries[at];
        if target.kind != Kind::Folder {
            if self.clear_way(entry, target) {
                self.plan.folders.push(index);
            } else {
                self.left_out.insert(entry.path.as_bytes());
            }
            return;
        }
        if self.options.add_only || !self.options.only.is_empty() {
            return;
        }
        self.plan.corrections.extend(self.correction(entry, target, false));
        if !self.same_time(entry, target) {
            self.plan.folder_times.push(index);
        }
    }

    /// Sets aside what the target has under that name, which is of another kind; or skips the source's where that is not allowed.
    fn clear_way(&mut self, entry: &Entry, target: &'a Entry) -> bool {
        let named = self.options.also_replace.iter().any(|pattern| pattern.matches(entry.path.name()));
        let why = if target.kind == Kind::Folder {
            // All it holds goes with it: that is deleting, and counted as such.
            if self.options.delete && !self.options.add_only {
                ""
            } else {
                "the target has a folder of that name, and nothing may be deleted there"
            }
        } else if self.options.add_only && !named {
            "the target has something else of that name, and nothing may be replaced there"
        } else {
            ""
        };
        if !why.is_empty() {
            self.skip(entry, why);
            return false;
        }
        self.plan.conflicts.push(target.path.clone());
        self.replaced.insert(target.path.as_bytes());
        true
    }

    /// A file that is no message, or a symbolic link.
    fn file(&mut self, index: usize, entry: &'a Entry) {
        let stage = self.layout.stage(entry.path.as_bytes());
        let Some(at) = self.counterpart(&entry.path) else {
            self.plan.copies.push(Copy { source: index, former: Former::None, stage, why: "missing" });
            return;
        };
        let target = &self.target.entries[at];
        if target.kind != entry.kind {
            if self.clear_way(entry, target) {
                self.plan.copies.push(Copy {
                    source: index,
                    former: Former::None,
                    stage,
                    why: "another kind of thing",
                });
            }
            return;
        }
        match self.difference(entry, target) {
            Some(why) => self.replace(index, entry, stage, why),
            None => {
                if entry.kind == Kind::File {
                    self.plan.pairs.push((index, at));
                }
                if !self.options.add_only {
                    self.plan.corrections.extend(self.correction(entry, target, true));
                }
            }
        }
    }

    /// Why the content has to be copied. The time of a link alone is corrected, not copied.
    fn difference(&self, source: &Entry, target: &Entry) -> Option<&'static str> {
        if source.kind == Kind::Symlink {
            return (source.points_to != target.points_to).then_some("points elsewhere");
        }
        if source.size != target.size {
            return Some("size");
        }
        (!self.same_time(source, target)).then_some("time")
    }

    pub(super) fn replace(&mut self, index: usize, entry: &Entry, stage: Stage, why: &'static str) {
        let former = if !self.options.add_only {
            Former::Overwritten
        } else if self.options.also_replace.iter().any(|pattern| pattern.matches(entry.path.name())) {
            Former::Aside(entry.path.clone())
        } else {
            return;
        };
        self.plan.copies.push(Copy { source: index, former, stage, why });
    }

    fn messages(&mut self, messages: &[usize]) {
        let messages = self.without_stale(messages);
        let known = self.target_messages();
        let mut rest = Vec::new();
        for &index in &messages {
            let entry = &self.source.entries[index];
            match self.counterpart(&entry.path) {
                Some(at) if self.target.entries[at].kind != Kind::File => {
                    if self.clear_way(entry, &self.target.entries[at]) {
                        rest.push(index);
                    }
                }
                Some(at) => {
                    self.taken[at] = true;
                    if self.target.entries[at].size == entry.size {
                        self.same_message(index, at);
                    } else if !self.options.add_only {
                        let former = Former::Aside(entry.path.clone());
                        self.plan.copies.push(Copy { source: index, former, stage: Stage::Content, why: "size" });
                    }
                }
                None => rest.push(index),
            }
        }
        for index in rest {
            self.message_elsewhere(index, &known);
        }
    }

    /// A message that the target does not have under this name: perhaps it has it under another.
    fn message_elsewhere(&mut self, index: usize, known: &HashMap<Key<'a>, Vec<usize>>) {
        let source = self.source;
        let entry = &source.entries[index];
        let same_base = self.key(&entry.path).and_then(|key| known.get(&key)).map_or(&[][..], Vec::as_slice);
        if self.options.add_only {
            if same_base.is_empty() {
                self.plan.copies.push(Copy {
                    source: index,
                    former: Former::None,
                    stage: Stage::Content,
                    why: "missing",
                });
            }
            // Under whatever flags: it is there.
            for &at in same_base {
                self.taken[at] = true;
            }
            return;
        }
        let free = |planner: &Self, wanted: &dyn Fn(&Entry) -> bool| {
            same_base.iter().copied().find(|&at| !planner.taken[at] && wanted(&planner.target.entries[at]))
        };
        if let Some(at) = free(self, &|target| target.size == entry.size) {
            self.taken[at] = true;
            self.plan.renames.push(Rename { from: self.target.entries[at].path.clone(), to: entry.path.clone() });
            self.same_message(index, at);
            return;
        }
        let former = match free(self, &|_| true) {
            // Names decide, but only as long as the size agrees: what has another one is a partial or foreign file.
            Some(at) => {
                self.taken[at] = true;
                Former::Aside(self.target.entries[at].path.clone())
            }
            None => Former::None,
        };
        let why = if former == Former::None { "missing" } else { "size" };
        self.plan.copies.push(Copy { source: index, former, stage: Stage::Content, why });
    }

    fn same_message(&mut self, index: usize, at: usize) {
        self.plan.pairs.push((index, at));
        if !self.options.add_only {
            let correction = self.correction(&self.source.entries[index], &self.target.entries[at], true);
            self.plan.corrections.extend(correction);
        }
    }

    fn key(&self, path: &'a RelativePath) -> Option<Key<'a>> {
        let mailbox = self.layout.mailbox_of_message(path.as_bytes())?;
        Some((mailbox, base_name(path.name())))
    }

    /// The target's messages by mailbox and base name.
    fn target_messages(&self) -> HashMap<Key<'a>, Vec<usize>> {
        let mut known: HashMap<Key<'a>, Vec<usize>> = HashMap::new();
        let target = self.target;
        for (at, entry) in target.entries.iter().enumerate() {
            if entry.kind == Kind::File
                && self.selected(entry.path.name())
                && !below_any(&self.replaced, &entry.path)
                && let Some(key) = self.key(&entry.path)
            {
                known.entry(key).or_default().push(at);
            }
        }
        known
    }

    /// A message that was renamed while the source was listed can be in the listing twice, though it has one name: same
    /// inode, one link. The one in `cur` is the later one (`new` is listed first; nothing ever goes back).
    fn without_stale(&self, messages: &[usize]) -> Vec<usize> {
        let mut seen: HashMap<(u64, u64), usize> = HashMap::new();
        let mut kept: Vec<usize> = Vec::with_capacity(messages.len());
        for &index in messages {
            let entry = &self.source.entries[index];
            if entry.links == 1 {
                if let Some(&position) = seen.get(&entry.inode) {
                    let other = &self.source.entries[kept[position]];
                    if self.key(&other.path) == self.key(&entry.path) {
                        let in_cur = |entry: &Entry| entry.path.parent().name() == b"cur";
                        if in_cur(entry) || !in_cur(other) {
                            kept[position] = index;
                        }
                        continue;
                    }
                }
                seen.insert(entry.inode, kept.len());
            }
            kept.push(index);
        }
        kept
    }
}
