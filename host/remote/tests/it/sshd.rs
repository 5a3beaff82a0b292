//! A real sshd for one test: own port, own keys, own known_hosts, own ssh configuration, in a temporary folder.
//! Invariant: dropped, it takes with it every process it started and every ssh that used its folder.
//! Without an sshd a test prints why it is skipped; with CI=true it fails instead.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rehome_remote::{Error, Options, Side, Target};
use tempfile::TempDir;

const SSHD: &str = "/usr/sbin/sshd";

/// No test may take longer; none of them comes near.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), work).await.expect("a test that hangs has found a bug")
}

/// Waits until `done`, for as long as [`within`] allows.
pub async fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub struct Sshd {
    child: Child,
    pub port: u16,
    folder: TempDir,
}

impl Sshd {
    /// One that listens; `None` if there is none to be had (then the reason is printed).
    pub fn start(extra: &str) -> Option<Self> {
        if let Some(reason) = missing() {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{reason}");
            say(&format!("skipped: {reason}"));
            return None;
        }
        let folder = tempfile::Builder::new().prefix("rh").tempdir_in("/tmp").unwrap();
        for key in ["host", "other", "user"] {
            let file = folder.path().join(key);
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(file).status();
            assert!(made.unwrap().success());
        }
        fs::copy(folder.path().join("user.pub"), folder.path().join("authorized")).unwrap();
        // Another process may take the free port before sshd does.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if let Some(child) = listen(folder.path(), port, extra) {
                let sshd = Self { child, port, folder };
                sshd.trust("host");
                sshd.configure("");
                return Some(sshd);
            }
        }
        panic!("sshd does not start: {}", fs::read_to_string(folder.path().join("log")).unwrap_or_default());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes this the known host key: `host` (the right one) or `other`.
    pub fn trust(&self, key: &str) {
        self.know(&format!("[127.0.0.1]:{} {}", self.port, self.public(key)));
    }

    /// Writes known_hosts.
    pub fn know(&self, lines: &str) {
        fs::write(self.path("known_hosts"), lines).unwrap();
    }

    pub fn public(&self, key: &str) -> String {
        fs::read_to_string(self.path(&format!("{key}.pub"))).unwrap()
    }

    /// Writes the operator's ssh configuration: `old` is this sshd; `more` goes before it.
    pub fn configure(&self, more: &str) {
        let text = format!(
            "{more}\nHost old via jump\nHostName 127.0.0.1\nPort {}\nIdentityFile {}\nIdentitiesOnly yes\nIdentityAgent none\n",
            self.port,
            self.path("user").display()
        );
        fs::write(self.path("ssh_config"), text).unwrap();
    }

    pub fn options(&self) -> Options {
        Options {
            control_dir: self.path("c"),
            ssh_config: Some(self.path("ssh_config")),
            known_hosts: Some(self.path("known_hosts")),
            authorized_keys: Some(self.path("authorized")),
            keep_alive: Duration::from_secs(1),
            ..Options::default()
        }
    }

    pub async fn try_connect(&self, destination: &str) -> Result<Side, Error> {
        within(Side::connect(&Target::Ssh { destination: destination.into() }, &self.options())).await
    }

    pub async fn side(&self) -> Side {
        self.try_connect("old").await.unwrap()
    }

    /// The sshd processes of connections (not the listener).
    pub fn connections(&self) -> Vec<u32> {
        descendants(self.child.id()).into_iter().filter(|&pid| name(pid).starts_with("sshd")).collect()
    }

    /// The ssh processes on this side.
    pub fn masters(&self) -> Vec<u32> {
        let folder = self.path("c").display().to_string();
        pids().into_iter().filter(|&pid| name(pid) == "ssh" && cmdline(pid).contains(&folder)).collect()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        for pid in self.masters().into_iter().chain(descendants(self.child.id())) {
            signal(pid, "KILL");
        }
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A process noted in a file by a command under test; ended on drop if it is still that command.
pub struct Noted {
    pub file: PathBuf,
    word: &'static str,
}

impl Noted {
    pub fn new(file: PathBuf, word: &'static str) -> Self {
        Self { file, word }
    }

    /// `sh -c` text that notes its own pid, then becomes `then`.
    pub fn script(&self, then: &str) -> String {
        let file = self.file.display();
        format!("echo $$ >{file}.new && mv {file}.new {file} && {then}")
    }

    pub fn pid(&self) -> Option<u32> {
        fs::read_to_string(&self.file).ok()?.trim().parse().ok()
    }

    pub fn runs(&self) -> bool {
        self.pid().is_some_and(|pid| cmdline(pid).contains(self.word))
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        if self.runs()
            && let Some(pid) = self.pid()
        {
            signal(pid, "KILL");
        }
    }
}

#[expect(clippy::disallowed_macros, reason = "a skipped test says why, and a test has no other way to")]
pub fn say(line: &str) {
    println!("{line}");
}

fn missing() -> Option<String> {
    for program in [SSHD, "/usr/bin/ssh", "/usr/bin/ssh-keygen"] {
        if !Path::new(program).exists() {
            return Some(format!("{program} is not installed (Debian packages openssh-server, openssh-client)"));
        }
    }
    // sshd started as root separates privileges there; the Debian package makes it at boot.
    if rustix::process::geteuid().is_root()
        && let Err(error) = fs::create_dir_all("/run/sshd")
    {
        return Some(format!("/run/sshd: {error}"));
    }
    None
}

fn listen(folder: &Path, port: u16, extra: &str) -> Option<Child> {
    let at = folder.display();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nAuthorizedKeysFile {at}/authorized\nPidFile none\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n{extra}\n"
    );
    fs::write(folder.join("sshd_config"), config).unwrap();
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut child = Command::new(SSHD)
        .args(["-D", "-e", "-f"])
        .arg(folder.join("sshd_config"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    loop {
        if fs::read_to_string(folder.join("log")).unwrap().contains("Server listening") {
            return Some(child);
        }
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn pids() -> Vec<u32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

pub fn cmdline(pid: u32) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

fn descendants(of: u32) -> Vec<u32> {
    let family: Vec<(u32, u32)> = pids().into_iter().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut found = vec![of];
    let mut at = 0;
    while at < found.len() {
        let of = found[at];
        found.extend(family.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| *pid));
        at += 1;
    }
    found.split_off(1)
}

/// Sends a signal to one process.
pub fn signal(pid: u32, signal: &str) {
    _ = Command::new("kill").args(["-s", signal, &pid.to_string()]).stderr(Stdio::null()).status();
}
