//! The lab's faults: what a test can do to a machine and its link, and that it comes back.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::harness::eventually;
use rehome_tests::lab::{Lab, LabSpec};
use rehome_tests::lab_tests;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![
        a_machine_that_lost_power_boots_with_its_disk,
        a_cut_link_is_silent_and_heals,
        a_reset_link_ends_the_connections_that_were_open,
        a_slow_link_carries_everything_later,
    ]
}

fn a_machine_that_lost_power_boots_with_its_disk() -> Result<()> {
    let lab = Lab::start(&LabSpec::new_only())?;
    lab.new().sh("echo written > /root/mark; sync")?;
    let before = lab.new().sh("cat /etc/machine-id")?;
    lab.power_off("new")?;
    ensure!(!lab.new().is_on()?);
    lab.boot("new")?;
    ensure!(lab.new().sh("cat /root/mark")?.trim() == "written");
    ensure!(lab.new().sh("cat /etc/machine-id")? == before);
    lab.shut_down("new")?;
    lab.boot("new")?;
    ensure!(lab.new().sh("systemctl is-system-running")?.trim() == "running");
    Ok(())
}

fn a_cut_link_is_silent_and_heals() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair())?;
    lab.link_cut("old")?;
    ensure!(!lab.old().port_is_open(22)?);
    ensure!(lab.new().port_is_open(22)?);
    lab.link_heal("old")?;
    eventually("old answers again", || lab.old().port_is_open(22))
}

fn a_reset_link_ends_the_connections_that_were_open() -> Result<()> {
    let lab = Lab::start(&LabSpec::new_only())?;
    let mut ssh = lab.command("ssh")?;
    let mut open = ssh.args(["new", "echo begun; sleep 1000"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut first = String::new();
    let output = open.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut first)?;
    ensure!(first == "begun\n", "{first}");
    lab.link_reset("new")?;
    ensure!(open.wait()?.code() == Some(255));
    ensure!(lab.new().sh("echo again")?.trim() == "again");
    Ok(())
}

fn a_slow_link_carries_everything_later() -> Result<()> {
    let lab = Lab::start(&LabSpec::new_only())?;
    let delay = lab.link_delay("new", Duration::from_millis(20))?;
    let begun = Instant::now();
    ensure!(lab.new().sh("echo slow")?.trim() == "slow");
    // Not a measurement: one round trip alone takes twice the delay.
    ensure!(begun.elapsed() >= Duration::from_millis(40));
    let temporary = tempfile::tempdir()?;
    let large = temporary.path().join("large");
    std::fs::write(&large, vec![7; 3_000_000])?;
    lab.new().push(&large, "/root/large")?;
    drop(delay);
    ensure!(lab.new().sh("stat -c %s /root/large")?.trim() == "3000000");
    Ok(())
}
