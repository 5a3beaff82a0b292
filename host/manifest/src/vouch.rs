//! What the host knows about programs: which are never granted, because their arguments are programs themselves, and which
//! `read` it can vouch for. Neither list can be complete: the exact argv, read by a person, is what counts.

/// Never grantable: shells, interpreters, and programs that run, write or fetch whatever they are told.
const NEVER: &[&str] = &[
    "sh",
    "bash",
    "dash",
    "zsh",
    "ksh",
    "fish",
    "csh",
    "tcsh",
    "busybox",
    "perl",
    "python",
    "python2",
    "python3",
    "ruby",
    "lua",
    "node",
    "php",
    "awk",
    "gawk",
    "mawk",
    "tclsh",
    "expect",
    "env",
    "xargs",
    "sudo",
    "su",
    "doas",
    "runuser",
    "setpriv",
    "nsenter",
    "unshare",
    "chroot",
    "ssh",
    "scp",
    "sftp",
    "rsync",
    "tar",
    "cpio",
    "find",
    "sed",
    "ed",
    "ex",
    "vi",
    "vim",
    "nano",
    "emacs",
    "less",
    "more",
    "man",
    "curl",
    "wget",
    "nc",
    "ncat",
    "socat",
    "telnet",
    "cp",
    "mv",
    "ln",
    "rm",
    "dd",
    "install",
    "tee",
    "truncate",
    "chmod",
    "chown",
    "chgrp",
    "setfacl",
    "setcap",
    "mysql",
    "mariadb",
    "psql",
    "sqlite3",
    "mysqldump",
    "mariadb-dump",
    "systemd-run",
    "crontab",
    "at",
    "batch",
    "nohup",
    "timeout",
    "nice",
    "time",
    "watch",
    "strace",
    "gdb",
    "apt",
    "apt-get",
    "dpkg",
    "aptitude",
    "snap",
    "pip",
    "gem",
    "npm",
    "cargo",
    "make",
    "gcc",
    "cc",
    "git",
    "docker",
    "podman",
    "eval",
    "exec",
    "command",
];

/// Whether a program may be requested at all; if not, why.
pub(crate) fn grantable(program: &str) -> Result<(), String> {
    if program.contains("${") || program.contains('{') {
        return Err("its program is not a literal".into());
    }
    let name = program.rsplit('/').next().unwrap_or(program);
    if name.is_empty() || program.contains("..") || (program.contains('/') && !program.starts_with('/')) {
        return Err(format!("`{program}` is neither a program's name nor an absolute path"));
    }
    // python3.11, perl5.36.0: a version does not make it another program
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    if NEVER.contains(&name) || NEVER.contains(&stem) {
        return Err(format!("`{name}` is never granted: what it does is in its arguments, or in what they name"));
    }
    Ok(())
}

/// What an operator should look at twice about an exec request, if anything.
pub(crate) fn mark(argv: &[String]) -> Option<&'static str> {
    let name = argv.first()?.rsplit('/').next()?;
    let rest: Vec<&str> = argv.iter().skip(1).map(String::as_str).collect();
    let known = match (name, rest.as_slice()) {
        ("systemctl", [verb, ..]) => [
            "is-active",
            "is-enabled",
            "is-failed",
            "show",
            "status",
            "list-units",
            "list-unit-files",
            "is-system-running",
        ]
        .contains(verb),
        ("journalctl", options) => {
            !options.iter().any(|o| o.starts_with("--vacuum") || o.starts_with("--rotate") || o.starts_with("--flush"))
        }
        ("hostname" | "date", options) => options.iter().all(|o| o.starts_with('+') || *o == "-f" || *o == "-u"),
        ("dpkg-query", ["-W" | "-l" | "--show" | "--list", ..]) => true,
        (
            "cat" | "df" | "getent" | "id" | "ls" | "nproc" | "stat" | "uname" | "uptime" | "free" | "sha256sum"
            | "lsb_release",
            _,
        ) => true,
        _ => false,
    };
    if known { None } else { Some("a read by its author's word; rehome does not know this command") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_and_interpreters_are_never_granted_under_any_path_or_version() {
        for program in [
            "sh",
            "/bin/bash",
            "python3.11",
            "/usr/bin/perl",
            "perl5.36.0",
            "env",
            "sudo",
            "tar",
            "./x",
            "../x",
            "a/b",
            "${config.x}",
        ] {
            assert!(grantable(program).is_err(), "{program}");
        }
        for program in ["systemctl", "/usr/lib/dovecot/imap", "postqueue", "doveadm"] {
            assert_eq!(grantable(program), Ok(()), "{program}");
        }
    }

    #[test]
    fn a_stop_that_calls_itself_a_read_is_marked() {
        let argv = |words: &str| words.split(' ').map(String::from).collect::<Vec<_>>();
        assert_eq!(mark(&argv("systemctl is-active dovecot")), None);
        assert!(mark(&argv("systemctl stop dovecot")).is_some());
        assert!(mark(&argv("doveadm user x")).is_some());
        assert!(mark(&argv("date -s 12:00")).is_some());
    }
}
