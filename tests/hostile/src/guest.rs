//! Phases in WAT: a core module with the five exports, made a component as the toolchains do it, with `wit/` as contract.
//! Invariant: an export that a test does not write answers "fine, nothing". Layouts are those of the canonical ABI.

use std::fmt::Write;
use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

const VERBS: [&str; 5] = ["check", "preview", "apply", "verify", "undo"];

/// Where `result<_, failure>` is written and returned from: the memory there is zero, which reads as `ok`.
pub const ANSWER: u32 = 8192;

/// The contract, as `wit/` has it.
///
/// # Panics
/// It cannot be read.
pub fn contract() -> (Resolve, wit_parser::WorldId) {
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let (package, _) = resolve.push_dir(wit).expect("wit/ parses");
    let world = resolve.select_world(&[package], Some("phase")).expect("it has the world");
    (resolve, world)
}

/// A core module in WAT, made binary, that says which contract it is of.
fn core(module: &str) -> Vec<u8> {
    let mut bytes = wat::parse_str(module).unwrap_or_else(|error| panic!("{error}\n{module}"));
    let (resolve, world) = contract();
    wit_component::embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8)
        .expect("it takes the contract");
    bytes
}

/// A component of a core module in WAT.
///
/// # Panics
/// The text is no module of the contract.
pub fn component(module: &str) -> Vec<u8> {
    let bytes = core(module);
    let mut encoder =
        ComponentEncoder::default().validate(true).module(&bytes).expect("it is a module of the contract");
    encoder.encode().expect("it becomes a component")
}

/// A phase: `items` are imports, data and functions; `bodies` what the exports do, by verb. The parameters of an export are
/// `$phase $phase_length $stage $run $config $config_length`; it answers an address, like [`ANSWER`]. There are four pages of
/// memory; the host allocates from the third on.
pub fn phase(items: &str, bodies: &[(&str, &str)]) -> Vec<u8> {
    component(&module(items, bodies, 4))
}

/// The module of a phase with so many pages of memory.
pub fn module(items: &str, bodies: &[(&str, &str)], pages: u32) -> String {
    let mut text = String::from("(module\n");
    writeln!(text, "{items}").unwrap();
    writeln!(text, "(memory (export \"memory\") {pages})").unwrap();
    text.push_str(
        "(global $next (mut i32) (i32.const 131072))
         (func $cabi_realloc (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)
           (global.set $next (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
           (global.get $next)
           (global.set $next (i32.add (global.get $next) (local.get 3))))\n",
    );
    for verb in VERBS {
        let nothing = format!("(i32.const {ANSWER})");
        let body = bodies.iter().find(|(name, _)| *name == verb).map_or(nothing.as_str(), |(_, body)| body);
        writeln!(
            text,
            "(func ${verb} (export \"rehome:phase/lifecycle@0.1.0#{verb}\")
               (param $phase i32) (param $phase_length i32) (param $stage i32) (param $run i32)
               (param $config i32) (param $config_length i32) (result i32)\n{body})"
        )
        .unwrap();
    }
    text.push(')');
    text
}

/// The import of a function of the contract, as `$name`.
pub fn import(interface: &str, function: &str, name: &str, parameters: &str) -> String {
    format!("(import \"rehome:phase/{interface}@0.1.0\" \"{function}\" (func ${name} {parameters}))\n")
}

/// A component of a core module in WAT, with a manifest: made as `rehome phase build` makes one.
///
/// # Panics
/// The text is no module of the contract.
pub fn with_manifest(module: &str, manifest: &str) -> Vec<u8> {
    rehome_builder::assemble(&core(module), manifest).unwrap_or_else(|why| panic!("{why}\n{module}"))
}
