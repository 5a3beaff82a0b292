//! Content goes from side to side without passing through this machine, where both are reached over ssh: a hand of the
//! target logs in to the source by itself, with a key that is made for that and let in for nothing but reading one tree.
//! Invariant: the key, the line that lets it in and every file made for it are gone before the first file is fetched, or
//! when that fails; those of a killed run expire, and are removed by the next one. What the hand then does is `pass::direct`.

mod trace;

use crate::hand::{PROGRAM, Reply, Request, Session, unexpected};
use crate::{Error, Tree, escape};
use rehome_remote::{Command, QUICK_CIPHERS, Route, Side};
use std::collections::HashMap;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;
use tokio::sync::Mutex;
use trace::Trace;

/// Makes a key on the target, and removes it.
const KEY: &str = include_str!("key.sh");
/// Lets it in on the source, and takes it away.
const GRANT: &str = include_str!("grant.pl");
/// For one of the commands that prepare it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Seconds in which a machine that can be reached answers.
const CONNECT: u32 = 5;
/// Seconds of silence while the hand logs in.
const LOGIN: u32 = 10;
/// A link that is lost so often is not made again.
const LOSSES: u32 = 2;

/// What is known of the direct ways to a tree, by the source: how often each failed.
#[derive(Default)]
pub(crate) struct Ways(Mutex<HashMap<String, u32>>);

/// What became of it.
pub(crate) enum Reached {
    Yes,
    /// Known before, or there is no third machine that content could pass through.
    No,
    /// Why not, found out just now.
    Failed(String),
}

/// A tree on one side, as those who prepare a link need it.
pub(crate) struct End<'a> {
    pub(crate) side: &'a Side,
    pub(crate) root: &'a Path,
    /// Its hands know no system calls by number.
    pub(crate) old: bool,
}

impl End<'_> {
    /// What links to it are known by.
    fn key(&self) -> String {
        format!("{} {}", self.side.name(), escape(self.root.as_os_str().as_bytes()))
    }
}

/// Whether the hand fetches from the source by itself already.
pub(crate) fn is_reached(source: &Tree, hand: &Session) -> bool {
    hand.reaches.is_some() && hand.reaches == source.far_end().map(|source| source.key())
}

/// Lets a hand of the target fetch from the source by itself from now on.
pub(crate) async fn reach(source: &Tree, target: &Tree, hand: &mut Session) -> Result<Reached, Error> {
    let (Some(old), Some(new)) = (source.far_end(), target.far_end()) else { return Ok(Reached::No) };
    if !old.side.may_let_in() {
        return Ok(Reached::No);
    }
    let key = old.key();
    // One at a time: the others see how it went.
    let mut failures = target.ways().0.lock().await;
    if failures.get(&key).is_some_and(|&count| count >= LOSSES) {
        return Ok(Reached::No);
    }
    let reached = prepare(&old, &new, hand).await?;
    Ok(match reached {
        Ok(()) => {
            hand.reaches = Some(key);
            Reached::Yes
        }
        Err(why) => {
            failures.insert(key, LOSSES);
            Reached::Failed(why)
        }
    })
}

/// The hand's link to its source was lost.
pub(crate) async fn lost(target: &Tree, hand: &mut Session) {
    if let Some(key) = hand.reaches.take() {
        *target.ways().0.lock().await.entry(key).or_default() += 1;
    }
}

/// Makes the key, lets it in, has the hand log in with it, and takes everything away again.
async fn prepare(old: &End<'_>, new: &End<'_>, hand: &mut Session) -> Result<Result<(), String>, Error> {
    let route = match old.side.route().await {
        Ok(route) => route,
        Err(why) => return Ok(Err(why)),
    };
    let token = match token() {
        Ok(token) => token,
        Err(error) => return Ok(Err(format!("no random bytes: {error}"))),
    };
    let key = Trace::new(new.side, key_command("remove", &token));
    let grant = Trace::new(old.side, grant_command("remove", &token, old, &route, ""));
    let reached = enter(old, new, hand, &route, &token).await;
    let (no_key, no_grant) = tokio::join!(key.remove(), grant.remove());
    let troubles: Vec<String> = [reached?.err(), no_key.err(), no_grant.err()].into_iter().flatten().collect();
    Ok(if troubles.is_empty() { Ok(()) } else { Err(troubles.join("; ")) })
}

async fn enter(
    old: &End<'_>,
    new: &End<'_>,
    hand: &mut Session,
    route: &Route,
    token: &str,
) -> Result<Result<(), String>, Error> {
    let key = match make_key(new.side, route, token).await {
        Ok(key) => key,
        Err(why) => return Ok(Err(why)),
    };
    if let Err(why) = let_in(old, route, token, &key.public).await {
        return Ok(Err(why));
    }
    let reached = log_in(hand, ssh(&route.host, route, token, &key), token).await?;
    match (&reached, &route.address) {
        // The target may not know the name by which it is known here.
        (Err(why), Some(address)) if why.contains("resolve") => {
            log_in(hand, ssh(address, route, token, &key), token).await
        }
        _ => Ok(reached),
    }
}

async fn log_in(hand: &mut Session, program: Vec<Vec<u8>>, token: &str) -> Result<Result<(), String>, Error> {
    let mark = format!("\x1erehome-{token}\n").into_bytes();
    hand.send(Request::Reach { patience: LOGIN, mark, program }).await;
    match hand.next().await? {
        Reply::Reached(Ok(())) => Ok(Ok(())),
        Reply::Reached(Err(words)) => Ok(Err(one_line(&words))),
        Reply::Failed(fault) => Ok(Err(crate::hand::explain(hand.side(), "start", b"", &fault).to_string())),
        other => Err(unexpected(hand.side(), &other)),
    }
}

