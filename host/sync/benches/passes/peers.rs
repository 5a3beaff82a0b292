//! The tools we are measured against, each over a connection that is open already, with the same files left out.
//! (`doveadm backup` is none of them: it needs two Dovecots, and stands in `cargo xtask bench cutover`'s world.)

use std::path::Path;
use std::process::{Command, Stdio};

use crate::settings::{Pass, Settings};
use crate::way::Link;

/// What neither copies: Dovecot makes its own.
pub const LEFT_OUT: [&str; 3] = ["dovecot.index*", "dovecot.list.index*", "maildirsize"];

pub struct Peer {
    pub name: &'static str,
    /// Its target.
    pub folder: &'static str,
    how: How,
    /// Whether it can bring an older copy up to date.
    again: bool,
}

enum How {
    Rsync(&'static [&'static str]),
    Parallel(&'static [&'static str]),
    Tar,
}

const PEERS: [Peer; 5] = [
    Peer { name: "rsync -aHAX --delete", folder: "rsync-ahax", how: How::Rsync(&["-aHAX", "--delete"]), again: true },
    Peer { name: "rsync -a --delete", folder: "rsync-a", how: How::Rsync(&["-a", "--delete"]), again: true },
    Peer { name: "rsync -az", folder: "rsync-az", how: How::Rsync(&["-az"]), again: false },
    Peer {
        name: "4 rsync -a --delete at once",
        folder: "rsync-4",
        how: How::Parallel(&["-a", "--delete"]),
        again: true,
    },
    Peer { name: "tar | ssh | tar", folder: "tar", how: How::Tar, again: false },
];

impl Peer {
    /// Those that can do such a pass, and are asked for.
    pub fn of(pass: Pass, settings: &Settings) -> Vec<&'static Peer> {
        let wanted = |peer: &&Peer| {
            settings.peers.is_empty() || settings.peers.iter().any(|part| peer.name.contains(part.as_str()))
        };
        PEERS.iter().filter(|peer| peer.again || pass == Pass::First).filter(wanted).collect()
    }

    pub fn run(&self, link: &Link, source: &Path, target: &Path) {
        match &self.how {
            How::Rsync(options) => done(rsync(link, options, source, target)),
            How::Parallel(options) => parallel(link, options, source, target),
            How::Tar => tar(link, source, target),
        }
    }
}

fn rsync(link: &Link, options: &[&str], source: &Path, target: &Path) -> Command {
    let mut command = link.way.group.command("rsync");
    command.args(options).args(LEFT_OUT.map(|pattern| format!("--exclude={pattern}")));
    command.arg("-e").arg(&link.ssh).arg(format!("old:{}/", source.display())).arg(format!("{}/", target.display()));
    command
}

fn done(mut command: Command) {
    let status = command.stdin(Stdio::null()).status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // 24: something vanished while it was copied, which is right under a hot copy (rsync(1), EXIT VALUES).
    assert!(matches!(status.code(), Some(0 | 24)), "{command:?}: {status}");
}

/// One for each of the four domains, all at once. A domain that is gone would stay: there is none here.
fn parallel(link: &Link, options: &[&str], source: &Path, target: &Path) {
    std::thread::scope(|scope| {
        for domain in std::fs::read_dir(source).expect("the source").flatten() {
            let below = target.join(domain.file_name());
            std::fs::create_dir_all(&below).expect("a folder");
            scope.spawn(move || done(rsync(link, options, &domain.path(), &below)));
        }
    });
}

fn tar(link: &Link, source: &Path, target: &Path) {
    let excludes = LEFT_OUT.map(|pattern| format!("'--exclude={pattern}'")).join(" ");
    let far = format!("tar -C {} {excludes} -cf - .", source.display());
    let mut sending = link.command().arg(far).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("ssh");
    let from = sending.stdout.take().expect("its output");
    let mut taking = link.way.group.command("tar");
    let status = taking.arg("-C").arg(target).args(["-xpf", "-"]).stdin(from).status().expect("tar");
    assert!(status.success() && sending.wait().expect("ssh").success(), "tar failed");
}
