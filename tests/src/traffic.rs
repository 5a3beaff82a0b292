//! Mail that keeps arriving while a server moves: sent by SMTP from the lab's outside at a steady rate.
//! What got a 250 is the server's responsibility: every token in [`Sent::accepted`] must be found, once, at the end.

use crate::lab::{Lab, Machine, scripts};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::thread::JoinHandle;

/// A running sender. Dropped without [`Traffic::stop`], it ends too.
#[derive(Debug)]
pub struct Traffic {
    child: Child,
    reader: Option<JoinHandle<Result<Vec<Answer>>>>,
}

/// One mail and what the server said to it.
#[derive(Debug, Clone, Deserialize)]
pub struct Answer {
    /// In the subject, and before the `@` of the Message-ID.
    pub token: String,
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
        self.0.iter().filter(|answer| answer.code == 250)
    }
}

impl Traffic {
    /// Sends `rate` mails a second to `machine`, to each recipient in turn. `run` keeps the tokens of two senders apart.
    ///
    /// # Errors
    /// Python cannot be started.
    pub fn start(lab: &Lab, machine: &Machine, run: &str, rate: f64, recipients: &[&str]) -> Result<Self> {
        let mut command = lab.command("python3")?;
        command.arg(scripts().join("traffic.py")).args([machine.address(), &rate.to_string(), run]).args(recipients);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start traffic.py")?;
        let stdout = child.stdout.take().context("traffic.py has no output")?;
        let reader = std::thread::spawn(move || {
            let parse = |line: std::io::Result<String>| -> Result<Answer> { Ok(serde_json::from_str(&line?)?) };
            BufReader::new(stdout).lines().map(parse).collect()
        });
        Ok(Self { child, reader: Some(reader) })
    }

    /// Lets the mail being sent have its answer, sends no more, and gives all answers.
    ///
    /// # Errors
    /// The sender ended otherwise.
    pub fn stop(mut self) -> Result<Sent> {
        drop(self.child.stdin.take());
        let reader = self.reader.take().context("the sender was stopped before")?;
        let answers = reader.join().map_err(|_| anyhow::anyhow!("reading the sender's answers panicked"))??;
        let status = self.child.wait()?;
        anyhow::ensure!(status.success(), "traffic.py ended with {status}");
        Ok(Sent(answers))
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // The shell and `ip` become the sender itself, so this is its own process.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
