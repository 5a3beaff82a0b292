//! Records and claims on two machines that are this one, each with a root of its own: what the real program on real perl does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rehome_gatekeeper::types::{SideName, Verb};
use rehome_gatekeeper::{Clock, Fence, Journal};
use rehome_remote::{Options, Side, Target};

use super::claim::{Claim, Claimant};
use super::record::{Place, Record, Seen, Swapped, look, swap};
use super::{Known, Machine, SidesError};
use crate::error::{Error, ErrorKind};

/// Two machines, with their ids.
struct Pair {
    folder: tempfile::TempDir,
    here: Side,
}

/// A state, on its own place.
struct State {
    _folder: tempfile::TempDir,
    journal: Arc<Journal>,
    known: Known,
}

impl Pair {
    async fn new() -> Pair {
        let folder = tempfile::tempdir().unwrap();
        for (name, digit) in [("old", "a"), ("new", "b")] {
            let root = folder.path().join(name);
            std::fs::create_dir_all(root.join("etc")).unwrap();
            std::fs::create_dir_all(root.join("var/lib")).unwrap();
            std::fs::write(root.join("etc/machine-id"), digit.repeat(32) + "\n").unwrap();
        }
        let here = Side::connect(&Target::Local, &Options::default()).await.unwrap();
        Pair { folder, here }
    }

    fn root(&self, side: SideName) -> PathBuf {
        self.folder.path().join(side.as_str())
    }

    async fn look(&self) -> Vec<Machine> {
        let mut machines = Vec::new();
        for side in super::SIDES {
            machines.push(Machine::look(&self.here, side, &self.root(side)).await.unwrap().unwrap());
        }
        machines
    }

    fn record(&self, side: SideName, id: &str) -> Option<Record> {
        let text = std::fs::read(self.root(side).join("var/lib/rehome").join(id)).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    }

    async fn claim(&self, state: &State, take_over: bool) -> Result<Claim, Error> {
        let clock = Clock::ahead_by(Duration::ZERO);
        let claimant = Claimant { who: &state.known.place.host, verb: Verb::Apply, clock: &clock, take_over };
        let mut known = state.known.clone();
        known.mark = state.journal.mark().await.unwrap();
        known.epoch = state.journal.fact("epoch").await.unwrap().unwrap().parse().unwrap();
        for side in super::SIDES {
            let left = state.journal.fact(&super::fact("record", side)).await.unwrap();
            known.left[super::at(side)] = left.map(|text| text.parse().unwrap());
        }
        Claim::take(self.look().await, known, state.journal.clone(), &claimant).await
    }
}

impl State {
    async fn new(host: &str, plan: &str) -> State {
        let folder = tempfile::tempdir().unwrap();
        let journal = Arc::new(Journal::open(folder.path()).await.unwrap());
        let place = Place { host: host.into(), machine: None, folder: "/root/.rehome".into() };
        let mut known = Known::nothing(plan.into(), place);
        known.id = journal.fact("id").await.unwrap().unwrap();
        known.epoch = 1;
        State { _folder: folder, journal, known }
    }

    /// As one that was copied to another machine.
    async fn copied(&self, host: &str) -> State {
        let copy = State::new(host, &self.known.plan).await;
        for key in ["id", "epoch", "working", "record.old", "record.new"] {
            let fact = self.journal.fact(key).await.unwrap();
            copy.journal.keep_fact(key, fact.as_deref()).await.unwrap();
        }
        while copy.journal.mark().await.unwrap() < self.journal.mark().await.unwrap() {
            copy.journal.own("copied", None, Verb::Apply, &[]).await.unwrap();
        }
        let mut known = copy.known.clone();
        known.id = self.known.id.clone();
        State { known, ..copy }
    }
}

fn refused(result: Result<Claim, Error>) -> (ErrorKind, String) {
    let Err(error) = result else { panic!("it was claimed") };
    let said = error.explain();
    (error.kind(), [vec![said.headline], said.context, vec![said.hint.unwrap_or_default()]].concat().join("\n"))
}

