//! Talking to a hand: requests go in, replies come out in the same order, both through bounded channels.
//! Invariant: a session that is dropped in the middle does no further request, and is never used again.
//! `Tree` keeps those that ended cleanly.

use super::{Fault, LOCK_PATIENCE, Reply, Request, Why};
use crate::{Error, RelativePath};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

pub(super) type Requests = mpsc::Receiver<Request>;
pub(super) type Replies = mpsc::Sender<Result<Reply, Error>>;

/// With pieces of 64 KiB: at most 2 MiB wait in each direction.
const QUEUE: usize = 32;

/// A hand at work. Dropping it ends the hand.
pub(crate) struct Session {
    side: String,
    /// Whether times have nanoseconds there.
    pub exact: bool,
    requests: mpsc::Sender<Request>,
    replies: Incoming,
    stop: Arc<AtomicBool>,
    pub(super) tasks: Vec<JoinHandle<()>>,
}

/// The replies of a hand.
pub(crate) struct Incoming {
    side: String,
    queue: mpsc::Receiver<Result<Reply, Error>>,
}

impl Incoming {
    pub(crate) async fn next(&mut self) -> Result<Reply, Error> {
        match self.queue.recv().await {
            Some(reply) => reply,
            None => Err(Error::Protocol { side: self.side.clone(), what: "its hand ended without a word".to_owned() }),
        }
    }

    pub(crate) fn side(&self) -> &str {
        &self.side
    }

    pub(crate) fn refuse(&self, what: &str) -> Error {
        Error::Protocol { side: self.side.clone(), what: what.to_owned() }
    }

    /// The reply to a request that answers `Done` or fails.
    pub(crate) async fn outcome(&mut self) -> Result<Result<(), Fault>, Error> {
        match self.next().await? {
            Reply::Done => Ok(Ok(())),
            Reply::Failed(fault) => Ok(Err(fault)),
            other => Err(unexpected(&self.side, &other)),
        }
    }
}

/// The requests to a hand; a send only fails when the hand has ended, and then the replies say why.
pub(crate) type Outgoing = mpsc::Sender<Request>;

impl Session {
    pub(super) fn new(side: &str, exact: bool) -> (Self, Requests, Replies, Arc<AtomicBool>) {
        let (requests, request_queue) = mpsc::channel(QUEUE);
        let (reply_queue, queue) = mpsc::channel(QUEUE);
        let stop = Arc::new(AtomicBool::new(false));
        let replies = Incoming { side: side.to_owned(), queue };
        let session = Self { side: side.to_owned(), exact, requests, replies, stop: stop.clone(), tasks: Vec::new() };
        (session, request_queue, reply_queue, stop)
    }

    /// Whether it still waits for requests; one that was idle has said nothing but why it ended.
    pub(crate) fn is_alive(&self) -> bool {
        self.replies.queue.is_empty() && !self.replies.queue.is_closed() && !self.requests.is_closed()
    }

    /// Both directions, for use at the same time.
    pub(crate) fn halves(&mut self) -> (&Outgoing, &mut Incoming) {
        (&self.requests, &mut self.replies)
    }

    pub(crate) async fn send(&self, request: Request) {
        // See `Outgoing`: whoever waits for the reply is told.
        let _ = self.requests.send(request).await;
    }

    pub(crate) async fn next(&mut self) -> Result<Reply, Error> {
        self.replies.next().await
    }

    /// One request with one reply.
    pub(crate) async fn ask(&mut self, request: Request) -> Result<Result<(), Fault>, Error> {
        self.send(request).await;
        self.replies.outcome().await
    }

    /// One request that must succeed.
    pub(crate) async fn must(&mut self, request: Request, doing: &'static str, path: &[u8]) -> Result<(), Error> {
        let outcome = self.ask(request).await?;
        outcome.map_err(|fault| explain(&self.side, doing, path, &fault))
    }

