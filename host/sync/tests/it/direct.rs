//! Passes of a third machine over two real sshds on loopback: content goes from one side to the other, past rehome.
//! What rehome reads is counted by the kernel, at the ssh that it talks through; the keys by looking at the files.

use crate::fixture::*;
use crate::sshd::{Sshd, cmdline, pids, signal, until};
use rehome_remote::{Side, Target};
use rehome_sync::{Observer, SyncReport, Tree, sync};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::MutexGuard;

const GRANT: &str = include_str!("../../src/direct/grant.pl");

/// Two sides, and rehome on neither.
struct Third {
    old: Sshd,
    new: Sshd,
    pair: Pair,
    /// The keys that the source lets in, before anything is done.
    keys: Vec<u8>,
    /// Where links are made: what is there before, none of it ours.
    folders: Vec<PathBuf>,
    _alone: MutexGuard<'static, ()>,
}

/// These tests look for what others of them make.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What was said of a pass.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Observer for Notes {
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

impl Third {
    async fn start() -> Option<Self> {
        let alone = ALONE.lock().await;
        let (old, new) = (Sshd::start("")?, Sshd::start("")?);
        // Lines of others, the last one without an end.
        let keys = format!(
            "# a comment\n{}restrict,command=\"x/rehome-direct-{}/serve\" ssh-rsa AAAA rehome-direct-1-1\nssh-rsa B mine",
            old.public("user"),
            "0".repeat(32)
        );
        fs::write(old.path("authorized"), &keys).unwrap();
        set_mode(&old.path("authorized"), 0o640);
        let (pair, keys) = (Pair::on_disk(Hands::Agents), keys.into_bytes());
        Some(Self { old, new, pair, keys, folders: folders(), _alone: alone })
    }

    async fn trees(&self) -> (Side, Side, Tree, Tree) {
        let (old, new) = (self.old.side().await, self.new.side().await);
        let source = Tree::open(&old, &self.pair.source).await.unwrap();
        let target = Tree::open(&new, &self.pair.target).await.unwrap();
        (old, new, source, target)
    }

    /// One pass, with what was said, and how many bytes rehome got from the source.
    async fn pass(&self) -> (SyncReport, Vec<String>, u64) {
        let (old, new, source, target) = self.trees().await;
        let notes = Notes::default();
        let report = sync(&source, &target, &maildir(), &(), &notes).await.unwrap();
        let read = self.old.masters().into_iter().map(bytes_read).sum();
        drop((source, target));
        old.close().await;
        new.close().await;
        (report, notes.0.into_inner().unwrap(), read)
    }

