//! The accounting: from before the first phase until after the last a stranger's mail server sends to all addresses, by MX
//! look-up and with retries; users work until the cutover. Afterwards each mail that was answered for is where it belongs,
//! once. Read from logs and over IMAP, never from rehome. `cargo xtask account --mails N --seed S` runs it at any size.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use rehome_tests::accounting::{self, Facts, Fate, settle};
use rehome_tests::lab::{Lab, LabSpec, Machine};
use rehome_tests::oracle::imap;
use rehome_tests::seed::{User, accounts, user};
use rehome_tests::traffic::{Sent, Traffic};
use rehome_tests::users::{Change, Op, People};
use rehome_tests::{harness, lab_tests};

use crate::rehome::{Reach, Rehome, whole};

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![each_mail_that_was_answered_for_is_where_it_belongs_once]
}

const DAY: u64 = 86_400;
/// The envelope senders in turn. Mail of the last one goes to the old address until old is retired: its resolver does not forget.
const SENDERS: [&str; 4] =
    ["one@elsewhere.lab.test", "two@elsewhere.lab.test", "three@elsewhere.lab.test", "stubborn@elsewhere.lab.test"];
/// Who works until the cutover; nobody of them has a mailbox that IMAP cannot show.
const WORKERS: [&str; 6] = [
    "bernd@example.org",
    "carla@example.org",
    "jane@example.net",
    "kim@example.net",
    "billing@shop.example",
    "vera@shop.example",
];
const KNOCKERS: [&str; 3] = ["david@example.org", "lee@example.net", "office@shop.example"];
/// An alias of two that keeps a copy: if old and new both expand it, the other one, far away, gets it twice.
const COPYING: [&str; 3] = ["elena@example.org", "elena@example.org", "copies@elsewhere.lab.test"];
const NOBODY: [&str; 2] = ["nobody@example.org", "gone@shop.example"];

/// How large, and which chances: set by `cargo xtask account`.
struct Size {
    mails: usize,
    seed: u64,
}

impl Size {
    fn asked() -> Result<Size> {
        let number = |name: &str, default: u64| -> Result<u64> {
            std::env::var(name).map_or(Ok(default), |text| text.parse().with_context(|| format!("{name}={text}")))
        };
        let mails = usize::try_from(number("REHOME_ACCOUNT_MAILS", 240)?)?;
        Ok(Size { mails, seed: number("REHOME_ACCOUNT_SEED", 1)? })
    }

    /// Mails a second: they come while the whole plan runs, and no faster than a small server can take them.
    fn rate(&self) -> f64 {
        (self.mails as f64 / 80.0).clamp(2.0, 25.0)
    }
}

/// All users, the aliases, and addresses that do not exist, mixed by the seed.
fn recipients(seed: u64) -> Vec<&'static str> {
    let accounts = accounts();
    let mut all: Vec<&str> = accounts.users.iter().map(|user| user.email.as_str()).collect();
    all.extend(accounts.aliases.iter().map(|alias| alias.source.as_str()));
    all.extend(NOBODY);
    all.extend([COPYING[0]; 4]);
    // Which of them come next to each other, and which sender writes to whom, is the seed's; all of them get mail.
    let place = |at: usize, address: &str| {
        let start = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::try_from(at).unwrap_or(0);
        address.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    let mut placed: Vec<(u64, &str)> = all.into_iter().enumerate().map(|(at, one)| (place(at, one), one)).collect();
    placed.sort_unstable();
    placed.into_iter().map(|(_, address)| address).collect()
}

/// Which mailboxes mail to each address belongs in.
fn destinations() -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    for user in &accounts().users {
        all.insert(user.email.clone(), BTreeSet::from([user.email.clone()]));
    }
    for alias in &accounts().aliases {
        all.insert(alias.source.clone(), alias.destination.split(',').map(|one| one.trim().to_string()).collect());
    }
    all.insert(COPYING[0].into(), [COPYING[1], COPYING[2]].map(String::from).into());
    all
}

fn people(names: &[&str]) -> Vec<User> {
    names.iter().map(|name| user(name).clone()).collect()
}

