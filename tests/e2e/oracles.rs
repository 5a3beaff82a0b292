//! The oracles and what they read: the seed holds what the first migration must move, and looking changes nothing.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::harness::eventually;
use rehome_tests::lab::{Lab, LabSpec};
use rehome_tests::lab_tests;
use rehome_tests::oracle::imap::ServerDump;
use rehome_tests::oracle::listing::{DOVECOT_CACHES, Listing, listing};
use rehome_tests::oracle::services::services;
use rehome_tests::oracle::{certificate, database, imap, redis, roundcube, rspamd, same};
use rehome_tests::seed::{accounts, user};
use rehome_tests::traffic::Traffic;
use std::collections::BTreeSet;

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![
        the_seed_holds_what_must_move,
        looking_changes_nothing,
        each_oracle_sees_a_change,
        the_oracle_of_roundcube_sees_a_change,
        the_oracle_of_redis_sees_a_change,
        the_oracle_of_rspamd_sees_a_change,
        the_oracle_of_certificates_sees_a_change,
        mail_that_got_a_250_is_found_once,
    ]
}

fn the_seed_holds_what_must_move() -> Result<()> {
    let lab = Lab::start(&LabSpec::old_only())?;
    let seen = imap::dump(&lab, lab.old(), &accounts().users)?;
    ensure!(seen.0.len() == 30 && seen.count() >= 3000, "{} users, {} mails", seen.0.len(), seen.count());
    check_mail(&seen)?;
    check_files(&listing(lab.old(), &["/var/vmail"], &[])?)
}

fn check_mail(seen: &ServerDump) -> Result<()> {
    let anna = &seen.0["anna@example.org"];
    for folder in ["Entw&APw-rfe &- Notizen", "With space.and more ", "deep.a.b.c.d.e", "&ZeVnLIqe-", "Lists"] {
        let found = anna.folders.get(folder).with_context(|| format!("no folder {folder}"))?;
        ensure!(!found.messages.is_empty(), "nothing in {folder}");
    }
    ensure!(anna.subscriptions.contains("R&-D"));
    let flags: BTreeSet<&str> = seen.messages().flat_map(|(_, _, m)| m.flags.iter().map(String::as_str)).collect();
    for flag in [r"\Seen", r"\Answered", r"\Flagged", r"\Deleted", r"\Draft", "$Forwarded", "Work"] {
        ensure!(flags.contains(flag), "no message has {flag}");
    }
    let dates: BTreeSet<i64> = seen.messages().map(|(_, _, m)| m.date).collect();
    ensure!(dates.len() > 2000, "{} dates", dates.len());
    let inbox = &anna.folders["INBOX"];
    ensure!(inbox.messages.len() + 1 < inbox.uidnext as usize, "the UIDs have no gaps");
    Ok(())
}

fn check_files(files: &Listing) -> Result<()> {
    let odd = [r"/.Odd\x0aname/cur/", r".h\xf6st.lab:2,S", r"/backup \xfc 2009/", r"notes \xff.txt", r".new\x0aline."];
    for part in odd {
        ensure!(files.0.keys().any(|path| path.contains(part)), "no file has {part} in its name");
    }
    let linked = files.0.values().filter(|entry| entry.links > 1).count();
    ensure!(linked > 300, "{linked} names of files with several");
    let sieve = &files.0["/var/vmail/example.org/anna/.dovecot.sieve"];
    ensure!(sieve.target.as_deref() == Some("sieve/main.sieve"));
    ensure!(files.0.contains_key("/var/vmail/example.org/anna/.dovecot.svbin"));
    Ok(())
}

fn looking_changes_nothing() -> Result<()> {
    let lab = Lab::start(&LabSpec::old_only())?;
    let old = lab.old();
    let files = || listing(old, &["/etc", "/var/vmail", "/root", "/home"], DOVECOT_CACHES);
    let (files_before, services_before) = (files()?, services(old)?);
    let (rows, mail) = (database::dump(old, "mailserver")?, imap::dump(&lab, old, &accounts().users)?);
    let tables = || database::dump(old, "roundcube");
    let (webmail, keys) = (tables()?, redis::keys(old, 0)?);
    roundcube::people(old, "old.lab.test")?;
    rspamd::learned_when_up(old)?;
    certificate::served(&lab, old, certificate::Service::Imaps, "imap.lab.test")?;
    same("Roundcube's database", &database::diff(&webmail, &tables()?))?;
    same("Redis", &keys.with_prefix("RS").diff(&redis::keys(old, 0)?.with_prefix("RS")))?;
    same("mail", &mail.diff(&imap::dump(&lab, old, &accounts().users)?))?;
    same("database", &database::diff(&rows, &database::dump(old, "mailserver")?))?;
    same("files", &files_before.diff(&files()?))?;
    same("services", &services_before.diff(&services(old)?))
}

