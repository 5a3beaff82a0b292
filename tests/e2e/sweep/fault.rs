//! The faults themselves: what makes one possible, what it does, and what an operator does about it afterwards.
//! Invariant: whatever a fault needs of a lab is there before rehome is, and a fault whose moment did not come is told.

use super::oracle::Holdings;
use super::point::{Direction, Kind, Moment, Point};
use super::run::Missed;
use crate::rehome::Rehome;
use anyhow::{Context, Result, ensure};
use rehome_tests::lab::{Delay, Lab, Machine};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const DAY: u64 = 86_400;
/// Where new keeps mail is a small file system of its own, so that it can be full.
const SMALL: &str = "mount -t tmpfs -o size=1g,nr_inodes=200000 none /var/vmail && chown vmail:vmail /var/vmail && chmod 770 /var/vmail";
/// Names that a terminal would obey, in somebody's inbox.
const HOSTILE: &str = r#"cd /var/vmail/example.org/anna/Maildir/cur
for name in $'1700000001.M1P1.old\e[31mred:2,S' $'1700000002.M2P2.old\nx:2,' $'1700000003.M3P3.\u202eold:2,' $'1700000004.M4P4.\xff\xfe:2,F'; do
  printf 'Subject: a name\n\n%s\n' ${#name}-$RANDOM$RANDOM > "./$name"
done; chown vmail:vmail ./170000000*"#;
/// Some users change flags, and some delete mail that came before.
const CHANGE: &str = r"for folder in /var/vmail/example.org/*/Maildir/cur; do
  cd $folder; n=0
  for file in *:2,; do [ -e $file ] || continue; mv $file ${file}S || true; n=$((n+1)); [ $n -lt 40 ] || break; done
  rm -f vanishing.*
done";
const VANISHING: &str = r"for folder in /var/vmail/example.org/*/Maildir/cur; do
  cd $folder
  for n in 1 2 3 4 5 6 7 8; do printf 'Subject: vanishing\nMessage-ID: <vanishing-%s@x>\n\n%s%s\n' $n $RANDOM $RANDOM > vanishing.$n:2,; done
  chown vmail:vmail vanishing.*
done";

/// Mail that came when there was still room on new.
const LATE: &str = r"cd /var/vmail/example.org/anna/Maildir/cur
for n in $(seq 100); do { printf 'Subject: late %s\n\n' $n-$RANDOM$RANDOM; head -c 9000 /dev/zero | tr '\0' x; } > 1700000005.M${n}P$RANDOM.old:2,; done
chown vmail:vmail 1700000005.*";

/// What a fault needs while it lasts.
#[derive(Default)]
pub(crate) struct Prepared {
    link: Option<Delay>,
    killer: Option<Child>,
}

/// What became of it.
pub(crate) struct Done {
    /// what the operator had to do, beside typing the same again
    pub(crate) operator: Option<&'static str>,
    /// what was not as it has to be then
    pub(crate) wrong: Option<String>,
}

/// Before rehome begins.
pub(crate) fn prepare(lab: &Lab, point: &Point) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    match point.kind {
        Kind::Full | Kind::Inodes => drop(lab.new().sh(SMALL)?),
        Kind::Names => drop(lab.old().sh(HOSTILE)?),
        Kind::Vanish => drop(source(lab, &point.moment).sh(VANISHING)?),
        Kind::Far => prepared.link = Some(lab.link_slow("old", Duration::from_millis(100), Some(5_000_000))?),
        _ => {}
    }
    Ok(prepared)
}

/// The plan with a phase before this one that does not end by itself.
pub(crate) fn with_guest(plan: &str, moment: &Moment) -> Result<String> {
    let at = plan.find(&format!("id = \"{}\"", moment.phase)).context("the plan has not this phase")?;
    let at = plan[..at].rfind("[[phase]]").context("the plan has no such phase")?;
    let stage = plan[at..].lines().find(|line| line.starts_with("stage")).context("the phase has no stage")?;
    // Another one in each phase.
    let deeds = ["loop", "recursion", "memory", "output"];
    let deed = deeds[moment.phase.bytes().map(usize::from).sum::<usize>() % deeds.len()];
    let guest =
        format!("[[phase]]\nid = \"bad\"\ncomponent = \"mischief\"\n{stage}\n[phase.config]\ndeed = \"{deed}\"\n\n");
    Ok(format!("{}{guest}{}", &plan[..at], &plan[at..]))
}

