//! What a component asks for, before anything runs: the manifest, the values a plan sets, holes and their types,
//! and the text an operator reads and approves. Pure: no I/O, no wasm, no sides.

pub mod config;
pub mod fill;
pub mod hole;
pub mod manifest;
mod parse;
pub mod quantity;
mod render;
pub mod value;
mod vouch;
pub mod words;

pub use config::{Config, ConfigError};
pub use fill::{Filled, Request, fill};
pub use hole::{Hole, HoleType, Segment, Source, Sources};
pub use manifest::{API, Manifest, SECTION};
pub use parse::ManifestError;
pub use value::ValueType;