/// A key on the target.
struct Key {
    /// Where it is, with the host keys of the source.
    folder: String,
    has_aes: bool,
    public: String,
}

async fn make_key(side: &Side, route: &Route, token: &str) -> Result<Key, String> {
    let hosts: String = route.host_keys.iter().map(|key| format!("{} {key}\n", host_alias(token))).collect();
    let printed = trace::run(side, &key_command("make", token).stdin(hosts)).await?;
    let mut lines = printed.lines();
    let (folder, aes, public) = (lines.next(), lines.next(), lines.next());
    let (Some(folder), Some(aes), Some(public)) = (folder, aes, public) else {
        return Err(format!("{}: no key could be made", side.name()));
    };
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-+/= ".contains(&byte));
    if !is_plain(folder) || !folder.ends_with(&format!("/rehome-direct-{token}-key")) || !is_plain(public) {
        return Err(format!("{}: a key that is none", side.name()));
    }
    Ok(Key { folder: folder.to_owned(), has_aes: aes == "aes", public: public.to_owned() })
}

async fn let_in(old: &End<'_>, route: &Route, token: &str, public: &str) -> Result<(), String> {
    let command = grant_command("add", token, old, route, public).stdin(PROGRAM.as_str());
    trace::run(old.side, &command).await.map(drop)
}

fn key_command(what: &str, token: &str) -> Command {
    Command::new(["/bin/sh", "-c", KEY, "rehome", what, token]).timeout(PATIENCE)
}

fn grant_command(what: &str, token: &str, old: &End<'_>, route: &Route, public: &str) -> Command {
    let keys = old.side.authorized_keys().map_or(&b""[..], |path| path.as_os_str().as_bytes());
    let flag = |set: bool| if set { "1" } else { "" };
    let (sudo, no_calls) = (flag(old.side.uses_sudo()), flag(old.old));
    let mut argv: Vec<&[u8]> = ["/usr/bin/perl", "-e", GRANT, "--", what, token, &route.user].map(str::as_bytes).into();
    argv.extend([keys, sudo.as_bytes(), public.as_bytes(), old.root.as_os_str().as_bytes(), no_calls.as_bytes()]);
    Command::new(argv).timeout(PATIENCE)
}

/// What the source is called in the known_hosts of this link.
fn host_alias(token: &str) -> String {
    format!("rehome-{token}")
}

/// The ssh that leads the hand to the source: it knows this key and these host keys only, and asks nothing.
fn ssh(host: &str, route: &Route, token: &str, key: &Key) -> Vec<Vec<u8>> {
    let folder = &key.folder;
    let mut options = vec![
        "BatchMode=yes".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        format!("UserKnownHostsFile={folder}/known_hosts"),
        "GlobalKnownHostsFile=/dev/null".to_owned(),
        format!("HostKeyAlias={}", host_alias(token)),
        "CheckHostIP=no".to_owned(),
        "IdentitiesOnly=yes".to_owned(),
        "PreferredAuthentications=publickey".to_owned(),
        "PubkeyAuthentication=yes".to_owned(),
        format!("ConnectTimeout={CONNECT}"),
        "ConnectionAttempts=1".to_owned(),
        "ServerAliveInterval=5".to_owned(),
        "ServerAliveCountMax=3".to_owned(),
        "ClearAllForwardings=yes".to_owned(),
        "ForwardAgent=no".to_owned(),
        "ForwardX11=no".to_owned(),
        "PermitLocalCommand=no".to_owned(),
        "ControlMaster=no".to_owned(),
        "ControlPath=none".to_owned(),
        "LogLevel=ERROR".to_owned(),
    ];
    if key.has_aes {
        options.push(format!("Ciphers={}", QUICK_CIPHERS.join(",")));
    }
    let mut argv = ["/usr/bin/ssh", "-F", "/dev/null", "-T", "-i"].map(str::to_owned).to_vec();
    argv.extend([
        format!("{folder}/key"),
        "-p".to_owned(),
        route.port.to_string(),
        "-l".to_owned(),
        route.user.clone(),
    ]);
    argv.extend(options.into_iter().flat_map(|option| ["-o".to_owned(), option]));
    argv.extend(["--".to_owned(), host.to_owned()]);
    argv.into_iter().map(String::into_bytes).collect()
}

/// What ssh said, as part of a sentence.
fn one_line(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    escape(lines.join("; ").as_bytes())
}

/// 128 random bits, in hexadecimal.
fn token() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_used_with_nothing_else_and_for_that_host_alone() {
        let (host, user, host_keys) = ("-old".to_owned(), "root".to_owned(), vec!["t k".to_owned()]);
        let route = Route { host, address: None, port: 2222, user, host_keys };
        let key = Key { folder: "/run/x".to_owned(), has_aes: false, public: String::new() };
        let argv = ssh(&route.host, &route, "t0", &key);
        let text = argv.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ");
        for words in
            ["-i /run/x/key -p 2222 -l root", "UserKnownHostsFile=/run/x/known_hosts", "HostKeyAlias=rehome-t0"]
        {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(text.ends_with(" -- -old"), "{text}");
    }

    #[test]
    fn what_ssh_says_is_one_line_that_a_terminal_may_see() {
        assert_eq!(one_line(b"a\x1b[2J\r\n\nb: no route\r\n"), "a\\u{1b}[2J; b: no route");
    }
}
