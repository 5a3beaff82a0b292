//! One migration there and back, with one fault on each way, and what became of it.

use super::fault::{self, Done, Prepared};
use super::oracle::{Holdings, Verdict, judge};
use super::point::{Direction, Kind, Moment, Point};
use crate::rehome::{Ran, Reach, Rehome, mail_only};
use anyhow::{Context, Result, ensure};
use rehome_tests::harness::eventually;
use rehome_tests::lab::{Lab, LabSpec};
use rehome_tests::oracle::database;
use rehome_tests::seed::accounts;
use rehome_tests::traffic::Traffic;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

/// So often `apply` is typed again: once, and as often as a gate, a lock or a machine that just booted may ask for.
const ATTEMPTS: usize = 8;

/// ssh(1), where what it ran was killed.
const SSH_HAS_NO_STATUS: i32 = 255;

/// What became of one point.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) lost: usize,
    pub(crate) doubled: usize,
    /// by a mail server that was cut off
    pub(crate) redelivered: usize,
    pub(crate) stuck: bool,
    /// what the operator had to do, beside the answers of the plan
    pub(crate) operator: Option<String>,
    pub(crate) attempts: usize,
    pub(crate) why: Option<String>,
    /// nothing was tried: this time rehome never did what it was to be disturbed at
    pub(crate) missed: bool,
}

impl Outcome {
    /// By where the mail is, and by what else was not as it has to be.
    pub(crate) fn of(verdict: &Verdict, mut wrong: Vec<String>) -> Outcome {
        let Verdict { lost, doubled, redelivered } = verdict;
        let stuck = !wrong.is_empty();
        wrong.extend(lost.iter().take(3).map(|mail| format!("lost: {mail}")));
        wrong.extend(doubled.iter().take(3).map(|mail| format!("doubled: {mail}")));
        let why = (!wrong.is_empty()).then(|| wrong.join("; "));
        let (lost, doubled, redelivered) = (lost.len(), doubled.len(), redelivered.len());
        Outcome { lost, doubled, redelivered, stuck, why, ..Outcome::default() }
    }

    pub(crate) fn failed(error: &anyhow::Error) -> Outcome {
        let missed = error.is::<Missed>();
        Outcome { stuck: true, why: Some(format!("{error:#}")), missed, ..Outcome::default() }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && !self.stuck
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { lost, doubled, stuck, why, .. } = self;
        write!(f, "{lost} lost, {doubled} doubled, {}", if *stuck { "stuck" } else { "done" })?;
        why.as_ref().map_or(Ok(()), |why| write!(f, ": {why}"))
    }
}

/// The moment did not come, though the way came to its end.
#[derive(Debug)]
pub(crate) struct Missed;

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the moment did not come")
    }
}

impl std::error::Error for Missed {}

fn start() -> Result<Lab> {
    Lab::start(&LabSpec::pair().without_rspamd().ssh_keys_on("new"))
}

fn plan() -> Result<String> {
    mail_only(&Reach::Ssh("old"), &Reach::Local)
}

/// The moments of an undisturbed migration and of its way back, in their order.
pub(crate) fn record() -> Result<Vec<Moment>> {
    let lab = start()?;
    let rehome = Rehome::install(lab.new(), &plan()?)?;
    rehome.approve()?;
    let mut moments = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut note = |line: &str| moments.extend(moment(line, &mut seen));
    for (words, status) in
        [(&["apply"][..], 5), (&["answer", "downtime", "go-on", "yes"], 0), (&["apply"], 0), (&["undo", "--yes"], 0)]
    {
        let ended = rehome.watch(words, &mut |line| {
            note(line);
            Ok(())
        })?;
        ensure!(ended.status == Some(status), "rehome {words:?} ended with {ended:?}");
    }
    Ok(moments)
}

fn moment(line: &str, seen: &mut HashMap<String, usize>) -> Option<Moment> {
    let event: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| event[key].as_str().map(str::to_owned);
    let (verb, phase) = (text("verb")?, text("phase")?);
    if verb != "apply" && verb != "undo" {
        return None;
    }
    let request = match event["event"].as_str()? {
        "phase-began" => None,
        "request-began" => Some(text("request")?),
        _ => return None,
    };
    let is_effect = request.is_some() && text("effect").is_some_and(|effect| effect != "read");
    let nth = seen.entry(format!("{verb} {phase} {request:?}")).or_default();
    *nth += 1;
    // Users by the dozen are asked for one by one: the first ones stand for all.
    (*nth <= 3).then(|| Moment { verb, phase, request, nth: *nth, is_effect, side: text("side") })
}

impl Moment {
    /// What the event's line holds.
    fn marks(&self) -> Vec<String> {
        let mut marks = vec![format!("\"phase\":\"{}\"", self.phase), format!("\"verb\":\"{}\"", self.verb)];
        match &self.request {
            Some(request) => {
                marks.push("\"event\":\"request-began\"".to_owned());
                marks.push(format!("\"request\":\"{request}\""));
            }
            None => marks.push("\"event\":\"phase-began\"".to_owned()),
        }
        marks
    }
}

