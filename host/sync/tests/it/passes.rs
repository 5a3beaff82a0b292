//! Passes with the plain strategy: content, names, links, owners, modes, times, scope, patterns, deleting.

use crate::fixture::*;
use crate::with_both_hands;
use rehome_sync::{Comparison, Error, Limit, Observer, Owner, Recorded, SyncOptions, compare, sync};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

/// Names that break programs.
const ODD: [&[u8]; 9] = [
    b"a newline\nin it",
    b"-rf",
    b"caf\xe9 not utf-8",
    b".&AOQ-rger &- x",
    b"  spaces  ",
    b"$(id)`id`;*?[a]",
    b"\x1b[2J",
    b"back\\slash'quote\"",
    b"...",
];

fn odd_tree(root: &std::path::Path) {
    for (number, name) in ODD.iter().enumerate() {
        write(root, &[name, &b"/inner"[..]].concat(), name, number as u64);
        write(root, &[&b"flat/"[..], name].concat(), &[b'x'; 100_000], number as u64);
    }
    write(root, b"empty", b"", 5);
    fs::create_dir_all(root.join("empty folder/deeper")).unwrap();
    symlink("../anywhere/at all\n", root.join("flat/link")).unwrap();
    symlink("/etc", root.join("absolute link")).unwrap();
    fs::hard_link(root.join("empty"), root.join("flat/second name")).unwrap();
    set_mode(&root.join("empty"), 0o604);
    set_mode(&root.join("empty folder"), 0o2750);
    for folder in ["empty folder/deeper", "empty folder", "flat"] {
        set_time(&root.join(folder), 77);
    }
}

