//! `files`: granted trees and files on a side. Paths are resolved by `host/sync`, beneath the tree and through no link.

mod ends;

use std::path::Path;
use std::sync::Arc;

use rehome_manifest::manifest::{Access, File, Tree as TreeRequest};
use rehome_sync::{Comparison, Owner, Pattern, RelativePath, Tree};

use crate::door::{Call, Permit, Session};
use crate::host::{Event, tree_failure};
use crate::journal::BeforeImage;
use crate::types::{Closeness, Entry, Failure, FileComparison, Kind, SideName, SyncReport, Touched};

/// Entries that one `list` answers.
const MOST_ENTRIES: usize = 100_000;
/// Bytes that one `read` answers, and that a before-image may have.
const LARGEST: u64 = 1 << 20;

impl Session {
    /// The tree request of this name, if it lies on that side. Whether it is granted, the door says.
    pub(crate) fn granted_tree(&self, name: &str, on: SideName) -> Result<&TreeRequest, Failure> {
        match self.filled().manifest.tree.get(name) {
            Some(tree) if tree.on.contains(&on) => Ok(tree),
            _ => Err(Failure::Denied(format!("`tree.{name}` is not requested for {on}"))),
        }
    }

    /// `files.list`.
    pub async fn list(&self, name: &str, on: SideName, below: &[u8], depth: u32) -> Result<Vec<Entry>, Failure> {
        self.in_tree(name, on, below, |tree, id| async move {
            let depth = if depth == 0 { u32::MAX } else { depth };
            let entries = tree.list(below, depth, MOST_ENTRIES).await.map_err(|error| tree_failure(&id, error))?;
            Ok(entries.into_iter().map(entry).collect())
        })
        .await
    }

    /// `files.read`.
    pub async fn read(&self, name: &str, on: SideName, file: &[u8]) -> Result<Vec<u8>, Failure> {
        let access = self.filled().manifest.tree.get(name).map(|tree| tree.access);
        self.in_tree(name, on, file, |tree, id| async move {
            if access == Some(Access::List) {
                return Err(Failure::Denied(format!("`{id}` may be listed, not read: its `access` is `list`")));
            }
            tree.read(file, LARGEST).await.map_err(|error| tree_failure(&id, error))
        })
        .await
    }

    /// `files.free`: bytes and inodes of where the tree lies. It names no file, so that a scope does not matter.
    pub async fn free_space(&self, name: &str, on: SideName) -> Result<(u64, u64), Failure> {
        let id = format!("tree.{name}");
        let task_id = id.clone();
        self.pass(Call { request: &id, side: Some(on), values: &[], input: None }, |permit| async move {
            let request = self.granted_tree(name, on)?;
            let tree = permit.host().tree(&permit, on, Path::new(&request.path)).await?;
            let space = tree.free_space().await.map_err(|error| tree_failure(&task_id, error))?;
            Ok((space.bytes, space.inodes))
        })
        .await
    }

    async fn in_tree<T, F, Act>(&self, name: &str, on: SideName, path: &[u8], act: Act) -> Result<T, Failure>
    where
        T: serde::Serialize + serde::de::DeserializeOwned + Default + Send,
        F: Future<Output = Result<T, Failure>> + Send,
        Act: FnOnce(Arc<Tree>, String) -> F + Send,
    {
        let id = format!("tree.{name}");
        let shown = [rehome_sync::escape(path)];
        let values = if path.is_empty() { &[][..] } else { &shown[..] };
        let task_id = id.clone();
        self.pass(Call { request: &id, side: Some(on), values, input: None }, |permit| async move {
            let request = self.granted_tree(name, on)?;
            within(request, path).map_err(Failure::RefusedValue)?;
            let tree = permit.host().tree(&permit, on, Path::new(&request.path)).await?;
            act(tree, task_id).await
        })
        .await
    }

