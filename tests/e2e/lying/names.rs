//! What else a tree of old may hold: devices, pipes, sockets and files that give rights, which do not move; names that a
//! terminal would obey, which move byte for byte and are never shown as they are.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec};
use rehome_tests::lab_tests;

use super::{TREE, all, mail, obeyed, safely};
use crate::rehome::{Reach, Rehome, mail_only, up_to};

pub(super) fn tests() -> Vec<Trial> {
    lab_tests![names_that_a_terminal_obeys_are_shown_as_escapes_and_devices_stay_behind]
}

/// In bash: a title, colours by a C1 control, text that runs backwards, two lines, bytes that are no text.
const NAMES: [&str; 5] =
    ["$'\\e]0;pwned\\a'", "$'\\xc2\\x9b31337m'", "$'\\xe2\\x80\\xaegnp.exe'", "$'a\\nb\\rc'", "$'\\xff\\x9b1m'"];
/// The first of them as escapes.
const SHOWN: [&str; 3] = ["\\u{1b}]0;pwned\\u{7}", "\\u{9b}31337m", "\\u{202e}gnp.exe"];

const SPECIAL: &str = "cd eva/Maildir/cur; mknod null c 1 3; mkfifo pipe; echo rights > rights; ln -s /etc/shadow gate; ln -s ../../../../../../etc far
    python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'; mkdir ../.Group; chmod 2770 ../.Group; cd ../../..
    trap 'chmod 6755 eva/Maildir/cur/rights' EXIT";

fn mailboxes() -> String {
    let mut lines = String::from(
        "mkdir -p eva/Maildir/cur eva/Maildir/new eva/Maildir/tmp; echo mail > eva/Maildir/cur/1.M1P1.old:2,S\n",
    );
    for name in NAMES {
        // A user, a folder and a mail of that name; a device, for rehome to speak of.
        lines += &format!(
            "for box in {name}/Maildir eva/Maildir/.{name}; do mkdir -p \"$box\"/cur \"$box\"/new \"$box\"/tmp; echo mail > \"$box\"/cur/{name}; done
             mknod eva/Maildir/cur/device{name} c 1 3\n"
        );
    }
    lines + SPECIAL
}

/// Accounts with such names, on both sides of an `@`.
const ROWS: &str = "INSERT INTO virtual_domains (name) VALUES ('lies.example'), (CONCAT(CHAR(27), '[31337m.example'));
    INSERT INTO virtual_users (domain_id, email, password) SELECT id, 'eva@lies.example', '{PLAIN}x' FROM virtual_domains WHERE name = 'lies.example';
    INSERT INTO virtual_users (domain_id, email, password) SELECT id, CONCAT(CHAR(27), ']0;pwned', CHAR(7), '@lies.example'), '{PLAIN}x' FROM virtual_domains WHERE name = 'lies.example';
    INSERT INTO virtual_users (domain_id, email, password) SELECT id, CONCAT(_utf8 x'e280ae', 'gnp@lies.example'), CONCAT('{PLAIN}', CHAR(27)) FROM virtual_domains WHERE name = 'lies.example';
    INSERT INTO virtual_aliases (domain_id, source, destination) SELECT id, CONCAT(_utf8 x'c29b', '31337m@lies.example'), 'eva@lies.example' FROM virtual_domains WHERE name = 'lies.example'";

