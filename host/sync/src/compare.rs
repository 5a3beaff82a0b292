//! Tells what differs between two trees: what a pass would do, counted instead of done.
//! Invariant: neither side is changed, and both are read as a pass would read them (`plan` decides for both).
//! Contents are hashed by the hands, each on its own side, and only hashes travel. Like everything that a side says, its hash is
//! its word: a side that lies could as well have sent other bytes.

use crate::hand::{Hash, Reply, Request, Session, explain, unexpected};
use crate::listing::Listing;
use crate::pass::scope;
use crate::plan::layout::Layout;
use crate::plan::{Correction, Former, Plan, plan};
use crate::{Comparison, Differences, Entry, Error, Kind, Observer, RelativePath, SyncOptions, Tree};

/// So many differences are shown by name.
const EXAMPLES: usize = 50;
/// Pairs that are hashed between two words to the observer.
const PORTION: usize = 2000;
/// A hand answers a request once all of its files are read: so many of them at most, with so many bytes in their names and,
/// if there are several, in their contents.
const FILES: usize = 100;
const NAMES: usize = 256 * 1024;
const BYTES: u64 = 64 << 20;

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
    let mut left = source.session().await?;
    let mut right = target.session().await?;
    let mut skipped = Vec::new();
    let (source_listing, target_listing) =
        scope::list_both(&mut left, &mut right, &options.scope, &mut skipped).await?;
    let layout = Layout::find(options.strategy, [&source_listing, &target_listing]);
    // As if everything were allowed: what is not, differs all the same.
    let exact = left.exact && right.exact;
    let mut plan = plan(&source_listing, &target_listing, options, &layout, exact);
    skipped.append(&mut plan.skipped);
    let mut count = Counter { found: Differences { examined: plan.examined, ..Differences::default() }, contents: 0 };
    count.missing_scopes(skipped);
    count.plan(&plan, &source_listing, layout.is_maildir());
    observer.progress(0, Some(plan.pairs.len() as u64), 0);
    if how == Comparison::Contents {
        contents(&mut left, &mut right, &source_listing, &target_listing, &plan, &mut count, observer).await?;
    }
    source.give_back(left);
    target.give_back(right);
    Ok(count.found)
}

struct Counter {
    found: Differences,
    /// how many examples are of contents
    contents: usize,
}

impl Counter {
    fn example(&mut self, path: &RelativePath, what: impl Into<String>) {
        if self.found.examples.len() < EXAMPLES {
            self.found.examples.push((path.clone(), what.into()));
        }
    }

    fn different(&mut self, path: &RelativePath, what: impl Into<String>) {
        self.found.different += 1;
        self.example(path, what);
    }