with_both_hands! {
    async fn everything_arrives_and_the_next_pass_has_nothing_to_do(hands: Hands) {
        let pair = Pair::on_disk(hands);
        odd_tree(&pair.source);
        let before = snapshot(&pair.source);
        let report = pair.converge(&plain()).await;
        assert_eq!(snapshot(&pair.source), before);
        // 9 + 9 odd ones, two links and the empty one; its second name is linked.
        assert_eq!((report.copied, report.linked, report.skipped.len()), (21, 1, 0), "{report:?}");
        assert_eq!(inode(&pair.target, b"empty"), inode(&pair.target, b"flat/second name"));
        let (source, target) = pair.trees().await;
        let found = compare(&source, &target, &plain(), Comparison::Contents, &()).await.unwrap();
        assert!(found.none(), "{found:?}");
    }

    async fn nothing_changes_in_a_folder_that_could_not_be_recorded_first(hands: Hands) {
        struct Refuses;
        impl Observer for Refuses {
            fn touching<'a>(&'a self, folders: &'a [Vec<u8>]) -> Recorded<'a> {
                assert!(folders.contains(&b"flat".to_vec()), "{folders:?}");
                Box::pin(async { Err("the journal's disk is full".to_owned()) })
            }
        }
        let pair = Pair::new(hands);
        odd_tree(&pair.source);
        let before = snapshot(&pair.target);
        let (source, target) = pair.trees().await;
        let result = sync(&source, &target, &plain(), &(), &Refuses).await;
        assert!(matches!(result, Err(Error::Unrecorded { .. })), "{result:?}");
        assert_eq!(snapshot(&pair.target), before);
    }

    async fn what_changed_is_brought_and_what_is_gone_is_set_aside(hands: Hands) {
        let pair = Pair::new(hands);
        odd_tree(&pair.source);
        pair.pass(&plain()).await;
        write(&pair.source, b"flat/-rf", b"changed", 100);
        fs::remove_dir_all(at(&pair.source, ODD[0])).unwrap();
        fs::remove_file(pair.source.join("absolute link")).unwrap();
        symlink("/elsewhere", pair.source.join("absolute link")).unwrap();
        set_mode(&at(&pair.source, b"flat/..."), 0o400);
        write(&pair.source, b"new", b"new", 0);
        let report = pair.converge(&plain()).await;
        assert_eq!((report.copied, report.set_aside, report.corrected), (3, 1, 1), "{report:?}");
        let aside = [ODD[0], b"/inner"].concat();
        assert_eq!(read(&pair.aside().join("label"), &aside), ODD[0]);
        assert!(report.touched.contains(&b"flat".to_vec()) && report.touched.contains(&b"".to_vec()));
    }

    async fn a_change_that_keeps_size_and_second_is_seen(hands: Hands) {
        let pair = Pair::new(hands);
        write(&pair.source, b"list", b"one", 0);
        pair.pass(&plain()).await;
        fs::write(pair.source.join("list"), b"two").unwrap();
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(EPOCH, 123_456_790);
        fs::File::open(pair.source.join("list")).unwrap().set_modified(time).unwrap();
        pair.converge(&plain()).await;
    }

    async fn a_file_written_just_now_is_never_taken_for_unchanged(hands: Hands) {
        let pair = Pair::new(hands);
        let (source, target) = pair.trees().await;
        for round in 0..30u8 {
            // Same size, and as close to the pass before as it gets.
            fs::write(pair.source.join("list"), [b'a' + round % 26; 10]).unwrap();
            sync(&source, &target, &plain(), &(), &()).await.unwrap();
            assert_eq!(fs::read(pair.target.join("list")).unwrap(), [b'a' + round % 26; 10], "{round}");
        }
    }

    async fn kinds_that_change_are_replaced_and_the_former_kept(hands: Hands) {
        let pair = Pair::new(hands);
        write(&pair.source, b"was folder", b"file", 0);
        write(&pair.target, b"was folder/inner", b"kept", 0);
        write(&pair.source, b"was file/inner", b"file", 0);
        write(&pair.target, b"was file", b"kept", 0);
        symlink("x", pair.source.join("was a file too")).unwrap();
        write(&pair.target, b"was a file too", b"kept", 0);
        let report = pair.converge(&plain()).await;
        assert_eq!(report.set_aside, 3);
        for path in [&b"was folder/inner"[..], b"was file", b"was a file too"] {
            assert_eq!(read(&pair.aside().join("label"), path), b"kept");
        }
    }

    async fn what_is_aside_is_never_overwritten(hands: Hands) {
        let pair = Pair::new(hands);
        for content in [b"first", b"other"] {
            write(&pair.target, b"a/b", content, 0);
            fs::create_dir_all(pair.source.join("a")).unwrap();
            pair.pass(&plain()).await;
        }
        // Now `a` itself: a folder of that name is there, so this goes to a third place.
        write(&pair.target, b"a/b", b"third", 0);
        fs::remove_dir(pair.source.join("a")).unwrap();
        pair.pass(&plain()).await;
        assert_eq!(read(&pair.aside().join("label"), b"a/b"), b"first");
        assert_eq!(read(&pair.aside().join("label~2"), b"a/b"), b"other");
        assert_eq!(read(&pair.aside().join("label~3"), b"a/b"), b"third");
        assert_eq!(fs::metadata(pair.aside()).unwrap().mode() & 0o777, 0o700);
    }

    async fn nothing_is_set_aside_unless_asked_for(hands: Hands) {
        let pair = Pair::new(hands);
        write(&pair.source, b"a", b"a", 0);
        write(&pair.target, b"b/c", b"c", 0);
        write(&pair.target, b"a/in the way", b"c", 0);
        let report = pair.pass(&SyncOptions { delete: false, ..plain() }).await;
        assert_eq!((report.set_aside, report.copied, report.skipped.len()), (0, 0, 1), "{report:?}");
        assert!(exists(&pair.target, b"b/c") && exists(&pair.target, b"a/in the way") && !pair.aside().exists());
        let (source, target) = pair.trees().await;
        let found = compare(&source, &target, &plain(), Comparison::Metadata, &()).await.unwrap();
        assert_eq!((found.extra, found.different, found.missing), (1, 1, 0), "{found:?}");
    }

    async fn the_delete_limit_stops_a_pass_before_it_changes_anything(hands: Hands) {
        let pair = Pair::new(hands);
        for number in 0..20 {
            write(&pair.source, format!("f{number}").as_bytes(), b"x", 0);
        }
        pair.pass(&plain()).await;
        for number in 0..3 {
            fs::remove_file(pair.source.join(format!("f{number}"))).unwrap();
        }
        write(&pair.source, b"new", b"x", 0);
        let before = snapshot(&pair.target);
        let (source, target) = pair.trees().await;
        for (limit, allowed) in [(Limit::Percent(14.9), 2), (Limit::Count(2), 2), (Limit::Percent(0.0), 0)] {
            let error = sync(&source, &target, &SyncOptions { delete_limit: limit, ..plain() }, &(), &()).await.unwrap_err();
            assert!(matches!(error, Error::TooManyDeletes { would: 3, limit, of: 20 } if limit == allowed), "{error}");
            assert_eq!(snapshot(&pair.target), before);
        }
        pair.converge(&SyncOptions { delete_limit: Limit::Percent(15.0), ..plain() }).await;
    }

    async fn an_empty_or_missing_source_deletes_nothing(hands: Hands) {
        let pair = Pair::new(hands);
        write(&pair.target, b"d/a", b"x", 0);
        let before = snapshot(&pair.target);
        let (source, target) = pair.trees().await;
        let options = SyncOptions { delete_limit: Limit::Percent(100.0), ..plain() };
        let error = sync(&source, &target, &options, &(), &()).await.unwrap_err();
        assert!(matches!(error, Error::TooManyDeletes { would: 1, limit: 0, of: 1 }), "{error}");
        let scoped = SyncOptions { scope: vec![b"d".to_vec()], ..plain() };
        let report = sync(&source, &target, &scoped, &(), &()).await.unwrap();
        assert_eq!(report.skipped.len(), 1);
        assert!(report.skipped[0].1.contains("does not exist on the source"), "{report:?}");
        assert_eq!(snapshot(&pair.target), before);
        let side = this_machine().await;
        let missing = pair.folder.path().join("not there");
        let opened = match hands {
            Hands::Local => rehome_sync::Tree::open(&side, &missing).await,
            _ => rehome_sync::Tree::open_by_agent(&side, &missing).await,
        };
        assert!(matches!(opened, Err(Error::NoSuchTree { .. })));
    }

    async fn only_the_scope_is_touched(hands: Hands) {
        let pair = Pair::new(hands);
        for path in [&b"example.org/user/a"[..], b"example.org/user/sub/b", b"example.org/other/c", b"example.com/d"] {
            write(&pair.source, path, path, 0);
        }
        write(&pair.target, b"example.org/user/extra", b"x", 0);
        write(&pair.target, b"example.org/extra", b"x", 0);
        let options = SyncOptions { scope: vec![b"example.org/user".to_vec(), b"example.org/user/sub".to_vec()], ..plain() };
        let report = pair.pass(&options).await;
        assert_eq!((report.copied, report.set_aside), (2, 1), "{report:?}");
        assert!(exists(&pair.target, b"example.org/user/sub/b") && exists(&pair.target, b"example.org/extra"));
        assert!(!exists(&pair.target, b"example.org/other") && !exists(&pair.target, b"example.com"));
        assert!(pair.pass(&options).await.changed_nothing());
        let (source, target) = pair.trees().await;
        for bad in [&b"/etc"[..], b"../x", b"a//b"] {
            let options = SyncOptions { scope: vec![bad.to_vec()], ..plain() };
            assert!(matches!(sync(&source, &target, &options, &(), &()).await, Err(Error::Invalid { .. })));
        }
    }

    async fn patterns_leave_files_alone_on_both_sides(hands: Hands) {
        let pair = Pair::new(hands);
        write(&pair.source, b"d/keep.index", b"source", 0);
        write(&pair.source, b"d/file", b"source", 0);
        write(&pair.target, b"d/other.index", b"target", 0);
        write(&pair.target, b"d/keep.index", b"target", 0);
        pair.pass(&SyncOptions { without: patterns(&["*.index"]), ..plain() }).await;
        pair.assert_equal(&["*.index"]);
        assert_eq!(read(&pair.target, b"d/keep.index"), b"target");
        assert_eq!(read(&pair.target, b"d/other.index"), b"target");

        let pair = Pair::new(hands);
        write(&pair.source, b"d/e/file.sieve", b"s", 0);
        write(&pair.source, b"f/file", b"s", 0);
        write(&pair.target, b"g/file", b"t", 0);
        write(&pair.target, b"g/gone.sieve", b"t", 0);
        let report = pair.pass(&SyncOptions { only: patterns(&["*.sieve"]), ..plain() }).await;
        assert_eq!((report.copied, report.set_aside), (1, 1), "{report:?}");
        assert!(exists(&pair.target, b"d/e/file.sieve") && !exists(&pair.target, b"f") && exists(&pair.target, b"g/file"));
    }

    async fn adding_only_never_changes_what_is_there(hands: Hands) {
        let pair = Pair::new(hands);
        write(&pair.source, b"both", b"source", 1);
        write(&pair.source, b"list", b"source", 1);
        write(&pair.source, b"missing/too", b"source", 1);
        write(&pair.source, b"folder here", b"source", 1);
        write(&pair.target, b"both", b"target", 0);
        write(&pair.target, b"list", b"target", 0);
        write(&pair.target, b"extra", b"target", 0);
        write(&pair.target, b"folder here/x", b"target", 0);
        set_mode(&pair.source.join("both"), 0o600);
        let options = SyncOptions { add_only: true, also_replace: patterns(&["list"]), ..plain() };
        let report = pair.pass(&options).await;
        assert_eq!((report.copied, report.set_aside, report.renamed, report.skipped.len()), (2, 1, 0, 1), "{report:?}");
        assert_eq!(read(&pair.target, b"both"), b"target");
        assert_ne!(fs::metadata(pair.target.join("both")).unwrap().mode() & 0o777, 0o600);
        assert_eq!(read(&pair.target, b"list"), b"source");
        assert_eq!(read(&pair.aside().join("label"), b"list"), b"target");
        assert_eq!(read(&pair.target, b"missing/too"), b"source");
        assert!(exists(&pair.target, b"extra") && exists(&pair.target, b"folder here/x"));
        assert_eq!(pair.pass(&options).await.copied, 0);
    }

    async fn hard_links_are_made_and_parted_as_on_the_source(hands: Hands) {
        let pair = Pair::new(hands);
        for name in ["a", "b", "c"] {
            write(&pair.source, name.as_bytes(), b"same", 0);
        }
        pair.pass(&plain()).await;
        // Now they are one file.
        for name in ["b", "c"] {
            fs::remove_file(pair.source.join(name)).unwrap();
            fs::hard_link(pair.source.join("a"), pair.source.join(name)).unwrap();
        }
        write(&pair.source, b"d/x", b"other", 0);
        fs::hard_link(pair.source.join("d/x"), pair.source.join("e")).unwrap();
        set_time(&pair.source.join("a"), 0);
        let report = pair.converge(&plain()).await;
        assert_eq!((report.copied, report.linked), (1, 3), "{report:?}");
        // And several again.
        fs::remove_file(pair.source.join("b")).unwrap();
        write(&pair.source, b"b", b"same", 0);
        pair.converge(&plain()).await;
        assert_ne!(inode(&pair.target, b"a"), inode(&pair.target, b"b"));
        assert_eq!(inode(&pair.target, b"a"), inode(&pair.target, b"c"));
    }

    async fn setuid_is_dropped_unless_asked_for(hands: Hands) {
        let pair = Pair::new(hands);
        write(&pair.source, b"tool", b"x", 0);
        set_mode(&pair.source.join("tool"), 0o6755);
        pair.pass(&plain()).await;
        let mode = || fs::metadata(pair.target.join("tool")).unwrap().mode() & 0o7777;
        assert_eq!(mode(), 0o755);
        assert!(pair.pass(&plain()).await.changed_nothing());
        pair.converge(&SyncOptions { set_id: true, ..plain() }).await;
        assert_eq!(mode(), 0o6755);
    }

    async fn owners_go_by_name(hands: Hands) {
        if !is_root() {
            println!("skipped: only root may give files to others");
            return;
        }
        let pair = Pair::new(hands);
        write(&pair.source, b"d/file", b"x", 0);
        symlink("x", pair.source.join("d/link")).unwrap();
        std::os::unix::fs::lchown(pair.source.join("d/file"), Some(2), Some(8)).unwrap();
        std::os::unix::fs::lchown(pair.source.join("d/link"), Some(8), Some(2)).unwrap();
        std::os::unix::fs::lchown(pair.source.join("d"), Some(8), Some(8)).unwrap();
        // A change of owner takes these bits away, so they come after it.
        write(&pair.source, b"d/tool", b"x", 0);
        set_mode(&pair.source.join("d/tool"), 0o6755);
        let with_bits = SyncOptions { set_id: true, owner: Some(Owner { user: "mail".to_owned(), group: "mail".to_owned() }), ..plain() };
        pair.pass(&with_bits).await;
        assert_eq!(fs::metadata(pair.target.join("d/tool")).unwrap().mode() & 0o7777, 0o6755);
        fs::remove_file(pair.source.join("d/tool")).unwrap();
        pair.converge(&plain()).await;
        let owner = Some(Owner { user: "mail".to_owned(), group: "1234567".to_owned() });
        let options = SyncOptions { owner, ..plain() };
        assert_eq!(pair.pass(&options).await.corrected, 3);
        let stat = fs::symlink_metadata(pair.target.join("d/link")).unwrap();
        assert_eq!((stat.uid(), stat.gid()), (8, 1_234_567));
        assert!(pair.pass(&options).await.changed_nothing());

        let before = snapshot(&pair.target);
        write(&pair.source, b"more", b"x", 0);
        let owner = Some(Owner { user: "mail".to_owned(), group: "no such group".to_owned() });
        let (source, target) = pair.trees().await;
        let error = sync(&source, &target, &SyncOptions { owner, ..plain() }, &(), &()).await.unwrap_err();
        assert!(matches!(&error, Error::UnknownOwner { what: "group", name, .. } if name == "no such group"), "{error}");
        assert_eq!(snapshot(&pair.target), before);
    }

    async fn devices_and_pipes_are_told_and_left_out(hands: Hands) {
        let pair = Pair::new(hands);
        write(&pair.source, b"file", b"x", 0);
        rustix::fs::mkfifoat(rustix::fs::CWD, pair.source.join("pipe"), rustix::fs::Mode::RUSR).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(pair.source.join("socket")).unwrap();
        let report = pair.pass(&plain()).await;
        assert_eq!((report.copied, report.skipped.len()), (1, 2), "{report:?}");
        pair.assert_equal(&["pipe", "socket"]);
    }

    async fn what_cannot_be_listed_is_an_error_and_deletes_nothing(hands: Hands) {
        if is_root() {
            println!("skipped: root may list everything");
            return;
        }
        let pair = Pair::new(hands);
        write(&pair.source, b"d/file", b"x", 0);
        pair.pass(&plain()).await;
        set_mode(&pair.source.join("d"), 0);
        let (source, target) = pair.trees().await;
        let error = sync(&source, &target, &plain(), &(), &()).await.unwrap_err();
        set_mode(&pair.source.join("d"), 0o700);
        assert!(matches!(error, Error::NotAllowed { .. }), "{error}");
        assert!(exists(&pair.target, b"d/file"));
    }

    async fn a_tree_is_never_synchronised_with_itself(hands: Hands) {
        let pair = Pair::new(hands);
        let (source, again) = (pair.open(&pair.source).await, pair.open(&pair.source).await);
        assert!(matches!(sync(&source, &again, &plain(), &(), &()).await, Err(Error::Invalid { .. })));
        assert!(matches!(sync(&source, &source, &plain(), &(), &()).await, Err(Error::Invalid { .. })));
    }
}

