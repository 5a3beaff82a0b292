//! Both guides' whole plans, and the way back from them, with a fault at each phase: rehome is killed, or either side loses power,
//! as it begins; the link is cut for seconds, or old's connections are reset, in the middle of its first effect.
//! One migration has a fault at every phase of it; it takes [`TURNS`] of them until each phase had each fault.

use super::fault;
use super::oracle::{Holdings, judge};
use super::point::{Direction, Kind, Moment, Point};
use super::run::{Outcome, in_short};
use crate::rehome::Rehome;
use crate::{wheezy, whole};
use anyhow::Result;
use rehome_tests::harness::eventually;
use rehome_tests::lab::{Lab, LabSpec};
use rehome_tests::traffic::Traffic;
use std::fmt;
use std::time::Duration;

/// As phases begin, one after the other.
const FAULTS: [Kind; 3] = [Kind::Kill, Kind::PowerNew, Kind::PowerOld];
/// In the middle of effects, each in a turn of its own.
const IN_EFFECTS: [Kind; 2] = [Kind::Blink, Kind::Reset];
/// So many have each fault at each phase.
pub(crate) const TURNS: usize = FAULTS.len() + IN_EFFECTS.len();
/// Where both plans wait for a week without mail at old.
const WATCH: &str = "watch";
/// And some minutes.
const A_WEEK: u64 = 7 * 86_400 + 600;
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
    /// Two machines as the guide knows them: rspamd came later than Debian 7.
    fn spec(self) -> LabSpec {
        match self {
            Guide::Bullseye => LabSpec::pair().ssh_keys_on("new"),
            Guide::Wheezy => LabSpec::pair().without_rspamd().ssh_keys_on("new"),
        }
    }

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
        let moment = moment(guide, direction, "the beginning", None);
        points.push(Point { kind: fault_of(turn, 0), moment });
    }
    let count = points.len();
    let one = |(at, point): (usize, Point)| {
        // What was lost is counted once, but none of them was survived then.
        let last = at + 1 == count;
        let count = |mails: usize| if last { mails } else { 0 };
        let outcome = Outcome {
            lost: count(outcome.lost),
            doubled: count(outcome.doubled),
            redelivered: count(outcome.redelivered),
            stuck: if last { outcome.stuck } else { !outcome.is_good() },
            attempts: 1,
            why: outcome.why.clone(),
            ..Outcome::default()
        };
        (point, outcome)
    };
    points.into_iter().enumerate().map(one).collect()
}

/// Of so many phases that had theirs before.
fn fault_of(turn: usize, met: usize) -> Kind {
    match turn.checked_sub(FAULTS.len()) {
        None => FAULTS[(met + turn) % FAULTS.len()],
        Some(at) => IN_EFFECTS[at],
    }
}

fn moment(guide: Guide, direction: Direction, phase: &str, request: Option<String>) -> Moment {
    let verb = if direction == Direction::Back { "undo" } else { "apply" };
    let phase = format!("{phase} of {guide}");
    Moment { verb: verb.into(), phase, is_effect: request.is_some(), request, nth: 1, side: None }
}

fn there_and_back(guide: Guide, turn: usize, direction: Direction, points: &mut Vec<Point>) -> Result<Outcome> {
    let lab = Lab::start(&guide.spec())?;
    let rehome = guide.install(&lab)?;
    let before = Holdings::of(lab.old())?;
    rehome.approve()?;
    let recipients = whole::recipients();
    let mail = |name| Traffic::start(&lab, lab.old(), name, 2.0, &recipients);
    let stop = |traffic: Traffic| {
        eventually("enough mail was accepted", || Ok(traffic.count() > 8 && traffic.accepted() > 3))?;
        traffic.stop()
    };
    let mut travel = Travel { lab: &lab, rehome: &rehome, guide, turn: None, points };
    let to_old = mail("old")?;
    if direction == Direction::Forth {
        travel.turn = Some(turn);
    }
    // Old is watched until nobody sends there any more.
    let mut why = travel.go(Direction::Forth, Some(WATCH))?;
    let mut sent = stop(to_old)?;
    travel.turn = Some(turn);
    if why.is_none() && direction == Direction::Forth {
        why = travel.go(direction, None)?;
    } else if why.is_none() {
        let to_old = mail("back")?;
        why = travel.go(direction, None)?;
        sent.0.extend(stop(to_old)?.0);
    }
    std::thread::sleep(Duration::from_secs(2));
    let (serves, other) = match direction {
        Direction::Forth => (lab.new(), lab.old()),
        Direction::Back => (lab.old(), lab.new()),
    };
    let (held, held_by_other) = (Holdings::of(serves)?, Holdings::of(other)?);
    let cut_off = points.iter().any(|point| point.kind.cuts_servers_off());
    let verdict = judge(&before, &held, &held_by_other, &sent, cut_off);
    if why.is_none() && !serves.port_is_open(143)? {
        why = Some(format!("Dovecot on {} does not serve", serves.name()));
    }
    if why.is_none() && !held.unfinished.is_empty() {
        why = Some(format!("unfinished: {}", held.unfinished.join(", ")));
    }
    Ok(Outcome::of(&verdict, why.into_iter().collect()))
}

