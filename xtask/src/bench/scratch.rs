//! A place for a bench on the disk that is measured, and a cgroup to measure in: both named after the process, both gone with
//! it. What a killed bench left is removed by the next one of its kind.

use std::path::{Path, PathBuf};

use anyhow::Context;
use rehome_tests::lab::Cgroup;

use crate::cargo;

const GROUPS: &str = "rehome-bench-";

pub struct Scratch {
    /// Without links: ssh and mount options name it.
    pub folder: PathBuf,
    /// None where this user may not have one: then CPU and memory cannot be measured.
    pub group: Option<Cgroup>,
}

impl Scratch {
    /// Below `asked`, else in the folder that cargo builds into. `kind` tells benches apart.
    pub fn make(kind: &str, asked: Option<&Path>) -> anyhow::Result<Self> {
        let base = asked.map_or_else(|| cargo::target().join("bench"), Path::to_path_buf);
        std::fs::create_dir_all(&base).with_context(|| format!("cannot make {}", base.display()))?;
        let base = base.canonicalize().with_context(|| format!("cannot find {}", base.display()))?;
        let prefix = format!("{kind}-");
        for left in
            std::fs::read_dir(&base)?.flatten().filter(|entry| is_left(&entry.file_name().to_string_lossy(), &prefix))
        {
            std::fs::remove_dir_all(left.path()).with_context(|| format!("cannot remove {}", left.path().display()))?;
        }
        let folder = base.join(format!("{prefix}{}", std::process::id()));
        std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let group = group().unwrap_or_else(|error| {
            eprintln!("only time is measured, no CPU and no memory: {error:#}");
            None
        });
        Ok(Self { folder, group })
    }
}

fn group() -> anyhow::Result<Option<Cgroup>> {
    for left in Cgroup::beginning_with(GROUPS)? {
        if is_left(&left.name(), GROUPS) {
            left.kill()?;
            left.remove()?;
        }
    }
    let group = Cgroup::named(&format!("{GROUPS}{}", std::process::id()))?;
    group.create()?;
    Ok(Some(group))
}

/// Whether the process that a name ends with is no more.
fn is_left(name: &str, prefix: &str) -> bool {
    let process = name.strip_prefix(prefix).filter(|rest| rest.parse::<u32>().is_ok());
    process.is_some_and(|process| !Path::new("/proc").join(process).exists())
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let ended = self.group.as_ref().map_or(Ok(()), |group| group.kill().and_then(|()| group.remove()));
        let removed = std::fs::remove_dir_all(&self.folder);
        let whys = [ended.err().map(|error| format!("{error:#}")), removed.err().map(|error| error.to_string())];
        for why in whys.into_iter().flatten() {
            eprintln!("something of the bench stays behind: {why}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_left_is_told_from_what_a_living_one_uses() {
        let living = format!("sync-{}", std::process::id());
        assert!(!is_left(&living, "sync-"));
        // Beyond the kernel's largest process number (proc(5), pid_max).
        assert!(is_left("sync-4200000000", "sync-"));
        assert!(!is_left("sync-mine", "sync-") && !is_left("other-4200000000", "sync-"));
    }
}
