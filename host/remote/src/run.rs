//! The whole-command call: input in, output out, a status; or an error that says what became of it.
//! Invariant: it returns by the command's deadline, and the little time that ending it takes
//! ([`Options::control_timeout`](crate::Options)). `process.rs` has the life of the command itself.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout_at;

use crate::machine::Machine;
use crate::process::{self, Process, Stop, Why};
use crate::streams::{Read, Write};
use crate::{Command, Ended, Error, Output};

/// Runs `command` to its end.
pub(crate) async fn run(machine: &Arc<Machine>, command: &Command) -> Result<Output, Error> {
    let last = process::deadline(command.timeout.saturating_add(machine.options.control_timeout));
    let Process { stdin, stdout, running } = process::spawn(machine, command, Some(command.max_output)).await?;
    let (pid, stop) = (running.pid(), running.stop());
    let work = async { tokio::join!(collect(stdout, command.max_output, stop), running.wait()) };
    let (stdout, outcome) = tokio::select! {
        biased;
        done = timeout_at(last, work) => match done {
            Ok(done) => done,
            Err(_) => return Err(machine.lost(&command.argv[0], Some(pid), "its output did not end")),
        },
        // Beside the work, not before it: input that nobody reads must not keep us.
        never = feed(stdin, &command.stdin) => match never {},
    };
    let mut output = outcome?;
    output.stdout = match stdout {
        Ok(Some(stdout)) => stdout,
        // It printed too much and ended, both before it could be told to.
        Ok(None) => {
            let (side, command_name) = (machine.name.clone(), command.program());
            let ended = Ended::Confirmed;
            return Err(Error::OverLimit { side, command: command_name, limit: command.max_output, ended });
        }
        Err(error) => return Err(machine.lost(&command.argv[0], Some(pid), &error.to_string())),
    };
    Ok(output)
}

/// Writes the input and closes it; an early end of the command (or of its interest in input) is no error.
async fn feed(mut stdin: Write, input: &[u8]) -> Infallible {
    _ = stdin.write_all(input).await;
    _ = stdin.shutdown().await;
    drop(stdin);
    std::future::pending().await
}

/// All of stdout, or `None` if it is more than `limit`: then the command is asked to be ended.
async fn collect(stdout: Read, limit: u64, stop: Stop) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    stdout.take(limit.saturating_add(1)).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 > limit {
        stop.ask(Why::OverLimit);
        return Ok(None);
    }
    Ok(Some(bytes))
}
