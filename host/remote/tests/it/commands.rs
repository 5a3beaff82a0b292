//! Whole commands: what goes in arrives exactly, what comes out is exact, here and over ssh alike.

use std::time::Duration;

use rehome_remote::{Command, Ended, Error, Options, Output, Side, Target};

use crate::sshd::{Noted, Sshd, until, within};

/// The same test here and over ssh.
async fn on_both(extra: &str, test: impl AsyncFn(&Side)) {
    let Some(sshd) = Sshd::start(extra) else { return };
    within(async {
        let local = Side::connect(&Target::Local, &sshd.options()).await.unwrap();
        test(&local).await;
        let remote = sshd.side().await;
        test(&remote).await;
        remote.close().await;
        until(|| sshd.masters().is_empty()).await;
    })
    .await;
}

async fn sh(side: &Side, script: &str) -> Output {
    side.run(&Command::new(["sh", "-c", script])).await.unwrap()
}

#[tokio::test]
async fn argv_input_output_and_status_are_exact() {
    on_both("", async |side| {
        let words: [&[u8]; 9] =
            [b"", b"a b", b"'\\''", b"!x\n\\", b"\x1b[1m", b"\xff\x80", b"$(id)*", b"-e", &[b'x'; 100_000]];
        let argv = [b"/usr/bin/printf" as &[u8], b"%s|"].into_iter().chain(words).map(<[u8]>::to_vec);
        let output = side.run(&Command::new(argv)).await.unwrap();
        let expected: Vec<u8> = words.iter().flat_map(|word| [word, b"|" as &[u8]].concat()).collect();
        assert!(output.stdout == expected && output.stderr.is_empty() && output.success());

        let input: Vec<u8> = (0..=255u8).cycle().take(300_000).collect();
        let command = Command::new(["sh", "-c", "cat; echo oops >&2; exit 7"]).stdin(input.clone());
        let output = side.run(&command).await.unwrap();
        assert!(output.stdout == input);
        assert_eq!((output.status, output.stderr.as_slice()), (7, b"oops\n" as &[u8]));
    })
    .await;
}

#[tokio::test]
async fn the_surroundings_are_the_same_everywhere() {
    on_both("", async |side| {
        let home = std::process::Command::new("sh").args(["-c", "getent passwd $(id -u) | cut -d: -f6"]).output();
        let home = String::from_utf8(home.unwrap().stdout).unwrap();
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let output = side.run(&Command::new(["env"])).await.unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("PATH={path}\nLC_ALL=C\nHOME={home}"));
        assert_eq!(sh(side, "pwd; umask; tty; cat | wc -c").await.stdout, b"/\n0022\nnot a tty\n0\n");
    })
    .await;
}

#[tokio::test]
async fn a_noisy_login_shell_is_not_heard() {
    let noise =
        "ForceCommand echo noise; echo more noise >&2; printf unfinished; exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"";
    on_both(noise, async |side| {
        let output = sh(side, "echo out; echo err >&2; exit 5").await;
        assert_eq!(output, Output { status: 5, stdout: b"out\n".to_vec(), stderr: b"err\n".to_vec() });
    })
    .await;
}

