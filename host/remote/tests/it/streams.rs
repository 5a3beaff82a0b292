//! Streams of running commands: binary, large, both ways at once.

use rehome_remote::{Command, Process, Side, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::sshd::{Sshd, within};

async fn on_both(test: impl AsyncFn(&Side)) {
    let Some(sshd) = Sshd::start("") else { return };
    within(async {
        test(&Side::connect(&Target::Local, &sshd.options()).await.unwrap()).await;
        test(&sshd.side().await).await;
    })
    .await;
}

/// Bytes without a pattern (xorshift64), 0x1e (which begins a line of the wrapper) among them often.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if state.is_multiple_of(16) { 0x1e } else { (state >> 32) as u8 }
    };
    (0..count).map(|_| byte()).collect()
}

#[tokio::test]
async fn megabytes_go_through_a_command_both_ways_unchanged() {
    on_both(async |side| {
        let sent = bytes(6 << 20);
        let Process { mut stdin, mut stdout, running } = side.spawn(&Command::new(["cat"])).await.unwrap();
        let write = async {
            stdin.write_all(&sent).await.unwrap();
            drop(stdin);
        };
        let mut received = Vec::new();
        let ((), read, outcome) = tokio::join!(write, stdout.read_to_end(&mut received), running.wait());
        read.unwrap();
        assert!(received == sent);
        assert!(outcome.unwrap().success());
    })
    .await;
}

#[tokio::test]
async fn output_read_long_after_the_command_ended_is_complete() {
    on_both(async |side| {
        let mut process = side.spawn(&Command::new(["head", "-c", "50000", "/dev/zero"])).await.unwrap();
        drop(std::mem::replace(&mut process.stdin, Box::new(tokio::io::sink())));
        let output = process.running.wait().await.unwrap();
        assert_eq!((output.status, output.stdout.len()), (0, 0));
        let mut received = Vec::new();
        process.stdout.read_to_end(&mut received).await.unwrap();
        assert_eq!(received.len(), 50_000);
    })
    .await;
}

#[tokio::test]
async fn a_flood_on_stderr_blocks_nothing_and_its_beginning_is_kept() {
    on_both(async |side| {
        let script = "echo first >&2; head -c 3000000 /dev/zero >&2; echo out; exit 3";
        let Process { stdin, mut stdout, running } = side.spawn(&Command::new(["sh", "-c", script])).await.unwrap();
        drop(stdin);
        let mut received = Vec::new();
        let (read, outcome) = tokio::join!(stdout.read_to_end(&mut received), running.wait());
        read.unwrap();
        let output = outcome.unwrap();
        assert_eq!((output.status, received.as_slice(), output.stderr.len()), (3, b"out\n" as &[u8], 64 << 10));
        assert!(output.stderr.starts_with(b"first\n"));
    })
    .await;
}

#[tokio::test]
async fn one_command_feeds_another_on_the_other_side() {
    let Some(sshd) = Sshd::start("") else { return };
    within(async {
        let here = Side::connect(&Target::Local, &sshd.options()).await.unwrap();
        let there = sshd.side().await;
        let from = here.spawn(&Command::new(["head", "-c", "3000000", "/dev/zero"])).await.unwrap();
        let to = there.spawn(&Command::new(["wc", "-c"])).await.unwrap();
        let (mut stdout, mut stdin, mut counted) = (from.stdout, to.stdin, to.stdout);
        let copied = tokio::io::copy(&mut stdout, &mut stdin).await.unwrap();
        drop(stdin);
        let mut count = String::new();
        counted.read_to_string(&mut count).await.unwrap();
        assert_eq!((copied, count.trim()), (3_000_000, "3000000"));
        assert!(from.running.wait().await.unwrap().success() && to.running.wait().await.unwrap().success());
    })
    .await;
}

#[tokio::test]
async fn a_command_whose_output_is_not_wanted_still_tells_its_status() {
    on_both(async |side| {
        let command = Command::new(["sh", "-c", "head -c 4000000 /dev/zero; exit 4"]);
        assert_eq!(side.spawn(&command).await.unwrap().wait().await.unwrap().status, 4);
    })
    .await;
}
