//! A pass over a real sshd on loopback: the agent at the far end, its link cut, its perl killed.

use crate::fixture::*;
use crate::sshd::{Sshd, cmdline, pids, signal};
use rehome_sync::{Error, Observer, Tree, sync};
use std::sync::Mutex;

/// The agents that work in this folder: the perl processes, not the shells around them.
fn agents(folder: &str) -> Vec<u32> {
    let is_ours = |pid: &u32| {
        let line = cmdline(*pid);
        line.starts_with("/usr/bin/perl") && line.contains(folder)
    };
    pids().into_iter().filter(is_ours).collect()
}

fn account(pair: &Pair) {
    for number in 0..300u32 {
        let name = format!("user/.Box &AOQ-\n/cur/{number}.host:2,S");
        write(&pair.source, name.as_bytes(), &vec![b'x'; 10_000 + number as usize], u64::from(number));
    }
    write(&pair.source, b"user/caf\xe9", b"latin1", 0);
    mailbox(&pair.source, b"user/.Box &AOQ-\n");
}

#[tokio::test]
async fn a_pass_runs_from_there_to_here_and_back() {
    let Some(sshd) = Sshd::start("") else { return };
    within(async {
        let side = sshd.side().await;
        let pair = Pair::on_disk(Hands::Local);
        account(&pair);
        let (far, near) = (Tree::open(&side, &pair.source).await.unwrap(), pair.open(&pair.target).await);
        let report = sync(&far, &near, &maildir(), &(), &()).await.unwrap();
        assert_eq!(report.copied, 301);
        pair.assert_equal(&["tmp/*"]);
        assert!(sync(&far, &near, &maildir(), &(), &()).await.unwrap().changed_nothing());
        // And from here to there.
        let back = pair.folder.path().join("back");
        std::fs::create_dir(&back).unwrap();
        let far = Tree::open(&side, &back).await.unwrap();
        assert_eq!(sync(&near, &far, &maildir(), &(), &()).await.unwrap().copied, 301);
        drop(far);
        side.close().await;
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_is_killed_is_an_error_and_the_next_pass_finishes() {
    let Some(sshd) = Sshd::start("") else { return };
    within(async {
        let side = sshd.side().await;
        let pair = Pair::new(Hands::Local);
        account(&pair);
        let near = pair.open(&pair.source).await;
        let far = Tree::open(&side, &pair.target).await.unwrap();
        let folder = pair.target.display().to_string();
        let killer = Killer(Mutex::new(Some(folder)));
        let error = sync(&near, &far, &maildir(), &(), &killer).await.unwrap_err();
        assert!(matches!(error, Error::Protocol { .. } | Error::Remote(_)), "{error}");
        let far = Tree::open(&side, &pair.target).await.unwrap();
        sync(&near, &far, &maildir(), &(), &()).await.unwrap();
        pair.assert_equal(&["tmp/*"]);
        assert!(unfinished(&pair.target).is_empty());
        side.close().await;
    })
    .await;
}

#[tokio::test]
async fn an_idle_agent_that_died_is_replaced() {
    let Some(sshd) = Sshd::start("") else { return };
    within(async {
        let side = sshd.side().await;
        let pair = Pair::new(Hands::Local);
        write(&pair.source, b"file", b"x", 0);
        let far = Tree::open(&side, &pair.source).await.unwrap();
        let folder = pair.source.display().to_string();
        agents(&folder).into_iter().for_each(|pid| signal(pid, "KILL"));
        // The news takes its way; a request that is faster than it fails.
        while far.read(b"file", 10).await.is_err() {}
        far.list(b"", 1, 10).await.unwrap();
        side.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_missing_root_over_ssh_is_named() {
    let Some(sshd) = Sshd::start("") else { return };
    within(async {
        let side = sshd.side().await;
        let error = Tree::open(&side, "/no/such\n/tree".as_ref()).await.err().expect("there is none").to_string();
        assert!(error.contains("no folder /no/such\\n/tree: it does not exist"), "{error}");
        side.close().await;
    })
    .await;
}

/// Kills the agents that work in a folder once the trees are listed.
struct Killer(Mutex<Option<String>>);

impl Observer for Killer {
    fn progress(&self, _: u64, _: Option<u64>, _: u64) {
        if let Some(folder) = self.0.lock().unwrap().take() {
            for pid in agents(&folder) {
                signal(pid, "KILL");
            }
        }
    }
}
