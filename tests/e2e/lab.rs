//! The lab itself: its machines boot, its mail server is a real one, they reach each other as promised.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::harness::eventually;
use rehome_tests::lab::{Lab, LabSpec, Machine, libc_tree};
use rehome_tests::oracle::certificate::{Service, served};
use rehome_tests::oracle::{imap, redis, roundcube, rspamd};
use rehome_tests::process::{run, run_with_input};
use rehome_tests::seed::{Accounts, accounts, other_accounts};
use rehome_tests::{lab_tests, oracle};
use std::process::Command;

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![
        old_and_new_are_running_mail_servers,
        new_is_configured_and_empty,
        old_has_gathered_more_than_mail,
        other_is_a_second_old_server_whose_numbers_collide,
        roundcube_on_new_runs_its_own_programs,
        mail_goes_out_signed_and_over_tls,
        a_sender_out_in_the_world_keeps_its_queue_and_tries_again,
        a_machine_with_keys_reaches_the_others_as_root_and_as_admin,
        where_root_may_not_log_in_admin_may_use_sudo,
        a_second_lab_beside_the_first_is_another_world,
        commands_on_the_outside_know_machines_names_and_zones,
        files_go_there_and_back,
        a_binary_linked_against_the_libc_tree_runs_on_debian_11,
    ]
}

fn old_and_new_are_running_mail_servers() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair())?;
    for machine in lab.machines() {
        ensure!(machine.sh("systemctl is-system-running")?.trim() == "running");
        for port in [25, 143, 993, 4190] {
            ensure!(machine.port_is_open(port)?, "{}: port {port}", machine.name());
        }
        machine.sh("postfix check; doveconf -n >/dev/null; rspamadm configtest; redis-cli ping")?;
    }
    ensure!(lab.old().sh("cat /etc/debian_version")?.starts_with("11."));
    ensure!(lab.new().sh("cat /etc/debian_version")?.starts_with("12."));
    Ok(())
}

fn new_is_configured_and_empty() -> Result<()> {
    let lab = Lab::start(&LabSpec::new_only())?;
    ensure!(oracle::database::rows(lab.new(), "mailserver")?.is_empty());
    let tables = lab.new().sh("mysql -N mailserver -e 'SHOW TABLES'")?;
    ensure!(tables == "virtual_aliases\nvirtual_domains\nvirtual_users\n", "{tables}");
    ensure!(lab.new().sh("find /var/vmail -type f -path '*/Maildir/*'")?.is_empty());
    ensure!(roundcube::hosts(lab.new())?.is_empty());
    ensure!(lab.new().sh("redis-cli get lab:own")?.trim() == "of new, and of nobody else");
    ensure!(redis::keys(lab.new(), 0)?.with_prefix("RS").0.is_empty(), "rspamd on new has learned something");
    ensure!(lab.new().sh("ls -A /var/lib/rspamd/dkim; cat /etc/rspamd/dkim_selectors.map")?.is_empty());
    // It has certificates, so that its services start, and none for the name that is to be moved.
    for name in ["mail.lab.test", "imap.lab.test"] {
        let shown = served(&lab, lab.new(), Service::Imaps, name)?;
        ensure!(shown.names.iter().eq(["new.lab.test"]) && shown.verdict != "ok", "{name}: {shown:?}");
    }
    ensure!(served(&lab, lab.new(), Service::Smtp, "new.lab.test")?.verdict == "ok");
    Ok(())
}

