//! The lab of the bench: an old server with as many mails as asked for, two new ones beside each other, all on a disk; and
//! what happens there before each run: mail arrives, gets flags, is deleted; caches are dropped.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use rehome_tests::harness::eventually;
use rehome_tests::lab::{Disk, Lab, LabSpec, Machine};

use super::beside::{Somebody, trickle};

const USERS: &str = "100";
/// One of them (`tests/lab/bulk.py`).
pub const USER: (&str, &str) = ("user042@example.org", "secret");
/// Dovecot runs and listens to nobody, and no longer so.
pub const CLOSE: &str = "echo protocols = > /etc/dovecot/conf.d/zz-closed.conf; systemctl restart dovecot";
pub const REOPEN: &str = "rm -f /etc/dovecot/conf.d/zz-closed.conf; systemctl restart dovecot";
/// Of all mails, before each run: new, with other flags, gone.
const CHURN: [&str; 3] = ["0.005", "0.01", "0.003"];

/// Mails a second that arrive, get other flags or go, in turns, from then on until old has stopped.
const RATE: f64 = 0.5;

pub struct World {
    pub lab: Lab,
    churned: Cell<u64>,
}

impl World {
    /// With the machines' disks in this folder, which must outlive it.
    pub fn make(disks: &Path, messages: u64) -> anyhow::Result<Self> {
        let spec = LabSpec::pair().with_twin().ssh_keys_on("new").ssh_keys_on("twin");
        // A mail takes 6 KiB, and there may be a second copy of it (`doveadm backup`); the rest is for the system and churn.
        let mib = messages / 64 + 3072;
        let lab = Lab::start(&spec.disk(Disk::Images(disks.to_path_buf(), mib)))?;
        let world = Self { lab, churned: Cell::new(0) };
        let begun = Instant::now();
        world.old().python("bulk.py", &["fill", USERS, &messages.to_string()], b"")?;
        world.look()?;
        eprintln!("{messages} mails on old in {:.0} s", begun.elapsed().as_secs_f64());
        Ok(world)
    }

    pub fn old(&self) -> &Machine {
        self.lab.old()
    }

    /// Users work on old.
    pub fn open_old(&self) -> anyhow::Result<()> {
        self.old().sh(&format!("systemctl unmask dovecot.service dovecot.socket; {REOPEN}"))?;
        eventually("Dovecot on old listens", || self.old().port_is_open(143))
    }

    /// What comes before each run. Other mails each time, as many each time.
    pub fn churn(&self) -> anyhow::Result<()> {
        let seed = self.churned.get() + 1;
        self.churned.set(seed);
        let mut words = vec!["churn".to_string(), seed.to_string()];
        words.extend(CHURN.map(String::from));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.old().python("bulk.py", &words, b"")?;
        self.look()
    }

    /// What goes on during each run.
    pub fn trickle(&self) -> anyhow::Result<Somebody> {
        trickle(self.old(), self.churned.get(), RATE)
    }

    /// Dovecot on old sees all mailboxes: mail that it delivers itself has UIDs at once.
    fn look(&self) -> anyhow::Result<()> {
        self.old().sh("doveadm -f tab mailbox status -A messages '*' >/dev/null").map(drop)
    }

    /// As after a boot. The machines' kernel is this one's (proc(5), drop_caches).
    pub fn drop_caches(&self) -> anyhow::Result<()> {
        self.old().sh("sync")?;
        std::fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop the caches")
    }

    /// The mails of a new server are those of old: the same names with the same flags and sizes, in the same mailboxes; and
    /// over IMAP the same UIDs with the same flags. Old is at work again afterwards.
    pub fn must_be_moved_to(&self, new: &Machine) -> anyhow::Result<()> {
        // A mail that Dovecot has seen goes from `new` to `cur`: no difference.
        let script = "cd /var/vmail && find . -type f -path '*/Maildir/*' '(' -path '*/cur/*' -o -path '*/new/*' ')' \
                      -printf '%P %s\\n' | sed -E 's,/new/([^ /]*) ,/cur/\\1:2\\, ,' | LC_ALL=C sort > /run/mails && \
                      wc -l < /run/mails && sha256sum < /run/mails";
        let (old, there) = (self.old().sh(script)?, new.sh(script)?);
        ensure!(old == there, "the mail on {} is not that of old\nold: {old}\n{}: {there}", new.name(), new.name());
        let given = given_uids(self.old())?;
        self.open_old()?;
        let (old, there) = (seen_over_imap(self.old(), &given)?, seen_over_imap(new, &given)?);
        let differing: Vec<&Seen> = old.symmetric_difference(&there).take(5).collect();
        ensure!(
            differing.is_empty(),
            "of {} mails on old and {} on {}, UIDs or flags over IMAP differ, such as {differing:?}",
            old.len(),
            there.len(),
            new.name()
        );
        Ok(())
    }
}

/// User and mailbox as IMAP has it, and the first UID that old's Dovecot has given to nobody when it stopped.
type Given = BTreeMap<(String, String), u32>;
/// User, mailbox, UID, flags.
type Seen = (String, String, u32, String);

/// What arrived last nobody has looked at on old: each server gives it a UID of its own.
fn given_uids(old: &Machine) -> anyhow::Result<Given> {
    // What was given since the head of the list was written follows below it.
    let next = "NR == 1 { for (at = 2; at <= NF; at++) if ($at ~ /^N/) next_uid = substr($at, 2) + 0 } \
                NR > 1 && $1 + 0 >= next_uid { next_uid = $1 + 1 } END { print next_uid }";
    let script = format!("cd /var/vmail && find . -name dovecot-uidlist -printf '%P ' -exec awk '{next}' {{}} ';'");
    let mut given = Given::new();
    for line in old.sh(&script)?.lines() {
        // DOMAIN/USER/Maildir/.MAILBOX/dovecot-uidlist 12
        let told = line.rsplit(' ').next().and_then(|next| next.parse().ok());
        let parts: Vec<&str> = line.split(['/', ' ']).collect();
        let (Some(next), [domain, user, "Maildir", rest @ ..]) = (told, parts.as_slice()) else {
            bail!("a list of UIDs on old begins strangely: {line}");
        };
        let mailbox = rest.first().and_then(|folder| folder.strip_prefix('.')).unwrap_or("INBOX");
        given.insert((format!("{user}@{domain}"), mailbox.to_string()), next);
    }
    ensure!(!given.is_empty(), "old's Dovecot has given no UIDs");
    Ok(given)
}

fn seen_over_imap(machine: &Machine, given: &Given) -> anyhow::Result<BTreeSet<Seen>> {
    let users: BTreeSet<&str> = given.keys().map(|(user, _)| user.as_str()).collect();
    let words: Vec<&str> = std::iter::once(USER.1).chain(users).collect();
    let said = String::from_utf8(machine.python("imap_uids.py", &words, b"")?)?;
    let mut seen = BTreeSet::new();
    let mut user = "";
    for line in said.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields.as_slice() {
            [name] => user = name,
            [mailbox, uid, flags] => {
                let (key, uid) = ((user.to_string(), mailbox.to_string()), uid.parse()?);
                if given.get(&key).is_some_and(|next| uid < *next) {
                    seen.insert((key.0, key.1, uid, flags.to_string()));
                }
            }
            _ => bail!("a strange line of imap_uids.py: {line}"),
        }
    }
    ensure!(!seen.is_empty(), "nobody sees any mail on {}", machine.name());
    Ok(seen)
}
