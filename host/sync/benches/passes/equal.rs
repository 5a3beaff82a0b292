//! Whether a target is what its source is, by a judge that is not ours: `rsync -nci`, which reads every file of both.

use std::path::Path;
use std::process::Command;

use crate::peers::LEFT_OUT;

/// Files, folders, links, times to the nanosecond, modes, owners, attributes.
pub fn wholly(source: &Path, target: &Path) {
    must_be(source, target, &["-aHAXnci", "--modify-window=-1"]);
}

/// What can be asked of any tool: times to the second, as tar keeps them, and not those of folders, which who works in parts
/// leaves behind.
pub fn in_files(source: &Path, target: &Path) {
    must_be(source, target, &["-anci", "--omit-dir-times"]);
}

fn must_be(source: &Path, target: &Path, options: &[&str]) {
    let mut command = Command::new("rsync");
    command.args(options).arg("--delete");
    command.args(LEFT_OUT.map(|pattern| format!("--exclude={pattern}")));
    command.arg(format!("{}/", source.display())).arg(format!("{}/", target.display()));
    let output = command.output().expect("rsync");
    let text = String::from_utf8_lossy(&output.stdout);
    let left: Vec<&str> = text.lines().filter(|line| !line.ends_with(" ./")).take(10).collect();
    assert!(
        output.status.success() && left.is_empty(),
        "{} is not as its source:\n{}",
        target.display(),
        left.join("\n")
    );
}