#[tokio::test]
async fn a_claim_is_on_both_sides_until_it_is_let_go_and_its_own_state_goes_on_with_it() {
    let (pair, state) = (Pair::new().await, State::new("new", "plan").await);
    let claim = pair.claim(&state, false).await.unwrap();
    for side in super::SIDES {
        let record = pair.record(side, &state.known.id).unwrap();
        assert!(record.at_work && record.epoch == 1 && record.mark == 1, "{record:?}");
        assert_eq!((record.old, record.new), (Some("a".repeat(32)), Some("b".repeat(32))));
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder = pair.root(side).join("var/lib/rehome");
        assert_eq!((mode(folder.clone()), mode(folder.join(&state.known.id))), (0o700, 0o600));
    }
    // Killed here: nobody let go.
    drop(claim);
    let claim = pair.claim(&state, false).await.unwrap();
    claim.let_go(false).await;
    let record = pair.record(SideName::Old, &state.known.id).unwrap();
    assert!(!record.at_work && record.epoch == 1 && record.mark == 2, "{record:?}");
    let claim = pair.claim(&state, false).await.unwrap();
    claim.let_go(true).await;
    for side in super::SIDES {
        assert!(!pair.root(side).join("var/lib/rehome").exists(), "the last record takes the folder with it");
    }
}

#[tokio::test]
async fn another_copy_is_told_who_is_at_work_and_takes_over_only_when_it_is_told_to() {
    let (pair, first) = (Pair::new().await, State::new("first", "plan").await);
    let claim = pair.claim(&first, false).await.unwrap();
    let second = first.copied("second").await;
    let (kind, said) = refused(pair.claim(&second, false).await);
    assert_eq!(kind, ErrorKind::Held);
    for word in ["somebody is at work on old", "first, `rehome apply` since", "/root/.rehome on first", "--take-over"] {
        assert!(said.contains(word), "`{word}` is missing:\n{said}");
    }
    assert_eq!(pair.record(SideName::Old, &first.known.id).unwrap().place.host, "first", "nothing was changed");
    let over = pair.claim(&second, true).await.unwrap();
    assert_eq!(over.epoch(), 2);
    // The first one still runs: it is fenced off before what it does next, on both sides.
    let fenced = claim.hold(Duration::ZERO).await.unwrap_err().to_string();
    assert!(fenced.contains("was taken over") && fenced.contains("second"), "{fenced}");
    claim.let_go(false).await;
    assert!(pair.record(SideName::New, &first.known.id).unwrap().at_work, "it does not let go of what is not its own");
    // And when it comes back.
    over.let_go(false).await;
    let (kind, said) = refused(pair.claim(&first, false).await);
    assert_eq!(kind, ErrorKind::Held);
    assert!(said.contains("its epoch is 2; this state knows 1"), "{said}");
}

#[tokio::test]
async fn a_side_is_one_migrations_at_a_time() {
    let (pair, first, second) =
        (Pair::new().await, State::new("first", "plan").await, State::new("second", "other").await);
    let claim = pair.claim(&first, false).await.unwrap();
    let (kind, said) = refused(pair.claim(&second, false).await);
    assert!(kind == ErrorKind::Held && said.contains("is under way there: first"), "{said}");
    claim.let_go(false).await;
    let claim = pair.claim(&second, false).await.unwrap();
    let (_, said) = refused(pair.claim(&first, false).await);
    assert!(said.contains("is under way there: second"), "{said}");
    // The first one takes over; the second one finds that out.
    pair.claim(&first, true).await.unwrap().let_go(false).await;
    assert!(claim.hold(Duration::ZERO).await.is_err());
    let (kind, said) = refused(pair.claim(&second, false).await);
    assert!(kind == ErrorKind::Held && said.contains("by first at"), "{said}");
    pair.claim(&second, true).await.unwrap().let_go(false).await;
}

#[tokio::test]
async fn of_two_that_claim_at_once_one_has_both_sides() {
    let (pair, first, second) =
        (Pair::new().await, State::new("first", "plan").await, State::new("second", "other").await);
    for _ in 0..8 {
        let (one, other) = tokio::join!(pair.claim(&first, false), pair.claim(&second, false));
        assert!(one.is_ok() != other.is_ok(), "one of them is refused");
        for claim in [one, other].into_iter().flatten() {
            let records = super::SIDES.map(|side| {
                let at_work = [&first, &second].map(|state| pair.record(side, &state.known.id));
                at_work.into_iter().flatten().filter(|record| record.at_work).count()
            });
            assert_eq!(records, [1, 1]);
            claim.let_go(false).await;
        }
    }
}

