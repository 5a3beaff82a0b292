//! A pass that is killed (SIGKILL) at any system call by which it changes the target, one after the other, and the next pass.
//! The pass runs in this program again, below strace(1), which does the killing. Invariant: whatever stands under a final
//! name is whole; afterwards a pass makes both sides equal.

use crate::fixture::*;
use rehome_sync::sync;
use std::path::Path;
use std::process::{Command, Stdio};

/// In the environment of the program that is killed: which hands, and the folder of its trees.
const ROLE: &str = "REHOME_TEST_KILLED_PASS";
/// Every call that changes a file, a name, or what is on the disk.
const CALLS: [&str; 14] = [
    "openat",
    "write",
    "fchmod",
    "utimensat",
    "rename",
    "renameat",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "syncfs",
    "fsync",
];
/// Of all points every so many, in turns from seed to seed (`REHOME_KILL_SEED`); 1 with `REHOME_KILL_ALL`.
const STEP: usize = 7;

/// What the killed program does; for others, nothing.
#[tokio::test]
async fn a_pass() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (hands, folder) = role.split_once(' ').unwrap();
    let hands = if hands == "agents" { Hands::Agents } else { Hands::Local };
    let (source, target) = (
        open(hands, &Path::new(folder).join("old/mail")).await,
        open(hands, &Path::new(folder).join("new/mail")).await,
    );
    println!("\nbegun");
    sync(&source, &target, &maildir(), &(), &()).await.unwrap();
    println!("\nfinished");
}

/// Whether it finished before it came to the `nth` such call.
fn killed_at(hands: Hands, pair: &Pair, call: &str, nth: usize) -> bool {
    let name = if hands == Hands::Agents { "agents" } else { "local" };
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    command.args(["-e", &format!("inject={call}:signal=KILL:when={nth}")]);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", "killed_anywhere::a_pass", "--nocapture"]);
    command.env(ROLE, format!("{name} {}", pair.folder.path().display()));
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).contains("\nfinished")
}

/// New mailboxes and old ones, new messages, other flags, a file that is replaced, something that is set aside.
fn lay_out(pair: &Pair) {
    for mailbox_ in ["user", "user/.New"] {
        mailbox(&pair.source, mailbox_.as_bytes());
    }
    mailbox(&pair.target, b"user");
    for number in 0..22u8 {
        write(&pair.source, format!("user/.New/cur/{number}.host:2,S").as_bytes(), &[number; 2000], 0);
    }
    for number in 0..4u8 {
        write(&pair.source, format!("user/cur/{number}.host:2,S").as_bytes(), &[number; 70_000], 0);
        write(&pair.source, format!("user/cur/1{number}.host:2,S").as_bytes(), &[number; 300], 0);
        write(&pair.target, format!("user/cur/1{number}.host:2,").as_bytes(), &[number; 300], 0);
    }
    write(&pair.source, b"user/dovecot-uidlist", b"the new list", 5);
    write(&pair.target, b"user/dovecot-uidlist", b"the old list", 0);
    write(&pair.target, b"user/cur/99.host:2,", b"gone on the source", 0);
}

/// Nothing that is not what one of the sides had.
fn assert_whole(pair: &Pair) {
    for number in 0..22u8 {
        let path = format!("user/.New/cur/{number}.host:2,S");
        assert!(
            !exists(&pair.target, path.as_bytes()) || read(&pair.target, path.as_bytes()) == [number; 2000],
            "{path}"
        );
    }
    for number in 0..4u8 {
        let path = format!("user/cur/{number}.host:2,S");
        assert!(!exists(&pair.target, path.as_bytes()) || read(&pair.target, path.as_bytes()) == [number; 70_000]);
        let names = ["", "S"].map(|flags| format!("user/cur/1{number}.host:2,{flags}"));
        let there = names.iter().filter(|name| exists(&pair.target, name.as_bytes())).count();
        assert_eq!(there, 1, "a message under {names:?}");
    }
    let list = read(&pair.target, b"user/dovecot-uidlist");
    assert!(list == b"the new list" || list == b"the old list");
}

/// Whether a pass comes to its end before the `nth` call; one that does not is made good by the next.
async fn survives(hands: Hands, call: &str, nth: usize) -> bool {
    let pair = Pair::new(hands);
    lay_out(&pair);
    let finished = killed_at(hands, &pair, call, nth);
    assert_whole(&pair);
    pair.pass(&maildir()).await;
    pair.assert_equal(&[]);
    assert!(unfinished(pair.folder.path()).is_empty(), "killed at {call} {nth}");
    assert!(exists(&pair.aside().join("label"), b"user/cur/99.host:2,"), "killed at {call} {nth}");
    finished
}

async fn killed_anywhere(hands: Hands) {
    if Command::new("strace").arg("-V").output().is_err() && std::env::var_os("CI").is_none_or(|ci| ci != "true") {
        println!("skipped: no strace to kill with");
        return;
    }
    let all = std::env::var_os("REHOME_KILL_ALL").is_some();
    let seed = std::env::var("REHOME_KILL_SEED").ok().and_then(|seed| seed.parse::<usize>().ok());
    let step = if all { 1 } else { STEP };
    let first = 1 + seed.unwrap_or(std::process::id() as usize) % step;
    println!("killed at call {first} and every {step} after it; the same again: REHOME_KILL_SEED={}", first - 1);
    let mut kills = 0;
    for call in CALLS {
        let mut nth = first;
        while !survives(hands, call, nth).await {
            (nth, kills) = (nth + step, kills + 1);
        }
    }
    println!("killed {kills} times");
    assert!(kills > 150 / step, "only {kills} kills: strace did not kill what it should");
}

#[tokio::test]
async fn of_local_hands() {
    within(killed_anywhere(Hands::Local)).await;
}

#[tokio::test]
async fn of_agents() {
    within(killed_anywhere(Hands::Agents)).await;
}
