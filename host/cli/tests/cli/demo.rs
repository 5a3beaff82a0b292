//! The embedded default: a whole migration in a folder, by the same verbs; afterwards both sides are alike.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::rehome::{Here, components};

/// Every file with its content, by its path as bytes.
fn files(root: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn a_whole_migration_ends_with_both_sides_alike() {
    components();
    let here = Here::new();
    let said = here.rehome("demo d");
    assert_eq!(said.code, 0, "{}\n{}", said.stdout, said.stderr);
    for typed in [
        "rehome approve --yes",
        "rehome check",
        "rehome preview",
        "rehome apply",
        "rehome answer confirm go-on yes",
        "rehome verify",
    ] {
        assert!(said.stdout.contains(&format!("$ {typed}\n")), "{typed}\n{}", said.stdout);
    }
    assert!(said.stderr.contains("nothing left to do"), "{}", said.stderr);
    let (old, new) = (files(&here.path("d/old/var/vmail")), files(&here.path("d/new/var/vmail")));
    assert!(old.len() > 3000, "{}", old.len());
    let differing: Vec<_> = old
        .iter()
        .filter(|(path, content)| new.get(*path) != Some(content))
        .map(|(path, _)| String::from_utf8_lossy(path))
        .collect();
    assert!(differing.is_empty(), "{differing:?}");
    let extra: Vec<_> =
        new.keys().filter(|path| !old.contains_key(*path)).map(|path| String::from_utf8_lossy(path)).collect();
    assert!(extra.is_empty(), "{extra:?}");

    // The folder is an ordinary migration from then on.
    let status = here.rehome("--plan d/plan.toml status");
    assert!(status.stdout.contains("everything is done"), "{}", status.stdout);
    // And is not made anew without a word.
    assert_eq!(here.rehome("demo d").code, 2);
    assert_eq!(here.rehome("demo --fresh d").code, 0);
    here.write("mine", "");
    assert_eq!(here.rehome("demo --fresh .").code, 2);
}
