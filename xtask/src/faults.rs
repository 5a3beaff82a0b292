//! `cargo xtask faults`: the same migration again and again, each time with one fault at another point. The tests are in
//! `tests/e2e/sweep`; this sets its size, keeps its rows in `tests/faults/rows.jsonl`, and makes `RESULTS.md` of them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cargo;
use crate::test::Lab;

/// The tests that do it.
const ALL: &str = "sweep::";
const POINTS: &str = "sweep::whatever_breaks_apply_goes_on_and_no_mail_is_lost";
const GUIDES: &str = "sweep::both_guides_survive_a_fault_at_each_phase";

/// Move a server in the lab again and again, each time with one fault at another point
#[derive(clap::Args)]
pub struct FaultsArgs {
    /// Chooses the points; a failure is repeated with its seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many, beside one at each phase of both guides' plans; 0: only those
    #[arg(long, default_value_t = 500)]
    points: u64,
    /// Only this migration by a guide's plan, as a row names it: `bullseye-to-bookworm undo 2`
    #[arg(long, value_name = "NAME", conflicts_with = "only")]
    run: Option<String>,
    /// Leave out the guides' plans
    #[arg(long)]
    without_guides: bool,
    /// Only these of them, as rows name them: `3,17`
    #[arg(long, value_name = "NUMBER", value_delimiter = ',')]
    only: Vec<u64>,
    /// Labs at a time
    #[arg(long, default_value_t = 3)]
    labs: u64,
    /// Print the sum as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &FaultsArgs) -> anyhow::Result<()> {
    let lab = match Lab::prepare() {
        Ok(lab) => lab,
        Err(reason) => bail!("no lab here: {reason:#}"),
    };
    let lab = lab.build()?;
    let rows = cargo::root().join("target/faults/rows.jsonl");
    std::fs::create_dir_all(rows.parent().unwrap_or(&rows))?;
    let lock = std::fs::File::create(rows.with_file_name("lock"))?;
    if lock.try_lock().is_err() {
        bail!("another `cargo xtask faults` is at work here: wait for its end");
    }
    let cut_off = take(&rows)?;
    if !cut_off.is_empty() {
        eprintln!("kept in {}, from a run that was cut off: {} rows", folder().display(), cut_off.len());
    }
    let mut command = cargo::workspace("test");
    command.envs(lab.environment());
    command.env("REHOME_FAULTS_SEED", args.seed.to_string()).env("REHOME_FAULTS_POINTS", args.points.to_string());
    command.env("REHOME_FAULTS_LABS", args.labs.to_string()).env("REHOME_FAULTS_ROWS", &rows);
    if !args.only.is_empty() {
        let numbers: Vec<String> = args.only.iter().map(u64::to_string).collect();
        command.env("REHOME_FAULTS_ONLY", numbers.join(","));
    }
    if let Some(run) = &args.run {
        command.env("REHOME_FAULTS_RUN", run);
    }
    // A point that is not survived is a row, too: what was found is written before the end is told.
    let tests = match args {
        FaultsArgs { points: 0, .. } | FaultsArgs { run: Some(_), .. } => GUIDES,
        FaultsArgs { without_guides: true, .. } => POINTS,
        FaultsArgs { only, .. } if !only.is_empty() => POINTS,
        _ => ALL,
    };
    let done = cargo::run(command.args(["--test", "e2e", "--", tests, "--nocapture"]));
    let found = take(&rows)?;
    if args.json {
        println!("{}", sum(&found));
    }
    done
}

/// Moves what a run has found so far to the rows that are kept: a line is a row once it ends.
fn take(rows: &Path) -> anyhow::Result<Vec<Value>> {
    let text = match std::fs::read_to_string(rows) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        text => text?,
    };
    let found = read(&text[..text.rfind('\n').map_or(0, |end| end + 1)])?;
    keep(&found)?;
    std::fs::remove_file(rows)?;
    Ok(found)
}

fn read(text: &str) -> anyhow::Result<Vec<Value>> {
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no row: {line}"))).collect()
}

fn folder() -> PathBuf {
    cargo::root().join("tests/faults")
}

fn count(rows: &[&Value], holds: impl Fn(&Value) -> bool) -> usize {
    rows.iter().filter(|row| holds(row)).count()
}