fn old_has_gathered_more_than_mail() -> Result<()> {
    let lab = Lab::start(&LabSpec::old_only())?;
    gathered(&lab, lab.old(), accounts())?;
    for (service, name) in [(Service::Imaps, "imap.lab.test"), (Service::Imap, "mail.lab.test")] {
        let shown = served(&lab, lab.old(), service, name)?;
        ensure!(shown.verdict == "ok", "{name}: {shown:?}");
        ensure!(shown.names.iter().eq(["imap.lab.test", "mail.lab.test"]), "{shown:?}");
    }
    let wrong = served(&lab, lab.old(), Service::Smtp, "old.lab.test")?;
    ensure!(wrong.verdict == "hostname mismatch", "{wrong:?}");
    ensure!(lookup(&lab, "imap.lab.test", "CNAME")? == "mail.lab.test.\n");
    let tree = oracle::listing::listing(lab.old(), &["/etc/letsencrypt"], &[])?;
    let link = &tree.0["/etc/letsencrypt/live/mail.lab.test/fullchain.pem"];
    ensure!(link.target.as_deref() == Some("../../archive/mail.lab.test/fullchain2.pem"), "{link:?}");
    for path in ["renewal/mail.lab.test.conf", "archive/mail.lab.test/privkey1.pem", "renewal-hooks/deploy/reload.sh"] {
        ensure!(tree.0.contains_key(&format!("/etc/letsencrypt/{path}")), "no {path}");
    }
    ensure!(tree.0.keys().any(|path| path.contains("/accounts/") && path.ends_with("/private_key.json")));
    Ok(())
}

/// Roundcube's users, rspamd's training, and DKIM keys whose public parts the zones hold.
fn gathered(lab: &Lab, machine: &Machine, seeded: &Accounts) -> Result<()> {
    let host = format!("{}.lab.test", machine.name());
    let people = roundcube::people(machine, &host)?;
    ensure!(people.0.len() == seeded.webmail.len(), "{:?}", people.0.keys());
    for person in &seeded.webmail {
        let seen = &people.0[&person.email];
        ensure!(seen.contacts.len() == person.contacts, "{}: {} contacts", person.email, seen.contacts.len());
        ensure!(seen.identities.len() == person.identities, "{}: {:?}", person.email, seen.identities);
        ensure!(seen.groups.len() == person.groups.len(), "{}: {:?}", person.email, seen.groups);
        for group in &person.groups {
            let found = seen.groups.iter().find(|row| row.contains(&format!("\"name\":\"{group}\"")));
            ensure!(found.is_some_and(|row| row.contains("@elsewhere.lab.test")), "{group}: {:?}", seen.groups);
        }
    }
    let taught = &seeded.training;
    eventually("rspamd says what it has learned", || {
        let learned = rspamd::learned_when_up(machine)?;
        Ok((learned.ham, learned.spam) == (u64::from(taught.ham), u64::from(taught.spam)))
    })?;
    for domain in &seeded.domains {
        let key = format!("/var/lib/rspamd/dkim/{domain}.2024.key");
        ensure!(machine.sh(&format!("stat -c '%a %U %G' {key}"))?.trim() == "440 _rspamd _rspamd");
        let public = machine.sh(&format!("openssl rsa -in {key} -pubout -outform DER 2>/dev/null | base64 -w0"))?;
        let record = lookup(lab, &format!("2024._domainkey.{domain}"), "TXT")?.replace("\" \"", "");
        ensure!(record.trim() == format!("\"v=DKIM1; k=rsa; p={public}\""), "{record}");
    }
    Ok(())
}

fn other_is_a_second_old_server_whose_numbers_collide() -> Result<()> {
    let lab = Lab::start(&LabSpec::old_only().with_other())?;
    ensure!(lab.other().sh("cat /etc/debian_version")?.starts_with("11."));
    ensure!(lookup(&lab, "other.example", "MX")? == "10 other.lab.test.\n");
    gathered(&lab, lab.other(), other_accounts())?;
    let seen = imap::dump(&lab, lab.other(), &other_accounts().users)?;
    ensure!(seen.0.len() == 5 && seen.count() > 140, "{} users, {} mails", seen.0.len(), seen.count());
    let first = "SELECT MIN(d.id), MIN(u.id) FROM virtual_domains d, virtual_users u";
    for machine in [lab.old(), lab.other()] {
        ensure!(machine.sh(&format!("mysql -N mailserver -e '{first}'"))?.trim() == "1\t1", "{}", machine.name());
        ensure!(machine.sh("mysql -N roundcube -e 'SELECT MIN(user_id) FROM users'")?.trim() == "1");
    }
    Ok(())
}

