//! `exec`: commands on a side, exactly as the filled manifest has them.

use std::path::Path;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use rehome_manifest::manifest::{Exec, Pipe};
use rehome_manifest::{HoleType, quantity};
use rehome_remote::Command;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::door::{Call, Permit, Session};
use crate::holes::{Filling, first_seen_key};
use crate::host::failure;
use crate::journal::BeforeImage;
use crate::report::last_words;
use crate::types::{ExecOutput, Failure, Moved, SideName, Tool};

/// Rows of `run-each` at a time: sshd serves ten sessions a connection, and one is ours for everything else.
const AT_ONCE: usize = 8;
/// Rows a call may name.
const MOST_ROWS: usize = 100_000;

impl Session {
    /// `exec.run`.
    pub async fn run(&self, name: &str, on: SideName, values: &[String]) -> Result<ExecOutput, Failure> {
        self.run_once(name, on, values, None).await
    }

    /// `exec.run-with-rows`.
    pub async fn run_with_rows(
        &self,
        name: &str,
        on: SideName,
        values: &[String],
        rows: &[Vec<String>],
    ) -> Result<ExecOutput, Failure> {
        bounded(rows.len())?;
        self.run_once(name, on, values, Some(rows)).await
    }

    /// `exec.run-each`.
    pub async fn run_each(
        &self,
        name: &str,
        on: SideName,
        rows: &[Vec<String>],
    ) -> Result<Vec<Result<ExecOutput, Failure>>, Failure> {
        bounded(rows.len())?;
        // No closure over borrowed rows: the compiler could not see that such a stream is `Send` (rust-lang/rust#102211).
        let (mut rows, mut running) = (rows.iter(), FuturesOrdered::new());
        let mut results = Vec::with_capacity(rows.len());
        loop {
            while running.len() < AT_ONCE
                && let Some(row) = rows.next()
            {
                running.push_back(self.run_once(name, on, row, None));
            }
            match running.next().await {
                Some(result) => results.push(result),
                None => break,
            }
        }
        // A denial is one for all rows: it is the call's own failure.
        match results.first() {
            Some(Err(failure @ (Failure::Denied(_) | Failure::ReadOnly(_)))) => Err(failure.clone()),
            _ => Ok(results),
        }
    }

    async fn run_once(
        &self,
        name: &str,
        on: SideName,
        values: &[String],
        rows: Option<&[Vec<String>]>,
    ) -> Result<ExecOutput, Failure> {
        let id = format!("exec.{name}");
        let input = rows.map(hash);
        let call = Call { request: &id, side: Some(on), values, input };
        let request = self.filled().manifest.exec.get(name).cloned();
        let output = self
            .pass(call, |permit| async move {
                let request = request.ok_or_else(|| Failure::NotFound(id_of(name)))?;
                let command = self.command(&permit, name, &request, on, values, rows).await?;
                let side = permit.side(on).await?;
                let command = permit.for_good(&side, on, command);
                let output = side.run(&command).await.map_err(|error| failure(&id_of(name), error))?;
                let output = ExecOutput { status: output.status, stdout: output.stdout, stderr: output.stderr };
                success(&id_of(name), &request, &output)?;
                self.first_seen(&permit, name, on, &output).await?;
                Ok(output)
            })
            .await?;
        self.yielded(name, &output);
        Ok(output)
    }

    async fn command(
        &self,
        permit: &Permit,
        name: &str,
        request: &Exec,
        on: SideName,
        values: &[String],
        rows: Option<&[Vec<String>]>,
    ) -> Result<Command, Failure> {
        let id = id_of(name);
        let stdin = match (rows, &request.rows, &request.stdin) {
            (Some(rows), Some(template), _) => self.fill_lines(&id, template, rows)?,
            (Some(_), None, _) => return Err(Failure::RefusedValue(format!("`{id}` takes no rows"))),
            (None, Some(_), _) => return Err(Failure::RefusedValue(format!("`{id}` takes rows: call run-with-rows"))),
            (None, None, stdin) => stdin.clone().unwrap_or_default(),
        };
        let mut argv = Vec::with_capacity(request.argv.len());
        for filling in self.fill_argv(&id, &request.argv, values)? {
            argv.push(self.resolved(permit, &id, on, filling).await?);
        }
        Ok(Command::new(argv)
            .stdin(stdin)
            .timeout(time(&id, &request.timeout)?)
            .max_output(bytes(&id, &request.output)?))
    }

