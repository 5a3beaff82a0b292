//! Sockets of a side, brought here.

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rehome_remote::{Command, Endpoint, Error, Side, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::sshd::{Sshd, until, within};

/// A server that sends back what it gets, for as long as the test runs.
fn echo_server(path: &Path) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || echo(stream.unwrap()));
        }
    });
}

fn echo(mut stream: impl Read + Write) {
    let mut piece = [0; 8192];
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        if stream.write_all(&piece[..count]).is_err() {
            return;
        }
    }
}

fn tcp_echo_server() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || echo(stream.unwrap()));
        }
    });
    port
}

async fn echoes(path: &Path) {
    let (mut read, mut write) = UnixStream::connect(path).await.unwrap().into_split();
    let sent: Vec<u8> = (0..=255u8).cycle().take(1 << 20).collect();
    let mut received = Vec::new();
    let send = async {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
        write
    };
    let (_write, read) = tokio::join!(send, read.read_to_end(&mut received));
    read.unwrap();
    assert!(received == sent);
}

#[tokio::test]
async fn a_unix_socket_over_ssh() {
    let Some(sshd) = Sshd::start("") else { return };
    within(async {
        echo_server(&sshd.path("echo"));
        let side = sshd.side().await;
        let forward = side.forward(&Endpoint::Unix(sshd.path("echo"))).await.unwrap();
        let file = std::fs::metadata(forward.path()).unwrap();
        assert_eq!(file.mode() & 0o777, 0o600, "only this user can connect");
        tokio::join!(echoes(forward.path()), echoes(forward.path()));
        let path = forward.path().to_owned();
        drop(forward);
        assert!(!path.exists());
        assert!(side.run(&Command::new(["true"])).await.unwrap().success());
    })
    .await;
}

#[tokio::test]
async fn a_tcp_port_over_ssh_and_here() {
    let Some(sshd) = Sshd::start("") else { return };
    within(async {
        let endpoint = Endpoint::Tcp("127.0.0.1".into(), tcp_echo_server());
        for side in [sshd.side().await, Side::connect(&Target::Local, &sshd.options()).await.unwrap()] {
            let forward = side.forward(&endpoint).await.unwrap();
            assert_eq!(std::fs::metadata(forward.path()).unwrap().mode() & 0o777, 0o600);
            echoes(forward.path()).await;
            let path = forward.path().to_owned();
            drop(forward);
            assert!(!path.exists());
        }
    })
    .await;
}

#[tokio::test]
async fn a_unix_socket_of_this_machine_is_its_own_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo");
    echo_server(&path);
    let side = Side::connect(&Target::Local, &rehome_remote::Options::default()).await.unwrap();
    let forward = side.forward(&Endpoint::Unix(path.clone())).await.unwrap();
    assert_eq!(forward.path(), path);
    drop(forward);
    assert!(path.exists(), "what is not ours is not unlinked");
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_refused_by_name() {
    let Some(sshd) = Sshd::start("") else { return };
    within(async {
        std::fs::write(sshd.path("file"), "").unwrap();
        for side in [sshd.side().await, Side::connect(&Target::Local, &sshd.options()).await.unwrap()] {
            for path in [sshd.path("none"), sshd.path("file"), "relative".into()] {
                let error = side.forward(&Endpoint::Unix(path.clone())).await.err().unwrap();
                assert!(matches!(&error, Error::Refused { .. }), "{error}");
                assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_sshd_says_about_a_forward_it_forbids_can_be_asked() {
    let Some(sshd) = Sshd::start("AllowStreamLocalForwarding no") else { return };
    within(async {
        echo_server(&sshd.path("echo"));
        let side = sshd.side().await;
        let forward = side.forward(&Endpoint::Unix(sshd.path("echo"))).await.unwrap();
        assert_eq!(forward.trouble(), None);
        let mut stream = UnixStream::connect(forward.path()).await.unwrap();
        let mut byte = [0];
        assert!(matches!(stream.read(&mut byte).await, Ok(0) | Err(_)), "closed at once");
        until(|| forward.trouble().is_some()).await;
        let said = forward.trouble().unwrap();
        assert!(said.contains("open failed"), "{said}");
    })
    .await;
}

#[tokio::test]
async fn a_forward_keeps_the_connection_it_needs() {
    let Some(sshd) = Sshd::start("") else { return };
    within(async {
        echo_server(&sshd.path("echo"));
        let side = sshd.side().await;
        let forward = side.forward(&Endpoint::Unix(sshd.path("echo"))).await.unwrap();
        drop(side);
        echoes(forward.path()).await;
        drop(forward);
        until(|| sshd.masters().is_empty()).await;
    })
    .await;
}
