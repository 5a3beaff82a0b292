//! Distance: a TCP relay that passes everything on later than it came, each way, in the order it came. It stands between an
//! ssh and its sshd, and needs no `sch_netem` in the kernel. What it holds is bounded, as what a wire holds is.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Pieces on their way in one direction of a connection: at most 64 MiB.
const PIECES: usize = 1024;
const PIECE: usize = 64 << 10;

/// Listens, until this process ends, on the port it answers; passes on to the port `to`.
pub fn start(to: u16, delay: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for here in listener.incoming().flatten() {
            // An sshd that is gone: the connection ends as it would without a relay.
            let Ok(there) = TcpStream::connect(("127.0.0.1", to)) else { continue };
            for stream in [&here, &there] {
                stream.set_nodelay(true).expect("a socket");
            }
            pass_on(&here, &there, delay);
            pass_on(&there, &here, delay);
        }
    });
    port
}

fn pass_on(from: &TcpStream, to: &TcpStream, delay: Duration) {
    let (from, to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
    let (pieces, due) = sync_channel(PIECES);
    std::thread::spawn(move || take(from, &pieces, delay));
    std::thread::spawn(move || give(to, &due));
}

fn take(mut from: TcpStream, pieces: &SyncSender<(Instant, Vec<u8>)>, delay: Duration) {
    let mut buffer = vec![0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if pieces.send((Instant::now() + delay, buffer[..length].to_vec())).is_err() {
            break;
        }
    }
}

fn give(mut to: TcpStream, due: &Receiver<(Instant, Vec<u8>)>) {
    while let Ok((when, piece)) = due.recv() {
        std::thread::sleep(when.saturating_duration_since(Instant::now()));
        if to.write_all(&piece).is_err() {
            break;
        }
    }
    // The other direction goes on: a half-closed connection is one too. Already closed is closed.
    _ = to.shutdown(Shutdown::Write);
}
