//! The two ends of a sync request: which folder of which side is read, and which is written.
//! Invariant: both are the manifest's, as the operator approved them. `files` opens them and runs the pass.

use std::path::PathBuf;
use std::sync::Arc;

use rehome_manifest::manifest::{Layout, Sync};
use rehome_sync::{Limit, Strategy, SyncOptions, Tree};

use super::{label, owner, patterns};
use crate::door::{Permit, Session};
use crate::types::{Failure, SideName};

/// What a sync request reads and writes.
pub(super) struct Ends {
    pub(super) from: SideName,
    pub(super) path: PathBuf,
    pub(super) to: SideName,
    pub(super) into: PathBuf,
    pub(super) options: SyncOptions,
}

impl Ends {
    pub(super) async fn open(&self, permit: &Permit) -> Result<(Arc<Tree>, Arc<Tree>), Failure> {
        let host = permit.host();
        Ok((host.tree(permit, self.from, &self.path).await?, host.tree(permit, self.to, &self.into).await?))
    }
}

impl Session {
    pub(super) fn sync_request(&self, name: &str) -> Result<Ends, Failure> {
        let id = format!("sync.{name}");
        let manifest = &self.filled().manifest;
        let request: &Sync = manifest.sync.get(name).ok_or_else(|| Failure::NotFound(id.clone()))?;
        let tree = manifest.tree.get(&request.tree).ok_or_else(|| Failure::NotFound(id.clone()))?;
        let options = SyncOptions {
            strategy: match request.layout {
                Layout::Plain => Strategy::Plain,
                Layout::Maildir => Strategy::Maildir,
            },
            scope: tree.scope.iter().map(|folder| folder.clone().into_bytes()).collect(),
            without: patterns(&id, &request.without)?,
            delete: request.delete,
            delete_limit: limit(&request.delete_limit).map_err(|why| Failure::other(&id, why))?,
            add_only: request.add_only,
            also_replace: patterns(&id, &request.also_replace)?,
            owner: request.owner.as_deref().map(owner),
            aside: label(&self.scope().phase, self.scope().run),
            ..SyncOptions::default()
        };
        let path = PathBuf::from(&tree.path);
        let into = request.into.as_ref().map_or_else(|| path.clone(), PathBuf::from);
        Ok(Ends { from: request.source(), path, to: request.to, into, options })
    }
}

fn limit(text: &str) -> Result<Limit, String> {
    let wrong = || format!("`{text}` is no limit: write a share like `5%` or a number of files");
    match text.strip_suffix('%') {
        Some(share) => share.trim().parse().ok().filter(|share| (0.0..=100.0).contains(share)).map(Limit::Percent),
        None => text.parse().ok().map(Limit::Count),
    }
    .ok_or_else(wrong)
}
