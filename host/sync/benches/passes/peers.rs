//! The tools we are measured against, each over a connection that is open already, with the same files left out.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rehome_remote::{Options, Side, Target};

use crate::sshd::Sshd;

/// What neither copies: Dovecot makes its own.
pub const LEFT_OUT: [&str; 3] = ["dovecot.index*", "dovecot.list.index*", "maildirsize"];

pub async fn this_machine() -> Side {
    Side::connect(&Target::Local, &Options::default()).await.unwrap_or_else(|error| panic!("{error}"))
}

/// An ssh connection that tools share.
pub struct Link {
    master: Child,
    ssh: String,
    socket: PathBuf,
}

impl Link {
    pub fn open(sshd: &Sshd) -> Self {
        let socket = sshd.path("peers");
        let (config, known) = (sshd.path("ssh_config"), sshd.path("known_hosts"));
        let ssh =
            format!("ssh -F {} -o UserKnownHostsFile={} -S {}", config.display(), known.display(), socket.display());
        let words: Vec<&str> = ssh.split(' ').collect();
        let master = Command::new(words[0]).args(&words[1..]).args(["-M", "-N", "old"]).stdin(Stdio::null()).spawn();
        let link = Self { master: master.expect("ssh"), ssh, socket };
        while !link.socket.exists() {
            std::thread::sleep(Duration::from_millis(20));
        }
        link
    }

    fn command(&self) -> Command {
        let words: Vec<&str> = self.ssh.split(' ').collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg("old");
        command
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        _ = self.master.kill();
        _ = self.master.wait();
    }
}

pub struct Peer {
    pub name: &'static str,
    pub folder: &'static str,
    how: How,
}

enum How {
    Rsync(&'static [&'static str]),
    Parallel,
    Tar,
}

impl Peer {
    pub const AGAIN: [&Peer; 2] = [
        &Peer { name: "rsync -aHAX --delete", folder: "rsync-ahax", how: How::Rsync(&["-aHAX", "--delete"]) },
        &Peer { name: "rsync -a --delete", folder: "rsync-a", how: How::Rsync(&["-a", "--delete"]) },
    ];
    pub const FIRST: [&Peer; 5] = [
        Self::AGAIN[0],
        Self::AGAIN[1],
        &Peer { name: "rsync -az --delete", folder: "rsync-az", how: How::Rsync(&["-az", "--delete"]) },
        &Peer { name: "4 rsync -a at a time", folder: "rsync-4", how: How::Parallel },
        &Peer { name: "tar | ssh | tar", folder: "tar", how: How::Tar },
    ];

    pub fn run(&self, link: &Link, source: &Path, target: &Path) {
        match &self.how {
            How::Rsync(options) => done(rsync(link, options, &format!("old:{}/", source.display()), target)),
            How::Parallel => parallel(link, source, target),
            How::Tar => tar(link, source, target),
        }
    }
}

fn rsync(link: &Link, options: &[&str], from: &str, target: &Path) -> Command {
    let mut command = Command::new("rsync");
    command.args(options).args(LEFT_OUT.map(|pattern| format!("--exclude={pattern}")));
    command.arg("-e").arg(&link.ssh).arg(from).arg(format!("{}/", target.display()));
    command
}

fn done(mut command: Command) {
    let status = command.stdin(Stdio::null()).status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // 24: something vanished while it was copied, which is right under a hot copy (rsync(1), EXIT VALUES).
    assert!(matches!(status.code(), Some(0 | 24)), "{command:?}: {status}");
}

fn parallel(link: &Link, source: &Path, target: &Path) {
    let domains = std::fs::read_dir(source).expect("the source").flatten();
    let accounts = domains.flat_map(|domain| std::fs::read_dir(domain.path()).expect("a domain").flatten());
    let queue = std::sync::Mutex::new(accounts.map(|account| account.path()).collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some(account) = queue.lock().expect("no peer panicked").pop() else { return };
                    let below = target.join(account.strip_prefix(source).expect("an account of the source"));
                    std::fs::create_dir_all(&below).expect("a folder");
                    done(rsync(link, &["-a"], &format!("old:{}/", account.display()), &below));
                }
            });
        }
    });
}

fn tar(link: &Link, source: &Path, target: &Path) {
    let excludes: Vec<String> = LEFT_OUT.map(|pattern| format!("--exclude={pattern}")).to_vec();
    let far = format!("tar -C {} {} -cf - .", source.display(), excludes.join(" "));
    let mut sending = link.command().arg(far).stdout(Stdio::piped()).spawn().expect("ssh");
    let from = sending.stdout.take().expect("its output");
    let status = Command::new("tar").arg("-C").arg(target).args(["-xpf", "-"]).stdin(from).status().expect("tar");
    assert!(status.success() && sending.wait().expect("ssh").success());
}

/// What rsync would still do to make the target equal: nothing.
pub fn must_be_equal(source: &Path, target: &Path) {
    let mut command = Command::new("rsync");
    command.args(["-aHAXnci", "--delete", "--modify-window=-1"]);
    command.args(LEFT_OUT.map(|pattern| format!("--exclude={pattern}")));
    command.arg(format!("{}/", source.display())).arg(format!("{}/", target.display()));
    let output = command.output().expect("rsync");
    let text = String::from_utf8_lossy(&output.stdout);
    let left: Vec<&str> = text.lines().filter(|line| !line.ends_with(" ./")).take(10).collect();
    assert!(output.status.success() && left.is_empty(), "not equal:\n{}", left.join("\n"));
}
