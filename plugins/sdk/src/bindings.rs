//! The contract as Rust: made from `wit/` by wit-bindgen, nothing written by hand.
//! Phases do not call these functions themselves: the modules named after the capabilities do, so that a unit test can
//! stand in for the host (see `test`).

#![expect(missing_docs, reason = "generated; `wit/` documents each item")]
#![allow(clippy::all, reason = "generated")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "phase",
    pub_export_macro: true,
    export_macro_name: "export_phase",
    default_bindings_module: "rehome_sdk::bindings",
    runtime_path: "::rehome_sdk::wit_bindgen::rt",
    additional_derives: [PartialEq],
});
