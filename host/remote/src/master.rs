//! The one ssh process of a connection (a ControlMaster, ssh(1)), over which commands and forwards run.
//! Invariant: it ends with rehome, however rehome ends: its own session there is a `cat` whose input is a pipe from
//! here, so `kill -9` of rehome closes the pipe, `cat` ends, and with it ssh. (ControlPersist would leave it behind for a
//! while, and hides what a jump host's ssh says.) `ssh_said.rs` sorts what it says when it fails.

use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openssh::Session;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::control::ControlFolder;
use crate::frame::{Frame, Line};
use crate::wrapper::Token;
use crate::{Error, Options, quote, ssh_config, ssh_said};

/// How long ssh may take to end by itself once told to.
const GRACE: Duration = Duration::from_secs(2);
/// How long its last words may take.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How much of what ssh said is kept: the last of it.
const KEPT: usize = 16 << 10;

/// What the connection's own session runs, with a token: it says that it is there, then waits for its input to end.
pub const HOLD: &str = "printf '\\036rehome-%s begin\\n' \"$1\"; exec cat >/dev/null";

/// A connection over ssh. Dropped, it ends.
pub(crate) struct Master {
    pub(crate) session: Arc<Session>,
    pub(crate) folder: Arc<ControlFolder>,
    /// As ssh was given it.
    pub(crate) destination: String,
    said: Arc<Mutex<Vec<u8>>>,
    gone: watch::Receiver<bool>,
    end: Mutex<Option<oneshot::Sender<()>>>,
}

impl Master {
    /// Starts ssh and waits until it is logged in. The caller sets the deadline; dropped before it is done, ssh is killed.
    pub(crate) async fn connect(destination: &str, side: &str, options: &Options) -> Result<Self, Error> {
        let (base, name) = (options.control_dir.clone(), side.to_owned());
        let folder = tokio::task::spawn_blocking(move || ControlFolder::claim(&base, &name))
            .await
            .map_err(|error| io_error(side, "prepare the folder for sockets", io::Error::other(error)))??;
        let refused = |reason| Error::Refused { side: side.to_owned(), reason };
        let config = folder.path().join("config");
        std::fs::write(&config, ssh_config::text(options).map_err(refused)?)
            .map_err(|source| io_error(side, "write the ssh configuration", source))?;

        let token = Token::new().map_err(|source| io_error(side, "get random bytes", source))?;
        let mut child = start(destination, &folder, &token)
            .map_err(|source| io_error(side, "start ssh (Debian package openssh-client)", source))?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io_error(side, "start ssh", io::ErrorKind::BrokenPipe.into()));
        };
        let said = Arc::new(Mutex::new(Vec::new()));
        let mut listener = tokio::spawn(keep_last(stderr, said.clone()));
        let stdout = match logged_in(stdout, &token).await {
            Ok(stdout) => stdout,
            Err(printed) => {
                let status = child.wait().await.map_err(|source| io_error(side, "wait for ssh", source))?;
                // A jump host's ssh may hold the pipe open a moment longer.
                _ = tokio::time::timeout(GRACE, &mut listener).await;
                listener.abort();
                return Err(ssh_said::explain(side, status.code(), &said.lock().expect("no panic inside"), &printed));
            }
        };
        let (gone_sender, gone) = watch::channel(false);
        let (end, ended) = oneshot::channel();
        let folder = Arc::new(folder);
        tokio::spawn(tend(child, (stdin, stdout), ended, gone_sender, listener, folder.clone()));
        let socket = folder.path().join("m").into_boxed_path();
        let session = Arc::new(Session::resume_mux(socket, None));
        Ok(Self { session, folder, destination: destination.to_owned(), said, gone, end: Mutex::new(Some(end)) })
    }

    /// Whether ssh has ended: the link was lost, or [`close`](Self::close) was called.
    pub(crate) fn is_gone(&self) -> bool {
        *self.gone.borrow()
    }

    /// Whether ssh ends within this time.
    pub(crate) async fn ends_within(&self, time: Duration) -> bool {
        tokio::time::timeout(time, self.gone.clone().wait_for(|gone| *gone)).await.is_ok()
    }

    /// The last of what ssh said, for an error.
    pub(crate) fn said(&self) -> String {
        ssh_said::last_lines(&self.said.lock().expect("no panic inside"))
    }

    /// The last that ssh said about a forwarded connection: its words for one that failed have this shape.
    pub(crate) fn forward_trouble(&self) -> Option<String> {
        let said = self.said.lock().expect("no panic inside");
        let text = crate::text::printable(&said);
        text.lines().rfind(|line| line.contains("open failed")).map(str::to_owned)
    }

    /// Ends the connection and waits until it has ended, a few seconds at most.
    pub(crate) async fn close(&self) {
        drop(self.end.lock().expect("no panic inside").take());
        _ = self.gone.clone().wait_for(|gone| *gone).await;
    }
}