    /// Nothing that was made for a link is there any more.
    async fn assert_gone(&self) {
        let keys = self.old.path("authorized");
        assert_eq!(String::from_utf8_lossy(&fs::read(&keys).unwrap()), String::from_utf8_lossy(&self.keys));
        assert_eq!(rustix::fs::stat(&keys).unwrap().st_mode & 0o7777, 0o640);
        let beside = fs::read_dir(keys.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(!beside.into_iter().any(|name| name.to_string_lossy().contains(".rehome-")));
        assert_eq!(folders(), self.folders);
    }
}

/// Where links are made.
fn base() -> PathBuf {
    let uid = rustix::process::geteuid();
    let own = PathBuf::from(format!("/run/user/{}", uid.as_raw()));
    if uid.is_root() {
        "/run".into()
    } else if own.is_dir() {
        own
    } else {
        "/tmp".into()
    }
}

fn folders() -> Vec<PathBuf> {
    let all = fs::read_dir(base()).unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let mut ours: Vec<PathBuf> = all.filter(|path| path.to_string_lossy().contains("/rehome-direct-")).collect();
    ours.sort();
    ours
}

/// Bytes that a process has read, from wherever.
fn bytes_read(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

/// Everything a pass may meet, some 30 MB of it.
fn account(root: &Path) {
    mailbox(root, b"user/.Box &AOQ-\n");
    for number in 0..300u32 {
        let name = format!("user/.Box &AOQ-\n/cur/{number}.host:2,S");
        write(root, name.as_bytes(), &vec![b'x'; 60_000 + number as usize], u64::from(number));
    }
    write(root, b"user/.Box &AOQ-\n/new/large.host", &vec![b'l'; 7_000_000], 5);
    write(root, b"user/.Box &AOQ-\n/new/empty.host", b"", 5);
    write(root, b"user/caf\xe9", b"latin1", 0);
    write(root, b"user/archive", &vec![b'a'; 7_000_001], 9);
    set_mode(&at(root, b"user/archive"), 0o640);
    fs::hard_link(at(root, b"user/archive"), at(root, b"user/same")).unwrap();
    std::os::unix::fs::symlink("archive", at(root, b"user/link")).unwrap();
}

#[tokio::test]
async fn content_goes_from_side_to_side_and_nothing_stays() {
    let Some(third) = Third::start().await else { return };
    within(async {
        account(&third.pair.source);
        let (report, notes, read) = third.pass().await;
        assert_eq!(notes, [""; 0]);
        assert_eq!((report.copied, report.skipped.len()), (305, 0));
        assert!(report.bytes > 30_000_000, "{report:?}");
        third.pair.assert_equal(&["tmp/*"]);
        assert!(read < report.bytes / 20, "{read} of {} bytes came from the source through rehome", report.bytes);
        third.assert_gone().await;
        let (report, _, _) = third.pass().await;
        assert!(report.changed_nothing(), "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn a_handful_of_files_is_not_worth_a_key() {
    let Some(third) = Third::start().await else { return };
    within(async {
        write(&third.pair.source, b"user/file", b"content", 0);
        // A key would need this.
        fs::remove_file(third.old.path("authorized")).unwrap();
        fs::create_dir(third.old.path("authorized")).unwrap();
        fs::write(third.old.path("authorized2"), &third.keys).unwrap();
        let (old, new) = (Sshd::start("").unwrap(), &third.new);
        let (one, two) = (old.side().await, new.side().await);
        let source = Tree::open(&one, &third.pair.source).await.unwrap();
        let target = Tree::open(&two, &third.pair.target).await.unwrap();
        let notes = Notes::default();
        sync(&source, &target, &maildir(), &(), &notes).await.unwrap();
        assert!(notes.0.lock().unwrap().is_empty());
        third.pair.assert_equal(&[]);
    })
    .await;
}

#[tokio::test]
async fn a_login_that_is_refused_is_said_once_and_everything_passes_through_rehome() {
    let Some(third) = Third::start().await else { return };
    within(async {
        account(&third.pair.source);
        // sshd looks elsewhere.
        let elsewhere = third.old.path("elsewhere");
        fs::write(&elsewhere, "").unwrap();
        let options = rehome_remote::Options { authorized_keys: Some(elsewhere.clone()), ..third.old.options() };
        let target = Target::Ssh { destination: "old".to_owned() };
        let (old, new) = (Side::connect(&target, &options).await.unwrap(), third.new.side().await);
        let source = Tree::open(&old, &third.pair.source).await.unwrap();
        let target = Tree::open(&new, &third.pair.target).await.unwrap();
        let notes = Notes::default();
        for round in 0..2 {
            let report = sync(&source, &target, &maildir(), &(), &notes).await.unwrap();
            third.pair.assert_equal(&["tmp/*"]);
            assert_eq!(report.copied, if round == 0 { 305 } else { 1 });
            write(&third.pair.source, b"user/more", &vec![b'm'; 20_000_000], 3);
        }
        let notes = notes.0.into_inner().unwrap();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(
            notes[0].contains("Permission denied") && notes[0].contains("passes through this machine"),
            "{notes:?}"
        );
        assert_eq!(fs::read(&elsewhere).unwrap(), b"");
        third.assert_gone().await;
    })
    .await;
}

#[tokio::test]
async fn a_source_that_shall_let_nobody_in_is_not_asked_to() {
    let Some(third) = Third::start().await else { return };
    within(async {
        account(&third.pair.source);
        let options = rehome_remote::Options { direct: false, ..third.old.options() };
        let target = Target::Ssh { destination: "old".to_owned() };
        let (old, new) = (Side::connect(&target, &options).await.unwrap(), third.new.side().await);
        let source = Tree::open(&old, &third.pair.source).await.unwrap();
        let target = Tree::open(&new, &third.pair.target).await.unwrap();
        let notes = Notes::default();
        let report = sync(&source, &target, &maildir(), &(), &notes).await.unwrap();
        third.pair.assert_equal(&["tmp/*"]);
        assert_eq!(notes.0.into_inner().unwrap(), [""; 0]);
        let read: u64 = third.old.masters().into_iter().map(bytes_read).sum();
        assert!(read > report.bytes, "{read} of {} bytes came from the source through rehome", report.bytes);
        third.assert_gone().await;
    })
    .await;
}

#[tokio::test]
async fn a_source_behind_another_machine_is_not_tried() {
    let Some(third) = Third::start().await else { return };
    within(async {
        account(&third.pair.source);
        third.old.configure("Host old\nProxyJump jump\n");
        let (report, notes, _) = third.pass().await;
        assert_eq!(report.copied, 305);
        assert!(notes.len() == 1 && notes[0].contains("a jump host"), "{notes:?}");
        third.pair.assert_equal(&["tmp/*"]);
        third.assert_gone().await;
    })
    .await;
}

#[tokio::test]
async fn a_key_that_a_killed_run_left_is_swept_by_the_next_one() {
    let Some(third) = Third::start().await else { return };
    within(async {
        account(&third.pair.source);
        let keys = third.old.path("authorized");
        let (dead, alive) = ("d".repeat(32), "a".repeat(32));
        for token in [&dead, &alive] {
            let mut grant = Command::new("/usr/bin/perl");
            grant.args(["-e", GRANT, "--", "add", token, "root"]).arg(&keys);
            grant.args(["", "ssh-ed25519 AAAA", "/", ""]).stdin(Stdio::null()).stdout(Stdio::null());
            assert!(grant.status().unwrap().success());
        }
        let folder = |token: &str| base().join(format!("rehome-direct-{token}"));
        let _removed = [Removed(folder(&dead)), Removed(folder(&alive))];
        let with_both = fs::read_to_string(&keys).unwrap();
        for words in ["\nrestrict,expiry-time=\"", ",command=\"/bin/sh ", &format!("{dead}/serve\" ssh-ed25519 AAAA ")]
        {
            assert!(with_both.contains(words), "{words}: {with_both}");
        }
        let time = with_both.split(&format!("{dead}-")).nth(1).unwrap().split(['-', '\n']).next().unwrap().to_owned();
        let long_ago = with_both.replace(&format!("{dead}-{time}"), &format!("{dead}-1600000000"));
        assert_ne!(long_ago, with_both);
        fs::write(&keys, &long_ago).unwrap();
        set_time(&folder(&dead), 0);
        let (report, notes, read) = third.pass().await;
        assert!(notes.is_empty() && read < report.bytes / 20, "{notes:?}");
        let now = fs::read_to_string(&keys).unwrap();
        assert!(!now.contains(&dead) && !folder(&dead).exists(), "{now}");
        assert!(now.contains(&alive) && folder(&alive).exists(), "one that may be at work was taken away: {now}");
        assert!(now.starts_with(std::str::from_utf8(&third.keys).unwrap()), "{now}");
        // What the other one does at its end.
        let mut grant = Command::new("/usr/bin/perl");
        grant.args(["-e", GRANT, "--", "remove", &alive, "root"]).arg(&keys).args(["", "", "/", ""]);
        assert!(grant.stdout(Stdio::null()).status().unwrap().success());
        fs::write(&keys, fs::read(&keys).unwrap().strip_suffix(b"\n").unwrap_or(&fs::read(&keys).unwrap())).unwrap();
        third.assert_gone().await;
    })
    .await;
}

#[tokio::test]
async fn a_pass_that_is_dropped_while_a_link_is_made_leaves_nothing() {
    let Some(third) = Third::start().await else { return };
    within(async {
        account(&third.pair.source);
        let (_old, _new, source, target) = third.trees().await;
        for milliseconds in (0..1200).step_by(150) {
            let options = maildir();
            let pass = sync(&source, &target, &options, &(), &());
            let _ = tokio::time::timeout(Duration::from_millis(milliseconds), pass).await;
            let keys = third.old.path("authorized");
            until(|| fs::read(&keys).unwrap() == third.keys && folders() == third.folders).await;
        }
        let (_, mut notes, _) = third.pass().await;
        // Dropped while files were on their way, a pass leaves some, and the next one says that it removes them.
        notes.retain(|note| !(note.starts_with("removing ") && note.ends_with(" unfinished files of a former pass")));
        assert_eq!(notes, [""; 0], "the link is made at last");
        third.pair.assert_equal(&["tmp/*"]);
        assert!(unfinished(&third.pair.target).is_empty());
        third.assert_gone().await;
    })
    .await;
}

#[tokio::test]
async fn a_file_of_keys_that_is_only_a_name_for_another_one_is_left_alone() {
    let _alone = ALONE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let (keys, link, token) = (folder.path().join("keys"), folder.path().join("link"), "b".repeat(32));
    let _removed = Removed(base().join(format!("rehome-direct-{token}")));
    fs::write(&keys, "ssh-rsa A\n").unwrap();
    std::os::unix::fs::symlink(&keys, &link).unwrap();
    fs::hard_link(&keys, folder.path().join("same")).unwrap();
    for file in [&link, &keys, &folder.path().join("none")] {
        for what in ["add", "remove"] {
            let mut grant = Command::new("/usr/bin/perl");
            grant.args(["-e", GRANT, "--", what, &token, "root"]).arg(file).args(["", "ssh-ed25519 A", "/", ""]);
            let printed = String::from_utf8(grant.stdin(Stdio::null()).output().unwrap().stdout).unwrap();
            assert!(printed.starts_with("no ") && printed.contains(file.to_str().unwrap()), "{what}: {printed}");
        }
    }
    assert_eq!(fs::read(&keys).unwrap(), b"ssh-rsa A\n");
    assert_eq!(fs::read_link(&link).unwrap(), keys);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

/// Removes a folder at the end of a test, also of one that fails.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether a file is being written below.
fn is_writing(root: &Path) -> bool {
    let Ok(listed) = fs::read_dir(root) else { return false };
    listed.filter_map(Result::ok).any(|entry| {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        entry.file_name().to_string_lossy().contains(".rehome-tmp-") && !is_folder
            || is_folder && is_writing(&entry.path())
    })
}

#[tokio::test]
async fn a_link_that_is_killed_is_said_and_what_is_left_passes_through_rehome() {
    let Some(third) = Third::start().await else { return };
    within(async {
        let (source, target) = (third.pair.source.clone(), third.pair.target.clone());
        for number in 0..40u8 {
            write(&source, format!("user/file{number}").as_bytes(), &vec![number; 3_000_000], 0);
        }
        let root = source.display().to_string();
        let killer = std::thread::spawn(move || {
            while !is_writing(&target) {
                std::thread::sleep(Duration::from_millis(1));
            }
            let is_far = |pid: &u32| {
                let line = cmdline(*pid);
                line.starts_with("/usr/bin/perl /") && line.contains("/rehome-direct-") && line.contains(&root)
            };
            let far: Vec<u32> = pids().into_iter().filter(is_far).collect();
            far.iter().for_each(|&pid| signal(pid, "KILL"));
            far.len()
        });
        let (report, notes, read) = third.pass().await;
        assert_eq!(killer.join().unwrap(), 1);
        assert_eq!((report.copied, report.skipped.len()), (40, 0));
        assert!(notes.len() == 1 && notes[0].contains("lost its own link"), "{notes:?}");
        assert!(read > 3_000_000, "nothing was left to be relayed: killed too late");
        third.pair.assert_equal(&[]);
        assert!(unfinished(&third.pair.target).is_empty());
        third.assert_gone().await;
    })
    .await;
}
