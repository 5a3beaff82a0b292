//! What readers of the guides ran into: each is found by `check` before anything is touched, stops `apply` where it would
//! harm, and after its remedy the migration works. Dovecot without iterate_query is in `checks` and `migration`, the
//! certificate and the database's login in tests of their own.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec, Machine};
use rehome_tests::lab_tests;
use rehome_tests::oracle::{database, same};
use rehome_tests::process::run_with_input;

use crate::migration::{Before, moved};
use crate::rehome::{Reach, Rehome, mail_only};
use crate::whole::{install, ttl};

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![
        mailboxes_that_would_be_empty_are_found_and_empty_ones_are_a_mismatch,
        a_new_side_that_is_no_mail_server_yet_stops_everything,
        an_mx_that_points_at_an_alias_stops_before_a_ttl_is_touched,
        relay_restrictions_that_keep_a_server_from_sending_are_named
    ]
}

const CONF: &str = "/etc/dovecot/conf.d/99-ispmail.conf";

/// Ways in which new's Dovecot looks elsewhere than old's, and what `check` says of each.
fn elsewhere() -> [(String, &'static str); 4] {
    [
        (
            format!("sed -i 's#^mail_location.*#mail_location = maildir:/var/vmail/%d/%n#' {CONF}"),
            "new would look for it in /var/vmail/example.org/anna: the files would be there, and mailboxes empty",
        ),
        (
            "sed -i 's#/var/vmail/%d/%n#/var/vmail/%n#' /etc/dovecot/dovecot-sql.conf.ext".into(),
            "new would look for it in /var/vmail/anna/Maildir: the files would be there, and mailboxes empty",
        ),
        (
            format!("sed -i 's#^mail_location.*#mail_location = maildir:~/Maildir:LAYOUT=fs#' {CONF}"),
            "is laid out by `` on old, and by `LAYOUT=fs` on new",
        ),
        (
            format!("printf 'namespace inbox {{\\n  separator = /\\n}}\\n' >> {CONF}"),
            "namespace inbox/separator: is `` on old, and `/` on new: mail programs would find other folders",
        ),
    ]
}

fn mailboxes_that_would_be_empty_are_found_and_empty_ones_are_a_mismatch() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    let rehome = Rehome::install(lab.new(), &mail_only(&Reach::Ssh("old"), &Reach::Local)?)?;
    rehome.approve()?;
    let accounts = database::dump(lab.new(), "mailserver")?;
    lab.new().sh("cp -a /etc/dovecot /root/dovecot")?;
    let mend = "rm -r /etc/dovecot && cp -a /root/dovecot /etc/dovecot && systemctl restart dovecot";
    for (break_it, says) in elsewhere() {
        lab.new().sh(&format!("{break_it} && systemctl restart dovecot"))?;
        let said = rehome.expect(3, &["check"])?.stdout;
        ensure!(said.contains(says), "after `{break_it}`, `{says}` is not said:\n{said}");
        lab.new().sh(mend)?;
    }
    lab.new().sh(&format!("{} && systemctl restart dovecot", elsewhere()[0].0))?;
    rehome.expect(3, &["apply"])?;
    same("accounts on new", &database::diff(&accounts, &database::dump(lab.new(), "mailserver")?))?;
    let mails = lab.new().sh("find /var/vmail -path '*/Maildir/*' -type f | wc -l")?;
    ensure!(mails.trim() == "0", "{mails} files were copied all the same");

    lab.new().sh(mend)?;
    let before = Before::of(lab.old())?;
    rehome.migrate()?;
    rehome.expect(0, &["verify"])?;
    // Somebody sets it wrong afterwards: `verify` asks over IMAP, mailbox by mailbox, and sees what users see.
    lab.new().sh(&format!("{} && systemctl restart dovecot", elsewhere()[0].0))?;
    let said = rehome.expect(6, &["verify"])?.stdout;
    for words in ["mailbox INBOX of anna@example.org", "holds 0 messages on new, and held "] {
        ensure!(said.contains(words), "`{words}` is not said:\n{said}");
    }
    lab.new().sh(mend)?;
    rehome.expect(0, &["verify"])?;
    moved(&lab, &before).map(drop)
}

/// A machine on which the guide was not followed yet, and how to follow it.
const BARE: &str = "mysqldump --databases mailserver > /root/mailserver.sql && mysql -e 'DROP DATABASE mailserver' && \
                    systemctl stop postfix@-.service postfix.service rspamd.service dovecot.socket dovecot.service && \
                    usermod -l nobodys vmail";
const FOLLOWED: &str = "mysql < /root/mailserver.sql && usermod -l vmail nobodys && \
                        systemctl start postfix rspamd dovecot";

