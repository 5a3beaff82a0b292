//! What benches found, kept in `tests/bench`: raw rows in `rows.jsonl`; `RESULTS.md` and the plots are made from them.
//! Invariant: a row replaces the one of the same key (what was measured, at which size), all others stay.
//! `table.rs` writes the text, `plot.rs` draws.

mod plot;
mod row;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

pub use row::{CutoverRow, Row};

use crate::cargo;

/// When, where and how a row was measured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Run {
    /// Of its day, UTC.
    pub date: String,
    /// Cores, kernel, file system.
    pub machine: String,
    /// What to type to have such rows.
    pub command: String,
}

/// A row as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    row: Row,
    #[serde(flatten)]
    run: Run,
}

/// All rows, old and new.
pub struct Results {
    folder: PathBuf,
    run: Run,
    rows: Vec<Kept>,
}

impl Run {
    /// Now, on this machine, on the disk that this folder is on.
    pub fn now(command: &str, folder: &Path) -> anyhow::Result<Self> {
        let said = |command: &mut Command| -> anyhow::Result<String> {
            let name = command.get_program().to_string_lossy().into_owned();
            let output = command.output().with_context(|| format!("cannot start {name}"))?;
            ensure!(output.status.success(), "{name} ended with {}", output.status);
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
        };
        let date = said(Command::new("date").args(["-u", "+%F"]))?;
        let kernel = said(Command::new("uname").arg("-r"))?;
        let kernel: Vec<&str> = kernel.split('.').take(2).collect();
        let disk = said(Command::new("findmnt").args(["-n", "-o", "FSTYPE", "-T"]).arg(folder))?;
        let cores = std::thread::available_parallelism()?;
        let machine = format!("{cores} cores, Linux {}, {disk}", kernel.join("."));
        Ok(Self { date, machine, command: command.into() })
    }
}

impl Results {
    pub fn open(run: Run) -> anyhow::Result<Self> {
        let folder = cargo::root().join("tests/bench");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let file = folder.join("rows.jsonl");
        let text = if file.exists() { std::fs::read_to_string(&file)? } else { String::new() };
        let parse =
            |line: &str| serde_json::from_str(line).with_context(|| format!("{}: no row: {line}", file.display()));
        let rows = text.lines().map(parse).collect::<anyhow::Result<_>>()?;
        Ok(Self { folder, run, rows })
    }

    /// Tells it, keeps it, and makes table and plots anew: a run that breaks off has its rows.
    pub fn add(&mut self, row: Row, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string(&row)?);
        } else {
            println!("{}", row.line());
        }
        let kept = Kept { row, run: self.run.clone() };
        match self.rows.iter_mut().find(|former| former.row.key() == kept.row.key()) {
            Some(former) => *former = kept,
            None => self.rows.push(kept),
        }
        // Stable: of one size and pass in the order in which they were measured first.
        self.rows.sort_by_key(|kept| kept.row.place());
        self.write()
    }

    fn write(&self) -> anyhow::Result<()> {
        let lines = self.rows.iter().map(|kept| Ok(serde_json::to_string(kept)? + "\n"));
        let put = |name: &str, text: String| {
            let path = self.folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        put("rows.jsonl", lines.collect::<anyhow::Result<String>>()?)?;
        put("RESULTS.md", table::results(&self.rows))?;
        for (name, drawing) in plot::plots(&self.rows) {
            put(name, drawing)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"bench":"sync","messages":20000,"pass":"first","cache":"warm","peer":"tar | ssh | tar","delay_ms":0,"ours_s":1.5,"peer_s":3.0,"ratio":2.0,"pairs":5,"peer_durable_s":3.75,"ratio_durable":2.5,"ours_cpu_s":null,"peer_cpu_s":0.5,"ours_peak_mb":null,"peer_peak_mb":24.0,"ours_each_s":[1.5],"peer_each_s":[3.0]}"#;

    fn kept(line: &str) -> Kept {
        let row = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}"));
        let run = Run { date: "2026-01-01".into(), machine: "2 cores".into(), command: "cargo xtask".into() };
        Kept { row, run }
    }

    #[test]
    fn a_row_is_written_as_it_was_printed_with_when_and_where_behind() {
        let written = serde_json::to_string(&kept(LINE)).unwrap_or_default();
        assert!(written.starts_with(LINE.trim_end_matches('}')), "{written}");
        let read: Kept = serde_json::from_str(&written).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((read.row.key(), &read.run.date[..]), (kept(LINE).row.key(), "2026-01-01"));
    }

    #[test]
    fn the_table_says_how_and_where_and_survives_a_bar_in_a_name() {
        let text = table::results(&[kept(LINE)]);
        assert!(text.contains("2026-01-01 · 2 cores · `cargo xtask`"), "{text}");
        assert!(
            text.contains(
                r"| first | warm | `tar \| ssh \| tar` | 1.50 | 3.00 | **2.0** | 3.75 | 2.5 | ? / 0.50 | ? / 24 | 5 |"
            ),
            "{text}"
        );
    }

    #[test]
    fn another_size_is_another_row() {
        let other = LINE.replace("20000", "200000");
        assert_ne!(kept(LINE).row.key(), kept(&other).row.key());
    }
}
