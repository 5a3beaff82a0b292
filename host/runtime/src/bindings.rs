//! The contract as Rust types and traits, made from `wit/`. Nothing is written by hand here: each capability's file
//! implements one `Host` trait, and `convert.rs` turns the shared types into the gatekeeper's.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "phase",
    imports: {
        "rehome:phase/report": trappable,
        "rehome:phase/clock.now": trappable,
        "rehome:phase/clock.elapsed": trappable,
        "rehome:phase/clock.random": trappable,
        default: async | trappable,
    },
    exports: { default: async },
});