/// What the lab's own set-up does not have.
fn set_up(lab: &Lab, sender: &Machine) -> Result<()> {
    let [alias, first, second] = COPYING;
    let rows = "INSERT INTO virtual_aliases (domain_id, source, destination) VALUES";
    lab.old().sh(&format!("mysql mailserver -e \"{rows} (1, '{alias}', '{first}'), (1, '{alias}', '{second}')\""))?;
    let stubborn = SENDERS[3];
    sender.sh(&format!(
        "postconf 'sender_dependent_default_transport_maps=inline:{{ {{{stubborn}=smtp:[10.77.0.11]:25}} }}' && postfix reload"
    ))?;
    Ok(())
}

/// The migration, as an operator types it, while mail flows and users work.
fn migrate(rehome: &Rehome<'_>, people: &People, sender: &Machine) -> Result<()> {
    let busy = |count: usize| harness::eventually("users work", || Ok(people.count() > count));
    rehome.approve()?;
    rehome.expect(5, &["apply"])?;
    ensure!(rehome.waits_at()? == "dns-wait", "it waits at {}", rehome.waits_at()?);
    busy(60)?;
    rehome.pass(DAY + 60);
    rehome.expect(5, &["apply"])?;
    ensure!(rehome.waits_at()? == "downtime", "it waits at {}", rehome.waits_at()?);
    busy(people.count() + 40)?;
    rehome.expect(0, &["apply", "--again", "mail-hot"])?;
    rehome.expect(0, &["answer", "downtime", "go-on", "yes"])?;
    rehome.expect(5, &["apply"])?;
    ensure!(rehome.waits_at()? == "watch", "it waits at {}", rehome.waits_at()?);
    std::thread::sleep(Duration::from_secs(5));
    rehome.pass(8 * DAY);
    // Mail goes on arriving: it may be under way in a queue just when `watch` or `retire` looks.
    for _ in 0..30 {
        let ran = rehome.run(&["apply"])?;
        match ran.status {
            Some(0) => return Ok(()),
            Some(5) => {}
            _ => bail!("it failed instead of waiting: {ran:?}"),
        }
        match rehome.waits_at()?.as_str() {
            "watch" => rehome.pass(700),
            "retire" => {
                // By now the last resolver has forgotten the old address.
                sender.sh("postconf -X sender_dependent_default_transport_maps && postfix reload && postqueue -f")?;
                std::thread::sleep(Duration::from_secs(3));
                rehome.expect(0, &["answer", "retire", "go-on", "yes"])?;
                rehome.pass(700);
            }
            other => bail!("it waits at {other}"),
        }
    }
    bail!("the migration did not end: {}", rehome.run(&["apply"])?.stderr)
}

fn facts(lab: &Lab, sender: &Machine, sent: &Sent, changes: Vec<Change>, before: imap::ServerDump) -> Result<Facts> {
    let log = sender
        .sh("journalctl --no-pager -o cat -t postfix/cleanup -t postfix/smtp -t postfix/qmgr -t postfix/error")?;
    let mailbox = accounting::mailbox(&sender.sh("cat /var/mail/sender")?);
    let on_old = lab.old().sh("{ grep -rhaiE '^Message-ID: ' /var/vmail --include='*' || true; }")?;
    let mut after = accounting::copies(&imap::dump(lab, lab.new(), &accounts().users)?);
    after.extend(mailbox.mails);
    Ok(Facts {
        injected: sent.accepted().map(|answer| (answer.token.clone(), answer.recipient.clone())).collect(),
        fates: accounting::fates(&log),
        returned: mailbox.returned,
        destinations: destinations(),
        before: accounting::copies(&before),
        changes,
        after,
        on_old: accounting::message_ids(&on_old),
    })
}

