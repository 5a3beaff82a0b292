//! The gate as sshd starts it: a line in, and what became of it out. Everything runs in a folder, as whoever tests.

#![expect(clippy::disallowed_methods, reason = "sshd starts the gate; here the test does")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rehome_gate::{Gate, Grants, Places, gate};
use rehome_manifest::words::SideName;
use rehome_manifest::{Config, Manifest, fill};
use rehome_remote::programs;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A gate in a folder of its own, with a tree, a set of programs and a state.
struct Here {
    folder: tempfile::TempDir,
    gate: Gate,
}

impl Here {
    fn new() -> Here {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["tree/a/cur", "tree/b", "keys"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::write(root.join("tree/a/cur/1"), "first").unwrap();
        std::fs::write(root.join("keys/dkim.key"), "key").unwrap();
        std::os::unix::fs::symlink("/etc/hostname", root.join("keys/link")).unwrap();
        std::fs::write(root.join("queue"), "{\"queue_id\":\"ABCDEF123\"}\n{\"queue_id\":\"FEDCBA321\"}\n").unwrap();
        std::fs::write(root.join("users"), "anna@example.org\n").unwrap();
        std::fs::write(root.join("setting"), "x = first\n").unwrap();
        let grants = grants(root, |_| true);
        let gate = gate(&grants, root.join("gate").to_str().unwrap(), root.join("state").to_str().unwrap());
        std::fs::write(root.join("gate"), &gate.program).unwrap();
        std::fs::set_permissions(root.join("gate"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Here { folder, gate }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// What sshd would run for this line.
    fn line(&self, line: &str) -> Output {
        self.line_with(line, b"")
    }

    fn line_with(&self, line: &str, input: &[u8]) -> Output {
        let mut perl = Command::new("/usr/bin/perl");
        perl.arg(self.path("gate")).arg(line).env("HOME", "/nowhere").env("BASH_ENV", "/nowhere");
        let mut child = perl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // One that is refused reads nothing.
        let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input);
        child.wait_with_output().unwrap()
    }

    /// A command in rehome's wrapper.
    fn run(&self, argv: &[&str]) -> Output {
        self.line(&wrapped(argv))
    }

    /// What it printed; it must have been let pass and have ended well.
    fn passes(&self, argv: &[&str]) -> String {
        let output = self.run(argv);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(&format!("rehome-{TOKEN} end 0\n")), "{argv:?}: {said}");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let printed = printed.replace(&format!("\x1erehome-{TOKEN} begin\n"), "");
        printed.replace(&format!("\x1erehome-{TOKEN} end\n"), "")
    }

    fn is_refused(&self, argv: &[&str]) {
        self.line_is_refused(&wrapped(argv), &format!("{argv:?}"));
    }

    fn line_is_refused(&self, line: &str, what: &str) {
        let output = self.line(line);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(126) && said.starts_with("rehome-gate: "), "{what}: {output:?}");
        assert!(output.stdout.is_empty(), "{what}: {output:?}");
    }
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn wrapped(argv: &[&str]) -> String {
    let wrapper = programs::wrapper();
    let words = ["/bin/sh", "-c", &wrapper, "rehome", TOKEN, "/root"];
    let words: Vec<String> = words.iter().chain(argv).map(|word| quoted(word)).collect();
    format!("exec {}", words.join(" "))
}

fn grants(root: &Path, is_granted: impl Fn(&str) -> bool) -> Grants {
    with_redis(root, is_granted, "", 6379)
}

fn with_redis(root: &Path, is_granted: impl Fn(&str) -> bool, redis: &str, port: u16) -> Grants {
    let root = root.to_str().unwrap();
    let manifest = format!(
        r#"
name = "test"
version = "0.1.0"
api = "0.1"
about = "tests the gate"
[exec.queue]
on = ["old"]
argv = ["cat", "{root}/queue"]
effect = "read"
yields = "json-lines:/queue_id"
[exec.drop]
on = ["old"]
argv = ["echo", "-d", "{{id: queue-id from exec.queue and operator.delete}}"]
effect = "once"
reason = "a test"
[exec.users]
on = ["old"]
argv = ["cat", "{root}/users"]
effect = "read"
yields = "lines"
[exec.counts]
on = ["old"]
argv = ["cat", "{{user: mailbox from exec.users}}", "-"]
stdin = "it's \"text\" $x @y\r\n"
effect = "read"
ok = [0, 1]
[exec.setting]
on = ["old"]
argv = ["cat", "{root}/setting"]
effect = "read"
[exec.set-back]
on = ["old"]
argv = ["echo", "{{line: as-first-seen(exec.setting)}}"]
effect = "repeatable"
reason = "a test"
[exec.show]
on = ["old"]
argv = ["cat", "{{key: path-in(keys)}}"]
effect = "read"
[exec.lines]
on = ["old"]
argv = ["cat"]
rows = "{{user: mailbox from exec.users}} OK\n"
effect = "repeatable"
reason = "a test"
[exec.quiet]
on = ["old"]
argv = ["cat", "--"]
effect = "read"
[exec.on-new]
on = ["new"]
argv = ["true", "new"]
effect = "read"
[question.delete]
kind = "choose"
about = "which"
[tree.mail]
on = ["old", "new"]
path = "{root}/tree"
scope = ["a"]
access = "list"
[tree.keys]
on = ["old"]
path = "{root}/keys"
access = "list"
[sync.mail]
tree = "mail"
to = "new"
reason = "a test"
[schema.db]
on = ["old"]
database = "mail"
{redis}
"#
    );
    let manifest = Manifest::parse(&manifest).unwrap();
    let config = Config::check(&manifest, &toml::Table::new()).unwrap();
    let filled = fill(&manifest, config).unwrap();
    let socket = |_: &str| Some(PathBuf::from(format!("{root}/mysql.sock")));
    let places = Places { database: &socket, redis: (None, Some(port)) };
    let mut grants = Grants::default();
    grants.add("test", &filled, SideName::Old, &is_granted, &places);
    assert!(grants.beyond.is_empty(), "{:?}", grants.beyond);
    grants
}

#[test]
fn a_granted_command_passes_and_another_does_not() {
    let here = Here::new();
    assert!(here.passes(&["cat", &here.path("queue")]).contains("ABCDEF123"));
    for argv in [
        &["cat", "/etc/passwd"][..],
        &["cat", &here.path("queue"), "/etc/passwd"],
        &["cat"][..],
        &["/bin/cat", &here.path("queue")],
        &["true", "new"],
        &["sh", "-c", "id"],
        &["/bin/sh", "-c", "id", "rehome", "x"],
        &["/usr/bin/perl", "-e", "print 1", "--", &here.path("tree"), "tree", ""],
    ] {
        if argv != ["cat"] {
            here.is_refused(argv);
        }
    }
}

#[test]
fn a_line_that_rehome_does_not_write_is_refused() {
    let here = Here::new();
    let good = wrapped(&["cat", &here.path("queue")]);
    for line in [
        "id".to_owned(),
        "exec id".to_owned(),
        "scp -t /etc".to_owned(),
        "internal-sftp".to_owned(),
        format!("{good}; id"),
        format!("{good} 'x' id"),
        format!("{good}\nid"),
        format!("{good} "),
        good.replacen("exec ", "exec  ", 1),
        good.replacen("exec ", "", 1),
        good.replacen("'rehome'", "rehome", 1),
        good.replace(TOKEN, "$(id)"),
        good.replace("umask 022", "umask 000; id"),
        "relay /run/mysqld/mysqld.sock".to_owned(),
        String::new(),
    ] {
        here.line_is_refused(&line, &line);
    }
}

#[test]
fn nothing_of_what_is_asked_for_reaches_a_shell() {
    let here = Here::new();
    let mark = here.path("mark");
    for value in [format!("$(touch {mark})"), format!("`touch {mark}`"), format!("'; touch {mark}; '"), "a\nb".into()] {
        here.is_refused(&["cat", &value, "-"]);
        here.is_refused(&[&value]);
    }
    assert!(!Path::new(&mark).exists());
}

#[test]
fn who_is_told_what_gate_it_is() {
    let here = Here::new();
    let said = here.passes(&["/bin/sh", "-c", programs::WHO, "rehome", "canary 'x'"]);
    assert!(said.ends_with(&format!("canary 'x'\x1frehome-gate {}", here.gate.digest)), "{said:?}");
}

#[test]
fn an_id_must_be_in_the_queue_and_a_user_be_listed() {
    let here = Here::new();
    assert_eq!(here.passes(&["echo", "-d", "FEDCBA321"]), "-d FEDCBA321\n");
    for value in ["ABCDEF999", "ALL", "-", "", "ABCDEF123\n", "-d"] {
        here.is_refused(&["echo", "-d", value]);
    }
    here.is_refused(&["cat", "berta@example.org", "-"]);
    // What is new in the queue is seen at once.
    std::fs::write(here.path("queue"), "{\"queue_id\":\"AAAAAA111\"}\n").unwrap();
    assert_eq!(here.passes(&["echo", "-d", "AAAAAA111"]), "-d AAAAAA111\n");
}

#[test]
fn a_command_reads_what_its_request_says_and_nothing_else() {
    let here = Here::new();
    let with = |argv: &[&str], input: &[u8]| here.line_with(&wrapped(argv), input);
    let counts = ["cat", "anna@example.org", "-"];
    let printed = with(&counts, b"it's \"text\" $x @y\r\n").stdout;
    assert!(String::from_utf8_lossy(&printed).contains("it's \"text\" $x @y\r\n"), "{printed:?}");
    for input in [&b"sent\n"[..], b"", b"it's \"text\" $x @y\nsent\n"] {
        let output = with(&counts, input);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("rehome-gate: not granted with this input") && said.contains("end 126"), "{said}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("sent"), "{output:?}");
    }
    // Where none is expected, none is read.
    assert!(!String::from_utf8_lossy(&with(&["cat", "--"], b"sent\n").stdout).contains("sent"));
}

#[test]
fn lines_of_input_are_of_their_template() {
    let here = Here::new();
    let output = here.line_with(&wrapped(&["cat"]), b"anna@example.org OK\nanna@example.org OK\n");
    assert!(String::from_utf8_lossy(&output.stdout).contains("anna@example.org OK\nanna"), "{output:?}");
    for input in
        ["anna@example.org REJECT\n", "berta@example.org OK\n", "anna@example.org OK\nx\n", "anna@example.org OK"]
    {
        let output = here.line_with(&wrapped(&["cat"]), input.as_bytes());
        assert!(String::from_utf8_lossy(&output.stderr).contains("end 126"), "{input}: {output:?}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("anna"), "{output:?}");
    }
}

#[test]
fn what_was_there_first_can_be_put_back_and_nothing_else() {
    let here = Here::new();
    here.is_refused(&["echo", "x = first"]);
    here.passes(&["cat", &here.path("setting")]);
    std::fs::write(here.path("setting"), "x = second\n").unwrap();
    here.passes(&["cat", &here.path("setting")]);
    assert_eq!(here.passes(&["echo", "x = first"]), "x = first\n");
    here.is_refused(&["echo", "x = second"]);
}

#[test]
fn a_path_is_in_its_tree_and_leads_through_no_link() {
    let here = Here::new();
    assert_eq!(here.passes(&["cat", &here.path("keys/dkim.key")]), "key");
    for path in ["keys/link", "keys/../queue", "keys/none", "users/x", "keys//dkim.key"] {
        here.is_refused(&["cat", &here.path(path)]);
    }
    here.is_refused(&["cat", "/etc/hostname"]);
}

#[test]
fn sockets_are_those_of_granted_databases_and_of_redis() {
    let here = Here::new();
    std::os::unix::net::UnixListener::bind(here.path("mysql.sock")).unwrap();
    assert_eq!(here.passes(&["/bin/sh", "-c", programs::SOCKET, "rehome", &here.path("mysql.sock")]), "yes\n");
    here.is_refused(&["/bin/sh", "-c", programs::SOCKET, "rehome", "/run/docker.sock"]);
    for rest in [&["/run/docker.sock"][..], &["127.0.0.1", "22"], &["127.0.0.1", "6379"]] {
        here.is_refused(&[&["/usr/bin/perl", "-e", programs::RELAY, "--"], rest].concat());
    }
}

#[test]
fn what_is_not_granted_is_not_in_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let none = gate(&grants(folder.path(), |_| false), "/g", "/s").program;
    let all = gate(&grants(folder.path(), |_| true), "/g", "/s").program;
    for text in ["mysql.sock", "/queue", "/tree", "as-first-seen", "/keys"] {
        assert!(!none.contains(text), "{text}");
    }
    assert!(all.contains("mysql.sock") && all.contains("/queue"));
    assert_ne!(
        gate(&grants(folder.path(), |_| false), "/g", "/s").digest,
        gate(&grants(folder.path(), |_| true), "/g", "/s").digest
    );
}

/// A request as clients of Redis write it.
fn request(words: &[&str]) -> Vec<u8> {
    let text: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{text}", words.len()).into_bytes()
}

#[test]
fn of_redis_only_keys_of_granted_patterns_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let copy = "[redis-copy.learned]\ndatabases = [0, 2]\npatterns = [\"rs_*\", \"BAYES_?\"]\nreason = \"a test\"\n";
    let grants = with_redis(folder.path(), |_| true, copy, port);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("gate"), gate(&grants, &path("gate"), &path("state")).program).unwrap();
    // What arrives at the server when this is sent; the gate's end is the connection's.
    let arrives = |sent: &[u8]| {
        let mut perl = Command::new("/usr/bin/perl");
        perl.arg(path("gate")).args(["relay", "127.0.0.1", &port.to_string()]);
        let mut child = perl.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let (mut connection, _) = server.accept().unwrap();
        let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), sent);
        let mut arrived = Vec::new();
        connection.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let _ = std::io::Read::read_to_end(&mut connection, &mut arrived);
        drop(connection);
        child.wait().unwrap();
        arrived
    };
    let reads: [&[&str]; 9] = [
        &["SELECT", "2"],
        &["AUTH", "word"],
        &["INFO", "server"],
        &["SCAN", "0", "MATCH", "rs_*", "COUNT", "1000"],
        &["PTTL", "rs_1"],
        &["DUMP", "rs_a:b"],
        &["GET", "BAYES_x"],
        &["ZRANGE", "rs_z", "0", "-1", "WITHSCORES"],
        &["hgetall", "rs_h"],
    ];
    let all: Vec<u8> = reads.iter().flat_map(|words| request(words)).collect();
    assert_eq!(String::from_utf8(arrives(&all)).unwrap(), String::from_utf8(all).unwrap());
    let refused: [&[&str]; 14] = [
        &["FLUSHALL"],
        &["CONFIG", "SET", "dir", "/root"],
        &["EVAL", "return 1", "0"],
        &["KEYS", "*"],
        &["SELECT", "1"],
        &["SCAN", "0"],
        &["SCAN", "0", "MATCH", "*", "COUNT", "1000"],
        &["GET", "session"],
        &["GET", "BAYES_xy"],
        &["GET", "rs_1", "other"],
        &["SET", "rs_1", "x"],
        &["RESTORE", "rs_1", "0", "x"],
        &["REPLICAOF", "192.0.2.1", "6379"],
        &["INFO", "all"],
    ];
    for words in refused {
        let sent = [request(&["PTTL", "rs_1"]), request(words)].concat();
        assert_eq!(arrives(&sent), request(&["PTTL", "rs_1"]), "{words:?}");
    }
    // As people type it.
    assert_eq!(arrives(b"FLUSHALL\r\n"), b"");
}

