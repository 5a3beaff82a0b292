//! The perl on old that rehome asks is another one: it says what no honest hand says. Each lie is refused with an error that
//! names the side, in bounded time and memory, or is of no consequence.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec};
use rehome_tests::lab_tests;
use rehome_tests::oracle::disk::{Disk, disk};
use rehome_tests::oracle::same;
use std::time::{Duration, Instant};

use super::{ASIDE, OWN, RECORDS, TREE, all, mail, obeyed, plan, put, safely};
use crate::rehome::{Ran, Reach, Rehome};

pub(super) fn tests() -> Vec<Trial> {
    lab_tests![what_a_lying_hand_says_is_refused_in_bounded_time_and_memory_and_changes_nothing]
}

/// In perl, before the hand answers anything; what must be said of it. See `perl.pl` for its words.
type Lie = (&'static str, &'static str);

/// Of a listing.
const LISTED: &[Lie] = &[
    ("besides(sub { tell_back('e', $_[0], like(name => '..')) });", "has a component `.` or `..`"),
    ("besides(sub { tell_back('e', $_[0], like(name => '../../../../../root/pwned')) });", "a name with a `/`"),
    ("besides(sub { tell_back('e', $_[0], like(name => '/etc/cron.d/pwned')) });", "a name with a `/`"),
    ("besides(sub { tell_back('e', $_[0], like(name => qq(a\\0b))) });", "it holds a NUL"),
    ("besides(sub { tell_back('e', $_[0], like(name => '')) });", "it has an empty component"),
    ("besides(sub { tell_back('e', $_[0], like(name => 'x' x 256)) });", "longer than 255 bytes"),
    ("besides(sub { tell_back('e', '../../etc/cron.d', like(name => 'pwned')) });", "that it had not listed"),
    ("besides(sub { tell_back('e', '/etc/cron.d', like(name => 'pwned')) });", "that it had not listed"),
    ("besides(sub { tell_back('e', 'example.org', like(name => 'pwned')) });", "that it had not listed"),
    (
        "besides(sub { tell_back('e', $_[0], like(name => 'gate', kind => 'l', points_to => '/etc')); \
         tell_back('e', qq($_[0]/gate), like(name => 'pwned')) });",
        "that it had not listed",
    ),
    (
        "besides(sub { tell_back('e', $_[0], like(kind => 'l', points_to => '/etc'), like(kind => 'd')) });",
        "the same path twice",
    ),
    ("besides(sub { tell_back('e', $_[0], like(kind => 'l')) });", "a link that points to nothing"),
    ("besides(sub { tell_back('e', $_[0], like(kind => 'c')) });", "an entry of unknown kind"),
    ("besides(sub { tell_back('e', $_[0], like(mode => 0104755)) });", "a mode, time or size that does not exist"),
    ("besides(sub { tell_back('e', $_[0], like(time => 1e9)) });", "a mode, time or size that does not exist"),
    (
        "besides(sub { tell_back('e', $_[0], like(size => '9223372036854775808')) });",
        "a mode, time or size that does not",
    ),
    ("besides(sub { tell_back('e', $_[0], like(size => '-1')) });", "a number that is none"),
    ("besides(sub { tell_back('e', $_[0], like(user => qq(\\e[2Jroot))) });", "an owner that is no name"),
    (
        "besides(sub { tell_back('e', $_[0], like(attributes => pack('(N/a*)*', 'security.capability', 'x'))) });",
        "an attribute that is none",
    ),
    ("besides(sub { send_raw('e', pack('N', 77)) });", "a field that is longer than its frame"),
    ("besides(sub { send_raw('?', '') });", "a frame of unknown shape"),
    ("besides(sub { $out .= pack('N', 1 << 30); flush() });", "a frame that is too long"),
    ("besides(sub { $out .= pack('N', 0); flush() });", "an empty frame"),
    ("besides(sub { send_raw('w', 'abc') });", "content was not asked for"),
    (
        "instead('t', sub { tell_back('e', 'etc', like(name => 'shadow', kind => 'd')); tell_back('K') });",
        "another entry than was asked",
    ),
    (
        "instead('t', sub { tell_back('e', parent_of($_[0]), like(kind => 'd')); tell_back('K') });",
        "another entry than was asked",
    ),
    // Without end.
    (
        "besides(sub { my $frame = pack('(N/a*)*', $_[0], map { like(name => qq($_.M1P1.old)) } 1 .. 200); send_raw('e', $frame) while 1 });",
        "its listing takes more than 1024 MiB",
    ),
    ("besides(sub { tell_back('e', $_[0]) while 1 });", "nothing, again and again"),
    ("besides(sub { tell_back('g', $_[0]) while 1 });", "news of a folder that it had not listed"),
];

