//! Passes of the synchroniser against the tools that administrators use, over a real sshd, as JSON lines on stdout.
//! Invariant: each tool has a target of its own, sees the same changes, starts with its connection open, and its result is
//! compared with `rsync -nci`; ours and a peer take turns. `cargo xtask bench sync` runs it and writes the table.

#![expect(clippy::disallowed_macros, reason = "a bench talks to whoever started it")]
#![expect(clippy::disallowed_methods, reason = "it makes the trees that it measures, and runs other tools")]

mod memory;
mod peers;
#[path = "../../../remote/tests/it/sshd.rs"]
#[expect(dead_code, reason = "the tests of `remote` need more of it")]
mod sshd;
mod tree;

use std::path::{Path, PathBuf};
use std::time::Instant;

use rehome_remote::Side;
use rehome_sync::{Limit, Pattern, Strategy, SyncOptions, SyncReport, Tree, sync};

use memory::{Leaves, Peak};
use peers::Peer;
use sshd::Sshd;
use tree::Mail;

/// What is measured.
struct Settings {
    messages: u64,
    pairs: usize,
    folder: PathBuf,
    passes: Vec<String>,
    caches: Vec<String>,
}

fn settings() -> Settings {
    let mut settings = Settings {
        messages: 20_000,
        pairs: 5,
        folder: std::env::temp_dir(),
        passes: ["first", "cold-unchanged", "cold-churn", "converged"].map(String::from).to_vec(),
        caches: ["warm", "dropped"].map(String::from).to_vec(),
    };
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_else(|| panic!("{word} needs a value"));
        match word.as_str() {
            "--messages" => settings.messages = value.parse().expect("a number of messages"),
            "--pairs" => settings.pairs = value.parse().expect("a number of pairs"),
            "--folder" => settings.folder = value.into(),
            "--passes" => settings.passes = value.split(',').map(String::from).collect(),
            "--caches" => settings.caches = value.split(',').map(String::from).collect(),
            other => panic!("{other} is no option of this bench"),
        }
    }
    settings
}

#[tokio::main]
async fn main() {
    let settings = settings();
    let folder = tempfile::Builder::new().prefix("rehome-bench-").tempdir_in(&settings.folder).expect("a folder");
    let Some(sshd) = Sshd::start("MaxSessions 20") else { panic!("no sshd to measure against") };
    let bench = Bench {
        mail: Mail::make(&folder.path().join("source"), settings.messages),
        folder: folder.path().to_path_buf(),
        side: sshd.side().await,
        link: peers::Link::open(&sshd),
        settings,
    };
    for pass in &bench.settings.passes {
        match pass.as_str() {
            "first" => bench.first().await,
            "cold-unchanged" => bench.unchanged().await,
            "cold-churn" => bench.churn().await,
            "converged" => bench.converged().await,
            other => panic!("{other} is no pass"),
        }
    }
}

struct Bench {
    settings: Settings,
    mail: Mail,
    folder: PathBuf,
    side: Side,
    link: peers::Link,
}

fn options() -> SyncOptions {
    SyncOptions {
        strategy: Strategy::Maildir,
        without: peers::LEFT_OUT.iter().map(|glob| Pattern::new(glob).expect("a pattern")).collect(),
        delete: true,
        delete_limit: Limit::None,
        ..SyncOptions::default()
    }
}

/// Ours, with its tools laid out: trees opened, the state of former passes at hand.
struct Ours {
    old: Tree,
    new: Tree,
    target: PathBuf,
    state: Leaves,
}

impl Ours {
    async fn pass(&self) -> (f64, SyncReport) {
        let begun = Instant::now();
        let report = sync(&self.old, &self.new, &options(), &self.state, &()).await.unwrap_or_else(|e| panic!("{e}"));
        (begun.elapsed().as_secs_f64(), report)
    }
}

impl Bench {
    async fn ours(&self, name: &str) -> Ours {
        let target = self.target(name);
        let new = Tree::open(&peers::this_machine().await, &target).await.unwrap_or_else(|e| panic!("{e}"));
        let old = Tree::open(&self.side, &self.mail.root).await.unwrap_or_else(|e| panic!("{e}"));
        let state = Leaves::open(&self.folder.join(format!("{name}.state")));
        Ours { old, new, target, state }
    }

    fn target(&self, name: &str) -> PathBuf {
        let target = self.folder.join(name);
        std::fs::create_dir_all(&target).expect("a target");
        target
    }

    fn peer(&self, peer: &Peer, target: &Path, cache: &str) -> f64 {
        prepare(cache);
        let begun = Instant::now();
        peer.run(&self.link, &self.mail.root, target);
        begun.elapsed().as_secs_f64()
    }

