//! A running command: its streams for the caller, and a task that follows it to its end.
//! Invariant: the task always comes to an outcome: the status that the wrapper reported; or the command is ended at its
//! deadline, on request, or because the caller let go of it; or it is lost. No status is ever guessed.
//! `run.rs` builds the whole-command call on this.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{Duration, Instant, timeout_at};

use crate::frame::{Frame, Line};
use crate::machine::{Launched, Link, Machine};
use crate::streams::{Read, Stdin, Stdout};
use crate::wrapper::{self, Token};
use crate::{Command, Ended, Error, Output};

/// How much of stderr is kept for a caller of `spawn`.
const KEPT_STDERR: usize = 64 << 10;

/// A command that runs on a side, with its streams.
pub struct Process {
    /// Its input. Drop it (or shut it down) to let the command see the end of it.
    pub stdin: crate::streams::Write,
    /// Exactly its stdout. An end of file means that the command has ended and its output is complete; if the link
    /// broke or the command was ended from here, reading fails instead. Dropped before that, the rest of it is read
    /// and dropped in the background: the command sees no closed pipe.
    pub stdout: Read,
    /// Waiting for it, ending it.
    pub running: Running,
}

/// The life of a command. Dropped before the end of it is known, the command is ended in the background.
pub struct Running {
    pid: u32,
    stop: Stop,
    outcome: oneshot::Receiver<Result<Output, Error>>,
    lost: Lost,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("running", &self.running).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// Asks for a command to be ended.
#[derive(Clone)]
pub(crate) struct Stop(mpsc::UnboundedSender<Why>);

/// Why a command is ended from here.
#[derive(Clone, Copy)]
pub(crate) enum Why {
    Deadline,
    Killed,
    OverLimit,
}

impl Process {
    /// Lets go of stdin and stdout and waits: for a command whose output does not matter.
    ///
    /// # Errors
    /// As [`Running::wait`].
    pub async fn wait(self) -> Result<Output, Error> {
        let Self { stdin, stdout, running } = self;
        drop((stdin, stdout));
        running.wait().await
    }

    /// See [`Running::kill`].
    ///
    /// # Errors
    /// As [`Running::kill`].
    pub async fn kill(self) -> Result<Ended, Error> {
        self.running.kill().await
    }
}

impl Running {
    /// Waits for the status that the wrapper reports. `stdout` of the answer is empty, `stderr` its first 64 KiB.
    /// The command may be blocked until its stdout is read: read [`Process::stdout`] meanwhile. If this future is
    /// dropped, the command is ended.
    ///
    /// # Errors
    /// [`Error::TimedOut`], [`Error::OverLimit`], [`Error::Lost`].
    pub async fn wait(self) -> Result<Output, Error> {
        let Self { outcome, lost, stop, .. } = self;
        let outcome = outcome.await.unwrap_or_else(|_| Err(lost.error("rehome is ending")));
        drop(stop);
        outcome
    }

    /// Ends the command with its whole process group, SIGTERM first and SIGKILL two seconds later, and waits for that.
    ///
    /// # Errors
    /// Those of [`wait`](Self::wait), if it had already come to another end than its own.
    pub async fn kill(self) -> Result<Ended, Error> {
        self.stop.ask(Why::Killed);
        match self.wait().await {
            Ok(_) => Ok(Ended::Confirmed),
            Err(Error::Killed { ended, .. }) => Ok(ended),
            Err(error) => Err(error),
        }
    }

    /// The wrapper's process on that side; the command is its child.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn stop(&self) -> Stop {
        self.stop.clone()
    }
}

impl Stop {
    pub(crate) fn ask(&self, why: Why) {
        // Whoever is asked may have ended meanwhile.
        _ = self.0.send(why);
    }
}

/// What a lost command is called.
struct Lost {
    side: String,
    command: String,
    pid: u32,
}

impl Lost {
    fn error(self, reason: &str) -> Error {
        Error::Lost { side: self.side, command: self.command, pid: Some(self.pid), reason: reason.to_owned() }
    }
}