/// The test must have had something to find: mail to both sides, by both ways, refused too; users who did something.
fn is_worth_something(facts: &Facts) -> Result<()> {
    let sent_to = |address: &str| {
        facts.fates.values().filter(|fate| matches!(fate, Fate::Sent(relay) if relay.contains(address))).count()
    };
    let (old, new) = (sent_to("[10.77.0.11]"), sent_to("[10.77.0.12]"));
    let did = |op: Op| facts.changes.iter().filter(|change| change.op == op && change.state == "ok").count();
    let (moved, copied, flagged) = (did(Op::Move), did(Op::Copy), did(Op::Flag));
    let (deleted, filed) = (did(Op::Expunge), did(Op::Append));
    println!(
        "  250 by old {old}, by new {new}; users: moved {moved}, copied {copied}, flagged {flagged}, deleted {deleted}, filed {filed}"
    );
    ensure!(old > 40 && new > 10, "too few mails to prove anything");
    ensure!([moved, copied, flagged, deleted, filed].iter().all(|count| *count > 3), "users did too little");
    let ended = facts.changes.iter().filter(|change| change.op == Op::End).count();
    ensure!(ended == WORKERS.len(), "{ended} of {} users worked until the cutover", WORKERS.len());
    Ok(())
}

/// Where a mail went, for whoever looks for the mistake: the lines of all mail logs, and its files.
fn traces(machines: &[&Machine], tokens: &[String]) -> String {
    let mut all = String::new();
    for token in tokens {
        for machine in machines {
            let script = format!(
                "set +e +o pipefail; log() {{ journalctl --no-pager -o short-precise -t postfix/cleanup -t postfix/qmgr \
                   -t postfix/smtp -t postfix/lmtp -t postfix/smtpd -t postfix/error -t dovecot -g \"$1\"; }}
                 ids=$(log 'message-id=<{token}@' | sed 's/.*]: \\([0-9A-F]*\\):.*/\\1/' | sort -u | paste -sd'|')
                 [ -z \"$ids\" ] || log \"$ids|{token}@\"
                 grep -rlF '<{token}@' /var/vmail 2>/dev/null | tr '\\n' '\\0' | xargs -0r ls -la --time-style=full-iso; true"
            );
            let said = machine.sh(&script).unwrap_or_else(|error| format!("{error:#}"));
            all.push_str(&format!("--- {token} on {}\n{said}", machine.name()));
        }
    }
    all
}

fn each_mail_that_was_answered_for_is_where_it_belongs_once() -> Result<()> {
    let size = Size::asked()?;
    let lab = Lab::start(&LabSpec::pair().with_sender().ssh_keys_on("new"))?;
    let sender = lab.find("sender")?;
    let rehome = Rehome::install_whole(lab.new(), &whole(&Reach::Ssh("old"), &Reach::Local)?, &lab.tsig_key()?)?;
    set_up(&lab, sender)?;
    let before = imap::dump(&lab, lab.old(), &accounts().users)?;
    let traffic =
        Traffic::start_from(&lab, sender, &size.seed.to_string(), size.rate(), &SENDERS, &recipients(size.seed))?;
    let working = People::start(&lab, "imap.lab.test", size.seed, &people(&WORKERS), &people(&KNOCKERS))?;
    harness::eventually("mail flows", || Ok(traffic.count() > 15))?;

    migrate(&rehome, &working, sender)?;

    let after = traffic.count() + 20;
    while traffic.count() < size.mails.max(after) {
        std::thread::sleep(Duration::from_millis(200));
    }
    let (sent, changes) = (traffic.stop()?, working.stop()?);
    // Outside first: what it still holds goes to old and new, and from old to new.
    // Old is retired, and took nothing along: what waits there would show.
    for machine in [sender, lab.new(), sender] {
        harness::flush(machine)?;
    }
    let left = lab.old().sh("find /var/spool/postfix/{active,deferred,incoming,maildrop,hold} -type f | wc -l")?;
    ensure!(left.trim() == "0", "{} mails are left in the queue of old", left.trim());
    let facts = facts(&lab, sender, &sent, changes, before)?;
    let account = settle(&facts);
    let journal = |machine: &Machine| machine.sh(accounting::DOVECOT_JOURNAL);
    let downtime = accounting::downtime(&journal(lab.old())?, &journal(lab.new())?)?.seconds();
    println!("{}", account.line(downtime));
    is_worth_something(&facts)?;
    if !account.is_settled() {
        let traces = traces(&[sender, lab.old(), lab.new()], &account.suspects());
        bail!("the account is not settled\n{}\n{account}{traces}", account.line(downtime));
    }
    Ok(())
}
