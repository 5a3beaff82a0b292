//! Arguments come out of a real sh as they were: byte for byte, whatever they hold.

#![no_main]

use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let words: Vec<&[u8]> = data.split(|byte| *byte == 0).collect();
    let line = [b"printf '%s\\0' ".to_vec(), rehome_remote::fuzzing::line(&words)].concat();
    let output = Command::new("/bin/sh").arg("-c").arg(std::ffi::OsStr::from_bytes(&line)).output().expect("a shell");
    let mut expected = words.join(&0);
    expected.push(0);
    assert!(output.stdout == expected && output.stderr.is_empty(), "{words:?} became {output:?}");
});