/// Two machines, and how often a server has moved there and back on them.
pub(crate) struct Ground {
    lab: Lab,
    rounds: usize,
}

impl Ground {
    fn new() -> Result<Ground> {
        Ok(Ground { lab: start()?, rounds: 0 })
    }

    /// After the way back: as if nothing had ever been moved, but for the mail that came meanwhile.
    fn clear(&self, rehome: &Rehome<'_>) -> Result<()> {
        rehome.forget(&[self.lab.old(), self.lab.new()])?;
        self.lab.new().sh(CLEAR).map(drop)
    }
}

/// What was moved is gone from new's disk, and the small file system of a fault.
const CLEAR: &str = "systemctl stop dovecot; umount /var/vmail 2>/dev/null || true
find /var/vmail -mindepth 1 -delete; systemctl start dovecot";

/// A migration with the first fault on its way, and with the second on its way back, where there are such, on this ground if
/// there is one, and leaves it there for the next one if all went well. What became of each; after the first that was not
/// survived nothing more is tried.
pub(crate) fn survive(
    ground: &mut Option<Ground>,
    forth: Option<&Point>,
    back: Option<&Point>,
    tell: &mut dyn FnMut(&Point, Outcome),
) {
    let mut at = forth.or(back);
    let mut tried = || -> Result<Option<Ground>> {
        let here = ground.take().map_or_else(Ground::new, Ok)?;
        let lab = &here.lab;
        let mut before = Holdings::of(lab.old())?;
        let prepared = forth.map_or(Ok(Prepared::default()), |point| fault::prepare(lab, point))?;
        // What has a hostile name is to arrive; what will be deleted on old is not.
        if forth.is_some_and(|point| point.kind == Kind::Names) {
            before = Holdings::of(lab.old())?;
        }
        let rehome = Rehome::install(lab.new(), &plan()?)?;
        if let Some(point) = forth.filter(|point| point.kind == Kind::Guest) {
            rehome.plan(&fault::with_guest(&plan()?, &point.moment)?)?;
        }
        // So that it can jump back.
        if forth.is_some_and(|point| point.kind == Kind::Clock && point.moment.nth % 2 == 0) {
            rehome.clock_is_ahead(86_400);
        }
        rehome.approve()?;
        let way = Way { lab, rehome: &rehome, before: &before, round: here.rounds };
        match forth {
            None => ensure!(way.finish("apply", &mut 0)?.is_none(), "without a fault it did not come to its end"),
            Some(point) => {
                let outcome = way.go(point, prepared)?;
                let good = outcome.is_good();
                tell(point, outcome);
                at = back;
                if !good {
                    return Ok(None);
                }
            }
        }
        let Some(point) = back else { return Ok(None) };
        let prepared = fault::prepare(lab, point)?;
        let outcome = way.go(point, prepared)?;
        let good = outcome.is_good();
        tell(point, outcome);
        at = None;
        if !good {
            return Ok(None);
        }
        here.clear(&rehome)?;
        Ok(Some(Ground { rounds: here.rounds + 1, ..here }))
    };
    match tried() {
        Ok(left) => *ground = left,
        Err(error) => match at {
            Some(point) => tell(point, Outcome::failed(&error)),
            None => eprintln!("a lab is not used again: {error:#}"),
        },
    }
}

/// A migration that goes one way or the other.
struct Way<'a> {
    lab: &'a Lab,
    rehome: &'a Rehome<'a>,
    /// what old held before anything
    before: &'a Holdings,
    /// mails of each have names of their own
    round: usize,
}