/// Starts a command and returns once its wrapper says that it runs. `stderr` is the limit of [`Error::OverLimit`] for
/// it (all of it is kept then), or `None` to keep the first of it and drop the rest.
pub(crate) async fn spawn(machine: &Arc<Machine>, command: &Command, stderr: Option<u64>) -> Result<Process, Error> {
    if let Some(reason) = wrapper::objection(&command.argv) {
        return Err(machine.refused(reason));
    }
    let life = Life {
        machine: machine.clone(),
        argv: command.argv.clone(),
        token: Token::new().map_err(|source| machine.io("get random bytes", source))?,
        timeout: command.timeout,
        deadline: deadline(command.timeout),
        stderr_limit: stderr,
    };
    let (started, start) = oneshot::channel();
    // A task of its own: it has to follow the command even if the caller's future is dropped.
    tokio::spawn(life.live(started));
    start.await.unwrap_or_else(|_| Err(machine.lost(&command.argv[0], None, "rehome is ending")))
}

/// A moment that far from now; one that cannot be expressed is as good as never.
pub(crate) fn deadline(timeout: Duration) -> Instant {
    const YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    Instant::now() + timeout.min(YEARS)
}

struct Life {
    machine: Arc<Machine>,
    argv: Vec<Vec<u8>>,
    token: Token,
    timeout: Duration,
    deadline: Instant,
    stderr_limit: Option<u64>,
}

/// What the task holds of a command that has begun.
struct Begun {
    pid: u32,
    stderr: Read,
    frame: Frame,
    kept: Vec<u8>,
    seen: u64,
}

/// What came out of waiting on stderr.
enum Heard {
    Begin(u32),
    Missing,
    End(i32),
    Closed,
    TooMuch,
}

impl Life {
    async fn live(self, mut started: oneshot::Sender<Result<Process, Error>>) {
        let launched = tokio::select! {
            launched = self.launch() => launched,
            // The caller has gone; whether something was sent already is not known, so it is looked for.
            () = started.closed() => {
                self.machine.end(&self.token, None).await;
                return;
            }
        };
        let (permit, Launched { stdin, stdout, stderr, link }) = match launched {
            Ok(launched) => launched,
            Err(error) => return drop(started.send(Err(error))),
        };
        let mut begun = Begun { pid: 0, stderr, frame: Frame::new(&self.token), kept: Vec::new(), seen: 0 };
        let heard = tokio::select! {
            heard = timeout_at(self.deadline, self.hear(&mut begun)) => heard,
            () = started.closed() => {
                self.machine.end(&self.token, None).await;
                return;
            }
        };
        let error = match heard {
            Ok(Heard::Begin(pid)) => {
                begun.pid = pid;
                return self.follow(begun, (stdin, stdout), link, permit, started).await;
            }
            Ok(Heard::Missing) => {
                let program = crate::text::printable(&self.argv[0]);
                Error::NotFound { side: self.machine.name.clone(), program }
            }
            Ok(_) => self.never_began(link, &begun.kept).await,
            Err(_) => self.timed_out(self.machine.end(&self.token, None).await),
        };
        _ = started.send(Err(error));
    }

    /// Waits for a slot, then opens the session; both before the deadline.
    async fn launch(&self) -> Result<(OwnedSemaphorePermit, Launched), Error> {
        let slot = timeout_at(self.deadline, self.machine.slots.clone().acquire_owned()).await;
        let Ok(slot) = slot else { return Err(self.timed_out(Ended::NotStarted)) };
        let slot = slot.map_err(|_| self.machine.lost(&self.argv[0], None, "rehome is ending"))?;
        let launch = self.machine.launch(&self.token, &self.argv, self.machine.login());
        match timeout_at(self.deadline, launch).await {
            Ok(launched) => Ok((slot, launched?)),
            Err(_) => Err(self.timed_out(self.machine.end(&self.token, None).await)),
        }
    }

