//! The ways through a cutover. Each begins with old at work and its own copy up to date; then mail changes, caches are
//! dropped, mail changes on until old has stopped, and downtime is from the old Dovecot's stop to the first login on new, as both
//! journals say.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, ensure};
use rehome_tests::accounting::{DOVECOT_JOURNAL, Downtime, downtime};
use rehome_tests::harness::eventually;
use rehome_tests::lab::Machine;
use rehome_tests::rehome::{Built, Event, Reach, Rehome, mail_only};

use super::beside::{Somebody, knock};
use super::world::{CLOSE, REOPEN, USER, World};

/// One way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// rehome, on new.
    Ours,
    /// Only old's stop and twin's start.
    Floor,
    /// The guide's commands, on twin.
    Guide,
    /// The same, with one more rsync just before the first stop.
    GuideAgain,
    /// `doveadm backup`, Dovecot's own copy from server to server, into a place of its own on twin.
    Backup,
}

/// What a cutover took.
pub struct Measured {
    pub seconds: f64,
    /// What of that was spent on what, and `between` for the rest.
    pub parts: BTreeMap<String, f64>,
}

/// Something that was done, in microseconds since 1970.
struct Span {
    name: String,
    from: u64,
    to: u64,
}

pub struct Ways<'a> {
    world: &'a World,
    rehome: Rehome<'a>,
    /// where the events of our last cutover are written
    kept: Option<PathBuf>,
}

/// Tells knock.py on twin that the guide's commands are done.
const OPEN: &str = "/run/guide-is-done";
/// Says when each command of a script was done, and first when it began.
const MARK: &str = "mark() { echo \"$1 $(date +%s%6N)\"; }; mark begin";

impl<'a> Ways<'a> {
    /// Installs rehome on new, and gives twin the accounts that rehome brings to new itself.
    pub fn prepare(world: &'a World, built: &Built, kept: Option<PathBuf>) -> anyhow::Result<Self> {
        let plan = mail_only(&Reach::Ssh("old"), &Reach::Local)?;
        let rehome = Rehome::install_built(built, world.lab.new(), &plan)?;
        world.lab.twin().sh("ssh old mysqldump mailserver | mysql mailserver")?;
        Ok(Self { world, rehome, kept })
    }

    pub fn go(&self, way: Way) -> anyhow::Result<Measured> {
        self.world.open_old()?;
        match way {
            Way::Ours => self.ours(),
            Way::Floor => self.floor(),
            Way::Guide => self.guide(false),
            Way::GuideAgain => self.guide(true),
            Way::Backup => self.backup(),
        }
    }

    fn ours(&self) -> anyhow::Result<Measured> {
        let new = self.rehome.machine;
        self.rehome.forget(&[self.world.lab.old(), new])?;
        self.rehome.approve()?;
        self.rehome.expect(5, &["apply"])?;
        // As an administrator would, shortly before; and what changed in the last two seconds is not remembered.
        std::thread::sleep(Duration::from_secs(3));
        self.rehome.expect(0, &["apply", "--again", "mail-hot"])?;
        self.rehome.expect(0, &["answer", "downtime", "go-on", "yes"])?;
        let changes = self.before()?;
        let login = knock(new, USER, None)?;
        let events = self.rehome.events(&["apply"])?;
        login.wait()?;
        changes.wait()?;
        self.keep(&events)?;
        let measured = self.measured(new, &phases(&events)?)?;
        self.world.must_be_moved_to(new)?;
        Ok(measured)
    }

