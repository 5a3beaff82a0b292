//! What is not a phase is refused before anything of it runs, with an error that names it and the remedy.

use rehome_runtime::{LoadError, Loaded, Runtime, RuntimeOptions};

use rehome_hostile::guest::{component, module, phase};

fn load(bytes: &[u8]) -> Result<Loaded, LoadError> {
    Runtime::new(&RuntimeOptions::default()).unwrap().load(bytes)
}

fn refusal(bytes: &[u8]) -> LoadError {
    load(bytes).err().expect("it is refused")
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[test]
fn an_unknown_import_is_refused_even_if_it_is_empty() {
    let error = refusal(&wat("(component (import \"evil:host/shell@1.0.0\" (instance)))"));
    assert_eq!(error, LoadError::UnknownImport { import: "evil:host/shell@1.0.0".into() });
}

#[test]
fn wasi_is_refused_by_name() {
    let error = refusal(&wat("(component (import \"wasi:cli/environment@0.2.0\" (instance)))"));
    assert_eq!(error, LoadError::Wasi { import: "wasi:cli/environment@0.2.0".into() });
    assert!(error.to_string().contains("wasm32-unknown-unknown"));
}

#[test]
fn a_component_that_is_no_phase_is_refused() {
    assert_eq!(refusal(&wat("(component)")), LoadError::NoLifecycle);
}

#[test]
fn another_version_of_the_contract_is_refused_and_named() {
    let error = refusal(&wat("(component (import \"rehome:phase/exec@0.2.0\" (instance)))"));
    assert_eq!(error, LoadError::OtherVersion { name: "rehome:phase/exec@0.2.0".into() });
    let error = refusal(&wat("(component (instance $i) (export \"rehome:phase/lifecycle@0.3.0\" (instance $i)))"));
    assert_eq!(error, LoadError::OtherVersion { name: "rehome:phase/lifecycle@0.3.0".into() });
}

#[test]
fn a_lifecycle_without_its_functions_is_refused() {
    let error = refusal(&wat("(component (instance $i) (export \"rehome:phase/lifecycle@0.1.0\" (instance $i)))"));
    let LoadError::Contract { what } = &error else { panic!("{error}") };
    assert!(what.contains("check"), "{what}");
}

#[test]
fn a_function_that_this_contract_does_not_have_is_refused_and_named() {
    let later = "(component
        (import \"rehome:phase/clock@0.1.9\" (instance (export \"leap\" (func))))
        (instance $i) (export \"rehome:phase/lifecycle@0.1.9\" (instance $i)))";
    let error = refusal(&wat(later));
    let LoadError::Contract { what } = &error else { panic!("{error}") };
    assert!(what.contains("leap"), "{what}");
}

#[test]
fn precompiled_code_is_never_loaded_from_outside() {
    let bytes = phase("", &[]);
    let compiled = wasmtime::Engine::default().precompile_component(&bytes).unwrap();
    assert_eq!(refusal(&compiled), LoadError::Precompiled);
    let module = wasmtime::Engine::default().precompile_module(b"\0asm\x01\0\0\0").unwrap();
    assert_eq!(refusal(&module), LoadError::Precompiled);
}

#[test]
fn a_core_module_a_text_and_a_cut_file_are_told_apart() {
    assert_eq!(refusal(&wat(&module("", &[], 1))), LoadError::CoreModule);
    assert!(matches!(refusal(b"(component)"), LoadError::NotAComponent { .. }));
    let whole = phase("", &[]);
    for end in [0, 1, 8, whole.len() / 2, whole.len() - 1] {
        let error = refusal(&whole[..end]);
        assert!(
            matches!(error, LoadError::NotAComponent { .. } | LoadError::NoLifecycle | LoadError::Compile { .. }),
            "{end}: {error}"
        );
    }
}

#[test]
fn a_flipped_bit_never_loads_as_the_same_component() {
    let whole = phase("", &[("apply", "(unreachable)")]);
    let digest = load(&whole).unwrap().digest().to_string();
    let runtime = Runtime::new(&RuntimeOptions::default()).unwrap();
    for at in (0..whole.len()).step_by(97) {
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        // Refused, or another digest than the one that was approved: never a panic, never taken for the same.
        if let Ok(loaded) = runtime.load(&flipped) {
            assert_ne!(loaded.digest(), digest);
        }
    }
}

#[test]
fn a_loaded_component_says_what_it_is() {
    let bytes = component(&module("", &[], 1));
    let loaded = load(&bytes).unwrap();
    assert_eq!(loaded.size(), bytes.len());
    assert!(loaded.digest().starts_with("sha256:") && loaded.digest().len() == 71, "{}", loaded.digest());
    assert!(loaded.was_compiled());
}
