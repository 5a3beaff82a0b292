//! Two who work on one migration, and machines that are not those it began with: who has the sides is known on the sides.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec, Machine};
use rehome_tests::{harness, lab_tests};

use crate::migration::{Before, moved};
use crate::rehome::{Reach, Rehome, mail_only, up_to};

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![
        a_second_operator_is_told_who_is_at_work_and_takes_over_only_when_told_to,
        who_is_taken_over_while_it_runs_begins_nothing_more,
        another_machine_in_the_place_of_a_side_is_refused
    ]
}

/// Brings the state of a migration from one machine to another.
fn carry_state(from: &Machine, to: &Machine) -> Result<()> {
    let packed = from.ssh(&["tar", "-C", "/root/rehome", "-c", ".rehome"])?;
    ensure!(packed.status.success(), "the state cannot be read");
    let unpacked = to.ssh_with_input(&["tar", "-C", "/root/rehome", "-x"], &packed.stdout)?;
    ensure!(unpacked.status.success(), "the state cannot be written");
    Ok(())
}

/// What the one record on a machine says.
fn record(machine: &Machine) -> Result<serde_json::Value> {
    Ok(serde_json::from_str(&machine.sh("cat /var/lib/rehome/*")?)?)
}

fn a_second_operator_is_told_who_is_at_work_and_takes_over_only_when_told_to() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().without_rspamd().with_third().ssh_keys_on("third").ssh_keys_on("new"))?;
    let first = Rehome::install(lab.third(), &mail_only(&Reach::Ssh("old"), &Reach::Ssh("new"))?)?;
    let second = Rehome::install(lab.new(), &mail_only(&Reach::Ssh("old"), &Reach::Local)?)?;
    first.approve()?;
    second.approve()?;
    first.expect(0, &["check"])?;
    ensure!(lab.old().sh("ls /var/lib")?.lines().all(|name| name != "rehome"), "a check left something on old");

    first.kill_after(&["apply"], &["\"request-began\"", "\"sync.hot\"", "\"repeatable\""], "0.3")?;
    for machine in [lab.old(), lab.new()] {
        let mode = machine.sh("stat -c '%a %U' /var/lib/rehome /var/lib/rehome/*")?;
        ensure!(mode == "700 root\n600 root\n", "on {}: {mode}", machine.name());
        ensure!(record(machine)?["at-work"] == true, "{}", record(machine)?);
    }
    // Without a state, and with a copy of it.
    let refused = second.expect(7, &["apply"])?;
    refused.says(&["was begun before, and its state is gone", "root@third", "rehome resolve journal"])?;
    lab.new().sh("rm -rf /root/rehome/.rehome")?;
    carry_state(lab.third(), lab.new())?;
    let refused = second.expect(7, &["apply"])?;
    refused.says(&[
        "somebody is at work on old (root@old)",
        "root@third, `rehome apply` since 20",
        "on third",
        "--take-over",
    ])?;
    // Whoever only reads is in nobody's way.
    second.expect(0, &["check"])?;
    second.expect(5, &["apply", "--take-over"])?;

    let refused = first.expect(7, &["apply"])?;
    refused.says(&["was taken over", "root@new", "its epoch is 2; this state knows 1"])?;
    let before = Before::of(lab.old())?;
    second.expect(0, &["answer", "downtime", "go-on", "yes"])?;
    second.expect(0, &["apply"])?;
    second.expect(0, &["verify"])?;
    moved(&lab, &before)?;
    for machine in [lab.old(), lab.new()] {
        let record = record(machine)?;
        ensure!(record["at-work"] == false && record["epoch"] == 2, "on {}: {record}", machine.name());
    }
    Ok(())
}

fn who_is_taken_over_while_it_runs_begins_nothing_more() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().without_rspamd().with_third().ssh_keys_on("third").ssh_keys_on("new"))?;
    let first = Rehome::install(lab.third(), &mail_only(&Reach::Ssh("old"), &Reach::Ssh("new"))?)?;
    let second = Rehome::install(lab.new(), &mail_only(&Reach::Ssh("old"), &Reach::Local)?)?;
    first.approve()?;
    second.approve()?;
    // It stands still between two phases, as a laptop does whose lid was closed.
    first.write("run", b"bash -c 'echo $$ >pid; exec ./rehome --json apply >heard 2>said'\necho $? >ended\n")?;
    lab.third().sh(
        "cd /root/rehome; rm -f heard said ended; setsid bash run </dev/null >/dev/null 2>&1 & \
         cd /root/rehome; for i in $(seq 3000); do \
           if grep -qs '\"phase-ended\".*\"accounts\".*\"apply\"' heard; then kill -STOP $(cat pid); exit 0; fi; sleep 0.01; \
         done; cat heard said; exit 1",
    )?;
    carry_state(lab.third(), lab.new())?;
    second.expect(7, &["apply"])?.says(&["root@third", "--take-over"])?;
    second.expect(5, &["apply", "--take-over"])?;
    let before = lab.new().sh("cat /var/lib/rehome/*")?;

    lab.third().sh("kill -CONT $(cat /root/rehome/pid)")?;
    harness::eventually("the first one has ended", || {
        Ok(!lab.third().sh("cat /root/rehome/ended 2>/dev/null || true")?.is_empty())
    })?;
    let ended = lab.third().sh("cd /root/rehome && cat ended said && grep -c phase-began heard")?;
    ensure!(ended.starts_with("7\n") && ended.contains("was taken over") && ended.contains("root@new"), "{ended}");
    ensure!(lab.new().sh("cat /var/lib/rehome/*")? == before, "it has changed the record");
    Ok(())
}

fn another_machine_in_the_place_of_a_side_is_refused() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().without_rspamd().ssh_keys_on("new"))?;
    let plan = up_to(&mail_only(&Reach::Ssh("old"), &Reach::Local)?, "accounts")?;
    // The same machine twice.
    let rehome = Rehome::install(lab.new(), &plan.replace("root@old", "root@new"))?;
    rehome.approve()?;
    rehome.expect(1, &["check"])?.says(&["old (root@new) and new (this machine) are the same machine"])?;
    rehome.plan(&plan)?;
    rehome.approve()?;
    rehome.expect(0, &["apply"])?;

    lab.old().sh("cp /etc/machine-id /root/id && tr 0-9a-f 1-9a-f0 </root/id >/etc/machine-id")?;
    for verb in ["apply", "check", "verify"] {
        let refused = rehome.expect(1, &[verb])?;
        let words = "old (root@old) is another machine than the one this migration began with";
        refused.says(&[words, "its machine-id is", "rehome resolve machine old"])?;
    }
    let asked = rehome.expect(2, &["resolve", "machine", "old"])?;
    asked.says(&["machine-id known:", "machine-id found:", "--yes"])?;
    rehome.expect(1, &["apply"])?;
    rehome.expect(0, &["resolve", "machine", "old", "--yes"])?;
    rehome.expect(0, &["apply"])?;

    // Restored to a moment before the last verb, as a snapshot does it.
    lab.old().sh("rm -rf /var/lib/rehome")?;
    rehome
        .expect(1, &["apply"])?
        .says(&["it has no record of this migration any more", "rehome resolve machine old"])?;
    rehome.expect(0, &["resolve", "machine", "old", "--yes"])?;
    rehome.expect(0, &["apply"])?;
    Ok(())
}
