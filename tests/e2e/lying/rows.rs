//! A database that is written to run something where it arrives: commands of a client (`\!`), comments that are no comments,
//! quotes, in rows and in definitions. It arrives as it is, or is refused; nothing of it is run, nor shown as it is.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec, Machine};
use rehome_tests::lab_tests;
use rehome_tests::oracle::database;
use rehome_tests::oracle::disk::disk;
use rehome_tests::oracle::same;

use super::{OWN, RECORDS, all, safely};
use crate::rehome::{Reach, Rehome, mail_only, up_to};
use crate::webmail::{self, sql};

pub(super) fn tests() -> Vec<Trial> {
    lab_tests![rows_and_definitions_that_hold_commands_arrive_and_run_nothing]
}

/// Would make the file `pwned`, in one or the other place where a client or a server takes text for more than text.
const COMMANDS: &str = r#"\! touch /root/pwned
\! touch /root/pwned;
*/ \! touch /root/pwned /*!50003 SELECT 1 INTO OUTFILE '/tmp/pwned' */ /*M!100000 SELECT 1 INTO OUTFILE '/tmp/pwned' */
'; SELECT 1 INTO OUTFILE '/tmp/pwned'; -- ` " \' \\
system touch /root/pwned
source /root/pwn.sql
DELIMITER //"#;

/// As a literal of SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

fn accounts() -> String {
    let short = literal("\\! touch /root/pwned */ ' \" ` \\");
    let all = literal(&COMMANDS[..90]);
    format!(
        "INSERT INTO virtual_domains (name) VALUES ({short});
         INSERT INTO virtual_users (domain_id, email, password) SELECT id, {all}, {all} FROM virtual_domains WHERE name = {short};
         INSERT INTO virtual_aliases (domain_id, source, destination) SELECT id, {all}, {all} FROM virtual_domains WHERE name = {short};"
    )
}

/// Tables of a plugin, a view and triggers; and what Roundcube itself keeps.
fn webmail() -> String {
    let (all, short) = (literal(COMMANDS), literal(&COMMANDS[..90]));
    format!(
        "UPDATE users SET preferences = {all} LIMIT 1;
         UPDATE contacts SET vcard = {all}, name = {short} LIMIT 1;
         ALTER TABLE contacts COMMENT = {all};
         CREATE TABLE `x``; \\! touch /root/pwned; -- '*/` (`a``*/ \\! touch /root/pwned` int PRIMARY KEY COMMENT {all}, b varchar(400) DEFAULT {all}, c enum({short}, 'y')) COMMENT = {all};
         INSERT INTO `x``; \\! touch /root/pwned; -- '*/` (`a``*/ \\! touch /root/pwned`, c) VALUES (1, 'y');
         CREATE TABLE plugin (a text);
         INSERT INTO plugin VALUES ({all});
         CREATE VIEW lying AS SELECT {all} AS `a``*/ \\! touch /root/pwned` FROM plugin;
         CREATE TRIGGER trap BEFORE INSERT ON plugin FOR EACH ROW SET NEW.a = {all};
         CREATE PROCEDURE left_behind() SELECT {all};"
    )
}

/// What a server says of them: definitions, and what they hold.
fn told(machine: &Machine) -> Result<String> {
    let mut told = String::new();
    for statement in [
        "SHOW CREATE TABLE `x``; \\! touch /root/pwned; -- '*/`",
        "SELECT * FROM `x``; \\! touch /root/pwned; -- '*/`",
        "SELECT * FROM plugin",
        "SELECT * FROM lying",
        "SELECT action_statement FROM information_schema.triggers WHERE trigger_schema = 'roundcube'",
        "SELECT table_comment FROM information_schema.tables WHERE table_schema = 'roundcube' AND table_name = 'contacts'",
        "SELECT preferences FROM users ORDER BY username, mail_host",
        "SELECT name, vcard FROM contacts ORDER BY name, vcard",
    ] {
        told += &sql(machine, &format!("{statement};"))?;
    }
    Ok(told)
}