/// Of content. The mailbox has small messages, and one that travels in pieces.
const SENT: &[Lie] = &[
    ("instead('m', sub { tell_back('o', 3, 5, 5) });", "content was not asked for"),
    (
        "instead('R', sub { tell_back('o', 1 << 40, 5, 5); send_raw('d', 'x' x 65536) while 1 });",
        "more content than was asked for",
    ),
    ("instead('R', sub { tell_back('o', 10, 5, 5); send_raw('d', 'x' x 20) });", "other content than it had announced"),
    (
        "instead('R', sub { tell_back('o', 100_000, 5, 5); send_raw('d', '') while 1 });",
        "other content than it had announced",
    ),
    ("instead('R', sub { tell_back('o', 100_000, 5, 1e9) });", "a time that does not exist"),
];

/// Of the names in a folder that is known from a former pass.
const NAMED: &[Lie] = &[
    ("named(sub { tell_back('n', $_[0], qq(../../../../../root/pwned\\0)) });", "a name that is none"),
    ("named(sub { tell_back('n', $_[0], qq(..\\0)) });", "a name that is none"),
    ("named(sub { tell_back('n', $_[0], 'a') });", "a name without its end"),
    ("named(sub { tell_back('n', '../../etc', qq(pwned\\0)) });", "the names of a folder that it had not listed"),
    ("named(sub { tell_back('s', $_[0]) });", "as unchanged what has changed"),
    ("named(sub { tell_back('n', $_[0], '') while 1 });", "nothing, again and again"),
    (
        "named(sub { my $many = qq(a\\0) x 100_000; tell_back('n', $_[0], $many) while 1 });",
        "more than 20000000 entries",
    ),
];

/// No bound that a machine with much to do could miss.
const PATIENCE: Duration = Duration::from_secs(180);
/// What a run may take of memory, in KiB. A listing is stopped at 1 GiB.
const MEMORY: u64 = 2560 << 10;

struct Liar<'lab> {
    lab: &'lab Lab,
    rehome: Rehome<'lab>,
}

impl Liar<'_> {
    /// Tells a lie, and sees that it was told.
    fn tells(&self, lie: &str, words: &[&str]) -> Result<Ran> {
        let old = self.lab.old();
        ensure!(
            old.ssh_with_input(&["sh", "-c", "rm -f /root/told; cat > /root/lie"], lie.as_bytes())?.status.success()
        );
        let begun = Instant::now();
        let ran = self.measured(words)?;
        ensure!(begun.elapsed() < PATIENCE, "{lie}\ntook {:?}", begun.elapsed());
        ensure!(old.sh("rm /root/lie /root/told").is_ok(), "this was not told: {lie}\n{}", all(&ran));
        Ok(ran)
    }

    /// `rehome WORDS…`, which must stay within [`MEMORY`].
    fn measured(&self, words: &[&str]) -> Result<Ran> {
        const MEASURE: &str = "import os, resource, subprocess, sys; os.chdir('/root/rehome'); \
            status = subprocess.call(['./rehome'] + sys.argv[1:]); \
            print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=open('/tmp/peak', 'w')); sys.exit(status)";
        let machine = self.rehome.machine;
        let done = machine.ssh(&[&["python3", "-c", MEASURE][..], words].concat())?;
        let peak: u64 = machine.sh("cat /tmp/peak")?.trim().parse()?;
        ensure!((1 << 10..MEMORY).contains(&peak), "rehome {words:?} took {peak} KiB");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let ran = Ran { status: done.status.code(), stdout: text(done.stdout), stderr: text(done.stderr) };
        let said = all(&ran);
        ensure!(obeyed(&said).is_none(), "rehome said {:?}:\n{}", obeyed(&said), said.escape_debug());
        Ok(ran)
    }

    fn is_refused(&self, lies: &[Lie], words: &[&str]) -> Result<()> {
        for (lie, says) in lies {
            let ran = self.tells(lie, words)?;
            let said = all(&ran);
            ensure!(!matches!(ran.status, Some(0 | 5) | None), "this was believed: {lie}\n{said}");
            ensure!(said.contains("old: ") && said.contains(says), "`{says}` of old is not said of {lie}:\n{said}");
        }
        Ok(())
    }
}

/// Everything but the granted tree, and what rehome keeps where it runs.
fn disks(lab: &Lab) -> Result<[Disk; 2]> {
    let disks = [disk(lab.new(), &[TREE, ASIDE, RECORDS])?, disk(lab.third(), &OWN)?];
    ensure!(disks.iter().all(|disk| disk.count() > 10_000), "not whole disks: {:?}", disks.each_ref().map(Disk::count));
    Ok(disks)
}

const MAILBOX: &str = "mkdir -p eva/Maildir/cur eva/Maildir/new eva/Maildir/tmp
    for n in 1 2 3; do echo mail $n > eva/Maildir/cur/160000000$n.M1P1.old:2,S; done
    head -c 100000 /dev/zero | tr '\\0' x > eva/Maildir/cur/1600000009.M1P1.old:2,S";

