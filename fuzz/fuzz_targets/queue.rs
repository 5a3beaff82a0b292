//! A line of `postqueue -j`, whatever it says.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &str| rehome_phase_postfix::queue::fuzz(line));
