//! The guide for Debian 7: its tables, its hashes and its plan. Old is put into that shape after it has booted; what users
//! can log in with afterwards is tried over IMAP, what is in the tables is read with MariaDB's own client.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec, Machine};
use rehome_tests::oracle::imap::{self, ServerDump};
use rehome_tests::oracle::same;
use rehome_tests::process::run;
use rehome_tests::seed::{User, accounts};
use rehome_tests::traffic::{Sent, Traffic};
use rehome_tests::{harness, lab_tests};

use crate::rehome::{Rehome, up_to};

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![
        a_wheezy_server_moves_by_its_plan_and_its_users_log_in_with_their_old_passwords,
        a_mixed_table_ends_right_and_the_prefixes_are_written_once,
        databases_that_need_a_login_are_named_by_check_and_reached_with_the_plans_secret
    ]
}

const DAY: u64 = 86_400;

/// The plan of `examples/wheezy-to-jessie` with the lab's names: its phases to the letter.
fn plan() -> Result<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/wheezy-to-jessie/plan.toml");
    let text = std::fs::read_to_string(path).context(path)?;
    Ok([
        ("root@old.example.org", "root@old"),
        ("/root/dns-update.key", "/root/rehome/dns-update.key"),
        ("mx-old.example.org", "mail.lab.test"),
        ("mx-new.example.org", "new.lab.test"),
        ("mail.example.org", "mail.lab.test"),
        ("192.0.2.11", "10.77.0.11"),
        ("192.0.2.12", "10.77.0.12"),
    ]
    .iter()
    .fold(text, |text, (from, to)| text.replace(from, to)))
}

/// The guide's tables: no quotas, the password before the address, and no room for more than an MD5 hash.
const NARROW: &str =
    "ALTER TABLE virtual_users DROP COLUMN quota, MODIFY password varchar(32) NOT NULL AFTER domain_id";
/// The same after an administrator has made room for better hashes.
const WIDENED: &str =
    "ALTER TABLE virtual_users DROP COLUMN quota, MODIFY password varchar(150) NOT NULL AFTER domain_id";

