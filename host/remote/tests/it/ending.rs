//! Commands that are ended from here: at their deadline, on request, or because nobody waits for them any more.

use std::time::Duration;

use rehome_remote::{Command, Ended, Error, Side, Target};

use crate::sshd::{Noted, Sshd, until, within};

async fn on_both(test: impl AsyncFn(&Side, &Sshd)) {
    let Some(sshd) = Sshd::start("") else { return };
    within(async {
        let local = Side::connect(&Target::Local, &sshd.options()).await.unwrap();
        test(&local, &sshd).await;
        test(&sshd.side().await, &sshd).await;
    })
    .await;
}

#[tokio::test]
async fn a_deadline_ends_the_command_and_what_it_started() {
    on_both(async |side, sshd| {
        let parent = Noted::new(sshd.path("parent"), "sh");
        let child = Noted::new(sshd.path("child"), "sleep");
        let script = parent.script(&format!("sh -c '{}' & wait", child.script("exec sleep 1000")));
        let command = Command::new(["sh", "-c", &script]).timeout(Duration::from_secs(2));
        match side.run(&command).await.unwrap_err() {
            Error::TimedOut { ended, what, .. } => {
                assert_eq!((ended, what), (Ended::Confirmed, format!("`sh` on {}", side.name())))
            }
            error => panic!("{error}"),
        }
        assert!(parent.pid().is_some() && child.pid().is_some());
        assert!(!parent.runs() && !child.runs());
        std::fs::remove_file(&parent.file).unwrap();
        std::fs::remove_file(&child.file).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_command_that_ignores_sigterm_is_killed() {
    on_both(async |side, sshd| {
        let noted = Noted::new(sshd.path("stubborn"), "stubborn");
        let script = noted.script("trap '' TERM; while :; do sleep 1; done");
        let mut process = side.spawn(&Command::new(["sh", "-c", &script, "stubborn"])).await.unwrap();
        until(|| noted.runs()).await;
        drop(std::mem::replace(&mut process.stdin, Box::new(tokio::io::sink())));
        assert_eq!(process.kill().await.unwrap(), Ended::Confirmed);
        assert!(!noted.runs());
        std::fs::remove_file(&noted.file).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_command_whose_caller_has_gone_is_ended_in_the_background() {
    on_both(async |side, sshd| {
        let noted = Noted::new(sshd.path("dropped"), "sleep");
        let command = Command::new(["sh", "-c", &noted.script("exec sleep 1000")]).timeout(Duration::MAX);
        let process = side.spawn(&command).await.unwrap();
        until(|| noted.runs()).await;
        drop(process);
        until(|| !noted.runs()).await;
        std::fs::remove_file(&noted.file).unwrap();

        let run = tokio::spawn({
            let (side, command) = (side.clone(), command.clone());
            async move { side.run(&command).await }
        });
        until(|| noted.runs()).await;
        run.abort();
        until(|| !noted.runs()).await;
        std::fs::remove_file(&noted.file).unwrap();
    })
    .await;
}

#[tokio::test]
async fn reading_from_a_killed_command_fails_and_is_no_end_of_file() {
    use tokio::io::AsyncReadExt;
    on_both(async |side, _| {
        let mut process = side.spawn(&Command::new(["sh", "-c", "echo begun; exec cat"])).await.unwrap();
        let mut first = [0; 6];
        process.stdout.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"begun\n");
        assert_eq!(process.running.kill().await.unwrap(), Ended::Confirmed);
        // The wrapper outlives SIGTERM and tells how the command ended, so its output may even be complete.
        let mut rest = Vec::new();
        _ = process.stdout.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
    })
    .await;
}

#[tokio::test]
async fn killing_a_command_that_has_ended_is_no_error() {
    on_both(async |side, _| {
        let process = side.spawn(&Command::new(["true"])).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(process.kill().await.unwrap(), Ended::Confirmed);
    })
    .await;
}