fn what_a_lying_hand_says_is_refused_in_bounded_time_and_memory_and_changes_nothing() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().without_rspamd().with_third().ssh_keys_on("third"))?;
    lab.old().sh(&mail(MAILBOX))?;
    lab.new().sh(&mail(&format!("mkdir -m 700 {ASIDE}")))?;
    let rehome = Rehome::install(lab.third(), &plan(&Reach::Ssh("old"), &Reach::Ssh("new"))?)?;
    rehome.approve()?;
    rehome.expect(0, &["check"])?;
    lab.old().sh("mv /usr/bin/perl /usr/bin/perl.real")?;
    put(lab.old(), "/usr/bin/perl", include_str!("perl.pl"))?;
    let before = disks(&lab)?;
    let liar = Liar { lab: &lab, rehome };
    liar.is_refused(LISTED, &["apply"])?;
    liar.is_refused(SENT, &["apply"])?;
    let empty = lab.new().sh(&format!("find {TREE} -name '*.old*' -o -name lie -o -name pwned"))?;
    ensure!(
        !empty.contains("1600000009") && !empty.contains("lie") && !empty.contains("pwned"),
        "it arrived:\n{empty}"
    );

    without_consequence(&liar)?;
    // What a pass found alike the next one remembers.
    honestly(&liar)?;
    honestly(&liar)?;
    lab.old().sh(&mail("echo more > eva/Maildir/cur/1700000000.M1P1.old:2,"))?;
    liar.is_refused(NAMED, &["apply", "--again", "mail"])?;
    honestly(&liar)?;
    hashes(&liar)?;

    let after = disks(&lab)?;
    for (what, (before, after)) in ["new", "the machine that rehome runs on"].iter().zip(before.iter().zip(&after)) {
        same(what, &before.diff(after))?;
    }
    Ok(())
}

/// Devices are left out, bits that give rights are dropped, a link is a link, and a message is what was listed or is not there.
fn without_consequence(liar: &Liar<'_>) -> Result<()> {
    let lie = "besides(sub { tell_back('e', $_[0], like(name => qq(null\\e[31337m), kind => 'o'), like(name => 'rights', mode => 06755), \
               like(name => 'gate', kind => 'l', points_to => '/etc/shadow'), like(name => 'grown')) }); \
               instead('m', sub { $_[0] =~ m{/rights\\z} ? send_raw('w', 'abc') : $_[0] =~ m{/grown\\z} ? send_raw('w', 'x' x 900_000) : message(@_) });";
    let ran = liar.tells(lie, &["apply"])?;
    let said = all(&ran);
    ensure!(ran.status == Some(0), "{said}");
    for words in ["null\\u{1b}[31337m: it is a device", "eva/Maildir: it kept changing"] {
        ensure!(said.contains(words), "`{words}` is not said:\n{said}");
    }
    let arrived = liar.lab.new().sh(&format!(
        "cd {TREE}/eva/Maildir/cur && find . ! -name '1*' ! -name . -printf '%f %y %m %u %l\\n' | sort"
    ))?;
    ensure!(arrived == "gate l 777 vmail /etc/shadow\nrights f 755 vmail \n", "{arrived}");
    Ok(())
}

/// The same machine, and nobody lies.
fn honestly(liar: &Liar<'_>) -> Result<()> {
    let ran = safely(&liar.rehome, &["apply", "--again", "mail"])?;
    ensure!(ran.status == Some(0), "{}", all(&ran));
    let files = format!("cd {TREE} && find . -type f -printf '%p %m %U %s\\n' | sort");
    let (old, new) = (liar.lab.old().sh(&files)?, liar.lab.new().sh(&files)?);
    ensure!(old == new && old.contains("1600000009"), "old has\n{old}\nand new\n{new}");
    Ok(())
}

/// Hashes are a side's word: one that does not fit is a difference, one that is none is refused.
fn hashes(liar: &Liar<'_>) -> Result<()> {
    liar.rehome.expect(0, &["verify"])?;
    let ran = liar.tells("instead('G', sub { tell_back('x', map { 'y' x 32 } @_) });", &["verify"])?;
    ensure!(all(&ran).contains("other bytes on new under the same name"), "{}", all(&ran));
    for lie in ["map { 'y' x 31 } @_", "map { 'y' x 32 } @_, 1"] {
        let ran = liar.tells(&format!("instead('G', sub {{ tell_back('x', {lie}) }});"), &["verify"])?;
        ensure!(!matches!(ran.status, Some(0) | None), "{lie} was believed: {}", all(&ran));
        ensure!(all(&ran).contains("an answer was refused"), "{lie}: {}", all(&ran));
    }
    Ok(())
}