/// On its way through a plan.
struct Travel<'a> {
    lab: &'a Lab,
    rehome: &'a Rehome<'a>,
    guide: Guide,
    /// which fault the first phase has; none: no faults
    turn: Option<usize>,
    /// what there was so far
    points: &'a mut Vec<Point>,
}

impl Travel<'_> {
    /// Types the verb, answers, and lets time pass, until it is done, or waits at this phase; or says why it is not.
    fn go(&mut self, direction: Direction, up_to: Option<&str>) -> Result<Option<String>> {
        let words: &[&str] = if direction == Direction::Back { &["undo", "--yes"] } else { &["apply"] };
        let mut in_vain = 0;
        for _ in 0..ROUNDS {
            let (mut fault, before) = (None, self.points.len());
            let ended = self.rehome.watch(words, &mut |line| {
                let Some(turn) = self.turn.filter(|_| fault.is_none()) else { return Ok(()) };
                let kind = fault_of(turn, self.points.len());
                let Some((phase, request)) = happens(line, words[0], kind) else { return Ok(()) };
                let moment = moment(self.guide, direction, &phase, request);
                if self.points.iter().any(|met| met.moment.phase == moment.phase) {
                    return Ok(());
                }
                self.points.push(Point { kind, moment });
                // While the link is cut, or after an RST, rehome may well go on by itself: the next phase is met in the same run.
                fault = Some(kind).filter(|kind| !IN_EFFECTS.contains(kind));
                disturb(self.lab, self.rehome, kind)
            })?;
            match fault {
                Some(Kind::PowerNew) => self.lab.boot("new")?,
                Some(Kind::PowerOld) => self.lab.boot("old")?,
                _ => {}
            }
            in_vain = if self.points.len() > before || matches!(ended.status, Some(0 | 5)) { 0 } else { in_vain + 1 };
            if in_vain > PATIENCE {
                return Ok(Some(in_short(&ended)));
            }
            match ended.status {
                Some(0) => return Ok(None),
                Some(5) => {
                    let waits = self.rehome.waits_at()?;
                    if up_to.is_some_and(|phase| phase == waits) {
                        return Ok(None);
                    }
                    if self.rehome.run(&["answer", &waits, "go-on", "yes"])?.status != Some(0) {
                        // It asks nothing: it waits for time to pass, and for what old could not deliver while new was off.
                        self.rehome.pass(A_WEEK);
                        self.lab.old().sh("postqueue -f")?;
                    }
                }
                _ => std::thread::sleep(Duration::from_secs(1)),
            }
        }
        Ok(Some(format!("after {ROUNDS} rounds it is not done")))
    }
}

fn disturb(lab: &Lab, rehome: &Rehome<'_>, kind: Kind) -> Result<()> {
    match kind {
        Kind::PowerNew => lab.power_off("new"),
        Kind::PowerOld => lab.power_off("old"),
        // The one that rehome runs on: old and the name server are as far away as its operator.
        Kind::Blink => fault::blink(lab, "new", Duration::from_secs(3)),
        Kind::Reset => lab.link_reset("old"),
        _ => rehome.machine.kill("rehome").map(drop),
    }
}

/// The phase, and what it asks for then, if the event is one at which this fault belongs.
fn happens(line: &str, verb: &str, kind: Kind) -> Option<(String, Option<String>)> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| event[key].as_str().map(str::to_owned);
    let phase = text("phase").filter(|_| event["verb"] == verb)?;
    if !IN_EFFECTS.contains(&kind) {
        return (event["event"] == "phase-began").then_some((phase, None));
    }
    let is_effect = event["event"] == "request-began" && event["effect"] != "read";
    // Old's connections matter where old is asked.
    let reaches = kind == Kind::Blink || event["side"] != "new";
    (is_effect && reaches).then_some((phase, text("request")))
}
