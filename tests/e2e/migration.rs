//! The first case: a Debian 11 mail server to a Debian 12 one, by the example's plan, read back by oracles that do not ask
//! rehome. One test for each place rehome may run on, as root and through sudo.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec, Machine};
use rehome_tests::oracle::imap::{self, ServerDump};
use rehome_tests::oracle::listing::{DOVECOT_CACHES, Listing, listing};
use rehome_tests::oracle::{database, same};
use rehome_tests::seed::accounts;
use rehome_tests::traffic::Traffic;
use rehome_tests::{harness, lab_tests};

use crate::rehome::{Reach, Rehome, mail_only};

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![
        a_server_moves_while_mail_arrives,
        rehome_runs_on_the_old_side,
        rehome_runs_on_a_third_machine,
        rehome_goes_through_sudo_where_root_may_not_log_in,
        a_server_whose_dovecot_cannot_list_its_users_moves_all_the_same,
        passes_on_a_quiet_server_copy_nothing,
        new_opens_without_a_restart_and_nobody_starts_old_by_mistake
    ]
}

/// Everything the old side has, before it is moved.
pub(crate) struct Before {
    files: Listing,
    database: String,
    rows: Vec<String>,
}

impl Before {
    pub(crate) fn of(old: &Machine) -> Result<Before> {
        Ok(Before {
            files: old_files(old)?,
            database: database::dump(old, "mailserver")?,
            rows: database::rows(old, "mailserver")?,
        })
    }
}

fn old_files(old: &Machine) -> Result<Listing> {
    listing(old, &["/var/vmail", "/etc/dovecot", "/etc/postfix"], DOVECOT_CACHES)
}

/// What must hold after a migration, whoever ran it from wherever.
pub(crate) fn moved(lab: &Lab, before: &Before) -> Result<ServerDump> {
    let users = &accounts().users;
    same("files of the old side", &before.files.diff(&old_files(lab.old())?))?;
    same("database of the old side", &database::diff(&before.database, &database::dump(lab.old(), "mailserver")?))?;
    same("accounts", &by_meaning(&before.rows).diff(&by_meaning(&database::rows(lab.new(), "mailserver")?)))?;
    for port in [143, 993] {
        ensure!(lab.new().port_is_open(port)?, "Dovecot on new does not listen on port {port}");
        ensure!(!lab.old().port_is_open(port)?, "Dovecot on old still listens on port {port}");
    }
    let new = imap::dump(lab, lab.new(), users)?;
    // Only now may the old Dovecot run again: it is the other witness.
    lab.old().sh("systemctl unmask dovecot.service dovecot.socket && systemctl start dovecot.service")?;
    harness::eventually("Dovecot on old listens", || lab.old().port_is_open(143))?;
    let old = imap::dump(lab, lab.old(), users)?;
    ensure!(old.count() >= 3000, "only {} mails on old: not the server that was to be moved", old.count());
    same("mail over IMAP, old against new", &old.diff(&new))?;
    Ok(new)
}

/// Rows without the ids that a server makes up: lines of values, domains by name where they are referred to by number.
struct Meaning(std::collections::BTreeSet<String>);

impl Meaning {
    fn diff(&self, other: &Meaning) -> Vec<String> {
        let gone = self.0.difference(&other.0).map(|row| format!("not on new: {row}"));
        gone.chain(other.0.difference(&self.0).map(|row| format!("only on new: {row}"))).collect()
    }
}

fn by_meaning(rows: &[String]) -> Meaning {
    let parts = |row: &str| -> Option<(String, Vec<String>)> {
        let table = row.split('`').nth(1)?.to_string();
        let values = row.split_once("VALUES (")?.1.trim_end_matches(");");
        Some((table, values.split(',').map(str::to_string).collect()))
    };
    let rows: Vec<_> = rows.iter().filter_map(|row| parts(row)).collect();
    let domain = |id: &str| {
        let found = rows.iter().find(|(table, values)| table == "virtual_domains" && values[0] == id);
        found.map_or_else(|| format!("no domain {id}"), |(_, values)| values[1].clone())
    };
    let meant = rows.iter().map(|(table, values)| match table.as_str() {
        "virtual_domains" => format!("{table} {}", values[1..].join(",")),
        _ => format!("{table} {} {}", domain(&values[1]), values[2..].join(",")),
    });
    Meaning(meant.collect())
}

