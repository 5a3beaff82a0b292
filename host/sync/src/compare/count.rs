//! Counts what a plan would do, and names the first of it.
//! Invariant: a difference is counted once; files that are alike in everything but their bytes are named before all others.
//! `compare` plans part by part; all of them are counted here.

use crate::listing::Listing;
use crate::plan::{Correction, Former, Plan};
use crate::{Differences, Kind, RelativePath};
use std::collections::HashMap;

/// So many differences are shown by name.
const EXAMPLES: usize = 50;

#[derive(Default)]
pub(super) struct Counter {
    pub(super) found: Differences,
    /// how many examples are of contents
    contents: usize,
    parts: usize,
    /// of files of the source that have several names: the part they were seen in first, and what they are on the target
    seen: HashMap<(u64, u64), (usize, (u64, u64))>,
}

impl Counter {
    fn example(&mut self, path: &RelativePath, what: impl Into<String>) {
        if self.found.examples.len() < EXAMPLES {
            self.found.examples.push((path.clone(), what.into()));
        }
    }

    pub(super) fn different(&mut self, path: &RelativePath, what: impl Into<String>) {
        self.found.different += 1;
        self.example(path, what);
    }

    /// Files that are alike in everything but their bytes are what nothing else would find: they are shown before all others.
    pub(super) fn content(&mut self, path: &RelativePath) {
        if self.found.examples.len() == EXAMPLES && self.contents < EXAMPLES {
            self.found.examples.remove(EXAMPLES - 1 - self.contents);
        }
        self.contents += usize::from(self.found.examples.len() < EXAMPLES);
        self.different(path, "content");
    }

    fn missing(&mut self, path: &RelativePath, bytes: u64) {
        self.found.missing += 1;
        self.found.missing_bytes += bytes;
        self.example(path, "missing on the target");
    }

    /// What a pass leaves out is not compared; that is worth a line, but no difference.
    pub(super) fn missing_scopes(&mut self, skipped: Vec<(RelativePath, String)>) {
        for (path, why) in skipped {
            self.example(&path, format!("not compared: {why}"));
        }
    }

    /// What one part lacks and has too much.
    pub(super) fn plan(&mut self, plan: &Plan, source: &Listing, maildir: bool) {
        for path in &plan.conflicts {
            self.different(path, "another kind of thing");
        }
        for &folder in &plan.folders {
            self.missing(&source.entries[folder].path, 0);
        }
        for copy in &plan.copies {
            let entry = &source.entries[copy.source];
            if copy.former != Former::None {
                self.different(&entry.path, copy.why);
            } else if !plan.conflicts.contains(&entry.path) {
                self.missing(&entry.path, if entry.kind == Kind::File { entry.size } else { 0 });
            }
        }
        for link in &plan.links {
            if link.replaces {
                self.different(&link.path, "hard links");
            } else {
                self.missing(&link.path, 0);
            }
        }
        for rename in &plan.renames {
            self.found.renamed += 1;
            self.example(&rename.to, format!("on the target it is {}", rename.from));
        }
        for correction in &plan.corrections {
            self.different(&correction.path, words(correction));
        }
        if !maildir {
            for &folder in &plan.folder_times {
                self.different(&source.entries[folder].path, "time");
            }
        }
        for extra in &plan.extras {
            self.found.extra += 1;
            self.example(&extra.path, "only on the target");
        }
    }
}

impl Counter {
    /// Names of one file that lie in several parts have to be names of one file on the target, too.
    pub(super) fn links(&mut self, plan: &Plan, source: &Listing, target: &Listing) {
        self.parts += 1;
        for &(index, at) in plan.pairs.iter().filter(|(index, _)| source.entries[*index].links > 1) {
            let (entry, there) = (&source.entries[index], target.entries[at].inode);
            let &mut (part, first) = self.seen.entry(entry.inode).or_insert((self.parts, there));
            if part != self.parts && first != there {
                self.different(&entry.path, "hard links");
            }
        }
    }
}

fn words(correction: &Correction) -> String {
    let owner = correction.owner.as_ref().map(|owner| format!("owner (should be {}:{})", owner.user, owner.group));
    let mode = correction.mode.map(|mode| format!("mode (should be {mode:04o})"));
    let attributes = correction.attributes.as_ref().map(|_| "attributes or ACL".to_owned());
    let time = correction.modified.map(|_| "time".to_owned());
    owner.into_iter().chain(mode).chain(attributes).chain(time).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_whose_bytes_differ_are_named_however_much_else_does() {
        let mut count = Counter::default();
        let path = |number: usize| RelativePath::new(format!("{number:02}")).unwrap();
        (0..60).for_each(|number| count.missing(&path(number), 1));
        (60..63).for_each(|number| count.content(&path(number)));
        let told: Vec<String> = count.found.examples.iter().map(|(path, what)| format!("{path}: {what}")).collect();
        assert_eq!(told.len(), EXAMPLES);
        assert_eq!(told[46..], ["46: missing on the target", "60: content", "61: content", "62: content"]);
        (0..90).for_each(|number| count.content(&path(number)));
        assert_eq!((count.found.examples.len(), count.found.different), (EXAMPLES, 93));
        assert!(count.found.examples.iter().all(|(_, what)| what == "content"));
    }
}