#[tokio::test]
async fn a_link_in_place_of_the_scope_is_replaced_and_not_followed() {
    let pair = Pair::new(Hands::Local);
    let outside = pair.folder.path().join("outside");
    write(&outside, b"user/file", b"outside", 0);
    write(&pair.source, b"example.org/user/file", b"source", 0);
    symlink(&outside, pair.target.join("example.org")).unwrap();
    let before = snapshot(&outside);
    pair.pass(&SyncOptions { scope: vec![b"example.org/user".to_vec()], ..plain() }).await;
    assert_eq!(snapshot(&outside), before);
    assert_eq!(read(&pair.target, b"example.org/user/file"), b"source");
    assert!(pair.aside().join("label/example.org").is_symlink());
}

#[tokio::test]
async fn an_agent_on_an_unknown_machine_works_with_whole_seconds() {
    let pair = Pair::new(Hands::OldAgents);
    odd_tree(&pair.source);
    let report = pair.converge(&plain()).await;
    assert_eq!((report.copied, report.linked), (21, 1));
    write(&pair.source, b"flat/-rf", b"changed", 100);
    fs::remove_dir_all(at(&pair.source, ODD[0])).unwrap();
    let report = pair.converge(&plain()).await;
    assert_eq!((report.copied, report.set_aside), (1, 1));
}

