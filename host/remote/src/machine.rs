//! A machine that runs commands: this one, or one over ssh; with or without sudo. Both run the same wrapper.
//! Invariant: at most 8 commands at a time over one ssh connection (sshd's MaxSessions is 10: the rest is for the
//! connection's own session and for ending commands). `process.rs` gives commands their life.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::sync::{Mutex, OnceCell, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::control::ControlFolder;
use crate::frame::{Frame, Line};
use crate::master::Master;
use crate::streams::{Read, Write};
use crate::wrapper::Token;
use crate::{Ended, Error, Options, quote};

/// Commands at a time on a connection.
const SLOTS: usize = 8;
/// Linux's limit for one argument with its NUL (MAX_ARG_STRLEN, execve(2)); sshd passes a whole command line as one.
const LONGEST_LINE: usize = (128 << 10) - 1;
/// Who we are: passwd(5) by getent(1), not $HOME, for sudo and containers leave others' homes there. And, from `$1`, whether
/// the shell keeps arguments whole.
pub const WHO: &str = "id -u && id -un && getent passwd \"$(id -u)\" | cut -d: -f6 && printf %s \"$1\"";
/// What a gate adds to the canary, before the digest of what it lets pass (`host/gate`).
pub(crate) const GATE: &[u8] = b"\x1frehome-gate ";
/// What a brief command of rehome's own may print.
const BRIEF: usize = 64 << 10;

/// A machine, and how commands get there.
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) options: Options,
    /// `None`: this machine.
    pub(crate) master: Option<Master>,
    pub(crate) slots: Arc<Semaphore>,
    /// Known once connected.
    login: OnceLock<Login>,
    /// One ending of a command at a time.
    ending: Mutex<()>,
    local_folder: OnceCell<Arc<ControlFolder>>,
}

/// Who commands run as.
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) root: bool,
    pub(crate) sudo: bool,
    /// The digest of what a gate lets pass there, if this login ends at one.
    pub(crate) gate: Option<String>,
    home: Vec<u8>,
}

/// A command's streams as they come, with the wrapper's lines in them.
pub(crate) struct Launched {
    pub(crate) stdin: Write,
    pub(crate) stdout: Read,
    pub(crate) stderr: Read,
    pub(crate) link: Link,
}

/// What must be kept as long as the streams of a command are in use.
pub(crate) enum Link {
    /// A child of ours. It is waited for from its start: unreaped, it would still count as a member of its group.
    Local(JoinHandle<io::Result<std::process::ExitStatus>>),
    /// A session of the master; what was not read yet is lost when it is dropped.
    Ssh(Box<openssh::Child<Arc<openssh::Session>>>),
}

impl Link {
    /// Waits until the far end says that the wrapper has ended, in whatever way. `false`: the link is lost.
    pub(crate) async fn exited(self) -> bool {
        match self {
            Self::Local(child) => matches!(child.await, Ok(Ok(_))),
            Self::Ssh(child) => match child.wait().await {
                Ok(_) => true,
                // Status 127.
                Err(openssh::Error::Remote(_)) => true,
                Err(_) => false,
            },
        }
    }
}

/// Gives a child a session of its own: no terminal to ask questions on or to be stopped by, no Ctrl-C from it, and a
/// process group that can be ended as a whole.
pub(crate) fn own_session(command: &mut tokio::process::Command) {
    // SAFETY: setsid(2) is async-signal-safe and touches no memory, as pre_exec asks of what runs between fork and exec.
    unsafe { command.pre_exec(|| rustix::process::setsid().map(drop).map_err(io::Error::from)) };
}

impl Machine {
    /// A machine whose login is not looked at yet.
    pub(crate) fn new(name: String, options: &Options, master: Option<Master>) -> Self {
        Self {
            name,
            options: options.clone(),
            master,
            slots: Arc::new(Semaphore::new(SLOTS)),
            login: OnceLock::new(),
            ending: Mutex::new(()),
            local_folder: OnceCell::new(),
        }
    }

    /// Finds out who we are there, whether the shell keeps arguments whole, and whether sudo works if it is needed.
    pub(crate) async fn look(&self) -> Result<(), Error> {
        let mut login = self.who(&Login::unknown(false)).await?;
        if self.options.sudo && !login.root {
            let user = login.user;
            login = self.who(&Login { user: user.clone(), ..Login::unknown(true) }).await?;
            if !login.root {
                return Err(Error::Sudo { side: self.name.clone(), user, said: format!("it made us {}", login.user) });
            }
            login.user = user;
            login.sudo = true;
        }
        _ = self.login.set(login);
        Ok(())
    }

