//! Somebody who wants to read mail: logs in on a machine as soon as it lets anybody in (`tests/lab/knock.py`).

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rehome_tests::lab::Machine;

/// Longer than any cutover here.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Waits to be let in. Dropped, it waits no longer.
pub struct Knock(Child);

impl Knock {
    /// From now on, or from when the file `after` is there.
    pub fn at(machine: &Machine, user: (&str, &str), after: Option<&str>) -> anyhow::Result<Self> {
        let mut words = vec![user.0, user.1];
        words.extend(after);
        let mut command = machine.python_command("knock.py", &words)?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start ssh")?;
        let mut knock = Self(child);
        let mut line = String::new();
        BufReader::new(knock.0.stdout.take().context("it has no output")?).read_line(&mut line)?;
        ensure!(line == "ready\n", "knock.py on {} ended at once; its message is on standard error", machine.name());
        Ok(knock)
    }

    /// Until it was let in.
    pub fn wait(mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.0.try_wait()? {
                break status;
            }
            ensure!(begun.elapsed() < PATIENCE, "nobody was let in within an hour");
            std::thread::sleep(Duration::from_millis(20));
        };
        ensure!(status.success(), "knock.py ended with {status}");
        Ok(())
    }
}

impl Drop for Knock {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
