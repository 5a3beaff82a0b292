//! Where a fault comes, and which. Invariant: a point is its text: the same text on the same code is the same fault again.

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
    /// the database of the request's side is restarted
    Database,
    /// new's disk is full, until rehome has given up
    Full,
    /// a second operator types `apply`
    Second,
    /// the component's file is damaged, and rehome killed
    Damage,
    /// 200 ms each way throughout, and rehome is killed
    Far,
}

const ALL: [Kind; 12] = [
    Kind::Kill,
    Kind::KillLater,
    Kind::PowerNew,
    Kind::PowerOld,
    Kind::Cut,
    Kind::Blink,
    Kind::Reset,
    Kind::Database,
    Kind::Full,
    Kind::Second,
    Kind::Damage,
    Kind::Far,
];

/// Which way the migration goes when the fault comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Forth,
    Back,
}

/// One fault at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) kind: Kind,
    pub(crate) moment: Moment,
    pub(crate) direction: Direction,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Kill => "kill -9",
            Kind::KillLater => "kill -9, a moment later",
            Kind::PowerNew => "power of new",
            Kind::PowerOld => "power of old",
            Kind::Cut => "link cut",
            Kind::Blink => "link cut for seconds",
            Kind::Reset => "RST",
            Kind::Database => "database restarted",
            Kind::Full => "disk of new full",
            Kind::Second => "second operator",
            Kind::Damage => "component damaged",
            Kind::Far => "200 ms and kill -9",
        }
    }

    /// Whether it makes sense then.
    fn fits(self, moment: &Moment) -> bool {
        let request = moment.request.as_deref().unwrap_or_default();
        match self {
            Kind::Database => ["sql.", "copy.", "snapshot.", "schema."].iter().any(|kind| request.starts_with(kind)),
            Kind::Full => request.starts_with("sync.") && moment.is_effect,
            // With a killed or reset link what is asked of old is what matters.
            Kind::Cut | Kind::Blink | Kind::Reset | Kind::PowerOld => {
                moment.request.is_some() && moment.side.as_deref() != Some("new")
            }
            Kind::KillLater | Kind::Far => moment.is_effect,
            _ => true,
        }
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

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at `{}`", self.kind.name(), self.moment)
    }
}

/// So many points, the kinds in turn, so that each is there once before one is there twice; the moments by the seed.
pub(crate) fn sample(seed: u64, count: usize, moments: &[Moment]) -> Vec<Point> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut points: Vec<Point> = Vec::new();
    let mut decks: Vec<Vec<Moment>> = ALL.iter().map(|_| Vec::new()).collect();
    // A kind that fits nowhere has no turn.
    for turn in 0..count * 2 + ALL.len() {
        if points.len() == count {
            break;
        }
        let at = turn % ALL.len();
        let kind = ALL[at];
        if decks[at].is_empty() {
            // Every moment once before one comes again.
            decks[at] = moments.iter().filter(|moment| kind.fits(moment)).cloned().collect();
            random.shuffle(&mut decks[at]);
        }
        let Some(moment) = decks[at].pop() else { continue };
        let direction = if moment.verb == "undo" { Direction::Back } else { Direction::Forth };
        points.push(Point { kind, moment, direction });
    }
    points
}

/// xorshift64: the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            let with = usize::try_from(self.next() % (at as u64 + 1)).unwrap_or_default();
            items.swap(at, with);
        }
    }
}