    async fn who(&self, login: &Login) -> Result<Login, Error> {
        let argv = [b"/bin/sh" as &[u8], b"-c", WHO.as_bytes(), b"rehome", quote::CANARY].map(<[u8]>::to_vec);
        let printed = self.brief(&argv, login).await?;
        let mut fields = printed.splitn(4, |&byte| byte == b'\n');
        let (Some(uid), Some(user), Some(home), Some(canary)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(self.not_begun(&Login::unknown(false), &printed));
        };
        let gate = canary.strip_prefix(quote::CANARY).and_then(|rest| rest.strip_prefix(GATE));
        let gate = gate.and_then(|digest| std::str::from_utf8(digest).ok()).filter(|digest| is_digest(digest));
        if canary != quote::CANARY && gate.is_none() {
            let said = [b"(it changes what it is given) ", canary].concat();
            return Err(self.not_begun(&Login::unknown(false), &said));
        }
        let home = if home.first() == Some(&b'/') { home.to_vec() } else { b"/".to_vec() };
        let gate = gate.map(str::to_owned);
        Ok(Login { user: crate::text::printable(user), root: uid == b"0", sudo: false, gate, home })
    }

    pub(crate) fn login(&self) -> &Login {
        static UNKNOWN: OnceLock<Login> = OnceLock::new();
        self.login.get().unwrap_or_else(|| UNKNOWN.get_or_init(|| Login::unknown(false)))
    }

    /// Starts `argv` under its wrapper, as whom we found at connect. Nothing is waited for but the start of a session.
    pub(crate) async fn launch(&self, token: &Token, argv: &[Vec<u8>], login: &Login) -> Result<Launched, Error> {
        let words = token.wrap(argv, &login.home, login.sudo);
        match &self.master {
            None => self.launch_here(&words, login),
            Some(master) => self.launch_there(master, &words, &argv[0]).await,
        }
    }

