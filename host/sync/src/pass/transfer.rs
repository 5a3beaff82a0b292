//! Content, from the source to temporary names on the target, and from there to the final ones, batch by batch.
//! Invariant: a final name is given only to a file that is complete, has its owner, mode and time, and is on the disk.
//! Content is never held whole: pieces pass through bounded queues. What vanishes or changes meanwhile is looked at again.

use super::ahead::Ahead;
use super::staging::Staging;
use super::{Item, Pass};
use crate::hand::{Fault, How, Incoming, Outgoing, PIECE, Reply, Request, unexpected};
use crate::path::name_of;
use crate::plan::Former;
use crate::temporary::{is_staged, is_temporary};
use crate::tree::name_owner;
use crate::{Entry, Error, Kind, SyncOptions};
use std::ops::Range;
use tokio::sync::mpsc;

/// A batch has at most so many files and, but for the last one, so many bytes: one sync of the disk each.
const BATCH_FILES: usize = 5000;
const BATCH_BYTES: u64 = 64 << 20;
/// A file that changes while it is copied is copied again so often.
const TRIES: u32 = 3;
/// How much more than listed a file may have grown meanwhile: as much again, or this.
const GROWTH: u64 = 64 << 20;

/// What became of one file of a batch.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is complete under its temporary name; bytes of it.
    Written(u64),
    /// It is gone from the source, or is another kind of thing now.
    Vanished,
    /// It changed while it was read: what was written is of no use.
    Changed,
    /// The source cannot read it.
    Unreadable(String),
    /// The target cannot take it.
    Refused(Fault),
}

/// A file that is whole.
struct Finished<'a> {
    /// In its batch.
    position: usize,
    item: &'a Item,
    temporary: Vec<u8>,
    bytes: u64,
}

