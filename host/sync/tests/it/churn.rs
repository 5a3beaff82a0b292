//! Generated accounts that change between passes, in every way that mail servers and people change them; after each pass rsync
//! has the last word. What fails is shrunk to the few changes that matter. The same rounds come every time;
//! `REHOME_CHURN_SEED=N` makes others, `REHOME_CHURN_CASES=N` more of them.

use crate::fixture::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use rehome_sync::{Comparison, State, SyncOptions, Tree, compare, sync};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Cases with each kind of hands and each way of making passes. A case has up to this many rounds: some 2,000 in all.
const CASES: u32 = 30;
const ROUNDS: usize = 12;
/// The clock of files ticks every 1 to 10 ms: what is older than this is told apart.
const WINDOW: Duration = Duration::from_millis(12);

const FOLDERS: [&str; 6] = ["d/a", "d/a/.Sent", "d/a/.-x\n y", "d/b", "e/b/.&AOQ-", "e/b/.Sent.Old"];
const FLAGS: [&str; 5] = ["", "S", "RS", "FSa", "T"];
const FILES: [&str; 4] = ["dovecot-uidlist", "dovecot-keywords", "subscriptions", ".sieve"];
const MODES: [u32; 3] = [0o700, 0o2770, 0o755];

/// One thing that happens on a mail server. `which` counts through the messages that are there.
#[derive(Debug, Clone)]
enum Change {
    Deliver {
        folder: usize,
        size: usize,
    },
    /// another flag; from `new` to `cur`, if it was there
    Flag {
        which: usize,
        flags: usize,
    },
    Expunge {
        which: usize,
    },
    /// a copy, as Dovecot makes it
    Link {
        which: usize,
        folder: usize,
    },
    Move {
        which: usize,
        folder: usize,
    },
    Write {
        folder: usize,
        file: usize,
    },
    Drop {
        folder: usize,
    },
    Mode {
        folder: usize,
        mode: usize,
    },
    Symlink {
        folder: usize,
    },
}

fn change() -> impl Strategy<Value = Change> {
    let folder = || 0..FOLDERS.len();
    let which = || 0..1000_usize;
    prop_oneof![
        5 => (folder(), prop_oneof![0..50_usize, 40_000..40_050_usize, 80_000..80_050_usize])
            .prop_map(|(folder, size)| Change::Deliver { folder, size }),
        4 => (which(), 0..FLAGS.len()).prop_map(|(which, flags)| Change::Flag { which, flags }),
        1 => which().prop_map(|which| Change::Expunge { which }),
        1 => (which(), folder()).prop_map(|(which, folder)| Change::Link { which, folder }),
        1 => (which(), folder()).prop_map(|(which, folder)| Change::Move { which, folder }),
        1 => (folder(), 0..FILES.len()).prop_map(|(folder, file)| Change::Write { folder, file }),
        1 => folder().prop_map(|folder| Change::Drop { folder }),
        1 => (folder(), 0..MODES.len()).prop_map(|(folder, mode)| Change::Mode { folder, mode }),
        1 => folder().prop_map(|folder| Change::Symlink { folder }),
    ]
}

/// What happens between two passes: on the source, and now and then on the target.
#[derive(Debug, Clone)]
struct Round {
    source: Vec<Change>,
    target: Vec<Change>,
}

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let few = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(change(), 1..5)];
    let round = (prop::collection::vec(change(), 0..25), few).prop_map(|(source, target)| Round { source, target });
    prop::collection::vec(round, 1..=ROUNDS)
}