/// Its program that updates the schema brings the tables of Debian 11's version up to date.
fn roundcube_on_new_runs_its_own_programs() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair())?;
    let dump = lab.old().sh("mysqldump --single-transaction roundcube")?;
    let load = lab.new().ssh_with_input(&["mysql", "roundcube"], dump.as_bytes())?;
    ensure!(load.status.success(), "{}", String::from_utf8_lossy(&load.stderr));
    lab.new().sh("mysql roundcube -e 'DROP TABLE collected_addresses, responses'")?;
    let version = "mysql -N roundcube -e \"SELECT value FROM system WHERE name = 'roundcube-version'\"";
    ensure!(lab.new().sh(version)?.trim() == "2019092900");
    lab.new().sh("/usr/share/roundcube/bin/updatedb.sh --package=roundcube --dir=/usr/share/roundcube/SQL")?;
    ensure!(lab.new().sh(version)?.trim() == "2022081200");
    let people = |machine: &Machine| roundcube::people(machine, "old.lab.test");
    oracle::same("Roundcube's users", &people(lab.old())?.diff(&people(lab.new())?))?;
    for (machine, line) in [
        (lab.old(), "['default_host'] = 'tls://old.lab.test';"),
        (lab.new(), "['imap_host'] = 'tls://new.lab.test:143';"),
    ] {
        ensure!(machine.sh("cat /etc/roundcube/config.inc.php")?.contains(line), "{}", machine.name());
    }
    Ok(())
}

fn mail_goes_out_signed_and_over_tls() -> Result<()> {
    let lab = Lab::start(&LabSpec::old_only().with_sender())?;
    let mail = "From: anna@example.org\nTo: friend@elsewhere.lab.test\nSubject: signed\n\nhello\n";
    // rspamd may still be starting, and Postfix takes mail without it.
    eventually("rspamd on old listens", || {
        Ok(lab.old().ssh(&["bash", "-c", ": </dev/tcp/127.0.0.1/11332"])?.status.success())
    })?;
    send(lab.old(), "anna@example.org", "friend@elsewhere.lab.test", mail)?;
    eventually("it arrives", || Ok(mailbox(&lab)?.contains("Subject: signed")))?;
    let arrived = mailbox(&lab)?;
    ensure!(arrived.contains("d=example.org; s=2024;"), "{arrived}");

    let mail = "From: friend@elsewhere.lab.test\nTo: anna@example.org\nSubject: encrypted\n\nhello\n";
    send(lab.sender(), "friend@elsewhere.lab.test", "anna@example.org", mail)?;
    eventually("it arrives", || Ok(in_mailbox_of_anna(&lab, "encrypted")? == 1))?;
    let log = lab.sender().sh("journalctl --no-pager -o cat -u 'postfix*'")?;
    ensure!(log.contains("Trusted TLS connection established to mail.lab.test[10.77.0.11]:25"), "{log}");
    Ok(())
}