    /// `files.sync`.
    pub async fn sync(&self, name: &str) -> Result<SyncReport, Failure> {
        let id = format!("sync.{name}");
        let call = Call { request: &id, side: None, values: &[], input: None };
        let task_id = id.clone();
        let result = self
            .pass(call, |permit| async move {
                let ends = self.sync_request(name)?;
                let (source, target) = ends.open(&permit).await?;
                let journal = permit.host().journal.clone();
                let what = format!("{} to {}", ends.path.display(), ends.to);
                let watch = Watch { session: self, what, touches: Some(touched_key(ends.to, &ends.into)) };
                let options = ends.options;
                let tree = format!("{}:{} to {}:{}", ends.from, ends.path.display(), ends.to, ends.into.display());
                let leaves = journal.leaves(format!("{tree}, {}", options.meaning()));
                let report = rehome_sync::sync(&source, &target, &options, &leaves, &watch)
                    .await
                    .map_err(|error| tree_failure(&task_id, error));
                let report = report?;
                let mark = self.journaled(journal.touch_mark().await)?.to_string();
                for (path, why) in report.skipped.iter().take(20) {
                    self.note(crate::types::Level::Warning, format!("left out {path}: {why}"));
                }
                Ok(SyncReport {
                    examined: report.examined,
                    copied: report.copied,
                    bytes: report.bytes,
                    renamed: report.renamed + report.linked,
                    set_aside: report.set_aside,
                    vanished: report.vanished,
                    milliseconds: report.milliseconds,
                    mark,
                })
            })
            .await;
        self.reopen_after(result).await
    }

    /// `files.compare`. It only reads, whatever its request is for: granted with the sync request.
    pub async fn compare_files(&self, name: &str, how: Closeness) -> Result<FileComparison, Failure> {
        let id = format!("sync.{name}");
        let values = ["compare".to_string()];
        let result = self
            .pass_as_read(Call { request: &id, side: None, values: &values, input: None }, |permit| async move {
                let ends = self.sync_request(name)?;
                let (source, target) = ends.open(&permit).await?;
                let watch = Watch { session: self, what: format!("comparing {}", ends.path.display()), touches: None };
                let options = ends.options;
                let how = match how {
                    Closeness::Metadata => Comparison::Metadata,
                    Closeness::Contents => Comparison::Contents,
                };
                let found = rehome_sync::compare(&source, &target, &options, how, &watch)
                    .await
                    .map_err(|error| tree_failure(&format!("sync.{name}"), error))?;
                Ok(FileComparison {
                    examined: found.examined,
                    missing: found.missing,
                    missing_bytes: found.missing_bytes,
                    extra: found.extra,
                    different: found.different + found.renamed,
                    examples: found.examples.iter().map(|(path, what)| format!("{path}: {what}")).collect(),
                })
            })
            .await;
        self.reopen_after(result).await
    }

    /// `files.touched`.
    pub async fn touched(&self, name: &str, since: Option<&str>) -> Result<Touched, Failure> {
        let id = format!("tree.{name}");
        let mark = since.map_or(Ok(0), str::parse::<u64>).map_err(|_| {
            Failure::RefusedValue(format!(
                "files.touched: `{}` is no mark",
                crate::report::shown(since.unwrap_or_default())
            ))
        })?;
        let values = ["touched".to_string()];
        self.pass(Call { request: &id, side: None, values: &values, input: None }, |permit| async move {
            let tree =
                self.filled().manifest.tree.get(name).ok_or_else(|| Failure::NotFound(format!("tree.{name}")))?;
            // A tree that lies on old alone is asked for what an undo brought back there.
            let side = if tree.on == [SideName::Old] { SideName::Old } else { SideName::New };
            let key = touched_key(side, Path::new(&tree.path));
            let journal = &permit.host().journal;
            // The mark first: what is touched in between is told again the next time, never left out.
            let next = self.journaled(journal.touch_mark().await)?;
            let folders = self.journaled(journal.touched(&key, mark).await)?;
            Ok(Touched { folders, mark: next.to_string() })
        })
        .await
    }