    /// Whatever has to be looked at before a value is an argument.
    async fn resolved(&self, permit: &Permit, id: &str, on: SideName, filling: Filling) -> Result<String, Failure> {
        match filling {
            Filling::Ready(value) => Ok(value),
            Filling::FirstSeen(request) => {
                let key = first_seen_key(&self.scope().component, &request, on);
                let kept = self.journaled(permit.host().journal.before_image(&key).await)?;
                let line = kept.and_then(|image| image.content).and_then(|line| String::from_utf8(line).ok());
                line.ok_or_else(|| {
                    Failure::NotFound(format!("`{id}`: `{request}` was never run on {on} in this migration"))
                })
            }
            Filling::PathIn(tree, path) => {
                let request = self.granted_tree(&tree, on)?;
                crate::files::within(request, path.as_bytes()).map_err(Failure::RefusedValue)?;
                let root = request.path.clone();
                self.looked_at(permit, id, on, Path::new(&root), path.as_bytes()).await?;
                Ok(format!("{}/{path}", root.trim_end_matches('/')))
            }
        }
    }

    /// A path for a program: there, and a file or folder itself, not a link to somewhere else.
    async fn looked_at(
        &self,
        permit: &Permit,
        id: &str,
        on: SideName,
        root: &Path,
        path: &[u8],
    ) -> Result<(), Failure> {
        let tree = permit.host().tree(permit, on, root).await?;
        let folder = path.iter().rposition(|byte| *byte == b'/').map_or(&b""[..], |at| &path[..at]);
        let entries = tree.list(folder, 1, 100_000).await.map_err(|error| crate::host::tree_failure(id, error))?;
        let plain = entries.iter().any(|entry| {
            entry.path.as_bytes() == path && matches!(entry.kind, rehome_sync::Kind::File | rehome_sync::Kind::Folder)
        });
        if plain {
            Ok(())
        } else {
            Err(Failure::RefusedValue(format!(
                "`{id}`: `{}` is no file or folder of {} on {on}",
                rehome_sync::escape(path),
                root.display()
            )))
        }
    }

    /// Keeps the first line of a request that some hole names by `as-first-seen`; the first observation wins.
    async fn first_seen(&self, permit: &Permit, name: &str, on: SideName, output: &ExecOutput) -> Result<(), Failure> {
        let id = id_of(name);
        let named = self.filled().manifest.exec.values().flat_map(|exec| &exec.argv).any(|argument| {
            matches!(rehome_manifest::Hole::parse(argument), Ok(Some(hole)) if hole.kind == HoleType::AsFirstSeen(id.clone()))
        });
        if !named {
            return Ok(());
        }
        let line = output.stdout.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let usable = std::str::from_utf8(line).is_ok_and(|text| rehome_manifest::value::printable(text).is_ok());
        if !usable {
            return Err(Failure::other(id, "its first line is not printable text: it could not be put back later"));
        }
        let image = BeforeImage { content: Some(line.to_vec()), written: None };
        let key = first_seen_key(&self.scope().component, &id_of(name), on);
        self.journaled(permit.host().journal.keep_before(&key, &image).await)
    }

    fn yielded(&self, name: &str, output: &ExecOutput) {
        let yields = self.filled().manifest.exec.get(name).and_then(|request| request.yields.as_deref());
        let text = String::from_utf8_lossy(&output.stdout);
        match yields {
            Some("lines") => self.observe(&id_of(name), text.lines().map(|line| line.trim_end().to_string())),
            Some("words") => self.observe(&id_of(name), text.split_whitespace().map(String::from)),
            Some(json) => {
                let pointer = json.strip_prefix("json-lines:").unwrap_or_default();
                self.observe(&id_of(name), text.lines().filter_map(|line| at_pointer(line, pointer)));
            }
            None => {}
        }
    }

    /// `exec.pipe`.
    pub async fn pipe(&self, name: &str) -> Result<Moved, Failure> {
        let id = format!("pipe.{name}");
        let pipe = self.filled().manifest.pipe.get(name).cloned();
        let call = Call { request: &id, side: None, values: &[], input: None };
        let task_id = id.clone();
        self.pass(call, |permit| async move {
            let pipe = pipe.ok_or_else(|| Failure::NotFound(task_id.clone()))?;
            let limit = time(&task_id, &pipe.timeout)?;
            tokio::time::timeout(limit, self.joined(&permit, &task_id, &pipe)).await.unwrap_or_else(|_| {
                Err(Failure::OverLimit(format!("`{task_id}` took longer than {}; both ends were ended", pipe.timeout)))
            })
        })
        .await
    }

