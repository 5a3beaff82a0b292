//! A login that is not root but may use sudo: commands and sockets as root, here and over ssh.
//! Run by such a user (`sudo -n true` works); as root there is nothing to become, and the lab has the same in full.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use rehome_remote::{Command, Ended, Endpoint, Error, Options, Side, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::sshd::{Noted, Sshd, say, until, within};

fn allowed() -> bool {
    let sudo = std::process::Command::new("sudo").args(["-n", "true"]).stderr(std::process::Stdio::null()).status();
    sudo.is_ok_and(|status| status.success())
}

async fn on_both(test: impl AsyncFn(&Side, &Sshd)) {
    if rustix::process::geteuid().is_root() || !allowed() {
        return say("skipped: needs a user who is not root and for whom `sudo -n true` works");
    }
    let Some(sshd) = Sshd::start("") else { return };
    let options = Options { sudo: true, ..sshd.options() };
    for target in [Target::Local, Target::Ssh { destination: "old".into() }] {
        within(async {
            let side = Side::connect(&target, &options).await.unwrap();
            assert!(side.privileged_here() && side.uses_sudo());
            test(&side, &sshd).await;
        })
        .await;
    }
}

#[tokio::test]
async fn commands_run_as_root_in_roots_surroundings() {
    on_both(async |side, _| {
        let words: [&[u8]; 5] = [b"", b"'\\''", b"\xff\n!", b"-n", &[b'x'; 100_000]];
        let argv = [b"/usr/bin/printf" as &[u8], b"%s|"].into_iter().chain(words).map(<[u8]>::to_vec);
        let expected: Vec<u8> = words.iter().flat_map(|word| [word, b"|" as &[u8]].concat()).collect();
        assert!(side.run(&Command::new(argv)).await.unwrap().stdout == expected);
        let script = "id -u; echo $HOME $LC_ALL; env | wc -l; cat; exit 3";
        let output = side.run(&Command::new(["sh", "-c", script]).stdin("input")).await.unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "0\n/root C\n4\ninput");
        assert_eq!(output.status, 3);
        let error = side.run(&Command::new(["no-such-program"])).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_deadline_ends_a_command_of_root() {
    on_both(async |side, sshd| {
        let noted = Noted::new(sshd.path("rooted"), "sleep");
        let script = noted.script("exec sleep 1000");
        let error = side.run(&Command::new(["sh", "-c", &script]).timeout(Duration::from_secs(2))).await.unwrap_err();
        assert!(matches!(error, Error::TimedOut { ended: Ended::Confirmed, .. }), "{error}");
        assert!(noted.pid().is_some() && !noted.runs());
        side.run(&Command::new([b"rm".to_vec(), noted.file.as_os_str().as_encoded_bytes().to_vec()])).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_socket_is_opened_by_root() {
    on_both(async |side, sshd| {
        let path = sshd.path("who");
        _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                use std::io::{Read, Write};
                let mut stream = stream.unwrap();
                let uid = rustix::net::sockopt::socket_peercred(&stream).unwrap().uid.as_raw();
                let mut all = Vec::new();
                stream.read_to_end(&mut all).unwrap();
                stream.write_all(format!("uid {uid}: ").as_bytes()).unwrap();
                stream.write_all(&all).unwrap();
            }
        });
        let forward = side.forward(&Endpoint::Unix(path.clone())).await.unwrap();
        assert_ne!(forward.path(), path);
        let sent: Vec<u8> = (0..=255u8).cycle().take(1 << 20).collect();
        let mut stream = UnixStream::connect(forward.path()).await.unwrap();
        stream.write_all(&sent).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer == [b"uid 0: " as &[u8], &sent].concat(), "{} bytes", answer.len());
        std::fs::remove_file(&path).unwrap();
        let mut stream = UnixStream::connect(forward.path()).await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
        until(|| forward.trouble().is_some()).await;
        assert!(forward.trouble().unwrap().contains("No such file"));
    })
    .await;
}

#[tokio::test]
async fn a_user_without_the_right_is_told_which_line_gives_it() {
    if rustix::process::geteuid().is_root() || allowed() {
        return say("skipped: needs a user who is not root and for whom `sudo -n true` does not work");
    }
    let Some(sshd) = Sshd::start("") else { return };
    let options = Options { sudo: true, ..sshd.options() };
    for target in [Target::Local, Target::Ssh { destination: "old".into() }] {
        let error = within(Side::connect(&target, &options)).await.unwrap_err();
        let Error::Sudo { user, .. } = &error else { panic!("{error}") };
        assert!(error.to_string().contains(&target.to_string()), "{error}");
        assert!(error.remedy().contains(&format!("`{user} ALL=(root) NOPASSWD: ALL`")), "{}", error.remedy());
    }
}
