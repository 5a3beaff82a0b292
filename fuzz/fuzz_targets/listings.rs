//! Whatever a far side tells of its files: nothing panics, and no path leaves the tree.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| rehome_sync::fuzzing::listings(data));