fn a_sender_out_in_the_world_keeps_its_queue_and_tries_again() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().with_sender())?;
    for unit in ["dovecot", "mariadb", "rspamd", "redis-server"] {
        ensure!(lab.sender().sh(&format!("systemctl is-active {unit} || true"))?.trim() == "inactive", "{unit}");
    }
    let mail = "From: me@elsewhere.lab.test\nSubject: kept\n\nhello\n";
    send(lab.sender(), "me@elsewhere.lab.test", "nobody@example.org", mail)?;
    eventually("the refusal comes back", || Ok(mailbox(&lab)?.contains("Recipient address rejected")))?;

    lab.old().sh("systemctl stop postfix@-.service")?;
    send(lab.sender(), "me@elsewhere.lab.test", "anna@example.org", mail)?;
    eventually("it is deferred", || Ok(lab.sender().sh("postqueue -j")?.contains("\"deferred\"")))?;
    // Its way leads where DNS says, at each new attempt.
    let update = "server 10.77.0.1\nzone lab.test.\nupdate delete mail.lab.test. A\n\
                  update add mail.lab.test. 60 A 10.77.0.12\nsend\n";
    run_with_input(lab.command("knsupdate")?.args(["-y", &lab.tsig_key()?]), update.as_bytes())?;
    // new does not know the domain yet and says so for the time being (Debian's defer_unauth_destination).
    let queued = || lab.sender().sh("postqueue -j");
    eventually("new has answered", || Ok(queued()?.contains("mail.lab.test[10.77.0.12] said: 454")))?;

    let undo = update.replace("10.77.0.12", "10.77.0.11");
    run_with_input(lab.command("knsupdate")?.args(["-y", &lab.tsig_key()?]), undo.as_bytes())?;
    lab.old().sh("systemctl start postfix")?;
    eventually("it arrives by itself", || Ok(in_mailbox_of_anna(&lab, "kept")? == 1))?;
    ensure!(lab.sender().sh("postqueue -p")?.contains("Mail queue is empty"));
    Ok(())
}

fn send(machine: &Machine, from: &str, to: &str, mail: &str) -> Result<()> {
    let sent = machine.ssh_with_input(&["sendmail", "-f", from, to], mail.as_bytes())?;
    ensure!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    Ok(())
}

/// What has come to the sender's own domain.
fn mailbox(lab: &Lab) -> Result<String> {
    lab.sender().sh("cat /var/mail/sender 2>/dev/null || true")
}

fn in_mailbox_of_anna(lab: &Lab, subject: &str) -> Result<usize> {
    let users = [rehome_tests::seed::user("anna@example.org").clone()];
    Ok(imap::dump(lab, lab.old(), &users)?.count_of_subject(subject))
}

fn a_machine_with_keys_reaches_the_others_as_root_and_as_admin() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().with_third().ssh_keys_on("new").ssh_keys_on("third"))?;
    let ssh = "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes";
    for machine in [lab.new(), lab.third()] {
        ensure!(machine.sh(&format!("{ssh} root@old.lab.test hostname"))?.trim() == "old");
        ensure!(machine.sh(&format!("{ssh} admin@10.77.0.11 sudo -n id -un"))?.trim() == "root");
    }
    ensure!(lab.third().sh("systemctl is-active postfix || true")?.trim() != "active");
    let without = lab.old().ssh(&["ssh", "-o", "BatchMode=yes", "root@new", "true"])?;
    ensure!(!without.status.success(), "old was given no key");
    Ok(())
}

fn where_root_may_not_log_in_admin_may_use_sudo() -> Result<()> {
    let lab = Lab::start(&LabSpec::old_only().root_login_off("old"))?;
    let root = lab.command("ssh")?.args(["-o", "BatchMode=yes", "root@old", "true"]).output()?;
    ensure!(!root.status.success(), "root could log in");
    // The lab's own commands go through admin and sudo there.
    ensure!(lab.old().sh("id -un; echo 'a  b'")? == "root\na  b\n");
    ensure!(lab.old().sh("mysql -N -e 'SELECT COUNT(*) FROM mailserver.virtual_users'")?.trim() == "30");
    let temporary = tempfile::tempdir()?;
    lab.old().pull("/etc/shadow", temporary.path())?;
    ensure!(temporary.path().join("shadow").exists());
    Ok(())
}

fn a_second_lab_beside_the_first_is_another_world() -> Result<()> {
    let (first, second) = (Lab::start(&LabSpec::new_only())?, Lab::start(&LabSpec::new_only())?);
    first.new().sh("echo first > /root/mark")?;
    second.new().sh("echo second > /root/mark")?;
    ensure!(first.new().sh("cat /root/mark")?.trim() == "first");
    ensure!(second.new().sh("cat /root/mark")?.trim() == "second");
    let id = |lab: &Lab| lab.new().sh("cat /etc/machine-id");
    ensure!(id(&first)? != id(&second)?);
    first.down()?;
    ensure!(second.new().sh("systemctl is-system-running")?.trim() == "running");
    Ok(())
}

