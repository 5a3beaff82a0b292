//! Phases as WebAssembly components: load, limit, call. Invariant: a component has no way to anything but the contract in
//! `wit/`, and every function of the contract goes to the gatekeeper's `Session`; here types are only converted.
//! Start at `runtime.rs` (one a process), then `load.rs` (bytes to component) and `call.rs` (one call, one instance).

mod bindings;
mod cache;
mod call;
mod clock;
mod convert;
mod dns;
mod error;
mod exec;
mod files;
mod guest;
mod inspect;
mod journal;
mod limits;
mod load;
mod operator;
mod redis;
mod report;
mod runtime;
mod shown;
mod sql;
mod ticker;
mod trap;

pub use error::{LoadError, RuntimeError};
pub use load::Loaded;
pub use runtime::{Runtime, RuntimeOptions};
