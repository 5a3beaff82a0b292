//! The far hand: starts `agent.pl` on a side and carries requests and replies.
//! Invariant: a frame is limited before it is read, and one that makes no sense ends the session with `Error::Protocol`.
//! The bytes are described in `wire`, what the program does in `agent.pl`.

use super::session::{Replies, Requests, Session, explain};
use super::{Fault, wire};
use crate::{Error, escape};
use rehome_remote::{Command, Process, Running, Side};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use tokio::time::timeout;

/// perl-base is Essential on Debian; nothing is installed on the side.
pub(crate) static PROGRAM: LazyLock<String> = LazyLock::new(|| {
    let parts = [("# (agent_fetch.pl)\n", include_str!("agent_fetch.pl")), ("# (glob.pl)\n", GLOB)];
    parts.iter().fold(include_str!("agent.pl").to_owned(), |text, (place, part)| text.replace(place, part))
});
/// A function that makes a regular expression of a glob.
pub(crate) const GLOB: &str = include_str!("glob.pl");
/// The agent gives up a lock when it hears nothing for 120 s.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// No pass takes longer.
const LONGEST_SESSION: Duration = Duration::from_secs(7 * 24 * 3600);
/// From the start of perl to its first word.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts the agent in `root`. `beside`: name of the tree in the folder beside it where things are set aside. `old`: work
/// as on a machine whose system calls the agent does not know.
pub(crate) async fn open_agent(side: &Side, root: &Path, beside: Option<Vec<u8>>, old: bool) -> Result<Session, Error> {
    let name = side.name().to_owned();
    let (root_bytes, beside) = (root.as_os_str().as_bytes(), beside.unwrap_or_default());
    let old: &[u8] = if old { b"1" } else { b"" };
    let argv: [&[u8]; 7] = [b"/usr/bin/perl", b"-e", PROGRAM.as_bytes(), b"--", root_bytes, &beside, old];
    let process = side.spawn(&Command::new(argv).timeout(LONGEST_SESSION)).await?;
    let Process { stdin, stdout, running } = process;
    let mut stdout = BufReader::with_capacity(128 * 1024, stdout);
    let greeting = timeout(PATIENCE, read_frame(&mut stdout)).await;
    let exact = match greeting {
        Ok(Ok(Some(frame))) => greet(&name, root, &frame)?,
        Ok(Ok(None) | Err(ReadError::Link)) => return Err(farewell(&name, running).await),
        Ok(Err(ReadError::Refused(what))) => return Err(Error::Protocol { side: name, what: what.to_owned() }),
        Err(_) => return Err(Error::Protocol { side: name, what: "its perl says nothing".to_owned() }),
    };
    let (mut session, requests, replies, _) = Session::new(&name, exact);
    session.tasks.push(tokio::spawn(write(stdin, requests)));
    session.tasks.push(tokio::spawn(read(stdout, running, replies, name)));
    Ok(session)
}

/// The first frame, whose letter comes last as in all of them: `h`, version, whether times are exact; or why the root cannot be used.
fn greet(side: &str, root: &Path, frame: &[u8]) -> Result<bool, Error> {
    let refused = |what: &str| Error::Protocol { side: side.to_owned(), what: what.to_owned() };
    let (&letter, content) = frame.split_last().ok_or_else(|| refused("an empty frame"))?;
    let fields = wire::split(content).map_err(refused)?;
    match (letter, fields.as_slice()) {
        (b'h', [b"1", exact]) => Ok(*exact == b"1"),
        (b'f', [why]) => {
            let fault = Fault::from(wire::parse_why(why).map_err(refused)?);
            let why = match explain(side, "open", b"", &fault) {
                Error::NotFound { .. } => "it does not exist".to_owned(),
                Error::NotAllowed { why, .. } => why,
                other => other.to_string(),
            };
            Err(Error::NoSuchTree { side: side.to_owned(), root: escape(root.as_os_str().as_bytes()), why })
        }
        _ => Err(refused("something else than a greeting")),
    }
}

async fn write(stdin: Box<dyn AsyncWrite + Send + Unpin>, mut requests: Requests) {
    let mut stdin = BufWriter::with_capacity(128 * 1024, stdin);
    loop {
        let burst = match requests.try_recv() {
            Ok(burst) => burst,
            Err(_) => {
                // Nothing more at the moment: let the agent have what there is. A failure is seen by the reader.
                if stdin.flush().await.is_err() {
                    return;
                }
                match timeout(HEARTBEAT, requests.recv()).await {
                    Ok(None) => return,
                    Ok(Some(burst)) => burst,
                    Err(_) => Vec::new(),
                }
            }
        };
        let heartbeat = burst.is_empty().then(wire::heartbeat);
        for frame in burst.iter().map(wire::encode).chain(heartbeat) {
            if stdin.write_all(&frame).await.is_err() {
                return;
            }
        }
    }
}

async fn read(mut stdout: BufReader<impl AsyncRead + Unpin>, running: Running, mut replies: Replies, side: String) {
    let mut decoder = wire::Decoder::default();
    let last = loop {
        let reply = match read_frame(&mut stdout).await {
            Ok(Some(frame)) => decoder.decode(frame),
            Ok(None) | Err(ReadError::Link) => break farewell(&side, running).await,
            Err(ReadError::Refused(what)) => Err(what),
        };
        match reply {
            Ok(reply) => {
                let last = !holds_frame(stdout.buffer());
                if replies.add(reply, last).await.is_err() {
                    return;
                }
            }
            Err(what) => break Error::Protocol { side, what: what.to_owned() },
        }
    };
    replies.end(last).await;
}

/// Whether a whole frame has arrived.
fn holds_frame(buffer: &[u8]) -> bool {
    buffer.split_first_chunk().is_some_and(|(length, rest)| rest.len() >= u32::from_be_bytes(*length) as usize)
}

enum ReadError {
    Link,
    Refused(&'static str),
}

/// The next frame without its length; `None` at the end.
async fn read_frame(stdout: &mut (impl AsyncRead + Unpin)) -> Result<Option<Vec<u8>>, ReadError> {
    let mut length = [0; 4];
    match stdout.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(_) => return Err(ReadError::Link),
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > wire::LONGEST_FRAME {
        return Err(ReadError::Refused("a frame that is too long"));
    }
    let mut frame = Vec::with_capacity(length);
    let mut rest = stdout.take(length as u64);
    while frame.len() < length {
        if rest.read_buf(&mut frame).await.map_err(|_| ReadError::Link)? == 0 {
            return Err(ReadError::Link);
        }
    }
    Ok(Some(frame))
}

/// Why the agent ended: the link, its status, or its last words.
async fn farewell(side: &str, running: Running) -> Error {
    match timeout(PATIENCE, running.wait()).await {
        Ok(Ok(output)) => {
            let words = &output.stderr[..output.stderr.len().min(500)];
            Error::Protocol {
                side: side.to_owned(),
                what: format!("its perl ended with status {} and said \"{}\"", output.status, escape(words)),
            }
        }
        Ok(Err(error)) => Error::Remote(error),
        Err(_) => Error::Protocol { side: side.to_owned(), what: "its perl closed its output and goes on".to_owned() },
    }
}
