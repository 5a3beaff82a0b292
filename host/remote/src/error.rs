//! Everything that can go wrong between here and a side, sorted by what the operator can do about it.
//! Invariant: every error names the side, keeps what ssh or sudo said (made printable), and has a remedy; and
//! `outcome_unknown` is true for exactly those after which a command may or may not have had its effect.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::text::printable_path;

/// What became of a command that rehome gave up on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was never started.
    NotStarted,
    /// It was ended, and looking afterwards showed that it is gone.
    Confirmed,
    /// It was told to end, or could not even be told; it may still run.
    Unconfirmed,
}

/// Why a side could not be reached, or a command there not be run to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection: name not found, refused, no route, no answer in time, or the master has gone since.
    #[error("cannot reach {side}\n  ssh: {said}")]
    Unreachable {
        /// The side.
        side: String,
        /// What ssh said.
        said: String,
    },
    /// The key of the host (or of a jump host before it) is not in known_hosts, or another one is.
    #[error("refusing to connect to {side}: {}\n  ssh: {said}", if *changed { "its host key is not the known one" } else { "its host key is not known" })]
    HostKey {
        /// The side.
        side: String,
        /// What ssh said; it names the host (which may be a jump host) and the kind of key.
        said: String,
        /// Another key is known for the host: reinstalled, or somebody in the middle.
        changed: bool,
    },
    /// No key that the side accepts for this user.
    #[error("{side} refuses the login\n  ssh: {said}")]
    Login {
        /// The side.
        side: String,
        /// What ssh said.
        said: String,
    },
    /// The login worked, but its shell did not run (or mangled) what it was given. Nothing was started.
    #[error("the login shell of {side} does not run commands as a POSIX shell does\n  it said: {said}")]
    Shell {
        /// The side.
        side: String,
        /// What it printed instead.
        said: String,
    },
    /// `sudo -n` refused. Nothing was started.
    #[error("cannot become root on {side} with sudo as {user}\n  sudo: {said}")]
    Sudo {
        /// The side.
        side: String,
        /// The login that may not.
        user: String,
        /// What sudo said.
        said: String,
    },
    /// The gate that this login ends at does not let it pass. Nothing was started.
    #[error("the gate on {side} refuses this: {why}")]
    Gate {
        /// The side.
        side: String,
        /// What the gate said.
        why: String,
    },
    /// The program does not exist there. Nothing was started.
    #[error("no program `{program}` on {side}")]
    NotFound {
        /// The side.
        side: String,
        /// As asked for.
        program: String,
    },
    /// What was asked for cannot be done as it is (a NUL in an argument, a socket that is none, …). Nothing was started.
    #[error("refused on {side}: {reason}")]
    Refused {
        /// The side.
        side: String,
        /// What exactly, and what would be accepted.
        reason: String,
    },
    /// The link broke (or the wrapper was killed) before the command's status came back: what happened is unknown.
    #[error("lost {side} while `{command}` ran there: {reason}")]
    Lost {
        /// The side.
        side: String,
        /// The program.
        command: String,
        /// The wrapper's process there, when it got as far as saying so.
        pid: Option<u32>,
        /// How it was lost.
        reason: String,
    },
    /// The deadline passed.
    #[error("{what} took longer than {after:?}; {}", ended.words())]
    TimedOut {
        /// The side.
        side: String,
        /// What took too long, with the side: `sh` on it, connecting to it, opening a forward there.
        what: String,
        /// The deadline.
        after: Duration,
        /// What became of the command.
        ended: Ended,
    },
    /// More output than allowed.
    #[error("`{command}` on {side} printed more than {limit} bytes; {}", ended.words())]
    OverLimit {
        /// The side.
        side: String,
        /// The program.
        command: String,
        /// [`Command::max_output`](crate::Command::max_output).
        limit: u64,
        /// What became of the command.
        ended: Ended,
    },
    /// Ended by [`Running::kill`](crate::Running::kill).
    #[error("`{command}` on {side} was called off; {}", ended.words())]
    Killed {
        /// The side.
        side: String,
        /// The program.
        command: String,
        /// What became of the command.
        ended: Ended,
    },
    /// A folder runs no commands and has no network.
    #[error("{side} cannot {what}: it is a folder, not a machine")]
    Unsupported {
        /// The side.
        side: String,
        /// What was asked.
        what: String,
    },
    /// The private folder for sockets is not usable.
    #[error("cannot use {} for the sockets of {side}: {reason}", printable_path(path))]
    ControlDir {
        /// The side.
        side: String,
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The operating system refused something here, on this machine, before anything was started.
    #[error("{side}: cannot {doing}")]
    Io {
        /// The side.
        side: String,
        /// What rehome was doing.
        doing: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Ended {
    fn words(self) -> &'static str {
        match self {
            Self::NotStarted => "nothing was started",
            Self::Confirmed => "it was ended, and is gone",
            Self::Unconfirmed => "it was told to end, but may still run",
        }
    }
}

impl Error {
    /// The effect of the command may or may not have happened, wholly or in part: look before doing it again.
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::Lost { .. } => true,
            Self::TimedOut { ended, .. } | Self::OverLimit { ended, .. } | Self::Killed { ended, .. } => {
                *ended != Ended::NotStarted
            }
            _ => false,
        }
    }

    /// The side, as messages call it.
    pub fn side(&self) -> &str {
        match self {
            Self::Unreachable { side, .. }
            | Self::HostKey { side, .. }
            | Self::Login { side, .. }
            | Self::Shell { side, .. }
            | Self::Sudo { side, .. }
            | Self::Gate { side, .. }
            | Self::NotFound { side, .. }
            | Self::Refused { side, .. }
            | Self::Lost { side, .. }
            | Self::TimedOut { side, .. }
            | Self::OverLimit { side, .. }
            | Self::Killed { side, .. }
            | Self::Unsupported { side, .. }
            | Self::ControlDir { side, .. }
            | Self::Io { side, .. } => side,
        }
    }

    /// What the operator can do: one sentence for a `hint:` line.
    pub fn remedy(&self) -> String {
        match self {
            Self::Unreachable { side, .. } => {
                format!("check that `ssh {side} true` works from here, then run the same command again")
            }
            Self::HostKey { changed: true, .. } => {
                "if that machine was reinstalled, remove the old key with `ssh-keygen -R HOST` and add the new one \
                 after comparing its fingerprint; if it was not, somebody may be in the middle"
                    .into()
            }
            Self::HostKey { side, .. } => format!(
                "compare the fingerprint on that machine (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`) while \
                 adding it with `ssh {side}` once by hand; rehome never adds one itself"
            ),
            Self::Login { side, .. } => {
                format!("let `ssh -o BatchMode=yes {side} true` work: a key in the agent, accepted there; rehome asks for no password")
            }
            Self::Shell { .. } => "give that login /bin/bash or /bin/sh as its shell (chsh), without output or `exit` for non-interactive use".into(),
            Self::Sudo { user, .. } => {
                format!("install sudo there and put into /etc/sudoers.d/rehome: `{user} ALL=(root) NOPASSWD: ALL`")
            }
            Self::Gate { .. } => {
                "if this is what you approved, the gate was made before: print it anew with `rehome gate` and install it there"
                    .into()
            }
            Self::NotFound { .. } => "install the package that has it there, or correct the path".into(),
            Self::Refused { .. } => "correct what was asked for".into(),
            Self::Lost { .. } => "look at that side, then run the same command again: what was begun is looked at first".into(),
            Self::TimedOut { ended: Ended::Unconfirmed, .. } | Self::OverLimit { ended: Ended::Unconfirmed, .. } | Self::Killed { ended: Ended::Unconfirmed, .. } => {
                "see whether it still runs there, end it if so, then run the same command again".into()
            }
            Self::TimedOut { .. } => "give it more time, or see why that side is slow".into(),
            Self::OverLimit { .. } => "allow more output in the request, or ask for less".into(),
            Self::Killed { .. } => "run the same command again".into(),
            Self::Unsupported { .. } => "use a machine (local or ssh) for this side".into(),
            Self::ControlDir { .. } => "name another folder: short, on this machine, and yours alone (mode 0700)".into(),
            Self::Io { .. } => "see the cause above".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(ended: Ended) -> [Error; 3] {
        let (side, command) = (String::from("old"), String::from("sh"));
        [
            Error::TimedOut { side: side.clone(), what: "`sh` on old".into(), after: Duration::from_secs(3), ended },
            Error::OverLimit { side: side.clone(), command: command.clone(), limit: 9, ended },
            Error::Killed { side, command, ended },
        ]
    }

    fn all() -> Vec<Error> {
        let (side, said) = (String::from("old"), String::from("words"));
        let mut all = vec![
            Error::Unreachable { side: side.clone(), said: said.clone() },
            Error::HostKey { side: side.clone(), said: said.clone(), changed: false },
            Error::HostKey { side: side.clone(), said: said.clone(), changed: true },
            Error::Login { side: side.clone(), said: said.clone() },
            Error::Shell { side: side.clone(), said: said.clone() },
            Error::Sudo { side: side.clone(), user: "deploy".into(), said },
            Error::Gate { side: side.clone(), why: "words".into() },
            Error::NotFound { side: side.clone(), program: "dsync".into() },
            Error::Refused { side: side.clone(), reason: "a NUL".into() },
            Error::Lost { side: side.clone(), command: "sh".into(), pid: Some(7), reason: "it broke".into() },
            Error::Unsupported { side: side.clone(), what: "run `true`".into() },
            Error::ControlDir { side: side.clone(), path: "/c".into(), reason: "not a folder".into() },
            Error::Io { side, doing: "start ssh".into(), source: io::ErrorKind::NotFound.into() },
        ];
        all.extend([Ended::NotStarted, Ended::Confirmed, Ended::Unconfirmed].into_iter().flat_map(ended));
        all
    }

    #[test]
    fn every_error_names_the_side_and_a_remedy() {
        for error in all() {
            assert!(error.to_string().contains("old"), "{error}");
            assert_eq!(error.side(), "old");
            assert!(!error.remedy().is_empty() && !error.remedy().contains('\n'), "{error}");
        }
    }

    #[test]
    fn only_a_command_that_was_begun_and_has_no_status_leaves_the_outcome_unknown() {
        let unknown: Vec<Error> = all().into_iter().filter(Error::outcome_unknown).collect();
        assert_eq!(unknown.len(), 7);
        for error in unknown {
            match error {
                Error::Lost { .. } => {}
                Error::TimedOut { ended, .. } | Error::OverLimit { ended, .. } | Error::Killed { ended, .. } => {
                    assert_ne!(ended, Ended::NotStarted);
                }
                error => panic!("{error}"),
            }
        }
    }

    #[test]
    fn messages_read_as_the_house_style_has_them() {
        let said = "Host key verification failed.".to_owned();
        let error = Error::HostKey { side: "root@old".into(), said, changed: false };
        assert_eq!(
            error.to_string(),
            "refusing to connect to root@old: its host key is not known\n  ssh: Host key verification failed."
        );
        let [late, much, off] = ended(Ended::Confirmed);
        assert_eq!(late.to_string(), "`sh` on old took longer than 3s; it was ended, and is gone");
        assert_eq!(much.to_string(), "`sh` on old printed more than 9 bytes; it was ended, and is gone");
        assert_eq!(off.to_string(), "`sh` on old was called off; it was ended, and is gone");
    }
}
