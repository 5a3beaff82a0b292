//! Pull any plug: the same migration again and again, and back again, each way with one fault at another point of it; then
//! `apply` (or `undo`) until it is done, and then every mail is looked for on both sides, without asking rehome. A point is named by what rehome was doing
//! when the fault came, as the undisturbed run told it, so that a failure can be repeated.
//!
//! `REHOME_FAULTS_SEED` and `REHOME_FAULTS_POINTS` choose the sample; `cargo xtask faults` sets them, and collects the rows.

mod fault;
mod guides;
mod oracle;
mod point;
mod run;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab_tests;
use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use guides::{Guide, each_phase};
use point::{Direction, Point, sample};
use run::{Outcome, record, survive};

/// The sweep is asked for: `cargo xtask faults`.
pub(crate) fn tests() -> Vec<Trial> {
    match number("REHOME_FAULTS_POINTS") {
        Some(_) => {
            lab_tests![whatever_breaks_apply_goes_on_and_no_mail_is_lost, both_guides_survive_a_fault_at_each_phase]
        }
        None => vec![],
    }
}

fn seed() -> u64 {
    number("REHOME_FAULTS_SEED").unwrap_or(1)
}

fn both_guides_survive_a_fault_at_each_phase() -> Result<()> {
    let mut bad = Vec::new();
    for direction in [Direction::Forth, Direction::Back] {
        for (guide, turn) in
            [Guide::Bullseye, Guide::Wheezy].into_iter().flat_map(|guide| [0, 1, 2].map(|turn| (guide, turn)))
        {
            let began = Instant::now();
            let points = each_phase(guide, turn, direction);
            let seconds = began.elapsed().as_secs_f64() / points.len() as f64;
            for (number, (point, outcome)) in points.iter().enumerate() {
                let row = row(seed(), number, point, outcome, seconds);
                println!("{row}");
                keep(&row);
                if !outcome.is_good() {
                    bad.push(format!("{guide}, turn {turn}, {point}: {outcome}"));
                }
            }
        }
    }
    ensure!(bad.is_empty(), "{}", bad.join("\n"));
    Ok(())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn whatever_breaks_apply_goes_on_and_no_mail_is_lost() -> Result<()> {
    let seed = seed();
    let points = number("REHOME_FAULTS_POINTS").and_then(|points| usize::try_from(points).ok()).unwrap_or_default();
    let only = number("REHOME_FAULTS_ONLY").and_then(|only| usize::try_from(only).ok());
    let threads = number("REHOME_FAULTS_LABS").and_then(|labs| usize::try_from(labs).ok()).unwrap_or(1);
    let moments = record().context("the undisturbed run")?;
    ensure!(moments.len() > 40, "an undisturbed run has only {} moments: it was not recorded", moments.len());
    let points = sample(seed, points, &moments).into_iter().enumerate();
    let points: Vec<(usize, Point)> = points.filter(|(number, _)| only.is_none_or(|only| only == *number)).collect();
    println!("seed {seed}: {} points of {} moments", points.len(), moments.len());
    let (forth, back): (VecDeque<_>, VecDeque<_>) =
        points.into_iter().partition(|(_, point)| point.moment.direction() == Direction::Forth);
    let (ways, rows) = (Mutex::new((forth, back)), Mutex::new(Vec::new()));
    let next = || {
        let mut ways = ways.lock().unwrap_or_else(PoisonError::into_inner);
        (ways.0.pop_front(), ways.1.pop_front())
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let (forth, back) = next();
                    if forth.is_none() && back.is_none() {
                        return;
                    }
                    let mut began = Instant::now();
                    let mut tell = |point: &Point, outcome: Outcome| {
                        let numbered =
                            [&forth, &back].into_iter().flatten().find(|(_, other)| std::ptr::eq(other, point));
                        let number = numbered.map(|(number, _)| *number).unwrap_or_default();
                        let row = row(seed, number, point, &outcome, began.elapsed().as_secs_f64());
                        began = Instant::now();
                        println!("{row}");
                        keep(&row);
                        rows.lock().unwrap_or_else(PoisonError::into_inner).push((point.to_string(), outcome));
                    };
                    let mut tried_back = back.is_none();
                    survive(
                        forth.as_ref().map(|(_, point)| point),
                        back.as_ref().map(|(_, point)| point),
                        &mut |point, outcome| {
                            tried_back |= back.as_ref().is_some_and(|(_, back)| std::ptr::eq(back, point));
                            tell(point, outcome);
                        },
                    );
                    // What comes after a way that led nowhere has its turn in another lab.
                    if !tried_back && let Some(back) = back {
                        ways.lock().unwrap_or_else(PoisonError::into_inner).1.push_back(back);
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
        "undo": point.moment.direction() == Direction::Back, "survived": outcome.is_good(), "lost": outcome.lost,
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
