//! An old side that lies: in what its hand says of files, by links that somebody swaps in, by names that a terminal obeys, in
//! its queue, its database and its DNS. Whatever it says, nothing outside the granted trees changes (the whole disks are
//! compared), and nothing of it reaches the terminal but as escapes. Each lie leaves a mark that it was really told.

mod answers;
mod hand;
mod links;
mod names;
mod rows;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::Machine;

use crate::rehome::{Ran, Reach, Rehome, mail_only};

pub(crate) fn tests() -> Vec<Trial> {
    [hand::tests(), links::tests(), names::tests(), answers::tests(), rows::tests()].into_iter().flatten().collect()
}

/// Where the mail is that these tests move: below `/var/vmail`, and nothing else of it is granted.
const TREE: &str = "/var/vmail/lies.example";
/// Where rehome sets aside what is replaced: beside the tree.
const ASIDE: &str = "/var/.rehome-aside";
/// Where the record is of whose a side is.
const RECORDS: &str = "/var/lib/rehome";
/// What rehome writes where it runs.
const OWN: [&str; 2] = ["/root/rehome/.rehome", "/root/rehome/plan.lock"];

/// A plan that moves this domain's mail, and nothing else.
fn plan(old: &Reach<'_>, new: &Reach<'_>) -> Result<String> {
    let plan = mail_only(old, new)?;
    let head = plan.split("[[phase]]").next().context("a plan without a head")?;
    let config =
        "pass = \"hot\"\npasses = 1\nverify = \"full\"\ndelete-limit = \"100%\"\ndomains = [\"lies.example\"]\n";
    Ok(format!("{head}[[phase]]\nid = \"mail\"\ncomponent = \"maildir\"\nstage = \"copy\"\n[phase.config]\n{config}"))
}

/// A shell's lines that make folders and files of vmail's below [`TREE`].
fn mail(lines: &str) -> String {
    format!("umask 022; mkdir -p {TREE}; cd {TREE}; {lines}\nchown -hR vmail:vmail {TREE}")
}

/// What a terminal would obey, or hide: control characters but for line feeds, marks of direction, bytes that are no text.
fn obeyed(text: &str) -> Option<char> {
    let turns =
        |c| matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}');
    text.chars().find(|&c| c.is_control() && c != '\n' || turns(c) || matches!(c, '\u{feff}' | '\u{fffd}'))
}

/// Runs it, and looks at all it said.
fn safely(rehome: &Rehome<'_>, words: &[&str]) -> Result<Ran> {
    let ran = rehome.run(words)?;
    for said in [&ran.stdout, &ran.stderr] {
        ensure!(obeyed(said).is_none(), "rehome {words:?} said {:?}:\n{}", obeyed(said), said.escape_debug());
    }
    Ok(ran)
}

fn all(ran: &Ran) -> String {
    format!("{}{}", ran.stdout, ran.stderr)
}

/// Puts a file on a machine, to be run there.
fn put(machine: &Machine, path: &str, content: &str) -> Result<()> {
    let done = machine.ssh_with_input(&["tee", path], content.as_bytes())?;
    ensure!(done.status.success(), "cannot write {path} on {}", machine.name());
    machine.sh(&format!("chmod 755 {path}")).map(drop)
}