fn io_error(side: &str, doing: &str, source: io::Error) -> Error {
    Error::Io { side: side.to_owned(), doing: doing.to_owned(), source }
}

fn start(destination: &str, folder: &ControlFolder, token: &Token) -> io::Result<Child> {
    let mut line = b"exec ".to_vec();
    line.extend(quote::line(["/bin/sh", "-c", HOLD, "rehome", token.word()].map(str::as_bytes)));
    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(folder.path().join("config"));
    ssh.arg("-M").arg("-S").arg(ssh_config::control_path(&folder.path().join("m")));
    // For this hop only; what holds for every hop is in the configuration.
    for option in [
        "ControlPersist=no",
        "ClearAllForwardings=yes",
        "ForwardAgent=no",
        "ForwardX11=no",
        "StreamLocalBindMask=0177",
        "RemoteCommand=none",
        "RequestTTY=no",
    ] {
        ssh.arg("-o").arg(option);
    }
    ssh.arg("-T").arg("--").arg(destination);
    ssh.arg(std::ffi::OsStr::new(std::str::from_utf8(&line).map_err(io::Error::other)?));
    // With a ProxyCommand of the operator's own, the ssh in it does not see our configuration: then this answers.
    ssh.env("SSH_ASKPASS", "/bin/false").env("SSH_ASKPASS_REQUIRE", "force");
    ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    crate::machine::own_session(&mut ssh);
    ssh.spawn()
}

/// Reads until the session says that it is there; if it ends first, what it printed.
async fn logged_in(mut stdout: ChildStdout, token: &Token) -> Result<ChildStdout, Vec<u8>> {
    let (mut frame, mut noise, mut piece) = (Frame::new(token), Vec::new(), [0; 4096]);
    loop {
        match stdout.read(&mut piece).await {
            Ok(0) | Err(_) => {
                frame.finish(&mut noise);
                return Err(noise);
            }
            Ok(count) => frame.feed(&piece[..count]),
        }
        if let Some(Line::Begin { .. }) = frame.next(&mut noise) {
            return Ok(stdout);
        }
        noise.truncate(KEPT);
    }
}

/// Looks after ssh until it has ended, by itself or because `ended` says so.
async fn tend(
    mut child: Child,
    pipes: (ChildStdin, ChildStdout),
    ended: oneshot::Receiver<()>,
    gone: watch::Sender<bool>,
    mut listener: JoinHandle<()>,
    folder: Arc<ControlFolder>,
) {
    tokio::select! {
        _ = child.wait() => {}
        _ = ended => {
            drop(pipes);
            if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
                _ = child.kill().await;
            }
        }
    }
    // Its last words, which a jump host's ssh may keep from ending for a moment longer.
    _ = tokio::time::timeout(LAST_WORDS, &mut listener).await;
    listener.abort();
    drop(folder);
    gone.send_replace(true);
}

/// Keeps the last of what is read.
async fn keep_last(mut from: impl AsyncRead + Unpin, kept: Arc<Mutex<Vec<u8>>>) {
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        tracing::debug!(said = crate::text::printable(&piece[..count]), "ssh");
        let mut kept = kept.lock().expect("no panic inside");
        kept.extend_from_slice(&piece[..count]);
        let excess = kept.len().saturating_sub(KEPT);
        kept.drain(..excess);
    }
}
