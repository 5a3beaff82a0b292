//! Two trees in a temporary folder, and an oracle that is not ours: rsync.
//! Invariant: everything lies in one folder that goes with the fixture; `outside` is beside the trees and must never change.
//! Used by every other file here.

use rehome_remote::{Options, Side, Target};
use rehome_sync::{Kept, Leaf, Pattern, State, Strategy, SyncOptions, SyncReport, Tree, sync};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// Which hands work on the source and on the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hands {
    Local,
    Agents,
    /// Agents on machines whose system calls they do not know.
    OldAgents,
}

/// The same test with both kinds of hands.
#[macro_export]
macro_rules! with_both_hands {
    ($($(#[$attribute:meta])* async fn $name:ident($hands:ident: Hands) $body:block)*) => {$(
        $(#[$attribute])*
        mod $name {
            use super::*;
            async fn test($hands: Hands) $body
            #[tokio::test]
            async fn by_local_hands() { $crate::fixture::within(test(Hands::Local)).await }
            #[tokio::test]
            async fn by_agents() { $crate::fixture::within(test(Hands::Agents)).await }
        }
    )*};
}

/// No test may take longer; none of them comes near.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(300), work).await.expect("a test that hangs has found a bug")
}

/// A point in the past: what is written there is never unripe.
pub const EPOCH: u64 = 1_600_000_000;

pub struct Pair {
    pub folder: TempDir,
    pub source: PathBuf,
    pub target: PathBuf,
    hands: Hands,
}

impl Pair {
    /// In memory where there is such a place: a disk that others write to makes every sync wait for them.
    pub fn new(hands: Hands) -> Self {
        let memory = Path::new("/dev/shm");
        let writable = tempfile::tempdir_in(memory).is_ok();
        if writable { Self::in_folder(hands, memory) } else { Self::on_disk(hands) }
    }

    pub fn on_disk(hands: Hands) -> Self {
        Self::in_folder(hands, &std::env::temp_dir())
    }

    fn in_folder(hands: Hands, parent: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("rehome-sync-").tempdir_in(parent).unwrap();
        let (source, target) = (folder.path().join("old/mail"), folder.path().join("new/mail"));
        for tree in [&source, &target] {
            fs::create_dir_all(tree).unwrap();
        }
        Self { folder, source, target, hands }
    }

    pub async fn trees(&self) -> (Tree, Tree) {
        (self.open(&self.source).await, self.open(&self.target).await)
    }

    pub async fn open(&self, root: &Path) -> Tree {
        open(self.hands, root).await
    }

    /// One pass.
    pub async fn pass(&self, options: &SyncOptions) -> SyncReport {
        let (source, target) = self.trees().await;
        sync(&source, &target, options, &(), &()).await.unwrap()
    }

    /// A pass after which rsync finds nothing to do, and a second pass neither.
    pub async fn converge(&self, options: &SyncOptions) -> SyncReport {
        let report = self.pass(options).await;
        self.assert_equal(&[]);
        let second = self.pass(options).await;
        assert!(second.changed_nothing(), "{second:?}");
        report
    }

    /// What rsync would still do to make the target equal to the source.
    pub fn rsync(&self, exclude: &[&str]) -> String {
        let mut command = std::process::Command::new("rsync");
        command.args(["-aHnci", "--delete", "--no-specials", "--no-devices"]);
        match self.hands {
            Hands::OldAgents => command.args(["--modify-window=0", "--omit-link-times"]),
            _ => command.args(["--modify-window=-1", "-AX"]),
        };
        command.args(exclude.iter().map(|pattern| format!("--exclude={pattern}")));
        let output = command.arg(slashed(&self.source)).arg(slashed(&self.target)).output();
        let output = match output {
            Err(error) if std::env::var_os("CI").is_none_or(|ci| ci != "true") => {
                println!("skipped: no rsync to ask: {error}");
                return String::new();
            }
            other => other.unwrap(),
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // The root itself is not rehome's.
        text.lines().filter(|line| !line.ends_with(" ./")).map(|line| format!("{line}\n")).collect()
    }

    pub fn assert_equal(&self, exclude: &[&str]) {
        assert_eq!(self.rsync(exclude), "");
    }

    /// Where things are set aside.
    pub fn aside(&self) -> PathBuf {
        self.folder.path().join("new/.rehome-aside/mail")
    }
}

pub async fn open(hands: Hands, root: &Path) -> Tree {
    let side = this_machine().await;
    match hands {
        Hands::Local => Tree::open(&side, root).await.unwrap(),
        Hands::Agents => Tree::open_by_agent(&side, root).await.unwrap(),
        Hands::OldAgents => Tree::open_by_old_agent(&side, root).await.unwrap(),
    }
}

pub async fn this_machine() -> Side {
    Side::connect(&Target::Local, &Options::default()).await.unwrap()
}

fn slashed(path: &Path) -> String {
    format!("{}/", path.display())
}

pub fn plain() -> SyncOptions {
    SyncOptions {
        delete: true,
        delete_limit: rehome_sync::Limit::None,
        aside: "label".to_owned(),
        ..SyncOptions::default()
    }
}

pub fn maildir() -> SyncOptions {
    SyncOptions { strategy: Strategy::Maildir, without: patterns(&["dovecot.index*"]), ..plain() }
}

pub fn patterns(globs: &[&str]) -> Vec<Pattern> {
    globs.iter().map(|glob| Pattern::new(glob).unwrap()).collect()
}

/// A path from bytes.
pub fn at(root: &Path, path: &[u8]) -> PathBuf {
    root.join(OsStr::from_bytes(path))
}

/// Writes a file, with the folders above it, modified at `EPOCH` plus so many seconds and some nanoseconds.
pub fn write(root: &Path, path: &[u8], content: &[u8], time: u64) {
    let file = at(root, path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, content).unwrap();
    set_time(&file, time);
}

pub fn set_time(file: &Path, time: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::new(EPOCH + time, 123_456_789);
    fs::File::open(file).unwrap().set_modified(time).unwrap();
}

pub fn set_mode(file: &Path, mode: u32) {
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
}

pub fn read(root: &Path, path: &[u8]) -> Vec<u8> {
    fs::read(at(root, path)).unwrap_or_else(|error| panic!("{}: {error}", String::from_utf8_lossy(path)))
}

pub fn exists(root: &Path, path: &[u8]) -> bool {
    at(root, path).symlink_metadata().is_ok()
}

pub fn inode(root: &Path, path: &[u8]) -> u64 {
    at(root, path).symlink_metadata().unwrap().ino()
}

/// Everything below a folder, with all that can be told of it: to see that nothing changed. Times of access are left out.
pub fn snapshot(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let stat = path.symlink_metadata().unwrap();
            let content = if stat.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            let content = BuildHasherDefault::<DefaultHasher>::default().hash_one(content);
            let points_to = fs::read_link(&path).ok();
            let (mode, links, size) = (stat.mode(), stat.nlink(), stat.size());
            let (seconds, nanoseconds) = (stat.mtime(), stat.mtime_nsec());
            let owner = (stat.uid(), stat.gid());
            found.push(format!(
                "{path:?} {mode:o} {links} {size} {seconds}.{nanoseconds} {owner:?} {points_to:?} {content:x}"
            ));
            if stat.is_dir() {
                waiting.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What passes know, in memory.
#[derive(Default)]
pub struct Memory(Mutex<BTreeMap<Vec<u8>, Leaf>>);

impl State for Memory {
    fn load(&self) -> Kept<'_, Vec<Leaf>> {
        Box::pin(async { Ok(self.0.lock().unwrap().values().cloned().collect()) })
    }
    fn store<'a>(&'a self, leaves: &'a [Leaf]) -> Kept<'a, ()> {
        self.0.lock().unwrap().extend(leaves.iter().map(|leaf| (leaf.folder.clone(), leaf.clone())));
        Box::pin(async { Ok(()) })
    }
    fn forget<'a>(&'a self, folders: &'a [Vec<u8>]) -> Kept<'a, ()> {
        self.0.lock().unwrap().retain(|folder, _| !folders.contains(folder));
        Box::pin(async { Ok(()) })
    }
    fn keeps(&self) -> bool {
        true
    }
}

impl Memory {
    /// How many leaves a pass would not even read.
    pub fn sure(&self) -> usize {
        self.0.lock().unwrap().values().filter(|leaf| leaf.source.is_some() && leaf.target.is_some()).count()
    }
}

/// A mailbox with nothing in it.
pub fn mailbox(root: &Path, path: &[u8]) {
    for leaf in ["cur", "new", "tmp"] {
        fs::create_dir_all(at(root, path).join(leaf)).unwrap();
    }
}

/// Whether rehome left unfinished files anywhere.
pub fn unfinished(root: &Path) -> Vec<String> {
    snapshot(root).into_iter().filter(|line| line.contains(".rehome-tmp-")).collect()
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
