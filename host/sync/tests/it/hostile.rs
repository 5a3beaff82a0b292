//! A source that lies, and a target where somebody swaps links in: nothing outside the tree changes or is read.
//! (Lies in a listing are refused in the tests of `listing` and `wire`; here are those that need a file system.)

use crate::fixture::*;
use crate::with_both_hands;
use rehome_sync::{Error, sync};
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

with_both_hands! {
    async fn a_link_in_place_of_a_folder_leads_nowhere(hands: Hands) {
        let pair = Pair::new(hands);
        let outside = pair.folder.path().join("outside");
        write(&outside, b"secret", b"secret", 0);
        write(&pair.source, b"d/secret", b"mine", 0);
        write(&pair.source, b"d/more", b"mine", 0);
        symlink(&outside, pair.target.join("d")).unwrap();
        let before = snapshot(&outside);
        let (source, target) = pair.trees().await;
        for path in [&b"d/secret"[..], b"d/../d/secret"] {
            assert!(target.read(path, 100).await.is_err());
            assert!(target.put(path, b"x", 0o600, None).await.is_err());
            assert!(target.remove(path).await.is_err());
        }
        assert!(target.list(b"d", 1, 10).await.is_err());
        assert!(target.set_aside(&[b"d".to_vec()], &patterns(&["*"]), "label").await.is_err());
        assert_eq!(snapshot(&outside), before);
        // The pass puts the link aside and makes a folder.
        sync(&source, &target, &plain(), &(), &()).await.unwrap();
        pair.assert_equal(&[]);
        assert_eq!(snapshot(&outside), before);
        assert_eq!(fs::read_link(pair.aside().join("label/d")).unwrap(), outside);
    }

    async fn links_swapped_in_during_passes_change_nothing_outside(hands: Hands) {
        let pair = Pair::new(hands);
        let outside = pair.folder.path().join("outside");
        for number in 0..20 {
            write(&outside, format!("f{number}").as_bytes(), b"outside", 0);
        }
        let before = snapshot(&outside);
        let stop = Arc::new(AtomicBool::new(false));
        let swapper = {
            let (stop, target, outside) = (stop.clone(), pair.target.clone(), outside.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // Folder away, link in its place, and back.
                    let _ = fs::rename(target.join("d"), target.join("real"));
                    let _ = symlink(&outside, target.join("d"));
                    let _ = fs::remove_file(target.join("d"));
                    let _ = fs::rename(target.join("real"), target.join("d"));
                }
            })
        };
        for round in 0..30u64 {
            for number in 0..20 {
                write(&pair.source, format!("d/f{number}").as_bytes(), b"source", round);
            }
            let (source, target) = pair.trees().await;
            // Whether it succeeds does not matter here; what it must not do, does.
            let _ = sync(&source, &target, &plain(), &(), &()).await;
            assert_eq!(snapshot(&outside), before, "round {round}");
        }
        stop.store(true, Ordering::Relaxed);
        swapper.join().unwrap();
        assert_eq!(snapshot(&outside), before);
    }

    async fn a_link_on_the_source_does_not_give_away_what_it_points_to(hands: Hands) {
        let pair = Pair::new(hands);
        let outside = pair.folder.path().join("outside");
        write(&outside, b"f", b"secret", 0);
        let stop = Arc::new(AtomicBool::new(false));
        write(&pair.source, b"d/f", b"public", 0);
        let swapper = {
            let (stop, source, outside) = (stop.clone(), pair.source.clone(), outside.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let _ = fs::rename(source.join("d"), source.join("real"));
                    let _ = symlink(&outside, source.join("d"));
                    let _ = fs::remove_file(source.join("d"));
                    let _ = fs::rename(source.join("real"), source.join("d"));
                }
            })
        };
        let mut arrived = 0;
        for _ in 0..50 {
            let (source, target) = pair.trees().await;
            let _ = sync(&source, &target, &plain(), &(), &()).await;
            for folder in ["d", "real"].map(|folder| pair.target.join(folder)) {
                // The link itself may be copied, as a link.
                if folder.is_symlink() {
                    continue;
                }
                if let Ok(content) = fs::read(folder.join("f")) {
                    assert_eq!(content, b"public");
                    arrived += 1;
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        swapper.join().unwrap();
        assert!(arrived > 0);
    }

    async fn an_aside_folder_that_is_a_link_is_not_followed(hands: Hands) {
        let pair = Pair::new(hands);
        let outside = pair.folder.path().join("outside");
        fs::create_dir(&outside).unwrap();
        symlink(&outside, pair.folder.path().join("new/.rehome-aside")).unwrap();
        write(&pair.target, b"extra", b"x", 0);
        let (source, target) = pair.trees().await;
        let error = sync(&source, &target, &plain(), &(), &()).await.unwrap_err();
        assert!(matches!(error, Error::NotAllowed { .. }), "{error}");
        assert!(exists(&pair.target, b"extra") && snapshot(&outside).is_empty());
    }
}
