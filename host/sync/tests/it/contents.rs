//! Comparing contents: each side hashes its own, in Rust, by perl's Digest::SHA, or by sha256sum where there is none.
//! Invariant: what differs in content alone is found, what could not be read is no match, and nothing is changed by looking.

use crate::fixture::*;
use rehome_sync::{Comparison, Differences, Observer, compare};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Mutex;

/// The second uses perl's module, the third one coreutils.
const ALL: [Hands; 3] = [Hands::Local, Hands::Agents, Hands::OldAgents];

async fn contents(pair: &Pair, observer: &dyn Observer) -> Differences {
    let (source, target) = pair.trees().await;
    within(compare(&source, &target, &plain(), Comparison::Contents, observer)).await.unwrap()
}

fn told(found: &Differences) -> Vec<String> {
    found.examples.iter().map(|(path, what)| format!("{path}: {what}")).collect()
}

/// More than one request holds, with names that programs like to misread.
async fn alike(hands: Hands) -> Pair {
    let pair = Pair::new(hands);
    for number in 0..250 {
        write(&pair.source, format!("d/{number}").as_bytes(), format!("{number}").as_bytes(), 0);
    }
    for name in [&b"odd\n\\ \xff"[..], b"-c", b"  x", b"empty"] {
        let content = if name == b"empty" { Vec::new() } else { name.repeat(100_000) };
        write(&pair.source, name, &content, 0);
    }
    pair.pass(&plain()).await;
    pair
}

/// Other bytes, and the same of everything else.
fn spoil(pair: &Pair, name: &[u8]) {
    let file = at(&pair.target, name);
    let mut content = fs::read(&file).unwrap();
    let last = content.len() - 1;
    content[last] ^= 1;
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, content).unwrap();
    fs::File::open(&file).unwrap().set_modified(time).unwrap();
}

#[tokio::test]
async fn what_differs_in_content_alone_is_found_and_nothing_else() {
    for hands in ALL {
        let pair = alike(hands).await;
        let found = contents(&pair, &()).await;
        assert!(found.none(), "{hands:?}: {found:?}");
        for name in [&b"d/7"[..], b"d/233", b"odd\n\\ \xff"] {
            spoil(&pair, name);
        }
        let before = [&pair.source, &pair.target].map(|root| snapshot(root));
        let found = contents(&pair, &()).await;
        assert_eq!(found.different, 3, "{hands:?}: {found:?}");
        assert_eq!(told(&found), ["d/233: content", "d/7: content", "odd\\n\\\\ \\xff: content"], "{hands:?}");
        assert_eq!([&pair.source, &pair.target].map(|root| snapshot(root)), before, "{hands:?}");
        let (source, target) = pair.trees().await;
        let by_name = compare(&source, &target, &plain(), Comparison::Metadata, &()).await.unwrap();
        assert!(by_name.none(), "{hands:?}: only the contents tell it: {by_name:?}");
    }
}

/// Puts a link where a file was, once both sides are listed.
struct Swaps(Mutex<Option<(PathBuf, PathBuf)>>);

impl Observer for Swaps {
    fn progress(&self, _: u64, total: Option<u64>, _: u64) {
        // How many there are is known once the last part is listed.
        if total.is_none() {
            return;
        }
        if let Some((file, points_to)) = self.0.lock().unwrap().take() {
            fs::remove_file(&file).unwrap();
            symlink(points_to, file).unwrap();
        }
    }
}

#[tokio::test]
async fn a_link_that_is_swapped_in_is_not_followed_to_the_right_bytes() {
    for hands in ALL {
        for (side, says) in [("old", "the source could not read it"), ("new", "the target could not read it")] {
            let pair = alike(hands).await;
            let outside = pair.folder.path().join("outside");
            fs::copy(pair.source.join("d/7"), &outside).unwrap();
            let file = pair.folder.path().join(side).join("mail/d/7");
            let found = contents(&pair, &Swaps(Mutex::new(Some((file, outside))))).await;
            assert_eq!(found.different, 1, "{hands:?} {side}: {found:?}");
            assert!(told(&found)[0].starts_with(&format!("d/7: {says}")), "{hands:?} {side}: {found:?}");
        }
    }
}

#[tokio::test]
async fn a_file_that_is_gone_by_then_is_a_difference_and_no_failure() {
    struct Removes(PathBuf);
    impl Observer for Removes {
        fn progress(&self, _: u64, _: Option<u64>, _: u64) {
            let _ = fs::remove_file(&self.0);
        }
    }
    for hands in ALL {
        let pair = alike(hands).await;
        let found = contents(&pair, &Removes(pair.target.join("d/7"))).await;
        assert_eq!(told(&found), ["d/7: the target could not read it, or it changed meanwhile"], "{hands:?}");
    }
}

/// Lines of the wrapper around a program begin with this byte: one that might be the first of them waits for what follows.
const HELD_BACK: u8 = 0x1e;

#[tokio::test]
async fn answers_that_end_in_the_byte_that_is_held_back_arrive() {
    use sha2::Digest as _;
    let pair = Pair::new(Hands::Agents);
    let ends_so = |content: &String| sha2::Sha256::digest(content).last() == Some(&HELD_BACK);
    let content = (0..).map(|number| format!("{number}")).find(ends_so).unwrap();
    mailbox(&pair.source, b"d/u");
    write(&pair.source, b"d/u/cur/1.host:2,", content.as_bytes(), 0);
    write(&pair.source, b"d/u/cur/2.host:2,", &[b'x', HELD_BACK], 0);
    let (source, target) = pair.trees().await;
    let (options, quick) = (maildir(), std::time::Duration::from_secs(60));
    let pass = rehome_sync::sync(&source, &target, &options, &(), &());
    assert_eq!(tokio::time::timeout(quick, pass).await.expect("a pass that ends").unwrap().copied, 2);
    pair.assert_equal(&[]);
    fs::remove_file(at(&pair.source, b"d/u/cur/2.host:2,")).unwrap();
    fs::remove_file(at(&pair.target, b"d/u/cur/2.host:2,")).unwrap();
    let found = compare(&source, &target, &options, Comparison::Contents, &());
    let found = tokio::time::timeout(quick, found).await.expect("a comparison that ends").unwrap();
    assert!(found.none(), "{found:?}");
}