fn a_server_moves_while_mail_arrives() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().without_rspamd().ssh_keys_on("new"))?;
    let rehome = Rehome::install(lab.new(), &mail_only(&Reach::Ssh("old"), &Reach::Local)?)?;
    rehome.approve()?;
    rehome.expect(0, &["check"])?;

    let recipients: Vec<&str> = accounts().users.iter().map(|user| user.email.as_str()).take(12).collect();
    let traffic = Traffic::start(&lab, lab.old(), "hot", 10.0, &recipients)?;
    let waiting = rehome.expect(5, &["apply"])?;
    ensure!(
        waiting.stdout.contains("rehome answer downtime go-on yes"),
        "how to go on is not said:\n{}",
        waiting.stderr
    );
    let sent = traffic.stop()?;
    ensure!(sent.accepted().count() > 0, "no mail arrived during the hot copy");
    // Passes, stops and starts were measured: the downtime is foretold before anybody is asked.
    let said = rehome.expect(0, &["preview"])?.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in ["services stand still for about", "as measured:", "mail-cold", "dovecot-stop", "dovecot-open"] {
        ensure!(said.contains(words), "`{words}` is not said: {said}");
    }
    harness::queue_runs_dry(lab.old())?;

    let before = Before::of(lab.old())?;
    rehome.expect(0, &["answer", "downtime", "go-on", "yes"])?;
    rehome.expect(0, &["apply"])?;
    rehome.expect(0, &["verify"])?;
    let new = moved(&lab, &before)?;
    for mail in sent.accepted() {
        let found = new.count_of_subject(&mail.token);
        ensure!(found == 1, "{} to {} was accepted and is there {found} times", mail.token, mail.recipient);
    }
    sieve_works_on(&lab)?;
    Ok(())
}

fn new_opens_without_a_restart_and_nobody_starts_old_by_mistake() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().without_rspamd().ssh_keys_on("new"))?;
    let rehome = Rehome::install(lab.new(), &mail_only(&Reach::Ssh("old"), &Reach::Local)?)?;
    rehome.migrate()?;
    let turns = "journalctl --sync; journalctl -t dovecot -o cat | grep -Eo 'starting up|Killed with|SIGHUP received'";
    let turns = lab.new().sh(turns)?;
    let turns: Vec<&str> = turns.lines().rev().take(2).collect();
    ensure!(turns == ["SIGHUP received", "starting up"], "the last of Dovecot on new, backwards: {turns:?}");
    ensure!(lab.new().port_is_open(143)? && lab.new().port_is_open(993)?, "Dovecot on new does not listen");
    // By hand, and after a boot.
    ensure!(lab.old().sh("systemctl start dovecot.service").is_err(), "Dovecot on old was started by hand");
    lab.shut_down("old")?;
    lab.boot("old")?;
    ensure!(!lab.old().port_is_open(143)?, "Dovecot on old runs after a boot");
    rehome.expect(0, &["undo", "--yes"])?;
    ensure!(lab.old().port_is_open(143)?, "Dovecot on old does not run after `undo`");
    Ok(())
}

/// Neither a Dovecot on new that reads mailboxes anew nor deliveries on old leave anything that is copied again and again.
fn passes_on_a_quiet_server_copy_nothing() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().without_rspamd().ssh_keys_on("new"))?;
    let rehome = Rehome::install(lab.new(), &mail_only(&Reach::Ssh("old"), &Reach::Local)?)?;
    rehome.approve()?;
    rehome.expect(5, &["apply"])?;
    let recipients: Vec<&str> = accounts().users.iter().map(|user| user.email.as_str()).take(12).collect();
    Traffic::start(&lab, lab.old(), "before", 20.0, &recipients)?.stop()?;
    harness::queue_runs_dry(lab.old())?;

    // What changed in the last two seconds is looked at once more.
    std::thread::sleep(std::time::Duration::from_secs(3));
    for phase in ["mail-hot", "indexes-ahead"] {
        rehome.expect(0, &["apply", "--again", phase])?;
    }
    for turn in ["after indexes were rebuilt", "once more"] {
        std::thread::sleep(std::time::Duration::from_secs(3));
        let events = rehome.events(&["apply", "--again", "mail-hot"])?;
        let texts = events.iter().filter_map(|event| event.fields["text"].as_str());
        let passes: Vec<&str> = texts.filter(|text| text.starts_with("pass ")).collect();
        let is_idle = |pass: &&str| pass.contains(": copied 0 files (0 bytes), of ");
        ensure!(passes.len() == 1 && passes.iter().all(is_idle), "{turn}: {passes:?}");
        rehome.expect(0, &["apply", "--again", "indexes-ahead"])?;
    }
    Ok(())
}

