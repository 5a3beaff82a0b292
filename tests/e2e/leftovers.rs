//! Nothing of a lab stays on this machine: not after a test, nor after one that panicked, nor after one that was killed.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::harness::eventually;
use rehome_tests::lab::{self, Lab, LabSpec};
use rehome_tests::lab_tests;
use std::process::{Command, ExitCode};

/// Set to a lab's id, this program is the victim of `a_lab_whose_owner_was_killed_is_swept`.
pub(crate) const HOLD: &str = "REHOME_TESTS_HOLD_LAB";

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![
        nothing_is_left_of_a_lab_that_was_dropped,
        nothing_is_left_after_a_panic,
        nothing_is_left_of_a_lab_that_did_not_come_up,
        nothing_is_left_of_a_machine_whose_disk_is_a_file,
        a_lab_whose_owner_was_killed_is_swept,
        a_lab_in_use_is_not_swept_and_its_name_not_given_away,
    ]
}

fn gone(id: &str) -> Result<()> {
    let traces = lab::traces(id)?;
    ensure!(traces.is_empty(), "left of lab {id}:\n{}", traces.join("\n"));
    Ok(())
}

fn nothing_is_left_of_a_lab_that_was_dropped() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair())?;
    let id = lab.id().to_owned();
    // What a test starts on the outside ends with the lab, also when nobody waits for it.
    let mut forgotten = lab.command("sleep")?.arg("1000").spawn()?;
    eventually("the lab shows up", || Ok(lab::traces(&id)?.iter().any(|trace| trace.contains("sleep 1000"))))?;
    for kind in ["namespace rh-", "mount ", "process ", "/run/", "/etc/netns/", "cgroup"] {
        let traces = lab::traces(&id)?;
        ensure!(traces.iter().any(|trace| trace.contains(kind)), "traces() does not see {kind}: {traces:?}");
    }
    drop(lab);
    ensure!(!forgotten.wait()?.success());
    gone(&id)
}

fn nothing_is_left_after_a_panic() -> Result<()> {
    let id = "panic1";
    let outcome = std::panic::catch_unwind(|| {
        let lab = Lab::start(&LabSpec::new_only().id(id)).expect("the lab starts");
        assert!(lab.new().sh("false").is_ok(), "this panic is part of the test");
    });
    ensure!(outcome.is_err());
    gone(id)
}

fn nothing_is_left_of_a_lab_that_did_not_come_up() -> Result<()> {
    let id = "toosmall";
    // A disk of 1 MiB: the machine cannot even write what it needs to boot.
    let spec = LabSpec::new_only().id(id).disk(lab::Disk::Memory(1));
    let error = Lab::start(&spec).err().context("a machine booted with a disk of 1 MiB")?;
    ensure!(format!("{error:#}").contains("new"), "{error:#}");
    gone(id)
}

fn nothing_is_left_of_a_machine_whose_disk_is_a_file() -> Result<()> {
    let folder = lab::cache_dir().join(format!("disks-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let lab = Lab::start(&LabSpec::new_only().disk(lab::Disk::Images(folder.clone(), 1500)))?;
    let id = lab.id().to_owned();
    let size: u64 = lab.new().sh("df -BM --output=size / | tail -1 | tr -dc 0-9")?.trim().parse()?;
    ensure!((1000..1500).contains(&size), "the machine writes to a file system of {size} MiB");
    ensure!(devices(&folder)?.len() == 1, "its disk is no file in {}", folder.display());
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    ensure!(!mounts.contains("/dev/loop"), "its disk is mounted here as well:\n{mounts}");
    drop(lab);
    gone(&id)?;
    eventually("the loop device is free", || Ok(devices(&folder)?.is_empty()))?;
    std::fs::remove_dir(&folder).with_context(|| format!("{} is not empty", folder.display()))
}

/// Loop devices for files in this folder.
fn devices(folder: &std::path::Path) -> Result<Vec<String>> {
    let listed = Command::new("losetup").args(["--list", "--noheadings", "--output", "NAME,BACK-FILE"]).output()?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    Ok(listed.lines().filter(|line| line.contains(&*folder.to_string_lossy())).map(String::from).collect())
}

/// Starts a lab and never ends.
pub(crate) fn hold_a_lab(id: &str) -> ExitCode {
    match Lab::start(&LabSpec::new_only().id(id)) {
        Ok(_lab) => loop {
            std::thread::park();
        },
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn a_lab_whose_owner_was_killed_is_swept() -> Result<()> {
    let id = "killed1";
    let mut owner = Command::new(std::env::current_exe()?).env(HOLD, id).spawn()?;
    let up = eventually("the victim's lab is up", || {
        ensure!(owner.try_wait()?.is_none(), "the victim ended by itself");
        Ok(Lab::open(id).is_ok_and(|lab| lab.new().sh("true").is_ok()))
    });
    owner.kill()?;
    owner.wait()?;
    up?;
    ensure!(!lab::traces(id)?.is_empty());
    // Another test's lab may be the one that sweeps it.
    eventually("the leftover is swept", || {
        Lab::sweep()?;
        Ok(lab::traces(id)?.is_empty())
    })
}

fn a_lab_in_use_is_not_swept_and_its_name_not_given_away() -> Result<()> {
    let spec = LabSpec::new_only();
    let lab = Lab::start(&spec)?;
    ensure!(!Lab::sweep()?.contains(&lab.id().to_owned()));
    let error = Lab::start(&spec.id(lab.id())).err().context("one name, two labs")?;
    ensure!(error.to_string().contains("exists already"), "{error:#}");
    ensure!(lab.new().sh("systemctl is-system-running")?.trim() == "running");
    Ok(())
}
