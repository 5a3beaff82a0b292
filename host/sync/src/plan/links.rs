//! Hard links: names of one file on the source become names of one file on the target, and of no other.
//! Invariant: content is copied once for each file; the other names are linked to it when it is there.
//! Runs after `content`, on what that planned.

use super::{Former, NewLink, Planner, Stage};
use crate::{Entry, Kind, RelativePath};
use std::collections::{BTreeMap, HashMap};

/// One name of a file of the source that has several.
#[derive(Clone, Copy)]
enum State {
    /// The target has it: index there.
    There(usize),
    /// It is to be copied: position among the copies.
    Copied(usize),
}

impl Planner<'_> {
    pub(super) fn hard_links(&mut self) {
        if !self.options.add_only {
            self.part_false_links();
        }
        let mut dropped = vec![false; self.plan.copies.len()];
        for group in self.groups().into_values().filter(|group| group.len() > 1) {
            self.link_group(&group, &mut dropped);
        }
        let mut position = 0;
        self.plan.copies.retain(|_| {
            position += 1;
            !dropped[position - 1]
        });
    }

    /// Names that are one file on the target and several on the source: all but the first are copied anew.
    fn part_false_links(&mut self) {
        let mut first: HashMap<(u64, u64), (u64, u64)> = HashMap::new();
        let pairs = std::mem::take(&mut self.plan.pairs);
        let mut kept = Vec::with_capacity(pairs.len());
        for (index, at) in pairs {
            let (source, target) = (&self.source.entries[index], &self.target.entries[at]);
            if target.links > 1 && *first.entry(target.inode).or_insert(source.inode) != source.inode {
                let stage = self.layout.stage(source.path.as_bytes());
                self.plan.corrections.retain(|correction| correction.path != source.path);
                self.replace(index, source, stage, "hard links");
            } else {
                kept.push((index, at));
            }
        }
        self.plan.pairs = kept;
    }

    /// The names of each file of the source that has several, as far as this pass deals with them.
    fn groups(&self) -> BTreeMap<(u64, u64), Vec<(usize, State)>> {
        let mut groups: BTreeMap<(u64, u64), Vec<(usize, State)>> = BTreeMap::new();
        let several = |index: usize| {
            let entry: &Entry = &self.source.entries[index];
            (entry.kind == Kind::File && entry.links > 1).then_some(entry.inode)
        };
        for &(index, at) in &self.plan.pairs {
            if let Some(inode) = several(index) {
                groups.entry(inode).or_default().push((index, State::There(at)));
            }
        }
        for (position, copy) in self.plan.copies.iter().enumerate() {
            if let Some(inode) = several(copy.source) {
                groups.entry(inode).or_default().push((copy.source, State::Copied(position)));
            }
        }
        groups
    }

    /// What is there comes first in a group, so the first one leads.
    fn link_group(&mut self, group: &[(usize, State)], dropped: &mut [bool]) {
        let (leader, leading) = group[0];
        let leader_path = self.source.entries[leader].path.clone();
        let leader_stage = match leading {
            State::There(_) => Stage::First,
            State::Copied(position) => self.plan.copies[position].stage,
        };
        for &(index, state) in &group[1..] {
            let path = self.source.entries[index].path.clone();
            let own_stage = self.layout.stage(path.as_bytes());
            match (leading, state) {
                (State::There(one), State::There(other))
                    if self.target.entries[one].inode == self.target.entries[other].inode => {}
                (_, State::There(_)) if self.options.add_only => {}
                (_, State::There(_)) => self.add_link(&leader_path, path, true, own_stage.max(leader_stage)),
                (_, State::Copied(position)) => {
                    // The one that is set aside has to go by the way of a copy: a link would not wait for it.
                    if matches!(self.plan.copies[position].former, Former::Aside(_)) {
                        continue;
                    }
                    dropped[position] = true;
                    let replaces = self.plan.copies[position].former == Former::Overwritten;
                    self.add_link(&leader_path, path, replaces, own_stage.max(leader_stage));
                }
            }
        }
    }

    fn add_link(&mut self, leader: &RelativePath, path: RelativePath, replaces: bool, stage: Stage) {
        self.plan.links.push(NewLink { leader: leader.clone(), path, replaces, stage });
    }
}
