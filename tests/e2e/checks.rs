//! What `check` finds before anything is touched, and that `preview` and `check` touch nothing.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec, Machine};
use rehome_tests::lab_tests;
use rehome_tests::oracle::listing::{DOVECOT_CACHES, listing};
use rehome_tests::oracle::{database, same, services};

use crate::rehome::{Reach, Rehome, mail_only};

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![
        trouble_is_found_and_named_before_anything_is_touched,
        settings_made_by_hand_are_listed_and_no_secret_leaves_a_side,
        preview_changes_nothing_and_afterwards_has_nothing_left
    ]
}

/// One thing that would make a migration fail.
struct Trouble {
    what: &'static str,
    /// the machine, what breaks it, and what mends it
    on: &'static str,
    break_it: &'static str,
    mend_it: &'static str,
    /// the exit status of `check`, and words that its output must hold
    status: i32,
    says: &'static [&'static str],
}

const TROUBLES: &[Trouble] = &[
    Trouble {
        what: "Dovecot without iterate_query",
        on: "old",
        break_it: "sed -i 's/^iterate_query/#&/' /etc/dovecot/dovecot-sql.conf.ext && systemctl restart dovecot",
        mend_it: "sed -i 's/^#iterate_query/iterate_query/' /etc/dovecot/dovecot-sql.conf.ext && systemctl restart dovecot",
        status: 0,
        says: &["iterate_query"],
    },
    Trouble {
        what: "a full disk",
        on: "new",
        break_it: "mkdir -p /var/vmail && mount -t tmpfs -o size=256k,uid=5000,gid=5000 tmpfs /var/vmail",
        mend_it: "umount /var/vmail",
        status: 3,
        says: &["/var/vmail", "new"],
    },
    Trouble {
        what: "another vmail uid",
        on: "new",
        break_it: "usermod -u 5077 vmail",
        mend_it: "usermod -u 5000 vmail",
        status: 3,
        says: &["vmail", "5000", "5077"],
    },
    Trouble {
        what: "a stopped service",
        on: "new",
        break_it: "systemctl stop postfix@-.service postfix.service",
        mend_it: "systemctl start postfix",
        status: 3,
        says: &["postfix", "new"],
    },
    Trouble {
        what: "a database that refuses root",
        on: "old",
        break_it: "mysql -e \"ALTER USER root@localhost IDENTIFIED VIA mysql_native_password USING PASSWORD('x')\"",
        mend_it: "mysql -uroot -px -e \"ALTER USER root@localhost IDENTIFIED VIA unix_socket\"",
        status: 3,
        says: &["Access denied", "old"],
    },
];

fn trouble_is_found_and_named_before_anything_is_touched() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().with_third().ssh_keys_on("third"))?;
    let forth = mail_only(&Reach::Ssh("old"), &Reach::Ssh("new"))?;
    let rehome = Rehome::install(lab.third(), &forth)?;
    rehome.approve()?;
    rehome.expect(0, &["check"])?;
    for trouble in TROUBLES {
        let machine = lab.machine(trouble.on);
        machine.sh(trouble.break_it)?;
        let ran = rehome.run(&["check"])?;
        machine.sh(trouble.mend_it)?;
        let said = format!("{}{}", ran.stdout, ran.stderr);
        ensure!(ran.status == Some(trouble.status), "{}: ended with {:?}\n{said}", trouble.what, ran.status);
        for word in trouble.says {
            ensure!(said.contains(word), "{}: `{word}` is not said\n{said}", trouble.what);
        }
    }
    // What is mended is no trouble any more, and the checks themselves left nothing behind.
    rehome.expect(0, &["check"])?;
    // The sides the other way round: the old one has the newer database.
    rehome.plan(&mail_only(&Reach::Ssh("new"), &Reach::Ssh("old"))?)?;
    rehome.approve()?;
    let ran = rehome.expect(3, &["check"])?;
    let said = format!("{}{}", ran.stdout, ran.stderr);
    ensure!(said.contains("10.11") && said.contains("10.5"), "the newer database on old is not named\n{said}");
    // A blocker stops `apply` as well, before anything.
    rehome.expect(3, &["apply"])?;
    Ok(())
}

/// What an administrator adds to the guide's server over the years. `hunter2` is the secret.
const BY_HAND: &str = r#"
postconf 'always_bcc = archive@example.org' 'smtp_sasl_password_maps = static:relay:hunter2' \
  'transport_maps = hash:/etc/postfix/transport' 'postscreen_blacklist_action = drop' \
  'smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination'
postconf -M 'submission/inet = submission inet n - y - - smtpd'
echo 'example.com smtp:[elsewhere.test]' > /etc/postfix/transport
echo 'root: anna@example.org' >> /etc/aliases
mkdir -p /etc/dovecot/sieve-after /etc/fail2ban /var/spool/cron/crontabs
echo 'keep;' > /etc/dovecot/sieve-after/spam.sieve
echo 'password = hunter2' > /etc/fail2ban/jail.local
echo '@daily root backup --password=hunter2' > /etc/cron.d/backup
echo '@daily true' > /var/spool/cron/crontabs/root
echo 'password = "hunter2";' > /etc/rspamd/local.d/worker-controller.inc
echo '# changed' >> /etc/rspamd/options.inc
printf 'mail_max_userip_connections = 50\nplugin {\n  sieve_after = /etc/dovecot/sieve-after\n}\n' > /etc/dovecot/conf.d/99-own.conf
echo 'RequireSafeKeys False' > /etc/opendkim.conf
"#;

