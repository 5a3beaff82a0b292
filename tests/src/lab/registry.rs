//! The labs of this machine: a run folder for each, in /run/rehome-lab, that says who owns it and how to take it down.
//! A lab's owner holds a lock in it for as long as it lives; a lab whose lock is free and that is not persistent is
//! a leftover, and `sweep` removes it. Taking down needs the lab's id only, so it works after any crash.

use super::cgroup::Cgroup;
use super::network;
use crate::process::{output, run};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where the run folders are.
const LABS: &str = "/run/rehome-lab";

/// In a machine's run folder: a link to the file that its disk is in, if that is not in memory.
pub(super) const IMAGE: &str = "disk.img";

/// What a run folder says about its lab (`state.json`).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// The lab's name.
    pub id: String,
    /// The process that started it; its own only while it holds the lock.
    pub owner: u32,
    /// Stays until it is taken down by name.
    pub persistent: bool,
    /// Its machines.
    pub machines: Vec<MachineState>,
}

/// One machine of a lab.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MachineState {
    /// Its host name.
    pub name: String,
    /// Its IPv4 address.
    pub address: String,
    /// Whether root may log in there; otherwise `admin` with sudo.
    pub root_login: bool,
    /// The lower folders of its root, as the overlay takes them.
    pub lower: String,
}

/// A lab's run folder, claimed by this process.
#[derive(Debug)]
pub(super) struct Claim {
    /// Holds the lock; a persistent lab has none.
    _lock: Option<File>,
}

/// A lab's run folder.
pub(super) fn folder(id: &str) -> PathBuf {
    Path::new(LABS).join(id)
}

/// Makes the run folder of a new lab: complete and locked before it gets its name.
pub(super) fn claim(state: &State) -> Result<Claim> {
    check_id(&state.id)?;
    fs::create_dir_all(LABS).with_context(|| format!("cannot make {LABS}"))?;
    let making = Path::new(LABS).join(format!(".{}.{}", state.id, std::process::id()));
    fs::create_dir(&making).with_context(|| format!("cannot make {}", making.display()))?;
    let lock = File::create(making.join("lock"))?;
    lock.lock()?;
    fs::write(making.join("state.json"), serde_json::to_vec_pretty(state)?)?;
    let folder = folder(&state.id);
    if let Err(error) = fs::rename(&making, &folder) {
        remove_tree(&making)?;
        let taken = matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists);
        if taken {
            bail!("a lab {} exists already (cargo xtask lab down --id {0})", state.id);
        }
        return Err(error).with_context(|| format!("cannot make {}", folder.display()));
    }
    Ok(Claim { _lock: (!state.persistent).then_some(lock) })
}

/// A name that no lab on this machine has, in this or another process.
pub(super) fn free_id() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // 5 digits of the process, 1 of this counter and 2 of the time: a reused process number still gets another name.
    let mut rest = (u64::from(std::process::id()) * 36 + u64::from(count % 36)) * 1296 + now.as_millis() as u64 % 1296;
    let mut id = Vec::new();
    while rest > 0 {
        id.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize]);
        rest /= 36;
    }
    id.reverse();
    String::from_utf8_lossy(&id).into_owned()
}

fn check_id(id: &str) -> Result<()> {
    let fits = (1..=10).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !fits {
        bail!("`{id}` is no name for a lab: 1 to 10 of a-z and 0-9");
    }
    Ok(())
}

/// The state of a lab that exists.
pub(super) fn load(id: &str) -> Result<State> {
    check_id(id)?;
    let path = folder(id).join("state.json");
    let text = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("there is no lab {id} (cargo xtask lab up --id {id})")
        }
        other => other.with_context(|| format!("cannot read {}", path.display()))?,
    };
    serde_json::from_slice(&text).with_context(|| format!("{} is not a lab's state", path.display()))
}

/// Every lab on this machine, by name.
pub(super) fn all() -> Result<Vec<State>> {
    let mut ids: Vec<String> = match fs::read_dir(LABS) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        other => other?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect(),
    };
    ids.sort();
    Ok(ids.iter().filter_map(|id| load(id).ok()).collect())
}