fn rows_and_definitions_that_hold_commands_arrive_and_run_nothing() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().without_rspamd().ssh_keys_on("new"))?;
    let on_old = |database: &str, text: &str| -> Result<()> {
        let client = ["mysql", "--binary-mode", "--default-character-set=utf8mb4", database];
        let done = lab.old().ssh_with_input(&client, text.as_bytes())?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    };
    on_old("mailserver", &accounts())?;
    on_old("roundcube", &webmail())?;
    // The proof that it would be run: by the client as people use it.
    let run = lab.old().ssh_with_input(&["mysql", "roundcube"], COMMANDS.as_bytes())?;
    ensure!(
        lab.old().sh("rm /root/pwned /tmp/pwned").is_ok(),
        "the client ran nothing: {}",
        String::from_utf8_lossy(&run.stderr)
    );

    let accounts = up_to(&mail_only(&Reach::Ssh("old"), &Reach::Local)?, "accounts")?;
    let copies = webmail::plan("")?;
    let webmail = &copies[copies.find("[[phase]]").unwrap_or_default()..];
    let rehome = Rehome::install(lab.new(), &format!("{accounts}\n{webmail}"))?;
    rehome.approve()?;
    let first = database::dump(lab.new(), "roundcube")?;
    safely(&rehome, &["check"])?;
    let besides = [&OWN[..], &[RECORDS]].concat();
    let before = [disk(lab.old(), &[RECORDS])?, disk(lab.new(), &besides)?];
    let ran = safely(&rehome, &["apply", "-vv"])?;
    ensure!(ran.status == Some(5), "{:?}: {}", ran.status, all(&ran));
    for words in
        ["left out on new: procedure `left_behind`", "trigger `trap` runs with the rights of", "view `lying` runs"]
    {
        ensure!(all(&ran).contains(words), "`{words}` is not said:\n{}", all(&ran));
    }
    let (old, new) = (told(lab.old())?, told(lab.new())?);
    same("what old said, and new says", &database::diff(&old, &new))?;
    ensure!(old.matches("touch /root/pwned").count() > 20, "old says nothing of it: {old}");
    let meant = "SELECT CONCAT_WS('|', d.name, u.email, u.password) FROM mailserver.virtual_users u JOIN mailserver.virtual_domains d ON d.id = u.domain_id ORDER BY 1;
                 SELECT CONCAT_WS('|', d.name, a.source, a.destination) FROM mailserver.virtual_aliases a JOIN mailserver.virtual_domains d ON d.id = a.domain_id ORDER BY 1";
    ensure!(sql(lab.old(), meant)? == sql(lab.new(), meant)?, "the accounts differ");
    for verb in ["verify", "preview", "status"] {
        safely(&rehome, &[verb])?;
    }

    // What was kept of it goes back as what it is, too: new has it now, and loses it, and has it again.
    rehome.expect(0, &["answer", "downtime", "go-on", "yes"])?;
    let ran = safely(&rehome, &["apply"])?;
    ensure!(ran.status == Some(0), "{}", all(&ran));
    safely(&rehome, &["undo", "--yes"])?;
    same("webmail on new after undo", &database::diff(&first, &database::dump(lab.new(), "roundcube")?))?;
    for (what, (before, after)) in
        ["old", "new"].iter().zip(before.iter().zip([disk(lab.old(), &[RECORDS])?, disk(lab.new(), &besides)?]))
    {
        same(what, &before.diff(&after))?;
    }
    let pwned = "find / -xdev -name '*pwned*' -not -path '/var/lib/mysql/*'; ls /tmp";
    for machine in [lab.old(), lab.new()] {
        ensure!(!machine.sh(pwned)?.contains("pwned"), "on {}: {}", machine.name(), machine.sh(pwned)?);
    }
    Ok(())
}
