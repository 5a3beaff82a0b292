//! Mail that keeps arriving while a server moves: sent by SMTP from the lab's outside at a steady rate.
//! What got a 250 is the server's responsibility: every token in [`Sent::accepted`] must be found, once, at the end.
//! `users.rs` does the same with what users do.

use crate::lab::{Lab, Machine, scripts};
use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// The server has taken responsibility (RFC 5321, 4.2.5).
const ACCEPTED: u16 = 250;

/// A running sender. Dropped without [`Traffic::stop`], it ends too.
#[derive(Debug)]
pub struct Traffic(Running<Answer>);

/// One mail and what the server said to it.
#[derive(Debug, Clone, Deserialize)]
pub struct Answer {
    /// In the subject, and before the `@` of the Message-ID.
    pub token: String,
    /// Envelope and header sender.
    pub sender: String,
    /// Envelope and header recipient.
    pub recipient: String,
    /// SMTP reply code; 0 where there was no answer: such a mail may have arrived or not.
    pub code: u16,
    /// The reply's text, with the queue ID for a 250.
    pub reply: String,
}

/// Everything that was sent.
#[derive(Debug, Clone)]
pub struct Sent(pub Vec<Answer>);

impl Sent {
    /// The mails that the server took responsibility for.
    pub fn accepted(&self) -> impl Iterator<Item = &Answer> {
        self.0.iter().filter(|answer| answer.code == ACCEPTED)
    }
}

impl Traffic {
    /// Sends `rate` mails a second to `machine`, to each recipient in turn. `run` keeps the tokens of two senders apart.
    ///
    /// # Errors
    /// Python cannot be started.
    pub fn start(lab: &Lab, machine: &Machine, run: &str, rate: f64, recipients: &[&str]) -> Result<Self> {
        Self::start_from(lab, machine, run, rate, &["sender@lab.test"], recipients)
    }

    /// The same, from each of these envelope senders in turn.
    ///
    /// # Errors
    /// Python cannot be started.
    pub fn start_from(
        lab: &Lab,
        machine: &Machine,
        run: &str,
        rate: f64,
        senders: &[&str],
        recipients: &[&str],
    ) -> Result<Self> {
        let mut command = lab.command("python3")?;
        command.env("SENDERS", senders.join(" ")).arg(scripts().join("traffic.py"));
        command.args([machine.address(), &rate.to_string(), run]).args(recipients);
        Ok(Self(Running::start(command, "", |answer: &Answer| answer.code == ACCEPTED)?))
    }

    /// How many mails have had their answer so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.count()
    }

    /// How many mails the server has taken responsibility for so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.0.good.load(Ordering::Relaxed)
    }

    /// Lets the mail being sent have its answer, sends no more, and gives all answers.
    ///
    /// # Errors
    /// The sender ended otherwise.
    pub fn stop(self) -> Result<Sent> {
        Ok(Sent(self.0.stop()?))
    }
}

/// A program that writes a JSON line for each thing it did, until its standard input is closed.
#[derive(Debug)]
pub(crate) struct Running<T> {
    child: Child,
    reader: Option<JoinHandle<Result<Vec<T>>>>,
    count: Arc<AtomicUsize>,
    /// how many lines were `good`
    good: Arc<AtomicUsize>,
}

impl<T: DeserializeOwned + Send + 'static> Running<T> {
    /// Starts it; `told` is the first of its standard input.
    pub(crate) fn start(mut command: Command, told: &str, is_good: fn(&T) -> bool) -> Result<Self> {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        child.stdin.as_mut().context("it has no input")?.write_all(told.as_bytes())?;
        let stdout = child.stdout.take().context("it has no output")?;
        let (count, good) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (all, well) = (Arc::clone(&count), Arc::clone(&good));
        let reader = std::thread::spawn(move || {
            let parse = |line: std::io::Result<String>| -> Result<T> {
                let line = serde_json::from_str(&line?)?;
                all.fetch_add(1, Ordering::Relaxed);
                well.fetch_add(usize::from(is_good(&line)), Ordering::Relaxed);
                Ok(line)
            };
            BufReader::new(stdout).lines().map(parse).collect()
        });
        Ok(Self { child, reader: Some(reader), count, good })
    }
}

impl<T> Running<T> {
    /// How many lines it has written.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Closes its input, waits for its end, and gives all its lines.
    pub(crate) fn stop(mut self) -> Result<Vec<T>> {
        drop(self.child.stdin.take());
        let reader = self.reader.take().context("it was stopped before")?;
        let lines = reader.join().map_err(|_| anyhow::anyhow!("reading its lines panicked"))??;
        let status = self.child.wait()?;
        anyhow::ensure!(status.success(), "a program of the lab ended with {status}");
        Ok(lines)
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // The shell and `ip` become the program itself, so this is its own process.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
