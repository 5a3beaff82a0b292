//! Where a fault comes, and which. Invariant: a point is its text: the same text on the same code is the same fault again.

use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt;

/// What rehome was doing, as an event of the undisturbed run has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Moment {
    /// "apply" or "undo"
    pub(crate) verb: String,
    pub(crate) phase: String,
    /// none: the phase itself begins
    pub(crate) request: Option<String>,
    /// which one of those with this request in this phase, from 1
    pub(crate) nth: usize,
    /// it changes something
    pub(crate) is_effect: bool,
    pub(crate) side: Option<String>,
}

/// Which fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// rehome is killed when the request begins, and what it asked for elsewhere goes on
    Kill,
    /// rehome is killed a moment later
    KillLater,
    /// rehome is killed when it enters the third write(2) after that
    KillAtWrite,
    /// the next fsync(2), or one like it
    KillAtSync,
    /// the next rename(2)
    KillAtRename,
    /// the machine that rehome runs on, new, loses power
    PowerNew,
    /// old loses power
    PowerOld,
    /// old's link is silent for good, until rehome has given up
    Cut,
    /// old's link is silent for some seconds
    Blink,
    /// all connections of old are reset
    Reset,
    /// old's link is 200 ms long and carries 5 MB/s, and rehome is killed
    Far,
    /// the database server of the side is restarted
    Database,
    /// no space is left where new keeps mail
    Full,
    /// no inodes are
    Inodes,
    /// messages get other names, and some are gone
    Vanish,
    /// rehome is killed, and when it is started again its clock has jumped by a day
    Clock,
    /// somebody else types `apply`, too
    Second,
    /// rehome is killed, and a component is not what was approved when it is started again
    Damage,
    /// a phase computes, recurses, takes memory or prints without end
    Guest,
    /// names that no terminal should see, and rehome is killed
    Names,
}

/// How many there are.
pub(crate) const KINDS: usize = 20;

/// In the order of their turns.
const ALL: [Kind; KINDS] = [
    Kind::Kill,
    Kind::KillLater,
    Kind::KillAtWrite,
    Kind::KillAtSync,
    Kind::KillAtRename,
    Kind::PowerNew,
    Kind::PowerOld,
    Kind::Cut,
    Kind::Blink,
    Kind::Reset,
    Kind::Far,
    Kind::Database,
    Kind::Full,
    Kind::Inodes,
    Kind::Vanish,
    Kind::Clock,
    Kind::Second,
    Kind::Damage,
    Kind::Guest,
    Kind::Names,
];

/// Which way the migration goes when the fault comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    Forth,
    Back,
}

/// One fault at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) kind: Kind,
    pub(crate) moment: Moment,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Kill => "kill -9",
            Kind::KillLater => "kill -9, a moment later",
            Kind::KillAtWrite => "kill -9 at a write(2)",
            Kind::KillAtSync => "kill -9 at an fsync(2)",
            Kind::KillAtRename => "kill -9 at a rename(2)",
            Kind::PowerNew => "power of new",
            Kind::PowerOld => "power of old",
            Kind::Cut => "link cut",
            Kind::Blink => "link cut for seconds",
            Kind::Reset => "RST",
            Kind::Far => "200 ms, 5 MB/s and kill -9",
            Kind::Database => "database restarted",
            Kind::Full => "disk of new full",
            Kind::Inodes => "inodes of new out",
            Kind::Vanish => "messages renamed and gone",
            Kind::Clock => "clock jumps by a day",
            Kind::Second => "second operator",
            Kind::Damage => "component damaged",
            Kind::Guest => "guest that does not end",
            Kind::Names => "hostile names and kill -9",
        }
    }

    /// Whether mail servers may not have had the answer to what they delivered.
    pub(crate) fn cuts_servers_off(self) -> bool {
        matches!(self, Kind::PowerNew | Kind::PowerOld | Kind::Cut | Kind::Blink | Kind::Reset)
    }

    /// Whether new's disk bears it that this one was there before: a small file system in memory ends with its machine.
    pub(crate) fn may_follow(self, former: Kind) -> bool {
        !(self == Kind::PowerNew && matches!(former, Kind::Full | Kind::Inodes))
    }

    /// Whether rehome is killed by it.
    pub(crate) fn kills(self) -> bool {
        let at_once = matches!(self, Kind::Kill | Kind::Clock | Kind::Damage | Kind::Names);
        at_once || self.kills_later()
    }

    /// Whether rehome may be done before it is killed.
    fn kills_later(self) -> bool {
        matches!(self, Kind::KillLater | Kind::KillAtWrite | Kind::KillAtSync | Kind::KillAtRename | Kind::Far)
    }

    /// Whether it makes sense then.
    fn fits(self, moment: &Moment) -> bool {
        let request = moment.request.as_deref().unwrap_or_default();
        let copies = request.starts_with("sync.") && moment.is_effect;
        let forth = moment.direction() == Direction::Forth;
        match self {
            Kind::Database => ["sql.", "copy.", "snapshot.", "schema."].iter().any(|kind| request.starts_with(kind)),
            // In the hot pass, and before the cold one, which then has something to bring.
            Kind::Full | Kind::Inodes => forth && (copies && moment.phase == "mail-hot" || moment.stops_mail()),
            Kind::KillAtRename => copies,
            // Once mail has stopped nobody deletes any: what is gone then is rightly missed.
            Kind::Vanish => copies && !(forth && moment.phase == "mail-cold"),
            // With a killed or reset link what is asked of old is what matters.
            Kind::Cut | Kind::Blink | Kind::Reset | Kind::PowerOld => {
                moment.request.is_some() && moment.side.as_deref() != Some("new")
            }
            Kind::KillLater | Kind::KillAtWrite | Kind::KillAtSync | Kind::Far | Kind::Clock => moment.is_effect,
            Kind::Guest => moment.request.is_none() && forth,
            Kind::Names => forth,
            Kind::Kill | Kind::PowerNew | Kind::Second | Kind::Damage => true,
        }
    }
}

