//! `rehome phase inspect|new|build|test`: for authors. The work is done by `rehome-builder`.

use std::path::{Path, PathBuf};
use std::process::Command;

use rehome_builder::{Inspection, Options, PhaseCrate, SdkSource};
use rehome_engine::publisher::{self, Doubt, Signed};
use rehome_engine::{Error, Explanation};
use rehome_manifest::{Config, fill};

use crate::args::Phase;
use crate::exit::Exit;
use crate::loader::inspect as inspect_bytes;
use crate::ui::{Text, Ui, words};

/// One of the four.
pub fn run(ui: &Ui, verb: &Phase) -> Result<Exit, Error> {
    let result = match verb {
        Phase::Inspect { file, key } => inspect(ui, file, key.as_deref()),
        Phase::New { name, folder, sdk } => new(ui, name, folder.as_deref(), sdk.as_deref()),
        Phase::Build { folder, out } => build(ui, folder, out.as_deref()),
        Phase::Test { folder } => test(folder),
    };
    Ok(result.unwrap_or_else(|explanation| ui.failed(&explanation)))
}

fn inspect(ui: &Ui, file: &Path, key: Option<&str>) -> Result<Exit, Explanation> {
    let cannot = |why: String| said(&format!("cannot use {}", file.display()), &why);
    let bytes = std::fs::read(file).map_err(|error| cannot(error.to_string()))?;
    let signature = signature(file, &bytes, key)?;
    let seen = inspect_bytes(&bytes).map_err(|why| cannot(format!("it {why}")))?;
    ui.event(&serde_json::json!({
        "event": "component", "file": file, "digest": seen.digest, "size": seen.size, "imports": seen.imports,
        "exports": seen.exports, "remarks": seen.remarks, "manifest": seen.manifest, "signature": signature,
    }));
    summary(ui, &seen);
    ui.out(Text::dim("signature ").plain(&signature).at(0).hang(8));
    match Config::check(&seen.manifest, &toml::Table::new()).map_err(|error| error.to_string()) {
        Ok(config) => {
            let filled = fill(&seen.manifest, config).map_err(|error| cannot(error.to_string()))?;
            ui.out(Text::dim("requests, with the defaults of its config").into());
            for request in filled.requests.values() {
                ui.out(Text::bold(&request.id).and_dim(format!("  {}", rehome_engine::lock::effect_of(request))).at(2));
                for line in request.text.lines() {
                    ui.out(Text::new(line.trim_start()).at(4 + line.len() - line.trim_start().len()).hang(8));
                }
            }
        }
        Err(why) => {
            ui.out(Text::dim(format!("its requests depend on the plan ({why}); the manifest, as written:")).into());
            for line in seen.manifest_text.lines() {
                ui.out(Text::new(line).at(2).hang(4));
            }
        }
    }
    Ok(Exit::Done)
}

/// What the signature beside a file says: "good", "none", or why it is neither.
fn signature(file: &Path, bytes: &[u8], key: Option<&str>) -> Result<String, Explanation> {
    let Some(key) = key else {
        let is_there = publisher::signature_of(file).exists();
        return Ok(if is_there { "not checked: `--key` takes the publisher's key" } else { "none" }.into());
    };
    publisher::check_key(key).map_err(|why| said("cannot check the signature", &format!("`{key}` {why}")))?;
    Ok(match publisher::look(file, bytes, &publisher::Publishers::from([(key.into(), key.into())])) {
        Signed::By(_) => "good, by the key that was given".into(),
        Signed::No => "none".into(),
        Signed::Not(Doubt::OtherKey) => "by another key".into(),
        Signed::Not(doubt) => doubt.to_string(),
    })
}

