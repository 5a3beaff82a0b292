//! Roundcube: Debian's own 1.4 on old and 1.6 on new. Who has which contacts is counted with SQL on both sides, and asked of
//! Roundcube itself on new; rehome is not asked.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec, Machine};
use rehome_tests::lab_tests;
use rehome_tests::oracle::{database, same};

use crate::rehome::{Reach, Rehome, example};

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![
        webmail_users_have_their_contacts_on_new_after_a_copy_and_after_another,
        a_script_that_is_missing_or_breaks_off_stops_the_copy_and_apply_goes_on_once_it_is_mended,
        whom_only_new_has_is_not_lost_and_undo_puts_new_back,
        users_of_one_domain_come_beside_those_that_new_has
    ]
}

/// The example's phases of this component, and the question between them.
pub(crate) fn plan(config: &str) -> Result<String> {
    let plan = example(&Reach::Ssh("old"), &Reach::Local)?;
    let (head, phases) = plan.split_at(plan.find("[[phase]]").context("the example has no phases")?);
    let mut plan = head.to_string();
    for phase in phases.split("[[phase]]").skip(1) {
        let config = match () {
            () if phase.contains("component = \"roundcube\"") => config,
            () if phase.contains("component = \"confirm\"") && phase.contains("id = \"downtime\"") => "",
            () => continue,
        };
        // Comments between phases belong to the next one.
        let own = phase.find("\n\n").map_or(phase, |end| &phase[..end]);
        plan.push_str(&format!("[[phase]]{own}\n{config}\n"));
    }
    ensure!(
        plan.matches("component = \"roundcube\"").count() == 2,
        "the example has no two copies of webmail:\n{plan}"
    );
    Ok(plan)
}

