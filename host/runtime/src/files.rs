//! `files` for components: types are converted, the gatekeeper does the rest. The contract is in `wit/files.wit`.

use rehome_gatekeeper::types as ours;
use wasmtime::Result as Trapping;

use crate::bindings::rehome::phase::files::{
    Closeness, Comparison, Entry, Host, Kind, Path, Space, SyncReport, TouchedFolders,
};
use crate::bindings::rehome::phase::types::{Failure, Side};
use crate::convert::{answered, listed};
use crate::guest::Guest;

impl Host for Guest {
    async fn sync(&mut self, name: String) -> Trapping<Result<SyncReport, Failure>> {
        answered(self.session()?.sync(&name).await)
    }

    async fn compare(&mut self, name: String, how: Closeness) -> Trapping<Result<Comparison, Failure>> {
        answered(self.session()?.compare_files(&name, how.into()).await)
    }

    async fn touched(&mut self, name: String, since: Option<String>) -> Trapping<Result<TouchedFolders, Failure>> {
        answered(self.session()?.touched(&name, since.as_deref()).await)
    }

    async fn list(&mut self, name: String, on: Side, below: Path, depth: u32) -> Trapping<Result<Vec<Entry>, Failure>> {
        listed(self.session()?.list(&name, on.into(), &below, depth).await)
    }

    async fn read(&mut self, name: String, on: Side, file: Path) -> Trapping<Result<Vec<u8>, Failure>> {
        answered(self.session()?.read(&name, on.into(), &file).await)
    }

    async fn free(&mut self, name: String, on: Side) -> Trapping<Result<Space, Failure>> {
        answered(self.session()?.free_space(&name, on.into()).await)
    }

    async fn put(&mut self, name: String, on: Side, rows: Vec<Vec<String>>) -> Trapping<Result<(), Failure>> {
        answered(self.session()?.put(&name, on.into(), &rows).await)
    }

    async fn restore(&mut self, name: String, on: Side) -> Trapping<Result<(), Failure>> {
        answered(self.session()?.restore_file(&name, on.into()).await)
    }

    async fn set_aside(&mut self, name: String, on: Side, folders: Vec<Path>) -> Trapping<Result<u64, Failure>> {
        answered(self.session()?.set_aside(&name, on.into(), &folders).await)
    }
}

impl From<Closeness> for ours::Closeness {
    fn from(how: Closeness) -> Self {
        match how {
            Closeness::Metadata => ours::Closeness::Metadata,
            Closeness::Contents => ours::Closeness::Contents,
        }
    }
}

impl From<ours::Kind> for Kind {
    fn from(kind: ours::Kind) -> Self {
        match kind {
            ours::Kind::File => Kind::File,
            ours::Kind::Folder => Kind::Folder,
            ours::Kind::Symlink => Kind::Symlink,
            ours::Kind::Other => Kind::Other,
        }
    }
}

impl From<ours::Entry> for Entry {
    fn from(entry: ours::Entry) -> Self {
        let ours::Entry { path, kind, size, modified, mode, owner, links } = entry;
        Entry { path, kind: kind.into(), size, modified, mode, owner, links }
    }
}

impl From<ours::SyncReport> for SyncReport {
    fn from(report: ours::SyncReport) -> Self {
        let ours::SyncReport { examined, copied, bytes, renamed, set_aside, vanished, milliseconds, mark } = report;
        SyncReport { examined, copied, bytes, renamed, set_aside, vanished, milliseconds, mark }
    }
}

impl From<ours::FileComparison> for Comparison {
    fn from(found: ours::FileComparison) -> Self {
        let ours::FileComparison { examined, missing, missing_bytes, extra, different, examples } = found;
        Comparison { examined, missing, missing_bytes, extra, different, examples }
    }
}

impl From<(u64, u64)> for Space {
    fn from((bytes, inodes): (u64, u64)) -> Self {
        Space { bytes, inodes }
    }
}

impl From<ours::Touched> for TouchedFolders {
    fn from(touched: ours::Touched) -> Self {
        Self { folders: touched.folders, mark: touched.mark }
    }
}