    /// `files.put`.
    pub async fn put(&self, name: &str, on: SideName, rows: &[Vec<String>]) -> Result<(), Failure> {
        let id = format!("file.{name}");
        let request = self.filled().manifest.file.get(name).cloned();
        let task_id = id.clone();
        self.pass(Call { request: &id, side: Some(on), values: &[], input: None }, |permit| async move {
            let request = request.ok_or_else(|| Failure::NotFound(task_id.clone()))?;
            let mut text = request.text.clone();
            match (&request.line, rows.is_empty()) {
                (Some(line), _) => text.push_str(&self.fill_lines(&task_id, line, rows)?),
                (None, true) => {}
                (None, false) => return Err(Failure::RefusedValue(format!("`{task_id}` takes no rows"))),
            }
            let place = place(&permit, on, &request).await?;
            let before = place.content(&task_id).await?;
            let image = BeforeImage { content: before, written: Some(text.clone().into_bytes()) };
            self.journaled(permit.host().journal.keep_before(&place.key, &image).await)?;
            place.write(&task_id, text.as_bytes(), &request).await
        })
        .await
    }

    /// `files.restore`.
    pub async fn restore_file(&self, name: &str, on: SideName) -> Result<(), Failure> {
        let id = format!("file.{name}");
        let request = self.filled().manifest.file.get(name).cloned();
        let task_id = id.clone();
        let values = ["restore".to_string()];
        self.pass(Call { request: &id, side: Some(on), values: &values, input: None }, |permit| async move {
            let request = request.ok_or_else(|| Failure::NotFound(task_id.clone()))?;
            let place = place(&permit, on, &request).await?;
            let journal = permit.host().journal.clone();
            // Nothing was put: nothing to take back.
            let Some(kept) = self.journaled(journal.before_image(&place.key).await)? else { return Ok(()) };
            let now = place.content(&task_id).await?;
            if now != kept.content {
                if now != kept.written {
                    return Err(Failure::Conflict(format!(
                        "{} on {on} was changed by somebody else since rehome wrote it; put it right by hand",
                        request.path
                    )));
                }
                match &kept.content {
                    Some(content) => place.write(&task_id, content, &request).await?,
                    None => place.tree.remove(&place.name).await.map_err(|error| tree_failure(&task_id, error))?,
                }
            }
            self.journaled(journal.forget_before(&place.key).await)
        })
        .await
    }

    /// `files.set-aside`.
    pub async fn set_aside(&self, name: &str, on: SideName, folders: &[Vec<u8>]) -> Result<u64, Failure> {
        let id = format!("aside.{name}");
        let request = self.filled().manifest.aside.get(name).cloned();
        let values = [format!("{} folders", folders.len())];
        let label = label(&self.scope().phase, self.scope().run);
        let task_id = id.clone();
        let input = folders.concat();
        let input = Some(rehome_sync::escape(&input)).filter(|text| text.len() < 512);
        self.pass(Call { request: &id, side: Some(on), values: &values, input }, |permit| async move {
            let request = request.ok_or_else(|| Failure::NotFound(task_id.clone()))?;
            let tree_request = self.granted_tree(&request.tree, on)?;
            for folder in folders {
                within(tree_request, folder).map_err(Failure::RefusedValue)?;
            }
            let tree = permit.host().tree(&permit, on, Path::new(&tree_request.path)).await?;
            let names = patterns(&task_id, &request.names)?;
            tree.set_aside(folders, &names, &label).await.map_err(|error| tree_failure(&task_id, error))
        })
        .await
    }

    /// A connection that broke leaves opened trees behind that will not answer again.
    async fn reopen_after<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        if matches!(result, Err(Failure::Unreachable(_) | Failure::Other(_))) {
            self.host().forget_trees().await;
        }
        result
    }
}