pub(crate) fn sql(machine: &Machine, statements: &str) -> Result<String> {
    let client = ["mysql", "--default-character-set=utf8mb4", "--batch", "--skip-column-names", "roundcube"];
    let done = machine.ssh_with_input(&client, statements.as_bytes())?;
    ensure!(done.status.success(), "{statements}\n{}", String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Everything users have made, one line each: user, IMAP server, and what it is, without the numbers of rows.
const MADE: &str = "
SELECT u.username, u.mail_host, 'user', CONCAT_WS('|', u.created, u.last_login, u.language, u.preferences) FROM users u
UNION ALL SELECT u.username, u.mail_host, 'contact', CONCAT_WS('|', c.changed, c.del, c.name, c.email, c.firstname, c.surname, c.vcard, c.words)
  FROM contacts c JOIN users u USING (user_id)
UNION ALL SELECT u.username, u.mail_host, 'group', CONCAT_WS('|', g.changed, g.del, g.name) FROM contactgroups g JOIN users u USING (user_id)
UNION ALL SELECT u.username, u.mail_host, 'member', CONCAT_WS('|', g.name, c.name, c.email) FROM contactgroupmembers m
  JOIN contactgroups g USING (contactgroup_id) JOIN contacts c USING (contact_id) JOIN users u ON u.user_id = g.user_id AND u.user_id = c.user_id
UNION ALL SELECT u.username, u.mail_host, 'identity', CONCAT_WS('|', i.changed, i.del, i.standard, i.name, i.organization, i.email, i.`reply-to`, i.bcc, i.signature, i.html_signature)
  FROM identities i JOIN users u USING (user_id)
UNION ALL SELECT u.username, u.mail_host, 'search', CONCAT_WS('|', s.type, s.name, s.data) FROM searches s JOIN users u USING (user_id)";

fn made(machine: &Machine) -> Result<Vec<String>> {
    let mut lines: Vec<String> = sql(machine, MADE)?.lines().map(str::to_string).collect();
    lines.sort();
    Ok(lines)
}

/// The same as new must have it: `mail_host` is what Roundcube on new calls its IMAP server.
fn moved(made: &[String]) -> Vec<String> {
    let mut lines: Vec<String> =
        made.iter().map(|line| line.replacen("\told.lab.test\t", "\tnew.lab.test\t", 1)).collect();
    lines.sort();
    lines
}

fn differing(wanted: &[String], found: &[String]) -> Vec<String> {
    let missing = wanted.iter().filter(|line| !found.contains(line)).map(|line| format!("not there: {line}"));
    missing
        .chain(found.iter().filter(|line| !wanted.contains(line)).map(|line| format!("not wanted: {line}")))
        .collect()
}

/// Contacts of users, as SQL counts them.
fn contacts(machine: &Machine) -> Result<Vec<String>> {
    let counted = "SELECT u.username, COUNT(c.contact_id) FROM users u LEFT JOIN contacts c ON c.user_id = u.user_id AND c.del = 0
                   GROUP BY u.user_id ORDER BY u.username, u.mail_host";
    Ok(sql(machine, counted)?.lines().map(str::to_string).collect())
}

fn version(machine: &Machine) -> Result<String> {
    Ok(sql(machine, "SELECT value FROM `system` WHERE name = 'roundcube-version'")?.trim().to_string())
}

/// Tables and columns, as the server describes them; texts of any size are texts, for `CONVERT TO CHARACTER SET`, which the
/// update script uses, makes them the next size larger.
fn shape(machine: &Machine) -> Result<Vec<String>> {
    let columns = "SELECT table_name, column_name, REGEXP_REPLACE(column_type, '^(medium|long)text$', 'text'), is_nullable, COALESCE(collation_name, '')
                   FROM information_schema.columns WHERE table_schema = 'roundcube'";
    let mut lines: Vec<String> = sql(machine, columns)?.lines().map(str::to_string).collect();
    lines.sort();
    Ok(lines)
}

/// The names in a user's address book, as Roundcube on new shows them after a login there.
fn address_book(new: &Machine, user: &str) -> Result<Vec<String>> {
    let script = r#"
        define('INSTALL_PATH', '/var/lib/roundcube/');
        require_once INSTALL_PATH . 'program/include/clisetup.php';
        $rcmail = rcmail::get_instance();
        $host = $rcmail->config->get('imap_host');
        list($host) = rcube_utils::parse_host_uri(rcube_utils::parse_host($host));
        $user = rcube_user::query($argv[1], $host);
        if (!$user) { fwrite(STDERR, "no user $argv[1] for $host\n"); exit(1); }
        $book = new rcube_contacts($rcmail->get_dbh(), $user->ID);
        $book->set_pagesize(1000);
        foreach ($book->list_records()->records as $contact) { echo $contact['name'], "\n"; }"#;
    let done = new.ssh(&["php", "-r", script, "--", user])?;
    ensure!(done.status.success(), "{user}: {}", String::from_utf8_lossy(&done.stderr));
    let mut names: Vec<String> = String::from_utf8_lossy(&done.stdout).lines().map(str::to_string).collect();
    names.sort();
    Ok(names)
}

fn names(machine: &Machine, user: &str) -> Result<Vec<String>> {
    let query = format!(
        "SELECT c.name FROM contacts c JOIN users u USING (user_id) WHERE c.del = 0 AND u.username = '{user}' AND u.mail_host = 'old.lab.test'"
    );
    let mut names: Vec<String> = sql(machine, &query)?.lines().map(str::to_string).collect();
    names.sort();
    Ok(names)
}

fn users(machine: &Machine) -> Result<Vec<String>> {
    Ok(sql(machine, "SELECT username FROM users ORDER BY username")?.lines().map(str::to_string).collect())
}

fn is_as_on_old(lab: &Lab, fresh: &[String]) -> Result<()> {
    let old = made(lab.old())?;
    same("what webmail users have on new", &differing(&moved(&old), &made(lab.new())?))?;
    ensure!(contacts(lab.old())? == contacts(lab.new())?, "contacts of each user: {:?}", contacts(lab.new())?);
    ensure!(version(lab.new())? == newest(lab.new())?, "the tables on new are of version {}", version(lab.new())?);
    let changed = differing(fresh, &shape(lab.new())?);
    ensure!(changed.is_empty(), "the tables on new are not those of its package:\n{}", changed.join("\n"));
    Ok(())
}

/// The number of the newest update that Roundcube on new comes with.
fn newest(new: &Machine) -> Result<String> {
    let files = new.sh("ls /usr/share/roundcube/SQL/mysql | sed -n 's/[.]sql$//p' | sort -n | tail -1")?;
    Ok(files.trim().to_string())
}

fn webmail_users_have_their_contacts_on_new_after_a_copy_and_after_another() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    let people = users(lab.old())?;
    ensure!(people.len() >= 6 && users(lab.new())?.is_empty(), "the lab's webmail has {people:?} on old");
    let (before, fresh) = (database::dump(lab.old(), "roundcube")?, shape(lab.new())?);
    ensure!(version(lab.old())? < version(lab.new())?, "both sides have tables of one version");
    let rehome = Rehome::install(lab.new(), &plan("")?)?;
    rehome.approve()?;
    rehome.expect(0, &["check"])?;
    let preview = rehome.expect(4, &["preview", "--exit-code"])?.stdout;
    ensure!(preview.contains("new.lab.test") && preview.contains(&version(lab.old())?), "{preview}");

    rehome.expect(5, &["apply"])?;
    is_as_on_old(&lab, &fresh)?;
    same("webmail on old", &database::diff(&before, &database::dump(lab.old(), "roundcube")?))?;
    for user in &people {
        let names = names(lab.old(), user)?;
        ensure!(
            address_book(lab.new(), user)? == names,
            "Roundcube on new shows {user} {:?}",
            address_book(lab.new(), user)?
        );
    }

    // Users go on working on old: one adds a contact and one deletes one, one begins, one is deleted.
    let (first, second, last) = (&people[0], &people[1], &people[people.len() - 1]);
    sql(lab.old(), &format!(
        "INSERT INTO contacts (user_id, name, email) SELECT user_id, 'Später Ærø', 'late@example.net' FROM users WHERE username = '{first}';
         UPDATE contacts SET del = 1 WHERE user_id = (SELECT user_id FROM users WHERE username = '{second}') LIMIT 1;
         INSERT INTO users (username, mail_host, created) VALUES ('tina@shop.example', 'old.lab.test', NOW());
         DELETE FROM users WHERE username = '{last}'"
    ))?;
    // And somebody looks at new, which changes nothing of what there is.
    sql(lab.new(), &format!("UPDATE users SET last_login = NOW() WHERE username = '{first}'"))?;
    rehome.expect(0, &["answer", "downtime", "go-on", "yes"])?;
    rehome.expect(0, &["apply"])?;
    is_as_on_old(&lab, &fresh)?;
    rehome.expect(0, &["verify"])?;
    rehome.expect(0, &["preview", "--exit-code"])?;
    ensure!(address_book(lab.new(), first)?.contains(&"Später Ærø".to_string()));

    // From now on users work on new: what they add there is neither missed by `verify` nor copied over.
    sql(lab.new(), &format!(
        "UPDATE users SET last_login = NOW() + INTERVAL 1 MINUTE, preferences = 'a:1:{{s:4:\"skin\";s:7:\"elastic\";}}' WHERE username = '{first}';
         INSERT INTO contacts (user_id, name, email) SELECT user_id, 'Newer', 'newer@example.net' FROM users WHERE username = '{first}'"
    ))?;
    rehome.expect(0, &["verify"])?;
    let kept = database::dump(lab.new(), "roundcube")?;
    let refused = rehome.run(&["apply", "--again", "webmail-again"])?;
    ensure!(
        refused.status != Some(0) && format!("{}{}", refused.stdout, refused.stderr).contains(first.as_str()),
        "{refused:?}"
    );
    same("webmail on new", &database::diff(&kept, &database::dump(lab.new(), "roundcube")?))
}

const SCRIPT: &str = "/usr/share/roundcube/bin/updatedb.sh";

fn a_script_that_is_missing_or_breaks_off_stops_the_copy_and_apply_goes_on_once_it_is_mended() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    let fresh = shape(lab.new())?;
    let rehome = Rehome::install(lab.new(), &plan("")?)?;
    rehome.approve()?;
    lab.new().sh(&format!("mv {SCRIPT} {SCRIPT}.away"))?;
    let said = rehome.expect(3, &["check"])?.stdout;
    ensure!(said.contains("update script"), "the missing script is not named:\n{said}");
    // One that stops in the middle: what it has done already it cannot do a second time.
    let broken = "#!/bin/sh\nmysql roundcube -e 'ALTER TABLE cache DROP FOREIGN KEY user_id_fk_cache'\n\
                  echo 'ERROR: Error in DDL upgrade' >&2\nexit 1\n";
    lab.new().ssh_with_input(&["tee", SCRIPT], broken.as_bytes())?;
    lab.new().sh(&format!("chmod 755 {SCRIPT}"))?;
    rehome.expect(0, &["check"])?;
    let ran = rehome.expect(1, &["apply"])?;
    let said = format!("{}{}", ran.stdout, ran.stderr);
    ensure!(said.contains("Error in DDL upgrade"), "what the script said is not in:\n{said}");
    lab.new().sh(&format!("mv {SCRIPT}.away {SCRIPT}"))?;

    // And killed in the middle of everything.
    rehome.kill_at(&["apply"], &["\"request-began\"", "\"exec.update\""], "0.2")?;
    rehome.expect(5, &["apply"])?;
    is_as_on_old(&lab, &fresh)
}

