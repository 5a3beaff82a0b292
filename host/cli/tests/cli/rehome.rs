//! Runs the binary in a folder of its own, and blanks out what differs from run to run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder to type in.
pub struct Here(tempfile::TempDir);

/// What came of it.
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Here {
    pub fn new() -> Here {
        Here(tempfile::Builder::new().prefix("rh-").tempdir().unwrap())
    }

    /// A folder with a plan between two folders that are there.
    pub fn with_plan(phases: &str) -> Here {
        components();
        let here = Here::new();
        for path in ["old/var/vmail", "new/var/vmail"] {
            std::fs::create_dir_all(here.path(path)).unwrap();
        }
        here.write(
            "plan.toml",
            &format!(
                "[migration]\nname = \"a test\"\n\n[old]\nfolder = \"old\"\n\n[new]\nfolder = \"new\"\n\n{phases}"
            ),
        );
        here
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    pub fn write(&self, below: &str, text: &str) {
        std::fs::write(self.path(below), text).unwrap();
    }

    /// Types `rehome …`.
    pub fn rehome(&self, line: &str) -> Said {
        self.rehome_with(line, &[])
    }

    pub fn rehome_with(&self, line: &str, environment: &[(&str, &str)]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rehome"));
        command.args(line.split_whitespace()).current_dir(self.0.path()).stdin(Stdio::null());
        command.env_remove("REHOME_COMPONENTS").env_remove("NO_COLOR").env_remove("COLUMNS");
        // Compiled once for all tests, not once for each.
        command.env("REHOME_AOT", Path::new(env!("CARGO_TARGET_TMPDIR")).join("aot"));
        command.envs(environment.iter().copied());
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes: Vec<u8>| self.blanked(&String::from_utf8_lossy(&bytes));
        Said { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
    }

    /// What is the same each time.
    fn blanked(&self, text: &str) -> String {
        let real = self.0.path().canonicalize().unwrap();
        let mut text = text.to_string();
        for path in [real.as_path(), self.0.path()] {
            text = text.replace(&path.display().to_string(), "[HERE]");
        }
        let beside = Path::new(env!("CARGO_BIN_EXE_rehome")).parent().unwrap();
        text = text.replace(&beside.display().to_string(), "[BESIDE]");
        text = text.replace(&beside.parent().unwrap().display().to_string(), "[ABOVE]");
        after(&moments(&text), "sha256:", |c| c.is_ascii_hexdigit(), "[DIGEST]")
    }
}

/// Everything of a kind that follows a word, blanked.
fn after(text: &str, word: &str, kind: impl Fn(char) -> bool, blank: &str) -> String {
    let mut pieces = text.split(word);
    let mut out = pieces.next().unwrap_or_default().to_string();
    for piece in pieces {
        out.push_str(word);
        let rest = piece.trim_start_matches(&kind);
        if rest.len() < piece.len() {
            out.push_str(blank);
        }
        out.push_str(rest);
    }
    out
}

/// "2026-11-22 03:04 UTC" and "2026-11-22 03:04:05 UTC".
fn moments(text: &str) -> String {
    let mut out = text.to_string();
    while let Some(end) = out.find(" UTC") {
        let begin = out[..end].rfind(|c: char| !(c.is_ascii_digit() || "-: ".contains(c))).map_or(0, |at| at + 1);
        let begin = begin + (out[begin..end].len() - out[begin..end].trim_start().len());
        out.replace_range(begin..end + 4, "[MOMENT]");
    }
    out
}

/// The components that come with rehome: where the binary looks for them, beside its folder.
pub fn components() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_rehome")).parent().unwrap().join("../components");
    for name in ["confirm", "database", "maildir", "preflight"] {
        let file = folder.join(format!("{name}.wasm"));
        assert!(
            file.is_file(),
            "{} is not there: `cargo xtask build` makes it, and `cargo xtask test` does that first",
            file.display()
        );
    }
    folder
}

impl Said {
    /// Both streams and the exit code, for a snapshot.
    pub fn all(&self) -> String {
        format!("{}--- talk\n{}--- exit code {}\n", self.stdout, self.stderr, self.code)
    }
}

/// A phase of a plan.
pub fn phase(id: &str, component: &str, stage: &str, config: &str) -> String {
    let config = if config.is_empty() { String::new() } else { format!("[phase.config]\n{config}\n") };
    format!("[[phase]]\nid = \"{id}\"\ncomponent = \"{component}\"\nstage = \"{stage}\"\n{config}\n")
}
