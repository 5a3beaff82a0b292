//! Talking to a hand: requests go in, replies come out in the same order, both in bursts through bounded channels: who waits
//! on the other side is woken once a burst, which for small files costs more than the work itself.
//! Invariant: a session that is dropped in the middle does no further request, and is never used again.
//! `Tree` keeps those that ended cleanly.

use super::{Fault, LOCK_PATIENCE, PIECE, Reply, Request, Why};
use crate::{Error, RelativePath};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

pub(super) type Requests = mpsc::Receiver<Vec<Request>>;

/// Bursts that wait in each direction: at most some 2 MiB.
const QUEUE: usize = 32;
/// A burst ends with so many requests or replies, or with so many bytes.
const BURST: usize = 64;
const BURST_BYTES: usize = PIECE;

/// A hand at work. Dropping it ends the hand.
pub(crate) struct Session {
    side: String,
    /// Whether times have nanoseconds there.
    pub exact: bool,
    /// The shortest time that an answer has taken to come, as far as that is known.
    pub round_trip: Option<Duration>,
    /// The source that it fetches from by itself, if any; see `direct`.
    pub reaches: Option<String>,
    requests: Outgoing,
    replies: Incoming,
    stop: Arc<AtomicBool>,
    pub(super) tasks: Vec<JoinHandle<()>>,
}

/// What collects until it is worth a burst.
struct Burst<T> {
    waiting: Vec<T>,
    bytes: usize,
}

impl<T> Burst<T> {
    fn new() -> Self {
        Self { waiting: Vec::new(), bytes: 0 }
    }

    /// Whether it is full now.
    fn add(&mut self, item: T, bytes: usize) -> bool {
        self.waiting.push(item);
        self.bytes += bytes;
        self.waiting.len() >= BURST || self.bytes >= BURST_BYTES
    }

    fn take(&mut self) -> Vec<T> {
        self.bytes = 0;
        std::mem::take(&mut self.waiting)
    }
}

/// The requests to a hand. When the hand has ended nothing arrives any more, and its replies say why.
pub(crate) struct Outgoing {
    queue: mpsc::Sender<Vec<Request>>,
    burst: Burst<Request>,
}

impl Outgoing {
    /// Sends it with others; whoever waits for a reply calls `flush` before.
    pub(crate) async fn add(&mut self, request: Request) {
        let bytes = request.content();
        if self.burst.add(request, bytes) {
            self.flush().await;
        }
    }

    /// Sends what was added.
    pub(crate) async fn flush(&mut self) {
        if !self.burst.waiting.is_empty() {
            let _ = self.queue.send(self.burst.take()).await;
        }
    }

    /// Sends it, and what was added before, now.
    pub(crate) async fn send(&mut self, request: Request) {
        self.burst.add(request, 0);
        self.flush().await;
    }
}

/// Where a hand puts its replies.
pub(super) struct Replies {
    queue: mpsc::Sender<Result<Vec<Reply>, Error>>,
    burst: Burst<Reply>,
}

/// Nobody listens any more.
pub(super) struct Unheard;

impl Replies {
    /// One more, for a hand that may block.
    pub(super) fn tell(&mut self, reply: Reply) -> Result<(), Unheard> {
        let bytes = reply.content();
        if self.burst.add(reply, bytes) { self.flush() } else { Ok(()) }
    }

    pub(super) fn flush(&mut self) -> Result<(), Unheard> {
        if self.burst.waiting.is_empty() {
            return Ok(());
        }
        self.queue.blocking_send(Ok(self.burst.take())).map_err(|_| Unheard)
    }

    /// One more; `last`: nothing follows at once.
    pub(super) async fn add(&mut self, reply: Reply, last: bool) -> Result<(), Unheard> {
        let bytes = reply.content();
        if self.burst.add(reply, bytes) || last {
            return self.queue.send(Ok(self.burst.take())).await.map_err(|_| Unheard);
        }
        Ok(())
    }

    /// Why the hand ended.
    pub(super) async fn end(mut self, why: Error) {
        if !self.burst.waiting.is_empty() {
            let _ = self.queue.send(Ok(self.burst.take())).await;
        }
        let _ = self.queue.send(Err(why)).await;
    }
}

/// The replies of a hand.
pub(crate) struct Incoming {
    side: String,
    queue: mpsc::Receiver<Result<Vec<Reply>, Error>>,
    ready: std::vec::IntoIter<Reply>,
}

impl Incoming {
    pub(crate) async fn next(&mut self) -> Result<Reply, Error> {
        loop {
            if let Some(reply) = self.ready.next() {
                return Ok(reply);
            }
            match self.queue.recv().await {
                Some(replies) => self.ready = replies?.into_iter(),
                None => {
                    let what = "its hand ended without a word".to_owned();
                    return Err(Error::Protocol { side: self.side.clone(), what });
                }
            }
        }
    }

    /// Whether the next reply is there already.
    pub(crate) fn has_more(&self) -> bool {
        self.ready.len() > 0
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

impl Session {
    pub(super) fn new(side: &str, exact: bool) -> (Self, Requests, Replies, Arc<AtomicBool>) {
        let (requests, request_queue) = mpsc::channel(QUEUE);
        let (reply_queue, queue) = mpsc::channel(QUEUE);
        let stop = Arc::new(AtomicBool::new(false));
        let replies = Incoming { side: side.to_owned(), queue, ready: Vec::new().into_iter() };
        let requests = Outgoing { queue: requests, burst: Burst::new() };
        let session = Self {
            side: side.to_owned(),
            exact,
            round_trip: None,
            reaches: None,
            requests,
            replies,
            stop: stop.clone(),
            tasks: Vec::new(),
        };
        (session, request_queue, Replies { queue: reply_queue, burst: Burst::new() }, stop)
    }

    /// Whether it still waits for requests; one that was idle has said nothing but why it ended.
    pub(crate) fn is_alive(&self) -> bool {
        !self.replies.has_more()
            && self.replies.queue.is_empty()
            && !self.replies.queue.is_closed()
            && !self.requests.queue.is_closed()
    }

    /// Both directions, for use at the same time.
    pub(crate) fn halves(&mut self) -> (&mut Outgoing, &mut Incoming) {
        (&mut self.requests, &mut self.replies)
    }

    pub(crate) async fn send(&mut self, request: Request) {
        self.requests.send(request).await;
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
                outgoing.add(request).await;
            }
            outgoing.flush().await;
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
        Reply::Reached(_) | Reply::Pulled(_) => "a word of a direct link",
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