    fn keep(&self, events: &[Event]) -> anyhow::Result<()> {
        let Some(path) = &self.kept else { return Ok(()) };
        let mut text = String::new();
        for event in events {
            let mut fields = event.fields.clone();
            fields["at"] = micros(event)?.into();
            text += &format!("{fields}\n");
        }
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn guide(&self, again: bool) -> anyhow::Result<Measured> {
        let twin = self.world.lab.twin();
        twin.sh("systemctl start dovecot")?;
        const RSYNC: &str = "rsync -a --delete old:/var/vmail/ /var/vmail/";
        // The second finds what changed during the first: nothing here, but so it is done.
        twin.sh(&format!("{RSYNC} && {RSYNC}"))?;
        let changes = self.before()?;
        twin.sh(&format!("rm -f {OPEN}"))?;
        if again {
            twin.sh(RSYNC)?;
        }
        let login = knock(twin, USER, Some(OPEN))?;
        let script = format!(
            "{MARK}
             ssh old systemctl stop dovecot; mark stop-old
             systemctl stop dovecot; mark stop-new
             {RSYNC}; mark rsync
             systemctl start dovecot; mark start
             doveadm force-resync -A '*'; mark force-resync
             touch {OPEN}"
        );
        let said = twin.sh(&script)?;
        login.wait()?;
        changes.wait()?;
        let measured = self.measured(twin, &marks(&said)?)?;
        self.world.must_be_moved_to(twin)?;
        Ok(measured)
    }

    /// Dovecot runs on both sides, for it is what copies; closed to users meanwhile. The mail goes beside the guide's copy.
    fn backup(&self) -> anyhow::Result<Measured> {
        const STORE: &str = "-o mail_location=maildir:/var/backup/%d/%n";
        let twin = self.world.lab.twin();
        let copy = format!("doveadm {STORE} backup -R -A remote:root@old");
        twin.sh(&format!("install -d -o vmail -g vmail /var/backup; {CLOSE}; {copy}; {copy}"))?;
        self.world.churn()?;
        self.world.drop_caches()?;
        let login = knock(twin, USER, None)?;
        let said = twin.sh(&format!(
            "{MARK}
             ssh old '{CLOSE}'; mark close-old
             {copy}; mark backup
             {REOPEN}; mark open"
        ))?;
        login.wait()?;
        let measured = self.measured(twin, &marks(&said)?)?;
        let status = "-f tab mailbox status -A messages '*' | LC_ALL=C sort | sha256sum";
        let old = self.world.old().sh(&format!("doveadm {status}"))?;
        ensure!(old == twin.sh(&format!("doveadm {STORE} {status}"))?, "the backup on twin has not the mail of old");
        Ok(measured)
    }

    /// Both servers are as far as they can be: new is stopped and only has to start, there is no mail to bring.
    fn floor(&self) -> anyhow::Result<Measured> {
        let twin = self.world.lab.twin();
        twin.sh("systemctl stop dovecot.socket dovecot.service")?;
        let changes = self.before()?;
        let login = knock(twin, USER, None)?;
        let said = twin.sh("mark() { echo \"$1 $(date +%s%6N)\"; }
             mark begin
             ssh old systemctl stop dovecot; mark stop-old
             systemctl start dovecot; mark start")?;
        login.wait()?;
        changes.wait()?;
        self.measured(twin, &marks(&said)?)
    }

    /// What comes before a cutover; mail changes on from here until old's Dovecot has stopped.
    fn before(&self) -> anyhow::Result<Somebody> {
        self.world.churn()?;
        self.world.drop_caches()?;
        self.world.trickle()
    }

    fn measured(&self, new: &Machine, spans: &[Span]) -> anyhow::Result<Measured> {
        let mut found = None;
        eventually("both Dovecots' journals tell of the cutover", || {
            found = downtime(&self.world.old().sh(DOVECOT_JOURNAL)?, &new.sh(DOVECOT_JOURNAL)?).ok();
            // A login of an earlier run is before this one's first command.
            found = found.filter(|downtime: &Downtime| spans.first().is_some_and(|span| downtime.back > span.from));
            Ok(found.is_some())
        })?;
        let downtime = found.context("the journals tell of no cutover")?;
        Ok(Measured { seconds: downtime.seconds(), parts: parts(downtime, spans) })
    }
}

/// What of the downtime was spent on what.
fn parts(downtime: Downtime, spans: &[Span]) -> BTreeMap<String, f64> {
    let mut parts = BTreeMap::new();
    let mut between = downtime.seconds();
    for Span { name, from, to } in spans {
        let (from, to) = (*from.max(&downtime.stopped), *to.min(&downtime.back));
        if from < to {
            let seconds = (to - from) as f64 / 1e6;
            between -= seconds;
            *parts.entry(name.clone()).or_default() += seconds;
        }
    }
    parts.insert("between".into(), between.max(0.0));
    parts
}

/// When it was heard, in microseconds since 1970.
fn micros(event: &Event) -> anyhow::Result<u64> {
    Ok(u64::try_from(event.heard.duration_since(UNIX_EPOCH)?.as_micros())?)
}

/// The phases of the cutover stage, from the events of `apply`.
fn phases(events: &[Event]) -> anyhow::Result<Vec<Span>> {
    let mut began: BTreeMap<&str, u64> = BTreeMap::new();
    let mut spans = Vec::new();
    for event @ Event { fields, .. } in events {
        let at = micros(event)?;
        let phase = fields["phase"].as_str().unwrap_or_default();
        match fields["event"].as_str() {
            Some("phase-began") if fields["stage"] == "cutover" => {
                began.insert(phase, at);
            }
            Some("phase-ended") => {
                if let Some(from) = began.remove(phase) {
                    spans.push(Span { name: phase.into(), from, to: at });
                }
            }
            _ => {}
        }
    }
    ensure!(!spans.is_empty(), "rehome told of no phase of the cutover");
    Ok(spans)
}

/// Lines `NAME MICROSECONDS`, each said when it was done; the first is the beginning.
fn marks(said: &str) -> anyhow::Result<Vec<Span>> {
    let mark = |line: &str| -> anyhow::Result<(String, u64)> {
        let (name, at) = line.split_once(' ').with_context(|| format!("no mark: {line}"))?;
        Ok((name.into(), at.parse()?))
    };
    let marks: Vec<(String, u64)> = said.lines().map(mark).collect::<anyhow::Result<_>>()?;
    Ok(marks.windows(2).map(|pair| Span { name: pair[1].0.clone(), from: pair[0].1, to: pair[1].1 }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_within_the_downtime_counts() {
        let spans = marks("begin 1000000\nstop 3000000\ncopy 4000000\nopen 9000000\n").unwrap_or_default();
        let parts = parts(Downtime { stopped: 2_000_000, back: 6_000_000 }, &spans);
        let close = |part: &str, seconds: f64| (parts[part] - seconds).abs() < 1e-9;
        assert!(close("stop", 1.0) && close("copy", 1.0) && close("open", 2.0) && close("between", 0.0), "{parts:?}");
    }
}