fn each_oracle_sees_a_change() -> Result<()> {
    let lab = Lab::start(&LabSpec::old_only())?;
    let old = lab.old();
    let david = [user("david@example.org").clone()];
    let files = || listing(old, &["/var/vmail"], DOVECOT_CACHES);
    let (files_before, services_before) = (files()?, services(old)?);
    let (rows, mail) = (database::dump(old, "mailserver")?, imap::dump(&lab, old, &david)?);
    old.sh("systemctl restart dovecot
        mysql mailserver -e \"UPDATE virtual_users SET quota = 5 WHERE email = 'anna@example.org'\"
        cd /var/vmail/example.org/david/Maildir/cur
        find . -type f -links 1 | sort > /root/names
        touch -d '2001-02-03' \"$(head -1 /root/names)\"
        rm \"$(tail -1 /root/names)\"")?;
    let differences = files_before.diff(&files()?);
    ensure!(differences.len() == 2, "{differences:?}");
    let differences = services_before.diff(&services(old)?);
    ensure!(differences.len() == 1 && differences[0].contains("dovecot.service"), "{differences:?}");
    ensure!(database::diff(&rows, &database::dump(old, "mailserver")?).len() == 2);
    let differences = mail.lost(&imap::dump(&lab, old, &david)?);
    ensure!(differences.iter().any(|line| line.contains("missing afterwards")), "{differences:?}");
    Ok(())
}

fn the_oracle_of_roundcube_sees_a_change() -> Result<()> {
    let lab = Lab::start(&LabSpec::old_only())?;
    let old = lab.old();
    let people = || roundcube::people(old, "old.lab.test");
    let before = people()?;
    same("nothing was changed", &before.diff(&people()?))?;
    let changes = [
        ("UPDATE contacts SET name = 'Änne X' WHERE email = 'contact0@elsewhere.lab.test' LIMIT 1", 2),
        ("DELETE FROM contactgroupmembers WHERE contactgroup_id = 1 LIMIT 1", 2),
        ("DELETE FROM identities WHERE identity_id = 2", 1),
        ("UPDATE users SET preferences = '' WHERE username = 'vera@shop.example'", 1),
        ("UPDATE contacts SET del = 1 WHERE del = 0 ORDER BY contact_id DESC LIMIT 1", 2),
        ("INSERT INTO searches (user_id, type, name) VALUES (1, 2, 'neu')", 1),
        ("UPDATE users SET mail_host = 'new.lab.test' WHERE username = 'john@example.net'", 1),
    ];
    for (change, lines) in changes {
        let before = people()?;
        old.ssh_with_input(&["mysql", "--default-character-set=utf8", "roundcube"], change.as_bytes())?;
        let differences = before.diff(&people()?);
        ensure!(differences.len() == lines, "{change}: {differences:#?}");
    }
    ensure!(roundcube::hosts(old)?.into_iter().eq([("new.lab.test".to_owned(), 1), ("old.lab.test".to_owned(), 5)]));
    Ok(())
}

