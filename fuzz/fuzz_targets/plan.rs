//! A plan is read, or refused with its place; nothing else.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use rehome_engine::{Error, Plan};

fuzz_target!(|text: &str| {
    if let Err(error) = Plan::parse(Path::new("plan.toml"), text) {
        let explanation = Error::from(error).explain();
        assert!(!explanation.headline.is_empty() && !explanation.headline.contains('\n'), "{explanation:?}");
    }
});
