//! The private folder for ssh masters and forwarded sockets: one subfolder for each connection.
//! Invariant: only this user can enter it (a socket in it is as good as the login it leads to), and a subfolder lives
//! as long as the lock (flock(2)) that its owner holds; what a killed rehome left is removed by the next to come.
//! `master.rs` and `forward.rs` put sockets here.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{FlockOperation, flock};

use crate::Error;

/// ssh binds its master's socket as `NAME.` and 16 random characters first, then renames it.
const LONGEST_NAME: usize = "/m".len() + 17;
/// `sun_path` with its NUL, unix(7).
const SUN_PATH: usize = 108;
const SUBFOLDER: &str = "s-";

/// A connection's own subfolder; removed on drop.
pub(crate) struct ControlFolder {
    folder: tempfile::TempDir,
    next: AtomicU32,
    _alive: File,
}

impl ControlFolder {
    /// Makes (or checks) `base`, removes from it what nobody owns any more, and takes a new subfolder.
    /// Blocking, for a moment.
    pub(crate) fn claim(base: &Path, side: &str) -> Result<Self, Error> {
        let unusable = |reason: String| Error::ControlDir { side: side.to_owned(), path: base.to_owned(), reason };
        if !base.is_absolute() {
            return Err(unusable("the path must be absolute".into()));
        }
        let longest = SUN_PATH - 1 - LONGEST_NAME - "/s-XXXXXX".len();
        let length = base.as_os_str().len();
        if length > longest {
            return Err(unusable(format!(
                "the path has {length} bytes; a unix socket's name leaves room for {longest}"
            )));
        }
        private(base).map_err(&unusable)?;
        claim_in(base).map_err(|error| unusable(error.to_string()))
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A name for a new socket, never given twice.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path().join(format!("f{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }
}

/// Makes sure that `base` is a folder of ours that nobody else can enter.
fn private(base: &Path) -> Result<(), String> {
    match DirBuilder::new().recursive(true).mode(0o700).create(base) {
        // It may still be a link to a folder, or somebody else's: looked at below.
        Ok(()) => {}
        Err(error) => return Err(error.to_string()),
    }
    let found = fs::symlink_metadata(base).map_err(|error| error.to_string())?;
    if !found.is_dir() {
        return Err("it is not a folder".into());
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(format!("it belongs to uid {}", found.uid()));
    }
    if found.mode() & 0o077 != 0 {
        return Err(format!("others can enter it (mode {:04o})", found.mode() & 0o7777));
    }
    Ok(())
}

fn claim_in(base: &Path) -> io::Result<ControlFolder> {
    let door = lock_file(&base.join("lock"))?;
    // Held for the few system calls below, so that nobody removes a subfolder between its making and its locking.
    flock(&door, FlockOperation::LockExclusive)?;
    for entry in fs::read_dir(base)? {
        let entry = entry?;
        if entry.file_name().as_bytes().starts_with(SUBFOLDER.as_bytes()) && abandoned(&entry.path()) {
            // A socket may vanish at the same moment, when its master ends.
            _ = fs::remove_dir_all(entry.path());
        }
    }
    let folder =
        tempfile::Builder::new().prefix(SUBFOLDER).permissions(fs::Permissions::from_mode(0o700)).tempdir_in(base)?;
    let alive = lock_file(&folder.path().join("alive"))?;
    flock(&alive, FlockOperation::NonBlockingLockExclusive)?;
    Ok(ControlFolder { folder, next: AtomicU32::new(0), _alive: alive })
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

/// Whether nobody holds the subfolder's lock. One without a lock file was left between two system calls.
fn abandoned(subfolder: &Path) -> bool {
    match OpenOptions::new().write(true).open(subfolder.join("alive")) {
        Ok(file) => flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn base() -> (tempfile::TempDir, PathBuf) {
        let tree = tempfile::tempdir().unwrap();
        let base = tree.path().join("c");
        (tree, base)
    }

    #[test]
    fn a_subfolder_is_private_and_goes_with_its_owner() {
        let (_tree, base) = base();
        let one = ControlFolder::claim(&base, "old").unwrap();
        let two = ControlFolder::claim(&base, "old").unwrap();
        assert_ne!(one.path(), two.path());
        assert!(one.path().exists(), "a second owner leaves the first alone");
        for path in [&base, one.path()] {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o700);
        }
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists());
        assert!(two.path().exists());
    }

    #[test]
    fn what_a_killed_rehome_left_is_removed() {
        let (_tree, base) = base();
        drop(ControlFolder::claim(&base, "old").unwrap());
        let stale = base.join("s-killed");
        fs::create_dir(&stale).unwrap();
        fs::write(stale.join("alive"), "").unwrap();
        fs::write(stale.join("m"), "").unwrap();
        fs::create_dir(base.join("not-ours")).unwrap();
        let _now = ControlFolder::claim(&base, "old").unwrap();
        assert!(!stale.exists());
        assert!(base.join("not-ours").exists());
    }

    #[test]
    fn a_folder_that_others_can_enter_is_refused() {
        let (_tree, base) = base();
        fs::create_dir(&base).unwrap();
        fs::set_permissions(&base, fs::Permissions::from_mode(0o750)).unwrap();
        let error = ControlFolder::claim(&base, "old").err().unwrap().to_string();
        assert!(error.contains("others can enter it (mode 0750)"), "{error}");
    }

    #[test]
    fn a_link_is_not_followed() {
        let (tree, base) = base();
        let elsewhere = tree.path().join("elsewhere");
        DirBuilder::new().mode(0o700).create(&elsewhere).unwrap();
        symlink(&elsewhere, &base).unwrap();
        assert!(ControlFolder::claim(&base, "old").err().unwrap().to_string().contains("not a folder"));
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_refused_with_the_number_of_bytes() {
        let error = ControlFolder::claim(Path::new(&format!("/tmp/{}", "x".repeat(90))), "old").err().unwrap();
        assert!(error.to_string().contains("has 95 bytes; a unix socket's name leaves room for 79"), "{error}");
    }
}
