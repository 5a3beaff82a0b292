//! A group of processes that is measured as a whole, ended ones too: a cgroup2. What a tool does is done by many processes
//! (both ends of rsync or our agents, ssh, sshd and its children), and where connections are shared most of them are nobody's
//! children here: wait4(2) and `time` would miss them.
//! CPU seconds are `cpu.stat`'s `usage_usec`, which every cgroup2 has, whatever its controllers. Memory is the sum of the
//! members' `Pss` (proc(5), smaps_rollup: shared pages count once), looked at every 50 ms from outside the group, so a peak is
//! what was seen at least. `memory.peak` would count the page cache of all files copied.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(50);

/// Processes by their cgroup; without one, nothing is known but how long something took.
pub struct Group(Option<PathBuf>);

/// What something took.
pub struct Cost {
    pub seconds: f64,
    /// Until all of it is on the disk as well.
    pub durable_seconds: f64,
    pub cpu_seconds: Option<f64>,
    pub peak_mb: Option<f64>,
}

impl Group {
    /// The group of this name below `groups`.
    pub fn new(groups: Option<&Path>, name: &str) -> Self {
        let folder = groups.map(|groups| groups.join(name));
        if let Some(folder) = &folder {
            fs::create_dir_all(folder).unwrap_or_else(|error| panic!("no cgroup {}: {error}", folder.display()));
        }
        Self(folder)
    }

    /// A command that joins the group and then becomes `program`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let Some(folder) = &self.0 else { return Command::new(program) };
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ > "$0/cgroup.procs" && exec "$@""#]).arg(folder).arg(program);
        command
    }

    /// Does it with this process in the group: what it starts belongs there.
    pub fn inside<T>(&self, work: impl FnOnce() -> T) -> T {
        let Some(folder) = &self.0 else { return work() };
        let groups = folder.parent().expect("a group lies in a folder");
        let join = |group: &Path| fs::write(group.join("cgroup.procs"), "0").expect("a process may join a cgroup");
        join(folder);
        let done = work();
        let outside = groups.join("outside");
        fs::create_dir_all(&outside).expect("a cgroup");
        join(&outside);
        done
    }

    /// Does it, and says what it took the group. Nothing else may use the group meanwhile.
    pub fn measure<T>(&self, work: impl FnOnce() -> T) -> (T, Cost) {
        let watch = self.0.clone().map(Watch::begin);
        let before = self.cpu_seconds();
        let begun = Instant::now();
        let done = work();
        let seconds = begun.elapsed().as_secs_f64();
        let cpu_seconds = self.cpu_seconds().zip(before).map(|(after, before)| after - before);
        let peak_mb = watch.map(Watch::end);
        (done, Cost { seconds, durable_seconds: seconds, cpu_seconds, peak_mb })
    }

    fn cpu_seconds(&self) -> Option<f64> {
        let stat = fs::read_to_string(self.0.as_ref()?.join("cpu.stat")).ok()?;
        let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
        Some(usage.parse::<f64>().ok()? / 1e6)
    }
}

/// A look at the group's memory now and again.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Watch {
    fn begin(folder: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut peak = 0;
            loop {
                let last = stopped.load(Ordering::Acquire);
                peak = peak.max(memory(&folder));
                if last {
                    return peak;
                }
                std::thread::park_timeout(EVERY);
            }
        });
        Self { stop, thread }
    }

    /// Megabytes.
    fn end(self) -> f64 {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        self.thread.join().expect("reading /proc") as f64 * 1024.0 / 1e6
    }
}

/// What the processes of a cgroup hold now, in KiB.
fn memory(folder: &Path) -> u64 {
    let members = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let held = |pid: &str| -> Option<u64> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?.trim().trim_end_matches(" kB").parse().ok()
    };
    members.lines().filter_map(held).sum()
}
