//! Names on the target: folders, renames, links, what is set aside; and modes, owners, times.
//! Invariant: a rename never overwrites another message (the plan sees to it), a link appears under its name in one step,
//! and folders get their own mode and time last, when nothing changes in them any more. Names become durable then, too: until
//! then each is the old one or the new one (rename(2)), and the next pass looks again.

use super::Pass;
use crate::hand::Request;
use crate::listing::Listing;
use crate::plan::{Correction, Extra, NewLink, Plan, Rename};
use crate::{Entry, Error, Kind, RelativePath};
use std::collections::BTreeSet;

/// Requests that are on their way at a time, between two settlings.
const PORTION: usize = 2000;

impl Pass<'_> {
    /// Unfinished files that killed passes left.
    pub(super) async fn remove_leftovers(&mut self, leftovers: &[RelativePath]) -> Result<(), Error> {
        if leftovers.is_empty() {
            return Ok(());
        }
        self.observer.note(&format!("removing {} unfinished files of a former pass", leftovers.len()));
        self.changed.extend(leftovers.iter().map(RelativePath::parent));
        self.drop_temporaries(leftovers.iter().map(|path| path.as_bytes().to_vec()).collect()).await
    }

    pub(super) async fn clear_conflicts(&mut self, conflicts: &[RelativePath]) -> Result<(), Error> {
        self.aside(conflicts.iter()).await
    }

    pub(super) async fn set_extras_aside(&mut self, extras: Vec<Extra>) -> Result<(), Error> {
        self.aside(extras.iter().map(|extra| &extra.path)).await
    }

    async fn aside(&mut self, paths: impl Iterator<Item = &RelativePath>) -> Result<(), Error> {
        let paths: Vec<&RelativePath> = paths.collect();
        for portion in paths.chunks(PORTION) {
            let label = &self.options.aside;
            let request =
                |path: &&RelativePath| Request::Aside { path: path.as_bytes().to_vec(), label: label.clone() };
            let outcomes = self.target.each(portion.iter().map(request).collect()).await?;
            for (path, outcome) in portion.iter().zip(outcomes) {
                outcome.map_err(|fault| self.failure("set aside", path.as_bytes(), &fault))?;
                self.report.set_aside += 1;
                self.touch(path);
            }
        }
        Ok(())
    }

    /// Creates folders, open to their owner until the end of the pass, when they get their mode.
    pub(super) async fn make_folders(&mut self, source: &Listing, folders: &[usize]) -> Result<(), Error> {
        for portion in folders.chunks(PORTION) {
            let request = |&index: &usize| {
                let entry = &source.entries[index];
                let owner = Some(self.options.owner_of(entry));
                Request::Folder { path: entry.path.as_bytes().to_vec(), mode: entry.mode | 0o700, owner }
            };
            let outcomes = self.target.each(portion.iter().map(request).collect()).await?;
            for (&index, outcome) in portion.iter().zip(outcomes) {
                let path = &source.entries[index].path;
                outcome.map_err(|fault| self.failure("create the folder", path.as_bytes(), &fault))?;
                self.touch(path);
                if self.layout.is_mailbox(path.as_bytes()) {
                    self.touched.insert(path.clone());
                }
            }
        }
        Ok(())
    }

    pub(super) async fn rename(&mut self, renames: &[Rename]) -> Result<(), Error> {
        for portion in renames.chunks(PORTION) {
            let request = |rename: &Rename| Request::Move {
                from: rename.from.as_bytes().to_vec(),
                to: rename.to.as_bytes().to_vec(),
                replace: true,
            };
            let outcomes = self.target.each(portion.iter().map(request).collect()).await?;
            for (rename, outcome) in portion.iter().zip(outcomes) {
                match outcome {
                    Ok(()) => {
                        self.report.renamed += 1;
                        self.shared.progress.done(0);
                        self.touch(&rename.from);
                        self.touch(&rename.to);
                    }
                    // Somebody else changed the target meanwhile.
                    Err(fault) if fault.vanished() => self.look_again(&rename.to),
                    Err(fault) => return Err(self.failure("rename to", rename.to.as_bytes(), &fault)),
                }
            }
            self.progress();
        }
        Ok(())
    }

    pub(super) async fn add_links(&mut self, links: &[NewLink]) -> Result<(), Error> {
        for portion in links.chunks(PORTION) {
            self.add_some_links(portion).await?;
            self.progress();
        }
        Ok(())
    }

    /// By way of a temporary name: what has the final one is replaced in one step.
    async fn add_some_links(&mut self, links: &[NewLink]) -> Result<(), Error> {
        let mut requests = Vec::with_capacity(links.len() * 3);
        for link in links {
            let temporary = self.temporaries.beside(&link.path);
            requests.push(Request::Link { existing: link.leader.as_bytes().to_vec(), new: temporary.clone() });
            let replace = link.replaces && !self.options.add_only;
            requests.push(Request::Move { from: temporary.clone(), to: link.path.as_bytes().to_vec(), replace });
            // rename(2) does nothing when both are names of one file already.
            requests.push(Request::Remove(temporary));
        }
        let outcomes = self.target.each(requests).await?;
        for (link, outcome) in links.iter().zip(outcomes.chunks_exact(3)) {
            match (&outcome[0], &outcome[1]) {
                (Ok(()), Ok(())) => {
                    self.report.linked += 1;
                    self.shared.progress.done(0);
                    self.touch(&link.path);
                }
                // The file it should be a name of did not arrive, or the name is taken meanwhile.
                (Err(fault), _) if fault.vanished() => self.look_again(&link.path),
                (Ok(()), Err(fault)) if fault.is(libc::EEXIST) => self.look_again(&link.path),
                (Err(fault), _) | (_, Err(fault)) => return Err(self.failure("link", link.path.as_bytes(), fault)),
            }
        }
        Ok(())
    }

    pub(super) async fn correct(&mut self, corrections: &[Correction]) -> Result<(), Error> {
        // Those of folders come last: a folder that its owner may not write to is written to until then.
        let files: Vec<&Correction> = corrections.iter().filter(|correction| correction.kind != Kind::Folder).collect();
        if files.is_empty() {
            return Ok(());
        }
        self.correct_all(&files).await
    }

    async fn correct_all(&mut self, corrections: &[&Correction]) -> Result<(), Error> {
        for portion in corrections.chunks(PORTION) {
            let request = |correction: &&Correction| Request::Meta {
                path: correction.path.as_bytes().to_vec(),
                kind: correction.kind,
                mode: correction.mode,
                owner: correction.owner.clone(),
                attributes: correction.attributes.clone(),
                modified: correction.modified,
            };
            let outcomes = self.target.each(portion.iter().map(request).collect()).await?;
            for (correction, outcome) in portion.iter().zip(outcomes) {
                match outcome {
                    Ok(()) if correction.quiet => {}
                    Ok(()) => {
                        self.report.corrected += 1;
                        self.touched.insert(self.layout.unit(correction.path.as_bytes()));
                    }
                    Err(fault) if fault.vanished() => {}
                    Err(fault) => {
                        return Err(self.failure("set mode, owner and time of", correction.path.as_bytes(), &fault));
                    }
                }
            }
        }
        Ok(())
    }

    /// Modes, owners and times of folders. A time that is put back is no change worth telling.
    pub(super) async fn finish_folders(&mut self, source: &Listing, plan: &Plan) -> Result<(), Error> {
        let of_folders: Vec<&Correction> =
            plan.corrections.iter().filter(|correction| correction.kind == Kind::Folder).collect();
        self.correct_all(&of_folders).await?;
        let created: BTreeSet<usize> = plan.folders.iter().copied().collect();
        let mut timed: BTreeSet<usize> = plan.folder_times.iter().copied().chain(created.iter().copied()).collect();
        if !self.options.add_only && self.options.only.is_empty() {
            timed.extend(self.changed.iter().filter_map(|folder| source.find(folder.as_bytes())));
        }
        let exact = self.exact();
        let request = |&index: &usize| {
            let entry = &source.entries[index];
            let mode = created.contains(&index).then_some(self.options.mode_of(entry));
            Request::Meta {
                path: entry.path.as_bytes().to_vec(),
                kind: Kind::Folder,
                mode,
                owner: None,
                attributes: created.contains(&index).then(|| entry.attributes.clone()).filter(|_| exact),
                modified: Some(entry.modified),
            }
        };
        let outcomes = self.target.each(timed.iter().map(request).collect()).await?;
        for (&index, outcome) in timed.iter().zip(outcomes) {
            match outcome {
                Err(fault) if !fault.vanished() => {
                    return Err(self.failure("set mode and time of", source.entries[index].path.as_bytes(), &fault));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Folders of the target get the times that these have on the source.
    pub(super) async fn give_times(&mut self, folders: impl Iterator<Item = Entry>) -> Result<(), Error> {
        let folders: Vec<Entry> = folders.filter(|entry| entry.kind == Kind::Folder).collect();
        let request = |entry: &Entry| Request::Meta {
            path: entry.path.as_bytes().to_vec(),
            kind: Kind::Folder,
            mode: None,
            owner: None,
            attributes: None,
            modified: Some(entry.modified),
        };
        let outcomes = self.target.each(folders.iter().map(request).collect()).await?;
        for (entry, outcome) in folders.iter().zip(outcomes) {
            match outcome {
                Err(fault) if !fault.vanished() => {
                    return Err(self.failure("set the time of", entry.path.as_bytes(), &fault));
                }
                _ => {}
            }
        }
        self.settle().await
    }
}