    /// Hands the streams to the caller, then follows the command to its outcome.
    async fn follow(
        &self,
        mut begun: Begun,
        (stdin, stdout): (crate::streams::Write, Read),
        link: Link,
        permit: OwnedSemaphorePermit,
        started: oneshot::Sender<Result<Process, Error>>,
    ) {
        let (give_up, given_up) = watch::channel(false);
        let (stop, mut stops) = mpsc::unbounded_channel();
        let (outcome, outcome_receiver) = oneshot::channel();
        // The slot is free again when the session is: after the outcome, and after stdout is read to its end.
        let link = Arc::new(Held { link, _permit: permit });
        let process = Process {
            stdin: Box::new(Stdin::new(stdin, given_up.clone())),
            stdout: Box::new(Stdout::new(stdout, link.clone(), &self.token, given_up)),
            running: Running {
                pid: begun.pid,
                stop: Stop(stop),
                outcome: outcome_receiver,
                lost: Lost {
                    side: self.machine.name.clone(),
                    command: crate::text::printable(&self.argv[0]),
                    pid: begun.pid,
                },
            },
        };
        // Nobody there to take it: then everything in it is dropped here, and `stops` says so below.
        _ = started.send(Ok(process));

        let why = tokio::select! {
            biased;
            heard = self.hear(&mut begun) => match heard {
                Heard::End(status) => {
                    let output = Output { status, stdout: Vec::new(), stderr: begun.kept };
                    return drop(outcome.send(Ok(output)));
                }
                Heard::TooMuch => Why::OverLimit,
                _ => {
                    give_up.send_replace(true);
                    let reason = self.machine.how_lost().await;
                    return drop(outcome.send(Err(self.machine.lost(&self.argv[0], Some(begun.pid), &reason))));
                }
            },
            why = stops.recv() => why.unwrap_or(Why::Killed),
            () = tokio::time::sleep_until(self.deadline) => Why::Deadline,
        };
        let ended = tokio::select! {
            ended = self.machine.end(&self.token, Some(begun.pid)) => ended,
            // The wrapper must not block on a full pipe while it is to end.
            never = drain(&mut begun.stderr) => match never {},
        };
        give_up.send_replace(true);
        _ = outcome.send(Err(self.ended(why, ended)));
        drop(link);
    }

    /// Reads stderr up to the wrapper's next line.
    async fn hear(&self, begun: &mut Begun) -> Heard {
        let mut piece = [0; 8192];
        loop {
            let before = begun.kept.len();
            let line = begun.frame.next(&mut begun.kept);
            begun.seen += (begun.kept.len() - before) as u64;
            if begun.pid != 0 && self.stderr_limit.is_some_and(|limit| begun.seen > limit) {
                return Heard::TooMuch;
            }
            if self.stderr_limit.is_none() || begun.pid == 0 {
                begun.kept.truncate(KEPT_STDERR);
            }
            match line {
                Some(Line::Begin { pid: Some(pid) }) => {
                    (begun.kept, begun.seen) = (Vec::new(), 0);
                    return Heard::Begin(pid);
                }
                Some(Line::Missing) => return Heard::Missing,
                Some(Line::End { status: Some(status) }) => return Heard::End(status),
                Some(_) => {}
                None => match begun.stderr.read(&mut piece).await {
                    Ok(0) | Err(_) => return Heard::Closed,
                    Ok(count) => begun.frame.feed(&piece[..count]),
                },
            }
        }
    }

    /// stderr closed before `begin`: either the far end says that the shell (or sudo) ended, or nobody says anything.
    async fn never_began(&self, link: Link, said: &[u8]) -> Error {
        match timeout_at(self.deadline, link.exited()).await {
            Ok(true) => self.machine.not_begun(self.machine.login(), said),
            _ => self.machine.lost(&self.argv[0], None, &self.machine.how_lost().await),
        }
    }

    fn timed_out(&self, ended: Ended) -> Error {
        Error::TimedOut {
            side: self.machine.name.clone(),
            what: format!("`{}` on {}", crate::text::printable(&self.argv[0]), self.machine.name),
            after: self.timeout,
            ended,
        }
    }

    fn ended(&self, why: Why, ended: Ended) -> Error {
        let (side, command) = (self.machine.name.clone(), crate::text::printable(&self.argv[0]));
        match why {
            Why::Deadline => self.timed_out(ended),
            Why::Killed => Error::Killed { side, command, ended },
            Why::OverLimit => Error::OverLimit { side, command, limit: self.stderr_limit.unwrap_or_default(), ended },
        }
    }
}

/// Reads and drops, for as long as it is polled.
async fn drain(stream: &mut Read) -> Infallible {
    _ = tokio::io::copy(stream, &mut tokio::io::sink()).await;
    std::future::pending().await
}

/// A session and the slot it takes.
pub(crate) struct Held {
    #[expect(dead_code, reason = "held for its drop, which closes the session")]
    link: Link,
    _permit: OwnedSemaphorePermit,
}
