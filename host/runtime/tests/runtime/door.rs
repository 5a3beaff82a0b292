//! There is no function of the contract that does not come through the gatekeeper: one guest calls them all.

use std::fmt::Write;

use rehome_gatekeeper::Component;
use rehome_gatekeeper::types::{Answer, Verb};
use rehome_runtime::{Runtime, RuntimeOptions};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{WorldItem, WorldKey};

use crate::session::{Bench, context};
use rehome_hostile::guest::{ANSWER, contract, import, phase};

/// Zero memory, for the elements of a list of one row without values.
const ZEROS: u32 = 4096;
/// Where results of imports are written.
const RESULT: u32 = 6144;

/// Imports of every function of the contract, and a body that calls each once: names and values empty, sides `old`.
fn all_calls() -> (String, String, Vec<String>) {
    let (resolve, world) = contract();
    let (mut imports, mut body, mut names) = (String::new(), String::new(), Vec::new());
    for (key, item) in &resolve.worlds[world].imports {
        let (WorldKey::Interface(_), WorldItem::Interface { id, .. }) = (key, item) else { continue };
        let interface = &resolve.interfaces[*id];
        for (name, function) in &interface.functions {
            let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
            let at = names.len();
            let words = |types: &[WasmType]| types.iter().map(|kind| format!(" {}", word(*kind))).collect::<String>();
            let mut parameters = format!("(param{})", words(&signature.params));
            if !signature.results.is_empty() {
                write!(parameters, " (result{})", words(&signature.results)).unwrap();
            }
            let interface = interface.name.as_deref().expect("interfaces of a package have names");
            imports += &import(interface, name, &format!("f{at}"), &parameters);
            write!(body, "(call $f{at}").unwrap();
            let last = signature.params.len().saturating_sub(1);
            for (position, kind) in signature.params.iter().enumerate() {
                let value = match (name.as_str(), position) {
                    _ if signature.retptr && position == last => RESULT,
                    // One row without values: a loop over no rows asks for nothing.
                    ("run-each", 3) => ZEROS,
                    ("run-each", 4) => 1,
                    _ => 0,
                };
                write!(body, " ({}.const {value})", word(*kind)).unwrap();
            }
            body.push(')');
            body.push_str(&"(drop)".repeat(signature.results.len()));
            names.push(format!("{interface}.{name}"));
        }
    }
    (imports, body, names)
}

fn word(kind: WasmType) -> &'static str {
    match kind {
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
    }
}

#[tokio::test]
async fn every_function_of_the_contract_is_there_and_answers_through_the_session() {
    let (imports, body, names) = all_calls();
    assert!(names.len() > 30, "{names:?}");
    let apply = format!("{body}(i32.const {ANSWER})");
    let component =
        Runtime::new(&RuntimeOptions::default()).unwrap().load(&phase(&imports, &[("apply", &apply)])).unwrap();
    assert_eq!(component.imports(), ["clock", "dns", "exec", "files", "journal", "operator", "redis", "report", "sql"]);
    let bench = Bench::new().await;
    let session = bench.session(Verb::Apply, &[]);
    let answer = component.call(Verb::Apply, &context(1), session.clone()).await.unwrap();
    assert_eq!(answer, Answer::Done);
    assert_eq!(session.calls(), names.len() as u64, "each of {names:?} once");
}
