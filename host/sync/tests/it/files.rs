//! Single operations on a tree: list, read, put, remove, set aside.

use crate::fixture::*;
use crate::with_both_hands;
use rehome_remote::{Options, Side, Target};
use rehome_sync::{Error, Kind, Owner, Tree};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

with_both_hands! {
    async fn a_listing_tells_what_is_there(hands: Hands) {
        let pair = Pair::new(hands);
        write(&pair.source, b"d/\xff\n", b"12345", 7);
        symlink("to\n", pair.source.join("d/link")).unwrap();
        write(&pair.source, b".rehome-aside/label/x", b"x", 0);
        write(&pair.source, b"d/.rehome-tmp-0123456789abcdef", b"x", 0);
        let tree = pair.open(&pair.source).await;
        let found = tree.list(b"", u32::MAX, 100).await.unwrap();
        let paths: Vec<&[u8]> = found.iter().map(|entry| entry.path.as_bytes()).collect();
        assert_eq!(paths, [&b"d"[..], b"d/link", b"d/\xff\n"]);
        assert_eq!((found[0].kind, found[1].kind, found[2].kind), (Kind::Folder, Kind::Symlink, Kind::File));
        assert_eq!(found[1].points_to.as_deref(), Some(&b"to\n"[..]));
        assert_eq!((found[2].size, found[2].links), (5, 1));
        assert_eq!(found[2].modified, (i64::try_from(EPOCH).unwrap() + 7, 123_456_789));
        assert_eq!(found[2].inode.1, inode(&pair.source, b"d/\xff\n"));
        let me = fs::metadata(&pair.source).unwrap().uid();
        assert_eq!(&*found[2].owner == "root", me == 0);
        assert_eq!(found[2].path.to_string(), "d/\\xff\\n");
        assert_eq!(tree.list(b"", 1, 100).await.unwrap().len(), 1);
        assert_eq!(tree.list(b"d", 1, 100).await.unwrap().len(), 2);
        assert!(matches!(tree.list(b"", u32::MAX, 2).await, Err(Error::TooLarge { .. })));
        assert!(matches!(tree.list(b"nothing", 1, 2).await, Err(Error::NotFound { .. })));
        assert!(matches!(tree.list(b"../old", 1, 2).await, Err(Error::Invalid { .. })));
    }

    async fn a_file_is_read_up_to_a_limit(hands: Hands) {
        let pair = Pair::new(hands);
        let content: Vec<u8> = (0..=255u8).cycle().take(300_000).collect();
        write(&pair.source, b"big", &content, 0);
        fs::create_dir(pair.source.join("d")).unwrap();
        symlink("big", pair.source.join("link")).unwrap();
        let tree = pair.open(&pair.source).await;
        assert!(tree.read(b"big", 300_000).await.unwrap() == content);
        assert!(matches!(tree.read(b"big", 299_999).await, Err(Error::TooLarge { .. })));
        assert!(matches!(tree.read(b"none", 1).await, Err(Error::NotFound { .. })));
        assert!(matches!(tree.read(b"d", 1).await, Err(Error::NotAllowed { .. })));
        assert!(matches!(tree.read(b"link", 1000).await, Err(Error::NotAllowed { .. })));
        assert!(matches!(tree.read(b"big/x", 1000).await, Err(Error::NotAllowed { .. })));
        assert!(matches!(tree.read(b"", 1000).await, Err(Error::Invalid { .. })));
        assert!(matches!(tree.read(b"../mail/big", 1000).await, Err(Error::Invalid { .. })));
    }

    async fn a_put_replaces_in_one_step_and_keeps_the_owner(hands: Hands) {
        let pair = Pair::new(hands);
        let tree = pair.open(&pair.target).await;
        tree.put(b"file", b"one", 0o640, None).await.unwrap();
        let mode = |name: &str| fs::metadata(pair.target.join(name)).unwrap().mode() & 0o7777;
        assert_eq!((read(&pair.target, b"file"), mode("file")), (b"one".to_vec(), 0o640));
        if is_root() {
            std::os::unix::fs::chown(pair.target.join("file"), Some(8), Some(8)).unwrap();
        }
        let large = vec![b'x'; 200_000];
        tree.put(b"file", &large, 0o600, None).await.unwrap();
        assert!(read(&pair.target, b"file") == large);
        if is_root() {
            assert_eq!(fs::metadata(pair.target.join("file")).unwrap().uid(), 8);
            let owner = Owner { user: "root".to_owned(), group: "mail".to_owned() };
            tree.put(b"file", b"two", 0o600, Some(&owner)).await.unwrap();
            let stat = fs::metadata(pair.target.join("file")).unwrap();
            assert_eq!((stat.uid(), stat.gid()), (0, 8));
        }
        let nobody = Owner { user: "no such user".to_owned(), group: "mail".to_owned() };
        let error = tree.put(b"file", b"three", 0o600, Some(&nobody)).await.unwrap_err();
        assert!(matches!(&error, Error::UnknownOwner { name, .. } if name == "no such user"), "{error}");
        assert_ne!(read(&pair.target, b"file"), b"three");
        assert!(matches!(tree.put(b"no/folder", b"", 0o600, None).await, Err(Error::NotFound { .. })));
        symlink("file", pair.target.join("link")).unwrap();
        assert!(matches!(tree.put(b"link", b"", 0o600, None).await, Err(Error::NotAllowed { .. })));
        assert!(matches!(tree.put(b"", b"", 0o600, None).await, Err(Error::Invalid { .. })));
        assert!(unfinished(&pair.target).is_empty());
    }

    async fn what_somebody_who_was_killed_left_beside_a_file_goes_with_the_next_put_or_remove(hands: Hands) {
        let pair = Pair::new(hands);
        let tree = pair.open(&pair.target).await;
        let left = [&b"d/.rehome-tmp-0123456789abcdef"[..], b"d/.rehome-tmp-fedcba9876543210"];
        for path in left.iter().chain(&[&b"d/.rehome-tmp-notes"[..], b"d/other"]) {
            write(&pair.target, path, b"x", 0);
        }
        tree.put(b"d/file", b"one", 0o640, None).await.unwrap();
        assert!(left.iter().all(|path| !exists(&pair.target, path)));
        write(&pair.target, left[0], b"x", 0);
        tree.remove(b"d/file").await.unwrap();
        assert!(!exists(&pair.target, left[0]));
        assert!(exists(&pair.target, b"d/.rehome-tmp-notes") && exists(&pair.target, b"d/other"));
    }

    async fn a_remove_takes_the_link_and_not_what_it_points_to(hands: Hands) {
        let pair = Pair::new(hands);
        write(&pair.target, b"file", b"x", 0);
        fs::create_dir(pair.target.join("d")).unwrap();
        symlink("file", pair.target.join("link")).unwrap();
        let tree = pair.open(&pair.target).await;
        tree.remove(b"link").await.unwrap();
        assert!(exists(&pair.target, b"file") && !exists(&pair.target, b"link"));
        assert!(matches!(tree.remove(b"d").await, Err(Error::NotAllowed { .. })));
        assert!(matches!(tree.remove(b"link").await, Err(Error::NotFound { .. })));
        tree.remove(b"file").await.unwrap();
        assert!(!exists(&pair.target, b"file"));
    }

    async fn indexes_are_set_aside_by_name(hands: Hands) {
        let pair = Pair::new(hands);
        for file in ["a/dovecot.index", "a/dovecot.index.cache", "a/dovecot-uidlist", "b/dovecot.index", "a/c/dovecot.index"] {
            write(&pair.target, file.as_bytes(), file.as_bytes(), 0);
        }
        let tree = pair.open(&pair.target).await;
        let folders = [b"a".to_vec(), b"b".to_vec(), b"gone".to_vec()];
        let moved = tree.set_aside(&folders, &patterns(&["dovecot.index*"]), "before-resync").await.unwrap();
        assert_eq!(moved, 3);
        assert!(exists(&pair.target, b"a/dovecot-uidlist") && exists(&pair.target, b"a/c/dovecot.index"));
        assert!(!exists(&pair.target, b"a/dovecot.index") && !exists(&pair.target, b"b/dovecot.index"));
        assert_eq!(read(&pair.aside(), b"before-resync/a/dovecot.index.cache"), b"a/dovecot.index.cache");
        assert_eq!(tree.set_aside(&folders, &patterns(&["dovecot.index*"]), "before-resync").await.unwrap(), 0);
        for label in ["", "..", "a/b", ".x", "a b"] {
            assert!(matches!(tree.set_aside(&folders, &[], label).await, Err(Error::Invalid { .. })), "{label}");
        }
    }

    async fn there_is_free_space(hands: Hands) {
        let pair = Pair::new(hands);
        let space = pair.open(&pair.target).await.free_space().await.unwrap();
        let df = std::process::Command::new("df").args(["-B1", "--output=avail"]).arg(&pair.target).output().unwrap();
        let expected: f64 = String::from_utf8(df.stdout).unwrap().lines().last().unwrap().trim().parse().unwrap();
        #[expect(clippy::cast_precision_loss, reason = "others write to the same disk meanwhile; only the magnitude counts")]
        let ratio = space.bytes as f64 / expected;
        assert!((0.5..2.0).contains(&ratio) && space.inodes > 0, "{space:?} {expected}");
    }

    async fn a_root_may_be_reached_through_a_link_but_must_be_a_folder(hands: Hands) {
        let pair = Pair::new(hands);
        write(&pair.source, b"file", b"x", 0);
        symlink(&pair.source, pair.folder.path().join("link")).unwrap();
        let tree = pair.open(&pair.folder.path().join("link")).await;
        assert_eq!(tree.read(b"file", 10).await.unwrap(), b"x");
        let side = this_machine().await;
        let file = pair.source.join("file");
        let opened = match hands {
            Hands::Local => Tree::open(&side, &file).await,
            _ => Tree::open_by_agent(&side, &file).await,
        };
        let error = opened.err().expect("a file is no tree").to_string();
        assert!(error.contains("old/mail/file"), "{error}");
    }

    async fn two_writers_take_turns(hands: Hands) {
        let pair = Pair::new(hands);
        let (one, other) = (pair.open(&pair.target).await, pair.open(&pair.target).await);
        let put = async |tree: &Tree, letter: u8| {
            for _ in 0..10 {
                tree.put(b"file", &[letter; 1000], 0o600, None).await.unwrap();
            }
        };
        tokio::join!(put(&one, b'a'), put(&other, b'b'));
        let content = read(&pair.target, b"file");
        assert!(content == [b'a'; 1000] || content == [b'b'; 1000]);
    }
}

