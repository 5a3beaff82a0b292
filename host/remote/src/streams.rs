//! The streams of a running command as its caller sees them.
//! Invariant: stdout ends without an error only if the wrapper said that the command has ended; and neither stream
//! blocks any longer once the command is given up. `frame.rs` finds the end; `process.rs` gives up.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

use crate::frame::{Frame, Line};
use crate::process::Held;
use crate::wrapper::Token;

pub(crate) type Read = Box<dyn AsyncRead + Send + Unpin>;
pub(crate) type Write = Box<dyn AsyncWrite + Send + Unpin>;

/// Resolves once the command is given up (its deadline, a kill); never if it comes to its own end.
struct GivenUp(Pin<Box<dyn Future<Output = ()> + Send>>);

impl GivenUp {
    fn new(mut flag: watch::Receiver<bool>) -> Self {
        Self(Box::pin(async move {
            if flag.wait_for(|given_up| *given_up).await.is_err() {
                std::future::pending::<()>().await;
            }
        }))
    }

    fn take(&mut self) -> Self {
        Self(std::mem::replace(&mut self.0, Box::pin(std::future::pending())))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.0.as_mut().poll(cx).map(|()| io::Error::new(io::ErrorKind::ConnectionAborted, "the command was ended"))
    }
}

/// A command's stdout without the wrapper's lines.
pub(crate) struct Stdout {
    inner: Option<(Read, Arc<Held>)>,
    frame: Frame,
    begun: bool,
    piece: Box<[u8]>,
    data: Vec<u8>,
    given: usize,
    given_up: GivenUp,
    broken: bool,
    draining: bool,
}

impl Stdout {
    /// Holds `link` until the end, because the connection drops what was not read yet when the command's handle goes.
    pub(crate) fn new(inner: Read, link: Arc<Held>, token: &Token, given_up: watch::Receiver<bool>) -> Self {
        Self {
            inner: Some((inner, link)),
            frame: Frame::new(token),
            begun: false,
            piece: vec![0; 64 << 10].into(),
            data: Vec::new(),
            given: 0,
            given_up: GivenUp::new(given_up),
            broken: false,
            draining: false,
        }
    }

    /// Sorts what has come into noise before `begin`, the command's data, and what follows `end`.
    fn sort(&mut self) {
        while let Some(line) = self.frame.next(&mut self.data) {
            match line {
                Line::Begin { .. } | Line::Missing => {
                    self.begun = true;
                    self.data.clear();
                }
                Line::End { .. } => {
                    self.inner = None;
                    return;
                }
            }
        }
        if !self.begun {
            self.data.clear();
        }
    }
}

/// Let go of before its end, the rest of stdout is read and dropped: over ssh, closing it would close stderr with it,
/// and the status that comes there would be lost.
impl Drop for Stdout {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.draining {
            return;
        }
        let mut rest = Self {
            inner: Some(inner),
            frame: self.frame.take(),
            begun: self.begun,
            piece: std::mem::take(&mut self.piece),
            data: Vec::new(),
            given: 0,
            given_up: self.given_up.take(),
            broken: false,
            draining: true,
        };
        runtime.spawn(async move { tokio::io::copy(&mut rest, &mut tokio::io::sink()).await });
    }
}

fn broken_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the output broke off before the command's end")
}

impl AsyncRead for Stdout {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.given < this.data.len() {
                let count = out.remaining().min(this.data.len() - this.given);
                out.put_slice(&this.data[this.given..this.given + count]);
                this.given += count;
                return Poll::Ready(Ok(()));
            }
            this.data.clear();
            this.given = 0;
            if this.broken {
                return Poll::Ready(Err(broken_off()));
            }
            let Some((inner, _)) = &mut this.inner else { return Poll::Ready(Ok(())) };
            let mut piece = ReadBuf::new(&mut this.piece);
            match Pin::new(inner).poll_read(cx, &mut piece) {
                Poll::Ready(Ok(())) if piece.filled().is_empty() => {
                    this.broken = true;
                    this.inner = None;
                }
                Poll::Ready(Ok(())) => {
                    let filled = piece.filled().len();
                    this.frame.feed(&this.piece[..filled]);
                    this.sort();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    let error = ready!(this.given_up.poll(cx));
                    this.broken = true;
                    this.inner = None;
                    return Poll::Ready(Err(error));
                }
            }
        }
    }
}

/// A command's stdin.
pub(crate) struct Stdin {
    inner: Option<Write>,
    given_up: GivenUp,
}

impl Stdin {
    pub(crate) fn new(inner: Write, given_up: watch::Receiver<bool>) -> Self {
        Self { inner: Some(inner), given_up: GivenUp::new(given_up) }
    }

    fn poll_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut Write>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        match poll(Pin::new(inner), cx) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => {
                let error = ready!(self.given_up.poll(cx));
                self.inner = None;
                Poll::Ready(Err(error))
            }
        }
    }
}

impl AsyncWrite for Stdin {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_with(cx, |inner, cx| inner.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_with(cx, |inner, cx| inner.poll_flush(cx))
    }

    /// Closes the pipe: the command sees the end of its input.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.inner.is_none() {
            return Poll::Ready(Ok(()));
        }
        let done = ready!(self.poll_with(cx, |inner, cx| inner.poll_shutdown(cx)));
        self.inner = None;
        Poll::Ready(done)
    }
}
