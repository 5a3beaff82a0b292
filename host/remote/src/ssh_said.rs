//! Sorts what ssh says on stderr when it fails, by what the operator can do about it.
//! Invariant: this only chooses the kind of the error; ssh's own words always go with it, made printable.
//! The phrases are those of OpenSSH 7.9 to 10 (sshconnect.c, sshconnect2.c, readconf.c).

use crate::Error;
use crate::text::printable;

/// How many lines of it an error shows.
const LINES: usize = 6;

/// The error for an ssh that ended with `status` before the session was there, having `printed` this on stdout.
pub(crate) fn explain(side: &str, status: Option<i32>, said: &[u8], printed: &[u8]) -> Error {
    let text = String::from_utf8_lossy(said);
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    let side = side.to_owned();
    // 255 is ssh's own failure; anything else is what the login shell ended with.
    if status != Some(255) {
        return not_begun(side, last_lines(&[printed, said].concat()));
    }
    let said = last_lines(said);
    if has(&["REMOTE HOST IDENTIFICATION HAS CHANGED", "host key for"]) && has(&["has changed"]) {
        Error::HostKey { side, said, changed: true }
    } else if has(&["Host key verification failed", "host key is known for"]) {
        Error::HostKey { side, said, changed: false }
    } else if has(&["Permission denied (", "Too many authentication failures", "No supported authentication"]) {
        Error::Login { side, said }
    } else {
        Error::Unreachable { side, said }
    }
}

/// For a login whose shell, or gate, ran nothing: `said` is what came instead.
pub(crate) fn not_begun(side: String, said: String) -> Error {
    match said.split_once("rehome-gate: ") {
        Some((_, why)) => Error::Gate { side, why: why.to_owned() },
        None => Error::Shell { side, said },
    }
}

/// The last lines, without the ornaments and hints that ssh prints around a changed key.
pub(crate) fn last_lines(said: &[u8]) -> String {
    let text = printable(said);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty() && !line.starts_with("@@@") && !line.starts_with("Warning: Permanently added"))
        .collect();
    if lines.is_empty() {
        return "(nothing)".into();
    }
    lines[lines.len().saturating_sub(LINES)..].join("\n       ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(said: &str) -> Error {
        explain("old", Some(255), said.as_bytes(), b"")
    }

    #[test]
    fn what_ssh_says_is_sorted_by_what_helps() {
        let unknown = "No ED25519 host key is known for old and you have requested strict checking.\r\n\
                       Host key verification failed.\r\n";
        assert!(matches!(explained(unknown), Error::HostKey { changed: false, .. }));
        let jump = format!("{unknown}Connection closed by UNKNOWN port 65535\r\n");
        assert!(matches!(explained(&jump), Error::HostKey { changed: false, .. }));
        let changed = "@@@@@@\r\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n@@@@@@\r\n\
                       Host key for old has changed and you have requested strict checking.\r\n\
                       Host key verification failed.\r\n";
        assert!(matches!(explained(changed), Error::HostKey { changed: true, .. }));
        assert!(matches!(explained("root@old: Permission denied (publickey).\r\n"), Error::Login { .. }));
        for said in [
            "ssh: Could not resolve hostname old: Name or service not known\r\n",
            "ssh: connect to host old port 22: Connection refused\r\n",
            "Connection timed out during banner exchange\r\n",
            "",
        ] {
            assert!(matches!(explained(said), Error::Unreachable { .. }), "{said}");
        }
    }

    #[test]
    fn a_login_that_runs_nothing_is_no_network_trouble() {
        let error = explain("old", Some(1), b"", b"This account is currently not available.\n");
        assert!(matches!(&error, Error::Shell { said, .. } if said.contains("not available")), "{error}");
    }

    #[test]
    fn what_a_hostile_server_says_reaches_no_terminal_raw() {
        let error = explained("\x1b]0;owned\x07Permission denied (publickey).\n");
        assert!(!error.to_string().contains(['\x1b', '\x07']), "{error}");
    }
}
