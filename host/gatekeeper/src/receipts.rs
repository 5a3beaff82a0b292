//! Receipts: a command that must not be done twice leaves one on its own side, so that after a lost link or a killed rehome the
//! side itself tells whether it began and how it ended. `receipt.pl` (of `rehome-remote`) keeps them.
//! Invariant: an effect has one receipt, by its number in the journal of its migration; once it was looked for in vain the
//! command never begins.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rehome_remote::programs::RECEIPT;
use rehome_remote::{Command, Side};

use crate::host::failure;
use crate::types::{Failure, SideName};

/// Between two looks at a command that is under way.
const PAUSE: Duration = Duration::from_secs(1);

/// Where receipts of a migration are kept, and under which name.
#[derive(Clone, Debug)]
pub struct Receipts {
    /// the migration's id: 32 hexadecimal digits
    pub migration: String,
    /// the sides' roots, old and new: "" but in tests
    pub roots: [PathBuf; 2],
}

/// What a side knows of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// it never began, and never will
    NotBegun,
    /// how it ended, and what it wrote to standard output; none: more than is kept
    Ended { status: i32, stdout: Option<Vec<u8>> },
    /// it began, and left no more: its machine went down, or it was killed
    Gone,
    /// it is still at work, after all the time that it has
    Running,
}

impl Receipts {
    fn words(&self, side: SideName, what: &str, effect: u64) -> Vec<Vec<u8>> {
        let root = self.roots[usize::from(side == SideName::New)].as_os_str().as_bytes().to_vec();
        let key = format!("{}.{effect}", self.migration).into_bytes();
        let program = ["/usr/bin/perl", "-e", RECEIPT, "--"].map(Vec::from);
        program.into_iter().chain([root, Vec::from(what), key]).collect()
    }

    /// The command, leaving a receipt. A side that is a folder leaves none: nothing is lost on the way there.
    pub(crate) fn around(&self, at: &Side, side: SideName, effect: u64, mut command: Command) -> Command {
        if at.root().is_none() {
            command.argv.splice(0..0, self.words(side, "run", effect));
        }
        command
    }

