//! Pull any plug: the same migration again and again, and back again, each way with one fault at another point of it; then
//! `apply` (or `undo`) until it is done, and then every mail is looked for on both sides, without asking rehome. A point is named by what rehome was doing
//! when the fault came, as the undisturbed run told it, so that a failure can be repeated.
//!
//! `REHOME_FAULTS_SEED` and `REHOME_FAULTS_POINTS` choose the sample; `cargo xtask faults` sets them, and collects the rows.
//! Without them a few points are tried, one of each kind, others every day.

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
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use guides::{Guide, TURNS, each_phase};
use point::{Direction, KINDS, Point, sample};
use run::{Outcome, record, survive};

/// Without a size only the short one: the guides' plans take too long for every day.
pub(crate) fn tests() -> Vec<Trial> {
    match number("REHOME_FAULTS_POINTS") {
        Some(_) => {
            lab_tests![whatever_breaks_apply_goes_on_and_no_mail_is_lost, both_guides_survive_a_fault_at_each_phase]
        }
        None => lab_tests![whatever_breaks_apply_goes_on_and_no_mail_is_lost],
    }
}

/// Of the sweep, or of the day.
fn seed() -> u64 {
    let day = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs() / 86_400);
    number("REHOME_FAULTS_SEED").unwrap_or_else(day)
}

/// Of rows that no seed chooses.
const NO_SEED: u64 = 0;

fn both_guides_survive_a_fault_at_each_phase() -> Result<()> {
    let ways = (0..TURNS).flat_map(|turn| {
        let guides = [Guide::Bullseye, Guide::Wheezy].into_iter();
        guides.flat_map(move |guide| [Direction::Forth, Direction::Back].map(|direction| (guide, turn, direction)))
    });
    let only = std::env::var("REHOME_FAULTS_RUN").ok();
    let (ways, others): (VecDeque<_>, VecDeque<_>) =
        ways.partition(|way| only.as_ref().is_none_or(|only| *only == run(way)));
    ensure!(
        !ways.is_empty(),
        "no migration has this name; there are {}",
        others.iter().map(run).collect::<Vec<_>>().join(", ")
    );
    let (ways, bad) = (Mutex::new(ways), Mutex::new(Vec::new()));
    let next = || locked(&ways).pop_front();
    at_once(|| {
        while let Some(way) = next() {
            let (guide, turn, direction) = way;
            let began = Instant::now();
            let points = each_phase(guide, turn, direction);
            let seconds = began.elapsed().as_secs_f64() / points.len() as f64;
            for (number, (point, outcome)) in points.iter().enumerate() {
                let mut row = row(NO_SEED, number, point, outcome, seconds);
                row["run"] = run(&way).into();
                keep(&row);
                if !outcome.is_good() {
                    locked(&bad).push(format!("{}, {point}: {outcome}", run(&way)));
                }
            }
        }
    });
    let bad = bad.into_inner().unwrap_or_default();
    ensure!(bad.is_empty(), "{}", bad.join("\n"));
    Ok(())
}

/// What a migration of a guide's plan is called: "bullseye-to-bookworm undo 2".
fn run((guide, turn, direction): &(Guide, usize, Direction)) -> String {
    let verb = if *direction == Direction::Back { "undo" } else { "apply" };
    format!("{guide} {verb} {turn}")
}

