//! `dns` against real name servers: two Knot daemons on loopback addresses, the second with a zone file of its own, so that
//! what one of them says differs from what the other does when a test wants it to.
#![expect(clippy::disallowed_methods, reason = "the tests run servers themselves")]
#![expect(clippy::disallowed_macros, reason = "the tests say what they skip")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use rehome_gatekeeper::types::{DnsAnswer, Failure, Rrset, Verb};
use rehome_gatekeeper::{Clock, DnsSpec, Host, Journal, Scope, Services, Session, SideSpec};
use rehome_manifest::{Config, Filled, Manifest, fill};
use rehome_remote::{Options, Target};

const MANIFEST: &str = r#"
name = "probe"
version = "0.1.0"
api = "0.1"
about = "tries names"
[lookup.mx]
owner = "example.test"
kind = "MX"
[lookup.host]
owner = "{host: hostname from lookup.mx}"
kind = "A"
[lookup.alias]
owner = "{host: hostname from lookup.mx}"
kind = "CNAME"
[lookup.texts]
owner = "example.test"
kind = "TXT"
[lookup.reverse]
owner = "127.77.0.1"
kind = "PTR"
[record.lower]
owner = "example.test"
kind = "MX"
ttl = "60"
key = "update"
reason = "so that resolvers ask again soon"
[record.switch]
owner = "example.test"
kind = "MX"
swap = { from = "mail.example.test", to = "new.example.test" }
key = "update"
reason = "mail goes to new"
[record.raise]
owner = "example.test"
kind = "MX"
ttl = "first-seen"
key = "update"
reason = "as it was"
[record.wrong]
owner = "example.test"
kind = "MX"
ttl = "90"
key = "other"
reason = "signed with a key that the server does not know"
[record.made]
owner = "made.example.test"
kind = "A"
data = ["192.0.2.9"]
ttl = "300"
key = "update"
reason = "was not there"
"#;

const KEY: &str = "c2VjcmV0LWtleS1vZi10aGUtdGVzdC0wMTIzNDU2Nzg=";

const ZONE: &str = "$ORIGIN example.test.\n$TTL 86400\n@ SOA ns1 admin 7 3600 600 86400 60\n@ NS ns1\n@ NS ns2\n\
    @ MX 10 mail\n@ MX 20 backup\n@ TXT \"v=spf1 mx -all\" \"and more\"\nns1 A NET.1\nns2 A NET.2\n\
    mail A 192.0.2.1\nbackup CNAME mail\nnew A 192.0.2.2\n";

/// Two name servers in a folder; gone with the value.
struct Servers {
    folder: tempfile::TempDir,
    net: String,
    port: u16,
    running: Vec<Child>,
}

fn knotd() -> Option<PathBuf> {
    ["/usr/sbin/knotd", "/usr/bin/knotd"].into_iter().map(PathBuf::from).find(|path| path.exists())
}

