//! A command and what became of it.
//! Invariant: `argv` arrives byte for byte; what cannot (NUL) is refused before anything is started.
//! `quote.rs` and `wrapper.rs` carry it there.

use std::time::Duration;

use crate::text::printable;

/// A command to run on a side: in `/`, umask 022, with the environment `PATH` (fixed), `LC_ALL=C` and `HOME` only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments, as bytes. The program is absolute, or a bare name looked up in
    /// `/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`. No NUL; the whole of it below 128 KiB
    /// once quoted when it goes over ssh (Linux's limit for one argument, execve(2)).
    pub argv: Vec<Vec<u8>>,
    /// What [`run`](crate::Side::run) feeds it; [`spawn`](crate::Side::spawn) leaves this to the caller.
    pub stdin: Vec<u8>,
    /// From the call to the end of the command, waiting for a free slot on the connection included.
    pub timeout: Duration,
    /// Bytes of stdout, and of stderr, that [`run`](crate::Side::run) takes; one more ends the command with
    /// [`Error::OverLimit`](crate::Error::OverLimit). `spawn` does not limit stdout: its reader is the caller's.
    pub max_output: u64,
}

impl Command {
    /// A command with no input, a minute's time and 16 MiB of output.
    pub fn new<I, A>(argv: I) -> Self
    where
        I: IntoIterator<Item = A>,
        A: Into<Vec<u8>>,
    {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            stdin: Vec::new(),
            timeout: Duration::from_secs(60),
            max_output: 16 << 20,
        }
    }

    /// The same with this input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// The same with this much time.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same with this output cap, in bytes.
    #[must_use]
    pub fn max_output(mut self, bytes: u64) -> Self {
        self.max_output = bytes;
        self
    }

    /// The program as messages show it.
    pub(crate) fn program(&self) -> String {
        self.argv.first().map_or_else(String::new, |name| printable(name))
    }
}

/// What a command left behind, once its status is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Its exit status, 0 to 255, as reported by our wrapper on that side. A command ended by signal N is reported
    /// the way every POSIX shell does, as 128+N: see [`signal`](Self::signal).
    pub status: i32,
    /// All of its stdout; empty from [`Running::wait`](crate::Running::wait), whose caller has read it.
    pub stdout: Vec<u8>,
    /// Its stderr: all of it from `run`, the first 64 KiB from `wait`.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Whether the status is 0.
    pub fn success(&self) -> bool {
        self.status == 0
    }

    /// The signal that probably ended it: a shell cannot tell signal N from `exit 128+N`.
    pub fn signal(&self) -> Option<i32> {
        (129..=192).contains(&self.status).then(|| self.status - 128)
    }
}