fn whom_only_new_has_is_not_lost_and_undo_puts_new_back() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    let person = users(lab.old())?.remove(0);
    sql(
        lab.new(),
        "INSERT INTO users (username, mail_host, created) VALUES ('zed@other.example', 'new.lab.test', NOW());
        INSERT INTO contacts (user_id, name, email) SELECT user_id, 'Mine', 'mine@example.net' FROM users",
    )?;
    let rehome = Rehome::install(lab.new(), &plan("")?)?;
    rehome.approve()?;
    let before = database::dump(lab.new(), "roundcube")?;
    let said = rehome.expect(3, &["check"])?.stdout;
    ensure!(said.contains("zed@other.example") && said.contains("1 contact"), "{said}");
    rehome.expect(3, &["apply"])?;
    same("webmail on new", &database::diff(&before, &database::dump(lab.new(), "roundcube")?))?;

    // Deleted, as the hint says; then a trial of somebody who moves, and an entry of hers from long ago on old.
    sql(lab.new(), "DELETE FROM users WHERE username = 'zed@other.example'")?;
    sql(
        lab.new(),
        &format!(
            "INSERT INTO users (username, mail_host, created) VALUES ('{person}', 'new.lab.test', NOW());
        INSERT INTO contacts (user_id, name, email) SELECT user_id, 'Trial', 'trial@example.net' FROM users"
        ),
    )?;
    sql(
        lab.old(),
        &format!(
            "INSERT INTO users (username, mail_host, created) VALUES ('{person}', 'new.lab.test', '2019-01-01');
        INSERT INTO contacts (user_id, name, email) SELECT MAX(user_id), 'Ancient', 'ancient@example.net' FROM users"
        ),
    )?;
    let before = database::dump(lab.new(), "roundcube")?;
    let said = rehome.expect(0, &["check"])?.stdout;
    ensure!(said.contains("new.lab.test.former") && said.contains("take their place"), "{said}");
    rehome.expect(5, &["apply"])?;
    let found = sql(lab.new(), &format!("SELECT mail_host FROM users WHERE username = '{person}' ORDER BY mail_host"))?;
    ensure!(found == "new.lab.test\nnew.lab.test.former\n", "{person} is on new for {found}");
    ensure!(address_book(lab.new(), &person)? == names(lab.old(), &person)?, "not what is in use on old");
    rehome.expect(0, &["answer", "downtime", "go-on", "yes"])?;
    rehome.expect(0, &["apply"])?;
    rehome.expect(0, &["verify"])?;
    rehome.expect(0, &["undo", "--yes"])?;
    same("webmail on new after undo", &database::diff(&before, &database::dump(lab.new(), "roundcube")?))
}

