//! `rehome undo` from each stage before retire: users read their mail on old again, with every mail that arrived on new
//! meanwhile; settings, DNS and accounts are as they were. What stays is what the previews call irreversible: flags that
//! users set on new. And an undo that is killed goes on, as `apply` does.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec, Machine};
use rehome_tests::oracle::imap::{self, ServerDump};
use rehome_tests::oracle::{database, same};
use rehome_tests::seed::accounts;
use rehome_tests::traffic::{Sent, Traffic};
use rehome_tests::{harness, lab_tests};

use crate::rehome::{Reach, Rehome, mail_only};
use crate::whole::{DAY, address, compared, dig, install, recipients, ttl, up_to_the_cutover};

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![
        undo_from_prepare_puts_the_ttl_back_and_touches_nothing_else,
        undo_from_copy_leaves_users_alone_and_new_as_it_was,
        undo_from_cutover_brings_users_back_with_all_their_mail,
        undo_from_settle_brings_users_back_with_all_their_mail,
        undo_goes_on_after_kill_9
    ]
}

/// Everything that must be again what it was.
struct Before {
    mail: ServerDump,
    old: String,
    new: String,
    accounts_on_old: String,
    accounts_on_new: String,
    records: String,
}

impl Before {
    fn of(lab: &Lab) -> Result<Before> {
        Ok(Before {
            mail: imap::dump(lab, lab.old(), &accounts().users)?,
            old: settings(lab.old())?,
            new: settings(lab.new())?,
            accounts_on_old: database::dump(lab.old(), "mailserver")?,
            accounts_on_new: rows(lab.new())?,
            records: records(lab)?,
        })
    }

    /// `new_hands_on`: mail had been able to arrive on new, which goes on handing it to old, as the phase says.
    fn is_back(&self, lab: &Lab, new_hands_on: bool) -> Result<()> {
        harness::eventually("Dovecot on old listens", || lab.old().port_is_open(143))?;
        let lost = self.mail.lost(&imap::dump(lab, lab.old(), &accounts().users)?);
        same("mail on old, over IMAP", &lost)?;
        is("settings of old", &self.old, &settings(lab.old())?)?;
        let handing = ["virtual_transport =", "receive_override_options ="];
        let stays = |line: &&str| new_hands_on && handing.iter().any(|setting| line.starts_with(setting));
        let of_new = |text: &str| -> String { text.lines().filter(|line| !stays(line)).collect::<Vec<_>>().join("\n") };
        is("settings of new", &of_new(&self.new), &of_new(&settings(lab.new())?))?;
        if new_hands_on {
            let is = lab.new().sh("postconf -h virtual_transport receive_override_options")?;
            let should = "smtp:[10.77.0.11]:25\nno_address_mappings";
            ensure!(is.trim() == should, "new does not hand its mail to old: {is}");
        }
        same("accounts on old", &database::diff(&self.accounts_on_old, &database::dump(lab.old(), "mailserver")?))?;
        is("accounts on new", &self.accounts_on_new, &rows(lab.new())?)?;
        is("records", &self.records, &records(lab)?)
    }
}

fn is(what: &str, before: &str, after: &str) -> Result<()> {
    let (was, now): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let gone = was.iter().filter(|line| !now.contains(line)).map(|line| format!("before: {line}"));
    let come = now.iter().filter(|line| !was.contains(line)).map(|line| format!("after: {line}"));
    same(what, &gone.chain(come).collect::<Vec<_>>())
}

/// What rehome could have changed of a machine besides mail and accounts: what is in effect, not when it was written, and
/// not what an undo has moved out of sight, for nothing is ever deleted.
fn settings(machine: &Machine) -> Result<String> {
    machine.sh("postconf 2>/dev/null | grep -v ^process_id; doveconf 2>/dev/null | grep -v '^#'; \
         for unit in dovecot.service dovecot.socket postfix.service rspamd.service; do \
         echo $unit $(systemctl is-enabled $unit) $(systemctl is-active $unit); done; \
         find /etc -type f -not -path '/etc/*.lock' -not -path '*/.rehome-aside/*' | sort; ls -1 /etc/systemd/system")
}

fn rows(machine: &Machine) -> Result<String> {
    Ok(database::rows(machine, "mailserver")?.join("\n"))
}