/// Progress of a sync, as the phase's own.
struct Watch<'a> {
    session: &'a Session,
    what: String,
    /// under which key the folders that change are recorded
    touches: Option<String>,
}

impl rehome_sync::Observer for Watch<'_> {
    fn touching<'a>(&'a self, folders: &'a [Vec<u8>]) -> rehome_sync::Recorded<'a> {
        Box::pin(async move {
            match &self.touches {
                Some(key) => self.session.host().journal.touch(key, folders).await.map_err(|error| error.to_string()),
                None => Ok(()),
            }
        })
    }
    fn progress(&self, done: u64, total: Option<u64>, _bytes: u64) {
        let phase = self.session.scope().phase.clone();
        self.session.tell(Event::Progress { phase, done, total, what: self.what.clone() });
    }
    fn note(&self, text: &str) {
        self.session.note(crate::types::Level::Info, text.to_string());
    }
}

/// A file of a request: its folder as an opened tree, and its name.
struct Place {
    tree: Arc<Tree>,
    name: Vec<u8>,
    key: String,
}

async fn place(permit: &Permit, on: SideName, request: &File) -> Result<Place, Failure> {
    let path = Path::new(&request.path);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Failure::RefusedValue(format!("`{}` is no path of a file", request.path)));
    };
    let tree = permit.host().tree(permit, on, folder).await?;
    Ok(Place { tree, name: name.as_encoded_bytes().to_vec(), key: format!("{}:{}", on, request.path) })
}

impl Place {
    async fn content(&self, id: &str) -> Result<Option<Vec<u8>>, Failure> {
        match self.tree.read(&self.name, LARGEST).await {
            Ok(content) => Ok(Some(content)),
            Err(rehome_sync::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(tree_failure(id, error)),
        }
    }

    async fn write(&self, id: &str, content: &[u8], request: &File) -> Result<(), Failure> {
        let mode = u32::from_str_radix(&request.mode, 8).map_err(|error| Failure::other(id, error))?;
        let owner = owner(&request.owner);
        self.tree.put(&self.name, content, mode, Some(&owner)).await.map_err(|error| tree_failure(id, error))
    }
}

/// Whether a path lies in the scope of a tree, or above it.
pub(crate) fn within(tree: &TreeRequest, path: &[u8]) -> Result<(), String> {
    RelativePath::new(path).map_err(|error| error.to_string())?;
    let below = |folder: &String| {
        let folder = folder.as_bytes();
        path == folder || (path.starts_with(folder) && path.get(folder.len()) == Some(&b'/'))
    };
    // The root itself may be listed only where all of it is granted.
    if tree.scope.is_empty() || tree.scope.iter().any(below) {
        Ok(())
    } else {
        Err(format!("`{}` is outside the granted folders of {}", rehome_sync::escape(path), tree.path))
    }
}

fn touched_key(side: SideName, path: &Path) -> String {
    format!("{side}:{}", path.display())
}

fn label(phase: &str, run: u32) -> String {
    format!("{phase}-{run}")
}

fn owner(text: &str) -> Owner {
    let (user, group) = text.split_once(':').unwrap_or((text, text));
    Owner { user: user.to_string(), group: group.to_string() }
}

fn patterns(id: &str, names: &[String]) -> Result<Vec<Pattern>, Failure> {
    names.iter().map(|name| Pattern::new(name.as_bytes()).map_err(|error| Failure::other(id, error))).collect()
}

fn entry(entry: rehome_sync::Entry) -> Entry {
    Entry {
        path: entry.path.as_bytes().to_vec(),
        kind: match entry.kind {
            rehome_sync::Kind::File => Kind::File,
            rehome_sync::Kind::Folder => Kind::Folder,
            rehome_sync::Kind::Symlink => Kind::Symlink,
            rehome_sync::Kind::Other => Kind::Other,
        },
        size: entry.size,
        modified: entry.modified.0,
        mode: entry.mode,
        owner: entry.owner.to_string(),
        links: entry.links,
    }
}
