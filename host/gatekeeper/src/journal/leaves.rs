//! What syncs know of folders from one pass to the next ([`rehome_sync::State`]): a row a leaf.
//! Invariant: rows are of one tree, one direction and one meaning of "equal"; those of another meaning are never read.

use rehome_sync::{FolderKey, Kept, Leaf};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row};

use super::{Journal, JournalError};

/// The leaves of one tree.
pub(crate) struct Leaves<'a> {
    journal: &'a Journal,
    /// tree, direction, meaning
    tree: String,
}

impl Journal {
    pub(crate) fn leaves(&self, tree: String) -> Leaves<'_> {
        Leaves { journal: self, tree }
    }
}

impl Leaves<'_> {
    async fn all(&self) -> Result<Vec<Leaf>, JournalError> {
        let mut connection = self.journal.connection().await;
        let rows = sqlx::query("SELECT folder, source, target, files FROM leaf WHERE tree = ?")
            .bind(&self.tree)
            .fetch_all(&mut *connection)
            .await
            .map_err(|e| self.journal.failed(e))?;
        rows.iter().map(|row| leaf(row).map_err(|e| self.journal.failed(e))).collect()
    }

    async fn replace(&self, leaves: &[Leaf]) -> Result<(), JournalError> {
        let mut connection = self.journal.connection().await;
        let mut transaction = connection.begin().await.map_err(|e| self.journal.failed(e))?;
        for leaf in leaves {
            sqlx::query("INSERT OR REPLACE INTO leaf (tree, folder, source, target, files) VALUES (?, ?, ?, ?, ?)")
                .bind(&self.tree)
                .bind(&leaf.folder)
                .bind(leaf.source.map(written))
                .bind(leaf.target.map(written))
                .bind(leaf.files as i64)
                .execute(&mut *transaction)
                .await
                .map_err(|e| self.journal.failed(e))?;
        }
        transaction.commit().await.map_err(|e| self.journal.failed(e))
    }

    async fn remove(&self, folders: &[Vec<u8>]) -> Result<(), JournalError> {
        let mut connection = self.journal.connection().await;
        let mut transaction = connection.begin().await.map_err(|e| self.journal.failed(e))?;
        for folder in folders {
            sqlx::query("DELETE FROM leaf WHERE tree = ? AND folder = ?")
                .bind(&self.tree)
                .bind(folder)
                .execute(&mut *transaction)
                .await
                .map_err(|e| self.journal.failed(e))?;
        }
        transaction.commit().await.map_err(|e| self.journal.failed(e))
    }
}

impl rehome_sync::State for Leaves<'_> {
    fn load(&self) -> Kept<'_, Vec<Leaf>> {
        Box::pin(async { self.all().await.map_err(|error| error.to_string()) })
    }

    fn store<'a>(&'a self, leaves: &'a [Leaf]) -> Kept<'a, ()> {
        Box::pin(async { self.replace(leaves).await.map_err(|error| error.to_string()) })
    }

    fn forget<'a>(&'a self, folders: &'a [Vec<u8>]) -> Kept<'a, ()> {
        Box::pin(async { self.remove(folders).await.map_err(|error| error.to_string()) })
    }

    fn keeps(&self) -> bool {
        true
    }
}

/// "DEVICE INODE SECONDS NANOSECONDS".
fn written(key: FolderKey) -> String {
    let FolderKey { device, inode, changed: (seconds, nanoseconds) } = key;
    format!("{device} {inode} {seconds} {nanoseconds}")
}

/// A key that cannot be read is none: the folder is looked into.
fn read(text: &str) -> Option<FolderKey> {
    let mut words = text.split(' ');
    let (device, inode) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(FolderKey { device, inode, changed: (words.next()?.parse().ok()?, words.next()?.parse().ok()?) })
}

fn leaf(row: &SqliteRow) -> Result<Leaf, sqlx::Error> {
    let key = |name: &str| -> Result<Option<FolderKey>, sqlx::Error> {
        Ok(row.try_get::<Option<String>, _>(name)?.as_deref().and_then(read))
    };
    let files = row.try_get::<i64, _>("files")? as u64;
    Ok(Leaf { folder: row.try_get("folder")?, source: key("source")?, target: key("target")?, files })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rehome_sync::State;

    #[tokio::test]
    async fn leaves_are_kept_for_their_own_tree_and_survive() {
        let folder = tempfile::tempdir().unwrap();
        let key = FolderKey { device: 1 << 40, inode: u64::MAX, changed: (-5, 999_999_999) };
        let leaf = |name: &[u8], source| Leaf { folder: name.to_vec(), source, target: None, files: 7 };
        {
            let journal = Journal::open(folder.path()).await.unwrap();
            let leaves = journal.leaves("mail".into());
            leaves.store(&[leaf(b"a\n\xff/cur", Some(key)), leaf(b"b/cur", Some(key))]).await.unwrap();
            leaves.store(&[leaf(b"b/cur", None)]).await.unwrap();
            journal.leaves("other".into()).store(&[leaf(b"c/cur", None)]).await.unwrap();
        }
        let journal = Journal::open(folder.path()).await.unwrap();
        let leaves = journal.leaves("mail".into());
        let mut all = leaves.load().await.unwrap();
        all.sort_by(|a, b| a.folder.cmp(&b.folder));
        assert_eq!(all, [leaf(b"a\n\xff/cur", Some(key)), leaf(b"b/cur", None)]);
        leaves.forget(&[b"b/cur".to_vec()]).await.unwrap();
        assert_eq!(leaves.load().await.unwrap().len(), 1);
    }
}