/// What the world is told, with TTLs.
fn records(lab: &Lab) -> Result<String> {
    let mut all = dig(lab, &["+noall", "+answer", "mail.lab.test", "A"])?;
    for domain in &accounts().domains {
        all.push_str(&dig(lab, &["+noall", "+answer", domain, "MX"])?);
    }
    Ok(all)
}

/// Mail to both servers for a while, as the world sends it before it has heard, and after.
fn mail_to_both(lab: &Lab, when: &str, seconds: u64) -> Result<[Sent; 2]> {
    let senders = [
        Traffic::start(lab, lab.old(), &format!("{when}-old"), 3.0, &recipients())?,
        Traffic::start(lab, lab.new(), &format!("{when}-new"), 3.0, &recipients())?,
    ];
    std::thread::sleep(std::time::Duration::from_secs(seconds));
    let [old, new] = senders;
    Ok([old.stop()?, new.stop()?])
}

/// A user reads and flags mail on new.
fn a_user_works_on_new(lab: &Lab) -> Result<()> {
    lab.new().sh("doveadm flags add -u anna@example.org '\\Flagged \\Seen' mailbox INBOX all; \
         doveadm fetch -u anna@example.org uid mailbox INBOX flagged | grep -c uid")?;
    Ok(())
}

fn undo_from_prepare_puts_the_ttl_back_and_touches_nothing_else() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    let before = Before::of(&lab)?;
    let rehome = install(&lab)?;
    rehome.approve()?;
    rehome.expect(0, &["apply", "--until", "prepare"])?;
    ensure!(ttl(&lab)?.trim() == "60", "the TTL was not lowered: {}", ttl(&lab)?);
    compared(&rehome, &["TTLs: were lowered"])?;
    rehome.expect(0, &["undo", "--yes"])?;
    before.is_back(&lab, false)?;
    // Nothing is left to take back, and the migration can begin anew.
    rehome.expect(0, &["undo", "--yes"])?;
    rehome.expect(0, &["apply", "--until", "prepare"]).map(drop)
}

fn undo_from_copy_leaves_users_alone_and_new_as_it_was() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    let before = Before::of(&lab)?;
    let rehome = install(&lab)?;
    rehome.approve()?;
    let world = Traffic::start(&lab, lab.old(), "old", 3.0, &recipients())?;
    rehome.expect(5, &["apply", "--until", "copy"])?;
    rehome.pass(DAY + 60);
    rehome.expect(0, &["apply", "--until", "copy"])?;
    rehome.expect(0, &["undo", "--yes"])?;
    let sent = world.stop()?;
    each_is_on_old_once(&lab, [&sent])?;
    before.is_back(&lab, false)?;
    let served = lab.new().port_is_open(143)?;
    ensure!(served, "Dovecot on new is still closed");
    Ok(())
}

fn undo_from_cutover_brings_users_back_with_all_their_mail() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    let before = Before::of(&lab)?;
    let rehome = install(&lab)?;
    up_to_the_cutover(&lab, &rehome)?;
    rehome.expect(0, &["answer", "downtime", "go-on", "yes"])?;
    rehome.expect(0, &["apply", "--until", "cutover"])?;
    ensure!(address(&lab)?.trim() == "10.77.0.12", "the world still goes to {}", address(&lab)?);
    let first = mail_to_both(&lab, "early", 6)?;
    a_user_works_on_new(&lab)?;
    // The world is heard all the time, also while it is taken back.
    let world = [
        Traffic::start(&lab, lab.old(), "late-old", 3.0, &recipients())?,
        Traffic::start(&lab, lab.new(), "late-new", 3.0, &recipients())?,
    ];
    rehome.expect(5, &["undo", "--yes"])?;
    ensure!(rehome.waits_at()? == "dns-switch", "it waits at {}", rehome.waits_at()?);
    ensure!(address(&lab)?.trim() == "10.77.0.11", "the world still goes to {}", address(&lab)?);
    let refused = rehome.expect(2, &["apply"])?;
    ensure!(refused.stderr.contains("an undo is under way"), "{}", refused.stderr);
    rehome.pass(90);
    rehome.expect(0, &["undo"])?;
    let mut all: Vec<Sent> = world.into_iter().map(Traffic::stop).collect::<Result<_>>()?;
    all.extend(first);
    each_is_on_old_once(&lab, &all)?;
    // A lookup that fails once fails for a minute: dict_mysql asks a server again only then.
    let failed = lab.new().sh("journalctl --quiet --grep 'table lookup problem|query failed' || true")?;
    ensure!(failed.is_empty(), "Postfix on new could not look up accounts:\n{failed}");
    before.is_back(&lab, true)
}

