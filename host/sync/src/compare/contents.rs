//! Compares the bytes of files that are alike in everything else.
//! Invariant: only hashes travel, made by each side of its own files; what could not be read whole differs.

use super::count::Counter;
use crate::hand::{Hash, Reply, Request, Session, explain, unexpected};
use crate::listing::Listing;
use crate::plan::Plan;
use crate::{Entry, Error, Observer};

/// Pairs that are hashed between two words to the observer.
const PORTION: usize = 2000;
/// A hand answers a request once all of its files are read: so many of them at most, with so many bytes in their names and,
/// if there are several, in their contents.
const FILES: usize = 100;
const NAMES: usize = 256 * 1024;
const BYTES: u64 = 64 << 20;

/// How far it is.
#[derive(Default)]
pub(super) struct Done {
    files: u64,
    bytes: u64,
}

impl Done {
    pub(super) fn files(&self) -> u64 {
        self.files
    }

    pub(super) fn tell(&self, total: Option<u64>, observer: &dyn Observer) {
        observer.progress(self.files, total, self.bytes);
    }
}

/// Of one part. `total`: how many files there are in all, where that is known.
pub(super) async fn contents(
    (left, right): (&mut Session, &mut Session),
    (source, target): (&Listing, &Listing),
    plan: &Plan,
    count: &mut Counter,
    (done, total): (&mut Done, Option<u64>),
    observer: &dyn Observer,
) -> Result<(), Error> {
    for portion in plan.pairs.chunks(PORTION) {
        let file = |entry: &Entry| File { path: entry.path.as_bytes().to_vec(), size: entry.size };
        let ours: Vec<File> = portion.iter().map(|&(index, _)| file(&source.entries[index])).collect();
        let theirs: Vec<File> = portion.iter().map(|&(_, at)| file(&target.entries[at])).collect();
        let (ours, theirs) = tokio::try_join!(hashes(left, &ours), hashes(right, &theirs))?;
        for ((&(index, _), one), other) in portion.iter().zip(ours).zip(theirs) {
            let entry = &source.entries[index];
            done.files += 1;
            done.bytes += entry.size;
            match (one, other) {
                (Some(one), Some(other)) if one == other => {}
                (Some(_), Some(_)) => count.content(&entry.path),
                (None, _) => count.different(&entry.path, "the source could not read it, or it changed meanwhile"),
                (_, None) => count.different(&entry.path, "the target could not read it, or it changed meanwhile"),
            }
        }
        done.tell(total, observer);
    }
    Ok(())
}

/// What is to be hashed, and how large it was when it was listed.
pub(crate) struct File {
    pub(crate) path: Vec<u8>,
    pub(crate) size: u64,
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
pub(crate) async fn hashes(session: &mut Session, files: &[File]) -> Result<Vec<Option<Hash>>, Error> {
    let batches = batches(files);
    let (ask, read) = session.halves();
    let asking = async {
        for batch in &batches {
            ask.send(Request::Hash(batch.iter().map(|file| file.path.clone()).collect())).await;
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
    fn a_request_holds_as_many_files_as_are_read_soon_and_a_large_one_alone() {
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[(9, 1); 250]), [100, 100, 50]);
        assert_eq!(sizes(&[(9, 1), (9, BYTES), (9, 1), (9, u64::MAX), (9, u64::MAX)]), [1, 1, 1, 1, 1]);
        assert_eq!(sizes(&[(9, BYTES / 2), (9, BYTES / 2), (9, 1)]), [2, 1]);
        assert_eq!(sizes(&[(NAMES / 2, 0), (NAMES / 2, 0), (1, 0)]), [2, 1]);
    }
}
