//! Content that the target's hand fetches from the source by itself, where rehome runs on a third machine (`crate::direct`).
//! Invariant: the outcomes are those of `transfer`, for the same reasons; what a lost link leaves open is relayed there.
//! A request names many files, and others follow before it is answered: how far the two sides are apart does not matter.

use super::transfer::{Outcome, how, unreadable};
use super::{Item, Pass};
use crate::direct::{Reached, is_reached, lost, reach};
use crate::hand::{Pull, Pulled, Reply, Request, explain, unexpected};
use crate::{Error, Kind, escape};

/// Making a link takes about a second, as relaying so many files (of the whole pass), or bytes (of one who copies), does: below,
/// mail would stand still for it.
const FILES: u64 = 1000;
/// The same where more is being found: a first copy, for which nothing stands still.
const FEW: u64 = 100;
const BYTES: u64 = 16 << 20;
/// Files of a request, and bytes of it at most (a frame has an end, see `hand::wire`).
const FRAME_FILES: usize = 128;
const FRAME_BYTES: usize = 256 << 10;
/// What a file takes beside its names and attributes.
const FIELDS: usize = 256;

impl Pass<'_> {
    /// Whether the target fetches this batch by itself. Says so, once, where it might and cannot.
    pub(super) async fn is_direct(&mut self, batch: &[Item]) -> Result<bool, Error> {
        let (source, target) = (self.shared.source, self.shared.target);
        if is_reached(source, &self.target) {
            return Ok(true);
        }
        let (files, more) = self.shared.progress.total();
        let bytes = self.report.bytes + batch.iter().map(|item| item.entry.size).sum::<u64>();
        if files < if more { FEW } else { FILES } && bytes < BYTES {
            return Ok(false);
        }
        match reach(source, target, &mut self.target).await? {
            Reached::Yes => Ok(true),
            Reached::No => Ok(false),
            Reached::Failed(why) => {
                self.observer.note(&format!(
                    "{} cannot fetch from {} by itself ({why}): what is copied passes through this machine",
                    target.side(),
                    source.side()
                ));
                Ok(false)
            }
        }
    }

    /// Has the target fetch the files of a batch, and fills in what became of them.
    pub(super) async fn pull(
        &mut self,
        batch: &[Item],
        temporaries: &[Vec<u8>],
        messages: &[bool],
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Error> {
        let frames = frames(batch);
        let requests: Vec<Request> = frames
            .iter()
            .map(|frame| {
                let pull =
                    |&position: &usize| self.request(&batch[position], &temporaries[position], messages[position]);
                Request::Pull(frame.iter().map(pull).collect())
            })
            .collect();
        let (ask, heard) = self.target.halves();
        let asking = async {
            for request in requests {
                ask.add(request).await;
            }
            ask.flush().await;
            Ok::<(), Error>(())
        };
        let hearing = async {
            let mut lost = None;
            for frame in &frames {
                let told = match heard.next().await? {
                    Reply::Pulled(told) if told.len() == frame.len() => told,
                    Reply::Pulled(_) => return Err(heard.refuse("not as many files as it was asked for")),
                    Reply::Failed(fault) => return Err(explain(heard.side(), "fetch into", b"", &fault)),
                    other => return Err(unexpected(heard.side(), &other)),
                };
                for (&position, told) in frame.iter().zip(told) {
                    outcomes[position] = match told {
                        Pulled::Written(bytes) => Some(Outcome::Written(bytes)),
                        Pulled::Changed => Some(Outcome::Changed),
                        Pulled::Unreadable(fault) => Some(unreadable(&fault, messages[position])),
                        Pulled::Refused(fault) => Some(Outcome::Refused(fault)),
                        Pulled::Lost(words) => {
                            lost.get_or_insert(words);
                            None
                        }
                        Pulled::Lie(what) => {
                            let (side, what) = (self.shared.source.side().to_owned(), escape(&what));
                            return Err(Error::Protocol { side, what });
                        }
                    };
                }
            }
            Ok(lost)
        };
        let ((), words) = tokio::try_join!(asking, hearing)?;
        if let Some(words) = words {
            self.lost(&words).await;
        }
        Ok(())
    }

    fn request(&self, item: &Item, temporary: &[u8], message: bool) -> Pull {
        let entry = &item.entry;
        Pull {
            file: entry.path.as_bytes().to_vec(),
            how: how(entry, message),
            path: temporary.to_vec(),
            mode: self.options.mode_of(entry),
            owner: Some(self.options.owner_of(entry)),
            attributes: self.exact().then(|| entry.attributes.clone()),
            modified: entry.modified,
        }
    }

    async fn lost(&mut self, words: &[u8]) {
        lost(self.shared.target, &mut self.target).await;
        self.observer.note(&format!(
            "{} lost its own link to {} ({}): what was under way passes through this machine",
            self.shared.target.side(),
            self.shared.source.side(),
            escape(words.trim_ascii())
        ));
    }
}

/// The files of a batch, by position, for one request each.
fn frames(batch: &[Item]) -> Vec<Vec<usize>> {
    let mut frames: Vec<Vec<usize>> = Vec::new();
    let mut bytes = 0;
    for (position, item) in batch.iter().enumerate().filter(|(_, item)| item.entry.kind == Kind::File) {
        let size = 2 * item.entry.path.as_bytes().len() + item.entry.attributes.bytes().len() + FIELDS;
        match frames.last_mut() {
            Some(frame) if frame.len() < FRAME_FILES && bytes + size <= FRAME_BYTES => {
                frame.push(position);
                bytes += size;
            }
            _ => {
                frames.push(vec![position]);
                bytes = size;
            }
        }
    }
    frames
}
