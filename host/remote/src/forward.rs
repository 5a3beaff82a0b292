//! A socket of a side, within reach of this machine as a unix socket.
//! Invariant: its file is in the connection's private folder, and goes when the [`Forward`] does. A socket that is here
//! already is used as it is. `relay.rs` has the listeners of our own.

use std::borrow::Cow;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openssh::{ForwardType, Socket};
use tokio::time::timeout;

use crate::control::ControlFolder;
use crate::machine::{Machine, chain};
use crate::relay::{self, Relay, Way};
use crate::{Ended, Error};

/// Whether `$1` is a socket.
pub const SOCKET: &str = "if [ -S \"$1\" ]; then echo yes; fi";

/// A socket on a side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A unix socket, by its absolute path on that side.
    Unix(PathBuf),
    /// A TCP port, by a host name or address as seen from that side.
    Tcp(String, u16),
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => f.write_str(&crate::text::printable_path(path)),
            Self::Tcp(host, port) => write!(f, "{}:{port}", crate::text::printable(host.as_bytes())),
        }
    }
}

/// A socket of a side within reach of this machine. Dropped, it is closed and its file removed.
pub struct Forward {
    path: PathBuf,
    means: Means,
}

impl std::fmt::Debug for Forward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forward").field("path", &self.path).finish_non_exhaustive()
    }
}

enum Means {
    /// The side's own socket.
    Itself,
    Ssh {
        machine: Arc<Machine>,
        endpoint: Endpoint,
        _folder: Arc<ControlFolder>,
    },
    Relay {
        relay: Relay,
        _folder: Arc<ControlFolder>,
    },
}

impl Forward {
    /// A socket that needs no forwarding.
    pub(crate) fn itself(path: PathBuf) -> Self {
        Self { path, means: Means::Itself }
    }

    /// The unix socket on this machine to connect to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was last said about a connection through it that failed: a client only sees such a connection close.
    /// (ssh: `channel 4: open failed: connect failed: Connection refused`; or the words of perl or sudo.)
    pub fn trouble(&self) -> Option<String> {
        match &self.means {
            Means::Itself => None,
            Means::Ssh { machine, .. } => machine.master.as_ref().and_then(|master| master.forward_trouble()),
            Means::Relay { relay, .. } => relay.trouble.lock().expect("no panic inside").clone(),
        }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        if matches!(self.means, Means::Itself) {
            return;
        }
        _ = fs::remove_file(&self.path);
        let means = std::mem::replace(&mut self.means, Means::Itself);
        let Means::Ssh { machine, endpoint, .. } = means else { return };
        // Without a runtime rehome is ending, and ssh with it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let path = self.path.clone();
        runtime.spawn(async move {
            if let Some(master) = &machine.master {
                let closing = master.session.close_port_forward(ForwardType::Local, path.as_path(), socket(&endpoint));
                _ = timeout(machine.options.control_timeout, closing).await;
            }
        });
    }
}

/// Brings a socket of a machine here, within [`Options::control_timeout`](crate::Options::control_timeout).
pub(crate) async fn forward(machine: &Arc<Machine>, endpoint: &Endpoint) -> Result<Forward, Error> {
    let limit = machine.options.control_timeout;
    timeout(limit, open(machine, endpoint)).await.unwrap_or_else(|_| {
        let what = format!("opening a forward to {endpoint} on {}", machine.name);
        Err(Error::TimedOut { side: machine.name.clone(), what, after: limit, ended: Ended::NotStarted })
    })
}

async fn open(machine: &Arc<Machine>, endpoint: &Endpoint) -> Result<Forward, Error> {
    match (endpoint, &machine.master) {
        (Endpoint::Unix(path), master) => {
            exists(machine, path).await?;
            match master {
                _ if machine.login().sudo || machine.login().gate.is_some() => {
                    listen(machine, Way::Perl(machine.clone(), endpoint.clone())).await
                }
                Some(_) => over_ssh(machine, endpoint).await,
                None => Ok(Forward::itself(path.clone())),
            }
        }
        (Endpoint::Tcp(_, 0), _) => Err(machine.refused("port 0 is no port to connect to".into())),
        (Endpoint::Tcp(..), Some(_)) if machine.login().gate.is_some() => {
            listen(machine, Way::Perl(machine.clone(), endpoint.clone())).await
        }
        (Endpoint::Tcp(..), Some(_)) => over_ssh(machine, endpoint).await,
        (Endpoint::Tcp(host, port), None) => listen(machine, Way::Tcp(host.clone(), *port)).await,
    }
}

/// Says what is wrong with a unix socket before a client only sees its connection closed.
async fn exists(machine: &Arc<Machine>, path: &Path) -> Result<(), Error> {
    let shown = crate::text::printable_path(path);
    let bytes = path.as_os_str().as_bytes();
    if !path.is_absolute() || bytes.contains(&0) || bytes.len() > 107 {
        let reason = format!("`{shown}` is no socket's path: it must be absolute and have at most 107 bytes, unix(7)");
        return Err(machine.refused(reason));
    }
    let is_socket = if machine.master.is_none() && !machine.login().sudo {
        fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
    } else {
        let argv = [b"/bin/sh" as &[u8], b"-c", SOCKET.as_bytes(), b"rehome", bytes].map(<[u8]>::to_vec);
        // Within the limit of sessions, like any command.
        let _slot = machine.slots.acquire().await;
        machine.brief(&argv, machine.login()).await? == b"yes\n"
    };
    match is_socket {
        true => Ok(()),
        false => Err(machine.refused(format!("there is no socket `{shown}`; is its server running?"))),
    }
}

async fn listen(machine: &Arc<Machine>, way: Way) -> Result<Forward, Error> {
    let folder = machine.folder().await?;
    let path = folder.socket();
    let relay = relay::listen(&path, way).map_err(|source| machine.io("listen on a socket of our own", source))?;
    Ok(Forward { path, means: Means::Relay { relay, _folder: folder } })
}

async fn over_ssh(machine: &Arc<Machine>, endpoint: &Endpoint) -> Result<Forward, Error> {
    let Some(master) = &machine.master else { return Err(machine.refused("no connection to forward over".into())) };
    let path = master.folder.socket();
    let asked = master.session.request_port_forward(ForwardType::Local, path.as_path(), socket(endpoint)).await;
    match asked {
        Ok(()) => {
            let means =
                Means::Ssh { machine: machine.clone(), endpoint: endpoint.clone(), _folder: master.folder.clone() };
            Ok(Forward { path, means })
        }
        Err(_) if master.is_gone() => Err(machine.gone(master)),
        Err(error) => Err(machine.refused(format!("ssh does not forward {endpoint}: {}", chain(&error)))),
    }
}

fn socket(endpoint: &Endpoint) -> Socket<'_> {
    match endpoint {
        Endpoint::Unix(path) => Socket::UnixSocket { path: Cow::Borrowed(path) },
        Endpoint::Tcp(host, port) => Socket::TcpSocket { host: Cow::Borrowed(host), port: *port },
    }
}
