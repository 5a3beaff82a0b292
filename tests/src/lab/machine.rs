//! One machine of a lab: commands and files on it over ssh, as root (through sudo where root may not log in).
//! A handle is plain data: it can be cloned, and does not keep the lab alive. See `boot.rs` for how it is started.

use super::cache;
use super::registry::{self, MachineState};
use super::{cgroup::Cgroup, network};
use crate::process::{describe, output, quote, run};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A machine of a lab.
#[derive(Debug, Clone)]
pub struct Machine {
    pub(super) lab: String,
    pub(super) state: MachineState,
}

impl Machine {
    /// Its host name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Its IPv4 address in the lab's network.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.state.address
    }

    /// Its run folder on this machine.
    pub(super) fn folder(&self) -> PathBuf {
        registry::folder(&self.lab).join(&self.state.name)
    }

    /// What it has written, as the overlay keeps it; meaningful when it is shut down.
    pub(super) fn upper(&self) -> PathBuf {
        self.folder().join("disk/upper")
    }

    /// What its console has shown since it was first booted.
    #[must_use]
    pub fn console(&self) -> String {
        let raw = std::fs::read(self.folder().join("console")).unwrap_or_default();
        String::from_utf8_lossy(&raw).into_owned()
    }

    pub(super) fn cgroup(&self) -> Result<Cgroup> {
        Ok(Cgroup::of_lab(&self.lab)?.child(&self.state.name))
    }

    /// Whether any of its processes lives.
    ///
    /// # Errors
    /// This machine has no cgroup2.
    pub fn is_on(&self) -> Result<bool> {
        Ok(self.cgroup()?.populated())
    }

    /// Its processes of this name (comm, proc(5)), by the numbers that they have outside.
    ///
    /// # Errors
    /// This machine has no cgroup2.
    pub fn processes(&self, name: &str) -> Result<Vec<u32>> {
        let is_called =
            |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == name);
        Ok(self.cgroup()?.processes().into_iter().filter(is_called).collect())
    }

    /// Ends its processes of this name at once, SIGKILL; answers how many there were.
    ///
    /// # Errors
    /// This machine has no cgroup2.
    pub fn kill(&self, name: &str) -> Result<usize> {
        let found = self.processes(name)?;
        for pid in &found {
            // It may have ended by itself meanwhile.
            output(Command::new("kill").args(["-KILL", &pid.to_string()]), b"")?;
        }
        Ok(found.len())
    }

    /// An ssh to it, from the lab's outside, with its options; to be completed with a command.
    pub(super) fn ssh_command(&self, options: &[&str]) -> Result<Command> {
        let mut command = outside(&self.lab, "ssh")?;
        command.arg("-F").arg(ssh_config(&self.lab)).args(options).args([&self.state.name, "--"]);
        Ok(command)
    }

    /// The shell command line that runs `words` as root there.
    pub(super) fn as_root(&self, words: &[&str]) -> String {
        let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
        let sudo = if self.state.root_login { "" } else { "sudo -n -- " };
        format!("{sudo}{}", quoted.join(" "))
    }

    /// An ssh for a person: with a terminal where there is one; without `words`, root's shell.
    ///
    /// # Errors
    /// This machine has no cgroup2.
    pub fn terminal(&self, words: &[&str]) -> Result<Command> {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stdin());
        let mut command = self.ssh_command(if terminal { &["-q", "-t"] } else { &["-q", "-T"] })?;
        command.arg(self.as_root(if words.is_empty() { &["bash", "-l"] } else { words }));
        Ok(command)
    }

    /// An ssh that runs `words` as root there, to be started by the caller, who sets its standard streams.
    ///
    /// # Errors
    /// This machine has no cgroup2.
    pub fn command(&self, words: &[&str]) -> Result<Command> {
        let mut command = self.ssh_command(&["-q", "-T"])?;
        command.arg(self.as_root(words));
        Ok(command)
    }

    /// A command that runs one of the lab's Python scripts (`tests/lab/NAME`) there, as [`Machine::command`].
    ///
    /// # Errors
    /// There is no such script.
    pub fn python_command(&self, script: &str, arguments: &[&str]) -> Result<Command> {
        let text = String::from_utf8(cache::script(script)?)?;
        let mut words = vec!["python3", "-c", text.as_str()];
        words.extend(arguments);
        self.command(&words)
    }

    fn output(&self, words: &[&str], input: &[u8]) -> Result<(Command, Output)> {
        let mut command = self.command(words)?;
        let done = output(&mut command, input)?;
        Ok((command, done))
    }

    /// Runs one command as root; arguments arrive as they are. Whatever its status, the outcome is the answer
    /// (255 is ssh's own: no connection).
    ///
    /// # Errors
    /// ssh cannot be started.
    pub fn ssh(&self, words: &[&str]) -> Result<Output> {
        Ok(self.output(words, b"")?.1)
    }

    /// Like [`Machine::ssh`], with `input` as standard input.
    ///
    /// # Errors
    /// As [`Machine::ssh`].
    pub fn ssh_with_input(&self, words: &[&str], input: &[u8]) -> Result<Output> {
        Ok(self.output(words, input)?.1)
    }

    fn success(&self, words: &[&str], input: &[u8]) -> Result<Vec<u8>> {
        let (command, done) = self.output(words, input)?;
        if !done.status.success() {
            bail!("on {}: {}", self.state.name, describe(&command, &done));
        }
        Ok(done.stdout)
    }

    /// Runs a bash script as root and gives its standard output; the script ends at its first failing command.
    ///
    /// # Errors
    /// It ended with another status than 0; the message holds what it said.
    pub fn sh(&self, script: &str) -> Result<String> {
        let said = self.success(&["bash", "-euo", "pipefail", "-c", script], b"")?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// Runs one of the lab's Python scripts (`tests/lab/NAME`) there, as root; gives its standard output.
    ///
    /// # Errors
    /// It ended with another status than 0.
    pub fn python(&self, script: &str, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>> {
        let text = String::from_utf8(cache::script(script)?)?;
        let mut words = vec!["python3", "-c", text.as_str()];
        words.extend(arguments);
        self.success(&words, input).with_context(|| format!("{script} on {}", self.state.name))
    }

    /// Copies a file or folder of this machine there; with owners, modes, times and links. As rsync takes it: a
    /// folder with a trailing slash means what is in it.
    ///
    /// # Errors
    /// rsync's words.
    pub fn push(&self, local: &Path, remote: &str) -> Result<()> {
        run(self.rsync()?.arg(local).arg(self.remote(remote)))?;
        Ok(())
    }

    /// Copies a file or folder from there, as [`Machine::push`].
    ///
    /// # Errors
    /// rsync's words.
    pub fn pull(&self, remote: &str, local: &Path) -> Result<()> {
        run(self.rsync()?.arg(self.remote(remote)).arg(local))?;
        Ok(())
    }

    fn remote(&self, path: &str) -> String {
        format!("{}:{path}", self.state.name)
    }

    fn rsync(&self) -> Result<Command> {
        let mut command = outside(&self.lab, "rsync")?;
        command.args(["-aHs", "-e", &format!("ssh -q -F {}", ssh_config(&self.lab).display())]);
        if !self.state.root_login {
            command.arg("--rsync-path=sudo -n rsync");
        }
        Ok(command)
    }

    /// Whether something listens on this TCP port of it, seen from the lab's outside.
    ///
    /// # Errors
    /// The probe cannot be started.
    pub fn port_is_open(&self, port: u16) -> Result<bool> {
        let mut probe = outside(&self.lab, "timeout")?;
        probe.args(["2", "bash", "-c", &format!("exec 3<>/dev/tcp/{}/{port}", self.state.address)]);
        Ok(output(&mut probe, b"")?.status.success())
    }
}

/// The ssh configuration that knows every machine of the lab by its name.
pub(super) fn ssh_config(lab: &str) -> PathBuf {
    registry::folder(lab).join("ssh/ssh_config")
}

/// A command in the lab's outside namespace and in its cgroup: it ends with the lab.
pub(super) fn outside(lab: &str, program: &str) -> Result<Command> {
    let mut command = Cgroup::of_lab(lab)?.child("outside").command("ip");
    command.args(["netns", "exec", &network::outside(lab), program]);
    Ok(command)
}