    /// Many requests with one reply each, on their way at the same time.
    pub(crate) async fn each(&mut self, requests: Vec<Request>) -> Result<Vec<Result<(), Fault>>, Error> {
        let count = requests.len();
        let (outgoing, incoming) = self.halves();
        let send = async {
            for request in requests {
                if outgoing.send(request).await.is_err() {
                    break;
                }
            }
            Ok::<(), Error>(())
        };
        let receive = async {
            let mut outcomes = Vec::with_capacity(count);
            for _ in 0..count {
                outcomes.push(incoming.outcome().await?);
            }
            Ok(outcomes)
        };
        let ((), outcomes) = tokio::try_join!(send, receive)?;
        Ok(outcomes)
    }

    /// Keeps other passes out of the tree, waiting a little for one that is about to end.
    pub(crate) async fn lock(&mut self, root: &str) -> Result<(), Error> {
        let patience = Instant::now() + LOCK_PATIENCE;
        loop {
            match self.ask(Request::Lock).await? {
                Ok(()) => return Ok(()),
                Err(Fault { why: Why::Busy, .. }) if Instant::now() < patience => {
                    sleep(Duration::from_millis(50)).await
                }
                Err(Fault { why: Why::Busy, .. }) => {
                    return Err(Error::Busy { side: self.side.clone(), root: root.to_owned() });
                }
                Err(fault) => return Err(explain(&self.side, "lock", b"", &fault)),
            }
        }
    }

    pub(crate) fn side(&self) -> &str {
        &self.side
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for task in &self.tasks {
            task.abort();
        }
    }
}

pub(crate) fn unexpected(side: &str, reply: &Reply) -> Error {
    let what = match reply {
        Reply::Done => "done",
        Reply::Failed(_) => "a failure",
        Reply::Listed { .. } | Reply::Gone { .. } | Reply::Same { .. } | Reply::Names { .. } => "a listing",
        Reply::Opened { .. } | Reply::Data(_) | Reply::Whole(_) | Reply::Closed { .. } => "content",
        Reply::Space(_) | Reply::Clock(_) => "a number",
        Reply::Hashes(_) => "a hash",
    };
    Error::Protocol { side: side.to_owned(), what: format!("{what} was not asked for") }
}

/// A fault as an error that says who, where and what to do.
pub(crate) fn explain(side: &str, doing: &'static str, path: &[u8], fault: &Fault) -> Error {
    let side = side.to_owned();
    // A path from a hand that is none is shown as the root.
    let path = RelativePath::new(fault.path.as_deref().unwrap_or(path)).unwrap_or_default();
    let refused = |why: &str, remedy: &str| Error::NotAllowed {
        side: side.clone(),
        path: path.clone(),
        why: why.to_owned(),
        remedy: remedy.to_owned(),
    };
    match fault.why {
        Why::System(libc::ENOENT) => Error::NotFound { side, path },
        Why::System(libc::EACCES | libc::EPERM) => {
            refused(&format!("no permission to {doing} it"), "let rehome work as root there, or give its user access")
        }
        Why::System(libc::ELOOP | libc::ENOTDIR) => refused(
            "a symbolic link or a file stands where a folder should be",
            "name the place the link points to: rehome follows none below a tree",
        ),
        Why::System(libc::EISDIR) => refused("it is a folder", "name a file"),
        Why::NotRegular => refused("it is not a regular file", "name a regular file, not a link, device or pipe"),
        Why::BadPath => refused("the path is not valid there", "report this: rehome should not have asked"),
        Why::TooLarge => Error::TooLarge { side, path, what: "more bytes than were asked for".to_owned() },
        Why::System(errno @ (libc::ENOSPC | libc::EDQUOT)) => {
            Error::DiskFull { side, path, why: io::Error::from_raw_os_error(errno).to_string() }
        }
        Why::NoUser => Error::UnknownOwner { side, what: "user", name: String::new() },
        Why::NoGroup => Error::UnknownOwner { side, what: "group", name: String::new() },
        Why::Busy => Error::Busy { side, root: path.to_string() },
        Why::System(errno) => Error::Io { side, doing, path, source: io::Error::from_raw_os_error(errno) },
    }
}