    fn launch_here(&self, words: &[Vec<u8>], login: &Login) -> Result<Launched, Error> {
        let word = |at: usize| std::ffi::OsStr::from_bytes(&words[at]);
        let mut command = tokio::process::Command::new(word(0));
        command.args((1..words.len()).map(word));
        // The wrapper cleans the command's environment; this keeps LD_PRELOAD and the like from the wrapper and sudo.
        command.env_clear().env("PATH", crate::wrapper::PATH).env("LC_ALL", "C");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        own_session(&mut command);
        let mut child = command.spawn().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound if login.sudo => self.not_begun(login, b"there is no /usr/bin/sudo"),
            io::ErrorKind::ArgumentListTooLong => self.too_long(words.iter().map(Vec::len).sum()),
            _ => self.io("start a command", source),
        })?;
        match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
            (Some(stdin), Some(stdout), Some(stderr)) => Ok(Launched {
                stdin: Box::new(stdin),
                stdout: Box::new(stdout),
                stderr: Box::new(stderr),
                link: Link::Local(tokio::spawn(async move { child.wait().await })),
            }),
            _ => Err(self.io("start a command", io::ErrorKind::BrokenPipe.into())),
        }
    }

    async fn launch_there(&self, master: &Master, words: &[Vec<u8>], program: &[u8]) -> Result<Launched, Error> {
        let mut line = b"exec ".to_vec();
        line.extend(quote::line(words.iter().map(Vec::as_slice)));
        if line.len() > LONGEST_LINE {
            return Err(self.too_long(line.len()));
        }
        let mut refusals = 0;
        let mut child = loop {
            if master.is_gone() {
                return Err(self.gone(master));
            }
            let mut command = master.session.clone().arc_raw_command(std::ffi::OsStr::from_bytes(&line));
            command.stdin(openssh::Stdio::piped()).stdout(openssh::Stdio::piped()).stderr(openssh::Stdio::piped());
            match command.spawn().await {
                Ok(child) => break child,
                // Sessions that have ended may still count over there for a moment; nothing was started.
                Err(error) if refused_session(&error) && refusals < 20 => {
                    refusals += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) if refused_session(&error) => return Err(self.no_session()),
                Err(openssh::Error::Disconnected) => return Err(self.gone(master)),
                // Sent, but not confirmed: it may have been started.
                Err(error) => return Err(self.lost(program, None, &chain(&error))),
            }
        };
        match (child.stdin().take(), child.stdout().take(), child.stderr().take()) {
            (Some(stdin), Some(stdout), Some(stderr)) => Ok(Launched {
                stdin: Box::new(stdin),
                stdout: Box::new(stdout),
                stderr: Box::new(stderr),
                link: Link::Ssh(Box::new(child)),
            }),
            _ => Err(self.io("open a command's streams", io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Runs a small command of rehome's own that has no effect, and returns its stdout. The caller sets the deadline.
    pub(crate) async fn brief(&self, argv: &[Vec<u8>], login: &Login) -> Result<Vec<u8>, Error> {
        let token = Token::new().map_err(|source| self.io("get random bytes", source))?;
        let Launched { stdin, stdout, stderr, link } = self.launch(&token, argv, login).await?;
        drop(stdin);
        let (printed, said) = tokio::join!(read_frame(stdout, &token), read_frame(stderr, &token));
        match (printed.ended, said.ended) {
            (true, true) => Ok(printed.data),
            // It never began, and the far end says so: then it is the shell's, or sudo's, doing.
            _ if !said.begun && link.exited().await => Err(self.not_begun(login, &[printed.data, said.data].concat())),
            _ => Err(self.lost(&argv[0], None, &self.how_lost().await)),
        }
    }

    /// Ends the command with this token, by the pid its wrapper printed, or by looking for it if that is not known.
    pub(crate) async fn end(&self, token: &Token, pid: Option<u32>) -> Ended {
        let ending = async {
            let _one = self.ending.lock().await;
            self.brief(&token.end_command(pid), self.login()).await
        };
        match timeout(self.options.control_timeout, ending).await {
            Ok(Ok(said)) if said.starts_with(b"ended") => Ended::Confirmed,
            // Not there any more. Not there *yet* is possible too, when nothing was heard of it.
            Ok(Ok(said)) if said.starts_with(b"gone") && pid.is_some() => Ended::Confirmed,
            _ => Ended::Unconfirmed,
        }
    }

    /// Where this connection's sockets go.
    pub(crate) async fn folder(&self) -> Result<Arc<ControlFolder>, Error> {
        if let Some(master) = &self.master {
            return Ok(master.folder.clone());
        }
        let claim = || async {
            let (base, name) = (self.options.control_dir.clone(), self.name.clone());
            let claimed = tokio::task::spawn_blocking(move || ControlFolder::claim(&base, &name)).await;
            claimed.map_err(|error| self.io("prepare the folder for sockets", io::Error::other(error)))?.map(Arc::new)
        };
        self.local_folder.get_or_try_init(claim).await.cloned()
    }
}

/// The errors of this machine.
impl Machine {
    pub(crate) fn io(&self, doing: &str, source: io::Error) -> Error {
        Error::Io { side: self.name.clone(), doing: doing.to_owned(), source }
    }

    pub(crate) fn refused(&self, reason: String) -> Error {
        Error::Refused { side: self.name.clone(), reason }
    }

    pub(crate) fn lost(&self, program: &[u8], pid: Option<u32>, reason: &str) -> Error {
        let command = crate::text::printable(program);
        Error::Lost { side: self.name.clone(), command, pid, reason: reason.to_owned() }
    }

    /// Why a command's streams ended without its status.
    pub(crate) async fn how_lost(&self) -> String {
        match &self.master {
            // The streams close a moment before ssh itself has ended.
            Some(master) if master.ends_within(Duration::from_millis(500)).await => {
                format!("the connection broke ({})", master.said())
            }
            _ => "what ran it there was ended from outside".into(),
        }
    }

    /// For a command whose wrapper did not run: `said` is what came instead.
    pub(crate) fn not_begun(&self, login: &Login, said: &[u8]) -> Error {
        let (side, said) = (self.name.clone(), crate::ssh_said::last_lines(said));
        match login.sudo {
            true => Error::Sudo { side, user: login.user.clone(), said },
            false => crate::ssh_said::not_begun(side, said),
        }
    }

    fn too_long(&self, length: usize) -> Error {
        self.refused(format!(
            "the command line has {length} bytes once quoted, {LONGEST_LINE} are possible (execve(2)); pass data on stdin"
        ))
    }

    pub(crate) fn gone(&self, master: &Master) -> Error {
        Error::Unreachable { side: self.name.clone(), said: format!("the connection is gone; {}", master.said()) }
    }

    fn no_session(&self) -> Error {
        let said = "Session open refused by peer (MaxSessions of sshd_config(5) must be 10, its default)".into();
        Error::Unreachable { side: self.name.clone(), said }
    }
}

impl Login {
    fn unknown(sudo: bool) -> Self {
        Self { user: String::new(), root: false, sudo, gate: None, home: b"/".to_vec() }
    }
}

/// A SHA-256 in hexadecimal.
fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether sshd refused one more session (MaxSessions): then nothing was started.
fn refused_session(error: &openssh::Error) -> bool {
    matches!(error, openssh::Error::SshMux(_)) && chain(error).contains("Server refused the request")
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    crate::text::printable(text.as_bytes())
}

struct Framed {
    data: Vec<u8>,
    begun: bool,
    ended: bool,
}

/// A small stream, read to the wrapper's `end`.
async fn read_frame(mut stream: Read, token: &Token) -> Framed {
    let (mut frame, mut framed) = (Frame::new(token), Framed { data: Vec::new(), begun: false, ended: false });
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        frame.feed(&piece[..count]);
        while let Some(line) = frame.next(&mut framed.data) {
            if let Line::End { .. } = line {
                framed.ended = true;
                return framed;
            }
            framed.begun = true;
            framed.data.clear();
        }
        framed.data.truncate(BRIEF);
    }
    frame.finish(&mut framed.data);
    framed
}
