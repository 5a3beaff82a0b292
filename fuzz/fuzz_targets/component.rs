//! A file is looked into without being run: it is a component with a manifest, or it is told what it is.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Err(why) = rehome_builder::inspect(data) {
        assert!(!why.is_empty());
    }
});