/// A script came along, is active, and still compiles.
fn sieve_works_on(lab: &Lab) -> Result<()> {
    let scripts =
        "cd /var/vmail && find . -name '*.sieve' | sort && find . -name .dovecot.sieve -printf '%p %l\\n' | sort";
    let (old, new) = (lab.old().sh(scripts)?, lab.new().sh(scripts)?);
    ensure!(!old.is_empty() && old == new, "sieve scripts differ\nold:\n{old}\nnew:\n{new}");
    lab.new().sh("cd /var/vmail && find . -name '*.sieve' -exec sievec {} /dev/null ';'").map(drop)
}

fn rehome_runs_on_the_old_side() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().without_rspamd().ssh_keys_on("old"))?;
    let before = Before::of(lab.old())?;
    Rehome::install(lab.old(), &mail_only(&Reach::Local, &Reach::Ssh("new"))?)?.migrate()?;
    moved(&lab, &before).map(drop)
}

fn rehome_runs_on_a_third_machine() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().without_rspamd().with_third().ssh_keys_on("third"))?;
    let before = Before::of(lab.old())?;
    let rehome = Rehome::install(lab.third(), &mail_only(&Reach::Ssh("old"), &Reach::Ssh("new"))?)?;
    mail_does_not_pass_through_third(&lab, &rehome)?;
    moved(&lab, &before).map(drop)
}

fn rehome_goes_through_sudo_where_root_may_not_log_in() -> Result<()> {
    let spec =
        LabSpec::pair().without_rspamd().with_third().ssh_keys_on("third").root_login_off("old").root_login_off("new");
    let lab = Lab::start(&spec)?;
    let before = Before::of(lab.old())?;
    let rehome = Rehome::install(lab.third(), &mail_only(&Reach::Sudo("old"), &Reach::Sudo("new"))?)?;
    mail_does_not_pass_through_third(&lab, &rehome)?;
    moved(&lab, &before).map(drop)
}

/// The third machine hears of mail, not the mail; and what lets new fetch it from old is gone afterwards.
fn mail_does_not_pass_through_third(lab: &Lab, rehome: &Rehome) -> Result<()> {
    let number = |machine: &Machine, script: &str| -> Result<u64> { Ok(machine.sh(script)?.trim().parse()?) };
    let received = || number(lab.third(), "sed -n 's/^ *host0: *\\([0-9]*\\) .*/\\1/p' /proc/net/dev");
    let keys = || lab.old().sh("cat /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys 2>/dev/null || true");
    rehome.approve()?;
    let keys_before = keys()?;
    let approved = received()?;
    rehome.expect(0, &["check"])?;
    let checked = received()?;
    let said = rehome.expect(5, &["apply"])?.stderr;
    // What the phases ask of both sides takes its part, and nearly the same when they only check.
    let bytes = (received()? - checked).saturating_sub(checked - approved);
    let mail = number(lab.old(), "find /var/vmail -type f -printf '%s\\n' | awk '{ sum += $1 } END { print sum }'")?;
    // Nobody adds a key through a gate.
    ensure!(bytes < mail / 4 || rehome.is_gated(), "third received {bytes} bytes, for {mail} bytes of mail:\n{said}");
    rehome.expect(0, &["answer", "downtime", "go-on", "yes"])?;
    rehome.expect(0, &["apply"])?;
    ensure!(!keys_before.is_empty() && keys()? == keys_before, "keys on old: {}", keys()?);
    for machine in [lab.old(), lab.new()] {
        let left = machine.sh("ls -d /run/rehome-direct-* 2>/dev/null || true")?;
        ensure!(left.is_empty(), "left behind: {left}");
    }
    Ok(())
}

fn a_server_whose_dovecot_cannot_list_its_users_moves_all_the_same() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().without_rspamd().ssh_keys_on("new"))?;
    for machine in [lab.old(), lab.new()] {
        machine
            .sh("sed -i 's/^iterate_query/#&/' /etc/dovecot/dovecot-sql.conf.ext && systemctl restart dovecot && \
             ! doveadm user '*' 2>/dev/null")?;
    }
    let before = Before::of(lab.old())?;
    Rehome::install(lab.new(), &mail_only(&Reach::Ssh("old"), &Reach::Local)?)?.migrate()?;
    moved(&lab, &before).map(drop)
}