fn users_of_one_domain_come_beside_those_that_new_has() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    sql(lab.new(), "INSERT INTO users (user_id, username, mail_host, created) VALUES (1, 'zed@other.example', 'new.lab.test', NOW());
        INSERT INTO contacts (contact_id, user_id, name, email) VALUES (1, 1, 'Mine', 'mine@example.net');
        INSERT INTO collected_addresses (user_id, name, email, type) VALUES (1, 'Seen', 'seen@example.net', 1)")?;
    let (before, fresh) = (made(lab.new())?, shape(lab.new())?);
    let rehome = Rehome::install(lab.new(), &plan("[phase.config]\ndomains = [\"example.org\"]\n")?)?;
    rehome.approve()?;
    rehome.expect(5, &["apply"])?;
    rehome.expect(0, &["answer", "downtime", "go-on", "yes"])?;
    rehome.expect(0, &["apply"])?;
    rehome.expect(0, &["verify"])?;
    let of_domain = |line: &&String| line.split('\t').next().is_some_and(|user| user.ends_with("@example.org"));
    let mut wanted: Vec<String> = made(lab.old())?.iter().filter(of_domain).cloned().collect();
    ensure!(!wanted.is_empty(), "nobody of example.org uses webmail on old");
    wanted.extend(before.clone());
    same("what webmail users have on new", &differing(&moved(&wanted), &made(lab.new())?))?;
    same("tables of new", &differing(&fresh, &shape(lab.new())?))?;
    ensure!(address_book(lab.new(), "zed@other.example")? == ["Mine"]);
    rehome.expect(0, &["undo", "--yes"])?;
    same("webmail on new after undo", &differing(&before, &made(lab.new())?))?;
    ensure!(sql(lab.new(), "SELECT name FROM collected_addresses")?.trim() == "Seen");
    Ok(())
}
