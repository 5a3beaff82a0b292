//! How xtask calls cargo: always for the same selection of crates, so that no library is compiled twice with other features.
//! A bench of one crate alone is the exception: it is there without the sandbox having to be compiled.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

/// The workspace's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Where cargo builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The whole workspace but xtask itself, which is running.
const WORKSPACE: [&str; 3] = ["--workspace", "--exclude", "xtask"];

fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).arg(subcommand);
    command
}

/// `cargo SUBCOMMAND` for the whole workspace.
pub fn workspace(subcommand: &str) -> Command {
    let mut command = cargo(subcommand);
    command.args(WORKSPACE);
    command
}

/// Runs a command to its end; an error if it fails.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !status.success() {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        bail!("`{} {}` failed ({status})", command.get_program().to_string_lossy(), words.join(" "));
    }
    Ok(())
}

/// Builds the `rehome` binary as the tests do, and says where it is.
pub fn rehome() -> anyhow::Result<PathBuf> {
    run(&mut workspace("build"))?;
    Ok(target().join("debug/rehome"))
}

/// Every binary and one benchmark of the workspace, for [`release_bench`]: not `--benches`, which are the tests of each library
/// as well.
pub fn everything(bench: &'static str) -> Vec<&'static str> {
    [WORKSPACE.as_slice(), &["--bins", "--bench", bench]].concat()
}

/// Builds what is selected for release, in one call, and says where the benchmark `name` is.
/// (`cargo bench` after `cargo build` would link it all a second time.)
pub fn release_bench(selected: &[&str], name: &str) -> anyhow::Result<PathBuf> {
    let mut command = cargo("build");
    command.args(selected).args(["--release", "--message-format", "json-render-diagnostics"]);
    let output = command.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "the release build failed ({})", output.status);
    let text = String::from_utf8(output.stdout)?;
    let messages = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let built = messages
        .filter(|message| message["target"]["name"] == name && message["target"]["kind"][0] == "bench")
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back();
    built.with_context(|| format!("cargo built no benchmark `{name}`"))
}

/// Builds the `rehome` binary for release, linked as `environment` says, and says where it is.
pub fn release_rehome(environment: Vec<(&'static str, OsString)>) -> anyhow::Result<PathBuf> {
    run(workspace("build").envs(environment).args(["--release", "--bins"]))?;
    Ok(target().join("release/rehome"))
}

/// A test program, as `cargo test` would run it.
pub struct Program {
    /// "e2e"
    pub name: String,
    path: PathBuf,
    /// its package's
    folder: PathBuf,
}

impl Program {
    fn command(&self, environment: &[(&'static str, OsString)]) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder).envs(environment.iter().cloned());
        command
    }

    /// Runs it to its end.
    pub fn run(&self, environment: &[(&'static str, OsString)]) -> anyhow::Result<()> {
        eprintln!("     Running {} ({})", self.name, self.path.display());
        run(&mut self.command(environment))
    }

    /// The same; what it prints is shown once it is over.
    pub fn run_quietly(&self, environment: &[(&'static str, OsString)]) -> anyhow::Result<()> {
        let output =
            self.command(environment).output().with_context(|| format!("cannot start {}", self.path.display()))?;
        let said = [output.stdout, output.stderr].concat();
        println!("     Ran {} ({})\n{}", self.name, self.path.display(), String::from_utf8_lossy(&said));
        ensure!(output.status.success(), "the tests of `{}` failed ({})", self.name, output.status);
        Ok(())
    }
}

/// The workspace's test programs, built.
pub fn test_programs(environment: &[(&'static str, OsString)]) -> anyhow::Result<Vec<Program>> {
    let mut command = workspace("test");
    command.envs(environment.iter().cloned()).args(["--no-run", "--message-format", "json-render-diagnostics"]);
    let output = command.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "the tests were not built ({})", output.status);
    let text = String::from_utf8(output.stdout)?;
    let messages = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let tests = messages.filter(|message| message["profile"]["test"] == true);
    let program = |message: serde_json::Value| {
        let folder = Path::new(message["manifest_path"].as_str()?).parent()?.to_path_buf();
        let (name, path) = (message["target"]["name"].as_str()?, message["executable"].as_str()?);
        Some(Program { name: name.to_owned(), path: path.into(), folder })
    };
    Ok(tests.filter_map(program).collect())
}