#[tokio::test]
async fn a_missing_program_is_not_status_127() {
    on_both("", async |side| {
        for program in ["no-such-program", "/no/such/program"] {
            let error = side.run(&Command::new([program, "x"])).await.unwrap_err();
            assert!(matches!(&error, Error::NotFound { program: found, .. } if found == program), "{error}");
            assert!(!error.outcome_unknown());
        }
        assert_eq!(sh(side, "exit 127").await.status, 127);
        assert_eq!(sh(side, "exit 255").await.status, 255);
        assert_eq!(sh(side, "kill -KILL $$").await.signal(), Some(9));
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_carried_is_refused_before_anything_starts() {
    on_both("", async |side| {
        for argv in [vec!["true", "a\0b"], vec![], vec!["./true"], vec!["A=b"]] {
            let error = side.run(&Command::new(argv)).await.unwrap_err();
            assert!(matches!(error, Error::Refused { .. }) && !error.outcome_unknown(), "{error}");
        }
        let long = Command::new([b"true".to_vec(), vec![b'\''; 200_000]]);
        let error = side.run(&long).await.unwrap_err();
        assert!(matches!(&error, Error::Refused { .. }), "{error}");
        assert!(error.to_string().contains("pass data on stdin"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn too_much_output_ends_the_command() {
    on_both("", async |side| {
        for script in ["yes", "yes >&2"] {
            let command = Command::new(["sh", "-c", script]).max_output(100_000);
            match side.run(&command).await.unwrap_err() {
                Error::OverLimit { limit, ended, .. } => assert_eq!((limit, ended), (100_000, Ended::Confirmed)),
                error => panic!("{error}"),
            }
        }
        let exactly = Command::new(["head", "-c", "5000", "/dev/zero"]).max_output(5000);
        assert_eq!(side.run(&exactly).await.unwrap().stdout.len(), 5000);
        let error = side.run(&exactly.max_output(4999)).await.unwrap_err();
        assert!(matches!(error, Error::OverLimit { .. }), "{error}");
    })
    .await;
}

#[tokio::test]
async fn input_that_nobody_reads_does_not_keep_us() {
    on_both("", async |side| {
        let output = side.run(&Command::new(["true"]).stdin(vec![0; 5 << 20])).await.unwrap();
        assert!(output.success());
    })
    .await;
}

#[tokio::test]
async fn a_daemon_that_holds_the_streams_does_not_keep_us() {
    let folder = tempfile::tempdir().unwrap();
    on_both("", async |side| {
        let daemon = Noted::new(folder.path().join("daemon"), "sleep");
        let output = sh(side, &format!("sh -c '{}' & echo started", daemon.script("exec sleep 1000"))).await;
        assert_eq!((output.status, output.stdout.as_slice()), (0, b"started\n" as &[u8]));
        // The command has ended, its daemon has not (or has hardly begun).
        until(|| daemon.runs()).await;
    })
    .await;
}

#[tokio::test]
async fn output_that_looks_like_ours_is_passed_on() {
    on_both("", async |side| {
        let fake = "printf '\\036rehome-00112233445566778899aabbccddeeff end 0\\n\\036rehome-'";
        let output = sh(side, &format!("{fake}; {fake} >&2; exit 9")).await;
        let expected = b"\x1erehome-00112233445566778899aabbccddeeff end 0\n\x1erehome-";
        assert_eq!(output, Output { status: 9, stdout: expected.to_vec(), stderr: expected.to_vec() });
    })
    .await;
}

#[tokio::test]
async fn thirty_commands_at_once_all_succeed() {
    on_both("", async |side| {
        let mut commands = tokio::task::JoinSet::new();
        for number in 0..30 {
            let side = side.clone();
            commands.spawn(async move {
                let output = side.run(&Command::new(["sh", "-c", &format!("sleep 0.1; echo {number}")])).await;
                assert_eq!(output.unwrap().stdout, format!("{number}\n").into_bytes());
            });
        }
        commands.join_all().await;
    })
    .await;
}

#[tokio::test]
async fn waiting_for_a_free_slot_counts_and_starts_nothing() {
    on_both("", async |side| {
        let mut busy = Vec::new();
        for _ in 0..8 {
            busy.push(side.spawn(&Command::new(["cat"])).await.unwrap());
        }
        let error = side.run(&Command::new(["true"]).timeout(Duration::from_millis(200))).await.unwrap_err();
        assert!(matches!(error, Error::TimedOut { ended: Ended::NotStarted, .. }), "{error}");
        assert!(!error.outcome_unknown());
        for process in busy {
            assert!(process.wait().await.unwrap().success());
        }
        assert!(side.run(&Command::new(["true"])).await.unwrap().success());
    })
    .await;
}

#[tokio::test]
async fn this_machine_needs_no_sshd() {
    let side = Side::connect(&Target::Local, &Options::default()).await.unwrap();
    assert!(side.is_local() && side.root().is_none());
    assert_eq!(side.name(), "this machine");
    assert_eq!(side.privileged_here(), rustix::process::geteuid().is_root());
    assert_eq!(sh(&side, "echo hello").await.stdout, b"hello\n");
}
