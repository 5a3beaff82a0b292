//! Who is let in and who is not: host keys, jump hosts, logins, shells.

use std::fs;
use std::time::Duration;

use rehome_remote::{Command, Error, Options, Side, Target};

use crate::sshd::{Sshd, until, within};

#[tokio::test]
async fn a_known_host_is_reached_and_named_as_written() {
    let Some(sshd) = Sshd::start("") else { return };
    let side = sshd.side().await;
    assert_eq!(side.name(), "old");
    assert!(!side.is_local() && side.root().is_none() && !side.uses_sudo());
    assert_eq!(side.privileged_here(), rustix::process::geteuid().is_root());
    assert_eq!(side.resolve("/etc/../x".as_ref()), std::path::Path::new("/etc/../x"));
}

#[tokio::test]
async fn an_unknown_host_key_is_refused_and_not_added() {
    let Some(sshd) = Sshd::start("") else { return };
    sshd.know("");
    // The operator's own laxness does not count.
    sshd.configure("StrictHostKeyChecking no");
    let error = sshd.try_connect("old").await.err().unwrap();
    assert!(matches!(&error, Error::HostKey { changed: false, .. }), "{error}");
    assert!(error.to_string().contains("old") && error.remedy().contains("fingerprint"), "{error}");
    assert_eq!(fs::read_to_string(sshd.path("known_hosts")).unwrap(), "");
}

#[tokio::test]
async fn another_host_key_than_the_known_one_is_refused() {
    let Some(sshd) = Sshd::start("") else { return };
    sshd.trust("other");
    let error = sshd.try_connect("old").await.err().unwrap();
    assert!(matches!(&error, Error::HostKey { changed: true, .. }), "{error}");
    assert!(error.remedy().contains("ssh-keygen -R"));
}

/// `jump` and `via` are the same sshd; each has a name of its own in known_hosts.
fn through_jump_host(sshd: &Sshd, known: &[&str], way: &str) {
    let lines: String = known.iter().map(|name| format!("{name} {}", sshd.public("host"))).collect();
    sshd.know(&lines);
    sshd.configure(&format!(
        "Host jump\nHostKeyAlias jump-key\nStrictHostKeyChecking no\nHost via\nHostKeyAlias via-key\n{way}\n"
    ));
}

#[tokio::test]
async fn a_jump_host_whose_key_is_known_leads_on() {
    let Some(sshd) = Sshd::start("") else { return };
    through_jump_host(&sshd, &["jump-key", "via-key"], "ProxyJump jump");
    let side = sshd.try_connect("via").await.unwrap();
    let output = within(side.run(&Command::new(["echo", "hello"]))).await.unwrap();
    assert_eq!(output.stdout, b"hello\n");
}

#[tokio::test]
async fn an_unknown_jump_host_key_is_refused_without_a_question() {
    let Some(sshd) = Sshd::start("") else { return };
    through_jump_host(&sshd, &["via-key"], "ProxyJump jump");
    let error = sshd.try_connect("via").await.err().unwrap();
    assert!(matches!(&error, Error::HostKey { changed: false, .. }), "{error}");
    assert!(error.to_string().contains("jump-key"), "it names the host: {error}");
    assert!(!fs::read_to_string(sshd.path("known_hosts")).unwrap().contains("jump-key"));
}

#[tokio::test]
async fn an_unknown_key_behind_a_known_jump_host_is_refused() {
    let Some(sshd) = Sshd::start("") else { return };
    through_jump_host(&sshd, &["jump-key"], "ProxyJump jump");
    let error = sshd.try_connect("via").await.err().unwrap();
    assert!(matches!(&error, Error::HostKey { .. }) && error.to_string().contains("via-key"), "{error}");
}

#[tokio::test]
async fn a_proxy_command_of_the_operators_own_asks_nothing_either() {
    let Some(sshd) = Sshd::start("") else { return };
    // An ssh of its own, which asks for unknown keys: it is answered for.
    let own = format!(
        "ProxyCommand ssh -F none -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=ask -i {} -W %h:%p -p {} 127.0.0.1",
        sshd.path("user").display(),
        sshd.port
    );
    through_jump_host(&sshd, &["via-key"], &own);
    let error = sshd.try_connect("via").await.err().unwrap();
    assert!(matches!(&error, Error::HostKey { .. }), "{error}");
}

#[tokio::test]
async fn a_login_without_an_accepted_key_is_refused() {
    let Some(sshd) = Sshd::start("") else { return };
    fs::copy(sshd.path("other.pub"), sshd.path("authorized")).unwrap();
    let error = sshd.try_connect("old").await.err().unwrap();
    assert!(matches!(&error, Error::Login { .. }), "{error}");
    assert!(!error.outcome_unknown());
}

