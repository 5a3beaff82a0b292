//! One migration with one fault, and what became of it.

use super::oracle::{Holdings, Verdict, judge};
use super::point::{Direction, Kind, Moment, Point};
use crate::rehome::{Reach, Rehome, mail_only};
use anyhow::{Context, Result, ensure};
use rehome_tests::lab::{Lab, LabSpec};
use rehome_tests::seed::accounts;
use rehome_tests::traffic::Traffic;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

/// So often `apply` is typed again: once, and as often as a gate, a lock or a machine that just booted may ask for.
const ATTEMPTS: usize = 8;

/// What became of one point.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) lost: usize,
    pub(crate) doubled: usize,
    pub(crate) stuck: bool,
    /// what the operator had to say, beside the answers of the plan
    pub(crate) operator: Option<String>,
    pub(crate) attempts: usize,
    pub(crate) why: Option<String>,
}

impl Outcome {
    pub(crate) fn failed(error: &anyhow::Error) -> Outcome {
        Outcome { stuck: true, why: Some(format!("{error:#}")), ..Outcome::default() }
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

fn start() -> Result<Lab> {
    Lab::start(&LabSpec::pair().ssh_keys_on("new"))
}

fn install(lab: &Lab) -> Result<Rehome<'_>> {
    let rehome = Rehome::install(lab.new(), &mail_only(&Reach::Ssh("old"), &Reach::Local)?)?;
    rehome.approve()?;
    Ok(rehome)
}

/// The moments of an undisturbed migration and of its way back, in their order.
pub(crate) fn record() -> Result<Vec<Moment>> {
    let lab = start()?;
    let rehome = install(&lab)?;
    let mut moments = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut note = |line: &str| moments.extend(moment(line, &mut seen));
    for (words, status) in [(&["apply"][..], 5), (&["answer", "downtime", "go-on", "yes"], 0), (&["apply"], 0)] {
        let ended = rehome.watch(words, &mut |line| {
            note(line);
            Ok(())
        })?;
        ensure!(ended.status == Some(status), "rehome {words:?} ended with {ended:?}");
    }
    let ended = rehome.watch(&["undo", "--yes"], &mut |line| {
        note(line);
        Ok(())
    })?;
    ensure!(ended.status == Some(0), "rehome undo ended with {ended:?}");
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

/// The migration with this fault.
pub(crate) fn survive(point: &Point) -> Result<Outcome> {
    let lab = start()?;
    let before = Holdings::of(lab.old())?;
    let rehome = install(&lab)?;
    let recipients: Vec<&str> = accounts().users.iter().map(|user| user.email.as_str()).take(12).collect();
    let traffic = Traffic::start(&lab, lab.old(), "sweep", 3.0, &recipients)?;
    let far = match point.kind {
        Kind::Far => Some(lab.link_delay("old", Duration::from_millis(200))?),
        _ => None,
    };
    let mut attempts = 0;
    if point.direction == Direction::Back {
        ensure!(finish(&rehome, "apply", &mut attempts)?.is_none(), "without a fault it did not come to its end");
        attempts = 0;
    }
    let verb = point.moment.verb.as_str();
    let came = disturb(&lab, &rehome, point)?;
    ensure!(came, "the moment did not come again");
    let why = finish(&rehome, verb, &mut attempts)?;
    drop(far);
    let sent = traffic.stop()?;
    ensure!(sent.accepted().count() > 5, "too few mails were accepted to prove anything: {sent:?}");
    // What was under way in Postfix at that moment is delivered, or back in a queue.
    std::thread::sleep(Duration::from_secs(1));
    let (serves, other) = match point.direction {
        Direction::Forth => (lab.new(), lab.old()),
        Direction::Back => (lab.old(), lab.new()),
    };
    let (serves, other) = (Holdings::of(serves)?, Holdings::of(other)?);
    let Verdict { lost, doubled } = judge(&before, &serves, &other, &sent);
    let stuck = why.is_some();
    let mut said: Vec<String> = why.into_iter().collect();
    said.extend(lost.iter().take(3).map(|mail| format!("lost: {mail}")));
    said.extend(doubled.iter().take(3).map(|mail| format!("doubled: {mail}")));
    if !serves.unfinished.is_empty() {
        said.push(format!("unfinished: {}", serves.unfinished.join(", ")));
    }
    let port = if point.direction == Direction::Forth { lab.new() } else { lab.old() };
    if !stuck && !port.port_is_open(143)? {
        said.push("Dovecot does not serve".to_owned());
    }
    let stuck = stuck || said.iter().any(|text| text.starts_with("unfinished") || text.starts_with("Dovecot"));
    Ok(Outcome {
        lost: lost.len(),
        doubled: doubled.len(),
        stuck,
        operator: None,
        attempts,
        why: (!said.is_empty()).then(|| said.join("; ")),
    })
}

/// Types the verb, and answers, until it is done; or says why it is not.
fn finish(rehome: &Rehome<'_>, verb: &str, attempts: &mut usize) -> Result<Option<String>> {
    let mut said = String::new();
    while *attempts < ATTEMPTS {
        *attempts += 1;
        let words: &[&str] = if verb == "undo" { &["undo", "--yes"] } else { &["apply"] };
        let ran = rehome.run(words)?;
        match ran.status {
            Some(0) => return Ok(None),
            Some(5) => drop(rehome.run(&["answer", &rehome.waits_at()?, "go-on", "yes"])?),
            _ => std::thread::sleep(Duration::from_secs(1)),
        }
        said = ran.stderr;
    }
    Ok(Some(said.lines().filter(|line| !line.is_empty()).take(6).collect::<Vec<_>>().join(" | ")))
}

/// Runs up to the moment, lets the fault happen, and puts right what an operator would: a cable, a machine, a disk. Answers
/// whether the moment came.
fn disturb(lab: &Lab, rehome: &Rehome<'_>, point: &Point) -> Result<bool> {
    let Point { kind, moment, .. } = point;
    let marks = moment.marks();
    let marks: Vec<&str> = marks.iter().map(String::as_str).collect();
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
                act(lab, rehome, *kind, moment)?;
            }
            Ok(())
        })?;
        if acted {
            mend(lab, rehome, *kind)?;
            return Ok(true);
        }
        if ended.status != Some(5) {
            return Ok(false);
        }
        rehome.expect(0, &["answer", &rehome.waits_at()?, "go-on", "yes"])?;
    }
    Ok(false)
}