    /// Files that are alike in everything but their bytes are what nothing else would find: they are shown before all others.
    fn content(&mut self, path: &RelativePath) {
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
    fn missing_scopes(&mut self, skipped: Vec<(RelativePath, String)>) {
        for (path, why) in skipped {
            self.example(&path, format!("not compared: {why}"));
        }
    }

    fn plan(&mut self, plan: &Plan, source: &Listing, maildir: bool) {
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

fn words(correction: &Correction) -> String {
    let owner = correction.owner.as_ref().map(|owner| format!("owner (should be {}:{})", owner.user, owner.group));
    let mode = correction.mode.map(|mode| format!("mode (should be {mode:04o})"));
    let attributes = correction.attributes.as_ref().map(|_| "attributes or ACL".to_owned());
    let time = correction.modified.map(|_| "time".to_owned());
    owner.into_iter().chain(mode).chain(attributes).chain(time).collect::<Vec<_>>().join(", ")
}

async fn contents(
    left: &mut Session,
    right: &mut Session,
    source: &Listing,
    target: &Listing,
    plan: &Plan,
    count: &mut Counter,
    observer: &dyn Observer,
) -> Result<(), Error> {
    let total = Some(plan.pairs.len() as u64);
    let (mut done, mut bytes) = (0, 0);
    for portion in plan.pairs.chunks(PORTION) {
        let file = |entry: &Entry| File { path: entry.path.as_bytes().to_vec(), size: entry.size };
        let ours: Vec<File> = portion.iter().map(|&(index, _)| file(&source.entries[index])).collect();
        let theirs: Vec<File> = portion.iter().map(|&(_, at)| file(&target.entries[at])).collect();
        let (ours, theirs) = tokio::try_join!(hashes(left, &ours), hashes(right, &theirs))?;
        for ((&(index, _), one), other) in portion.iter().zip(ours).zip(theirs) {
            let entry = &source.entries[index];
            done += 1;
            bytes += entry.size;
            match (one, other) {
                (Some(one), Some(other)) if one == other => {}
                (Some(_), Some(_)) => count.content(&entry.path),
                (None, _) => count.different(&entry.path, "the source could not read it, or it changed meanwhile"),
                (_, None) => count.different(&entry.path, "the target could not read it, or it changed meanwhile"),
            }
        }
        observer.progress(done, total, bytes);
    }
    Ok(())
}

/// What is to be hashed, and how large it was when it was listed.
struct File {
    path: Vec<u8>,
    size: u64,
}

/// Requests: each is small enough to be answered soon.
fn batches(files: &[File]) -> Vec<&[File]> {
    let mut batches = Vec::new();
    let (mut first, mut names, mut bytes) = (0, 0, 0u64);
    for (at, file) in files.iter().enumerate() {
        names += file.path.len();
        bytes = bytes.saturating_add(file.size);
        if at > first && (at - first == FILES || names > NAMES || bytes > BYTES) {
            batches.push(&files[first..at]);
            (first, names, bytes) = (at, file.path.len(), file.size);
        }
    }
    if first < files.len() {
        batches.push(&files[first..]);
    }
    batches
}

/// The hash of each file; `None` where it could not be read whole. All requests are on their way at the same time.
async fn hashes(session: &mut Session, files: &[File]) -> Result<Vec<Option<Hash>>, Error> {
    let batches = batches(files);
    let (ask, read) = session.halves();
    let asking = async {
        for batch in &batches {
            // Whoever waits for the reply is told why the hand has ended.
            if ask.send(Request::Hash(batch.iter().map(|file| file.path.clone()).collect())).await.is_err() {
                break;
            }
        }
        Ok::<(), Error>(())
    };
    let reading = async {
        let mut hashes = Vec::with_capacity(files.len());
        for batch in &batches {
            match read.next().await? {
                Reply::Hashes(some) if some.len() == batch.len() => hashes.extend(some),
                Reply::Hashes(_) => return Err(read.refuse("hashes of more or fewer files than were asked for")),
                Reply::Failed(fault) => return Err(explain(read.side(), "hash", &batch[0].path, &fault)),
                other => return Err(unexpected(read.side(), &other)),
            }
        }
        Ok(hashes)
    };
    let ((), hashes) = tokio::try_join!(asking, reading)?;
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(files: &[(usize, u64)]) -> Vec<usize> {
        let files: Vec<File> = files.iter().map(|&(name, size)| File { path: vec![b'x'; name], size }).collect();
        batches(&files).iter().map(|batch| batch.len()).collect()
    }

    #[test]
    fn files_whose_bytes_differ_are_named_however_much_else_does() {
        let mut count = Counter { found: Differences::default(), contents: 0 };
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

    #[test]
    fn a_request_holds_as_many_files_as_are_read_soon_and_a_large_one_alone() {
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[(9, 1); 250]), [100, 100, 50]);
        assert_eq!(sizes(&[(9, 1), (9, BYTES), (9, 1), (9, u64::MAX), (9, u64::MAX)]), [1, 1, 1, 1, 1]);
        assert_eq!(sizes(&[(9, BYTES / 2), (9, BYTES / 2), (9, 1)]), [2, 1]);
        assert_eq!(sizes(&[(NAMES / 2, 0), (NAMES / 2, 0), (1, 0)]), [2, 1]);
    }
}
