//! Pull any plug: the same migration again and again, each time with one fault at another point of it; then `apply` until it
//! is done, and then every mail is looked for on both sides, without asking rehome. A point is named by what rehome was doing
//! when the fault came, as the undisturbed run told it, so that a failure can be repeated.
//!
//! `REHOME_FAULTS_SEED` and `REHOME_FAULTS_POINTS` choose the sample; `cargo xtask faults` sets them, and collects the rows.

mod oracle;
mod point;
mod run;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab_tests;
use std::io::Write;
use std::sync::Mutex;

use point::{Direction, Point, sample};
use run::{Outcome, record, survive};

/// A sweep is asked for: `cargo xtask faults`.
pub(crate) fn tests() -> Vec<Trial> {
    match number("REHOME_FAULTS_POINTS") {
        Some(_) => lab_tests![whatever_breaks_apply_goes_on_and_no_mail_is_lost],
        None => vec![],
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn whatever_breaks_apply_goes_on_and_no_mail_is_lost() -> Result<()> {
    let seed = number("REHOME_FAULTS_SEED").unwrap_or(1);
    let points = number("REHOME_FAULTS_POINTS").and_then(|points| usize::try_from(points).ok()).unwrap_or_default();
    let only = number("REHOME_FAULTS_ONLY").and_then(|only| usize::try_from(only).ok());
    let threads = number("REHOME_FAULTS_LABS").and_then(|labs| usize::try_from(labs).ok()).unwrap_or(1);
    let moments = record().context("the undisturbed run")?;
    ensure!(moments.len() > 40, "an undisturbed run has only {} moments: it was not recorded", moments.len());
    let points: Vec<(usize, Point)> = sample(seed, points, &moments).into_iter().enumerate().collect();
    let points: Vec<_> = points.into_iter().filter(|(number, _)| only.is_none_or(|only| only == *number)).collect();
    println!("seed {seed}: {} points of {} moments", points.len(), moments.len());
    let (queue, rows) = (Mutex::new(points.into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some((number, point)) = queue.lock().ok().and_then(|mut queue| queue.next()) else { return };
                    let began = std::time::Instant::now();
                    let outcome = survive(&point).unwrap_or_else(|error| Outcome::failed(&error));
                    let row = row(seed, number, &point, &outcome, began.elapsed().as_secs_f64());
                    println!("{row}");
                    keep(&row);
                    if let Ok(mut rows) = rows.lock() {
                        rows.push((point, outcome));
                    }
                }
            });
        }
    });
    let rows = rows.into_inner().unwrap_or_default();
    let bad: Vec<String> = rows
        .iter()
        .filter(|(_, outcome)| !outcome.is_good())
        .map(|(point, outcome)| format!("{point}: {outcome}"))
        .collect();
    ensure!(bad.is_empty(), "seed {seed}, {} of {} points:\n{}", bad.len(), rows.len(), bad.join("\n"));
    Ok(())
}

/// A line for `cargo xtask faults`.
fn row(seed: u64, number: usize, point: &Point, outcome: &Outcome, seconds: f64) -> serde_json::Value {
    serde_json::json!({
        "seed": seed, "point": number, "kind": point.kind.name(), "at": point.moment.to_string(),
        "undo": point.direction == Direction::Back, "survived": outcome.is_good(), "lost": outcome.lost,
        "doubled": outcome.doubled, "stuck": outcome.stuck, "operator": outcome.operator, "why": outcome.why,
        "attempts": outcome.attempts, "seconds": (seconds * 10.0).round() / 10.0,
    })
}

fn keep(row: &serde_json::Value) {
    let Some(path) = std::env::var_os("REHOME_FAULTS_ROWS") else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    if let Err(error) = file.and_then(|mut file| writeln!(file, "{row}")) {
        eprintln!("a row was not kept: {error}");
    }
}
