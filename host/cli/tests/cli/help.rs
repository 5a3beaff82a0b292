//! `--help` is the documentation that everybody has: its text and the exit codes in it.

use crate::rehome::Here;

#[test]
fn help_says_what_there_is() {
    insta::assert_snapshot!(Here::new().rehome("--help").all());
}

#[test]
fn each_verb_has_its_help() {
    let here = Here::new();
    let texts: Vec<String> =
        ["approve", "check", "preview", "apply", "answer", "resolve", "status", "verify", "gate", "phase", "demo"]
            .iter()
            .map(|verb| {
                let said = here.rehome(&format!("{verb} --help"));
                assert_eq!(said.code, 0, "{verb}");
                // What every verb takes is in the help of rehome itself.
                let own = said.stdout.split("Options of every verb:").next().unwrap_or_default();
                format!("{}\n", own.trim_end())
            })
            .collect();
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn a_wrong_command_line_is_usage() {
    let here = Here::new();
    for line in ["", "aply", "apply --until cuttover", "apply --again a --until copy", "answer x y"] {
        assert_eq!(here.rehome(line).code, 2, "{line}");
    }
}
