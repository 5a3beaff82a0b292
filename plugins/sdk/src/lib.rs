//! What a phase is written with: the contract's functions as methods of the manifest's own requests, and a test kit.
//!
//! A phase is a crate with a `manifest.toml` (everything it could ever do to a side), a `build.rs` of one line and a
//! `src/lib.rs`:
//!
//! ```ignore
//! use rehome_sdk::prelude::*;
//!
//! rehome_sdk::manifest!();                       // mod requests: constants made from manifest.toml
//! rehome_sdk::phase!(Greylist);                  // the component's exports
//!
//! struct Greylist;
//!
//! #[derive(Deserialize)]
//! #[serde(rename_all = "kebab-case")]
//! struct Config { unit: String }
//!
//! impl Phase for Greylist {
//!     type Config = Config;
//!
//!     fn preview(ctx: &Context<Config>) -> Result<Forecast, Failure> {
//!         let mut forecast = Forecast::default();
//!         if running()? {
//!             forecast.change(format!("{} on old", ctx.config.unit), "active", "stopped");
//!         }
//!         Ok(forecast)
//!     }
//!
//!     fn apply(_: &Context<Config>) -> Result<(), Failure> {
//!         if !running()? {
//!             return Ok(());                                       // observe first: apply may be called again
//!         }
//!         requests::exec::STOP.on(Side::Old).run()?;
//!         if running()? {                                          // an exit status proves nothing: look
//!             return Err(stopped("greylisting on old", "still runs after it was stopped"));
//!         }
//!         Ok(())
//!     }
//!
//!     fn undo(_: &Context<Config>) -> Result<(), Failure> {
//!         requests::exec::START.on(Side::Old).run().map(drop)
//!     }
//! }
//!
//! fn running() -> Result<bool, Failure> {
//!     Ok(requests::exec::ACTIVE.on(Side::Old).run()?.text() == "active")
//! }
//! ```
//!
//! What keeps a phase out of trouble:
//! - Let failures travel (`?`). `Failure::Waiting` is one of them: the host asks or waits, and calls `apply` again from the top.
//! - Nothing in memory lasts from one call to the next; [`journal`] does.
//! - A value for a hole must come from a read made in the same call: list the users, then name one.
//! - There is no clock, file, network, environment or `println!` in a component: [`clock`], [`files`], [`report`].
//!   A panic is a bug, and reaches the operator with its place.
//!
//! Look next at [`Phase`], then at the capability a phase needs ([`exec`], [`files`], [`sql`], [`operator`]), then at
//! `test::Host` for unit tests (`cargo test`, natively).

// The generated export macro names this crate as its dependants do.
extern crate self as rehome_sdk;

pub mod bindings;
pub mod clock;
pub mod dns;
pub mod exec;
pub mod files;
mod findings;
mod forecast;
pub mod journal;
pub mod operator;
mod phase;
pub mod redis;
pub mod report;
pub mod schema;
pub mod sql;
#[cfg(not(target_arch = "wasm32"))]
pub mod test;
mod text;
pub mod took;
mod words;

pub use findings::Findings;
pub use forecast::{Change, Forecast};
pub use phase::{Context, Exported, Phase};
pub use text::{amount, bytes, lines, span};
pub use wit_bindgen;
pub use words::{Failure, Finding, Gate, SIDES, Severity, Side, Stage, Tool, Unknown, stopped};

/// The functions of the host: in a component those of the contract, in a unit test those of [`test::Host`].
#[cfg(target_arch = "wasm32")]
use bindings::rehome::phase as host;
#[cfg(not(target_arch = "wasm32"))]
use test::imports as host;

/// What nearly every phase needs: `use rehome_sdk::prelude::*;`.
pub mod prelude {
    pub use crate::{
        Change, Context, Failure, Finding, Findings, Forecast, Gate, Phase, SIDES, Severity, Side, Stage, Tool, clock,
        journal, lines, report, stopped, took,
    };
    pub use serde::Deserialize;
}

/// `mod requests`: a constant for each request of `manifest.toml`, and the manifest itself as `requests::MANIFEST`.
/// Needs a `build.rs` with `rehome_sdk_build::constants()`.
#[macro_export]
macro_rules! manifest {
    () => {
        /// The requests of `manifest.toml`, by capability.
        #[allow(dead_code, missing_docs, reason = "made from the manifest; a phase need not use each one")]
        pub mod requests {
            include!(concat!(env!("OUT_DIR"), "/requests.rs"));
        }
    };
}

/// Exports a [`Phase`] from the component. Once a crate.
#[macro_export]
macro_rules! phase {
    ($phase:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Component = $crate::Exported<$phase>;
    $crate::bindings::export_phase!(Component with_types_in $crate::bindings);
        };
    };
}