fn sql(machine: &Machine, statements: &str) -> Result<String> {
    let client = ["mysql", "--default-character-set=utf8mb4", "--batch", "--raw", "--skip-column-names", "mailserver"];
    let done = machine.ssh_with_input(&client, statements.as_bytes())?;
    ensure!(done.status.success(), "{statements}\n{}", String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Sets a user's password to an expression of SQL; `PASSWORD` in it is what the user types.
fn set(user: &User, expression: &str) -> String {
    let value = expression.replace("PASSWORD", &quoted(&user.password));
    format!("UPDATE virtual_users SET password = {value} WHERE email = {};\n", quoted(&user.email))
}

const BARE: &str = "MD5(PASSWORD)";

/// Roundcube's tables as they were in 0.7, the one that Debian 7 had: without a number, with what 0.9 took away, without
/// what came since.
const ROUNDCUBE: &str = "
SET FOREIGN_KEY_CHECKS = 0;
DROP TABLE `system`, cache_shared, filestore, cache;
CREATE TABLE cache (cache_id int(10) UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, user_id int(10) UNSIGNED NOT NULL DEFAULT 0,
  cache_key varchar(128) CHARACTER SET ascii NOT NULL, created datetime NOT NULL DEFAULT '1000-01-01 00:00:00', data longtext NOT NULL,
  INDEX created_index (created), INDEX user_cache_index (user_id, cache_key),
  CONSTRAINT user_id_fk_cache FOREIGN KEY (user_id) REFERENCES users (user_id) ON DELETE CASCADE ON UPDATE CASCADE) ENGINE=InnoDB CHARSET=utf8;
ALTER TABLE cache_index DROP expires, ADD changed datetime NOT NULL DEFAULT '1000-01-01 00:00:00', ADD INDEX changed_index (changed);
ALTER TABLE cache_thread DROP expires, ADD changed datetime NOT NULL DEFAULT '1000-01-01 00:00:00', ADD INDEX changed_index (changed);
ALTER TABLE cache_messages DROP expires, ADD changed datetime NOT NULL DEFAULT '1000-01-01 00:00:00', ADD INDEX changed_index (changed);
ALTER TABLE users DROP failed_login, DROP failed_login_counter, ADD alias varchar(128) BINARY NOT NULL AFTER mail_host,
  ADD INDEX alias_index (alias), MODIFY language varchar(5), MODIFY preferences text;
ALTER TABLE session ADD created datetime NOT NULL DEFAULT '1000-01-01 00:00:00';
ALTER TABLE contacts DROP FOREIGN KEY user_id_fk_contacts;
ALTER TABLE contacts DROP INDEX user_contacts_index, MODIFY email varchar(255) NOT NULL, ADD INDEX user_contacts_index (user_id, email);
ALTER TABLE contacts ADD CONSTRAINT user_id_fk_contacts FOREIGN KEY (user_id) REFERENCES users (user_id) ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE identities DROP INDEX email_identities_index, MODIFY signature text;
ALTER TABLE dictionary DROP id, MODIFY language varchar(5) NOT NULL";

/// Its configuration had another name, too.
fn dress_webmail(old: &Machine) -> Result<()> {
    old.sh("mv /etc/roundcube/config.inc.php /etc/roundcube/main.inc.php")?;
    sql(old, &format!("USE roundcube; {ROUNDCUBE}")).map(drop)
}

/// Who has how much in webmail.
fn webmail(machine: &Machine) -> Result<Vec<String>> {
    let counted = "USE roundcube; SELECT u.username, u.mail_host, u.language, u.preferences,
        (SELECT COUNT(*) FROM contacts c WHERE c.user_id = u.user_id AND c.del = 0), (SELECT COUNT(*) FROM identities i WHERE i.user_id = u.user_id),
        (SELECT GROUP_CONCAT(c.name, c.vcard ORDER BY c.contact_id) FROM contacts c WHERE c.user_id = u.user_id) FROM users u ORDER BY 1";
    let lines = sql(machine, counted)?.replace("\told.lab.test\t", "\tnew.lab.test\t");
    Ok(lines.lines().map(str::to_string).collect())
}

/// Neither rspamd nor Redis, and Dovecot takes passwords without a scheme for what they were in either guide.
fn dress(lab: &Lab) -> Result<()> {
    for machine in [lab.old(), lab.new()] {
        machine.sh("systemctl disable --now rspamd redis-server 2>/dev/null; postconf smtpd_milters= non_smtpd_milters=; systemctl reload postfix")?;
    }
    for (machine, scheme) in [(lab.old(), "PLAIN-MD5"), (lab.new(), "SHA256-CRYPT")] {
        let setting = format!("default_pass_scheme = {scheme}");
        machine.sh(&format!("echo '{setting}' >> /etc/dovecot/dovecot-sql.conf.ext; systemctl restart dovecot"))?;
    }
    Ok(())
}

/// Every user's password becomes a bare MD5 hash, in the guide's own table.
fn undress_passwords(old: &Machine) -> Result<()> {
    let hashes: String = accounts().users.iter().map(|user| set(user, BARE)).collect();
    sql(old, &format!("{hashes}{NARROW};")).map(drop)
}

/// Users and what stands in for their passwords.
fn passwords(machine: &Machine) -> Result<Vec<(String, String)>> {
    let rows = sql(machine, "SELECT email, password FROM virtual_users ORDER BY email")?;
    Ok(rows.lines().filter_map(|line| line.split_once('\t')).map(|(a, b)| (a.into(), b.into())).collect())
}

fn is_bare(hash: &str) -> bool {
    hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What new must have of old's passwords.
fn prefixed(old: &[(String, String)]) -> Vec<(String, String)> {
    let value = |hash: &String| if is_bare(hash) { format!("{{PLAIN-MD5}}{hash}") } else { hash.clone() };
    old.iter().map(|(user, hash)| (user.clone(), value(hash))).collect()
}

fn column(machine: &Machine) -> Result<String> {
    let kind = "SELECT column_type FROM information_schema.columns WHERE table_schema = 'mailserver'
                AND table_name = 'virtual_users' AND column_name = 'password'";
    Ok(sql(machine, kind)?.trim().to_string())
}

/// Nobody of these gets in: without this a log-in afterwards would prove nothing.
fn refuses_all(lab: &Lab, machine: &Machine, users: &[User]) -> Result<()> {
    for user in users {
        let refused = imap::dump(lab, machine, std::slice::from_ref(user)).err().map(|error| format!("{error:#}"));
        let refused = refused.with_context(|| format!("{} can log in on {}", user.email, machine.name()))?;
        ensure!(refused.contains("AUTHENTICATIONFAILED"), "{}: {refused}", user.email);
    }
    Ok(())
}

/// Both sides as the guide has them, and rehome with its plan on new.
pub(crate) fn install(lab: &Lab) -> Result<Rehome<'_>> {
    dress(lab)?;
    undress_passwords(lab.old())?;
    sql(lab.new(), "ALTER TABLE virtual_users MODIFY password varchar(32) NOT NULL")?;
    dress_webmail(lab.old())?;
    Rehome::install_whole(lab.new(), &plan()?, &lab.tsig_key()?)
}

fn a_wheezy_server_moves_by_its_plan_and_its_users_log_in_with_their_old_passwords() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    let rehome = install(&lab)?;
    let before = imap::dump(&lab, lab.old(), &accounts().users).context("users of old log in with MD5")?;
    rehome.approve()?;
    let preview = rehome.expect(0, &["preview"])?.stdout;
    ensure!(preview.contains("varchar(32)") && preview.contains("varchar(150)"), "the column is not in:\n{preview}");
    let stragglers = Traffic::start(&lab, lab.old(), "old", 2.0, &recipients())?;
    up_to_the_cutover(&lab, &rehome)?;
    rehome.expect(0, &["answer", "downtime", "go-on", "yes"])?;
    rehome.expect(5, &["apply"])?;
    ensure!(rehome.waits_at()? == "watch", "it waits at {}", rehome.waits_at()?);
    for domain in &accounts().domains {
        let exchange = dig(&lab, &["+short", domain, "MX"])?;
        ensure!(exchange.trim() == "10 new.lab.test.", "mail for {domain} still goes to {exchange}");
    }
    let newcomers = Traffic::start(&lab, lab.new(), "new", 2.0, &recipients())?;
    std::thread::sleep(std::time::Duration::from_secs(6));
    let (to_old, to_new) = (stragglers.stop()?, newcomers.stop()?);

    rehome.pass(8 * DAY);
    rehome.expect(5, &["apply"])?;
    ensure!(rehome.waits_at()? == "retire", "it waits at {}", rehome.waits_at()?);
    rehome.expect(0, &["answer", "retire", "go-on", "yes"])?;
    rehome.expect(0, &["apply"])?;
    let services = lab.old().sh("systemctl is-active postfix dovecot || true")?;
    ensure!(services == "inactive\ninactive\n", "old still runs: {services}");
    rehome.expect(0, &["verify"])?;
    same("passwords on new", &differing(&prefixed(&passwords(lab.old())?), &passwords(lab.new())?))?;
    ensure!(column(lab.new())? == "varchar(150)", "the column on new is {}", column(lab.new())?);
    harness::queue_runs_dry(lab.new())?;
    ensure!(webmail(lab.old())?.len() > 5, "the lab's webmail has hardly any users");
    ensure!(webmail(lab.old())? == webmail(lab.new())?, "webmail on new has {:?}", webmail(lab.new())?);
    let version = sql(lab.new(), "SELECT value FROM roundcube.`system` WHERE name = 'roundcube-version'")?;
    ensure!(version.trim() == "2022081200", "webmail's tables on new are of version {version}");
    let left = sql(lab.new(), "SHOW COLUMNS FROM roundcube.users LIKE 'alias'")?;
    ensure!(left.is_empty(), "an update of before 0.9 was left out");
    let after = imap::dump(&lab, lab.new(), &users_after()).context("users log in on new as they did on old")?;
    same("mail on new that was on old", &before.lost(&after))?;
    each_is_there_once(&after, &to_old)?;
    each_is_there_once(&after, &to_new)?;
    ttls_are(&lab, "3600", "86400")
}

fn each_is_there_once(dump: &ServerDump, sent: &Sent) -> Result<()> {
    ensure!(sent.accepted().count() > 5, "only {} mails were accepted", sent.accepted().count());
    for mail in sent.accepted() {
        let found = dump.count_of_subject(&mail.token);
        ensure!(found == 1, "{} to {} was accepted and is there {found} times", mail.token, mail.recipient);
    }
    Ok(())
}

fn recipients() -> Vec<&'static str> {
    accounts().users.iter().map(|user| user.email.as_str()).take(12).collect()
}

