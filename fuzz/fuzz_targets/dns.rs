//! An answer of a name server, whatever it says.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| rehome_gatekeeper::fuzzing::dns_answer(data));
