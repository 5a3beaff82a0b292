//! `cargo xtask bench host`: what rehome itself costs: loading a component, one call, `status`, memory, binary size.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};

use crate::{build, cargo};

/// How often, and for whom
#[derive(clap::Args)]
pub struct HostArgs {
    /// How often `status` is run
    #[arg(long, default_value_t = 100)]
    repeat: usize,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// One figure: what, how much, and the goal it is held against.
#[derive(serde::Serialize)]
struct Figure {
    bench: String,
    value: f64,
    unit: String,
    goal: Option<f64>,
}

pub fn run(args: &HostArgs) -> anyhow::Result<()> {
    let components = build::components()?;
    let component =
        components.iter().find(|path| path.ends_with("maildir.wasm")).context("no component maildir.wasm was built")?;
    let bench = cargo::release_bench(&cargo::everything("host"), "host")?;
    let rehome = cargo::target().join("release/rehome");

    let mut figures = runtime(&bench, component)?;
    figures.push(status(&rehome, component, args.repeat)?);
    let size = std::fs::metadata(&rehome)?.len() as f64 / 1e6;
    figures.push(Figure { bench: "rehome binary".into(), value: size, unit: "MB".into(), goal: None });
    for figure in figures {
        if args.json {
            println!("{}", serde_json::to_string(&figure)?);
        } else {
            let goal = figure.goal.map_or(String::new(), |goal| format!("goal: under {goal} {}", figure.unit));
            println!("{:<52} {:>10.3} {:<3} {goal}", figure.bench, figure.value, figure.unit);
        }
    }
    Ok(())
}

/// A line of the runtime's own benchmark.
#[derive(serde::Deserialize)]
struct Line {
    name: String,
    of: String,
    unit: String,
    value: f64,
}

/// The figures of the runtime's own benchmark, in units that people read.
fn runtime(bench: &Path, component: &Path) -> anyhow::Result<Vec<Figure>> {
    let output = Command::new(bench).args(["--bench"]).arg(component).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the runtime's benchmark failed");
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).map(figure).with_context(|| format!("not a figure: {line}"))).collect()
}

fn figure(line: Line) -> Figure {
    let (factor, unit) = match (line.unit.as_str(), line.value) {
        ("s", value) if value < 1e-4 => (1e6, "us"),
        ("s", _) => (1e3, "ms"),
        _ => (1e-6, "MB"),
    };
    let goal = match line.name.as_str() {
        "component_ready_warm" => Some(1.0),
        "component_memory" => Some(10.0),
        "host_call_clock_now" => Some(5.0),
        _ => None,
    };
    let bench = format!("{} ({})", line.name.replace('_', " "), line.of);
    Figure { bench, value: line.value * factor, unit: unit.into(), goal }
}

/// `rehome status` on a plan of 15 phases, from start to exit.
fn status(rehome: &Path, component: &Path, repeat: usize) -> anyhow::Result<Figure> {
    let folder = tempfile::tempdir()?;
    for side in ["old", "new"] {
        std::fs::create_dir_all(folder.path().join(side).join("var/vmail"))?;
    }
    let mut plan =
        String::from("[migration]\nname = \"fifteen phases\"\n[old]\nfolder = \"old\"\n[new]\nfolder = \"new\"\n");
    for at in 1..=15 {
        let path = component.display();
        plan.push_str(&format!(
            "[[phase]]\nid = \"copy-{at}\"\ncomponent = \"{path}\"\nstage = \"copy\"\nconfig.pass = \"hot\"\n"
        ));
    }
    std::fs::write(folder.path().join("plan.toml"), plan)?;
    let call = |words: &[&str]| -> anyhow::Result<()> {
        let mut command = Command::new(rehome);
        command.current_dir(folder.path()).args(words).stdout(Stdio::null()).stderr(Stdio::null());
        cargo::run(&mut command)
    };
    call(&["approve", "--yes"])?;
    call(&["apply"])?;
    let mut times = Vec::with_capacity(repeat);
    for _ in 0..repeat {
        let begun = Instant::now();
        call(&["status"])?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    Ok(Figure {
        bench: "rehome status, a plan of 15 phases".into(),
        value: median,
        unit: "ms".into(),
        goal: Some(50.0),
    })
}
