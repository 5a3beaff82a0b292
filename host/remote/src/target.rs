//! Where a side is and how it is to be reached: the operator's choices, as the plan gives them.
//! Invariant: plain data; nothing here touches a machine. `side.rs` acts on it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How a side is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The machine rehome itself runs on.
    Local,
    /// A machine over ssh.
    Ssh {
        /// As for ssh(1): `host`, `user@host`, `ssh://user@host:port`, or a `Host` of the operator's ssh configuration.
        /// A leading `-` (it would be read as an option) and control characters are refused by
        /// [`Side::connect`](crate::Side::connect).
        destination: String,
    },
    /// A folder standing in for a machine (the demo, tests): paths resolve below it, commands do not run.
    Folder(PathBuf),
}

/// As messages call it: `root@old.example.org`, `this machine`, `the folder /tmp/demo/old`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("this machine"),
            Self::Ssh { destination } => f.write_str(&crate::text::printable(destination.as_bytes())),
            Self::Folder(path) => write!(f, "the folder {}", crate::text::printable_path(path)),
        }
    }
}

/// How to go about reaching a side. [`Options::default`] has sensible values for all of it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Become root with `sudo -n` where the login is not root already (default: no).
    pub sudo: bool,
    /// A private folder (created with mode 0700; refused if it belongs to somebody else or others can enter it) for
    /// the sockets of ssh masters and forwards. What a killed rehome left in it is removed by the next `connect`.
    /// A socket's path has at most 107 bytes, unix(7), so it must be short (at most 60 bytes or so).
    /// Default: `/run/rehome` for root, else `$XDG_RUNTIME_DIR/rehome`, else `/tmp/rehome-UID`.
    pub control_dir: PathBuf,
    /// Read this ssh configuration instead of `~/.ssh/config` and `/etc/ssh/ssh_config` (as `ssh -F`).
    pub ssh_config: Option<PathBuf>,
    /// Trust the host keys in this file only, for jump hosts too.
    pub known_hosts: Option<PathBuf>,
    /// Where the side's sshd looks for the keys that let this login in, if that is not what its configuration says.
    pub authorized_keys: Option<PathBuf>,
    /// Whether another side may be let in here for a moment, so that what is copied need not pass through this machine
    /// (default: yes).
    pub direct: bool,
    /// Deadline for the whole of `connect`: every hop, login, and the first looks at the side (default 30 s).
    pub connect_timeout: Duration,
    /// Deadline for what rehome does for itself on a side: opening a forward, ending a command, closing (default 10 s).
    pub control_timeout: Duration,
    /// A silent link is probed after this long (whole seconds) and given up after twice that (default 3 s).
    pub keep_alive: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sudo: false,
            control_dir: default_control_dir(),
            ssh_config: None,
            known_hosts: None,
            authorized_keys: None,
            direct: true,
            connect_timeout: Duration::from_secs(30),
            control_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(3),
        }
    }
}

fn default_control_dir() -> PathBuf {
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        return PathBuf::from("/run/rehome");
    }
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(folder) if folder.is_absolute() => folder.join("rehome"),
        _ => PathBuf::from(format!("/tmp/rehome-{}", uid.as_raw())),
    }
}
