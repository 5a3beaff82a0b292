//! The engine that compiles and runs components, one a process: settings, the contract's functions, the cache, the ticker.
//! Invariant: the linker holds the contract and nothing else. `load.rs` makes components with it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::Phase;
use crate::cache::Cache;
use crate::error::{RuntimeError, said};
use crate::guest::Guest;
use crate::limits::{self, Limits};
use crate::ticker::Ticker;

/// What a runtime keeps to.
#[derive(Clone, Debug)]
pub struct RuntimeOptions {
    /// Where compiled components are kept: made with mode 0700 if it is not there; not used, with a warning, if it
    /// belongs to somebody else or others can write it. None: every load compiles.
    pub cache_dir: Option<PathBuf>,
    /// Bytes of linear memory that one call may have (default 256 MiB).
    pub memory: usize,
    /// How long a guest may compute without calling the host, counted in ticks of 100 ms in which it was seen computing
    /// (default 10 s). Time in host calls does not count.
    pub guest_time: Duration,
    /// How many host calls one call of a phase may make (default 1,000,000).
    pub host_calls: u64,
}

impl Default for RuntimeOptions {
    fn default() -> RuntimeOptions {
        RuntimeOptions {
            cache_dir: None,
            memory: 256 << 20,
            guest_time: Duration::from_secs(10),
            host_calls: 1_000_000,
        }
    }
}

/// Loads components. One a process is enough; loaded components outlive it.
pub struct Runtime {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Guest>,
    pub(crate) cache: Option<Cache>,
    pub(crate) limits: Limits,
    pub(crate) ticker: Arc<Ticker>,
    warnings: Vec<String>,
}

impl Runtime {
    /// An engine with these limits. A cache folder that cannot be trusted is an entry in [`Runtime::warnings`], no error.
    pub fn new(options: &RuntimeOptions) -> Result<Runtime, RuntimeError> {
        let failed = |error: wasmtime::Error| RuntimeError::Engine(said(&error));
        let engine = Engine::new(&limits::config()).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        Phase::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest).map_err(failed)?;
        let mut warnings = Vec::new();
        let cache = options.cache_dir.as_deref().and_then(|folder| match Cache::open(folder) {
            Ok(cache) => Some(cache),
            Err(why) => {
                tracing::warn!(%why, "compiled components are not kept");
                warnings.push(format!("compiled components are not kept, so each start compiles them again: {why}"));
                None
            }
        });
        let ticker = Arc::new(Ticker::start(&engine)?);
        let RuntimeOptions { memory, guest_time, host_calls, .. } = *options;
        Ok(Runtime { engine, linker, cache, limits: Limits { memory, guest_time, host_calls }, ticker, warnings })
    }

    /// What the operator should know: one sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
