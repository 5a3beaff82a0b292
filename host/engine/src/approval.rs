//! What the components ask for against what `plan.lock` grants. Invariant: a phase is approved only if its component's file
//! and every request of it are the very ones the operator was shown; which requests were granted is then the operator's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rehome_gatekeeper::types::{Effect, SideName};
use rehome_gatekeeper::{DatabasePlace, clock};
use rehome_manifest::Request;
use rehome_remote::Target;
use serde::Serialize;

use crate::error::{Error, Explanation, UsageError};
use crate::lock::{Lock, LockedPhase, LockedRequest};
use crate::phases::{Phase, short};
use crate::plan::Plan;
use crate::publisher::{Publisher, is_older};

/// How a request stands to what was approved last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "standing", rename_all = "kebab-case")]
pub enum Standing {
    /// granted, and still the same
    Granted,
    /// shown and not granted, and still the same
    Denied,
    /// not shown before
    New,
    /// it was this when it was shown
    Changed {
        /// "read on old"
        effect: String,
        /// verbatim
        text: String,
    },
}

/// One phase, as `approve` shows it.
#[derive(Clone, Debug)]
pub struct Asking {
    /// the phase
    pub phase: Phase,
    /// by id
    pub requests: Vec<(Request, Standing)>,
    /// what was approved and is no longer asked for: id and text
    pub gone: Vec<(String, String)>,
    /// the digest that was approved, if the component's file is another one now
    pub former_digest: Option<String>,
    /// the version that was approved, if the component's file is an older one now
    pub newer: Option<String>,
    /// who had signed what was approved, if that is not who signed the file that is there now
    pub former_publisher: Option<Publisher>,
    /// nothing was ever approved for it
    pub first: bool,
}

/// Everything a plan's phases ask for.
#[derive(Clone, Debug)]
pub struct Approval {
    /// in the plan's order
    pub phases: Vec<Asking>,
    /// phases in the lock that the plan does not have any more
    pub left_over: Vec<String>,
    /// what copies need beside requests
    pub let_in: Vec<LetIn>,
    /// accounts of databases that read for phases and can do more
    pub strong_readers: Vec<StrongReader>,
    path: PathBuf,
    lock: Lock,
}

/// A side that lets the other one in for copies, with a key that is made for it, so that what is copied does not pass through
/// this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LetIn {
    /// who lets in: what is copied is there
    pub side: SideName,
    /// who is let in
    pub other: SideName,
}

/// A database from which is read with an account that can do more than read: what a statement that is requested as a read does
/// is then bounded by a read-only transaction and a lint, and not by the account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct StrongReader {
    /// where
    pub side: SideName,
    /// its name
    pub database: String,
    /// who reads
    pub user: String,
}

impl StrongReader {
    /// Each database that a phase reads from, on each side, without a `read-user` in the plan; in order.
    fn all(plan: &Plan, phases: &[Phase]) -> Vec<StrongReader> {
        let manifests = phases.iter().map(|phase| &phase.filled.manifest);
        let read = manifests.flat_map(|manifest| {
            let queries = manifest.sql.values().filter(|sql| sql.effect == Effect::Read);
            let queries = queries.flat_map(|sql| sql.on.iter().map(|side| (*side, &sql.database)));
            queries.chain(manifest.copy.values().map(|copy| (SideName::Old, &copy.database)))
        });
        let mut found = BTreeSet::new();
        for (side, database) in read {
            let place = plan.side(side).databases.get(database).cloned().unwrap_or_default();
            if let DatabasePlace::MySql { account, reader: None, .. }
            | DatabasePlace::Postgres { account, reader: None, .. } = place
            {
                found.insert(StrongReader { side, database: database.clone(), user: account.user });
            }
        }
        found.into_iter().collect()
    }
}