/// A file system of 300 kB, in a folder; gone with it.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: &std::path::Path) -> Option<Self> {
        let mounted =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=300k", "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

with_both_hands! {
    async fn a_full_disk_is_named_and_nothing_half_stays(hands: Hands) {
        let pair = Pair::new(hands);
        let Some(_disk) = SmallDisk::mount(&pair.target) else {
            println!("skipped: no right to mount a small file system here");
            return;
        };
        for number in 0..10 {
            write(&pair.source, format!("f{number}").as_bytes(), &[b'x'; 50_000], 0);
        }
        let (source, target) = pair.trees().await;
        let error = sync(&source, &target, &plain(), &(), &()).await.unwrap_err();
        assert!(matches!(error, Error::DiskFull { .. }), "{error}");
        assert!(error.to_string().contains("f"), "{error}");
        assert!(unfinished(&pair.target).is_empty());
        let error = target.put(b"list", &[b'x'; 400_000], 0o600, None).await.unwrap_err();
        assert!(matches!(error, Error::DiskFull { .. }), "{error}");
        assert!(unfinished(&pair.target).is_empty());
        // With room it goes on; what is set aside stays on that disk, inside the tree.
        for number in 0..6 {
            fs::remove_file(pair.source.join(format!("f{number}"))).unwrap();
        }
        write(&pair.target, b"extra", b"x", 0);
        sync(&source, &target, &plain(), &(), &()).await.unwrap();
        pair.assert_equal(&[".rehome-aside"]);
        assert_eq!(read(&pair.target, b".rehome-aside/label/extra"), b"x");
        assert!(!pair.aside().join("label/extra").exists());
    }
}

