//! Generated accounts that change at random between passes; after each pass rsync has the last word.
//! The seed is fixed and told on failure: a failing round can be run again.

use crate::fixture::*;
use crate::with_both_hands;
use rehome_sync::{Comparison, State, SyncOptions, compare, sync};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Rounds with each kind of hands and each strategy.
const ROUNDS: u32 = 300;
/// The clock of files ticks every 1 to 10 ms: what is older than this is told apart.
const WINDOW: Duration = Duration::from_millis(12);

/// xorshift64*: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

const FOLDERS: [&str; 6] = ["a", "a/.Sent", "a/.-x\n y", "b", "b/.&AOQ-", "b/.Sent.Old"];

/// The files in `cur` and `new` of a tree.
fn messages(root: &Path) -> Vec<std::path::PathBuf> {
    let leaves = FOLDERS.iter().flat_map(|folder| ["cur", "new"].map(|leaf| root.join(folder).join(leaf)));
    let files = leaves.filter_map(|leaf| fs::read_dir(leaf).ok());
    let mut found: Vec<_> = files.flatten().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// One thing that happens on a mail server.
fn change(root: &Path, random: &mut Random, counter: &mut u64) {
    *counter += 1;
    let folder = *random.pick(&FOLDERS);
    let all = messages(root);
    match random.below(12) {
        0..4 => {
            mailbox(root, folder.as_bytes());
            let size = random.below(3) * 40_000 + random.below(50);
            let (name, seconds) = (format!("{folder}/new/{counter}.M{counter}.host"), random.next() % 1000);
            write(root, name.as_bytes(), &vec![u8::try_from(*counter % 256).unwrap(); size], seconds);
        }
        4..7 if !all.is_empty() => {
            let file = random.pick(&all);
            let name = file.file_name().unwrap().to_str().unwrap();
            let base = name.split(":2,").next().unwrap();
            let flags = random.pick(&["", "S", "RS", "FSa", "T"]);
            fs::rename(file, file.parent().unwrap().with_file_name("cur").join(format!("{base}:2,{flags}"))).unwrap();
        }
        7 if !all.is_empty() => fs::remove_file(random.pick(&all)).unwrap(),
        8 if !all.is_empty() => {
            mailbox(root, folder.as_bytes());
            fs::hard_link(random.pick(&all), root.join(folder).join(format!("cur/{counter}.copy.host:2,"))).unwrap();
        }
        9 => {
            let name = format!(
                "{folder}/{}",
                random.pick(&["dovecot-uidlist", "dovecot-keywords", "subscriptions", ".sieve"])
            );
            write(root, name.as_bytes(), &counter.to_be_bytes(), *counter);
        }
        10 if random.below(4) == 0 => _ = fs::remove_dir_all(root.join(folder)),
        11 => {
            let folder = root.join(folder);
            fs::create_dir_all(&folder).unwrap();
            set_mode(&folder, *random.pick(&[0o700, 0o2770, 0o755]));
            let link = folder.join("link");
            _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(counter.to_string(), link).unwrap();
        }
        _ => {}
    }
}

async fn rounds(hands: Hands, options: &SyncOptions, state: &dyn State, seed: u64, count: u32) {
    let pair = Pair::new(hands);
    let mut random = Random(seed);
    let mut counter = 0;
    let (source, target) = pair.trees().await;
    for round in 0..count {
        for _ in 0..random.below(25) {
            change(&pair.source, &mut random, &mut counter);
        }
        // Now and then somebody works on the target, too.
        if random.below(4) == 0 {
            for _ in 0..random.below(5) {
                change(&pair.target, &mut random, &mut counter);
            }
        }
        if state.keeps() {
            tokio::time::sleep(WINDOW * 2).await;
        }
        let place = format!("seed {seed:x}, round {round}");
        let before = snapshot(&pair.source);
        let report =
            sync(&source, &target, options, state, &()).await.unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(pair.rsync(&[]), "", "{place}: {report:?}");
        assert_eq!(snapshot(&pair.source), before, "{place}");
        let how = if round % 10 == 0 { Comparison::Contents } else { Comparison::Metadata };
        let found = compare(&source, &target, options, how, &()).await.unwrap();
        assert!(found.none(), "{place}: {found:?}");
        let again = sync(&source, &target, options, state, &()).await.unwrap();
        assert!(again.changed_nothing(), "{place}: {again:?}");
    }
}

with_both_hands! {
    async fn maildir_passes_converge_round_after_round(hands: Hands) {
        rounds(hands, &maildir(), &(), 0x1dea_0001, ROUNDS).await;
    }

    async fn maildir_passes_that_remember_converge_round_after_round(hands: Hands) {
        let (memory, options) = (Memory::default(), SyncOptions { racy: WINDOW, ..maildir() });
        rounds(hands, &options, &memory, 0x1dea_0003, ROUNDS).await;
        assert!(memory.sure() > 0, "no leaf was ever left unread: this test proves nothing");
    }

    async fn passes_in_many_small_parts_converge_round_after_round(hands: Hands) {
        let (memory, options) = (Memory::default(), SyncOptions { racy: WINDOW, part: 5, ..maildir() });
        rounds(hands, &options, &memory, 0x1dea_0004, ROUNDS / 3).await;
        rounds(hands, &SyncOptions { part: 1, ..plain() }, &(), 0x1dea_0005, ROUNDS / 3).await;
    }

    async fn plain_passes_converge_round_after_round(hands: Hands) {
        rounds(hands, &plain(), &(), 0x1dea_0002, ROUNDS).await;
    }
}
