//! Both guides' whole plans, and the way back from them, with a fault at each phase: rehome is killed, or either side loses power.
//! One migration has a fault at every phase of it; three of them have each fault at each phase.

use super::oracle::{Holdings, Verdict, judge};
use super::point::{Direction, Kind, Moment, Point};
use super::run::{Outcome, in_short};
use crate::rehome::Rehome;
use crate::{wheezy, whole};
use anyhow::{Result, ensure};
use rehome_tests::harness::eventually;
use rehome_tests::lab::{Lab, LabSpec};
use rehome_tests::traffic::Traffic;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

const FAULTS: [Kind; 3] = [Kind::Kill, Kind::PowerNew, Kind::PowerOld];
/// So many in all: more rounds than this are no progress.
const ROUNDS: usize = 150;
/// So often in a row nothing goes on.
const PATIENCE: usize = 8;

/// Whose plan.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Guide {
    Bullseye,
    Wheezy,
}

impl fmt::Display for Guide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Guide::Bullseye => "bullseye-to-bookworm",
            Guide::Wheezy => "wheezy-to-jessie",
        })
    }
}

impl Guide {
    fn install<'lab>(self, lab: &'lab Lab) -> Result<Rehome<'lab>> {
        match self {
            Guide::Bullseye => whole::install(lab),
            Guide::Wheezy => wheezy::install(lab),
        }
    }
}

/// The plan from its beginning to the retirement of old, or up to there and back from before it, each phase with a fault, the
/// first one with the one of this `turn`. Answers every point with what became of it: they are survived together or not.
pub(crate) fn each_phase(guide: Guide, turn: usize, direction: Direction) -> Vec<(Point, Outcome)> {
    let mut points = Vec::new();
    let outcome = there_and_back(guide, turn, direction, &mut points).unwrap_or_else(|error| Outcome::failed(&error));
    if points.is_empty() {
        let moment = moment(guide, direction, "the beginning");
        points.push(Point { kind: FAULTS[turn % FAULTS.len()], moment });
    }
    let count = points.len();
    let one = |(at, point): (usize, Point)| {
        // What was lost is counted once.
        let last = at + 1 == count;
        let outcome = Outcome {
            lost: if last { outcome.lost } else { 0 },
            doubled: if last { outcome.doubled } else { 0 },
            stuck: last && outcome.stuck,
            attempts: 1,
            why: outcome.why.clone().filter(|_| last),
            operator: None,
        };
        (point, outcome)
    };
    points.into_iter().enumerate().map(one).collect()
}

fn moment(guide: Guide, direction: Direction, phase: &str) -> Moment {
    let verb = if direction == Direction::Back { "undo" } else { "apply" };
    let phase = format!("{phase} of {guide}");
    Moment { verb: verb.into(), phase, request: None, nth: 1, is_effect: false, side: None }
}

fn there_and_back(guide: Guide, turn: usize, direction: Direction, points: &mut Vec<Point>) -> Result<Outcome> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    let rehome = guide.install(&lab)?;
    let before = Holdings::of(lab.old())?;
    rehome.approve()?;
    let recipients = whole::recipients();
    let to_old = Traffic::start(&lab, lab.old(), "old", 2.0, &recipients)?;
    let mut why = None;
    if direction == Direction::Back {
        why = Travel { lab: &lab, rehome: &rehome, guide, turn: None }.go(Direction::Forth, points)?;
    }
    if why.is_none() {
        why = Travel { lab: &lab, rehome: &rehome, guide, turn: Some(turn) }.go(direction, points)?;
    }
    eventually("some mail came", || Ok(to_old.count() > 8))?;
    let sent = to_old.stop()?;
    std::thread::sleep(Duration::from_secs(2));
    let (serves, other) = match direction {
        Direction::Forth => (lab.new(), lab.old()),
        Direction::Back => (lab.old(), lab.new()),
    };
    let (held, held_by_other) = (Holdings::of(serves)?, Holdings::of(other)?);
    let Verdict { lost, doubled } = judge(&before, &held, &held_by_other, &sent);
    if why.is_none() && !serves.port_is_open(143)? {
        why = Some(format!("Dovecot on {} does not serve", serves.name()));
    }
    if why.is_none() && !held.unfinished.is_empty() {
        why = Some(format!("unfinished: {}", held.unfinished.join(", ")));
    }
    let stuck = why.is_some();
    let mut said: Vec<String> = why.into_iter().collect();
    said.extend(lost.iter().take(3).map(|mail| format!("lost: {mail}")));
    said.extend(doubled.iter().take(3).map(|mail| format!("doubled: {mail}")));
    let why = (!said.is_empty()).then(|| said.join("; "));
    Ok(Outcome { lost: lost.len(), doubled: doubled.len(), stuck, operator: None, attempts: 1, why })
}

/// On its way through a plan.
struct Travel<'a> {
    lab: &'a Lab,
    rehome: &'a Rehome<'a>,
    guide: Guide,
    /// which fault the first phase has; none: no faults, and only up to before old is retired
    turn: Option<usize>,
}

impl Travel<'_> {
    /// Types the verb, answers, and lets time pass, until it is done; or says why it is not.
    fn go(&self, direction: Direction, points: &mut Vec<Point>) -> Result<Option<String>> {
        let words: &[&str] = if direction == Direction::Back { &["undo", "--yes"] } else { &["apply"] };
        let (mut met, mut in_vain) = (BTreeSet::new(), 0);
        for _ in 0..ROUNDS {
            let mut fault = None;
            let ended = self.rehome.watch(words, &mut |line| {
                let Some(phase) = begins(line, words[0]).filter(|phase| fault.is_none() && !met.contains(phase)) else {
                    return Ok(());
                };
                let Some(turn) = self.turn else { return Ok(()) };
                let kind = FAULTS[(met.len() + turn) % FAULTS.len()];
                points.push(Point { kind, moment: moment(self.guide, direction, &phase) });
                met.insert(phase);
                fault = Some(kind);
                match kind {
                    Kind::PowerNew => self.lab.power_off("new"),
                    Kind::PowerOld => self.lab.power_off("old"),
                    _ => self.rehome.machine.kill("rehome").map(drop),
                }
            })?;
            match fault {
                Some(Kind::PowerNew) => self.lab.boot("new")?,
                Some(Kind::PowerOld) => self.lab.boot("old")?,
                _ => {}
            }
            in_vain = if fault.is_some() || matches!(ended.status, Some(0 | 5)) { 0 } else { in_vain + 1 };
            if in_vain > PATIENCE {
                return Ok(Some(in_short(&ended)));
            }
            match ended.status {
                Some(0) => return Ok(None),
                Some(5) => {
                    let waits = self.rehome.waits_at()?;
                    if waits == "retire" && self.turn.is_none() {
                        return Ok(None);
                    }
                    if self.rehome.run(&["answer", &waits, "go-on", "yes"])?.status != Some(0) {
                        // It asks nothing: it waits for time to pass, and for what was on its way.
                        self.rehome.pass(86_400);
                    }
                }
                _ => std::thread::sleep(Duration::from_secs(1)),
            }
        }
        ensure!(!met.is_empty(), "no phase began");
        Ok(Some(format!("after {ROUNDS} rounds it is not done")))
    }
}

/// The phase that begins, as an event has it.
fn begins(line: &str, verb: &str) -> Option<String> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    (event["event"] == "phase-began" && event["verb"] == verb).then_some(())?;
    event["phase"].as_str().map(str::to_owned)
}
