//! Sockets of a side brought here by a listener of our own: over `sudo -n perl` where the login is not root (a socket
//! that ssh forwards is opened as the login's user, and MariaDB's unix_socket looks at that), over perl where a gate lets
//! nothing be forwarded, or from a local TCP port.
//! Invariant: the program that runs there is the fixed text below, with the socket's path, or an address and a port, as its
//! arguments; it is rehome's own and nothing that a component can ask for. `forward.rs` decides which way a socket goes.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncWriteExt, copy, copy_bidirectional};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::machine::Machine;
use crate::process::{self, Process};
use crate::{Command, Endpoint};

/// perl-base is Essential on Debian. One process for each direction, so that neither waits for the other; the end of
/// our input is passed on as a half-close, the end of the socket ends everything.
pub const PERL: &str = r#"
use strict; use Socket;
$SIG{PIPE} = 'IGNORE';
my ($where, $port) = @ARGV;
my $host = defined $port ? inet_aton($where) : '';
defined $host or die "$where: no such host\n";
socket(my $socket, defined $port ? PF_INET : PF_UNIX, SOCK_STREAM, 0) or die "socket: $!\n";
connect($socket, defined $port ? pack_sockaddr_in($port, $host) : pack_sockaddr_un($where)) or die "@ARGV: $!\n";
sub pump {
  my ($in, $out) = @_;
  while (my $count = sysread($in, my $bytes, 65536)) {
    for (my $at = 0; $at < $count; ) { $at += syswrite($out, $bytes, $count - $at, $at) || return }
  }
}
my $child = fork; defined $child or die "fork: $!\n";
if (!$child) { pump(\*STDIN, $socket); shutdown($socket, 1); exit 0 }
pump($socket, \*STDOUT);
kill 'TERM', $child; waitpid $child, 0;
"#;

/// Where accepted connections lead.
#[derive(Clone)]
pub(crate) enum Way {
    /// A socket of the machine, opened there by perl.
    Perl(Arc<Machine>, Endpoint),
    /// A TCP port of this machine.
    Tcp(String, u16),
}

/// A listening socket of ours. Dropped, its connections end with it.
pub(crate) struct Relay {
    task: JoinHandle<()>,
    /// Why the last connection that failed did.
    pub(crate) trouble: Arc<Mutex<Option<String>>>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens at `path` (only this user can connect) and leads every connection `way`.
pub(crate) fn listen(path: &Path, way: Way) -> io::Result<Relay> {
    let listener = UnixListener::bind(path)?;
    // The folder is private already; this holds even if somebody opens it up.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    let trouble = Arc::new(Mutex::new(None));
    let task = tokio::spawn(accept(listener, way, trouble.clone()));
    Ok(Relay { task, trouble })
}

async fn accept(listener: UnixListener, way: Way, trouble: Arc<Mutex<Option<String>>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((connection, _)) => {
                    let (way, trouble) = (way.clone(), trouble.clone());
                    connections.spawn(async move {
                        if let Err(said) = relay(connection, way).await {
                            tracing::debug!(said, "a relayed connection failed");
                            *trouble.lock().expect("no panic inside") = Some(said);
                        }
                    });
                }
                // Out of file descriptors, say: the next connection may fare better.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn relay(mut connection: UnixStream, way: Way) -> Result<(), String> {
    match way {
        Way::Tcp(host, port) => {
            let said = |error: io::Error| format!("{host}:{port}: {error}");
            let mut stream = TcpStream::connect((host.as_str(), port)).await.map_err(said)?;
            copy_bidirectional(&mut connection, &mut stream).await.map(drop).map_err(said)
        }
        Way::Perl(machine, socket) => through_perl(connection, &machine, &socket).await,
    }
}

async fn through_perl(mut connection: UnixStream, machine: &Arc<Machine>, socket: &Endpoint) -> Result<(), String> {
    let mut argv = ["/usr/bin/perl", "-e", PERL, "--"].map(Vec::from).to_vec();
    match socket {
        Endpoint::Unix(path) => argv.push(path.as_os_str().as_bytes().to_vec()),
        Endpoint::Tcp(host, port) => argv.extend([host.clone().into_bytes(), port.to_string().into_bytes()]),
    }
    // It lasts as long as its connection; the link's keep-alive and the two ends bound that.
    let command = Command::new(argv).timeout(Duration::MAX);
    let process = process::spawn(machine, &command, None).await.map_err(|error| error.to_string())?;
    let Process { mut stdin, mut stdout, running } = process;
    let (mut from_client, mut to_client) = connection.split();
    let up = async {
        _ = copy(&mut from_client, &mut stdin).await;
        _ = stdin.shutdown().await;
        std::future::pending::<()>().await;
    };
    let down = async {
        let copied = copy(&mut stdout, &mut to_client).await;
        _ = to_client.shutdown().await;
        copied
    };
    tokio::select! {
        _ = down => {}
        () = up => {}
    }
    drop((stdin, stdout));
    // Its status says why a connection was closed at once; dropped without one, it is ended in the background.
    match tokio::time::timeout(Duration::from_secs(2), running.wait()).await {
        Ok(Ok(output)) if !output.success() => Err(crate::ssh_said::last_lines(&output.stderr)),
        Ok(Err(error)) => Err(error.to_string()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    use super::PERL;

    /// The relay itself, without sudo: a megabyte there and back, and the half-close passed on.
    #[test]
    fn perl_copies_both_ways_and_passes_on_the_end_of_input() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            all.reverse();
            stream.write_all(&all).unwrap();
        });
        let mut perl = Command::new("/usr/bin/perl")
            .args(["-e", PERL, "--"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut sent: Vec<u8> = (0..=255u8).cycle().take(1 << 20).collect();
        perl.stdin.take().unwrap().write_all(&sent).unwrap();
        let output = perl.wait_with_output().unwrap();
        server.join().unwrap();
        sent.reverse();
        assert!(output.status.success() && output.stdout == sent);
    }

    #[test]
    fn perl_says_which_socket_is_not_there() {
        let output = Command::new("/usr/bin/perl").args(["-e", PERL, "--", "/no/such/socket"]).output().unwrap();
        assert!(!output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stderr), "/no/such/socket: No such file or directory\n");
    }
}
