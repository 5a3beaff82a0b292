//! What passes know of folders, in memory during one, in a file from one to the next (a migration keeps it in its journal).
//! Invariant: read before a pass is measured, written after.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use rehome_sync::{FolderKey, Kept, Leaf, State};
use serde_json::{Value, json};

/// Leaves by their folders.
#[derive(Default)]
pub struct Leaves(Mutex<BTreeMap<Vec<u8>, Leaf>>);

impl Leaves {
    /// What is kept in this file; nothing if there is none.
    pub fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let leaves = text.lines().map(|line| leaf(&serde_json::from_str(line).expect("a line of this file's own")));
        Self(Mutex::new(leaves.map(|leaf| (leaf.folder.clone(), leaf)).collect()))
    }

    pub fn write(&self, file: &Path) {
        let leaves = self.0.lock().expect("no pass panicked");
        let lines = leaves.values().map(|leaf| {
            let Leaf { folder, source, target, files } = leaf;
            format!("{}\n", json!([folder, source.map(shown), target.map(shown), files]))
        });
        std::fs::write(file, lines.collect::<String>()).expect("a file for what passes know");
    }
}

fn shown(key: FolderKey) -> Value {
    json!([key.device, key.inode, key.changed.0, key.changed.1])
}

fn leaf(line: &Value) -> Leaf {
    let number = |value: &Value| value.as_u64().expect("a number");
    let key = |value: &Value| {
        let seconds = || value[2].as_i64().expect("a number");
        let changed = || (seconds(), u32::try_from(number(&value[3])).expect("nanoseconds"));
        value.is_array().then(|| FolderKey { device: number(&value[0]), inode: number(&value[1]), changed: changed() })
    };
    let bytes = line[0].as_array().expect("bytes").iter().map(|byte| u8::try_from(number(byte)).expect("a byte"));
    Leaf { folder: bytes.collect(), source: key(&line[1]), target: key(&line[2]), files: number(&line[3]) }
}

impl State for Leaves {
    fn load(&self) -> Kept<'_, Vec<Leaf>> {
        Box::pin(async { Ok(self.0.lock().expect("no pass panicked").values().cloned().collect()) })
    }

    fn store<'a>(&'a self, leaves: &'a [Leaf]) -> Kept<'a, ()> {
        let leaves = leaves.iter().map(|leaf| (leaf.folder.clone(), leaf.clone()));
        self.0.lock().expect("no pass panicked").extend(leaves);
        Box::pin(async { Ok(()) })
    }

    fn forget<'a>(&'a self, folders: &'a [Vec<u8>]) -> Kept<'a, ()> {
        self.0.lock().expect("no pass panicked").retain(|folder, _| !folders.contains(folder));
        Box::pin(async { Ok(()) })
    }

    fn keeps(&self) -> bool {
        true
    }
}
