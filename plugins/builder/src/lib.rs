//! Builds phases: a crate with a `manifest.toml` becomes a component with the manifest inside, and no import but the
//! contract's. Prints nothing: what tools say goes to the caller, line by line.
//! Start at [`build`] and [`inspect`]; `toolchain` finds a standard library for wasm, [`scaffold`] writes a new phase.

mod cargo;
mod component;
mod error;
mod inspect;
mod phase_crate;
mod scaffold;
mod toolchain;

use std::path::{Path, PathBuf};

pub use component::assemble;
pub use error::BuildError;
pub use inspect::{Inspection, inspect};
pub use phase_crate::{PhaseCrate, discover};
pub use scaffold::{SdkSource, scaffold};
pub use toolchain::{TARGET, Toolchain, Way};

/// How and where to build.
#[derive(Debug, Clone)]
pub struct Options {
    /// where the components go, as `NAME.wasm`
    pub out: PathBuf,
    /// cargo's target folder for phases: not that of host builds, or each would evict the other's
    pub target: PathBuf,
    /// the ways to a standard library that are tried, in this order
    pub ways: Vec<Way>,
}

impl Options {
    /// Components to `TARGET/components`, cargo in `TARGET/phases`, all ways.
    pub fn in_target(target: &Path) -> Options {
        Options { out: target.join("components"), target: target.join("phases"), ways: Way::ALL.to_vec() }
    }
}

/// A component that was built.
#[derive(Debug, Clone)]
pub struct Built {
    /// the manifest's name
    pub name: String,
    /// the component's file
    pub path: PathBuf,
    /// bytes
    pub size: u64,
    /// "sha256:…" of the file
    pub digest: String,
    /// where requests and imports do not fit together; see [`Inspection::remarks`]
    pub remarks: Vec<String>,
}

/// Builds crates to components. Crates of one workspace go through one call of cargo.
/// `told` gets what cargo, rustup and apt-get say, line by line.
pub fn build(crates: &[PhaseCrate], options: &Options, told: &mut dyn FnMut(&str)) -> Result<Vec<Built>, BuildError> {
    let toolchain = Toolchain::find(&options.ways, told)?;
    let cores = cargo::cores(crates, &toolchain, &options.target, told)?;
    std::fs::create_dir_all(&options.out).map_err(|why| BuildError::file("create", &options.out, why))?;
    crates.iter().zip(cores).map(|(phase, core)| finish(phase, &core, &options.out)).collect()
}

fn finish(phase: &PhaseCrate, core: &Path, out: &Path) -> Result<Built, BuildError> {
    let core = std::fs::read(core).map_err(|why| BuildError::file("read", core, why))?;
    let bytes =
        assemble(&core, &phase.manifest_text).map_err(|why| BuildError::Component { name: phase.name.clone(), why })?;
    let inspection = inspect(&bytes).map_err(|why| BuildError::Component { name: phase.name.clone(), why })?;
    if let Some(foreign) = inspection.foreign_imports().first() {
        return Err(BuildError::Foreign { name: phase.name.clone(), import: (*foreign).to_string() });
    }
    let path = out.join(format!("{}.wasm", phase.name));
    write_whole(&path, &bytes)?;
    Ok(Built {
        name: phase.name.clone(),
        path,
        size: inspection.size,
        digest: inspection.digest,
        remarks: inspection.remarks,
    })
}

/// Under a name of its own first: nobody ever reads half a component. An equal file keeps its time.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let temporary = path.with_extension(format!("wasm.{}", std::process::id()));
    std::fs::write(&temporary, bytes).map_err(|why| BuildError::file("write", &temporary, why))?;
    std::fs::rename(&temporary, path).map_err(|why| {
        let _ = std::fs::remove_file(&temporary);
        BuildError::file("write", path, why)
    })
}