#[tokio::test]
async fn where_new_cannot_be_claimed_old_is_given_back() {
    let (pair, state) = (Pair::new().await, State::new("new", "plan").await);
    let file = pair.root(SideName::New).join("var/lib/rehome");
    std::fs::write(&file, "in the way").unwrap();
    std::fs::create_dir(pair.root(SideName::Old).join("var/lib/rehome")).unwrap();
    // A look finds no folder of records there, and says so.
    let seen = look(&pair.here, SideName::New, &pair.root(SideName::New)).await.unwrap_err();
    assert!(matches!(seen, SidesError::Record { .. }), "{seen:?}");
    std::fs::remove_file(&file).unwrap();
    let machines = pair.look().await;
    std::fs::write(&file, "in the way").unwrap();
    let clock = Clock::ahead_by(Duration::ZERO);
    let claimant = Claimant { who: "root@new", verb: Verb::Apply, clock: &clock, take_over: false };
    let result = Claim::take(machines, state.known.clone(), state.journal.clone(), &claimant).await;
    let (kind, said) = refused(result);
    assert!(kind == ErrorKind::Error && said.contains("is no folder") && said.contains("is there space"), "{said}");
    assert!(!pair.record(SideName::Old, &state.known.id).unwrap().at_work);
}

#[tokio::test]
async fn a_side_that_lost_what_was_left_there_is_not_taken_as_it_is() {
    let (pair, state) = (Pair::new().await, State::new("new", "plan").await);
    pair.claim(&state, false).await.unwrap().let_go(false).await;
    let path = pair.root(SideName::Old).join("var/lib/rehome").join(&state.known.id);
    let before = std::fs::read(&path).unwrap();
    pair.claim(&state, false).await.unwrap().let_go(false).await;
    for snapshot in [Some(before), None] {
        match &snapshot {
            Some(before) => std::fs::write(&path, before).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let (_, said) = refused(pair.claim(&state, false).await);
        assert!(
            said.contains("before this migration was last at work") && said.contains("resolve machine old"),
            "{said}"
        );
    }
    std::fs::write(&path, "{ torn").unwrap();
    let (_, said) = refused(pair.claim(&state, false).await);
    assert!(said.contains("cannot be read") && said.contains("resolve machine old"), "{said}");
}

#[tokio::test]
async fn a_swap_is_for_those_who_have_seen_the_records_as_they_are() {
    let (pair, state) = (Pair::new().await, State::new("new", "plan").await);
    let root = pair.root(SideName::Old);
    let swapped = |seen: Seen, epoch: u64| {
        let (here, root, id) = (&pair.here, root.as_path(), state.known.id.clone());
        async move {
            let record = Record { epoch, ..blank(&id) };
            swap(here, SideName::Old, root, &seen, (&id, Some(&record))).await.unwrap()
        }
    };
    let seen = look(&pair.here, SideName::Old, &root).await.unwrap();
    assert!(!root.join("var/lib/rehome").exists(), "looking makes nothing");
    let Swapped::Done(now) = swapped(seen.clone(), 1).await else { panic!("it was refused") };
    let Swapped::Changed(found) = swapped(seen, 2).await else { panic!("it was written over") };
    assert_eq!(found.records, now.records);
    assert_eq!(pair.record(SideName::Old, &state.known.id).unwrap().epoch, 1);
    // What a killed writer left is in nobody's way, and is no record.
    std::fs::write(root.join(format!("var/lib/rehome/{}.new", state.known.id)), "half").unwrap();
    let Swapped::Done(now) = swapped(found, 3).await else { panic!("it was refused") };
    assert_eq!(now.records.len(), 1);
    assert_eq!(std::fs::read_dir(root.join("var/lib/rehome")).unwrap().count(), 1);
}

fn blank(id: &str) -> Record {
    Record {
        rehome: Record::VERSION,
        migration: id.into(),
        name: "a test\n\"with\" odd \u{1b} words".into(),
        plan: "plan".into(),
        epoch: 1,
        at_work: false,
        verb: "apply".into(),
        who: "root@new".into(),
        place: Place { host: "new".into(), machine: None, folder: Path::new("/x").display().to_string() },
        since: 7,
        mark: 1,
        old: None,
        new: None,
        phases: vec![],
        taken: None,
    }
}
