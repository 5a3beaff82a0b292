//! The demo's mail: maildirs as years of use leave them. Nested folders, names in modified UTF-7, with spaces, a line feed, a byte
//! that is not UTF-8; flags, keywords, hard links, dates, UID lists. The same each time.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::accounts::users;
use super::random::Random;

const MAILS: usize = 3000;
/// 2010-01-01.
const FIRST: u64 = 1_262_304_000;
/// Every user has some of these, below the inbox.
const FOLDERS: [&[u8]; 9] = [
    b".Sent",
    b".Archive",
    b".Archive.2019",
    b".Archive.2020.Q1",
    b".Entw&APw-rfe &- Notizen",
    b".With space.and more",
    b".&ZeVnLIqe-",
    b".Odd\nname",
    b".B\xfccher",
];
const WORDS: [&str; 16] = [
    "meeting",
    "garden",
    "invoice",
    "train",
    "ticket",
    "summer",
    "answer",
    "question",
    "letter",
    "order",
    "price",
    "move",
    "Gr\u{fc}\u{df}e",
    "caf\u{e9}",
    "\u{43c}\u{43e}\u{441}\u{43a}\u{432}\u{430}",
    "\u{6771}\u{4eac}",
];

/// Fills `var/vmail` of a side. Answers how many mails there are.
pub fn fill(side: &Path) -> io::Result<usize> {
    let mut random = Random::new(20_240_501);
    let users = users();
    let mut written = 0;
    for (number, (name, domain)) in users.iter().enumerate() {
        let maildir = maildir(side, name, domain);
        let folders = folders(&maildir, number)?;
        // The first users have most of the mail, as everywhere.
        let share = MAILS / users.len() + if number < 5 { MAILS / 10 } else { 0 };
        let share = if number >= 5 { share.saturating_sub(MAILS / 2 / (users.len() - 5)) } else { share };
        let mut lists: Vec<Vec<String>> = vec![vec![]; folders.len()];
        for at in 0..share {
            let folder = if at % 2 == 0 { 0 } else { random.below(folders.len()) };
            let base = one(&folders[folder], &mut random, written, &format!("{name}@{domain}"))?;
            lists[folder].push(base);
            written += 1;
        }
        for (folder, list) in folders.iter().zip(&lists) {
            uidlist(folder, list, number)?;
        }
        fs::write(maildir.join("subscriptions"), "V\t2\n\nSent\nArchive\nArchive\t2019\n")?;
    }
    Ok(written)
}

fn maildir(side: &Path, name: &str, domain: &str) -> PathBuf {
    side.join("var/vmail").join(domain).join(name).join("Maildir")
}

/// The inbox and its folders.
fn folders(maildir: &Path, number: usize) -> io::Result<Vec<PathBuf>> {
    let own = FOLDERS.iter().enumerate().filter(|(at, _)| number < 3 || (at + number).is_multiple_of(3));
    let own = own.map(|(_, name)| maildir.join(OsStr::from_bytes(name)));
    let all: Vec<PathBuf> = std::iter::once(maildir.to_path_buf()).chain(own).collect();
    for folder in &all {
        for below in ["cur", "new", "tmp"] {
            fs::create_dir_all(folder.join(below))?;
        }
        if folder != maildir {
            fs::write(folder.join("maildirfolder"), "")?;
        }
    }
    fs::write(maildir.join("dovecot-keywords"), "0 $Forwarded\n1 NonJunk\n")?;
    Ok(all)
}

/// One mail. Answers its base name.
fn one(folder: &Path, random: &mut Random, number: usize, to: &str) -> io::Result<String> {
    let text = message(random, number, to);
    let at = FIRST + number as u64 * 104_729 % 440_000_000;
    let base = format!(
        "{at}.M{}P{number}.old,S={},W={}",
        number * 37 % 1_000_000,
        text.len(),
        text.len() + text.matches('\n').count()
    );
    let unseen = random.below(12) == 0;
    let path = if unseen {
        folder.join("new").join(&base)
    } else {
        folder.join("cur").join(format!("{base}:2,{}", flags(random)))
    };
    fs::write(&path, text)?;
    fs::File::options().write(true).open(&path)?.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(at))?;
    if random.below(40) == 0 {
        // A copy within the mailbox, as Dovecot makes it: a hard link.
        fs::hard_link(&path, folder.join("cur").join(format!("{at}.M{number}P1.copy,S={number}:2,S")))?;
    }
    Ok(base)
}

/// In the order of ASCII, as maildir asks for; lower case: keywords.
fn flags(random: &mut Random) -> String {
    "DFRSTab".chars().filter(|flag| random.below(if *flag == 'S' { 2 } else { 9 }) == 0).collect()
}

fn message(random: &mut Random, number: usize, to: &str) -> String {
    let mut text = format!(
        "From: sender{}@elsewhere.example\nTo: {to}\nSubject: mail {number}\nMessage-ID: <{number}@demo.example>\n\
         Date: Tue, 02 Jan 2018 10:{:02}:{:02} +0100\nContent-Type: text/plain; charset=utf-8\n\n",
        number % 7,
        number / 60 % 60,
        number % 60
    );
    for _ in 0..[1, 3, 12, 40, 160][random.below(5)] {
        for _ in 0..9 {
            text.push_str(random.of(&WORDS));
            text.push(' ');
        }
        text.push('\n');
    }
    text
}

/// Dovecot's list of UIDs, version 3: what clients know a mail by.
fn uidlist(folder: &Path, bases: &[String], number: usize) -> io::Result<()> {
    let mut text = format!("3 V{} N{} G{:032x}\n", FIRST + number as u64, bases.len() + 1, number + 1);
    for (at, base) in bases.iter().enumerate() {
        text.push_str(&format!("{} :{base}\n", at + 1));
    }
    fs::write(folder.join("dovecot-uidlist"), text)
}

/// What happens on old while the migration waits. Answers it in words.
pub fn goes_on(side: &Path) -> io::Result<String> {
    let mut random = Random::new(99);
    let users = users();
    let mut arrived = 0;
    for (name, domain) in users.iter().step_by(2) {
        let maildir = maildir(side, name, domain);
        let text = message(&mut random, 900_000 + arrived, &format!("{name}@{domain}"));
        let at = FIRST + 440_000_000 + arrived as u64;
        fs::write(maildir.join("new").join(format!("{at}.M{arrived}P9.old,S={}", text.len())), text)?;
        arrived += 1;
    }
    let (name, domain) = users[0];
    let inbox = maildir(side, name, domain).join("cur");
    let mut read: Vec<PathBuf> = fs::read_dir(&inbox)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    read.sort();
    let mut flagged = 0;
    for path in read.iter().filter(|path| path.as_os_str().as_bytes().ends_with(b":2,")).take(5) {
        let mut seen = path.clone().into_os_string();
        seen.push("S");
        fs::rename(path, seen)?;
        flagged += 1;
    }
    if let Some(path) = read.last() {
        fs::remove_file(path)?;
    }
    Ok(format!("{arrived} mails arrive, {flagged} are read, 1 is deleted"))
}
