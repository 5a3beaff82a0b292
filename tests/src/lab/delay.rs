//! A slow link: everything to and from one machine arrives later, as if it stood in another data centre.
//! In user space (`tests/lab/delay.py`), for kernels without `sch_netem`; good for some ten thousand frames a second.

use super::cgroup::Cgroup;
use super::network::{BRIDGE, inside, link, outside};
use super::{Lab, cache};
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

/// The delay lasts until this is dropped.
#[derive(Debug)]
pub struct Delay(Child);

impl Lab {
    /// Delays everything on a machine's link by `delay` each way (a round trip takes twice as long).
    ///
    /// # Errors
    /// No such machine, or no TAP devices here.
    pub fn link_delay(&self, name: &str, delay: Duration) -> Result<Delay> {
        self.link_slow(name, delay, None)
    }

    /// The same, and at most so many bytes a second pass, each way.
    ///
    /// # Errors
    /// As [`Lab::link_delay`].
    pub fn link_slow(&self, name: &str, delay: Duration, bytes_a_second: Option<u64>) -> Result<Delay> {
        let name = self.find(name)?.name();
        let mut command = Cgroup::of_lab(self.id())?.child("outside").command("python3");
        command.arg(cache::scripts().join("delay.py"));
        command.args([&outside(self.id()), &inside(self.id(), name), &link(name), BRIDGE]);
        command.args([(delay.as_secs_f64() * 1e3).to_string(), "0".into()]);
        command.arg(bytes_a_second.unwrap_or_default().to_string());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start delay.py")?;
        let output = child.stdout.take().context("delay.py has no output")?;
        let delay = Delay(child);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line == "delaying\n", "delay.py ended at once; its message is on standard error");
        Ok(delay)
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        // With its input closed it puts the link back and ends by itself.
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}
