//! A lock is read, or refused; one that was read is written as it was.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use rehome_engine::lock::Lock;

fuzz_target!(|text: &str| {
    let path = Path::new("plan.lock");
    let Ok(lock) = Lock::parse(path, text) else { return };
    let written = toml::to_string_pretty(&lock).expect("what was read can be written");
    assert_eq!(Lock::parse(path, &written).expect("and read again"), lock);
});
