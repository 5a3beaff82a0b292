//! `rehome phase …`: for authors.

use crate::rehome::{Here, components};

#[test]
fn inspect_shows_what_a_component_asks_for() {
    let file = components().join("confirm.wasm");
    let said = Here::new().rehome(&format!("phase inspect {}", file.display()));
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stdout.starts_with("confirm 0.1.0"), "{}", said.stdout);
    assert!(said.stdout.contains("imports operator, journal and report\n"), "{}", said.stdout);
    assert!(said.stdout.contains("question.go-on"), "{}", said.stdout);
}

#[test]
fn inspect_of_something_else_says_what_it_is() {
    let here = Here::new();
    here.write("x.wasm", "hello");
    insta::assert_snapshot!(here.rehome("phase inspect x.wasm").all());
}

#[test]
fn new_writes_a_crate_and_overwrites_nothing() {
    let here = Here::new();
    let said = here.rehome("phase new stop-greylisting");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(here.path("stop-greylisting/manifest.toml").is_file());
    assert_eq!(here.rehome("phase new stop-greylisting").code, 1);
    assert_eq!(here.rehome("phase new Upper").code, 1);
}
