//! Links that somebody swaps in for folders, as fast as a machine can, while rehome copies: by root on old, to be given what
//! old's root keeps; by the owner of the mail on new, to have root write where it should not.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec, Machine};
use rehome_tests::oracle::disk::disk;
use rehome_tests::oracle::same;
use rehome_tests::{harness, lab_tests};

use super::{ASIDE, RECORDS, TREE, mail, plan, put, safely};
use crate::rehome::{Reach, Rehome};

pub(super) fn tests() -> Vec<Trial> {
    lab_tests![links_that_are_swapped_in_on_both_sides_lead_nowhere]
}

const CANARY: &str = "canary-51d0-hush";
const ROUNDS: usize = 4;
/// How often a folder is swapped, at least, while rehome copies.
const OFTEN: u64 = 1000;

/// What old's root keeps, and a mailbox with files of the same names and sizes: whoever follows the link gets the wrong ones.
const KEPT: &str = "mkdir -m 700 /root/mails; n=100
    while [ $n -lt 400 ]; do echo CANARY > /root/mails/$n.M1P1.old:2,S; echo public-5-public0 > eva/Maildir/cur/$n.M1P1.old:2,S; n=$((n+1)); done
    printf 'lying:CANARY:19000:0:99999:7:::\\n' >> /etc/shadow; echo CANARY > /etc/canary
    head -c $(stat -c %s /etc/shadow) /dev/zero > eva/sieve/shadow; echo public-5-public0 > eva/sieve/canary";
const MAILBOXES: &str = "mkdir -p eva/sieve otto/sieve; for user in eva otto; do mkdir -p $user/Maildir/cur $user/Maildir/new $user/Maildir/tmp; done
    echo one > otto/Maildir/cur/1.M1P1.old:2,S; echo keep > otto/sieve/keep";

/// A folder below a user's, where the link waits (on the same disk, outside of what is granted), and where it leads.
struct Swap {
    folder: &'static str,
    link: &'static str,
    target: &'static str,
}

const ON_OLD: [Swap; 2] = [
    Swap { folder: "eva/Maildir/cur", link: "/var/swap/1", target: "/root/mails" },
    Swap { folder: "eva/sieve", link: "/var/swap/2", target: "/etc" },
];
const ON_NEW: [Swap; 2] = [
    Swap { folder: "otto/Maildir/cur", link: "/var/swap/1", target: "/srv/outside" },
    Swap { folder: "otto/sieve", link: "/var/swap/2", target: "/etc" },
];

/// Begins to swap, as this user.
fn begin(machine: &Machine, user: &str, swaps: &[Swap]) -> Result<()> {
    put(machine, "/tmp/swap.py", include_str!("../../lab/swap.py"))?;
    // All of them are there before the first one is swapped: it would not hold still for a chown(1).
    for (number, Swap { link, target, .. }) in swaps.iter().enumerate() {
        machine.sh(&format!("rm -f /tmp/mark{number}*; mkdir -p /var/swap; ln -sfn {target} {link}"))?;
    }
    machine.sh(&format!("chown -hR {user} /var/swap"))?;
    for (number, Swap { folder, link, target }) in swaps.iter().enumerate() {
        machine.sh(&format!(
            "nohup setpriv --reuid {user} --regid {user} --clear-groups python3 /tmp/swap.py {TREE}/{folder} {link} {target} /tmp/mark{number} >/dev/null 2>&1 &"
        ))?;
    }
    Ok(())
}

/// Ends it; it was swapped often enough to mean something.
fn end(machine: &Machine, swaps: &[Swap], enough: u64) -> Result<()> {
    for (number, Swap { folder, .. }) in swaps.iter().enumerate() {
        machine.sh(&format!("touch /tmp/mark{number}.stop"))?;
        let has_ended =
            || Ok(machine.sh(&format!("cat /tmp/mark{number} 2>/dev/null || true"))?.trim().parse::<u64>().is_ok());
        harness::eventually("the swapping ends", has_ended)?;
        let count: u64 = machine.sh(&format!("cat /tmp/mark{number}"))?.trim().parse()?;
        ensure!(count > enough, "{folder} was swapped {count} times only on {}", machine.name());
    }
    Ok(())
}

