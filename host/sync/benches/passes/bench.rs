//! What is done in which order. For each delay, pass and peer: both are brought to the same state, then pair by pair that
//! state is made anew, caches are as asked for, and ours and the peer go first in turns.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::disk::Disk;
use crate::equal;
use crate::figure::Figure;
use crate::group::Cost;
use crate::ours::Ours;
use crate::peers::Peer;
use crate::settings::{Pass, Settings};
use crate::tree::Mail;
use crate::way::{Link, Way};

pub struct Bench {
    settings: Settings,
    mail: Mail,
    ours: Way,
    peers: Way,
    /// For first copies, ours and the peer's.
    disks: Option<[Disk; 2]>,
    folder: TempDir,
}

/// A peer, its connection, and the pass it is measured in.
struct Contest<'a> {
    pass: Pass,
    peer: &'a Peer,
    link: &'a Link<'a>,
}

impl Bench {
    pub fn new(settings: Settings) -> Self {
        let prefix = tempfile::Builder::new().prefix("rehome-bench-").tempdir_in(&settings.folder);
        let folder = prefix.unwrap_or_else(|error| panic!("{}: {error}", settings.folder.display()));
        let groups = settings.groups.as_deref();
        let (ours, peers) = (Way::open(groups, "ours"), Way::open(groups, "peers"));
        eprintln!("making {} messages in {}", settings.messages, folder.path().display());
        let mail = Mail::make(&folder.path().join("source"), settings.messages);
        let disk = |name| Disk::new(folder.path(), name, settings.messages);
        let disks = settings.passes.contains(&Pass::First).then(|| disk("disk-ours").zip(disk("disk-peer"))).flatten();
        Self { settings, mail, ours, peers, disks: disks.map(|(ours, peer)| [ours, peer]), folder }
    }

    pub fn run(&self) {
        for delay in &self.settings.delays {
            self.ours.set_delay(*delay);
            self.peers.set_delay(*delay);
            let link = Link::open(&self.peers);
            for &pass in &self.settings.passes {
                for peer in Peer::of(pass, &self.settings) {
                    let contest = Contest { pass, peer, link: &link };
                    self.lay_out(&contest);
                    for cache in &self.settings.caches {
                        eprintln!("{}, caches {cache}, {}, {delay:?}", pass.name(), peer.name);
                        let figure = self.pairs(&contest, cache);
                        figure.tell(&self.settings, pass, cache, peer.name, delay.as_millis());
                    }
                }
            }
        }
    }

    fn pairs(&self, contest: &Contest<'_>, cache: &str) -> Figure {
        let mut figure = Figure::default();
        for pair in 0..self.settings.pairs {
            self.before(contest);
            for turn in [pair % 2, 1 - pair % 2] {
                if turn == 0 {
                    figure.ours.push(self.our_pass(contest, Some(cache)));
                } else {
                    figure.peer.push(self.peer_pass(contest, Some(cache)));
                }
            }
            if contest.pass != Pass::Unchanged {
                equal::wholly(&self.mail.root, &self.target(contest, "ours"));
            }
        }
        equal::wholly(&self.mail.root, &self.target(contest, "ours"));
        equal::in_files(&self.mail.root, &self.target(contest, contest.peer.folder));
        figure
    }

    /// What both have before the first pair.
    fn lay_out(&self, contest: &Contest<'_>) {
        if contest.pass != Pass::First {
            self.both(contest);
        }
        if contest.pass == Pass::Unchanged {
            wait_until_ripe();
            self.both(contest);
        }
    }

    /// What both have before each pair.
    fn before(&self, contest: &Contest<'_>) {
        match contest.pass {
            Pass::First => {
                for disk in self.disks.iter().flatten() {
                    disk.make_blank();
                }
                for name in ["ours", contest.peer.folder] {
                    empty(&self.target(contest, name));
                }
                _ = std::fs::remove_file(self.state(contest));
            }
            Pass::Unchanged => {}
            // Ours looks again into what changed lately; that is no part of what this pass is about.
            Pass::Churn => {
                wait_until_ripe();
                self.our_pass(contest, None);
                self.mail.churn(0.005, 0.01, 0.003);
            }
            // Hot passes while mail arrives (10 mails and 20 other flags a second); then it stops, and the last one counts.
            Pass::Converged => {
                let arriving = self.mail.arriving(10.0, 20.0);
                self.both(contest);
                self.both(contest);
                arriving.stop();
            }
        }
    }

    /// A pass of each that is not measured.
    fn both(&self, contest: &Contest<'_>) {
        self.peer_pass(contest, None);
        self.our_pass(contest, None);
    }

    fn our_pass(&self, contest: &Contest<'_>, cache: Option<&str>) -> Cost {
        let (target, state) = (self.target(contest, "ours"), self.state(contest));
        let mut ours = Ours::ready(&self.ours, &self.mail.root, &target, &state);
        prepare(cache);
        let ((), cost) = self.ours.group.measure(|| ours.pass());
        ours.end();
        cost
    }

    fn peer_pass(&self, contest: &Contest<'_>, cache: Option<&str>) -> Cost {
        let target = self.target(contest, contest.peer.folder);
        prepare(cache);
        let ((), mut cost) = self.peers.group.measure(|| contest.peer.run(contest.link, &self.mail.root, &target));
        // Ours has done this before it says that it is done.
        let begun = Instant::now();
        let folder = std::fs::File::open(&target).expect("the target");
        rustix::fs::syncfs(&folder).expect("a disk that can be written to");
        cost.durable_seconds += begun.elapsed().as_secs_f64();
        cost
    }

    /// Targets of first copies go away; the others are brought up to date again and again.
    fn target(&self, contest: &Contest<'_>, name: &str) -> PathBuf {
        let target = match &self.disks {
            Some([ours, peer]) if contest.pass == Pass::First => {
                if name == "ours" { &ours.mounted } else { &peer.mounted }.join("mail")
            }
            _ if contest.pass == Pass::First => self.folder.path().join("first").join(name),
            _ => self.folder.path().join("again").join(name),
        };
        std::fs::create_dir_all(&target).expect("a target");
        target
    }

    fn state(&self, contest: &Contest<'_>) -> PathBuf {
        let name = if contest.pass == Pass::First { "first.state" } else { "again.state" };
        self.folder.path().join(name)
    }
}

/// Before something is measured: nothing is left to be written (trees that were removed, checks), and caches are as they are,
/// or as after a boot.
fn prepare(cache: Option<&str>) {
    if let Some(cache) = cache {
        rustix::fs::sync();
        if cache == "dropped" {
            // The kernel's own switch (proc(5), drop_caches).
            std::fs::write("/proc/sys/vm/drop_caches", "3").expect("root may drop the caches");
        }
    }
}

/// What was changed within two seconds is looked at again whatever is known of it.
fn wait_until_ripe() {
    std::thread::sleep(Duration::from_millis(2200));
}

fn empty(target: &Path) {
    std::fs::remove_dir_all(target).expect("a target that goes away");
    std::fs::create_dir(target).expect("a target");
}
