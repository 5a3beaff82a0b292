//! Tells what differs between two trees: what a pass would do, counted instead of done.
//! Invariant: neither side is changed, and both are read as a pass would read them (`plan` decides for both, part by part).
//! Contents are hashed by the hands, each on its own side, and only hashes travel. Like everything that a side says, its hash is
//! its word: a side that lies could as well have sent other bytes. `count` counts, `contents` reads.

pub(crate) mod contents;
mod count;

use crate::hand::Session;
use crate::listing::Listing;
use crate::pass::group::{Group, Roots, next_group};
use crate::pass::scope;
use crate::pass::split::{Split, split};
use crate::plan::layout::Layout;
use crate::plan::plan;
use crate::{Comparison, Differences, Error, Observer, SyncOptions, Tree};
use contents::{Done, contents};
use count::Counter;

/// Compares within the scope of `options`, with its patterns and strategy. What only the target has counts as extra also
/// where `delete` is not set. Times of folders are compared with the plain strategy only: a mail server that has looked at
/// a mailbox has changed them.
///
/// # Errors
/// What a side reports. Files that come and go meanwhile are differences.
pub async fn compare(
    source: &Tree,
    target: &Tree,
    options: &SyncOptions,
    how: Comparison,
    observer: &dyn Observer,
) -> Result<Differences, Error> {
    source.check_different(target)?;
    let (left, right) = (source.session().await?, target.session().await?);
    let mut comparing =
        Comparing { left, right, options, how, observer, count: Counter::default(), done: Done::default() };
    comparing.run().await?;
    let Comparing { left, right, count, .. } = comparing;
    source.give_back(left);
    target.give_back(right);
    Ok(count.found)
}

struct Comparing<'a> {
    left: Session,
    right: Session,
    options: &'a SyncOptions,
    how: Comparison,
    observer: &'a dyn Observer,
    count: Counter,
    done: Done,
}

impl Comparing<'_> {
    async fn run(&mut self) -> Result<(), Error> {
        let Split { source, target, roots } = self.split().await?;
        self.part(&source, &target, roots.is_empty()).await?;
        let roots = Roots::new(roots);
        loop {
            let enough = self.options.part;
            let Some(group) = next_group(&mut self.left, &mut self.right, &roots, None, enough).await? else {
                return Ok(());
            };
            let Group { source, target, .. } = group;
            let is_last = roots.lock().is_ok_and(|roots| roots.is_empty());
            self.part(&source, &target, is_last).await?;
        }
    }

    async fn split(&mut self) -> Result<Split, Error> {
        let Self { left, right, options, count, .. } = self;
        let mut skipped = Vec::new();
        let split = if options.only.is_empty() {
            split(left, right, &options.scope, &mut skipped).await?
        } else {
            // As a pass with such a limit does.
            let (source, target) = scope::list_both(left, right, &options.scope, &mut skipped).await?;
            Split { source, target, roots: Default::default() }
        };
        count.missing_scopes(skipped);
        Ok(split)
    }

    async fn part(&mut self, source: &Listing, target: &Listing, is_last: bool) -> Result<(), Error> {
        let layout = Layout::find(self.options.strategy, [source, target]);
        // As if everything were allowed: what is not, differs all the same.
        let exact = self.left.exact && self.right.exact;
        let mut plan = plan(source, target, self.options, &layout, exact);
        self.count.found.examined += plan.examined;
        self.count.missing_scopes(std::mem::take(&mut plan.skipped));
        self.count.plan(&plan, source, layout.is_maildir());
        self.count.links(&plan, source, target);
        if self.how == Comparison::Contents {
            let total = is_last.then(|| self.done.files() + plan.pairs.len() as u64);
            let Self { left, right, count, done, observer, .. } = self;
            done.tell(total, *observer);
            contents((left, right), (source, target), &plan, count, (done, total), *observer).await?;
        }
        Ok(())
    }
}
