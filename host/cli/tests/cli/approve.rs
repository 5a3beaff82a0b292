//! `approve` shows everything, verbatim; nothing is granted without a yes.

use crate::rehome::{Here, components, phase};

fn here() -> Here {
    let hot = phase("mail-hot", "maildir", "copy", "pass = \"hot\"");
    let cold = phase("mail-cold", "maildir", "cutover", "pass = \"cold\"");
    Here::with_plan(&format!("{hot}{}{cold}", phase("confirm", "confirm", "cutover", "")))
}

#[test]
fn without_a_yes_nothing_is_granted() {
    let here = here();
    let said = here.rehome("approve");
    assert_eq!(said.code, 8);
    assert!(said.stderr.contains("`rehome approve --yes`"), "{}", said.stderr);
    assert!(!here.path("plan.lock").exists());
}

#[test]
fn every_request_is_shown_and_a_repetition_only_named() {
    insta::assert_snapshot!(here().rehome_with("approve --yes", &[("COLUMNS", "80")]).all());
}

#[test]
fn that_a_side_lets_the_other_one_in_is_shown_where_it_may_happen() {
    let shown = |old: &str, new: &str| {
        let here = here();
        let plan = std::fs::read_to_string(here.path("plan.toml")).unwrap();
        here.write("plan.toml", &plan.replace("folder = \"old\"", old).replace("folder = \"new\"", new));
        here.rehome_with("approve", &[("COLUMNS", "80")]).stdout.contains("authorized_keys of old")
    };
    let (old, new) = ("ssh = \"root@old.example\"", "ssh = \"root@new.example\"");
    assert!(shown(old, new));
    assert!(!shown(&format!("{old}\ndirect = false"), new));
    assert!(!shown(old, "folder = \"new\"") && !shown("folder = \"old\"", new));
}

#[test]
fn nothing_new_is_said_to_be_nothing_new() {
    let here = here();
    here.rehome("approve --yes");
    let said = here.rehome("approve");
    assert_eq!(said.code, 0);
    assert!(said.stderr.contains("nothing new"), "{}", said.stderr);
}

#[test]
fn a_changed_request_is_shown_before_and_after() {
    let here = here();
    here.rehome("approve --yes");
    let plan = std::fs::read_to_string(here.path("plan.toml")).unwrap();
    here.write("plan.toml", &plan.replacen("pass = \"hot\"", "pass = \"hot\"\npath = \"/srv/mail\"", 1));
    let refused = here.rehome("check");
    assert_eq!(refused.code, 8);
    assert!(refused.stderr.contains("/var/vmail") && refused.stderr.contains("/srv/mail"), "{}", refused.stderr);
    let said = here.rehome("approve");
    assert_eq!(said.code, 8);
    assert!(said.stdout.contains("changed\n      was: "), "{}", said.stdout);
}

#[test]
fn what_is_denied_is_not_granted() {
    let here = here();
    let said = here.rehome("approve --yes --deny mail-cold:sync.cold");
    assert_eq!(said.code, 0);
    assert!(said.stderr.contains("1 not granted"), "{}", said.stderr);
    let lock = std::fs::read_to_string(here.path("plan.lock")).unwrap();
    assert!(lock.contains("[phase.mail-cold.denied.\"sync.cold\"]"), "{lock}");
    assert_eq!(here.rehome("approve --yes --deny sync.coldd").code, 2);
}

#[test]
fn what_a_component_says_of_itself_cannot_reach_the_terminal() {
    let here = here();
    let mut bytes = std::fs::read(components().join("confirm.wasm")).unwrap();
    let about = b"Waits until the operator has said yes";
    let at = bytes.windows(about.len()).position(|window| window == about).expect("its manifest is in it");
    // TOML's own escapes: the manifest is valid, and holds a clear-screen sequence.
    let hostile = format!("{:!<width$}", "\\u001B[2J\\u202Egnihton\\u0007", width = about.len());
    bytes[at..at + about.len()].copy_from_slice(hostile.as_bytes());
    std::fs::create_dir(here.path("components")).unwrap();
    std::fs::write(here.path("components/confirm.wasm"), bytes).unwrap();
    let said = here.rehome("approve --yes --color always");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stdout.contains("\\u{1b}[2J\\u{202e}gnihton"), "{}", said.stdout);
    assert!(!said.stdout.contains("\x1b[2J") && !said.stdout.contains('\u{202e}') && !said.stdout.contains('\x07'));
}
