//! The oracles and what they read: the seed holds what the first migration must move, and looking changes nothing.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::harness::eventually;
use rehome_tests::lab::{Lab, LabSpec};
use rehome_tests::lab_tests;
use rehome_tests::oracle::imap::ServerDump;
use rehome_tests::oracle::listing::{DOVECOT_CACHES, Listing, listing};
use rehome_tests::oracle::services::services;
use rehome_tests::oracle::{database, imap, same};
use rehome_tests::seed::{accounts, user};
use rehome_tests::traffic::Traffic;
use std::collections::BTreeSet;

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![
        the_seed_holds_what_must_move,
        looking_changes_nothing,
        each_oracle_sees_a_change,
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