impl Servers {
    /// None where Knot is not installed: said, not hidden.
    fn start() -> Option<Servers> {
        let Some(knotd) = knotd() else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "CI=true, and this test's server is not installed");
            println!("skipped: no knotd on this machine (Debian: apt-get install knot)");
            return None;
        };
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let net = format!("127.{}.{}", 100 + std::process::id() % 100, NEXT.fetch_add(1, Ordering::Relaxed));
        let port = free_port(&net);
        let mut servers = Servers { folder: tempfile::tempdir().unwrap(), net, port, running: vec![] };
        for number in [1, 2] {
            servers.run(&knotd, number);
        }
        Some(servers)
    }

    fn run(&mut self, knotd: &Path, number: u8) {
        let (net, port) = (&self.net, self.port);
        let folder = self.folder.path().join(number.to_string());
        std::fs::create_dir_all(folder.join("db")).unwrap();
        std::fs::write(folder.join("example.test.zone"), ZONE.replace("NET", net)).unwrap();
        let reverse =
            "$TTL 60\n@ SOA ns1.example.test. a. 1 1 1 1 1\n@ NS ns1.example.test.\n1.0.77 PTR ns1.example.test.\n";
        std::fs::write(folder.join("127.in-addr.arpa.zone"), reverse).unwrap();
        let at = folder.display();
        let text = format!(
            "server:\n  rundir: \"{at}\"\n  listen: {net}.{number}@{port}\n  udp-workers: 1\n  tcp-workers: 1\n  \
             background-workers: 1\ndatabase:\n  storage: \"{at}/db\"\n  journal-db-max-size: 20M\nkey:\n  - id: test-key\n    \
             algorithm: hmac-sha256\n    secret: {KEY}\nacl:\n  - id: update\n    key: test-key\n    action: update\n\
             template:\n  - id: default\n    storage: \"{at}\"\nzone:\n  - domain: example.test\n    file: example.test.zone\n    \
             acl: update\n  - domain: 127.in-addr.arpa\n    file: 127.in-addr.arpa.zone\n"
        );
        let file = folder.join("knot.conf");
        std::fs::write(&file, text).unwrap();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let mut command = Command::new(knotd);
        command.arg("-c").arg(&file).stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null());
        self.running.push(command.spawn().unwrap());
        let address: SocketAddr = format!("{net}.{number}:{port}").parse().unwrap();
        let up = || std::net::TcpStream::connect(address).is_ok();
        for _ in 0..200 {
            if up() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("knotd does not listen: {}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
    }

    fn address(&self, number: u8) -> SocketAddr {
        format!("{}.{number}:{}", self.net, self.port).parse().unwrap()
    }

    /// Ends the second server.
    fn end_second(&mut self) {
        end(&mut self.running[1]);
    }
}

fn end(child: &mut Child) {
    drop(child.kill());
    drop(child.wait());
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.running.iter_mut().for_each(end);
    }
}

fn free_port(net: &str) -> u16 {
    loop {
        let tcp = TcpListener::bind(format!("{net}.1:0")).unwrap();
        let port = tcp.local_addr().unwrap().port();
        if UdpSocket::bind(format!("{net}.1:{port}")).is_ok() && UdpSocket::bind(format!("{net}.2:{port}")).is_ok() {
            return port;
        }
    }
}

/// A phase that may do all of the manifest.
struct Bench {
    servers: Servers,
    journal: Arc<Journal>,
    filled: Arc<Filled>,
}