fn undo_from_settle_brings_users_back_with_all_their_mail() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    from_settle_brings_users_back(&lab, &install(&lab)?)
}

/// There and back, after the TTL was put back.
pub(crate) fn from_settle_brings_users_back(lab: &Lab, rehome: &Rehome<'_>) -> Result<()> {
    let before = Before::of(lab)?;
    up_to_the_cutover(lab, rehome)?;
    rehome.expect(0, &["answer", "downtime", "go-on", "yes"])?;
    rehome.expect(5, &["apply"])?;
    let sent = mail_to_both(lab, "early", 6)?;
    a_user_works_on_new(lab)?;
    harness::queue_runs_dry(lab.new())?;
    rehome.pass(7 * DAY + 600);
    rehome.expect(0, &["apply", "--until", "settle"])?;
    ensure!(ttl(lab)?.trim() == "86400", "the TTL was not put back: {}", ttl(lab)?);

    // Resolvers hold the new address for a day: users stay on new until all of them ask again within a minute.
    rehome.expect(5, &["undo", "--yes"])?;
    ensure!(rehome.waits_at()? == "dns-restore", "it waits at {}", rehome.waits_at()?);
    ensure!(address(lab)?.trim() == "10.77.0.12", "the world was sent to {} too soon", address(lab)?);
    ensure!(ttl(lab)?.trim() == "60", "the TTL was not lowered again: {}", ttl(lab)?);
    let late = mail_to_both(lab, "late", 3)?;
    rehome.pass(DAY + 60);
    rehome.expect(5, &["undo"])?;
    ensure!(rehome.waits_at()? == "dns-switch", "it waits at {}", rehome.waits_at()?);
    rehome.pass(90);
    rehome.expect(0, &["undo"])?;
    each_is_on_old_once(lab, sent.iter().chain(&late))?;
    before.is_back(lab, true)
}

/// Every mail that either server took is in a mailbox of old, once; and nothing waits anywhere.
fn each_is_on_old_once<'a>(lab: &Lab, all: impl IntoIterator<Item = &'a Sent>) -> Result<()> {
    for machine in [lab.new(), lab.old()] {
        harness::queue_runs_dry(machine)?;
    }
    let dump = imap::dump(lab, lab.old(), &accounts().users)?;
    for sent in all {
        ensure!(sent.accepted().count() > 3, "too few mails were accepted to prove anything: {sent:?}");
        for mail in sent.accepted() {
            let found = dump.count_of_subject(&mail.token);
            ensure!(found == 1, "{} to {} was accepted and is on old {found} times", mail.token, mail.recipient);
        }
    }
    Ok(())
}

fn undo_goes_on_after_kill_9() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    let rehome = Rehome::install(lab.new(), &mail_only(&Reach::Ssh("old"), &Reach::Local)?)?;
    let before = Before::of(&lab)?;
    rehome.migrate()?;
    // Enough to bring back that the kill falls into it.
    lab.new().sh("cd /var/vmail/example.org/anna/Maildir/cur && for i in $(seq 2000); do \
         printf 'Subject: came to new %s\\n\\nlate\\n' $i > 1700000000.M${i}P1.new:2,; done && chown vmail:vmail . *; \
         doveadm index -u anna@example.org INBOX")?;
    a_user_works_on_new(&lab)?;
    rehome.kill_at(&["undo", "--yes"], &["\"request-began\"", "\"file.closed\""], "0.2")?;
    rehome.kill_after(&["undo"], &["\"request-began\"", "\"sync.back\""], "0.3")?;
    ensure!(rehome.expect(0, &["status"])?.stdout.contains("undo"), "status does not say that an undo is under way");
    rehome.kill_at(&["undo"], &["\"request-began\"", "\"exec.unbar\""], "0.0")?;
    rehome.expect(0, &["undo"])?;
    before.is_back(&lab, false)?;
    let after = imap::dump(&lab, lab.old(), &accounts().users)?;
    for number in [1, 1000, 2000] {
        let found = after.count_of_subject(&format!("came to new {number}"));
        ensure!(found == 1, "mail {number} that came to new is on old {found} times");
    }
    Ok(())
}