    /// The first copy: into an empty target, each time anew.
    async fn first(&self) {
        for cache in &self.settings.caches {
            for peer in Peer::FIRST {
                let (mut ours, mut theirs) = (Vec::new(), Vec::new());
                for pair in 0..self.settings.pairs {
                    let own = self.ours(&format!("first-{pair}")).await;
                    let target = self.target("first-peer");
                    for turn in [pair % 2, 1 - pair % 2] {
                        if turn == 0 {
                            prepare(cache);
                            ours.push(own.pass().await.0);
                        } else {
                            theirs.push(self.peer(peer, &target, cache));
                        }
                    }
                    peers::must_be_equal(&self.mail.root, &own.target);
                    remove(&target);
                    remove(&own.target);
                    own.state.clear();
                }
                self.tell("first", cache, peer, ours, theirs);
            }
        }
    }

    async fn unchanged(&self) {
        let own = self.ours("ours").await;
        own.pass().await;
        self.wait_until_ripe();
        own.pass().await;
        for peer in Peer::AGAIN {
            let target = self.target(peer.folder);
            peer.run(&self.link, &self.mail.root, &target);
            for cache in &self.settings.caches {
                let (mut ours, mut theirs) = (Vec::new(), Vec::new());
                for pair in 0..self.settings.pairs {
                    for turn in [pair % 2, 1 - pair % 2] {
                        if turn == 0 {
                            prepare(cache);
                            ours.push(own.pass().await.0);
                        } else {
                            theirs.push(self.peer(peer, &target, cache));
                        }
                    }
                }
                self.tell("cold-unchanged", cache, peer, ours, theirs);
            }
        }
        peers::must_be_equal(&self.mail.root, &own.target);
    }

    /// 0.5 % new, 1 % with other flags, 0.3 % gone since the last pass, which ended before these.
    async fn churn(&self) {
        let own = self.ours("ours").await;
        own.pass().await;
        for peer in Peer::AGAIN {
            let target = self.target(peer.folder);
            peer.run(&self.link, &self.mail.root, &target);
            for cache in &self.settings.caches {
                let (mut ours, mut theirs) = (Vec::new(), Vec::new());
                for pair in 0..self.settings.pairs {
                    self.wait_until_ripe();
                    own.pass().await;
                    self.mail.churn(0.005, 0.01, 0.003);
                    for turn in [pair % 2, 1 - pair % 2] {
                        if turn == 0 {
                            prepare(cache);
                            ours.push(own.pass().await.0);
                        } else {
                            theirs.push(self.peer(peer, &target, cache));
                        }
                    }
                    peers::must_be_equal(&self.mail.root, &own.target);
                }
                self.tell("cold-churn", cache, peer, ours, theirs);
            }
        }
    }

    /// Both make hot passes while mail arrives (10 mails and 20 other flags a second); then it stops, and the last one counts.
    async fn converged(&self) {
        let own = self.ours("ours").await;
        own.pass().await;
        let peer = &Peer::AGAIN[0];
        let target = self.target(peer.folder);
        peer.run(&self.link, &self.mail.root, &target);
        for cache in &self.settings.caches {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for pair in 0..self.settings.pairs {
                let arriving = self.mail.arriving(10.0, 20.0);
                tokio::task::yield_now().await;
                for _ in 0..2 {
                    peer.run(&self.link, &self.mail.root, &target);
                    own.pass().await;
                }
                arriving.stop();
                for turn in [pair % 2, 1 - pair % 2] {
                    if turn == 0 {
                        prepare(cache);
                        ours.push(own.pass().await.0);
                    } else {
                        theirs.push(self.peer(peer, &target, cache));
                    }
                }
                peers::must_be_equal(&self.mail.root, &own.target);
            }
            self.tell("converged", cache, peer, ours, theirs);
        }
    }

    /// What was changed within two seconds is looked at again whatever is known of it: not what is measured here.
    fn wait_until_ripe(&self) {
        std::thread::sleep(std::time::Duration::from_millis(2200));
    }

    fn tell(&self, pass: &str, cache: &str, peer: &Peer, mut ours: Vec<f64>, mut theirs: Vec<f64>) {
        let mut ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| theirs / ours).collect();
        let median = |values: &mut Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let line = serde_json::json!({
            "bench": "sync", "messages": self.settings.messages, "pass": pass, "cache": cache, "peer": peer.name,
            "ours_s": median(&mut ours), "peer_s": median(&mut theirs), "ratio": median(&mut ratios),
            "pairs": self.settings.pairs, "ours_peak_mb": Peak::of_ours().megabytes(),
        });
        println!("{line}");
    }
}

/// Caches as they are, or as after a boot.
fn prepare(cache: &str) {
    if cache != "dropped" {
        return;
    }
    // sync(2), then the kernel's own switch (proc(5), drop_caches).
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3").expect("root may drop the caches");
}

fn remove(folder: &Path) {
    std::fs::remove_dir_all(folder).expect("a target that goes away");
}
