//! Links that break under a command: it is lost, which is said soon and never taken for a status.

use rehome_remote::{Command, Error, Side};
use tokio::io::AsyncReadExt;

use crate::sshd::{Noted, Sshd, signal, until, within};

/// A command that runs until its input ends (as it does when the link breaks), with the link broken by `cut`.
async fn lose(sshd: &Sshd, side: &Side, cut: impl Fn()) -> Error {
    let noted = Noted::new(sshd.path("running"), "sleep");
    let script = noted.script("exec sleep 1000");
    let command = Command::new(["sh", "-c", &script]).timeout(std::time::Duration::MAX);
    let lost = tokio::join!(side.run(&command), async {
        until(|| noted.runs()).await;
        cut();
    });
    let error = lost.0.unwrap_err();
    assert!(matches!(&error, Error::Lost { pid: Some(_), command, .. } if command == "sh"), "{error}");
    assert!(error.outcome_unknown());
    assert!(noted.runs(), "the command itself runs on over there, which is why its outcome is unknown");
    error
}

#[tokio::test]
async fn kill_9_of_ssh_loses_the_command() {
    let Some(sshd) = Sshd::start("") else { return };
    within(async {
        let side = sshd.side().await;
        lose(&sshd, &side, || sshd.masters().into_iter().for_each(|pid| signal(pid, "KILL"))).await;
        let error = side.run(&Command::new(["true"])).await.unwrap_err();
        assert!(matches!(&error, Error::Unreachable { .. }) && !error.outcome_unknown(), "{error}");
        assert!(sshd.side().await.run(&Command::new(["true"])).await.unwrap().success(), "connecting again works");
    })
    .await;
}

#[tokio::test]
async fn kill_9_of_the_far_sshd_loses_the_command() {
    let Some(sshd) = Sshd::start("") else { return };
    within(async {
        let side = sshd.side().await;
        let error = lose(&sshd, &side, || sshd.connections().into_iter().for_each(|pid| signal(pid, "KILL"))).await;
        assert!(error.to_string().contains("the connection broke"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_silent_link_is_given_up() {
    let Some(sshd) = Sshd::start("") else { return };
    within(async {
        let side = sshd.side().await;
        // Stopped, not killed: nothing closes the connection, as with a cut cable.
        let error = lose(&sshd, &side, || sshd.connections().into_iter().for_each(|pid| signal(pid, "STOP"))).await;
        assert!(error.to_string().contains("not responding"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_wrapper_killed_from_outside_leaves_the_outcome_unknown() {
    let Some(sshd) = Sshd::start("") else { return };
    within(async {
        let side = sshd.side().await;
        let process = side.spawn(&Command::new(["cat"])).await.unwrap();
        signal(process.running.pid(), "KILL");
        let error = process.wait().await.unwrap_err();
        assert!(matches!(&error, Error::Lost { .. }) && error.outcome_unknown(), "{error}");
        assert!(side.run(&Command::new(["true"])).await.unwrap().success(), "the connection itself is well");
    })
    .await;
}

#[tokio::test]
async fn output_that_breaks_off_is_an_error_for_its_reader() {
    let Some(sshd) = Sshd::start("") else { return };
    within(async {
        let side = sshd.side().await;
        let mut process = side.spawn(&Command::new(["sh", "-c", "echo begun; exec cat"])).await.unwrap();
        let mut first = [0; 6];
        process.stdout.read_exact(&mut first).await.unwrap();
        sshd.connections().into_iter().for_each(|pid| signal(pid, "KILL"));
        assert!(process.stdout.read(&mut first).await.is_err());
        assert!(process.stdout.read(&mut first).await.is_err(), "and it stays one");
        assert!(matches!(process.wait().await, Err(Error::Lost { .. })));
    })
    .await;
}
