//! Small files of mailboxes that differ in their time alone: a Dovecot that opens an empty mailbox writes its UID list anew, the
//! same bytes. Copied again, each would count as a mailbox that has changed, in every pass.

use super::Pass;
use crate::compare::contents::{File, hashes};
use crate::listing::Listing;
use crate::plan::layout::Layout;
use crate::plan::{Correction, Former, Plan};
use crate::{Error, Kind};
use std::collections::HashSet;

/// Larger ones are copied: reading them twice costs as much.
const SMALL: u64 = 64 << 10;

impl Pass<'_> {
    /// Where both sides have the same bytes, only the time is set.
    pub(super) async fn only_time(
        &mut self,
        source: &Listing,
        target: &Listing,
        layout: &Layout,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        if !layout.is_maildir() {
            return Ok(());
        }
        let is_doubtful = |index: usize, why: &str, former: &Former| {
            let entry = &source.entries[index];
            why == "time" && *former == Former::Overwritten && entry.kind == Kind::File && entry.size <= SMALL
        };
        let doubtful: Vec<usize> = plan
            .copies
            .iter()
            .filter(|copy| is_doubtful(copy.source, copy.why, &copy.former))
            .map(|copy| copy.source)
            .filter(|&index| layout.mailbox_of_message(source.entries[index].path.as_bytes()).is_none())
            .filter(|&index| target.find(source.entries[index].path.as_bytes()).is_some())
            .collect();
        if doubtful.is_empty() {
            return Ok(());
        }
        let files: Vec<File> = doubtful
            .iter()
            .map(|&index| &source.entries[index])
            .map(|entry| File { path: entry.path.as_bytes().to_vec(), size: entry.size })
            .collect();
        let (ours, theirs) = tokio::try_join!(hashes(&mut self.source, &files), hashes(&mut self.target, &files))?;
        let exact = self.exact();
        let mut alike = HashSet::new();
        for ((index, one), other) in doubtful.into_iter().zip(ours).zip(theirs) {
            if one.is_none() || one != other {
                continue;
            }
            let entry = &source.entries[index];
            alike.insert(index);
            plan.corrections.push(Correction {
                path: entry.path.clone(),
                kind: entry.kind,
                mode: Some(self.options.mode_of(entry)),
                owner: Some(self.options.owner_of(entry)),
                attributes: exact.then(|| entry.attributes.clone()),
                modified: Some(entry.modified),
                quiet: true,
            });
        }
        plan.copies.retain(|copy| !alike.contains(&copy.source));
        Ok(())
    }
}
