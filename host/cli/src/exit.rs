//! What an exit code means. Scripts rely on these numbers: they are the same for every verb, and never change.

use std::process::ExitCode;

use rehome_engine::ErrorKind;

/// How rehome ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Error = 1,
    Usage = 2,
    Blocked = 3,
    Pending = 4,
    Waiting = 5,
    Mismatch = 6,
    Held = 7,
    NotApproved = 8,
}

/// For `--help`. A test compares it with the enum.
pub const HELP: &str = "\
Exit codes:
  0  done, or nothing to do
  1  error
  2  usage
  3  blocked by a finding
  4  changes pending (`preview --exit-code`)
  5  waiting at a gate
  6  verification mismatch
  7  another rehome is at work
  8  not approved";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Exit {
        match kind {
            ErrorKind::Error => Exit::Error,
            ErrorKind::Usage => Exit::Usage,
            ErrorKind::Held => Exit::Held,
            ErrorKind::NotApproved => Exit::NotApproved,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Exit, HELP};

    #[test]
    fn help_lists_every_exit_code() {
        let all = [
            Exit::Done,
            Exit::Error,
            Exit::Usage,
            Exit::Blocked,
            Exit::Pending,
            Exit::Waiting,
            Exit::Mismatch,
            Exit::Held,
            Exit::NotApproved,
        ];
        let listed: Vec<u8> = HELP.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
        assert_eq!(listed, all.map(|exit| exit as u8));
    }
}
