//! `rehome gate`: a script for the side, made of what is approved; nothing is reached for it.

use std::process::{Command, Stdio};

use crate::rehome::{Here, phase};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJkzr5sLwrvTlqGb4pQp0jx2aDlwTj6N7m4jVb2m3xyz rehome@new\n";

fn here() -> Here {
    let here = Here::with_plan(&phase("mail", "maildir", "copy", "path = \"/var/vmail\"\npass = \"hot\""));
    let plan = std::fs::read_to_string(here.path("plan.toml")).unwrap();
    here.write("plan.toml", &plan.replace("folder = \"old\"", "ssh = \"admin@old.example.org\""));
    here.write("key.pub", KEY);
    here
}

/// Whether sh takes the script, and perl the program in it.
fn is_sound(here: &Here, script: &str) {
    here.write("gate.sh", script);
    let sh = Command::new("sh").arg("-n").arg(here.path("gate.sh")).output().unwrap();
    assert!(sh.status.success(), "{}", String::from_utf8_lossy(&sh.stderr));
    let program: String = script
        .lines()
        .skip_while(|line| !line.contains("<<'END-OF-REHOME-GATE"))
        .skip(1)
        .take_while(|line| !line.starts_with("END-OF-REHOME-GATE"))
        .flat_map(|line| [line, "\n"])
        .collect();
    here.write("gate.pl", &program);
    let perl = Command::new("/usr/bin/perl").arg("-c").arg(here.path("gate.pl")).stdin(Stdio::null()).output().unwrap();
    assert!(perl.status.success(), "{}", String::from_utf8_lossy(&perl.stderr));
}

#[test]
fn a_gate_is_made_of_what_is_approved() {
    let here = here();
    assert_eq!(here.rehome("gate old --key key.pub").code, 8, "nothing is approved");
    assert_eq!(here.rehome("approve --yes").code, 0);
    let said = here.rehome("gate old --key key.pub");
    assert_eq!(said.code, 0, "{}", said.stderr);
    is_sound(&here, &said.stdout);
    for words in ["'/var/vmail'", "user='admin'", KEY.trim(), "/usr/bin/sudo -n -- ", "only=restrict"] {
        assert!(said.stdout.contains(words), "`{words}` is not in it");
    }
    assert!(said.stderr.contains("ssh root@old sh"), "{}", said.stderr);
    let as_root = here.rehome("gate old --key key.pub --user root").stdout;
    assert!(as_root.contains("user='root'") && !as_root.contains("sudoers"), "{as_root}");
}

#[test]
fn a_gate_can_be_taken_away() {
    let here = here();
    let said = here.rehome("gate old --remove");
    assert_eq!(said.code, 0, "{}", said.stderr);
    is_sound(&here, &said.stdout);
    assert!(said.stdout.contains("are gone"), "{}", said.stdout);
}

#[test]
fn what_is_no_key_and_what_is_no_side_over_ssh_is_told_by_name() {
    let here = here();
    assert_eq!(here.rehome("approve --yes").code, 0);
    here.write("private", "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    for (line, words) in [
        ("gate old --key private", "one line like that of"),
        ("gate old --key nowhere.pub", "nowhere.pub"),
        ("gate new --key key.pub", "[new] is not reached over ssh"),
        ("gate old --key key.pub --user x;y", "letters, digits"),
        ("gate old", "--key"),
    ] {
        let said = here.rehome(line);
        assert_eq!(said.code, 2, "{line}: {}", said.stderr);
        assert!(said.stderr.contains(words), "{line}: {}", said.stderr);
    }
}