impl Way<'_> {
    /// One way with a fault.
    fn go(&self, point: &Point, mut prepared: Prepared) -> Result<Outcome> {
        let Way { lab, before, round, .. } = self;
        let recipients: Vec<&str> = accounts().users.iter().map(|user| user.email.as_str()).take(12).collect();
        let direction = point.moment.direction();
        let name = format!("{}-{round}", if direction == Direction::Forth { "forth" } else { "back" });
        let traffic = Traffic::start(lab, lab.old(), &name, 3.0, &recipients)?;
        let Done { operator, wrong } = self.disturb(point, &mut prepared)?;
        let mut attempts = 0;
        let why = self.finish(&point.moment.verb, &mut attempts)?;
        drop(prepared);
        // One way may be over before enough has come to prove anything; and for a minute after its database was restarted
        // Postfix asks it nothing.
        let enough = eventually("enough mail was accepted", || Ok(traffic.count() > 8 && traffic.accepted() > 3));
        let sent = traffic.stop()?;
        enough.with_context(|| format!("{sent:?}"))?;
        // What was under way in Postfix at that moment is delivered, or back in a queue.
        std::thread::sleep(Duration::from_secs(1));
        let (serves, other) = match direction {
            Direction::Forth => (lab.new(), lab.old()),
            Direction::Back => (lab.old(), lab.new()),
        };
        let (held, held_by_other) = (Holdings::of(serves)?, Holdings::of(other)?);
        let verdict = judge(before, &held, &held_by_other, &sent, point.kind.cuts_servers_off());
        let mut said: Vec<String> = why.into_iter().chain(wrong).collect();
        if said.is_empty() {
            said.extend(self.is_served(serves)?);
        }
        if !held.unfinished.is_empty() {
            said.push(format!("unfinished: {}", held.unfinished.join(", ")));
        }
        Ok(Outcome { operator: operator.map(str::to_owned), attempts, ..Outcome::of(&verdict, said) })
    }

    /// What is not as after an undisturbed run.
    fn is_served(&self, serves: &rehome_tests::lab::Machine) -> Result<Option<String>> {
        if !serves.port_is_open(143)? {
            return Ok(Some("Dovecot does not serve".to_owned()));
        }
        if serves.name() == "new" {
            let verified = self.rehome.run(&["verify"])?;
            if verified.status != Some(0) {
                return Ok(Some(format!("verify: {}", in_short(&verified))));
            }
            let (old, new) =
                (database::dump(self.lab.old(), "mailserver")?, database::dump(self.lab.new(), "mailserver")?);
            let rows = |dump: &str| -> Vec<String> {
                let mut rows: Vec<String> =
                    dump.lines().filter(|line| line.starts_with("INSERT")).map(str::to_owned).collect();
                rows.sort();
                rows
            };
            if rows(&old) != rows(&new) {
                return Ok(Some("the accounts on new are not those of old".to_owned()));
            }
        }
        Ok(None)
    }

    /// Types the verb, and answers, until it is done; or says why it is not.
    fn finish(&self, verb: &str, attempts: &mut usize) -> Result<Option<String>> {
        let mut said = String::new();
        while *attempts < ATTEMPTS {
            *attempts += 1;
            let words: &[&str] = if verb == "undo" { &["undo", "--yes"] } else { &["apply"] };
            let ran = self.rehome.run(words)?;
            match ran.status {
                Some(0) => return Ok(None),
                Some(5) => drop(self.rehome.run(&["answer", &self.rehome.waits_at()?, "go-on", "yes"])?),
                _ => std::thread::sleep(Duration::from_secs(1)),
            }
            said = in_short(&ran);
        }
        Ok(Some(said))
    }

    /// Runs up to the moment, lets the fault happen, and puts right what an operator would.
    fn disturb(&self, point: &Point, prepared: &mut Prepared) -> Result<Done> {
        let Way { lab, rehome, .. } = self;
        let Point { kind, moment } = point;
        if *kind == Kind::Guest {
            return self.meet_guest();
        }
        let marks = moment.marks();
        let words: &[&str] = if moment.verb == "undo" { &["undo", "--yes"] } else { &["apply"] };
        // Up to the gate, and after it.
        for _ in 0..3 {
            let mut came = 0;
            let mut acted = false;
            let ended = rehome.watch(words, &mut |line| {
                if acted || !marks.iter().all(|mark| line.contains(mark)) {
                    return Ok(());
                }
                came += 1;
                if came == moment.nth {
                    acted = true;
                    fault::act(lab, rehome, point, prepared)?;
                }
                Ok(())
            })?;
            if acted {
                // It ends by a signal where it is killed, which ssh has one status for.
                ensure!(!kind.kills() || ended.status == Some(SSH_HAS_NO_STATUS), Missed);
                return fault::mend(lab, rehome, point, prepared);
            }
            ensure!(ended.status != Some(0), Missed);
            ensure!(ended.status == Some(5), "the moment did not come: {}", in_short(&ended));
            rehome.expect(0, &["answer", &rehome.waits_at()?, "go-on", "yes"])?;
        }
        anyhow::bail!("the moment did not come")
    }

    /// A phase that does no good ends in time, and the operator goes on without it.
    fn meet_guest(&self) -> Result<Done> {
        let rehome = self.rehome;
        for _ in 0..3 {
            let ran = rehome.run(&["apply"])?;
            if ran.status == Some(5) {
                rehome.expect(0, &["answer", &rehome.waits_at()?, "go-on", "yes"])?;
                continue;
            }
            // `check` finds what only reads, and lists it; the others end `apply`.
            let said = ["phase bad: ", "phase `bad`"]
                .iter()
                .any(|name| ran.stdout.contains(name) || ran.stderr.contains(name));
            ensure!(ran.status != Some(0) && said, "nobody says what `bad` did: {ran:?}");
            rehome.plan(&plan()?)?;
            rehome.approve()?;
            return Ok(Done { operator: Some("took the phase out of the plan"), wrong: None });
        }
        anyhow::bail!("the phase `bad` was never called")
    }
}

/// What rehome said, in a line.
pub(crate) fn in_short(ran: &Ran) -> String {
    let said = if ran.stderr.trim().is_empty() { &ran.stdout } else { &ran.stderr };
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).take(8).collect();
    format!("exit {:?}: {}", ran.status, lines.join(" | "))
}