fn a_new_side_that_is_no_mail_server_yet_stops_everything() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    let rehome = Rehome::install(lab.new(), &mail_only(&Reach::Ssh("old"), &Reach::Local)?)?;
    rehome.approve()?;
    lab.new().sh(BARE)?;
    let ran = rehome.run(&["check"])?;
    let said = format!("{}{}", ran.stdout, ran.stderr);
    ensure!(ran.status != Some(0), "a bare machine is taken for a mail server:\n{said}");
    for words in [
        "dovecot on new: does not run",
        "postfix on new: does not run",
        "rspamd on new: does not run",
        "user vmail on new: is not there",
        "mailserver",
    ] {
        ensure!(said.contains(words), "`{words}` is not said:\n{said}");
    }
    let before = Before::of(lab.old())?;
    let stopped = rehome.run(&["apply"])?;
    ensure!(stopped.status != Some(0) && stopped.status != Some(5), "{stopped:?}");
    let mails = lab.new().sh("find /var/vmail -path '*/Maildir/*' -type f | wc -l")?;
    ensure!(mails.trim() == "0", "{mails} files were copied all the same");
    lab.new().sh(FOLLOWED)?;
    rehome.migrate()?;
    moved(&lab, &before).map(drop)
}

pub(crate) fn update(lab: &Lab, lines: &str) -> Result<()> {
    let mut command = lab.command("knsupdate")?;
    command.args(["-y", &lab.tsig_key()?]);
    let said = run_with_input(&mut command, format!("server 10.77.0.1\n{lines}send\n").as_bytes())?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    ensure!(said.is_empty(), "the update was refused: {said}");
    Ok(())
}

fn an_mx_that_points_at_an_alias_stops_before_a_ttl_is_touched() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    let rehome = install(&lab)?;
    rehome.approve()?;
    // As a reader had it: the old name is an alias of the new one, and the MX still names it.
    update(&lab, "zone lab.test\nadd hermes.lab.test 3600 CNAME mail.lab.test.\n")?;
    update(&lab, "zone example.net\ndel example.net MX\nadd example.net 3600 MX 10 hermes.lab.test.\n")?;
    let said = rehome.expect(3, &["check"])?.stdout;
    for words in ["hermes.lab.test: an MX record names it, and it is an alias (CNAME) of mail.lab.test.", "RFC 2181"] {
        ensure!(said.contains(words), "`{words}` is not said:\n{said}");
    }
    rehome.expect(3, &["apply"])?;
    ensure!(ttl(&lab)?.trim() == "86400", "a TTL was touched: {}", ttl(&lab)?);
    update(&lab, "zone example.net\ndel example.net MX\nadd example.net 3600 MX 10 mail.lab.test.\n")?;
    rehome.expect(0, &["check"])?;
    rehome.expect(0, &["apply", "--until", "prepare"])?;
    ensure!(ttl(&lab)?.trim() == "60", "the TTL was not lowered: {}", ttl(&lab)?);
    Ok(())
}

/// A program on the server itself sends to the world: the answer to RCPT TO.
fn rcpt_from_itself(machine: &Machine) -> Result<String> {
    machine.sh("python3 - <<'E'\nimport smtplib\ns = smtplib.SMTP('127.0.0.1', 25)\ns.ehlo('localhost')\n\
         s.mail('anna@example.org')\nprint(s.rcpt('somebody@elsewhere.lab.test')[0])\ns.quit()\nE")
}

/// The reader's own line, but for the blocklists, which the lab's world does not have.
const READERS: &str = "postconf 'smtpd_relay_restrictions = permit_sasl_authenticated, reject_invalid_hostname, \
    reject_non_fqdn_sender, reject_non_fqdn_recipient, reject_unauth_destination, reject_unauth_pipelining' && postfix reload";

fn relay_restrictions_that_keep_a_server_from_sending_are_named() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    let rehome = Rehome::install(lab.new(), &mail_only(&Reach::Ssh("old"), &Reach::Local)?)?;
    rehome.approve()?;
    // On old it works like that, as nothing there sends by SMTP from the server itself.
    lab.old().sh(READERS)?;
    let said = rehome.expect(0, &["check"])?.stdout;
    for words in ["Postfix setting smtpd_relay_restrictions: has ", "do not carry it over: it lacks permit_mynetworks"]
    {
        ensure!(said.contains(words), "`{words}` is not said:\n{said}");
    }
    ensure!(rcpt_from_itself(lab.new())?.trim() == "250");
    // Carried over all the same: new cannot send, and `check` says which line it is.
    lab.new().sh(READERS)?;
    ensure!(rcpt_from_itself(lab.new())?.trim() == "454" || rcpt_from_itself(lab.new())?.trim() == "554");
    let said = rehome.expect(0, &["check"])?.stdout;
    let remedy =
        "postconf 'smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination'";
    for words in ["smtpd_relay_restrictions has no permit_mynetworks", "cannot send to the world", remedy] {
        // Lines are folded where a terminal ends.
        let folded = said.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(folded.contains(words), "`{words}` is not said:\n{said}");
    }
    lab.new().sh(&format!("{remedy} && postfix reload"))?;
    ensure!(rcpt_from_itself(lab.new())?.trim() == "250");
    let before = Before::of(lab.old())?;
    rehome.migrate()?;
    moved(&lab, &before).map(drop)
}