fn links_that_are_swapped_in_on_both_sides_lead_nowhere() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().without_rspamd().ssh_keys_on("new"))?;
    lab.old().sh(&mail(&format!("{MAILBOXES}\n{}", KEPT.replace("CANARY", CANARY))))?;
    lab.new().sh(&mail(MAILBOXES))?;
    lab.new().sh("mkdir /srv/outside; for n in 1 2 3; do echo mine > /srv/outside/$n.M1P1.old:2,S; done")?;
    let rehome = Rehome::install(lab.new(), &plan(&Reach::Ssh("old"), &Reach::Local)?)?;
    rehome.approve()?;
    rehome.expect(0, &["check"])?;
    // What the swapping itself moves is not rehome's.
    let besides = ["/root/rehome", RECORDS, ASIDE, "/var/swap", TREE];
    lab.new().sh(&format!("mkdir -m 700 {ASIDE} /var/swap"))?;
    let before = disk(lab.new(), &besides)?;
    ensure!(before.count() > 10_000, "not a whole disk: {}", before.count());
    // From the beginning each time, so that all is read again. Whether a pass succeeds does not matter here.
    let pass = || -> Result<()> {
        rehome.forget(&[lab.old(), lab.new()])?;
        rehome.approve()?;
        safely(&rehome, &["apply"]).map(drop)
    };
    begin(lab.old(), "root", &ON_OLD)?;
    let mut arrived = 0;
    for _ in 0..ROUNDS {
        lab.new().sh(&format!("rm -rf {TREE}/eva"))?;
        pass()?;
        arrived += nowhere(lab.new())?;
    }
    ensure!(arrived > 0, "nothing was read of what is swapped: this proves nothing");
    a_reader_is_led_astray(lab.old())?;
    end(lab.old(), &ON_OLD, OFTEN)?;

    begin(lab.new(), "vmail", &ON_NEW)?;
    for round in 0..ROUNDS {
        // Something to write, to rename and to set aside.
        lab.old().sh(&format!(
            "cd {TREE}/otto && for n in 1 2 3 4 5 6 7 8 9; do echo {round} > Maildir/cur/{round}$n.M1P1.old:2,; echo {round} > sieve/$n; done
             rm -f Maildir/cur/$(({round} - 2))?.*; chown -R vmail: ."
        ))?;
        pass()?;
    }
    end(lab.new(), &ON_NEW, OFTEN)?;
    same("new outside of the granted tree", &before.diff(&disk(lab.new(), &besides)?))?;
    a_writer_is_led_astray(lab.new())?;

    rehome.forget(&[lab.old(), lab.new()])?;
    rehome.approve()?;
    rehome.expect(0, &["apply"])?;
    let files = format!("cd {TREE} && find . -type f ! -path './*/sieve/[1-9]' -exec sha256sum {{}} + | sort");
    let (old, new) = (lab.old().sh(&files)?, lab.new().sh(&files)?);
    ensure!(old == new && old.lines().count() > 300, "old has\n{old}\nand new\n{new}");
    nowhere(lab.new()).map(drop)
}

/// Nothing of what old's root keeps is anywhere on new; how much of the mailbox is.
fn nowhere(new: &Machine) -> Result<u64> {
    let found = new.sh(&format!("grep -rlaF {CANARY} /etc /home /opt /root /srv /usr/local /var || true"))?;
    ensure!(found.trim().is_empty(), "new has what old's root keeps, in {found}");
    let arrived = new.sh(&format!("{{ grep -rlF public-5-public0 {TREE}/eva || true; }} | wc -l"))?;
    Ok(arrived.trim().parse()?)
}

/// Who reads paths by their names gets what the links lead to, too.
fn a_reader_is_led_astray(old: &Machine) -> Result<()> {
    let read = old.sh(&format!(
        "for n in $(seq 100 399); do cat {TREE}/eva/Maildir/cur/$n.M1P1.old:2,S 2>/dev/null || true; done | sort | uniq -c"
    ))?;
    ensure!(read.contains(CANARY) && read.contains("public-5-public0"), "a reader who follows links gets {read}");
    Ok(())
}

/// Who writes to paths by their names writes where the links lead. As long as it takes; the end of the lab is its end, too.
fn a_writer_is_led_astray(new: &Machine) -> Result<()> {
    let swap = &ON_NEW[..1];
    begin(new, "vmail", swap)?;
    let folder = format!("{TREE}/{}", swap[0].folder);
    let write = format!("until [ -e /srv/outside/astray ]; do echo x > {folder}/astray; done 2>/dev/null");
    let led_astray = new.ssh(&["timeout", "120", "bash", "-c", &write])?;
    ensure!(led_astray.status.success(), "a writer who follows links was not led astray");
    // It may have been led astray at once.
    end(new, swap, 0)?;
    new.sh(&format!("rm -f /srv/outside/astray {folder}/astray")).map(drop)
}
