//! A disk that is blank again and again: a file system of its own, in a file on the disk that is measured.
//! ext4 does not reuse an inode for some minutes after it was deleted, and finds the next free one by looking at all of those
//! (`recently_deleted` in fs/ext4/ialloc.c): copies into folders whose former content was just removed took ten times as long
//! here, whatever tool made them. A new server's disk has no such past.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One disk, in use at its mount point. A killed bench leaves no mount behind where it has a mount namespace of its own.
pub struct Disk {
    image: PathBuf,
    pub mounted: PathBuf,
}

impl Disk {
    /// `messages` fit on it with room to spare. None: this user may not mount.
    pub fn new(folder: &Path, name: &str, messages: u64) -> Option<Self> {
        let mounted = folder.join(name);
        fs::create_dir_all(&mounted).expect("a folder");
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let image = folder.join(format!("{name}.image"));
        done("fallocate", &["-l", &(messages * 16 * 1024 + (256 << 20)).to_string(), text(&image)]);
        Some(Self { image, mounted })
    }

    /// Empty, as made just now.
    pub fn make_blank(&self) {
        self.unmount();
        let lazily = "lazy_itable_init=1,lazy_journal_init=1";
        done("mkfs.ext4", &["-q", "-F", "-i", "4096", "-E", lazily, text(&self.image)]);
        // Nobody initialises inode tables behind the back of what is measured.
        done("mount", &["-o", "loop,noinit_itable", text(&self.image), text(&self.mounted)]);
    }

    fn unmount(&self) {
        let device = |path: &Path| rustix::fs::stat(path).expect("a folder").st_dev;
        if device(&self.mounted) != device(self.image.parent().expect("a folder")) {
            done("umount", &[text(&self.mounted)]);
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.unmount();
        }
        _ = fs::remove_file(&self.image);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of the bench is text")
}

fn done(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}