/// Removes labs whose owner is gone; gives their names.
pub(super) fn sweep() -> Result<Vec<String>> {
    let mut gone = Vec::new();
    for state in all()?.into_iter().filter(|state| !state.persistent) {
        let folder = folder(&state.id);
        let Ok(lock) = File::open(folder.join("lock")) else { continue };
        match lock.try_lock() {
            Ok(()) if same_file(&lock, &folder.join("lock")) => {
                take_down(&state.id)?;
                gone.push(state.id);
            }
            // Held by its owner, or by another process that sweeps; or swept and made anew meanwhile.
            Ok(()) | Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error).context("cannot lock a lab's run folder"),
        }
    }
    sweep_half_made()?;
    Ok(gone)
}

/// Run folders that never got their name: nothing but two files, of a process that ended in between.
fn sweep_half_made() -> Result<()> {
    for entry in fs::read_dir(LABS).into_iter().flatten().flatten() {
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|made| made.elapsed().ok());
        if hidden && age.is_some_and(|age| age > Duration::from_secs(600)) {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

fn same_file(file: &File, path: &Path) -> bool {
    let both = (file.metadata(), fs::metadata(path));
    matches!(both, (Ok(a), Ok(b)) if (a.dev(), a.ino()) == (b.dev(), b.ino()))
}

/// Ends a lab and removes all of it: processes, namespaces, cgroups, mounts, folders. May be repeated.
///
/// Goes on after an error, and reports the first.
pub(super) fn take_down(id: &str) -> Result<()> {
    check_id(id)?;
    let group = Cgroup::of_lab(id)?;
    let folder = folder(id);
    let steps = [group.kill(), network::remove(id), group.remove(), release_disks(&folder)];
    // The folder goes last, and only if nothing else is left: it is what a later sweep knows the lab by.
    let done = steps.into_iter().collect::<Result<()>>().and_then(|()| remove_tree(&folder));
    done.with_context(|| format!("lab {id} is not wholly gone"))
}

/// Empties and unmounts the machines' disks that are mounts, and removes those that are files. Emptied first: another lab's mount namespace may hold a copy
/// of the mount, which would keep the memory.
fn release_disks(folder: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let below = format!("{}/", folder.display());
    for mount in mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|path| path.starts_with(&below)) {
        for entry in fs::read_dir(mount)?.flatten() {
            remove_tree(&entry.path())?;
        }
        run(Command::new("umount").args(["--lazy", mount]))?;
    }
    for machine in fs::read_dir(folder).into_iter().flatten().flatten() {
        if let Ok(image) = fs::read_link(machine.path().join(IMAGE)) {
            remove_tree(&image)?;
        }
    }
    Ok(())
}

/// `rm -rf`, within one file system: a mount that is still there is not emptied.
pub(super) fn remove_tree(path: &Path) -> Result<()> {
    run(Command::new("rm").args(["-rf", "--one-file-system", "--"]).arg(path))?;
    Ok(())
}

/// What is on this machine that carries the lab's name; empty when it is wholly gone.
pub(super) fn traces(id: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for path in [folder(id), network::etc(id), Cgroup::of_lab(id)?.path().to_owned()] {
        if fs::symlink_metadata(&path).is_ok() {
            found.push(path.display().to_string());
        }
    }
    let listed = output(Command::new("ip").args(["netns", "list"]), b"")?;
    let outside = network::outside(id);
    let mine = |line: &&str| {
        let name = line.split(' ').next().unwrap_or_default();
        name == outside || name.starts_with(&format!("{outside}-"))
    };
    found.extend(String::from_utf8_lossy(&listed.stdout).lines().filter(mine).map(|l| format!("namespace {l}")));
    let folder = format!("{}/", folder(id).display());
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    found.extend(mounts.lines().filter(|line| line.contains(&folder)).map(|l| format!("mount {l}")));
    for process in fs::read_dir("/proc")?.flatten() {
        let group = fs::read_to_string(process.path().join("cgroup")).unwrap_or_default();
        let arguments = fs::read(process.path().join("cmdline")).unwrap_or_default();
        if arguments.is_empty() {
            continue; // it has ended already, and waits for init to note it
        }
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        if group.contains(&format!("/rehome-lab-{id}/")) || arguments.contains(&folder) {
            found.push(format!("process {} {arguments}", process.file_name().to_string_lossy()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ids_are_valid_and_differ() {
        let ids: Vec<String> = (0..30).map(|_| free_id()).collect();
        assert!(ids.iter().all(|id| check_id(id).is_ok()), "{ids:?}");
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
    }

    #[test]
    fn an_id_that_could_leave_its_folder_is_refused() {
        for id in ["", "..", "a/b", "UPPER", "a b", "-x", "elevenchars"] {
            assert!(check_id(id).is_err(), "{id}");
        }
    }
}
