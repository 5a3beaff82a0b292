//! Compiled components, kept in a folder so that a second start compiles nothing. Invariant: native code is only ever
//! loaded from a folder that belongs to us and that nobody else can write, from a file of ours, whole (a digest at its
//! end), made by this wasmtime with these settings from this component (its name is a hash of all three).

#![expect(clippy::disallowed_methods, reason = "the one place of this crate that has files")]

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Ends each file, after the digest of what comes before both. Its number changes with the layout.
const MARK: &[u8; 16] = b"rehome compiled1";
const TAIL: usize = 32 + MARK.len();
/// What is being written ends in this, and when it is this old, who wrote it was killed.
const TEMPORARY: &str = ".tmp";
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// An opened folder of compiled components.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
}

/// Why a folder is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("cannot use {}: {source}", folder.display())]
    Io { folder: PathBuf, source: io::Error },
    #[error("{} is not a folder (a link to one does not count)", folder.display())]
    NotAFolder { folder: PathBuf },
    #[error("{} belongs to user {owner}, and rehome runs as user {us}", folder.display())]
    Foreign { folder: PathBuf, owner: u32, us: u32 },
    #[error("{} can be written by others (mode {mode:04o}); `chmod go-w` it", folder.display())]
    Open { folder: PathBuf, mode: u32 },
}

/// Why a file is not loaded.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is no regular file of ours that only we can write")]
    Foreign,
    #[error("it is damaged")]
    Damaged,
    #[error("{0}")]
    Wasmtime(String),
}

/// Names a component, an engine and its settings at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Key {
    /// `digest` is the component's. The engine's own hash covers wasmtime's version, the machine it compiles for and every
    /// setting that compiled code depends on.
    pub(crate) fn new(digest: &[u8], engine: &Engine) -> Key {
        let mut hasher = Hashing(Sha256::new());
        hasher.write(MARK);
        hasher.write(digest);
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Key(hex(&hasher.0.finalize()))
    }
}

/// Feeds whatever hashes itself to SHA-256.
struct Hashing(Sha256);

impl Hasher for Hashing {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        u64::from_le_bytes(std::array::from_fn(|at| digest[at]))
    }
}