impl LetIn {
    /// Where both sides are reached over ssh and the plan does not forbid it; in order.
    fn all(plan: &Plan, phases: &[Phase]) -> Vec<LetIn> {
        let is_far = |name| matches!(plan.side(name).target, Target::Ssh { .. });
        let syncs = phases.iter().flat_map(|phase| phase.filled.manifest.sync.values());
        let ways = syncs.map(|sync| LetIn { side: sync.source(), other: sync.to });
        let open = ways
            .filter(|way| way.side != way.other && is_far(way.side) && is_far(way.other))
            .filter(|way| plan.side(way.side).options.direct);
        open.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// What not to grant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Less {
    /// only these, if there are any
    pub only: Vec<String>,
    /// not these
    pub deny: Vec<String>,
    /// phases whose components may be older than what was approved
    pub older: Vec<String>,
}

/// A plan whose phases are not approved as they are now.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what}")]
pub struct NotApproved {
    what: String,
    /// what differs; a line each
    pub lines: Vec<String>,
    hint: String,
}

impl Asking {
    fn of(phase: &Phase, locked: Option<&LockedPhase>) -> Asking {
        let requests = phase.filled.requests.values().map(|request| {
            let shown = |map: &BTreeMap<String, LockedRequest>| map.get(&request.id).cloned();
            let granted = locked.and_then(|locked| shown(&locked.grants));
            let denied = locked.and_then(|locked| shown(&locked.denied));
            let standing = match (granted, denied) {
                (Some(granted), _) if granted.digest == request.digest => Standing::Granted,
                (_, Some(denied)) if denied.digest == request.digest => Standing::Denied,
                (Some(former), _) | (None, Some(former)) => {
                    Standing::Changed { effect: former.effect, text: former.text }
                }
                (None, None) => Standing::New,
            };
            (request.clone(), standing)
        });
        let requests: Vec<_> = requests.collect();
        let gone = locked.into_iter().flat_map(|locked| locked.grants.iter().chain(&locked.denied));
        let gone = gone.filter(|(id, _)| !phase.filled.requests.contains_key(*id));
        let gone = gone.map(|(id, request)| (id.clone(), request.text.clone())).collect();
        let former_digest = locked.map(|locked| locked.digest.clone()).filter(|digest| *digest != phase.digest);
        let manifest = &phase.filled.manifest;
        let same = locked.filter(|locked| locked.component == manifest.name);
        let newer = same.map(|locked| locked.component_version.clone());
        let newer = newer.filter(|approved| is_older(&manifest.version, approved));
        let former = locked.and_then(|locked| locked.publisher.clone());
        let former_publisher = former.filter(|former| phase.signed.publisher() != Some(former));
        let first = locked.is_none();
        Asking { phase: phase.clone(), requests, gone, former_digest, newer, former_publisher, first }
    }

    /// Whether the operator has seen all of it as it is now.
    pub fn approved(&self) -> bool {
        let seen = |standing: &Standing| matches!(standing, Standing::Granted | Standing::Denied);
        !self.first && self.former_digest.is_none() && self.requests.iter().all(|(_, standing)| seen(standing))
    }

    /// The ids that are granted.
    pub fn grants(&self) -> BTreeSet<String> {
        let granted = self.requests.iter().filter(|(_, standing)| *standing == Standing::Granted);
        granted.map(|(request, _)| request.id.clone()).collect()
    }