impl Pass<'_> {
    /// Copies files and links. What changes under the hand is tried again, then skipped with a reason.
    pub(super) async fn copy(&mut self, items: Vec<Item>) -> Result<(), Error> {
        let mut waiting = items;
        for attempt in 1..=TRIES {
            let mut changed = Vec::new();
            let mut rest = waiting.as_slice();
            while !rest.is_empty() {
                let (batch, after) = rest.split_at(batch_length(rest));
                changed.extend(self.copy_batch(batch).await?);
                rest = after;
            }
            if changed.is_empty() {
                return Ok(());
            }
            if attempt == TRIES {
                for item in changed {
                    self.report.skipped.push((
                        item.entry.path,
                        "it kept changing while it was copied; the next pass brings it".to_owned(),
                    ));
                }
                return Ok(());
            }
            waiting = changed;
        }
        Ok(())
    }

    /// Returns what has to be tried again.
    async fn copy_batch(&mut self, batch: &[Item]) -> Result<Vec<Item>, Error> {
        let (temporaries, stagings) = self.places(batch).await?;
        let outcomes = self.transfer(batch, &temporaries).await?;
        let mut failed = self.first_refusal(batch, &outcomes);
        if failed.is_none() {
            // Never synced again after a failure: what the kernel dropped then would count as written.
            let synced = self.target.ask(Request::Sync).await?;
            failed = synced.err().map(|fault| self.failure("write to the disk", b"", &fault));
        }
        if failed.is_none() {
            // The parts before this one are on the disk, too.
            self.store().await?;
        }
        if let Some(error) = failed {
            let folders = stagings.into_iter().map(|staging| staging.folder.into_bytes());
            self.drop_temporaries(temporaries.into_iter().chain(folders).collect()).await?;
            return Err(error);
        }
        let mut useless = Vec::new();
        let mut finished = Vec::new();
        let mut again = Vec::new();
        for (position, ((item, temporary), outcome)) in batch.iter().zip(temporaries).zip(outcomes).enumerate() {
            match outcome {
                Outcome::Written(bytes) => finished.push(Finished { position, item, temporary, bytes }),
                Outcome::Vanished => {
                    self.report.vanished += 1;
                    useless.push(temporary);
                    self.look_again(&item.entry.path);
                }
                Outcome::Changed => {
                    useless.push(temporary);
                    // A message has one content for ever: another one must be listed first. Other files just change.
                    if self.layout.mailbox_of_message(item.entry.path.as_bytes()).is_some() {
                        self.look_again(&item.entry.path);
                    } else {
                        again.push(item.clone());
                    }
                }
                Outcome::Unreadable(why) => {
                    useless.push(temporary);
                    self.report.skipped.push((item.entry.path.clone(), why));
                }
                Outcome::Refused(_) => useless.push(temporary),
            }
        }
        self.drop_temporaries(useless).await?;
        self.commit_all(finished, stagings).await?;
        self.progress();
        Ok(again)
    }

    fn first_refusal(&self, batch: &[Item], outcomes: &[Outcome]) -> Option<Error> {
        batch.iter().zip(outcomes).find_map(|(item, outcome)| match outcome {
            Outcome::Refused(fault) => {
                let fault = Fault { why: fault.why, path: None };
                let error = self.failure("write", item.entry.path.as_bytes(), &fault);
                Some(name_owner(error, Some(&self.options.owner_of(&item.entry))))
            }
            _ => None,
        })
    }

    /// Gives the finished files their names: whole folders first, then one by one what is left.
    async fn commit_all(&mut self, mut finished: Vec<Finished<'_>>, stagings: Vec<Staging>) -> Result<(), Error> {
        if stagings.is_empty() {
            return self.commit(finished).await;
        }
        let refused = self.replace(&stagings).await?;
        let is_done = |position: usize| {
            let is_in = |items: &Range<usize>| items.contains(&position);
            stagings.iter().any(|staging| is_in(&staging.items)) && !refused.iter().any(is_in)
        };
        for Finished { item, bytes, .. } in finished.extract_if(.., |finished| is_done(finished.position)) {
            self.arrived(item, bytes);
        }
        self.commit(finished).await?;
        let emptied = stagings.into_iter().filter(|staging| refused.contains(&staging.items));
        self.drop_temporaries(emptied.map(|staging| staging.folder.into_bytes()).collect()).await
    }

    /// It has its name.
    fn arrived(&mut self, item: &Item, bytes: u64) {
        self.report.copied += 1;
        self.report.bytes += bytes;
        self.shared.progress.done(bytes);
        self.touch(&item.entry.path);
    }

    async fn commit(&mut self, finished: Vec<Finished<'_>>) -> Result<(), Error> {
        let mut requests = Vec::new();
        let mut meanings = Vec::new();
        for (position, Finished { item, temporary, .. }) in finished.iter().enumerate() {
            if let Former::Aside(former) = &item.former {
                requests.push(Request::Aside { path: former.as_bytes().to_vec(), label: self.options.aside.clone() });
                meanings.push((position, false));
            }
            let to = item.entry.path.as_bytes().to_vec();
            requests.push(Request::Move { from: temporary.clone(), to, replace: !self.options.add_only });
            meanings.push((position, true));
        }
        let outcomes = self.target.each(requests).await?;
        let mut useless = Vec::new();
        let mut refused = None;
        for ((position, is_move), outcome) in meanings.into_iter().zip(outcomes) {
            let Finished { item, temporary, bytes, .. } = &finished[position];
            match outcome {
                Ok(()) if is_move => self.arrived(item, *bytes),
                Ok(()) => {
                    self.report.set_aside += 1;
                    if let Former::Aside(former) = &item.former {
                        self.touch(former);
                    }
                }
                // It appeared there meanwhile, and with `add_only` that one stays.
                Err(fault) if is_move && self.options.add_only && fault.is(libc::EEXIST) => {
                    useless.push(temporary.clone())
                }
                Err(fault) => {
                    useless.push(temporary.clone());
                    refused.get_or_insert((item.entry.path.clone(), fault));
                }
            }
        }
        self.drop_temporaries(useless).await?;
        match refused {
            Some((path, fault)) => Err(self.failure("rename to", path.as_bytes(), &fault)),
            None => Ok(()),
        }
    }

    /// Removes unfinished files and folders; those that never came to be do not matter.
    pub(super) async fn drop_temporaries(&mut self, temporaries: Vec<Vec<u8>>) -> Result<(), Error> {
        let requests = temporaries.into_iter().flat_map(|path| {
            let may_be_folder = is_staged(&path) && is_temporary(name_of(&path));
            let folder = may_be_folder.then(|| Request::RemoveFolder(path.clone()));
            std::iter::once(Request::Remove(path)).chain(folder)
        });
        self.target.each(requests.collect()).await.map(drop)
    }

    /// Moves the content of a batch: by the target itself where it can fetch, and what is left then through this machine.
    async fn transfer(&mut self, batch: &[Item], temporaries: &[Vec<u8>]) -> Result<Vec<Outcome>, Error> {
        let messages: Vec<bool> =
            batch.iter().map(|item| self.layout.mailbox_of_message(item.entry.path.as_bytes()).is_some()).collect();
        let mut outcomes: Vec<Option<Outcome>> = batch.iter().map(|_| None).collect();
        if self.is_direct(batch).await? {
            self.pull(batch, temporaries, &messages, &mut outcomes).await?;
        }
        let left: Vec<usize> = (0..batch.len()).filter(|&position| outcomes[position].is_none()).collect();
        for (&position, outcome) in left.iter().zip(self.relay(batch, temporaries, &messages, &left).await?) {
            outcomes[position] = Some(outcome);
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    /// Asking, passing on, and hearing how it went, all at the same time. Returns the outcomes of these positions.
    async fn relay(
        &mut self,
        batch: &[Item],
        temporaries: &[Vec<u8>],
        messages: &[bool],
        positions: &[usize],
    ) -> Result<Vec<Outcome>, Error> {
        let (options, exact) = (self.options, self.exact());
        let ahead = Ahead::new(self.source.round_trip);
        let (ask, read) = self.source.halves();
        let (write, heard) = self.target.halves();
        let (expect, expected) = mpsc::unbounded_channel();
        let asking = async {
            for &position in positions.iter().filter(|&&position| batch[position].entry.kind == Kind::File) {
                let entry = &batch[position].entry;
                let file = entry.path.as_bytes().to_vec();
                if ahead.is_far(entry.size) {
                    ask.flush().await;
                    ahead.caught_up().await;
                }
                ahead.ask(entry.size);
                ask.add(match how(entry, messages[position]) {
                    How::Message(most) => Request::Message { file, most },
                    How::Pieces(most) => Request::Fetch { file, most, ripen: false },
                    How::Ripe(most) => Request::Fetch { file, most, ripen: true },
                })
                .await;
            }
            ask.flush().await;
            Ok::<(), Error>(())
        };
        let passing = async {
            let mut outcomes = Vec::with_capacity(positions.len());
            for (nth, &position) in positions.iter().enumerate() {
                let mover = Mover {
                    options,
                    item: &batch[position],
                    temporary: &temporaries[position],
                    message: messages[position],
                    exact,
                };
                // Whatever is read next is waited for: the target need not wait, too.
                if !read.has_more() {
                    write.flush().await;
                }
                let (outcome, written) = mover.pass_on(read, write).await?;
                if nth == 0 {
                    ahead.heard_first();
                }
                if written {
                    let _ = expect.send(nth);
                }
                if batch[position].entry.kind == Kind::File {
                    ahead.passed_on(batch[position].entry.size);
                }
                outcomes.push(outcome);
            }
            write.flush().await;
            drop(expect);
            Ok(outcomes)
        };
        let hearing = hear(heard, expected);
        let ((), mut outcomes, refusals) = tokio::try_join!(asking, passing, hearing)?;
        self.source.round_trip = ahead.round_trip();
        for (nth, fault) in refusals {
            outcomes[nth] = Outcome::Refused(fault);
        }
        Ok(outcomes)
    }
}

/// Collects the target's replies for the files that were sent to it.
async fn hear(
    heard: &mut Incoming,
    mut expected: mpsc::UnboundedReceiver<usize>,
) -> Result<Vec<(usize, Fault)>, Error> {
    let mut refusals = Vec::new();
    while let Some(position) = expected.recv().await {
        if let Err(fault) = heard.outcome().await? {
            refusals.push((position, fault));
        }
    }
    Ok(refusals)
}

/// How the source is asked for a file.
pub(super) fn how(entry: &Entry, message: bool) -> How {
    match message {
        true if is_small(entry) => How::Message(entry.size),
        true => How::Pieces(entry.size),
        false => How::Ripe(entry.size.saturating_mul(2).max(entry.size.saturating_add(GROWTH))),
    }
}

/// Whether it travels in one piece.
fn is_small(entry: &Entry) -> bool {
    entry.size <= PIECE as u64
}

/// As many as make a batch; at least one.
fn batch_length(items: &[Item]) -> usize {
    let mut bytes = 0;
    let fits = items.iter().take(BATCH_FILES).take_while(|item| {
        let before = bytes;
        bytes += item.entry.size;
        before < BATCH_BYTES
    });
    fits.count().max(1)
}

/// One file on its way.
struct Mover<'a> {
    options: &'a SyncOptions,
    item: &'a Item,
    temporary: &'a [u8],
    message: bool,
    /// Whether both sides know of attributes.
    exact: bool,
}

