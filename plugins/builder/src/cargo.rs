//! Crates to core modules: one call of cargo for all crates of a workspace, with nothing of the caller's environment that
//! would change the result, and with the build machine's paths taken out of it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::error::last_words;
use crate::{BuildError, PhaseCrate, TARGET, Toolchain};

/// The profile `phase`: small, function names left for traces. Given here too, for crates outside this workspace.
const PROFILE: [&str; 6] = [
    "profile.phase.inherits=\"release\"",
    "profile.phase.opt-level=\"s\"",
    "profile.phase.lto=true",
    "profile.phase.codegen-units=1",
    "profile.phase.panic=\"abort\"",
    "profile.phase.strip=\"debuginfo\"",
];

/// The core modules of `crates`, in their order.
pub(crate) fn cores(
    crates: &[PhaseCrate],
    toolchain: &Toolchain,
    target: &Path,
    told: &mut dyn FnMut(&str),
) -> Result<Vec<PathBuf>, BuildError> {
    let mut by_workspace: BTreeMap<PathBuf, Vec<&PhaseCrate>> = BTreeMap::new();
    for phase in crates {
        by_workspace.entry(workspace(phase)?).or_default().push(phase);
    }
    let mut made = BTreeMap::new();
    for (root, phases) in &by_workspace {
        made.extend(compile(root, phases, toolchain, target, told)?);
    }
    let core = |phase: &PhaseCrate| {
        made.get(&phase.cargo_toml).cloned().ok_or(BuildError::NoArtifact { package: phase.package.clone() })
    };
    crates.iter().map(core).collect()
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Flags, wrappers, targets and profiles of the caller are for host builds. CARGO_HOME and networks stay.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let leaks = ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_", "CARGO_UNSTABLE_", "CARGO_PKG_", "CLIPPY_"];
        let exact =
            ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTC_BOOTSTRAP"];
        if leaks.iter().any(|prefix| text.starts_with(prefix)) || exact.contains(&&*text) {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// The folder of the workspace that a crate belongs to.
fn workspace(phase: &PhaseCrate) -> Result<PathBuf, BuildError> {
    let mut command = cargo();
    command.args(["locate-project", "--workspace", "--message-format", "plain", "--manifest-path"]);
    let output = command.arg(&phase.cargo_toml).output().map_err(not_started)?;
    if !output.status.success() {
        let printed: Vec<String> = String::from_utf8_lossy(&output.stderr).lines().map(String::from).collect();
        return Err(BuildError::Tool {
            tool: format!("cargo locate-project {}", phase.cargo_toml.display()),
            status: output.status.to_string(),
            last_words: last_words(&printed),
        });
    }
    let cargo_toml = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    Ok(cargo_toml.parent().map_or_else(PathBuf::new, Path::to_path_buf))
}

fn not_started(why: std::io::Error) -> BuildError {
    BuildError::NotStarted { tool: "cargo".into(), why, hint: "install Rust: https://rustup.rs" }
}

/// Compiles; answers the wasm file of each Cargo.toml.
fn compile(
    root: &Path,
    phases: &[&PhaseCrate],
    toolchain: &Toolchain,
    target: &Path,
    told: &mut dyn FnMut(&str),
) -> Result<BTreeMap<PathBuf, PathBuf>, BuildError> {
    let mut command = cargo();
    command.current_dir(root).args(["build", "--profile", "phase", "--target", TARGET]);
    command.arg("--message-format=json-render-diagnostics");
    for setting in PROFILE {
        command.args(["--config", setting]);
    }
    for phase in phases {
        command.args(["--package", &phase.package]);
    }
    command.arg("--target-dir").arg(target);
    let mut hidden = vec![(cargo_home(), "/cargo"), (root.to_path_buf(), "/phase")];
    if let Toolchain::FromSource { rustc, source, linker } = toolchain {
        command.arg("-Zbuild-std=std,panic_abort").env("RUSTC_BOOTSTRAP", "1").env("RUSTC", rustc);
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        // cargo gives the path with its symlinks resolved, or not: both are hidden
        hidden.extend(source.canonicalize().ok().map(|path| (path, "/std")));
        hidden.push((source.clone(), "/std"));
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", without_paths(&hidden));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    run(command, told)
}

fn cargo_home() -> PathBuf {
    let home = || std::env::home_dir().unwrap_or_default().join(".cargo");
    std::env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}

/// Panic messages name source files: the same on every machine.
fn without_paths(hidden: &[(PathBuf, &str)]) -> String {
    let flags: Vec<String> =
        hidden.iter().map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display())).collect();
    flags.join("\u{1f}")
}

fn run(mut command: Command, told: &mut dyn FnMut(&str)) -> Result<BTreeMap<PathBuf, PathBuf>, BuildError> {
    let mut child = command.spawn().map_err(not_started)?;
    let stdout = child.stdout.take();
    // cargo blocks when one of the two is not read: artifacts come in a thread of their own
    let artifacts = std::thread::spawn(move || {
        let lines = BufReader::new(stdout?).lines().map_while(Result::ok);
        Some(lines.filter_map(|line| artifact(&line)).collect::<BTreeMap<_, _>>())
    });
    let mut printed = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            told(&line);
            printed.push(line);
        }
    }
    let status = child.wait().map_err(not_started)?;
    let artifacts = artifacts.join().ok().flatten().unwrap_or_default();
    if status.success() {
        return Ok(artifacts);
    }
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    let packages: Vec<&str> =
        words.windows(2).filter(|pair| pair[0] == "--package").map(|pair| pair[1].as_ref()).collect();
    Err(BuildError::Tool {
        tool: format!("cargo build --target {TARGET} --package {}", packages.join(" --package ")),
        status: status.to_string(),
        last_words: last_words(&printed),
    })
}

/// The Cargo.toml and the wasm file of a `compiler-artifact` message.
fn artifact(line: &str) -> Option<(PathBuf, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    let files = message["filenames"].as_array()?;
    let wasm = files.iter().filter_map(Value::as_str).find(|file| file.ends_with(".wasm"))?;
    Some((message["manifest_path"].as_str()?.into(), wasm.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wasm_file_of_a_crate_is_taken_from_cargos_own_messages() {
        let line =
            r#"{"reason":"compiler-artifact","manifest_path":"/p/Cargo.toml","filenames":["/t/x.rlib","/t/x.wasm"]}"#;
        assert_eq!(artifact(line), Some(("/p/Cargo.toml".into(), "/t/x.wasm".into())));
        assert_eq!(artifact(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(artifact("Compiling x"), None);
    }

    #[test]
    fn flags_of_the_caller_do_not_reach_a_phase() {
        // The test's own environment has CARGO_PKG_NAME, set by cargo.
        let command = cargo();
        let removed: Vec<String> = command
            .get_envs()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name.to_string_lossy().into_owned())
            .collect();
        assert!(removed.contains(&"CARGO_PKG_NAME".to_string()), "{removed:?}");
        assert!(!removed.contains(&"CARGO_HOME".to_string()), "{removed:?}");
    }
}