impl Moment {
    pub(crate) fn direction(&self) -> Direction {
        if self.verb == "undo" { Direction::Back } else { Direction::Forth }
    }
}

impl Moment {
    /// What comes now is copied by the cold pass.
    pub(crate) fn stops_mail(&self) -> bool {
        self.phase == "dovecot-stop" && self.request.as_deref() == Some("exec.stop")
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.phase)?;
        match &self.request {
            Some(request) => write!(f, " {request} #{}", self.nth),
            None => f.write_str(" begins"),
        }
    }
}

impl Point {
    /// What is tried where this one did not come: the same when rehome first does that, as what it does again it does only
    /// where there is need; where a kill came too late then, too, one at once; and where rehome was done before anything could
    /// happen, the moment before.
    pub(crate) fn instead(&self, moments: &[Moment]) -> Option<Point> {
        let Point { kind, moment } = self;
        let first = Moment { nth: 1, ..moment.clone() };
        if moment.nth > 1 {
            return Some(Point { kind: *kind, moment: first });
        }
        if kind.kills_later() {
            return Some(Point { kind: Kind::Kill, moment: first });
        }
        let before = moments.iter().take_while(|other| *other != moment);
        let fits = |other: &&Moment| other.direction() == moment.direction() && kind.fits(other);
        before.filter(fits).last().map(|earlier| Point { kind: *kind, moment: earlier.clone() })
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at `{}`", self.kind.name(), self.moment)
    }
}

/// So many points, the kinds in turn, so that each is there once before one is there twice, and about as many on the way there as
/// on the way back, as far as they fit there, each kind now this way and now that; the moments by the seed.
pub(crate) fn sample(seed: u64, count: usize, moments: &[Moment]) -> Vec<Point> {
    let mut decks: HashMap<(usize, Direction), Vec<Moment>> = HashMap::new();
    let mut points: Vec<Point> = Vec::new();
    // A kind that fits nowhere has no turn.
    for turn in 0..count * 2 + KINDS {
        if points.len() == count {
            break;
        }
        let (at, kind) = (turn % KINDS, ALL[turn % KINDS]);
        let mut draw = |direction: Direction| {
            let deck = decks.entry((at, direction)).or_default();
            if deck.is_empty() {
                // Every moment once before one comes again.
                let fits = |moment: &&Moment| moment.direction() == direction && kind.fits(moment);
                *deck = moments.iter().filter(fits).cloned().collect();
                deck.sort_by_cached_key(|moment| chance(seed, turn, kind, moment));
            }
            deck.pop()
        };
        // Some fit on the way there only: five of eight others go back. By three a round, so that each kind has each turn.
        let back_is_next = (at as u64 + 3 * (turn / KINDS) as u64 + seed) % 8 < 5;
        let [first, second] =
            if back_is_next { [Direction::Back, Direction::Forth] } else { [Direction::Forth, Direction::Back] };
        let Some(moment) = draw(first).or_else(|| draw(second)) else { continue };
        points.push(Point { kind, moment });
    }
    points
}

/// Where a moment is in its deck: the same for the same words, whatever else there is, as two undisturbed runs are not quite alike.
fn chance(seed: u64, turn: usize, kind: Kind, moment: &Moment) -> [u8; 32] {
    Sha256::digest(format!("{seed} {turn} {} {moment}", kind.name())).into()
}
