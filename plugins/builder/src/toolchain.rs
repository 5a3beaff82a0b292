//! Finds a standard library for `wasm32-unknown-unknown`: the active toolchain has it; rustup gets it; on Debian the
//! compiler of the packages rustc-web and rust-web-src builds it from source. A way that does not work is left quietly;
//! if none does, the error says what was tried.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::BuildError;

/// What components are compiled for: it has no operating system, so they import none.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// A way to a standard library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// the active toolchain has it
    Installed,
    /// `rustup target add`
    Rustup,
    /// the packages rustc-web and rust-web-src of Debian, built from source
    Debian,
}

impl Way {
    /// All, in the order they are tried.
    pub const ALL: [Way; 3] = [Way::Installed, Way::Rustup, Way::Debian];
}

/// What compiles phases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// the active one, as it is
    Active,
    /// Debian's rustc, which builds the standard library from its sources
    FromSource {
        /// Debian's
        rustc: PathBuf,
        /// the sources of the standard library
        source: PathBuf,
        /// the active toolchain's rust-lld: Debian's rustc brings none
        linker: PathBuf,
    },
}

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];
/// A mirror that does not answer at all must not hold up a build that can go another way.
const RUSTUP_DEADLINE: Duration = Duration::from_secs(180);

impl Toolchain {
    /// Tries the ways in this order.
    pub fn find(ways: &[Way], told: &mut dyn FnMut(&str)) -> Result<Toolchain, BuildError> {
        let mut tried = Vec::new();
        for way in ways {
            let found = match way {
                Way::Installed => installed().map(|()| Toolchain::Active),
                Way::Rustup => rustup(told).and_then(|()| installed()).map(|()| Toolchain::Active),
                Way::Debian => debian(told),
            };
            match found {
                Ok(toolchain) => return Ok(toolchain),
                Err(why) => tried.push(format!("  {why}")),
            }
        }
        Err(BuildError::NoStandardLibrary { tried: tried.join("\n") })
    }
}

fn active_rustc() -> Command {
    Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

/// What a command prints, if it succeeds.
fn said(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

fn sysroot(mut rustc: Command) -> Option<PathBuf> {
    said(rustc.args(["--print", "sysroot"])).map(PathBuf::from)
}

fn installed() -> Result<(), String> {
    let sysroot = sysroot(active_rustc()).ok_or("`rustc --print sysroot` failed: there is no working rustc in PATH")?;
    let library = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    let is_there = std::fs::read_dir(&library)
        .is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-")));
    if is_there { Ok(()) } else { Err(format!("the active toolchain has none: nothing in {}", library.display())) }
}

fn rustup(told: &mut dyn FnMut(&str)) -> Result<(), String> {
    let mut command = Command::new("rustup");
    // Without retries: where there is no network it fails at once.
    command.args(["target", "add", TARGET]).env("RUSTUP_MAX_RETRIES", "0").stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|why| format!("rustup could not be started: {why}"))?;
    told("getting the standard library for wasm with rustup");
    let started = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if started.elapsed() < RUSTUP_DEADLINE => std::thread::sleep(Duration::from_millis(50)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("`rustup target add` was not done after {} s", RUSTUP_DEADLINE.as_secs()));
            }
            Err(why) => return Err(format!("`rustup target add`: {why}")),
        }
    };
    if status.success() {
        return Ok(());
    }
    let printed = child.stderr.take().map(std::io::read_to_string).and_then(Result::ok).unwrap_or_default();
    // With RUST_BACKTRACE set its last lines are a backtrace.
    let said = || printed.lines().filter(|line| !line.trim().is_empty());
    let why = said().find(|line| line.starts_with("error")).or_else(|| said().next_back()).unwrap_or("it said nothing");
    Err(format!("`rustup target add {TARGET}` failed: {}", why.trim()))
}

fn debian(told: &mut dyn FnMut(&str)) -> Result<Toolchain, String> {
    if !is_debian(&std::fs::read_to_string("/etc/os-release").unwrap_or_default()) {
        return Err("this is not Debian".into());
    }
    if debian_source().is_none() {
        if !is_root() {
            return Err(format!("Debian's {} are not installed, and only root can", DEBIAN_PACKAGES.join(" and ")));
        }
        install(told)?;
    }
    let source = debian_source()
        .ok_or_else(|| format!("{} are installed, and have no sources", DEBIAN_PACKAGES.join(" and ")))?;
    let linker = linker()?;
    Ok(Toolchain::FromSource { rustc: DEBIAN_RUSTC.into(), source, linker })
}

fn is_debian(os_release: &str) -> bool {
    os_release.lines().any(|line| match line.split_once('=') {
        Some(("ID" | "ID_LIKE", value)) => value.trim_matches('"').split(' ').any(|word| word == "debian"),
        _ => false,
    })
}

fn is_root() -> bool {
    said(Command::new("id").arg("-u")).is_some_and(|uid| uid == "0")
}

/// Sources of the standard library that belong to Debian's rustc.
fn debian_source() -> Option<PathBuf> {
    let mut rustc = Command::new(DEBIAN_RUSTC);
    rustc.env_remove("RUSTUP_TOOLCHAIN");
    let source = sysroot(rustc)?.join("lib/rustlib/src/rust/library");
    source.join("std/src/lib.rs").is_file().then_some(source)
}

fn install(told: &mut dyn FnMut(&str)) -> Result<(), String> {
    let install: Vec<&str> = ["install", "-y", "--no-install-recommends"].into_iter().chain(DEBIAN_PACKAGES).collect();
    for arguments in [vec!["update"], install] {
        told(&format!("apt-get {}", arguments.join(" ")));
        let mut command = Command::new("apt-get");
        command.args(&arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        let output = command.output().map_err(|why| format!("apt-get could not be started: {why}"))?;
        if !output.status.success() {
            let printed = String::from_utf8_lossy(&output.stderr);
            let last = printed.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
            return Err(format!("`apt-get {}` failed: {last}", arguments.join(" ")));
        }
    }
    Ok(())
}

fn linker() -> Result<PathBuf, String> {
    let version = said(active_rustc().arg("-vV")).unwrap_or_default();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or("x86_64-unknown-linux-gnu");
    let sysroot = sysroot(active_rustc()).unwrap_or_default();
    let bundled = sysroot.join("lib/rustlib").join(host).join("bin/rust-lld");
    let candidates = [bundled, "/usr/bin/rust-lld".into(), "/usr/bin/wasm-ld".into()];
    candidates.iter().find(|path| Path::is_file(path)).cloned().ok_or_else(|| {
        format!("no linker for wasm: looked for {}", candidates.map(|p| p.display().to_string()).join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_and_what_is_like_it_is_known_by_its_os_release() {
        assert!(is_debian("PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n"));
        assert!(is_debian("ID=ubuntu\nID_LIKE=debian\n"));
        assert!(is_debian("ID=mint\nID_LIKE=\"ubuntu debian\"\n"));
        assert!(!is_debian("ID=fedora\nID_LIKE=\"rhel\"\nNAME=\"not debian\"\n"));
    }

    #[test]
    fn without_any_way_the_error_names_all_three() {
        let why = Toolchain::find(&[], &mut |_| {}).unwrap_err().to_string();
        for way in ["rustup target add", "toolchain that has it", "rustc-web rust-web-src"] {
            assert!(why.contains(way), "{why}");
        }
    }
}