/// So many labs as are asked for, each with a worker.
fn at_once(work: impl Fn() + Sync) {
    let labs = number("REHOME_FAULTS_LABS").unwrap_or(1);
    std::thread::scope(|scope| {
        for _ in 0..labs {
            scope.spawn(&work);
        }
    });
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn whatever_breaks_apply_goes_on_and_no_mail_is_lost() -> Result<()> {
    let seed = seed();
    let points = number("REHOME_FAULTS_POINTS").and_then(|points| usize::try_from(points).ok()).unwrap_or(KINDS);
    let only = std::env::var("REHOME_FAULTS_ONLY").ok();
    let is_asked_for =
        |number: &usize| only.as_ref().is_none_or(|only| only.split(',').any(|one| *one == number.to_string()));
    let moments = record().context("the undisturbed run")?;
    ensure!(moments.len() > 40, "an undisturbed run has only {} moments: it was not recorded", moments.len());
    let points = sample(seed, points, &moments).into_iter().enumerate();
    let points: Vec<Numbered> = points.filter(|(number, _)| is_asked_for(number)).collect();
    ensure!(!points.is_empty(), "none of these numbers is a point of this size of sweep");
    println!("seed {seed}: {} points of {} moments", points.len(), moments.len());
    let (ways, bad) = (Mutex::new(Ways::of(points)), Mutex::new(Vec::new()));
    at_once(|| {
        let mut ground = None;
        loop {
            let (forth, back) = locked(&ways).next();
            if forth.is_none() && back.is_none() {
                return;
            }
            let mut began = Instant::now();
            let mut left = back.as_ref();
            let tell = &mut |point: &Point, outcome: Outcome| {
                let told = [&forth, &back].into_iter().flatten().find(|(_, other)| std::ptr::eq(other, point));
                let number = told.map(|(number, _)| *number).unwrap_or_default();
                left = left.filter(|(other, _)| *other != number);
                if let Some(instead) = outcome.missed.then(|| point.instead(&moments)).flatten() {
                    locked(&ways).put_back((number, instead));
                    return;
                }
                keep(&row(seed, number, point, &outcome, began.elapsed().as_secs_f64()));
                began = Instant::now();
                if !outcome.is_good() {
                    locked(&bad).push(format!("point {number}, {point}: {outcome}"));
                }
            };
            survive(&mut ground, forth.as_ref().map(|(_, point)| point), back.as_ref().map(|(_, point)| point), tell);
            // What comes after a way that led nowhere has its turn in another lab.
            if let Some(back) = left {
                locked(&ways).put_back(back.clone());
            }
        }
    });
    let bad = bad.into_inner().unwrap_or_default();
    ensure!(bad.is_empty(), "seed {seed}, {} points were not survived:\n{}", bad.len(), bad.join("\n"));
    Ok(())
}

/// A point, and its number in the sample.
type Numbered = (usize, Point);

/// What is still to be tried.
struct Ways {
    forth: VecDeque<Numbered>,
    back: VecDeque<Numbered>,
}

impl Ways {
    fn of(points: Vec<Numbered>) -> Ways {
        let (forth, back) = points.into_iter().partition(|(_, point)| point.moment.direction() == Direction::Forth);
        Ways { forth, back }
    }

    fn put_back(&mut self, point: Numbered) {
        let ways = if point.1.moment.direction() == Direction::Forth { &mut self.forth } else { &mut self.back };
        ways.push_back(point);
    }

    /// One there and one back, as far as there are.
    fn next(&mut self) -> (Option<Numbered>, Option<Numbered>) {
        let forth = self.forth.pop_front();
        let fits = |(_, back): &Numbered| forth.as_ref().is_none_or(|(_, forth)| back.kind.may_follow(forth.kind));
        let at = self.back.iter().position(fits);
        let back = at.and_then(|at| self.back.remove(at));
        (forth, back)
    }
}

/// A line for `cargo xtask faults`.
fn row(seed: u64, number: usize, point: &Point, outcome: &Outcome, seconds: f64) -> serde_json::Value {
    serde_json::json!({
        "seed": seed, "point": number, "kind": point.kind.name(), "at": point.moment.to_string(),
        "undo": point.moment.direction() == Direction::Back, "survived": outcome.is_good(), "lost": outcome.lost,
        "doubled": outcome.doubled, "redelivered": outcome.redelivered, "stuck": outcome.stuck, "operator": outcome.operator, "why": outcome.why,
        "attempts": outcome.attempts, "seconds": (seconds * 10.0).round() / 10.0,
    })
}

/// Shown at once, and written where `cargo xtask faults` looks for it.
fn keep(row: &serde_json::Value) {
    println!("{row}");
    let Some(path) = std::env::var_os("REHOME_FAULTS_ROWS") else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    if let Err(error) = file.and_then(|mut file| writeln!(file, "{row}")) {
        eprintln!("a row was not kept: {error}");
    }
}