/// What `check` must say of them, each in a line of its own.
const LISTED: &[&str] = &[
    "always_bcc: is `archive@example.org` on old, and nothing, its default, on new",
    "smtp_sasl_password_maps: is a value that is not shown on old",
    "transport_maps: is `hash:/etc/postfix/transport` on old",
    "postscreen_blacklist_action: is `drop` on old; Postfix 3.7",
    "do not carry it over: it lacks permit_mynetworks",
    "Postfix service submission/inet: is in master.cf on old, and not on new",
    "/etc/postfix/transport: a file of Postfix, is on old alone",
    "root in /etc/aliases: goes to `anna@example.org` on old",
    "/etc/dovecot/sieve-after/spam.sieve: a global sieve script, is on old alone",
    "/etc/fail2ban/jail.local: fail2ban's settings, is on old alone",
    "/etc/cron.d/backup: a cron job, is on old alone",
    "crontab of root: is on old alone",
    "/etc/rspamd/local.d/worker-controller.inc: rspamd's settings, is on old alone",
    "/etc/rspamd/options.inc: rspamd's settings, was changed on old",
    "mail_max_userip_connections: is `50` on old, and `10`, its default, on new",
    "plugin/sieve_after: is `/etc/dovecot/sieve-after` on old, and not set on new",
    "RequireSafeKeys is off on old",
];

fn settings_made_by_hand_are_listed_and_no_secret_leaves_a_side() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    let rehome = Rehome::install(lab.new(), &mail_only(&Reach::Ssh("old"), &Reach::Local)?)?;
    rehome.approve()?;
    // Two servers as the guide sets them up differ in versions and names alone: not a warning about that.
    let untouched = rehome.expect(0, &["check"])?.stdout;
    ensure!(!untouched.contains("warning"), "two servers of the guide, and yet:\n{untouched}");
    for version in
        ["Debian GNU/Linux 11", "Debian GNU/Linux 12", "Postfix 3.5", "Postfix 3.7", "MariaDB 10.5", "rspamd 2.7"]
    {
        ensure!(untouched.contains(version), "`{version}` is not in the report:\n{untouched}");
    }
    lab.old().sh(BY_HAND)?;
    let before = (state(lab.old())?, state(lab.new())?);
    let said = rehome.expect(0, &["check"])?.stdout;
    for line in LISTED {
        ensure!(said.contains(line), "`{line}` is not said:\n{said}");
    }
    // In spite of all that the phase lets the migration begin, and copies none of it.
    let events = rehome.expect(5, &["--json", "apply"])?;
    for (what, text) in [("check says", &said), ("an event holds", &events.stdout), ("an error holds", &events.stderr)]
    {
        ensure!(!text.contains("hunter2"), "{what} a secret:\n{text}");
    }
    rehome.machine.sh("! grep -rl hunter2 /root/rehome/.rehome /root/rehome/plan.lock")?;
    same("old after check and apply", &changed(&before.0, &state(lab.old())?))?;
    let settings =
        |lines: &[String]| lines.iter().filter(|line| line.starts_with("/etc/")).cloned().collect::<Vec<_>>();
    let after = state(lab.new())?;
    let others = changed(&settings(&before.1), &settings(&after));
    let foreign: Vec<String> = others.into_iter().filter(|line| !line.contains("zz-rehome-closed.conf")).collect();
    same("settings of new after apply", &foreign)
}

/// All of a side that a migration could change.
fn state(machine: &Machine) -> Result<Vec<String>> {
    let files = listing(machine, &["/var/vmail", "/etc", "/var/lib/rspamd/dkim"], DOVECOT_CACHES)?;
    let database = database::dump(machine, "mailserver")?;
    let mut lines: Vec<String> = files.0.iter().map(|(path, entry)| format!("{path} {}", shown(entry))).collect();
    lines.push(database);
    lines.extend(services::services(machine)?.0.iter().map(|(name, service)| format!("{name} {service:?}")));
    Ok(lines)
}

/// Of a folder only what is its own.
fn shown(entry: &rehome_tests::oracle::listing::Entry) -> String {
    if entry.kind == "dir" { format!("dir {:o} {} {}", entry.mode, entry.uid, entry.gid) } else { format!("{entry:?}") }
}

fn changed(before: &[String], after: &[String]) -> Vec<String> {
    let old: std::collections::BTreeSet<_> = before.iter().collect();
    let new: std::collections::BTreeSet<_> = after.iter().collect();
    let gone = old.difference(&new).map(|line| format!("before: {line}"));
    gone.chain(new.difference(&old).map(|line| format!("after: {line}"))).collect()
}

fn preview_changes_nothing_and_afterwards_has_nothing_left() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    let rehome = Rehome::install(lab.new(), &mail_only(&Reach::Ssh("old"), &Reach::Local)?)?;
    rehome.approve()?;
    let before = (state(lab.old())?, state(lab.new())?);
    let preview = rehome.expect(4, &["preview", "--exit-code"])?;
    ensure!(preview.stdout.contains("virtual_users"), "the accounts are not in the preview:\n{}", preview.stdout);
    rehome.expect(0, &["preview"])?;
    rehome.expect(0, &["check"])?;
    same("old after preview and check", &changed(&before.0, &state(lab.old())?))?;
    same("new after preview and check", &changed(&before.1, &state(lab.new())?))?;

    rehome.migrate()?;
    let left = rehome.expect(0, &["preview", "--exit-code"])?;
    let said = format!("{}{}", left.stdout, left.stderr);
    ensure!(said.contains("nothing"), "that nothing is left to do is not said:\n{said}");
    rehome.expect(0, &["apply"])?;
    Ok(())
}
