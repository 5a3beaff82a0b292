//! How another machine can reach a side: where ssh here connects to, as whom, and which host keys it expects there.
//! Invariant: only host keys that this machine trusts are told, and only where ssh goes straight to the side; a hop, a
//! command or a certificate in between is an answer of its own. Nothing is sent anywhere to find this out.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::machine::Machine;
use crate::text::printable;

/// ssh and ssh-keygen only read files for this; a `Match exec` of the operator's may take a moment.
const PATIENCE: Duration = Duration::from_secs(10);

/// The way to a side, for an ssh(1) on another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Name or address, as ssh here connects to it.
    pub host: String,
    /// The address of a name, as it is known here.
    pub address: Option<String>,
    /// Its port.
    pub port: u16,
    /// Who logs in there.
    pub user: String,
    /// Its host keys as in known_hosts (sshd(8)), without the names: type, space, base64. At least one.
    pub host_keys: Vec<String>,
}

/// What `ssh -G` says that counts here.
#[derive(Default)]
struct Config {
    host: String,
    alias: Option<String>,
    port: u16,
    user: String,
    known_hosts: Vec<String>,
    /// Why another machine cannot do the same.
    detour: Option<&'static str>,
}

/// The way to the machine, or in words why there is none to be told.
pub(crate) async fn route(machine: &Machine) -> Result<Route, String> {
    let Some(master) = &machine.master else { return Err("it is this machine".to_owned()) };
    let mut ssh = Command::new("ssh");
    ssh.arg("-G").arg("-F").arg(master.folder.path().join("config")).arg("--").arg(&master.destination);
    let config = Config::read(&said_by(ssh).await?);
    if let Some(detour) = config.detour {
        return Err(detour.to_owned());
    }
    let mut host_keys = Vec::new();
    let own = machine.options.known_hosts.as_ref().map(|path| vec![path.clone()]);
    let files = own.unwrap_or_else(|| config.known_hosts.iter().map(Into::into).collect());
    for name in config.names() {
        for file in files.iter().filter(|file| file.is_file()) {
            host_keys.extend(known(&name, file).await?);
        }
        if !host_keys.is_empty() {
            break;
        }
    }
    if host_keys.is_empty() {
        return Err("its host key stands in no known_hosts file here".to_owned());
    }
    let Config { host, port, user, .. } = config;
    let found = timeout(PATIENCE, tokio::net::lookup_host((host.as_str(), port))).await;
    let address =
        found.ok().and_then(Result::ok).and_then(|mut all| all.next()).map(|address| address.ip().to_string());
    Ok(Route { host, address, port, user, host_keys })
}

impl Config {
    fn read(said: &[u8]) -> Self {
        let text = String::from_utf8_lossy(said);
        let mut config = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            match key {
                "hostname" => config.host = value.to_owned(),
                "hostkeyalias" => config.alias = Some(value.to_owned()),
                "port" => config.port = value.parse().unwrap_or_default(),
                "user" => config.user = value.to_owned(),
                "userknownhostsfile" | "globalknownhostsfile" => {
                    config.known_hosts.extend(value.split(' ').map(str::to_owned));
                }
                "proxyjump" if value != "none" => config.detour = Some("it is reached through a jump host"),
                "proxycommand" if value != "none" => config.detour = Some("it is reached through a command of its own"),
                _ => {}
            }
        }
        config
    }

    /// What the host may be called in known_hosts, in the order in which ssh looks.
    fn names(&self) -> Vec<String> {
        let host = self.host.to_lowercase();
        match &self.alias {
            Some(alias) => vec![alias.to_lowercase()],
            None if self.port == 22 => vec![host],
            None => vec![format!("[{host}]:{}", self.port), host],
        }
    }
}

/// The keys of a host in one known_hosts file, whether or not its names are hashed there.
async fn known(name: &str, file: &Path) -> Result<Vec<String>, String> {
    let mut keygen = Command::new("ssh-keygen");
    keygen.arg("-F").arg(name).arg("-f").arg(file);
    keys(&said_by(keygen).await?)
}

fn keys(said: &[u8]) -> Result<Vec<String>, String> {
    let text = String::from_utf8_lossy(said);
    let mut keys = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["@revoked", ..] => return Err("one of its host keys is revoked".to_owned()),
            // What it vouches for, it vouches for under names that are not used on the way.
            ["@cert-authority", ..] => {}
            [_, kind, key, ..] if is_plain(kind) && is_plain(key) => keys.push(format!("{kind} {key}")),
            _ => {}
        }
    }
    Ok(keys)
}

/// Whether it is of the letters that types of keys, and base64, have.
fn is_plain(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.@+/=".contains(&byte))
}

/// What a program prints that only reads.
async fn said_by(mut command: Command) -> Result<Vec<u8>, String> {
    let name = printable(command.as_std().get_program().as_encoded_bytes());
    command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    crate::machine::own_session(&mut command);
    match timeout(PATIENCE, command.output()).await {
        // ssh-keygen ends with 1 where it finds nothing.
        Ok(Ok(output)) => Ok(output.stdout),
        Ok(Err(error)) => Err(format!("{name} cannot be run here: {error}")),
        Err(_) => Err(format!("{name} does not end here")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_would_do_is_read_from_its_words() {
        let said = b"host old\nuser root\nhostname Old.example.org\nport 2222\nproxyusefdpass no\n\
                     globalknownhostsfile /etc/ssh/ssh_known_hosts\nuserknownhostsfile /root/.ssh/known_hosts /b\n";
        let config = Config::read(said);
        assert_eq!((config.host.as_str(), config.port, config.user.as_str()), ("Old.example.org", 2222, "root"));
        assert_eq!(config.names(), ["[old.example.org]:2222", "old.example.org"]);
        assert_eq!(config.known_hosts, ["/etc/ssh/ssh_known_hosts", "/root/.ssh/known_hosts", "/b"]);
        assert_eq!(config.detour, None);
        for detour in ["proxyjump gate", "proxycommand nc %h %p"] {
            assert!(Config::read(detour.as_bytes()).detour.is_some(), "{detour}");
        }
        assert_eq!(Config::read(b"hostname a\nport 2222\nhostkeyalias B\n").names(), ["b"]);
    }

    #[test]
    fn only_plain_keys_are_told_and_a_revoked_one_ends_it() {
        let said = b"# Host [old]:2222 found: line 1\n|1|abc=|def= ssh-ed25519 AAAA+/= comment\n\
                     @cert-authority old ssh-rsa BBBB\nold ssh-rsa \"CC\n";
        assert_eq!(keys(said).unwrap(), ["ssh-ed25519 AAAA+/="]);
        assert!(keys(b"@revoked old ssh-rsa BBBB\n").is_err());
    }
}