impl Cache {
    /// Opens the folder, or makes it with mode 0700.
    pub(crate) fn open(folder: &Path) -> Result<Cache, Unusable> {
        let folder = folder.to_path_buf();
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        // An existing file of that name is no I/O error: the look below says what it is.
        if let Err(source) = made
            && source.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(Unusable::Io { folder, source });
        }
        let cache = Cache { folder };
        cache.trusted()?;
        cache.tidy();
        Ok(cache)
    }

    /// Removes what killed processes left. What cannot be removed does no harm.
    fn tidy(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let old = |found: fs::Metadata| found.modified().ok()?.elapsed().ok().map(|age| age > LEFT_BEHIND);
            let temporary = entry.file_name().as_encoded_bytes().ends_with(TEMPORARY.as_bytes());
            if temporary && entry.metadata().ok().and_then(old) == Some(true) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn trusted(&self) -> Result<(), Unusable> {
        let folder = self.folder.clone();
        let found = match fs::symlink_metadata(&folder) {
            Ok(found) => found,
            Err(source) => return Err(Unusable::Io { folder, source }),
        };
        let us = rustix::process::geteuid().as_raw();
        if !found.is_dir() {
            Err(Unusable::NotAFolder { folder })
        } else if found.uid() != us {
            Err(Unusable::Foreign { folder, owner: found.uid(), us })
        } else if found.mode() & 0o022 != 0 {
            Err(Unusable::Open { folder, mode: found.mode() & 0o7777 })
        } else {
            Ok(())
        }
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(format!("{}.cwasm", key.0))
    }

    /// The compiled component, if it is there and to be trusted. If not, it is compiled again.
    pub(crate) fn load(&self, engine: &Engine, key: &Key) -> Option<Component> {
        let path = self.path(key);
        match self.trusted().map_err(|why| Refused::Wasmtime(why.to_string())).and_then(|()| load(engine, &path)) {
            Ok(component) => Some(component),
            Err(Refused::Io(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(why) => {
                tracing::warn!(file = %path.display(), %why, "a compiled component is not used, and compiled again");
                None
            }
        }
    }

    /// Keeps a compiled component. A cache that cannot be written costs time, nothing else.
    pub(crate) fn keep(&self, key: &Key, component: &Component) {
        let path = self.path(key);
        let kept = component.serialize().map_err(|error| Refused::Wasmtime(error.to_string())).and_then(|compiled| {
            self.trusted().map_err(|why| Refused::Wasmtime(why.to_string()))?;
            Ok(self.write(&path, &compiled)?)
        });
        if let Err(why) = kept {
            tracing::warn!(file = %path.display(), %why, "a compiled component cannot be kept: the next start compiles it again");
        }
    }

    /// Under another name first: who looks finds a whole file or none, and a file in use is never written into.
    fn write(&self, path: &Path, compiled: &[u8]) -> io::Result<()> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!(".{}-{}{TEMPORARY}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let temporary = self.folder.join(name);
        let written = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&temporary)
            .and_then(|mut file| {
                file.write_all(compiled)?;
                file.write_all(&Sha256::digest(compiled))?;
                file.write_all(MARK)
            })
            .and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

fn load(engine: &Engine, path: &Path) -> Result<Component, Refused> {
    let mut file = fs::OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o022 != 0 {
        return Err(Refused::Foreign);
    }
    whole(&mut file, found.len())?;
    // SAFETY: the code was made by this wasmtime with these settings (the name says so, and wasmtime looks again), its
    // digest shows that it is as it was written, and it lies where only we can write: `trusted` and the look above.
    // What we ourselves write into such a file we write under another name, so that it does not change while it is mapped.
    unsafe { Component::deserialize_file(engine, path) }.map_err(|error| Refused::Wasmtime(error.to_string()))
}

/// Whether the file ends in the digest of all that comes before. The tail does not disturb wasmtime: the file is an ELF
/// image, which says itself where its sections are.
fn whole(file: &mut fs::File, length: u64) -> Result<(), Refused> {
    let Some(mut left) = length.checked_sub(TAIL as u64) else { return Err(Refused::Damaged) };
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    while left > 0 {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = file.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(Refused::Damaged);
        }
        hasher.update(&buffer[..read]);
        left -= read as u64;
    }
    let mut tail = [0; TAIL];
    file.read_exact(&mut tail)?;
    if tail[..32] == hasher.finalize()[..] && &tail[32..] == MARK { Ok(()) } else { Err(Refused::Damaged) }
}

/// Lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_folder_is_made_private() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/cache");
        Cache::open(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o7777, 0o700);
    }

    #[test]
    fn a_folder_that_others_can_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for mode in [0o777, 0o770, 0o702] {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(Cache::open(dir.path()), Err(Unusable::Open { .. })), "{mode:o}");
        }
    }

    #[test]
    fn a_link_or_a_file_instead_of_the_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        Cache::open(&real).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(matches!(Cache::open(&link), Err(Unusable::NotAFolder { .. })));
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(Cache::open(&file), Err(Unusable::NotAFolder { .. })));
    }

    #[test]
    fn a_file_counts_only_whole() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        let path = cache.path(&Key("k".into()));
        cache.write(&path, b"compiled").unwrap();
        let look = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            whole(&mut fs::File::open(&path).unwrap(), bytes.len() as u64)
        };
        let good = fs::read(&path).unwrap();
        assert!(look(&good).is_ok());
        let mut flipped = good.clone();
        flipped[3] ^= 1;
        for bad in [&flipped[..], &good[..good.len() - 1], &good[1..], b"", b"short"] {
            assert!(look(bad).is_err());
        }
        assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn what_a_killed_process_left_is_removed_later() {
        let dir = tempfile::tempdir().unwrap();
        let (old, young, other) =
            (dir.path().join(".1-0.tmp"), dir.path().join(".2-0.tmp"), dir.path().join("a.cwasm"));
        for path in [&old, &young, &other] {
            let long_ago = std::time::SystemTime::now() - 2 * LEFT_BEHIND;
            let file = fs::File::create(path).unwrap();
            file.set_modified(if path == &young { std::time::SystemTime::now() } else { long_ago }).unwrap();
        }
        Cache::open(dir.path()).unwrap();
        assert_eq!((old.exists(), young.exists(), other.exists()), (false, true, true));
    }

    #[test]
    fn the_key_changes_with_component_and_settings() {
        let plain = Engine::default();
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(true);
        let other = Engine::new(&config).unwrap();
        assert_eq!(Key::new(b"a", &plain), Key::new(b"a", &plain));
        assert_ne!(Key::new(b"a", &plain), Key::new(b"b", &plain));
        assert_ne!(Key::new(b"a", &plain), Key::new(b"a", &other));
    }
}
