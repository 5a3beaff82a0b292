//! Secrets stay where they are: canaries in every place that holds one, and a search of everything that could have let them
//! out. What is searched must hold something, or the search proves nothing.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec, Machine};
use rehome_tests::lab_tests;

use crate::rehome::{Ran, Reach, Rehome, mail_only, up_to};

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![a_password_is_nowhere_but_in_its_file]
}

const CANARY: &str = "canary-7f3a-hush";
const WRONG: &str = "canary-7f3a-wrong";
/// Both begin so.
const BOTH: &str = "canary-7f3a";

/// Keeps every command line and environment that it sees, until it is told to stop.
const WATCH: &str = "rm -f /tmp/seen /tmp/stop; \
    nohup sh -c 'while [ ! -e /tmp/stop ]; do cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr \"\\0\" \"\\n\" \
    | sort -u >> /tmp/seen; sleep 0.02; done' >/dev/null 2>&1 &";

fn a_password_is_nowhere_but_in_its_file() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    lab.old().sh(&format!(
        "mysql -e \"CREATE USER mover@localhost IDENTIFIED BY '{CANARY}'; GRANT ALL ON mailserver.* TO mover@localhost\""
    ))?;
    let plan = up_to(&mail_only(&Reach::Ssh("old"), &Reach::Local)?, "accounts")?;
    let login = "[secret.db]\nfile = \"db.secret\"\n[old.database.mailserver]\nuser = \"mover\"\npassword = \"db\"\n\n";
    let rehome = Rehome::install(lab.new(), &plan.replacen("[[phase]]", &format!("{login}[[phase]]"), 1))?;
    let secret = |text: &str| -> Result<()> {
        rehome.write("db.secret", text.as_bytes())?;
        rehome.machine.sh("chmod 600 /root/rehome/db.secret").map(drop)
    };
    secret(CANARY)?;
    for machine in [lab.old(), lab.new()] {
        machine.sh(WATCH)?;
    }
    let mut said: Vec<Ran> = Vec::new();
    rehome.approve()?;
    for words in [["check", "-vv"], ["apply", "-vv"], ["verify", "--json"], ["status", "--json"]] {
        let ran = rehome.run(&words)?;
        ensure!(matches!(ran.status, Some(0 | 3)), "rehome {words:?}: {}\n{}", ran.stdout, ran.stderr);
        said.push(ran);
    }
    // A login that fails has the most reason to say something.
    secret(WRONG)?;
    let failed = rehome.run(&["verify", "-vv"])?;
    ensure!(failed.status != Some(0), "it was let in with another password: {}", failed.stdout);
    ensure!(failed.stderr.contains("mover") || failed.stdout.contains("mover"), "{}\n{}", failed.stdout, failed.stderr);
    said.push(failed);
    for ran in &said {
        ensure!(
            !ran.stdout.contains(BOTH) && !ran.stderr.contains(BOTH),
            "rehome said it:\n{}\n{}",
            ran.stdout,
            ran.stderr
        );
    }
    for machine in [lab.old(), lab.new()] {
        machine.sh("touch /tmp/stop; sleep 0.2")?;
        let seen = machine.sh("grep -c . /tmp/seen")?;
        ensure!(seen.trim().parse::<u64>()? > 100, "nothing was watched on {}", machine.name());
        nowhere(machine, "/tmp/seen")?;
        nowhere(machine, "/var/log")?;
        let journal = machine.sh(&format!("journalctl --no-pager | grep -c {BOTH} || true"))?;
        ensure!(journal.trim() == "0", "it is in the journal of {}", machine.name());
    }
    ensure!(lab.new().sh("grep -c rehome /tmp/seen")?.trim().parse::<u64>()? > 0, "rehome itself was not watched");
    rehome.machine.sh("mv /root/rehome/db.secret /root/db.secret")?;
    nowhere(rehome.machine, "/root/rehome")?;
    rehome.machine.sh("test -s /root/rehome/.rehome/journal.db")?;
    no_core(&rehome)
}

/// No file below `folder` holds either canary.
fn nowhere(machine: &Machine, folder: &str) -> Result<()> {
    let found = machine.sh(&format!("grep -rlaF {BOTH} {folder} || true"))?;
    ensure!(found.trim().is_empty(), "on {}, in {found}", machine.name());
    Ok(())
}

/// A rehome that dies of a signal leaves no image of its memory, where another program would.
fn no_core(rehome: &Rehome<'_>) -> Result<()> {
    // What is left, and the status that tells of the signal: 134. Not SEGV, which the sandbox takes for a trap of a guest.
    let dying = |command: &str, is_up: &str| {
        let cores = "rm -rf /tmp/cores; mkdir /tmp/cores; cd /tmp/cores; ulimit -c unlimited;";
        rehome.machine.sh(&format!(
            "{cores} {command} </dev/null >/dev/null 2>&1 & while [ -e /proc/$!/exe ] && ! {is_up}; do sleep 0.02; done
             kill -ABRT $!; status=0; wait $! || status=$?; echo $status $(ls -A /tmp/cores)"
        ))
    };
    let usual = dying("sleep 60", "grep -qx sleep /proc/$!/comm")?;
    // At work, on several threads: before that it is for a moment the shell that starts it.
    let check = "/root/rehome/rehome check --plan /root/rehome/plan.toml";
    let left = dying(check, "[ $(ls /proc/$!/task | wc -l) -gt 1 ]")?;
    ensure!(left.trim() == "134", "rehome left {left}; another program leaves {usual}");
    // Where the kernel pipes images elsewhere (core(5)), there is nothing here to compare with.
    let piped = rehome.machine.sh("cat /proc/sys/kernel/core_pattern")?.starts_with('|');
    ensure!(piped || usual.trim() != "134", "another program leaves none either: this proves nothing");
    Ok(())
}