    async fn joined(&self, permit: &Permit, id: &str, pipe: &Pipe) -> Result<Moved, Failure> {
        let limit = time(id, &pipe.timeout)?;
        let (source_name, source_request, source_side) = self.pipe_end(id, &pipe.source)?;
        let (sink_name, sink_request, sink_side) = self.pipe_end(id, &pipe.sink)?;
        let source_command =
            self.command(permit, source_name, source_request, source_side, &[], None).await?.timeout(limit);
        let sink_command = self.command(permit, sink_name, sink_request, sink_side, &[], None).await?.timeout(limit);
        let lost = |error| failure(id, error);
        let (sink_at, source_at) = (permit.side(sink_side).await?, permit.side(source_side).await?);
        let mut sink = sink_at.spawn(&sink_command).await.map_err(lost)?;
        let mut source = source_at.spawn(&source_command).await.map_err(lost)?;
        drop(source.stdin);
        let copied = tokio::io::copy(&mut source.stdout, &mut sink.stdin).await;
        let source_end = source.running.wait().await.map_err(lost)?;
        // The sink must not take a source that broke off for one that ended: its input is closed only after a success.
        if !source_request.ok.contains(&source_end.status) || copied.is_err() {
            let _ = sink.running.kill().await;
            let said = match copied {
                Err(error) if source_request.ok.contains(&source_end.status) => {
                    format!("the sink took no more: {error}")
                }
                _ => last_words(&source_end.stderr),
            };
            return Err(Failure::EndedBadly(Tool {
                request: id_of(source_name),
                status: Some(source_end.status),
                diagnostic: said,
            }));
        }
        sink.stdin
            .shutdown()
            .await
            .map_err(|error| Failure::Unreachable(format!("`{id}`: the sink went away: {error}")))?;
        drop(sink.stdin);
        tokio::io::copy(&mut sink.stdout, &mut tokio::io::sink()).await.map_err(|e| Failure::other(id, e))?;
        let sink_end = sink.running.wait().await.map_err(lost)?;
        let output = ExecOutput { status: sink_end.status, stdout: vec![], stderr: sink_end.stderr };
        success(&id_of(sink_name), sink_request, &output)?;
        Ok(Moved { bytes: copied.unwrap_or_default(), source_status: source_end.status, sink_status: sink_end.status })
    }

    fn pipe_end<'a>(&'a self, id: &str, end: &'a str) -> Result<(&'a str, &'a Exec, SideName), Failure> {
        let found = end.split_once(" on ").and_then(|(name, side)| {
            let request = self.filled().manifest.exec.get(name.trim())?;
            Some((name.trim(), request, side.trim().parse().ok()?))
        });
        found.ok_or_else(|| Failure::NotFound(format!("`{id}`: `{end}`")))
    }
}

fn id_of(name: &str) -> String {
    format!("exec.{name}")
}

fn bounded(rows: usize) -> Result<(), Failure> {
    if rows > MOST_ROWS {
        Err(Failure::OverLimit(format!("{rows} rows in one call; at most {MOST_ROWS}")))
    } else {
        Ok(())
    }
}

fn success(id: &str, request: &Exec, output: &ExecOutput) -> Result<(), Failure> {
    if request.ok.contains(&output.status) {
        return Ok(());
    }
    let words = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    Err(Failure::EndedBadly(Tool { request: id.into(), status: Some(output.status), diagnostic: last_words(words) }))
}

fn at_pointer(line: &str, pointer: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    match value.pointer(pointer)? {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

pub(crate) fn time(id: &str, text: &str) -> Result<std::time::Duration, Failure> {
    quantity::duration(text).map_err(|why| Failure::other(id, why))
}

fn bytes(id: &str, text: &str) -> Result<u64, Failure> {
    quantity::size(text).map_err(|why| Failure::other(id, why))
}

/// A hash of rows that cannot be confused with other rows: each value with its length.
fn hash(rows: &[Vec<String>]) -> String {
    let mut hasher = Sha256::new();
    for row in rows {
        hasher.update((row.len() as u64).to_le_bytes());
        for value in row {
            hasher.update((value.len() as u64).to_le_bytes());
            hasher.update(value.as_bytes());
        }
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
