//! From bytes to a component that can be called: look at it, then take it from the cache or compile it, then fit it to
//! the contract. Invariant: only WebAssembly is accepted from outside, never native code.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::bindings::PhasePre;
use crate::cache::{Key, hex};
use crate::error::{LoadError, said};
use crate::guest::Guest;
use crate::inspect::inspect;
use crate::limits::Limits;
use crate::runtime::Runtime;
use crate::ticker::Ticker;

/// A component, ready to be called through [`rehome_gatekeeper::Component`].
pub struct Loaded {
    pub(crate) pre: PhasePre<Guest>,
    pub(crate) limits: Limits,
    /// calls need its ticks
    _ticker: Arc<Ticker>,
    digest: String,
    imports: Vec<String>,
    size: usize,
    compiled: bool,
}

impl Runtime {
    /// Makes a component of its bytes. Compiles if it is not in the cache: 0.2 s for a phase in Rust, half a minute for one
    /// with a whole language inside; so call it from where blocking is allowed (`tokio::task::spawn_blocking`).
    pub fn load(&self, bytes: &[u8]) -> Result<Loaded, LoadError> {
        if Engine::detect_precompiled(bytes).is_some() {
            return Err(LoadError::Precompiled);
        }
        let imports = inspect(bytes)?;
        let digest = Sha256::digest(bytes);
        let (component, compiled) = self.compiled(bytes, &digest)?;
        let unfit = |error: wasmtime::Error| LoadError::Contract { what: said(&error) };
        let pre = self.linker.instantiate_pre(&component).and_then(PhasePre::new).map_err(unfit)?;
        Ok(Loaded {
            pre,
            limits: self.limits,
            _ticker: self.ticker.clone(),
            digest: format!("sha256:{}", hex(&digest)),
            imports,
            size: bytes.len(),
            compiled,
        })
    }

    /// From the cache, or compiled now (and kept).
    fn compiled(&self, bytes: &[u8], digest: &[u8]) -> Result<(Component, bool), LoadError> {
        let compile =
            || Component::from_binary(&self.engine, bytes).map_err(|error| LoadError::Compile { what: said(&error) });
        let Some(cache) = &self.cache else { return Ok((compile()?, true)) };
        let key = Key::new(digest, &self.engine);
        if let Some(component) = cache.load(&self.engine, &key) {
            return Ok((component, false));
        }
        let component = compile()?;
        cache.keep(&key, &component);
        Ok((component, true))
    }
}

impl Loaded {
    /// `sha256:` and the digest of the component's bytes, in lower-case hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The capabilities it imports, sorted: `["exec", "report"]`. The shared types are none.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// Bytes of the component.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether loading it had to compile it; false: it came from the cache.
    pub fn was_compiled(&self) -> bool {
        self.compiled
    }
}