fn the_oracle_of_redis_sees_a_change() -> Result<()> {
    let lab = Lab::start(&LabSpec::new_only())?;
    let new = lab.new();
    new.sh("redis-cli -n 3 hset h b 2 a 1; redis-cli -n 3 sadd s x y; redis-cli -n 3 zadd z 1 m
        redis-cli -n 3 rpush l 1 2; redis-cli -n 3 xadd x '1-1' f v; redis-cli -n 3 set t 1 ex 1000
        printf 'one \\xff' | redis-cli -n 3 -x set \"$(printf 'a b\\\\\\n\\377')\"")?;
    let before = redis::keys(new, 3)?;
    let kinds: Vec<&str> = before.0.values().map(|key| key.kind.as_str()).collect();
    ensure!(kinds == ["string", "hash", "list", "set", "string", "stream", "zset"], "{before:#?}");
    ensure!(before.0.contains_key(r"a\x20b\x5c\x0a\xff") && before.0["t"].expires && !before.0["s"].expires);
    same("nothing was changed", &before.diff(&redis::keys(new, 3)?))?;
    // The same content, put in in another order, is the same.
    new.sh("redis-cli -n 3 del h s; redis-cli -n 3 hset h a 1 b 2; redis-cli -n 3 sadd s y x")?;
    same("only the order was changed", &before.diff(&redis::keys(new, 3)?))?;
    for change in ["hset h a 2", "srem s x", "zadd z 2 m", "rpush l 3", "xadd x '2-1' f v", "persist t", "set new 1"] {
        let before = redis::keys(new, 3)?;
        new.sh(&format!("redis-cli -n 3 {change}"))?;
        let differences = before.diff(&redis::keys(new, 3)?);
        ensure!(differences.len() == 1, "{change}: {differences:?}");
    }
    ensure!(redis::keys(new, 0)?.0.contains_key("lab:own"));
    Ok(())
}

fn the_oracle_of_rspamd_sees_a_change() -> Result<()> {
    let lab = Lab::start(&LabSpec::old_only())?;
    let before = rspamd::learned_when_up(lab.old())?;
    ensure!((before.ham, before.spam) == (25, 25), "{before:?}");
    lab.old()
        .sh("printf 'Subject: one more\\n\\n%s\\n' \"$(seq -f 'word%.0f' 40 | tr '\\n' ' ')\" | rspamc learn_spam
        systemctl restart rspamd")?;
    eventually("rspamd has looked", || Ok(rspamd::learned_when_up(lab.old())?.spam == 26))?;
    ensure!(rspamd::learned(lab.old())?.ham == 25);
    Ok(())
}

fn the_oracle_of_certificates_sees_a_change() -> Result<()> {
    let lab = Lab::start(&LabSpec::old_only())?;
    let seen = || certificate::served(&lab, lab.old(), certificate::Service::Imaps, "mail.lab.test");
    let files = || listing(lab.old(), &["/etc/letsencrypt"], &[]);
    let (before, files_before) = (seen()?, files()?);
    ensure!(before == seen()?);
    // Back to the certificate before the last renewal.
    lab.old().sh("cd /etc/letsencrypt/live/mail.lab.test
        for item in cert chain fullchain privkey; do ln -sf ../../archive/mail.lab.test/${item}1.pem $item.pem; done
        systemctl reload dovecot")?;
    eventually("Dovecot shows the other one", || Ok(seen()?.fingerprint != before.fingerprint))?;
    let differences = files_before.diff(&files()?);
    let targets = differences.iter().filter(|line| line.contains("target: ")).count();
    ensure!(targets == 4, "{differences:#?}");
    lab.old().sh("systemctl stop dovecot.socket dovecot.service")?;
    ensure!(seen().is_err(), "a server that is not there shows a certificate");
    Ok(())
}

fn mail_that_got_a_250_is_found_once() -> Result<()> {
    let lab = Lab::start(&LabSpec::old_only())?;
    let recipients = ["anna@example.org", "info@example.org", "vera@shop.example", "nobody@example.org"];
    let traffic = Traffic::start(&lab, lab.old(), "t1", 20.0, &recipients)?;
    let users = ["anna@example.org", "vera@shop.example"].map(|email| user(email).clone());
    let mut seen = imap::dump(&lab, lab.old(), &users)?;
    eventually("some of it arrives", || {
        seen = imap::dump(&lab, lab.old(), &users)?;
        Ok(seen.count_of_subject("traffic-t1-5") == 1)
    })?;
    let sent = traffic.stop()?;
    ensure!(sent.accepted().count() >= 4);
    ensure!(sent.0.iter().any(|answer| answer.code == 550), "unknown users are refused: {:?}", sent.0);
    eventually("all of it arrives", || {
        seen = imap::dump(&lab, lab.old(), &users)?;
        Ok(sent.accepted().all(|answer| seen.count_of_subject(&answer.token) > 0))
    })?;
    for answer in sent.accepted() {
        ensure!(seen.count_of_subject(&answer.token) == 1, "{answer:?}");
    }
    Ok(())
}
