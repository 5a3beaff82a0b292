//! Somebody who does something on a machine beside what is measured, by a script of the lab that says "ready" and then works:
//! who wants to read mail (`tests/lab/knock.py`), who changes it (`tests/lab/bulk.py`).

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rehome_tests::lab::Machine;

/// Longer than any cutover here.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Works until it has ended by itself. Dropped, it works no longer.
pub struct Somebody {
    child: Child,
    what: String,
}

/// Logs in on a machine as soon as it lets anybody in; begins now, or when the file `after` is there.
pub fn knock(machine: &Machine, user: (&str, &str), after: Option<&str>) -> anyhow::Result<Somebody> {
    let mut words = vec![user.0, user.1];
    words.extend(after);
    Somebody::begins(machine, "knock.py", &words)
}

/// Changes mail on a machine until its Dovecot has stopped: so many changes a second, others with each seed.
pub fn trickle(machine: &Machine, seed: u64, rate: f64) -> anyhow::Result<Somebody> {
    Somebody::begins(machine, "bulk.py", &["trickle", &seed.to_string(), &rate.to_string()])
}

impl Somebody {
    fn begins(machine: &Machine, script: &str, words: &[&str]) -> anyhow::Result<Self> {
        let what = format!("{script} on {}", machine.name());
        let mut command = machine.python_command(script, words)?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start ssh")?;
        let mut somebody = Self { child, what };
        let mut line = String::new();
        BufReader::new(somebody.child.stdout.take().context("it has no output")?).read_line(&mut line)?;
        ensure!(line == "ready\n", "{} ended at once; its message is on standard error", somebody.what);
        Ok(somebody)
    }

    /// Until it has ended.
    pub fn wait(mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(begun.elapsed() < PATIENCE, "{} has not ended within an hour", self.what);
            std::thread::sleep(Duration::from_millis(20));
        };
        ensure!(status.success(), "{} ended with {status}", self.what);
        Ok(())
    }
}

impl Drop for Somebody {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