fn names_that_a_terminal_obeys_are_shown_as_escapes_and_devices_stay_behind() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().without_rspamd().ssh_keys_on("new"))?;
    lab.old().sh(&mail(&mailboxes()))?;
    let done = lab.old().ssh_with_input(&["mysql", "--default-character-set=utf8", "mailserver"], ROWS.as_bytes())?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let plan = mail_only(&Reach::Ssh("old"), &Reach::Local)?;
    let rehome = Rehome::install(lab.new(), &up_to(&plan, "mail-hot")?)?;
    rehome.approve()?;

    let mut said = String::new();
    for words in [&["check"][..], &["preview"], &["--json", "check"], &["apply", "-vv"]] {
        said += &all(&safely(&rehome, words)?);
    }
    said += &on_a_terminal(&rehome, &["check"])?;
    said += &on_a_terminal(&rehome, &["apply", "--again", "mail-hot"])?;
    for words in [
        &["--json", "apply", "--again", "mail-hot"][..],
        &["verify"],
        &["--json", "verify"],
        &["status"],
        &["--json", "status"],
    ] {
        said += &all(&safely(&rehome, words)?);
    }
    said += &on_a_terminal(&rehome, &["verify"])?;
    // They were spoken of; under --json a `\` is written twice.
    for shown in SHOWN {
        ensure!(said.contains(&format!("device{shown}")), "`{shown}` is not said:\n{said}");
        ensure!(
            said.contains(&format!("device{}", shown.replace('\\', "\\\\"))),
            "`{shown}` is not said as JSON:\n{said}"
        );
    }
    for special in ["cur/null: it is a device", "cur/pipe: it is a device", "cur/socket: it is a device"] {
        ensure!(said.contains(special), "`{special}` is not said:\n{said}");
    }

    // What may move has moved, byte for byte.
    let list = |kinds: &str| format!("cd {TREE} && find . {kinds} -printf '%p %y %l\\0' | sort -z | od -An -v -tx1");
    let kept = "\\( -type f -o -type d -o -type l \\) ! -name 'dovecot*' ! -name maildirfolder ! -name subscriptions";
    let (old, new) = (lab.old().sh(&list(kept))?, lab.new().sh(&list(kept))?);
    ensure!(old == new && old.len() > 1000, "old has\n{old}\nand new\n{new}");
    let special = format!("find {TREE} ! -type f ! -type d ! -type l; find {TREE} -type f -perm /6000");
    ensure!(lab.old().sh(&special)?.lines().count() > 8, "old has nothing special");
    let there = lab.new().sh(&special)?;
    ensure!(there.is_empty(), "this should have stayed on old:\n{there}");

    // Dovecot on new gives some of them other names: whatever it says of them.
    rehome.plan(&up_to(&plan, "indexes-ahead")?)?;
    rehome.approve()?;
    for words in [&["--json", "apply", "-vv"][..], &["verify"], &["status"]] {
        safely(&rehome, words)?;
    }
    Ok(())
}

/// `rehome WORDS…` for a person: colours and moving lines are rehome's own, and nothing else is obeyed.
fn on_a_terminal(rehome: &Rehome<'_>, words: &[&str]) -> Result<String> {
    let line = format!("cd /root/rehome && TERM=xterm COLUMNS=100 ./rehome {}", words.join(" "));
    let done = rehome.machine.ssh(&["script", "-qec", &line, "/dev/null"])?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let drawn = said.matches("\x1b[").count();
    ensure!(drawn > 0, "no terminal: nothing was drawn\n{}", said.escape_debug());
    let plain = without_drawing(&said).with_context(|| said.escape_debug().to_string())?;
    ensure!(obeyed(&plain).is_none(), "rehome {words:?} said {:?}:\n{}", obeyed(&plain), said.escape_debug());
    Ok(plain)
}

/// Without colours, and what moves lines: SGR of one or two small numbers, cursor up, erase in line, show and hide the cursor.
fn without_drawing(said: &str) -> Result<String> {
    let mut parts = said.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic()).context("a sequence without its end")?;
        let (sequence, rest) = part.split_at(end + 1);
        let numbers = sequence[..end].trim_start_matches('?');
        let small = numbers.split(';').all(|number| number.len() <= 2);
        ensure!(
            small && matches!(&sequence[end..], "m" | "A" | "B" | "K" | "J" | "G" | "h" | "l"),
            "ESC [ {sequence} was drawn"
        );
        plain += rest;
    }
    Ok(plain.replace('\r', ""))
}
