//! Running programs: every failure names the command line, how it ended and what it said.
//! Nothing here knows the lab; see `lab/machine.rs` for commands on a machine.

use anyhow::{Context, Result, bail};
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs to the end and requires success. Standard input is empty, output is captured.
///
/// # Errors
/// The program cannot be started, or ended with another status than 0.
pub fn run(command: &mut Command) -> Result<Output> {
    run_with_input(command, b"")
}

/// Like [`run`], with `input` as standard input.
///
/// # Errors
/// As [`run`].
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Result<Output> {
    let output = output(command, input)?;
    if !output.status.success() {
        bail!("{}", describe(command, &output));
    }
    Ok(output)
}

/// Runs to the end, whatever the status. A program that does not read all of `input` is no error.
///
/// # Errors
/// The program cannot be started or waited for.
pub fn output(command: &mut Command, input: &[u8]) -> Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", line(command)))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    // In a thread of its own: a program that writes before it has read everything must not block.
    std::thread::scope(|scope| {
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().with_context(|| format!("cannot wait for {}", line(command)))
    })
}

/// What to say about a command that did not end well: its line, its status, the end of what it wrote.
#[must_use]
pub fn describe(command: &Command, output: &Output) -> String {
    let mut said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.trim().is_empty() {
        said = String::from_utf8_lossy(&output.stdout).into_owned();
    }
    format!("{} ended with {}\n{}", line(command), output.status, tail(&said, 30))
}

/// The last `lines` lines of a text.
#[must_use]
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// A word as a POSIX shell reads it back unchanged.
#[must_use]
pub fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    let mut line = words.join(" ");
    if let Some((end, _)) = line.char_indices().nth(400) {
        line.truncate(end);
        line.push('…');
    }
    line
}
