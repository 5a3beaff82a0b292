//! The cache of compiled components, through the runtime: a second start compiles nothing; nothing doubtful is loaded.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rehome_gatekeeper::Component;
use rehome_gatekeeper::types::{Answer, Verb};
use rehome_runtime::{Loaded, Runtime, RuntimeOptions};

use crate::session::{Bench, context};
use rehome_hostile::guest::phase;

fn runtime(folder: &Path) -> Runtime {
    Runtime::new(&RuntimeOptions { cache_dir: Some(folder.to_path_buf()), ..RuntimeOptions::default() }).unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

async fn works(component: &Loaded) {
    let bench = Bench::new().await;
    let answer = component.call(Verb::Apply, &context(1), bench.session(Verb::Apply, &[])).await.unwrap();
    assert_eq!(answer, Answer::Done);
}

/// A folder with one compiled component in it.
fn filled() -> (tempfile::TempDir, Vec<u8>, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let bytes = phase("", &[]);
    let runtime = runtime(dir.path());
    assert!(runtime.warnings().is_empty());
    assert!(runtime.load(&bytes).unwrap().was_compiled());
    let found = files(dir.path());
    assert_eq!(found.len(), 1, "{found:?}");
    (dir, bytes, found[0].clone())
}

#[tokio::test]
async fn a_second_start_compiles_nothing_and_writes_nothing() {
    let (dir, bytes, file) = filled();
    let before = fs::metadata(&file).unwrap();
    let component = runtime(dir.path()).load(&bytes).unwrap();
    assert!(!component.was_compiled());
    works(&component).await;
    let after = fs::metadata(&file).unwrap();
    assert_eq!((before.ino(), before.mtime_nsec(), before.len()), (after.ino(), after.mtime_nsec(), after.len()));
    assert_eq!(after.mode() & 0o7777, 0o600);
    assert_eq!(files(dir.path()).len(), 1);
}

/// Where the other process of the next test finds the cache.
const FOLDER: &str = "REHOME_TEST_COMPILED";

#[test]
fn another_process_compiles_nothing_either() {
    let (dir, _, _) = filled();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "cache::the_other_process", "--include-ignored"])
        .env(FOLDER, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(files(dir.path()).len(), 1);
}

#[test]
#[ignore = "only the other process of another_process_compiles_nothing_either does something here"]
fn the_other_process() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        assert!(!runtime(Path::new(&folder)).load(&phase("", &[])).unwrap().was_compiled());
    }
}

#[test]
fn another_component_is_another_file() {
    let (dir, _, _) = filled();
    assert!(runtime(dir.path()).load(&phase("", &[("apply", "(unreachable)")])).unwrap().was_compiled());
    assert_eq!(files(dir.path()).len(), 2);
}

#[tokio::test]
async fn a_damaged_file_is_compiled_again_and_replaced() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [Damage; 5] = [
        |file| file[100] ^= 1,
        |file| file.truncate(file.len() / 2),
        |file| file.clear(),
        |file| file.push(0),
        |file| *file = b"something else entirely".to_vec(),
    ];
    let (dir, bytes, file) = filled();
    for damage in damages {
        let mut content = fs::read(&file).unwrap();
        damage(&mut content);
        fs::write(&file, content).unwrap();
        let component = runtime(dir.path()).load(&bytes).unwrap();
        assert!(component.was_compiled());
        works(&component).await;
        assert!(!runtime(dir.path()).load(&bytes).unwrap().was_compiled(), "it was replaced");
    }
}

#[test]
fn code_of_another_engine_under_the_right_name_is_not_loaded() {
    // Whole, with a right digest at its end, and made with other settings: wasmtime itself refuses it.
    let (dir, bytes, file) = filled();
    let foreign = wasmtime::Engine::default().precompile_component(&bytes).unwrap();
    let tail = fs::read(&file).unwrap();
    let mark = &tail[tail.len() - 16..];
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&foreign);
    fs::write(&file, [&foreign[..], &digest[..], mark].concat()).unwrap();
    assert!(runtime(dir.path()).load(&bytes).unwrap().was_compiled());
}

#[test]
fn a_file_that_others_can_write_is_not_loaded() {
    let (dir, bytes, file) = filled();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(runtime(dir.path()).load(&bytes).unwrap().was_compiled());
}

#[test]
fn a_link_in_place_of_the_file_is_not_followed() {
    let (dir, bytes, file) = filled();
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("moved");
    fs::rename(&file, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &file).unwrap();
    assert!(runtime(dir.path()).load(&bytes).unwrap().was_compiled());
    assert!(!fs::symlink_metadata(&file).unwrap().is_symlink(), "the link was replaced, not followed");
}

#[tokio::test]
async fn a_folder_that_others_can_write_is_not_used_and_a_warning_says_so() {
    let (dir, bytes, _) = filled();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let runtime = runtime(dir.path());
    let [warning] = runtime.warnings() else { panic!("{:?}", runtime.warnings()) };
    assert!(warning.contains(dir.path().to_str().unwrap()) && warning.contains("mode 0777"), "{warning}");
    let component = runtime.load(&bytes).unwrap();
    assert!(component.was_compiled());
    works(&component).await;
    assert_eq!(files(dir.path()).len(), 1, "nothing was written there");
}

#[test]
fn a_folder_that_became_open_to_others_meanwhile_is_not_used_any_more() {
    let (dir, bytes, _) = filled();
    let runtime = runtime(dir.path());
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(runtime.load(&bytes).unwrap().was_compiled());
}

#[test]
fn a_folder_that_cannot_be_written_costs_only_time() {
    let (dir, bytes, file) = filled();
    fs::remove_file(&file).unwrap();
    let runtime = runtime(dir.path());
    fs::remove_dir(dir.path()).unwrap();
    assert!(runtime.load(&bytes).unwrap().was_compiled());
    // For the temporary folder's own removal.
    fs::create_dir(dir.path()).unwrap();
}