#[tokio::test]
async fn a_machine_that_does_not_answer_is_unreachable() {
    let Some(sshd) = Sshd::start("") else { return };
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = sshd.try_connect(&format!("ssh://127.0.0.1:{free}")).await.err().unwrap();
    assert!(matches!(&error, Error::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn a_machine_that_accepts_and_says_nothing_runs_into_the_deadline() {
    let Some(sshd) = Sshd::start("") else { return };
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let destination = format!("ssh://127.0.0.1:{}", mute.local_addr().unwrap().port());
    let options = Options { connect_timeout: Duration::from_millis(700), ..sshd.options() };
    let error = within(Side::connect(&Target::Ssh { destination }, &options)).await.err().unwrap();
    assert!(matches!(&error, Error::TimedOut { .. }) && !error.outcome_unknown(), "{error}");
    within(until(|| sshd.masters().is_empty())).await;
}

#[tokio::test]
async fn a_destination_that_would_be_an_option_is_refused() {
    let Some(sshd) = Sshd::start("") else { return };
    let proof = sshd.path("proof");
    for destination in [format!("-oProxyCommand=touch {}", proof.display()), "-v".into(), "a\nb".into(), String::new()]
    {
        let error = sshd.try_connect(&destination).await.err().unwrap();
        assert!(matches!(&error, Error::Refused { .. }), "{error}");
    }
    assert!(!proof.exists());
}

#[tokio::test]
async fn a_login_shell_that_runs_nothing_is_told_from_a_refused_login() {
    let Some(sshd) = Sshd::start("ForceCommand echo This account is not available.; exit 1") else { return };
    let error = sshd.try_connect("old").await.err().unwrap();
    assert!(matches!(&error, Error::Shell { .. }) && error.to_string().contains("not available"), "{error}");
}

#[tokio::test]
async fn a_login_shell_that_changes_arguments_is_noticed() {
    // As fish does: a backslash before a backslash is an escape even in single quotes.
    let mangle = r#"ForceCommand exec /bin/sh -c "$(printf '%%s' "$SSH_ORIGINAL_COMMAND" | sed 's/`id`/changed/')""#;
    let Some(sshd) = Sshd::start(&mangle.replace("%%", "%")) else { return };
    let error = sshd.try_connect("old").await.err().unwrap();
    assert!(matches!(&error, Error::Shell { .. }) && error.to_string().contains("changes what it is given"), "{error}");
}

#[tokio::test]
async fn closing_ends_ssh_and_leaves_no_file() {
    let Some(sshd) = Sshd::start("") else { return };
    within(async {
        let side = sshd.side().await;
        assert_eq!(sshd.masters().len(), 1);
        side.close().await;
        assert!(sshd.masters().is_empty());
        let error = side.run(&Command::new(["true"])).await.unwrap_err();
        assert!(matches!(&error, Error::Unreachable { .. }) && !error.outcome_unknown(), "{error}");
        drop(side);

        let side = sshd.side().await;
        let other = side.clone();
        drop(side);
        assert!(other.run(&Command::new(["true"])).await.unwrap().success(), "a clone keeps the connection");
        drop(other);
        until(|| sshd.masters().is_empty()).await;
        until(|| fs::read_dir(sshd.path("c")).unwrap().count() == 1).await;
    })
    .await;
}

const CHILD: &str = "REHOME_TEST_CONTROL_CHILD";

/// Not a test by itself: what the next one runs in a process of its own, and kills.
#[tokio::test]
async fn child_of_the_next_test() {
    let Some(folder) = std::env::var_os(CHILD).map(std::path::PathBuf::from) else { return };
    let options = Options {
        control_dir: folder.join("c"),
        ssh_config: Some(folder.join("ssh_config")),
        known_hosts: Some(folder.join("known_hosts")),
        ..Options::default()
    };
    let side = Side::connect(&Target::Ssh { destination: "old".into() }, &options).await.unwrap();
    let _process = side.spawn(&Command::new(["cat"])).await.unwrap();
    fs::write(folder.join("ready"), "").unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
}

#[tokio::test]
async fn kill_9_of_rehome_leaves_no_ssh_behind() {
    let Some(sshd) = Sshd::start("") else { return };
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "connecting::child_of_the_next_test"])
        .env(CHILD, sshd.path(""))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    within(async {
        until(|| sshd.path("ready").exists() || child.try_wait().unwrap().is_some()).await;
        assert_eq!(sshd.masters().len(), 1);
        child.kill().unwrap();
        child.wait().unwrap();
        until(|| sshd.masters().is_empty()).await;
        let left = fs::read_dir(sshd.path("c")).unwrap().count();
        assert_eq!(left, 2, "a lock and the killed one's folder");
        let side = sshd.side().await;
        assert_eq!(fs::read_dir(sshd.path("c")).unwrap().count(), 2, "its folder was replaced by ours");
        assert!(side.run(&Command::new(["true"])).await.unwrap().success());
    })
    .await;
}

#[tokio::test]
async fn the_way_to_a_side_is_told_with_the_host_keys_that_are_known() {
    let Some(sshd) = Sshd::start("") else { return };
    let side = sshd.side().await;
    let key = sshd.public("host").split(' ').take(2).collect::<Vec<_>>().join(" ").trim_end().to_owned();
    let known = |route: rehome_remote::Route| (route.host, route.port, route.host_keys);
    let expected = ("127.0.0.1".to_owned(), sshd.port, vec![key.clone()]);
    assert_eq!(known(side.route().await.unwrap()), expected);
    // Without the port, hashed, beside others.
    sshd.know(&format!("other {key}x\n127.0.0.1 {key}\n"));
    let file = sshd.path("known_hosts");
    assert!(std::process::Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(file).status().unwrap().success());
    assert_eq!(known(side.route().await.unwrap()), expected);
    sshd.know(&format!("@revoked [127.0.0.1]:{} {key}\n", sshd.port));
    assert!(side.route().await.unwrap_err().contains("revoked"));
    sshd.know("");
    assert!(side.route().await.unwrap_err().contains("no known_hosts file"));
    side.close().await;
}