fn dig(lab: &Lab, words: &[&str]) -> Result<String> {
    let mut command = lab.command("kdig")?;
    let ran = run(command.arg("@10.77.0.1").args(words))?;
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

/// The user who sets a new password on old between the two copies, as bare as the others.
const CHANGES: usize = 14;

fn users_after() -> Vec<User> {
    let mut users = accounts().users.clone();
    users[CHANGES].password = "changed since".into();
    users
}

/// Up to the gate before the cutover, whose TTLs are really waited for.
fn up_to_the_cutover(lab: &Lab, rehome: &Rehome<'_>) -> Result<()> {
    ttls_are(lab, "3600", "86400")?;
    rehome.expect(5, &["apply"])?;
    ensure!(rehome.waits_at()? == "mx-wait", "it waits at {}", rehome.waits_at()?);
    ttls_are(lab, "60", "60")?;
    rehome.pass(3600 + 60);
    rehome.expect(5, &["apply"])?;
    ensure!(rehome.waits_at()? == "names-wait", "it waits at {}", rehome.waits_at()?);
    sql(lab.old(), &set(&users_after()[CHANGES], BARE))?;
    rehome.pass(DAY);
    rehome.expect(5, &["apply"])?;
    ensure!(rehome.waits_at()? == "downtime", "it waits at {}", rehome.waits_at()?);
    Ok(())
}

fn ttls_are(lab: &Lab, mx: &str, address: &str) -> Result<()> {
    for (name, kind, wanted) in [("example.org", "MX", mx), ("mail.lab.test", "A", address)] {
        let answer = dig(lab, &["+noall", "+answer", name, kind])?;
        let ttl = answer.split_whitespace().nth(1).unwrap_or_default();
        ensure!(ttl == wanted, "the TTL of {name} {kind} is {ttl} and not {wanted}");
    }
    Ok(())
}

fn differing(wanted: &[(String, String)], found: &[(String, String)]) -> Vec<String> {
    let missing = wanted.iter().filter(|row| !found.contains(row)).map(|row| format!("not there: {row:?}"));
    missing.chain(found.iter().filter(|row| !wanted.contains(row)).map(|row| format!("not wanted: {row:?}"))).collect()
}

/// A fifth of the users each: bare, named already, salted by Dovecot's own tool; the others as they were seeded.
fn mix_passwords(old: &Machine) -> Result<()> {
    let mut statements = format!("{WIDENED};");
    for (at, user) in accounts().users.iter().enumerate() {
        match at % 5 {
            0 | 1 => statements.push_str(&set(user, BARE)),
            2 => statements.push_str(&set(user, "CONCAT('{PLAIN-MD5}', MD5(PASSWORD))")),
            3 => {
                let made = old.ssh(&["doveadm", "pw", "-s", "SSHA256", "-p", &user.password])?;
                let made = String::from_utf8_lossy(&made.stdout).trim().to_string();
                ensure!(made.starts_with("{SSHA256}"), "doveadm pw made {made:?}");
                statements.push_str(&set(user, &quoted(&made)));
            }
            _ => {}
        }
    }
    sql(old, &statements).map(drop)
}

fn a_mixed_table_ends_right_and_the_prefixes_are_written_once() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    dress(&lab)?;
    mix_passwords(lab.old())?;
    imap::dump(&lab, lab.old(), &accounts().users).context("users of old log in with what they have")?;
    let rehome = Rehome::install_whole(lab.new(), &up_to(&plan()?, "schemes")?, &lab.tsig_key()?)?;
    rehome.approve()?;
    // A column that would cut hashes is found before anything is copied, with the statement that mends it.
    sql(lab.new(), "ALTER TABLE virtual_users MODIFY password varchar(32) NOT NULL")?;
    let said = rehome.expect(3, &["check"])?.stdout;
    let remedy = "ALTER TABLE virtual_users MODIFY password varchar(150) NOT NULL";
    ensure!(said.contains(remedy), "the remedy is not in:\n{said}");
    sql(lab.new(), remedy)?;
    rehome.expect(0, &["check"])?;

    let bare: Vec<User> = accounts().users.iter().step_by(5).cloned().collect();
    // As the accounts come from old, without their prefix: new lets none of these in.
    rehome.plan(&up_to(&plan()?, "accounts")?)?;
    rehome.approve()?;
    rehome.expect(0, &["apply"])?;
    ensure!(passwords(lab.new())? == passwords(lab.old())?, "the copy changed passwords");
    refuses_all(&lab, lab.new(), &bare[..2])?;
    rehome.plan(&up_to(&plan()?, "schemes")?)?;
    rehome.approve()?;
    rehome.expect(0, &["apply"])?;
    let wanted = prefixed(&passwords(lab.old())?);
    same("passwords on new", &differing(&wanted, &passwords(lab.new())?))?;
    ensure!(wanted.iter().filter(|(_, hash)| hash.starts_with("{PLAIN-MD5}")).count() == 18, "{wanted:?}");
    imap::dump(&lab, lab.new(), &accounts().users).context("every user logs in on new")?;

    for again in ["schemes", "accounts"] {
        rehome.expect(0, &["apply", "--again", again])?;
        same("passwords on new, the second time", &differing(&wanted, &passwords(lab.new())?))?;
    }
    rehome.expect(0, &["undo", "--yes"])?;
    ensure!(passwords(lab.new())?.is_empty(), "new has accounts after undo: {:?}", passwords(lab.new())?);
    Ok(())
}