    /// What differs from what was approved, for an error; before and after, verbatim.
    fn differences(&self) -> Vec<String> {
        let name = format!("phase `{}` (component {})", self.phase.id(), self.phase.component());
        if self.first {
            return vec![format!("{name}: was never approved; it asks for {}", count(self.requests.len(), "request"))];
        }
        let mut lines = Vec::new();
        let same = |standing: &Standing| matches!(standing, Standing::Granted | Standing::Denied);
        let requests_same = self.requests.iter().all(|(_, standing)| same(standing));
        if let Some(former) = &self.former_digest {
            let only = if requests_same && self.gone.is_empty() {
                "; it asks for the same, only its code changed"
            } else {
                ""
            };
            lines.push(format!(
                "{name}: its file is another one: {} was approved, {} is there{only}",
                short(former),
                short(&self.phase.digest)
            ));
        }
        if let Some(newer) = &self.newer {
            let version = &self.phase.filled.manifest.version;
            lines.push(format!("{name}: it is older than what was approved: {newer} was approved, {version} is there"));
        }
        if let Some(former) = &self.former_publisher {
            lines.push(format!("{name}: `{}` had signed what was approved, and has not signed this", former.name));
        }
        for (request, standing) in &self.requests {
            let effect = crate::lock::effect_of(request);
            match standing {
                Standing::Granted | Standing::Denied => {}
                Standing::New => {
                    lines.push(format!("{name}: `{}` is new:", request.id));
                    lines.extend(marked("+", &effect, &request.text));
                }
                Standing::Changed { effect: former_effect, text } => {
                    lines.push(format!("{name}: `{}` is not what was approved:", request.id));
                    lines.extend(marked("-", former_effect, text));
                    lines.extend(marked("+", &effect, &request.text));
                }
            }
        }
        lines
    }
}

fn marked(mark: &str, effect: &str, text: &str) -> Vec<String> {
    let mut lines = vec![format!("  {mark} {effect}")];
    lines.extend(text.lines().map(|line| format!("  {mark} {line}")));
    lines
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

impl Approval {
    /// What `phases` of `plan` ask for, against the lock at `path`.
    pub(crate) fn of(plan: &Plan, phases: &[Phase], lock: Lock, path: &Path) -> Approval {
        let asking = phases.iter().map(|phase| Asking::of(phase, lock.phases.get(phase.id()))).collect();
        let known = |id: &String| phases.iter().any(|phase| phase.id() == id);
        let left_over = lock.phases.keys().filter(|id| !known(id)).cloned().collect();
        Approval {
            phases: asking,
            left_over,
            let_in: LetIn::all(plan, phases),
            strong_readers: StrongReader::all(plan, phases),
            path: path.to_path_buf(),
            lock,
        }
    }

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is nothing to approve.
    pub fn complete(&self) -> bool {
        self.left_over.is_empty() && self.phases.iter().all(|asking| asking.approved() && asking.gone.is_empty())
    }

    /// Refuses unless every phase is approved as it is now.
    pub(crate) fn require(&self) -> Result<(), NotApproved> {
        let missing: Vec<&Asking> = self.phases.iter().filter(|asking| !asking.approved()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let what = match missing.as_slice() {
            [one] => format!("phase `{}` is not approved", one.phase.id()),
            _ if missing.len() == self.phases.len() => "the plan is not approved".to_string(),
            _ => format!("{} phases are not approved", missing.len()),
        };
        let mut lines: Vec<String> = missing.iter().flat_map(|asking| asking.differences()).collect();
        lines.push("nothing was done".into());
        let hint = "read what is asked for and grant it: `rehome approve`".into();
        Err(NotApproved { what, lines, hint })
    }

    /// Writes the lock: everything that was shown is granted, but for `less`. `now`: UTC, seconds since 1970.
    /// Answers how many requests are granted, and how many are not.
    ///
    /// # Errors
    /// `less` names a request that nobody asks for; the lock cannot be written.
    pub fn grant(&self, less: &Less, who: &str, now: u64) -> Result<(usize, usize), Error> {
        self.known(less)?;
        self.not_older(less)?;
        let mut lock = Lock::default();
        let (mut granted, mut withheld) = (0, 0);
        for asking in &self.phases {
            let phase = &asking.phase;
            let mut locked = LockedPhase {
                component: phase.filled.manifest.name.clone(),
                component_version: phase.filled.manifest.version.clone(),
                digest: phase.digest.clone(),
                publisher: phase.signed.publisher().cloned(),
                api: phase.filled.manifest.api.clone(),
                approved_by: who.to_string(),
                approved_at: clock::utc(now),
                grants: BTreeMap::new(),
                denied: BTreeMap::new(),
            };
            for (request, _) in &asking.requests {
                let grant = less.grants(phase.id(), &request.id);
                *(if grant { &mut granted } else { &mut withheld }) += 1;
                let map = if grant { &mut locked.grants } else { &mut locked.denied };
                map.insert(request.id.clone(), LockedRequest::of(request));
            }
            // What is the same stays as it was, word for word: the lock's history shows only what changed.
            if let Some(former) = self.lock.phases.get(phase.id()) {
                let LockedPhase { approved_by, approved_at, .. } = former.clone();
                let same = LockedPhase { approved_by, approved_at, ..locked.clone() };
                if same == *former {
                    locked = same;
                }
            }
            lock.phases.insert(phase.id().to_string(), locked);
        }
        lock.write(&self.path)?;
        Ok((granted, withheld))
    }

    /// Refuses a component that is older than what was approved: a signature stays good for ever, also of a version whose
    /// faults are known.
    pub fn not_older(&self, less: &Less) -> Result<(), NotApproved> {
        let older = |asking: &&Asking| asking.newer.is_some() && !less.older.iter().any(|id| id == asking.phase.id());
        let Some(asking) = self.phases.iter().find(older) else { return Ok(()) };
        let id = asking.phase.id();
        let hint = format!("get the newer one; if the older one is what you want: `rehome approve --older {id}`");
        let mut lines = asking.differences();
        lines.push("nothing was granted".into());
        Err(NotApproved { what: format!("phase `{id}`: its component is older than what was approved"), lines, hint })
    }

    /// Refuses names in `less` that mean nothing, before anybody is asked anything.
    pub fn known(&self, less: &Less) -> Result<(), UsageError> {
        let mut names: Vec<String> = Vec::new();
        for asking in &self.phases {
            for (request, _) in &asking.requests {
                names.push(request.id.clone());
                names.push(format!("{}:{}", asking.phase.id(), request.id));
            }
        }
        for id in &less.older {
            if !self.phases.iter().any(|asking| asking.phase.id() == id) {
                let ids = self.phases.iter().map(|asking| asking.phase.id());
                return Err(UsageError::unknown("phase", id, ids));
            }
        }
        for name in less.only.iter().chain(&less.deny) {
            if !names.contains(name) {
                let near = crate::nearest::nearest(name, names.iter().map(String::as_str));
                return Err(UsageError {
                    what: format!("no phase of this plan asks for `{name}`"),
                    more: vec![
                        "a request is named by its id (exec.stop), or by phase and id (mail-hot:exec.stop)".into(),
                    ],
                    hint: near.map(|near| format!("did you mean `{near}`?")),
                });
            }
        }
        Ok(())
    }
}

impl Less {
    /// Whether it leaves anything out.
    pub fn is_less(&self) -> bool {
        !self.only.is_empty() || !self.deny.is_empty()
    }

    fn grants(&self, phase: &str, id: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|name| name == id || *name == format!("{phase}:{id}"));
        (self.only.is_empty() || named(&self.only)) && !named(&self.deny)
    }
}

impl NotApproved {
    pub(crate) fn explain(&self) -> Explanation {
        let mut explanation = Explanation::of(self.to_string());
        explanation.context = self.lines.clone();
        explanation.hint(&self.hint)
    }
}