impl Bench {
    async fn new() -> Option<Bench> {
        let servers = Servers::start()?;
        let state = servers.folder.path().join("state");
        std::fs::create_dir(&state).unwrap();
        for (name, text) in [("update", format!("hmac-sha256:test-key:{KEY}\n")), ("other", format!("wrong-key:{KEY}"))]
        {
            let path = servers.folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let filled = fill(&Manifest::parse(MANIFEST).unwrap(), Config::default()).unwrap();
        let journal = Arc::new(Journal::open(&state).await.unwrap());
        Some(Bench { servers, journal, filled: Arc::new(filled) })
    }

    fn session(&self, verb: Verb) -> Session {
        self.session_of("probe", verb)
    }

    fn session_of(&self, component: &str, verb: Verb) -> Session {
        let folder = self.servers.folder.path();
        let spec = || SideSpec {
            target: Target::Folder(folder.to_path_buf()),
            options: Options { control_dir: folder.join("control"), ..Options::default() },
            databases: BTreeMap::new(),
            redis: Default::default(),
        };
        let dns = DnsSpec {
            resolver: Some(self.servers.address(1)),
            primaries: BTreeMap::new(),
            port: Some(self.servers.port),
        };
        let secrets = ["update", "other"].map(|name| (name.to_string(), folder.join(name)));
        let services = Services { dns, secrets: secrets.into() };
        let clock = Arc::new(Clock::default());
        let state = folder.join("state");
        let host = Host::with_services(spec(), spec(), self.journal.clone(), Arc::new(()), clock, (&state, services));
        let scope =
            Scope { phase: "p".into(), component: component.into(), run: 1, verb, approve: "rehome approve".into() };
        let grants: BTreeSet<String> = self.filled.requests.keys().cloned().collect();
        Session::new(host, scope, self.filled.clone(), grants)
    }

    async fn mx(&self) -> Vec<DnsAnswer> {
        self.session(Verb::Check).look_up("mx", &[]).await.unwrap()
    }

    /// The first server's records.
    async fn mx_now(&self) -> Rrset {
        self.mx().await.remove(0).rrset.unwrap()
    }
}

const MAIL: [&str; 2] = ["10 mail.example.test.", "20 backup.example.test."];
const NEW: [&str; 2] = ["10 new.example.test.", "20 backup.example.test."];

#[tokio::test]
async fn each_authoritative_server_answers_for_itself() {
    let Some(bench) = Bench::new().await else { return };
    let answers = bench.mx().await;
    assert_eq!(answers.len(), 2);
    for (answer, number) in answers.iter().zip([1, 2]) {
        assert!(answer.server.starts_with(&format!("ns{number}.example.test (")), "{}", answer.server);
        let rrset = answer.rrset.as_ref().unwrap();
        assert_eq!((rrset.owner.as_str(), rrset.ttl), ("example.test.", 86_400));
        assert_eq!(rrset.data, MAIL);
    }
    // The second server has its own copy of the zone, and nobody tells it.
    bench.session(Verb::Apply).update("lower", &[], None).await.unwrap();
    let answers = bench.mx().await;
    let seen: Vec<_> = answers.iter().map(|answer| (answer.serial, answer.rrset.as_ref().unwrap().ttl)).collect();
    assert_eq!(seen, [(8, 60), (7, 86_400)]);
}

#[tokio::test]
async fn a_server_that_is_silent_is_named() {
    let Some(mut bench) = Bench::new().await else { return };
    bench.servers.end_second();
    let failure = bench.session(Verb::Check).look_up("mx", &[]).await.unwrap_err();
    assert!(matches!(&failure, Failure::Unreachable(text) if text.contains("ns2.example.test (")), "{failure}");
}

#[tokio::test]
async fn what_an_answer_names_may_be_looked_up_and_nothing_else() {
    let Some(bench) = Bench::new().await else { return };
    let session = bench.session(Verb::Check);
    let refused = session.look_up("host", &["mail.example.test".into()]).await.unwrap_err();
    assert!(matches!(refused, Failure::RefusedValue(_)), "{refused}");
    session.look_up("mx", &[]).await.unwrap();
    let host = session.look_up("host", &["mail.example.test".into()]).await.unwrap();
    assert_eq!(host[0].rrset.as_ref().unwrap().data, ["192.0.2.1"]);
    assert!(session.look_up("host", &["elsewhere.example.test".into()]).await.is_err());
    let alias = session.look_up("alias", &["backup.example.test".into()]).await.unwrap();
    assert_eq!(alias[0].rrset.as_ref().unwrap().data, ["mail.example.test."]);
    let none = session.look_up("alias", &["mail.example.test".into()]).await.unwrap();
    assert_eq!(none[0].rrset, None);
}

#[tokio::test]
async fn texts_and_addresses_are_read_as_they_are() {
    let Some(bench) = Bench::new().await else { return };
    let session = bench.session(Verb::Check);
    let texts = session.look_up("texts", &[]).await.unwrap();
    assert_eq!(texts[0].rrset.as_ref().unwrap().data, ["\"v=spf1 mx -all\" \"and more\""]);
    let reverse = session.look_up("reverse", &[]).await.unwrap();
    assert_eq!(reverse[0].rrset.as_ref().unwrap().data, ["ns1.example.test."]);
}

#[tokio::test]
async fn an_update_is_shown_before_written_and_taken_back() {
    let Some(bench) = Bench::new().await else { return };
    let planned = bench.session(Verb::Preview).planned("switch", &[]).await.unwrap();
    assert_eq!(planned.data, NEW);
    assert_eq!(bench.mx_now().await.data, MAIL);
    let refused = bench.session(Verb::Check).update("switch", &[], None).await.unwrap_err();
    assert!(matches!(refused, Failure::ReadOnly(_)), "{refused}");

    let apply = bench.session(Verb::Apply);
    apply.update("lower", &[], None).await.unwrap();
    assert_eq!((bench.mx_now().await.ttl, bench.mx_now().await.data), (60, MAIL.map(String::from).into()));
    apply.update("switch", &[], None).await.unwrap();
    apply.update("switch", &[], None).await.unwrap();
    assert_eq!((bench.mx_now().await.ttl, bench.mx_now().await.data), (60, NEW.map(String::from).into()));
    apply.update("raise", &[], None).await.unwrap();
    assert_eq!((bench.mx_now().await.ttl, bench.mx_now().await.data), (86_400, NEW.map(String::from).into()));

    let undo = bench.session(Verb::Undo);
    for (name, ttl, data) in
        [("raise", 60, NEW), ("switch", 60, MAIL), ("lower", 86_400, MAIL), ("lower", 86_400, MAIL)]
    {
        undo.restore_record(name, &[]).await.unwrap();
        let now = bench.mx_now().await;
        assert_eq!((now.ttl, now.data), (ttl, data.map(String::from).into()), "after {name}");
    }
}

#[tokio::test]
async fn an_rrset_that_was_not_there_goes_away_again() {
    let Some(bench) = Bench::new().await else { return };
    let made = bench.session(Verb::Apply).update("made", &[], None).await.unwrap();
    assert_eq!((made.ttl, made.data), (300, vec!["192.0.2.9".to_string()]));
    bench.session(Verb::Undo).restore_record("made", &[]).await.unwrap();
    let planned = bench.session(Verb::Preview).planned("made", &[]).await.unwrap();
    assert_eq!(planned.data, ["192.0.2.9"]);
    bench.session(Verb::Undo).restore_record("made", &[]).await.unwrap();
}

#[tokio::test]
async fn what_somebody_else_changed_meanwhile_is_not_overwritten() {
    let Some(bench) = Bench::new().await else { return };
    let expected = bench.mx_now().await;
    bench.session(Verb::Apply).update("switch", &[], Some(&expected)).await.unwrap();
    let conflict = bench.session(Verb::Apply).update("lower", &[], Some(&expected)).await.unwrap_err();
    assert!(matches!(&conflict, Failure::Conflict(text) if text.contains("new.example.test.")), "{conflict}");
    // Somebody else: another component, whose before-image is another.
    bench.session_of("somebody", Verb::Undo).restore_record("switch", &[]).await.unwrap();
    assert_eq!(bench.mx_now().await.data, NEW, "nothing of theirs to take back");
    let other = bench.session_of("somebody", Verb::Apply);
    other.update("lower", &[], None).await.unwrap();
    let refused = bench.session(Verb::Undo).restore_record("switch", &[]).await;
    assert!(refused.is_ok(), "another TTL alone is no conflict: {refused:?}");
}

#[tokio::test]
async fn a_key_the_server_does_not_know_changes_nothing_and_no_secret_is_kept() {
    let Some(bench) = Bench::new().await else { return };
    let failure = bench.session(Verb::Apply).update("wrong", &[], None).await.unwrap_err();
    assert!(failure.to_string().contains("127."), "{failure}");
    assert_eq!(bench.mx_now().await.ttl, 86_400);
    bench.session(Verb::Apply).update("lower", &[], None).await.unwrap();
    bench.journal.flush().await.unwrap();
    for entry in std::fs::read_dir(bench.servers.folder.path().join("state")).unwrap().flatten() {
        let bytes = std::fs::read(entry.path()).unwrap_or_default();
        let holds = bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes());
        assert!(!holds, "{} holds the key", entry.path().display());
    }
    assert!(!failure.to_string().contains(KEY));
}

#[tokio::test]
async fn a_secret_that_others_can_read_is_refused() {
    let Some(bench) = Bench::new().await else { return };
    let path = bench.servers.folder.path().join("update");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let failure = bench.session(Verb::Apply).update("lower", &[], None).await.unwrap_err().to_string();
    assert!(failure.contains("others may read it (mode 644)") && failure.contains("chmod 600"), "{failure}");
}