fn summary(ui: &Ui, seen: &Inspection) {
    let manifest = &seen.manifest;
    ui.out(
        Text::bold(format!("{} {}", manifest.name, manifest.version))
            .plain(format!("  {}", manifest.about))
            .at(0)
            .hang(2),
    );
    ui.out(
        Text::dim(format!("{}, {} bytes, contract {}", seen.digest, words::thousands(seen.size), manifest.api)).into(),
    );
    let named =
        |name: &String| name.strip_prefix("rehome:phase/").and_then(|rest| rest.split('@').next()).map(String::from);
    let imports: Vec<String> = seen.imports.iter().filter_map(named).filter(|name| name != "types").collect();
    let imports = if imports.is_empty() { "nothing".to_string() } else { words::list(&imports) };
    ui.out(Text::dim("imports ").plain(imports).at(0).hang(8));
    for foreign in seen.foreign_imports() {
        ui.out(Text::yellow("! ").plain(format!("{foreign} is not of the contract")).into());
    }
    for remark in &seen.remarks {
        ui.out(Text::yellow("! ").plain(remark).at(0).hang(2));
    }
    for (key, declared) in &manifest.config {
        let default = match &declared.default {
            Some(default) => format!("default {default}"),
            None => "the plan must set it".to_string(),
        };
        ui.out(
            Text::new(format!("config.{key}"))
                .and_dim(format!("  {}, {default}: {}", declared.kind, declared.about))
                .at(0)
                .hang(2),
        );
    }
}

fn new(ui: &Ui, name: &str, folder: Option<&Path>, sdk: Option<&Path>) -> Result<Exit, Explanation> {
    let folder = folder.map_or_else(|| PathBuf::from(name), Path::to_path_buf);
    let found = sdk.map(Path::to_path_buf).or_else(|| std::env::current_dir().ok().and_then(|here| checkout(&here)));
    let sdk = match found {
        Some(path) => {
            SdkSource::Path(path.canonicalize().map_err(|error| said(&path.display().to_string(), &error.to_string()))?)
        }
        None => SdkSource::Git(env!("CARGO_PKG_REPOSITORY").into()),
    };
    let files = rehome_builder::scaffold(&folder, name, &sdk)
        .map_err(|error| said(&format!("cannot make the phase `{name}`"), &error.to_string()))?;
    for file in &files {
        ui.out(Text::new(file.display().to_string()).into());
    }
    let here = folder.display();
    ui.say(Text::dim(format!("next: `rehome phase test {here}`, `rehome phase build {here}`")).into());
    Ok(Exit::Done)
}

/// The SDK of the checkout that a folder lies in.
fn checkout(folder: &Path) -> Option<PathBuf> {
    let sdk = |above: &Path| Some(above.join("plugins/sdk")).filter(|sdk| sdk.join("Cargo.toml").is_file());
    folder.ancestors().find_map(sdk)
}

fn build(ui: &Ui, folder: &Path, out: Option<&Path>) -> Result<Exit, Explanation> {
    let failed =
        |error: rehome_builder::BuildError| said(&format!("cannot build {}", folder.display()), &error.to_string());
    let phase = PhaseCrate::open(folder).map_err(failed)?;
    let mut options = Options::in_target(&folder.join("target"));
    if let Some(out) = out {
        options.out = out.to_path_buf();
    }
    let built =
        rehome_builder::build(&[phase], &options, &mut |line| ui.say(Text::dim(line).into())).map_err(failed)?;
    for component in built {
        let path = component.path.display();
        ui.event(&serde_json::json!({
            "event": "built", "name": component.name, "file": component.path, "size": component.size,
            "digest": component.digest, "remarks": component.remarks,
        }));
        ui.out(Text::new(format!("{path}  {} bytes  {}", words::thousands(component.size), component.digest)).into());
        for remark in &component.remarks {
            ui.out(Text::yellow("! ").plain(remark).at(2).hang(4));
        }
    }
    Ok(Exit::Done)
}

/// `cargo test` in the crate; what it prints is the author's to read.
fn test(folder: &Path) -> Result<Exit, Explanation> {
    PhaseCrate::open(folder).map_err(|error| said(&format!("cannot test {}", folder.display()), &error.to_string()))?;
    let status = Command::new("cargo").arg("test").current_dir(folder).status();
    let status = status
        .map_err(|error| said("cannot start `cargo`", &error.to_string()).hint("install Rust: https://rustup.rs"))?;
    Ok(if status.success() { Exit::Done } else { Exit::Error })
}

/// What a library said, with its hint apart.
fn said(headline: &str, text: &str) -> Explanation {
    match text.split_once("\nhint: ") {
        Some((text, hint)) => Explanation::of(headline).line(text).hint(hint.split('\n').collect::<Vec<_>>().join(" ")),
        None => Explanation::of(headline).line(text),
    }
}
