//! A way to the source: an sshd of its own and everything that works behind and before it, in a group of its own.
//! Invariant: ours and the peers' share no process, so that neither's figures hold anything of the other's.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::group::Group;
use crate::relay;
use crate::sshd::Sshd;

/// Without the home of whoever runs this: bash under sshd reads its .bashrc for each command, and what that takes is not measured.
const SSHD: &str = "MaxSessions 20\nSetEnv HOME=/nonexistent";

pub struct Way {
    pub group: Group,
    sshd: Sshd,
}

impl Way {
    pub fn open(groups: Option<&Path>, name: &str) -> Self {
        let group = Group::new(groups, name);
        let Some(sshd) = group.inside(|| Sshd::start(SSHD)) else { panic!("no sshd to measure against") };
        Self { group, sshd }
    }

    /// From now on whoever goes this way takes so long, each way.
    pub fn set_delay(&self, delay: Duration) {
        let port = if delay.is_zero() { self.sshd.port } else { relay::start(self.sshd.port, delay) };
        self.sshd.know(&format!("[127.0.0.1]:{port} {}", self.sshd.public("host")));
        // The first that ssh reads counts (ssh_config(5)).
        self.sshd.configure(&format!("Host old\nPort {port}\n"));
    }

    /// Where `ssh_config` and `known_hosts` are.
    pub fn folder(&self) -> PathBuf {
        self.sshd.path("")
    }
}

/// An ssh connection that the peers share, open before they start: as ours is.
pub struct Link<'way> {
    pub way: &'way Way,
    master: Child,
    /// What rsync is given as its `-e`.
    pub ssh: String,
}

impl<'way> Link<'way> {
    pub fn open(way: &'way Way) -> Self {
        let path = |name: &str| way.sshd.path(name).display().to_string();
        let socket = way.sshd.path("peers");
        let (config, known) = (path("ssh_config"), path("known_hosts"));
        let ssh = format!("ssh -F {config} -o UserKnownHostsFile={known} -S {}", socket.display());
        let mut master = command(way, &ssh);
        let master = master.args(["-M", "-N", "old"]).stdin(Stdio::null()).spawn().expect("ssh");
        let mut link = Self { way, master, ssh };
        while !socket.exists() {
            let ended = link.master.try_wait().expect("ssh");
            assert!(ended.is_none(), "ssh ended instead of connecting; what it said is on standard error");
            std::thread::sleep(Duration::from_millis(20));
        }
        link
    }

    /// ssh to the source over this connection.
    pub fn command(&self) -> Command {
        let mut command = command(self.way, &self.ssh);
        command.arg("old");
        command
    }
}

impl Drop for Link<'_> {
    fn drop(&mut self) {
        // Politely: then it removes its socket, and the next one can be seen to come up.
        let mut exit = command(self.way, &self.ssh);
        _ = exit.args(["-q", "-O", "exit", "old"]).stdin(Stdio::null()).stderr(Stdio::null()).status();
        _ = self.master.kill();
        _ = self.master.wait();
    }
}

fn command(way: &Way, ssh: &str) -> Command {
    let mut words = ssh.split(' ');
    let mut command = way.group.command(words.next().expect("ssh"));
    command.args(words);
    command
}