fn total(rows: &[&Value], key: &str) -> u64 {
    rows.iter().filter_map(|row| row[key].as_u64()).sum()
}

fn sum(rows: &[Value]) -> Value {
    let rows: Vec<&Value> = rows.iter().collect();
    serde_json::json!({
        "points": rows.len(), "survived": count(&rows, |row| row["survived"] == true),
        "lost": total(&rows, "lost"), "doubled": total(&rows, "doubled"), "redelivered": total(&rows, "redelivered"),
        "stuck": count(&rows, |row| row["stuck"] == true), "operator": count(&rows, |row| !row["operator"].is_null()),
    })
}

/// The row of a point, or all of a migration by a guide's plan, replace what was kept of it.
fn keep(found: &[Value]) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder())?;
    let path = folder().join("rows.jsonl");
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let key = |row: &Value| {
        (row["seed"].clone(), row["run"].clone(), Some(row["point"].clone()).filter(|_| row["run"].is_null()))
    };
    let mut rows: Vec<Value> =
        read(&kept)?.into_iter().filter(|row| !found.iter().any(|new| key(new) == key(row))).collect();
    let date = std::process::Command::new("date").args(["-u", "+%F"]).output()?;
    let date = String::from_utf8_lossy(&date.stdout).trim().to_owned();
    rows.extend(found.iter().cloned().map(|mut row| {
        row["date"] = date.clone().into();
        row
    }));
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    std::fs::write(&path, text)?;
    std::fs::write(folder().join("RESULTS.md"), results(&rows))?;
    Ok(())
}

fn results(rows: &[Value]) -> String {
    let mut by_kind: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for row in rows {
        let way = if row["undo"] == true { "undo" } else { "apply" };
        by_kind.entry(format!("{} · {way}", row["kind"].as_str().unwrap_or_default())).or_default().push(row);
    }
    let mut text = String::from(
        "# What was survived\n\nMade by `cargo xtask faults` from `rows.jsonl`; a run replaces the rows of its points and keeps the others. \
         Each row of that file is one way of a\nmigration in the lab, Debian 11 to Debian 12, with mail arriving all the time and one fault at the \
         moment it names; then\n`apply` (or `undo`) is typed until it is done, and every mail is looked for in mailboxes and queues of both \
         sides, by content.\nRows that name a guide are one migration with a fault at each phase of its whole plan; what was lost stands at the last one.\nRedelivered: a mail server that lost power or its connection before it had the answer to what it delivered has to deliver it again (RFC 1047);\nthe two copies differ in the IDs of their Received lines, as copies that rehome makes never do.\n\n| fault | points | survived | mails lost | doubled | redelivered | stuck | needed the operator | typed, most often | seconds, median |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let mut all: Vec<(&str, Vec<&Value>)> = by_kind.iter().map(|(kind, rows)| (kind.as_str(), rows.clone())).collect();
    all.push(("**all**", rows.iter().collect()));
    for (kind, rows) in all {
        let mut seconds: Vec<f64> = rows.iter().filter_map(|row| row["seconds"].as_f64()).collect();
        seconds.sort_by(f64::total_cmp);
        let median = seconds.get(seconds.len() / 2).copied().unwrap_or_default();
        let typed = rows.iter().filter_map(|row| row["attempts"].as_u64()).max().unwrap_or_default();
        _ = writeln!(
            text,
            "| {kind} | {} | {} | {} | {} | {} | {} | {} | {typed} | {median:.0} |",
            rows.len(),
            count(&rows, |row| row["survived"] == true),
            total(&rows, "lost"),
            total(&rows, "doubled"),
            total(&rows, "redelivered"),
            count(&rows, |row| row["stuck"] == true),
            count(&rows, |row| !row["operator"].is_null()),
        );
    }
    let told = rows.iter().filter(|row| row["survived"] != true || !row["operator"].is_null());
    for row in told {
        let (why, operator) = (row["why"].as_str().unwrap_or_default(), row["operator"].as_str().unwrap_or_default());
        let named = format!("seed {} point {}", row["seed"], row["point"]);
        let name = row["run"].as_str().map_or(named, str::to_owned);
        let [kind, at] = ["kind", "at"].map(|key| row[key].as_str().unwrap_or_default());
        _ = writeln!(text, "\n- {name}: {kind} at `{at}`: {operator}{why}");
    }
    text
}
