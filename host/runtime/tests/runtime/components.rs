//! The project's own phases, as `cargo xtask build` leaves them.

use std::path::Path;

use rehome_runtime::{Runtime, RuntimeOptions};

#[test]
fn every_phase_of_the_project_loads_and_imports_only_the_contract() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/components");
    let entries = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask build` makes them", folder.display()));
    let runtime = Runtime::new(&RuntimeOptions::default()).unwrap();
    let mut loaded = 0;
    for entry in entries {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            let component = runtime.load(&std::fs::read(&path).unwrap());
            let component = component.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(!component.imports().is_empty(), "{}", path.display());
            loaded += 1;
        }
    }
    assert!(loaded > 0, "no components in {}", folder.display());
}
