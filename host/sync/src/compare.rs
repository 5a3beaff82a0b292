//! Tells what differs between two trees: what a pass would do, counted instead of done.
//! Invariant: neither side is changed, and both are read as a pass would read them (`plan` decides for both).
//! Contents are read through the hands and hashed here: no program on a side is trusted with the answer.

use crate::hand::{Incoming, Outgoing, Reply, Request, Session, unexpected};
use crate::listing::Listing;
use crate::pass::scope;
use crate::plan::layout::Layout;
use crate::plan::{Correction, Former, Plan, plan};
use crate::{Comparison, Differences, Error, Kind, Observer, RelativePath, SyncOptions, Tree};
use sha2::{Digest, Sha256};

/// So many differences are shown by name.
const EXAMPLES: usize = 50;
/// Pairs that are hashed between two words to the observer.
const PORTION: usize = 500;

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
    let mut count = Counter { found: Differences { examined: plan.examined, ..Differences::default() } };
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
        let ours: Vec<&[u8]> = portion.iter().map(|&(index, _)| source.entries[index].path.as_bytes()).collect();
        let theirs: Vec<&[u8]> = portion.iter().map(|&(_, at)| target.entries[at].path.as_bytes()).collect();
        let (ours, theirs) = tokio::try_join!(hashes(left, &ours), hashes(right, &theirs))?;
        for ((&(index, _), one), other) in portion.iter().zip(ours).zip(theirs) {
            let entry = &source.entries[index];
            done += 1;
            bytes += entry.size;
            match (one, other) {
                (Some(one), Some(other)) if one == other => {}
                (Some(_), Some(_)) => count.different(&entry.path, "content"),
                (None, _) => count.different(&entry.path, "the source could not read it, or it changed meanwhile"),
                (_, None) => count.different(&entry.path, "the target could not read it, or it changed meanwhile"),
            }
        }
        observer.progress(done, total, bytes);
    }
    Ok(())
}

/// The SHA-256 of each file; `None` where it could not be read whole.
async fn hashes(session: &mut Session, files: &[&[u8]]) -> Result<Vec<Option<[u8; 32]>>, Error> {
    let (ask, read) = session.halves();
    let asking = ask_for(ask, files);
    let reading = async {
        let mut hashes = Vec::with_capacity(files.len());
        for _ in files {
            hashes.push(hash(read).await?);
        }
        Ok(hashes)
    };
    let ((), hashes) = tokio::try_join!(asking, reading)?;
    Ok(hashes)
}

async fn ask_for(ask: &Outgoing, files: &[&[u8]]) -> Result<(), Error> {
    for file in files {
        if ask.send(Request::Fetch { file: file.to_vec(), most: u64::MAX >> 1, ripen: false }).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn hash(read: &mut Incoming) -> Result<Option<[u8; 32]>, Error> {
    let mut digest = Sha256::new();
    loop {
        match read.next().await? {
            Reply::Opened { .. } => {}
            Reply::Data(piece) => digest.update(&piece),
            Reply::Closed { changed } => return Ok((!changed).then(|| digest.finalize().into())),
            Reply::Failed(_) => return Ok(None),
            other => return Err(unexpected(read.side(), &other)),
        }
    }
}