#[test]
fn records_of_whose_a_side_is_pass_and_nothing_else_by_that_program() {
    let here = Here::new();
    let perl = ["/usr/bin/perl", "-e", programs::RECORD, "--"];
    let printed = here.passes(&[&perl[..], &["", "look"]].concat());
    assert!(printed.starts_with("seen\nmachine "), "{printed}");
    let (id, long) = ("a".repeat(32), "x".repeat(65_537));
    for rest in [
        &["/tmp", "look"][..],
        &["", "look", "more"],
        &["", "swap", "../../etc/passwd", "x"],
        &["", "swap", &id],
        &["", "swap", &id, "x", "more"],
        &["", "swap", &id, &long],
        &["", "drop", &id, "x"],
        &[""],
    ] {
        here.is_refused(&[&perl[..], rest].concat());
    }
}

#[test]
fn a_receipt_is_for_what_is_granted_and_for_nobody_elses_folder() {
    let here = Here::new();
    let key = format!("{TOKEN}.7");
    let receipt = |words: &[&str]| {
        let all = ["/usr/bin/perl", "-e", programs::RECEIPT, "--"];
        here.is_refused(&all.iter().chain(words).copied().collect::<Vec<_>>());
    };
    receipt(&["", "run", &key, "touch", &here.path("mark")]);
    receipt(&["", "run", &key]);
    receipt(&["", "look", &key, "cat", "/etc/hostname"]);
    receipt(&["", "look", "../key"]);
    receipt(&["/tmp", "look", &key]);
    assert!(!Path::new(&here.path("mark")).exists());
}
