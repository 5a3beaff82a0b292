//! `cargo xtask fuzz`: the targets of `fuzz/`, built with the flags of cargo-fuzz and run one after the other. What they need
//! of nightly is asked of the stable compiler by RUSTC_BOOTSTRAP; `cargo fuzz run TARGET` works as well where cargo-fuzz is.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use rehome_tests::lab::ensure as ensure_packages;

use crate::cargo;

/// libFuzzer is C++.
const PACKAGES: [&str; 1] = ["g++"];
/// Coverage as libFuzzer reads it, and `cfg(fuzzing)`.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// Feed parsers and quoting with what no one would send
#[derive(clap::Args)]
pub struct FuzzArgs {
    /// Which targets; none: all
    targets: Vec<String>,
    /// How long each runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Keep what reaches new code, in fuzz/corpus
    #[arg(long)]
    keep: bool,
}

pub fn run(args: &FuzzArgs) -> anyhow::Result<()> {
    let all = targets()?;
    for target in &args.targets {
        ensure!(all.contains(target), "there is no fuzz target `{target}`; there are: {}", all.join(", "));
    }
    let chosen = if args.targets.is_empty() { all } else { args.targets.clone() };
    ensure_packages(&PACKAGES)?;
    let folder = build("release")?;
    for target in chosen {
        fuzz(&folder.join(&target), &target, args)?;
    }
    Ok(())
}

/// Builds them all with what others leave of this machine, for [`briefly`]. Where what it needs is not there and cannot be
/// installed, they are skipped with the reason; never with `CI=true`.
pub fn prepare() -> anyhow::Result<Option<PathBuf>> {
    if let Err(error) = ensure_packages(&PACKAGES) {
        ensure!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{error}");
        println!("skipped: fuzz targets: {error}");
        return Ok(None);
    }
    build("brief").map(Some)
}

/// Each for a moment, as a part of the tests.
pub fn briefly(folder: Option<&Path>) -> anyhow::Result<()> {
    let Some(folder) = folder else { return Ok(()) };
    let args = FuzzArgs { targets: Vec::new(), seconds: 5, keep: false };
    targets()?.iter().try_for_each(|target| fuzz(&folder.join(target), target, &args))
}

fn home() -> PathBuf {
    cargo::root().join("fuzz")
}

/// By their files' names, sorted.
fn targets() -> anyhow::Result<Vec<String>> {
    let files = files(&home().join("fuzz_targets"))?;
    let mut names: Vec<String> =
        files.iter().filter_map(|path| Some(path.file_stem()?.to_str()?.to_string())).collect();
    names.sort();
    Ok(names)
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Builds them all, in one of the profiles of `fuzz/`; answers the folder that they are in. Nobody waits for the brief one.
fn build(profile: &str) -> anyhow::Result<PathBuf> {
    let target = cargo::target().join("fuzz");
    // With a target named, build scripts and macros are no part of what is fuzzed.
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    if profile == "brief" {
        command = Command::new("nice");
        command.args(["-n", "19"]).arg(&cargo).arg("--quiet");
    }
    command
        .current_dir(home())
        .args(["build", "--profile", profile, "--bins", "--target", &triple, "--target-dir"])
        .arg(&target);
    cargo::run(command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", FLAGS))?;
    Ok(target.join(triple).join(profile))
}

fn fuzz(program: &Path, target: &str, args: &FuzzArgs) -> anyhow::Result<()> {
    let found = cargo::target().join("fuzz/found").join(target);
    let seeds = cargo::target().join("fuzz/seeds").join(target);
    let kept = home().join("corpus").join(target);
    for folder in [&found, &seeds, &kept] {
        std::fs::create_dir_all(folder)?;
    }
    for file in of_the_project(target)? {
        let name: String = file.display().to_string().chars().map(|c| if c == '/' { '-' } else { c }).collect();
        std::fs::copy(&file, seeds.join(name))?;
    }
    let artifacts = cargo::target().join(format!("fuzz/broken-{target}-"));
    let mut command = Command::new(program);
    command.arg(format!("-max_total_time={}", args.seconds)).arg(format!("-artifact_prefix={}", artifacts.display()));
    command.args(["-timeout=20", "-rss_limit_mb=2048", "-verbosity=0", "-print_final_stats=1"]);
    let ended = cargo::run(command.arg(&found).args([&kept, &seeds]));
    ended.with_context(|| {
        format!(
            "the fuzz target `{target}` has found something: {}*; `{} FILE` repeats it",
            artifacts.display(),
            program.display()
        )
    })?;
    if args.keep {
        cargo::run(Command::new(program).args(["-merge=1", "-verbosity=0"]).arg(&kept).arg(&found))?;
    }
    println!("fuzz target {target}: ok, {} s", args.seconds);
    Ok(())
}

/// Files of the project that are good input to begin with.
fn of_the_project(target: &str) -> anyhow::Result<Vec<PathBuf>> {
    let below = |folder: &str, name: &str| -> anyhow::Result<Vec<PathBuf>> {
        let folders = files(&cargo::root().join(folder))?;
        Ok(folders.into_iter().map(|folder| folder.join(name)).filter(|file| file.is_file()).collect())
    };
    match target {
        "plan" => below("examples", "plan.toml"),
        "manifest" => below("plugins", "manifest.toml"),
        "component" => {
            let components = cargo::target().join("components");
            if components.is_dir() { files(&components) } else { Ok(Vec::new()) }
        }
        _ => Ok(Vec::new()),
    }
}
