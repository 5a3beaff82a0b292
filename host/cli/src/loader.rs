//! Components from wasm: looked into without running anything, compiled when first called, kept beside the plan.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rehome_builder::Inspection;
use rehome_engine::{LoadFailed, Loader, Looked};
use rehome_gatekeeper::Component;
use rehome_runtime::{Runtime, RuntimeOptions};

use crate::ui::{Text, Ui};

/// One a process.
pub struct WasmLoader {
    cache: PathBuf,
    runtime: OnceLock<Result<Runtime, String>>,
    ui: Ui,
}

impl WasmLoader {
    /// Compiled components are kept in `cache`.
    pub fn new(ui: &Ui, cache: PathBuf) -> WasmLoader {
        WasmLoader { cache, runtime: OnceLock::new(), ui: ui.clone() }
    }

    fn runtime(&self) -> &Result<Runtime, String> {
        self.runtime.get_or_init(|| {
            let options = RuntimeOptions { cache_dir: Some(self.cache.clone()), ..RuntimeOptions::default() };
            let runtime = Runtime::new(&options).map_err(|error| error.to_string())?;
            for warning in runtime.warnings() {
                self.ui.say(Text::yellow("warning: ").plain(warning).into());
            }
            Ok(runtime)
        })
    }
}

impl Loader for WasmLoader {
    fn look(&self, bytes: &[u8]) -> Result<Looked, LoadFailed> {
        let inspection = inspect(bytes).map_err(|why| failed(&why))?;
        // Nobody is asked to grant what it could never use: it is not what its manifest says.
        if let Some(name) = inspection.not_imported.first() {
            let why = format!("it requests {name}, and imports no rehome:phase/{name} to make such a request with");
            let hint = "build it anew with `rehome phase build`, or take those requests out of its manifest".to_owned();
            return Err(LoadFailed { why, hint: Some(hint) });
        }
        Ok(Looked { manifest: inspection.manifest, remarks: inspection.remarks })
    }

    fn load(&self, bytes: &[u8]) -> Result<Arc<dyn Component>, LoadFailed> {
        let runtime = self.runtime().as_ref().map_err(|why| failed(why))?;
        let loaded = runtime.load(bytes).map_err(|error| failed(&error.to_string()))?;
        Ok(Arc::new(loaded))
    }
}

/// What can be known of a component without running it; with plain words for a file that is no WebAssembly at all.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, String> {
    if !bytes.starts_with(b"\0asm") {
        return Err("is no WebAssembly: it does not begin with the bytes `\\0asm`".into());
    }
    rehome_builder::inspect(bytes)
}

fn failed(said: &str) -> LoadFailed {
    match said.split_once("\nhint: ") {
        Some((why, hint)) => LoadFailed { why: why.into(), hint: Some(hint.into()) },
        None => LoadFailed { why: said.into(), hint: None },
    }
}
