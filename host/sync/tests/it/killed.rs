//! Passes that end in the middle, and sources that change under the pass: the next pass makes it good.

use crate::fixture::*;
use crate::with_both_hands;
use rehome_sync::{Observer, sync};
use std::fs;
use std::pin::pin;
use std::sync::Mutex;
use std::task::Poll;

/// Polls a future so many times, then drops it. Whether it ended.
async fn for_a_while(work: impl Future, polls: u32) -> bool {
    let mut work = pin!(work);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        work.as_mut().poll(context).map(|_| true)
    })
    .await
}

/// Everything on the target under a final name is whole.
fn assert_whole(pair: &Pair) {
    for number in 0..40 {
        for name in
            [format!("user/cur/{number}.host:2,"), format!("user/cur/{number}.host:2,S"), format!("user/list{number}")]
        {
            if exists(&pair.target, name.as_bytes()) {
                let content = read(&pair.target, name.as_bytes());
                assert!(
                    content.iter().all(|byte| *byte == content[0]) && content.len() == 70_000,
                    "{name} is not whole"
                );
            }
        }
    }
}

with_both_hands! {
    async fn a_pass_that_is_dropped_anywhere_leaves_nothing_half_and_the_next_one_finishes(hands: Hands) {
        let mut finished = false;
        let mut polls = 1;
        while !finished {
            let pair = Pair::new(hands);
            mailbox(&pair.source, b"user");
            for number in 0..40u8 {
                write(&pair.source, format!("user/cur/{number}.host:2,S").as_bytes(), &[number; 70_000], 0);
                if number % 2 == 0 {
                    write(&pair.target, format!("user/cur/{number}.host:2,").as_bytes(), &[number; 70_000], 0);
                }
                if number % 4 == 0 {
                    write(&pair.source, format!("user/list{number}").as_bytes(), &[number; 70_000], 0);
                    write(&pair.target, format!("user/list{number}").as_bytes(), &vec![number + 1; 70_000], 7);
                    write(&pair.target, format!("user/new/extra{number}").as_bytes(), &[number; 100], 0);
                }
            }
            mailbox(&pair.target, b"user");
            let (source, target) = pair.trees().await;
            finished = for_a_while(sync(&source, &target, &maildir(), &(), &()), polls).await;
            assert_whole(&pair);
            sync(&source, &target, &maildir(), &(), &()).await.unwrap();
            assert_whole(&pair);
            pair.assert_equal(&["tmp/*"]);
            assert!(unfinished(pair.folder.path()).is_empty());
            for number in (0..40).step_by(4) {
                assert!(exists(&pair.aside().join("label"), format!("user/new/extra{number}").as_bytes()));
            }
            polls += 1 + polls / 4;
        }
    }

    async fn a_new_mailbox_of_a_pass_that_is_dropped_anywhere_has_all_its_messages_or_none(hands: Hands) {
        let mut finished = false;
        let mut polls = 1;
        while !finished {
            let pair = Pair::new(hands);
            mailbox(&pair.source, b"user");
            for number in 0..60u8 {
                write(&pair.source, format!("user/cur/{number}.host:2,S").as_bytes(), &[number; 3000], 0);
            }
            let (source, target) = pair.trees().await;
            finished = for_a_while(sync(&source, &target, &maildir(), &(), &()), polls).await;
            let arrived = fs::read_dir(at(&pair.target, b"user/cur")).map_or(0, Iterator::count);
            assert!(arrived == 0 || arrived == 60, "{arrived} messages");
            sync(&source, &target, &maildir(), &(), &()).await.unwrap();
            pair.assert_equal(&[]);
            assert!(unfinished(pair.folder.path()).is_empty());
            polls += 1 + polls / 8;
        }
    }

    async fn a_message_that_comes_into_a_new_mailbox_during_the_pass_stays_and_the_others_arrive(hands: Hands) {
        struct Delivering(std::path::PathBuf);
        impl Observer for Delivering {
            fn touching<'a>(&'a self, _: &'a [Vec<u8>]) -> rehome_sync::Recorded<'a> {
                write(&self.0, b"user/cur/999.host:2,", b"mine", 0);
                Box::pin(async { Ok(()) })
            }
        }
        let pair = Pair::new(hands);
        mailbox(&pair.source, b"user");
        for number in 0..60u8 {
            write(&pair.source, format!("user/cur/{number}.host:2,S").as_bytes(), &[number; 3000], 0);
        }
        let (source, target) = pair.trees().await;
        sync(&source, &target, &maildir(), &(), &Delivering(pair.target.clone())).await.unwrap();
        assert_eq!(read(&pair.target, b"user/cur/999.host:2,"), b"mine");
        assert_eq!(fs::read_dir(at(&pair.target, b"user/cur")).unwrap().count(), 61);
        assert!(unfinished(pair.folder.path()).is_empty());
    }

    async fn unfinished_files_of_a_killed_pass_are_removed(hands: Hands) {
        let pair = Pair::new(hands);
        mailbox(&pair.source, b"user");
        mailbox(&pair.target, b"user");
        for path in ["user/cur/.rehome-tmp-0123456789abcdef", "user/.rehome-tmp-00000000ffffffff", "user/tmp/.rehome-tmp-00000000ffffffff"] {
            write(&pair.target, path.as_bytes(), b"half", 0);
        }
        // A mailbox that was being filled.
        for name in ["1.host:2,S", "2.host:2,S"] {
            write(&pair.target, format!("user/tmp/.rehome-tmp-0123456789abcdef/{name}").as_bytes(), b"mail", 0);
        }
        // Not one of ours.
        write(&pair.target, b"user/.rehome-tmp-mine", b"mine", 0);
        write(&pair.source, b"user/.rehome-tmp-mine", b"mine", 0);
        // Those of another tree's pass are never copied.
        write(&pair.source, b"user/cur/.rehome-tmp-0123456789abcdee", b"half", 0);
        pair.pass(&maildir()).await;
        let left = unfinished(&pair.target);
        assert!(left.len() == 1 && left[0].contains("mine"), "{left:?}");
    }

    async fn a_message_that_is_renamed_during_the_pass_arrives_with_it(hands: Hands) {
        let pair = Pair::new(hands);
        mailbox(&pair.source, b"user");
        for number in 0..50 {
            write(&pair.source, format!("user/new/{number}.host").as_bytes(), b"mail", 0);
        }
        // Already there, under a name that the source is about to give up.
        write(&pair.target, b"user/new/1.host", b"mail", 0);
        let (source, target) = pair.trees().await;
        let reader = WhenListed::new(|| {
            for number in 0..50 {
                let from = pair.source.join(format!("user/new/{number}.host"));
                fs::rename(from, pair.source.join(format!("user/cur/{number}.host:2,S"))).unwrap();
            }
            fs::remove_file(pair.source.join("user/cur/7.host:2,S")).unwrap();
        });
        let report = sync(&source, &target, &maildir(), &(), &reader).await.unwrap();
        assert!(report.vanished >= 49 && report.skipped.is_empty(), "{report:?}");
        pair.pass(&maildir()).await;
        pair.assert_equal(&["tmp/*"]);
        assert_eq!(report.copied + report.renamed, 49, "{report:?}");
    }

    async fn a_message_missed_in_the_listing_is_not_set_aside(hands: Hands) {
        let pair = Pair::new(hands);
        mailbox(&pair.source, b"user");
        write(&pair.target, b"user/cur/1.host:2,", b"mail", 0);
        write(&pair.target, b"user/cur/2.host:2,", b"mail", 0);
        write(&pair.source, b"user/cur/3.host:2,", b"mail", 0);
        mailbox(&pair.target, b"user");
        let (source, target) = pair.trees().await;
        // As if the listing had missed it: it comes back, renamed, before the pass looks again.
        let reader = WhenListed::new(|| write(&pair.source, b"user/cur/1.host:2,RS", b"mail", 0));
        let report = sync(&source, &target, &maildir(), &(), &reader).await.unwrap();
        assert_eq!((report.renamed, report.set_aside), (1, 1), "{report:?}");
        assert!(exists(&pair.target, b"user/cur/1.host:2,RS") && !exists(&pair.target, b"user/cur/2.host:2,"));
    }

    async fn what_appears_on_the_target_meanwhile_is_not_overwritten_when_only_adding(hands: Hands) {
        let pair = Pair::new(hands);
        mailbox(&pair.source, b"user");
        write(&pair.source, b"user/cur/1.host:2,", b"mail", 0);
        let (source, target) = pair.trees().await;
        let appears = WhenListed::new(|| write(&pair.target, b"user/cur/1.host:2,", b"theirs", 0));
        let options = rehome_sync::SyncOptions { add_only: true, ..maildir() };
        let report = sync(&source, &target, &options, &(), &appears).await.unwrap();
        assert_eq!((report.copied, read(&pair.target, b"user/cur/1.host:2,").as_slice()), (0, &b"theirs"[..]));
        assert!(unfinished(&pair.target).is_empty());
    }

    async fn a_file_that_is_rewritten_while_it_is_read_is_not_taken(hands: Hands) {
        let pair = Pair::new(hands);
        write(&pair.source, b"log", &[b'a'; 3_000_000], 0);
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let writer = {
            let (stop, file) = (stop.clone(), pair.source.join("log"));
            std::thread::spawn(move || {
                use std::os::unix::fs::FileExt;
                let file = fs::File::options().write(true).open(file).unwrap();
                for letter in (b'a'..=b'z').cycle() {
                    file.write_all_at(&vec![letter; 3_000_000], 0).unwrap();
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        return;
                    }
                }
            })
        };
        let mut skipped = 0;
        // Until a pass has met it in the middle of a write.
        while skipped == 0 {
            skipped += pair.pass(&plain()).await.skipped.len();
            if exists(&pair.target, b"log") {
                let content = read(&pair.target, b"log");
                assert!(content.iter().all(|byte| *byte == content[0]), "torn");
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        writer.join().unwrap();
        pair.converge(&plain()).await;
    }

    async fn a_source_that_never_holds_still_is_followed_and_nothing_is_torn(hands: Hands) {
        let pair = Pair::new(hands);
        mailbox(&pair.source, b"user");
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let writer = {
            let (stop, source) = (stop.clone(), pair.source.clone());
            std::thread::spawn(move || {
                let mut number = 0u64;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    number += 1;
                    let letter = b'a' + u8::try_from(number % 26).unwrap();
                    let mail = format!("{number}.host");
                    fs::write(source.join("user/tmp").join(&mail), [letter; 30_000]).unwrap();
                    fs::rename(source.join("user/tmp").join(&mail), source.join("user/new").join(&mail)).unwrap();
                    fs::write(source.join("user/list.lock"), [letter; 30_000]).unwrap();
                    fs::rename(source.join("user/list.lock"), source.join("user/list")).unwrap();
                    if number > 5 {
                        let (old, flags) = (number - 5, if number.is_multiple_of(2) { "S" } else { "" });
                        fs::rename(source.join(format!("user/new/{old}.host")), source.join(format!("user/cur/{old}.host:2,{flags}"))).unwrap();
                    }
                    if number > 40 {
                        let old = number - 40;
                        let name = |flags: &str| source.join(format!("user/cur/{old}.host:2,{flags}"));
                        let _ = fs::remove_file(name("S")).or_else(|_| fs::remove_file(name("")));
                    }
                    std::thread::sleep(std::time::Duration::from_micros(300));
                }
            })
        };
        for _ in 0..15 {
            pair.pass(&maildir()).await;
            for leaf in ["user/cur", "user/new", "user"] {
                for entry in fs::read_dir(pair.target.join(leaf)).unwrap() {
                    let entry = entry.unwrap();
                    if entry.file_type().unwrap().is_file() && !entry.file_name().to_string_lossy().ends_with("lock") {
                        let content = fs::read(entry.path()).unwrap();
                        assert!(content.len() == 30_000 && content.iter().all(|byte| *byte == content[0]), "{:?}", entry.path());
                    }
                }
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        writer.join().unwrap();
        pair.pass(&maildir()).await;
        pair.assert_equal(&["tmp/*"]);
    }
}

/// Does something once, when both trees have been listed and nothing was changed yet.
struct WhenListed<F>(Mutex<Option<F>>);

impl<F: FnOnce() + Send> WhenListed<F> {
    fn new(then: F) -> Self {
        Self(Mutex::new(Some(then)))
    }
}

impl<F: FnOnce() + Send> Observer for WhenListed<F> {
    fn progress(&self, _: u64, _: Option<u64>, _: u64) {
        if let Some(then) = self.0.lock().unwrap().take() {
            then();
        }
    }
}