const ROOTS: &str = "it's a \\ \"secret\"";

fn databases_that_need_a_login_are_named_by_check_and_reached_with_the_plans_secret() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    dress(&lab)?;
    undress_passwords(lab.old())?;
    let hashes = passwords(lab.old())?;
    let plan = up_to(&plan()?, "schemes")?;
    let rehome = Rehome::install_whole(lab.new(), &plan, &lab.tsig_key()?)?;
    rehome.approve()?;
    for machine in [lab.old(), lab.new()] {
        let locked = "ALTER USER root@localhost IDENTIFIED VIA mysql_native_password USING PASSWORD";
        sql(machine, &format!("{locked}({})", quoted(ROOTS)))?;
    }
    let said = rehome.expect(3, &["check"])?.stdout;
    for words in ["Access denied for user 'root'@'localhost'", "[old.database.mailserver]", "[new.database.mailserver]"]
    {
        // Through a gate old is read by an account of its own.
        let expected = !(rehome.is_gated() && words.starts_with("[old"));
        ensure!(said.contains(words) == expected, "`{words}` is, or is not in:\n{said}");
    }
    rehome.expect(3, &["apply"])?;

    let login = |side: &str| format!("[{side}.database.mailserver]\nuser = \"root\"\npassword = \"mariadb\"\n\n");
    let secret = "[secret.mariadb]\nfile = \"/root/rehome/mariadb\"\n\n";
    let tables = format!("{}{}{secret}[secret.dns-update]", login("old"), login("new"));
    rehome.plan(&plan.replacen("[secret.dns-update]", &tables, 1))?;
    rehome.write("mariadb", format!("{ROOTS}\n").as_bytes())?;
    rehome.machine.sh("chmod 600 /root/rehome/mariadb")?;
    rehome.approve()?;
    rehome.expect(0, &["check"])?;
    rehome.expect(0, &["apply"])?;
    rehome.expect(0, &["verify"])?;
    imap::dump(&lab, lab.new(), &accounts().users).context("every user logs in on new")?;
    let kept = lab.new().sh("grep -rlF 'a \\ \"secret' /root/rehome --exclude=mariadb || true")?;
    ensure!(kept.trim().is_empty(), "the password is kept in {kept}");

    for machine in [lab.old(), lab.new()] {
        let client =
            ["mysql", "-uroot", &format!("-p{ROOTS}"), "-e", "ALTER USER root@localhost IDENTIFIED VIA unix_socket"];
        ensure!(machine.ssh(&client)?.status.success(), "root is not let in on {}", machine.name());
    }
    same("passwords on new", &differing(&prefixed(&hashes), &passwords(lab.new())?))
}