fn commands_on_the_outside_know_machines_names_and_zones() -> Result<()> {
    let lab = Lab::start(&LabSpec::old_only())?;
    ensure!(run(lab.command("ssh")?.args(["old", "hostname"]))?.stdout == b"old\n");
    let mut plain = Command::new("sh");
    plain.args(["-c", "echo $WHO in $PWD; ip -o -4 addr show dev lab"]).env("WHO", "me").current_dir("/tmp");
    let said = String::from_utf8(run(&mut lab.in_namespace(&plain)?)?.stdout)?;
    ensure!(said.starts_with("me in /tmp\n") && said.contains("10.77.0.1/24"), "{said}");

    for zone in accounts().domains.iter().map(String::as_str).chain(["lab.test"]) {
        ensure!(lookup(&lab, zone, "MX")? == "10 mail.lab.test.\n", "{zone}");
    }
    let update = "server 10.77.0.1\nzone lab.test.\nupdate delete mail.lab.test. A\n\
                  update add mail.lab.test. 60 A 10.77.0.12\nsend\n";
    let key = lab.tsig_key()?;
    run_with_input(lab.command("knsupdate")?.args(["-y", &key]), update.as_bytes())?;
    ensure!(lookup(&lab, "mail.lab.test", "A")? == "10.77.0.12\n");
    Ok(())
}

fn lookup(lab: &Lab, name: &str, kind: &str) -> Result<String> {
    let said = run(lab.command("kdig")?.args(["+short", "@10.77.0.1", name, kind]))?;
    Ok(String::from_utf8(said.stdout)?)
}

fn files_go_there_and_back() -> Result<()> {
    let lab = Lab::start(&LabSpec::new_only())?;
    let temporary = tempfile::tempdir()?;
    let (there, back) = (temporary.path().join("a b'c"), temporary.path().join("back"));
    std::fs::write(&there, b"\0bytes\xff")?;
    lab.new().push(&there, "/root/it's here")?;
    lab.new().pull("/root/it's here", &back)?;
    ensure!(std::fs::read(back)? == b"\0bytes\xff");
    let echoed = lab.new().ssh_with_input(&["cat"], b"\0in\xff")?;
    ensure!(echoed.stdout == b"\0in\xff");
    ensure!(lab.new().ssh(&["printf", "%s|", "", "a  b", "'$HOME'\n"])?.stdout == b"|a  b|'$HOME'\n|");
    ensure!(lab.new().ssh(&["sh", "-c", "exit 7"])?.status.code() == Some(7));
    let error = lab.new().sh("echo spoken >&2; false").expect_err("false fails");
    ensure!(error.to_string().contains("spoken") && error.to_string().contains("new"), "{error}");
    Ok(())
}

fn a_binary_linked_against_the_libc_tree_runs_on_debian_11() -> Result<()> {
    let lab = Lab::start(&LabSpec::old_only())?;
    let temporary = tempfile::tempdir()?;
    let (source, binary) = (temporary.path().join("main.rs"), temporary.path().join("hello"));
    // Threads, files, names and the clock: what made a program of Debian 12 ask for a newer libc.
    std::fs::write(
        &source,
        "fn main() { let a = std::thread::spawn(|| std::fs::metadata(\"/etc\").is_ok()).join().unwrap();\n\
         println!(\"{a} {:?}\", std::net::ToSocketAddrs::to_socket_addrs(\"localhost:25\").is_ok()); }\n",
    )?;
    let tree = libc_tree()?;
    let mut rustc = Command::new("rustc");
    rustc.arg(&source).arg("-o").arg(&binary);
    for argument in rehome_tests::lab::libc_link_arguments(&tree) {
        rustc.arg("-C").arg(format!("link-arg={argument}"));
    }
    run(&mut rustc)?;
    lab.old().push(&binary, "/root/hello")?;
    ensure!(lab.old().sh("/root/hello")?.trim() == "true true");
    Ok(())
}
