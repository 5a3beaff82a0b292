//! One file per verb. What they share: the migration of the command line, and a loader for its components.

pub mod answer;
pub mod apply;
pub mod approve;
pub mod check;
pub mod demo;
pub mod gate;
pub mod phase;
pub mod preview;
pub mod requests;
pub mod resolve;
pub mod status;
pub mod undo;
pub mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use rehome_engine::{Error, Loader, Migration, Settings};

use crate::args::Global;
use crate::loader::WasmLoader;
use crate::ui::Ui;

/// The migration that the command line names.
pub fn migration(global: &Global) -> Result<Migration, Error> {
    Migration::open(&global.plan, Settings::of_process())
}

/// A loader that keeps compiled components with the migration's state; or in the folder that `REHOME_AOT` names, for tests: they
/// begin many migrations with the same components.
pub fn loader(ui: &Ui, migration: &Migration) -> Arc<dyn Loader> {
    let named = std::env::var_os("REHOME_AOT").filter(|folder| !folder.is_empty());
    Arc::new(WasmLoader::new(ui, named.map_or_else(|| migration.state().aot(), PathBuf::from)))
}