impl Mover<'_> {
    /// What became of it, and whether the target was sent something it will reply to.
    async fn pass_on(&self, read: &mut Incoming, write: &mut Outgoing) -> Result<(Outcome, bool), Error> {
        let entry = &self.item.entry;
        let owner = Some(self.options.owner_of(entry));
        if entry.kind == Kind::Symlink {
            let points_to = entry.points_to.as_deref().unwrap_or_default().to_vec();
            let path = self.temporary.to_vec();
            write.add(Request::Symlink { path, points_to, owner, modified: entry.modified }).await;
            return Ok((Outcome::Written(0), true));
        }
        if self.message && is_small(entry) {
            return self.pass_on_whole(read, write).await;
        }
        let (size, modified) = match read.next().await? {
            Reply::Opened { size, modified } => (size, modified),
            Reply::Failed(fault) => return Ok((unreadable(&fault, self.message), false)),
            other => return Err(unexpected(read.side(), &other)),
        };
        if modified.1 >= 1_000_000_000 {
            return Err(read.refuse("a time that does not exist"));
        }
        if size > how(entry, self.message).most() {
            return Err(read.refuse("more content than was asked for"));
        }
        write.add(Request::Begin(self.temporary.to_vec())).await;
        let outcome = self.pieces(read, write, size).await?;
        let mode = self.options.mode_of(entry);
        let attributes = self.exact.then(|| entry.attributes.clone());
        write.add(Request::Finish { mode, owner, attributes, modified: Some(modified) }).await;
        // A message has one size for ever: another one is not the file that was listed.
        let outcome = if self.message && size != entry.size { Outcome::Changed } else { outcome };
        Ok((outcome, true))
    }

    /// A small message. It has one size for ever: with another one it is not the file that was listed.
    async fn pass_on_whole(&self, read: &mut Incoming, write: &mut Outgoing) -> Result<(Outcome, bool), Error> {
        let entry = &self.item.entry;
        let content = match read.next().await? {
            Reply::Whole(content) => content,
            Reply::Failed(fault) => return Ok((unreadable(&fault, true), false)),
            other => return Err(unexpected(read.side(), &other)),
        };
        let size = content.len() as u64;
        if size != entry.size {
            return Ok((Outcome::Changed, false));
        }
        let (path, mode) = (self.temporary.to_vec(), self.options.mode_of(entry));
        let (owner, modified) = (Some(self.options.owner_of(entry)), entry.modified);
        let attributes = self.exact.then(|| entry.attributes.clone());
        write.add(Request::Put { path, content, mode, owner, attributes, modified }).await;
        Ok((Outcome::Written(size), true))
    }

    async fn pieces(&self, read: &mut Incoming, write: &mut Outgoing, size: u64) -> Result<Outcome, Error> {
        let mut left = size;
        loop {
            match read.next().await? {
                Reply::Data(piece) if !piece.is_empty() && piece.len() as u64 <= left => {
                    left -= piece.len() as u64;
                    write.add(Request::Data(piece)).await;
                }
                Reply::Data(_) => return Err(read.refuse("other content than it had announced")),
                Reply::Closed { changed } if changed || left > 0 => return Ok(Outcome::Changed),
                Reply::Closed { .. } => return Ok(Outcome::Written(size)),
                Reply::Failed(fault) => return Ok(unreadable(&fault, self.message)),
                other => return Err(unexpected(read.side(), &other)),
            }
        }
    }
}

/// What it means that the source failed to read a file.
pub(super) fn unreadable(fault: &Fault, message: bool) -> Outcome {
    use crate::hand::Why;
    match fault.why {
        _ if fault.vanished() => Outcome::Vanished,
        Why::TooLarge if message => Outcome::Changed,
        Why::TooLarge => {
            Outcome::Unreadable("it grew too much while it was copied; the next pass brings it".to_owned())
        }
        Why::System(errno) => {
            Outcome::Unreadable(format!("the source cannot read it: {}", std::io::Error::from_raw_os_error(errno)))
        }
        _ => Outcome::Unreadable("the source refuses to read it".to_owned()),
    }
}