/// The files in `cur` and `new` of a tree.
fn messages(root: &Path) -> Vec<PathBuf> {
    let leaves = FOLDERS.iter().flat_map(|folder| ["cur", "new"].map(|leaf| root.join(folder).join(leaf)));
    let files = leaves.filter_map(|leaf| fs::read_dir(leaf).ok());
    let mut found: Vec<_> = files.flatten().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

impl Change {
    /// `number` is another one for each change: names come from it.
    fn happen(&self, root: &Path, number: u64) {
        let message = |which: usize| {
            let all = messages(root);
            (!all.is_empty()).then(|| all[which % all.len()].clone())
        };
        match *self {
            Self::Deliver { folder, size } => {
                mailbox(root, FOLDERS[folder].as_bytes());
                let name = format!("{}/new/{number}.M{number}.host", FOLDERS[folder]);
                write(root, name.as_bytes(), &vec![u8::try_from(number % 256).unwrap(); size], number % 1000);
            }
            Self::Flag { which, flags } => {
                let Some(file) = message(which) else { return };
                let name = file.file_name().unwrap().to_str().unwrap();
                let base = name.split(":2,").next().unwrap();
                let cur = file.parent().unwrap().with_file_name("cur");
                fs::rename(&file, cur.join(format!("{base}:2,{}", FLAGS[flags]))).unwrap();
            }
            Self::Expunge { which } => _ = message(which).map(|file| fs::remove_file(file).unwrap()),
            Self::Link { which, folder } => {
                let Some(file) = message(which) else { return };
                mailbox(root, FOLDERS[folder].as_bytes());
                let copy = root.join(FOLDERS[folder]).join(format!("cur/{number}.copy.host:2,"));
                fs::hard_link(file, copy).unwrap();
            }
            Self::Move { which, folder } => {
                let Some(file) = message(which) else { return };
                mailbox(root, FOLDERS[folder].as_bytes());
                let to = root.join(FOLDERS[folder]).join("cur").join(file.file_name().unwrap());
                fs::rename(file, to).unwrap();
            }
            Self::Write { folder, file } => {
                let name = format!("{}/{}", FOLDERS[folder], FILES[file]);
                write(root, name.as_bytes(), &number.to_be_bytes(), number);
            }
            Self::Drop { folder } => _ = fs::remove_dir_all(root.join(FOLDERS[folder])),
            Self::Mode { folder, mode } => {
                let folder = root.join(FOLDERS[folder]);
                fs::create_dir_all(&folder).unwrap();
                set_mode(&folder, MODES[mode]);
            }
            Self::Symlink { folder } => {
                let folder = root.join(FOLDERS[folder]);
                fs::create_dir_all(&folder).unwrap();
                let link = folder.join("link");
                _ = fs::remove_file(&link);
                std::os::unix::fs::symlink(number.to_string(), link).unwrap();
            }
        }
    }
}

/// How passes are made.
struct Way {
    hands: Hands,
    options: SyncOptions,
    remembers: bool,
}

/// One case: rounds over trees that begin empty. How many leaves were not read at its end.
async fn case(way: &Way, rounds: &[Round]) -> Result<usize, TestCaseError> {
    let pair = Pair::new(way.hands);
    let trees = pair.trees().await;
    let memory = Memory::default();
    let state: &dyn State = if way.remembers { &memory } else { &() };
    let mut number = 0;
    for (at, round) in rounds.iter().enumerate() {
        for (root, changes) in [(&pair.source, &round.source), (&pair.target, &round.target)] {
            for change in changes {
                number += 1;
                change.happen(root, number);
            }
        }
        if way.remembers {
            tokio::time::sleep(WINDOW * 2).await;
        }
        passes(way, &pair, &trees, state, at).await?;
    }
    Ok(memory.sure())
}

async fn passes(
    way: &Way,
    pair: &Pair,
    trees: &(Tree, Tree),
    state: &dyn State,
    at: usize,
) -> Result<(), TestCaseError> {
    let (source, target) = trees;
    let failed = |why: String| TestCaseError::fail(format!("round {at}: {why}"));
    let before = snapshot(&pair.source);
    let report = sync(source, target, &way.options, state, &()).await.map_err(|error| failed(error.to_string()))?;
    let left = pair.rsync(&[]);
    prop_assert!(left.is_empty(), "round {at}: rsync would do {left}after {report:?}");
    prop_assert_eq!(snapshot(&pair.source), before, "round {}: the source was changed", at);
    let how = if at.is_multiple_of(4) { Comparison::Contents } else { Comparison::Metadata };
    let found = compare(source, target, &way.options, how, &()).await.map_err(|error| failed(error.to_string()))?;
    prop_assert!(found.none(), "round {at}: {found:?}");
    let again = sync(source, target, &way.options, state, &()).await.map_err(|error| failed(error.to_string()))?;
    prop_assert!(again.changed_nothing(), "round {at}, the second pass: {again:?}");
    Ok(())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// All cases; what fails is shrunk and told.
fn converge(seed: u64, way: Way, cases: u32) {
    let seed = seed ^ number("REHOME_CHURN_SEED").unwrap_or_default();
    let cases = number("REHOME_CHURN_CASES").map_or(cases, |cases| u32::try_from(cases).unwrap());
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    let bytes: Vec<u8> = seed.to_be_bytes().repeat(4);
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let unread = std::cell::Cell::new(0);
    let done = runner.run(&rounds(), |rounds| {
        unread.set(unread.get() + runtime.block_on(within(case(&way, &rounds)))?);
        Ok(())
    });
    if let Err(found) = done {
        panic!("seed {seed:x}: {found}");
    }
    assert!(!way.remembers || unread.get() > 0, "no leaf was ever left unread: this test proves nothing");
}

macro_rules! ways {
    ($($name:ident: $seed:literal, $options:expr, remembers: $remembers:literal, $cases:expr;)*) => {$(
        mod $name {
            use super::*;
            #[test]
            fn by_local_hands() {
                converge($seed, Way { hands: Hands::Local, options: $options, remembers: $remembers }, $cases);
            }
            #[test]
            fn by_agents() {
                converge($seed, Way { hands: Hands::Agents, options: $options, remembers: $remembers }, $cases);
            }
        }
    )*};
}

ways! {
    maildir_passes_converge: 1, maildir(), remembers: false, CASES;
    maildir_passes_that_remember_converge: 2, SyncOptions { racy: WINDOW, ..maildir() }, remembers: true, CASES;
    maildir_passes_in_small_parts_converge: 3, SyncOptions { racy: WINDOW, part: 5, ..maildir() }, remembers: true, CASES / 3;
    plain_passes_converge: 4, plain(), remembers: false, CASES;
    plain_passes_in_small_parts_converge: 5, SyncOptions { part: 1, ..plain() }, remembers: false, CASES / 3;
}