/// The fault itself.
pub(crate) fn act(lab: &Lab, rehome: &Rehome<'_>, point: &Point, prepared: &mut Prepared) -> Result<()> {
    let new = rehome.machine;
    let killed = || -> Result<()> {
        ensure!(new.kill("rehome")? > 0, Missed);
        Ok(())
    };
    match point.kind {
        Kind::Kill | Kind::Clock | Kind::Names => killed(),
        Kind::KillLater | Kind::Far => {
            std::thread::sleep(Duration::from_millis(250));
            // It may be done by now: its status tells.
            new.kill("rehome").map(drop)
        }
        Kind::KillAtWrite => kill_at(new, "write,pwrite64,sendto", 3, prepared),
        Kind::KillAtSync => kill_at(new, "fsync,fdatasync,syncfs", 1, prepared),
        Kind::KillAtRename => kill_at(new, "rename,renameat,renameat2", 1, prepared),
        Kind::PowerNew => lab.power_off("new"),
        Kind::PowerOld => lab.power_off("old"),
        Kind::Cut => lab.link_cut("old"),
        Kind::Blink => blink(lab, "old", Duration::from_secs(2)),
        Kind::Reset => lab.link_reset("old"),
        Kind::Database => {
            let side = if point.moment.side.as_deref() == Some("new") { lab.new() } else { lab.old() };
            side.sh("systemctl restart mariadb").map(drop)
        }
        // Of nothing in it would be made a size without a limit.
        Kind::Full => shrink(lab, "size=$(($(df --output=used -k /var/vmail | tail -1)+4*try))k"),
        Kind::Inodes => shrink(lab, "nr_inodes=$(($(df --output=iused /var/vmail | tail -1)+10*try))"),
        Kind::Vanish => source(lab, &point.moment).sh(CHANGE).map(drop),
        Kind::Second => {
            // The first one is not done before the second one comes.
            ensure!(new.sh("kill -STOP $(pgrep -x rehome)").is_ok(), Missed);
            let second = rehome.run(&["apply"])?;
            new.sh("kill -CONT $(pgrep -x rehome)")?;
            ensure!(second.status == Some(7), "a second operator was let in: {second:?}");
            ensure!(second.stderr.contains("root"), "it is not said who is at work: {}", second.stderr);
            Ok(())
        }
        Kind::Damage => {
            killed()?;
            new.sh("cd /root/rehome; cp -a components kept; printf x >> components/maildir.wasm").map(drop)
        }
        Kind::Guest => Ok(()),
    }
}

/// A link that is silent so long.
pub(super) fn blink(lab: &Lab, machine: &str, time: Duration) -> Result<()> {
    lab.link_cut(machine)?;
    std::thread::sleep(time);
    lab.link_heal(machine)
}

fn source<'lab>(lab: &'lab Lab, moment: &Moment) -> &'lab Machine {
    if moment.direction() == Direction::Forth { lab.old() } else { lab.new() }
}

/// As small as what is in it; and there is more to bring than rehome, which stands still meanwhile, may know of.
fn shrink(lab: &Lab, option: &str) -> Result<()> {
    ensure!(lab.new().sh("kill -STOP $(pgrep -x rehome)").is_ok(), Missed);
    lab.old().sh(LATE)?;
    // What it was just writing still comes.
    lab.new().sh(&format!(
        "for try in $(seq 50); do why=$(mount -o remount,{option} /var/vmail 2>&1) && exit; sleep 0.1; done
        echo \"$why\" >&2; df -k /var/vmail >&2; exit 1"
    ))?;
    lab.new().sh("kill -CONT $(pgrep -x rehome)").map(drop)
}

/// strace(1) stands by from here on: the system call is not even entered.
fn kill_at(new: &Machine, calls: &str, nth: u32, prepared: &mut Prepared) -> Result<()> {
    let pids = new.processes("rehome")?;
    let pid = pids.iter().max().context(Missed)?.to_string();
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-f", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
    strace.args(["-e", &format!("inject={calls}:signal=KILL:when={nth}"), "-p", &pid]);
    prepared.killer = Some(strace.stdin(Stdio::null()).spawn().context("cannot start strace")?);
    Ok(())
}

/// Afterwards: a cable, a machine, a disk; and what must be so before anything is put right.
pub(crate) fn mend(lab: &Lab, rehome: &Rehome<'_>, point: &Point, prepared: &mut Prepared) -> Result<Done> {
    if let Some(mut killer) = prepared.killer.take() {
        // It ends with what it watches.
        killer.wait()?;
    }
    let booted = |name: &str| -> Result<()> {
        // Its processes are gone; its disk is as it was.
        lab.boot(name).with_context(|| format!("{name} does not boot again"))
    };
    let (mut operator, mut wrong) = (None, None);
    match point.kind {
        Kind::PowerNew => booted("new")?,
        Kind::PowerOld => booted("old")?,
        Kind::Cut => lab.link_heal("old")?,
        Kind::Far => drop(prepared.link.take()),
        Kind::Clock => rehome.clock_is_ahead(if point.moment.nth % 2 == 1 { DAY } else { 0 }),
        Kind::Full | Kind::Inodes => {
            operator = Some("made room");
            let refused = rehome.run(&["apply"])?;
            ensure!(refused.status != Some(0), "a full disk was no trouble");
            let all = format!("{}{}", refused.stdout, refused.stderr);
            let said = ["space", "full", "inodes", " left, and the mail needs "].iter().any(|word| all.contains(word));
            ensure!(said, "it is not said that the disk is full: {all}");
            wrong = partial(lab)?;
            lab.new().sh("mount -o remount,size=1g,nr_inodes=200000 /var/vmail")?;
        }
        Kind::Damage => {
            operator = Some("put the component back that was approved");
            let refused = rehome.run(&["apply"])?;
            let said = refused.stderr.contains("maildir");
            ensure!(refused.status != Some(0) && said, "a damaged component was run: {refused:?}");
            rehome.machine.sh("cd /root/rehome; rm -r components; mv kept components")?;
        }
        _ => {}
    }
    Ok(Done { operator, wrong })
}

/// Mail that a server on new would show, and that is none: content that old does not have.
fn partial(lab: &Lab) -> Result<Option<String>> {
    let (old, new) = (Holdings::of(lab.old())?, Holdings::of(lab.new())?);
    Ok(new.is_not_in(&old).map(|message| format!("a partial mail: {message}")))
}