const KILL: &str = "pkill -KILL -x rehome || true";

/// The fault itself.
fn act(lab: &Lab, rehome: &Rehome<'_>, kind: Kind, moment: &Moment) -> Result<()> {
    let new = lab.new();
    match kind {
        Kind::Kill | Kind::Far => new.sh(KILL).map(drop),
        Kind::KillLater => new.sh(&format!("sleep 0.2; {KILL}")).map(drop),
        Kind::PowerNew => lab.power_off("new"),
        Kind::PowerOld => lab.power_off("old"),
        Kind::Cut => lab.link_cut("old"),
        Kind::Blink => {
            lab.link_cut("old")?;
            std::thread::sleep(Duration::from_secs(2));
            lab.link_heal("old")
        }
        Kind::Reset => lab.link_reset("old"),
        Kind::Database => {
            let side = if moment.side.as_deref() == Some("new") { lab.new() } else { lab.old() };
            side.sh("systemctl restart mariadb").map(drop)
        }
        Kind::Full => new.sh("dd if=/dev/zero of=/var/vmail/.full bs=1M 2>/dev/null || true").map(drop),
        Kind::Second => {
            let second = rehome.run(&["apply"])?;
            ensure!(second.status == Some(7), "a second operator was let in: {second:?}");
            ensure!(second.stderr.contains("root"), "it is not said who is at work: {}", second.stderr);
            Ok(())
        }
        Kind::Damage => new
            .sh(&format!("cd /root/rehome; cp -a components kept; printf x >> components/maildir.wasm; {KILL}"))
            .map(drop),
    }
}

/// Afterwards.
fn mend(lab: &Lab, rehome: &Rehome<'_>, kind: Kind) -> Result<()> {
    let booted = |name: &str| -> Result<()> {
        // Its processes are gone; its disk is as it was.
        lab.boot(name).with_context(|| format!("{name} does not boot again"))
    };
    match kind {
        Kind::PowerNew => booted("new"),
        Kind::PowerOld => booted("old"),
        Kind::Cut => lab.link_heal("old"),
        Kind::Full => {
            let refused = rehome.run(&["apply"])?;
            ensure!(refused.status != Some(0), "a full disk was no trouble");
            ensure!(
                refused.stderr.contains("space") || refused.stderr.contains("full"),
                "it is not said that the disk is full: {}",
                refused.stderr
            );
            lab.new().sh("rm -f /var/vmail/.full").map(drop)
        }
        Kind::Damage => {
            let refused = rehome.run(&["apply"])?;
            ensure!(refused.status == Some(8), "a damaged component was run: {refused:?}");
            lab.new().sh("cd /root/rehome; rm -r components; mv kept components").map(drop)
        }
        _ => Ok(()),
    }
}