    /// What became of a command. One that is under way is waited for, so long.
    pub(crate) async fn look(
        &self,
        at: &Side,
        side: SideName,
        effect: u64,
        patience: Duration,
    ) -> Result<Option<Receipt>, Failure> {
        if at.root().is_some() {
            return Ok(None);
        }
        let until = Instant::now() + patience;
        loop {
            let looked = at.run(&Command::new(self.words(side, "look", effect))).await;
            let output = looked.map_err(|error| failure("receipt", error))?;
            let found = output.success().then(|| parse(&output.stdout)).flatten().ok_or_else(|| {
                let words = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
                let said = String::from_utf8_lossy(words).trim().escape_debug().take(400).collect::<String>();
                Failure::other("receipt", format!("{side} does not tell what became of effect {effect}: {said}"))
            })?;
            if found != Receipt::Running || Instant::now() >= until {
                return Ok(Some(found));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn parse(said: &[u8]) -> Option<Receipt> {
    let end = said.iter().position(|byte| *byte == b'\n')?;
    let (head, rest) = (std::str::from_utf8(&said[..end]).ok()?, &said[end + 1..]);
    match head {
        "none" => Some(Receipt::NotBegun),
        "running" => Some(Receipt::Running),
        "gone" => Some(Receipt::Gone),
        _ => {
            let ended = head.strip_prefix("ended ")?;
            let (status, stdout) = match ended.strip_suffix(" -") {
                Some(status) => (status, None),
                None => (ended, Some(rest.to_vec())),
            };
            Some(Receipt::Ended { status: status.parse().ok()?, stdout })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rehome_remote::{Options, Target};

    const MIGRATION: &str = "0123456789abcdef0123456789abcdef";

    async fn side() -> (tempfile::TempDir, Receipts, Side) {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("var/lib")).unwrap();
        let receipts = Receipts { migration: MIGRATION.into(), roots: [root.path().into(), root.path().into()] };
        let side = Side::connect(&Target::Local, &Options::default()).await.unwrap();
        (root, receipts, side)
    }

    async fn looked(receipts: &Receipts, side: &Side, effect: u64) -> Receipt {
        receipts.look(side, SideName::New, effect, Duration::from_secs(20)).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_receipt_tells_how_a_command_ended_and_what_it_said() {
        let (_root, receipts, side) = side().await;
        let command = Command::new(["sh", "-c", "cat; echo done; exit 3"]).stdin("input\n");
        let output = side.run(&receipts.around(&side, SideName::New, 7, command)).await.unwrap();
        assert_eq!((output.status, output.stdout.as_slice()), (3, &b"input\ndone\n"[..]));
        let stdout = Some(b"input\ndone\n".to_vec());
        assert_eq!(looked(&receipts, &side, 7).await, Receipt::Ended { status: 3, stdout });
    }

    #[tokio::test]
    async fn what_was_looked_for_in_vain_never_begins() {
        let (root, receipts, side) = side().await;
        assert_eq!(looked(&receipts, &side, 7).await, Receipt::NotBegun);
        let mark = root.path().join("mark");
        let late = receipts.around(&side, SideName::New, 7, Command::new(["touch", mark.to_str().unwrap()]));
        assert!(!side.run(&late).await.unwrap().success());
        assert!(!mark.exists());
        assert_eq!(looked(&receipts, &side, 7).await, Receipt::NotBegun);
    }

    #[tokio::test]
    async fn a_receipt_that_was_made_and_not_written_is_given_up_by_whoever_looks() {
        let (root, receipts, side) = side().await;
        let receipt = root.path().join(format!("var/lib/rehome/receipts/{MIGRATION}.7"));
        std::fs::create_dir_all(receipt.parent().unwrap()).unwrap();
        std::fs::write(&receipt, "").unwrap();
        assert_eq!(looked(&receipts, &side, 7).await, Receipt::NotBegun);
        assert_eq!(std::fs::read(&receipt).unwrap(), b"void\n");
    }

    #[tokio::test]
    async fn a_command_whose_beginning_cannot_be_written_down_does_not_begin_and_leaves_nobody_waiting() {
        let (root, receipts, side) = side().await;
        let mark = root.path().join("mark");
        let command = Command::new(["touch", mark.to_str().unwrap()]).timeout(Duration::from_secs(20));
        let command = receipts.around(&side, SideName::New, 7, command);
        // No file of it may have any content (setrlimit(2), RLIMIT_FSIZE; SIGXFSZ is ignored, so that write(2) fails).
        let mut argv: Vec<Vec<u8>> =
            ["sh", "-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"].map(Vec::from).to_vec();
        argv.extend(command.argv.clone());
        let output = side.run(&Command { argv, ..command }).await.unwrap();
        assert_eq!(output.status, 125, "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!mark.exists());
        assert_eq!(looked(&receipts, &side, 7).await, Receipt::NotBegun);
    }

    #[tokio::test]
    async fn a_command_whose_rehome_is_gone_is_waited_for() {
        let (_root, receipts, side) = side().await;
        let command = receipts.around(&side, SideName::New, 7, Command::new(["sh", "-c", "sleep 2; echo late"]));
        let argv: Vec<String> = command.argv.into_iter().map(|word| String::from_utf8(word).unwrap()).collect();
        #[expect(clippy::disallowed_methods, reason = "somebody whom rehome knows nothing of")]
        let mut other = std::process::Command::new(&argv[0]).args(&argv[1..]).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let short = receipts.look(&side, SideName::New, 7, Duration::ZERO).await.unwrap();
        assert_eq!(short, Some(Receipt::Running));
        let stdout = Some(b"late\n".to_vec());
        assert_eq!(looked(&receipts, &side, 7).await, Receipt::Ended { status: 0, stdout });
        other.wait().unwrap();
    }

    #[tokio::test]
    async fn a_command_that_was_killed_with_its_receipt_is_unknown() {
        let (_root, receipts, side) = side().await;
        let command = Command::new(["sh", "-c", "kill -KILL $PPID; exit 0"]);
        side.run(&receipts.around(&side, SideName::New, 7, command)).await.unwrap();
        assert_eq!(looked(&receipts, &side, 7).await, Receipt::Gone);
    }
}