/// A command of the package `acl` or `attr`; false where there is no such program.
fn ran(program: &str, words: &[&str], file: &Path) -> bool {
    match std::process::Command::new(program).args(words).arg(file).output() {
        Err(_) => false,
        Ok(output) => {
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
            true
        }
    }
}

with_both_hands! {
    async fn attributes_and_access_control_lists_come_along_and_go(hands: Hands) {
        let pair = Pair::new(hands);
        write(&pair.source, b"a/file", b"content", 1);
        write(&pair.source, b"a/plain", b"content", 1);
        let file = pair.source.join("a/file");
        let long = vec![0xff; 3000];
        for (name, value) in [("user.one", &b"1\0\xfe"[..]), ("user.long", &long)] {
            rustix::fs::setxattr(&file, name, value, rustix::fs::XattrFlags::empty()).unwrap();
        }
        let listed = ran("setfacl", &["-m", "u:daemon:r,g:mail:rw"], &file)
            && ran("setfacl", &["-m", "d:u:daemon:rwx,u:daemon:rx"], &pair.source.join("a"));
        if !listed {
            println!("the package acl is not installed: only attributes are looked at");
        }
        assert_eq!(pair.converge(&plain()).await.copied, 2);
        assert_eq!(attribute(&pair.target.join("a/file"), "user.one"), b"1\0\xfe");
        assert_eq!(attribute(&pair.target.join("a/file"), "user.long"), long);
        rustix::fs::removexattr(&file, "user.one").unwrap();
        rustix::fs::setxattr(&file, "user.two", b"2", rustix::fs::XattrFlags::empty()).unwrap();
        if listed {
            assert!(ran("setfacl", &["-b"], &file) && ran("setfacl", &["-k"], &pair.source.join("a")));
        }
        let report = pair.converge(&plain()).await;
        assert_eq!(report.copied, 0, "{report:?}");
        assert!(report.corrected > 0);
    }
}

fn attribute(file: &Path, name: &str) -> Vec<u8> {
    let mut value = vec![0; 10_000];
    let length = rustix::fs::getxattr(file, name, &mut value[..]).unwrap();
    value.truncate(length);
    value
}