#[tokio::test]
async fn no_link_leads_out_of_a_folder_that_stands_in_for_a_machine() {
    let pair = Pair::new(Hands::Local);
    let machine = pair.folder.path().join("machine");
    write(&machine, b"srv/mail/file", b"inside", 0);
    symlink("/srv/mail", machine.join("absolute")).unwrap();
    symlink("../../../..", machine.join("up")).unwrap();
    let side = Side::connect(&Target::Folder(machine.clone()), &Options::default()).await.unwrap();
    let tree = Tree::open(&side, "/absolute".as_ref()).await.unwrap();
    assert_eq!(tree.read(b"file", 10).await.unwrap(), b"inside");
    let up = Tree::open(&side, "/up".as_ref()).await.unwrap();
    assert!(up.list(b"", 1, 10).await.unwrap().iter().any(|entry| entry.path.as_bytes() == b"srv"));
    // Nothing is set aside beside the root of a machine: that is outside of it.
    let whole = Tree::open(&side, "/".as_ref()).await.unwrap();
    write(&machine, b"srv/index", b"x", 0);
    assert_eq!(whole.set_aside(&[b"srv".to_vec()], &patterns(&["index"]), "label").await.unwrap(), 1);
    assert_eq!(read(&machine, b".rehome-aside/label/srv/index"), b"x");
}
