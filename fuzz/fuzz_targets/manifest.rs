//! A manifest is read, or refused; one that was read can be filled, or says why not.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rehome_manifest::{Config, Manifest, fill};

fuzz_target!(|text: &str| {
    let Ok(manifest) = Manifest::parse(text) else { return };
    let Ok(config) = Config::check(&manifest, &toml::Table::new()) else { return };
    let Ok(filled) = fill(&manifest, config) else { return };
    for request in filled.requests.values() {
        let printable = |text: &str| text.chars().all(|letter| letter == '\n' || !letter.is_control());
        assert!(printable(&request.text), "{:?}", request.text);
    }
});
