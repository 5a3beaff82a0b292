//! What a hand tells about folders becomes entries here, after every one was checked: the side may be hostile.
//! Invariant: each entry's folder was listed as a folder before (or asked for), no path comes twice, names are names.
//! Rehome's own things (unfinished files, what was set aside) are kept apart.

use crate::hand::{ASIDE, RawEntry};
use crate::temporary::{is_staged, is_temporary};
use crate::{Entry, Error, FolderKey, Kind, RelativePath, escape, path};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// More than any tree that fits on one machine's mail disk; a side that never stops listing is stopped here.
pub(crate) const MOST_ENTRIES: usize = 20_000_000;
/// What one listing may take in memory: some four million files of one account, by names of usual length.
const MOST_BYTES: usize = 1 << 30;
/// What an entry takes as a rule, in bytes. One that takes more (attributes, long names) counts as several.
const USUAL: usize = 512;

/// Entries of some folders, in byte order of their paths (so a folder comes before what it holds).
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub entries: Vec<Entry>,
    /// Unfinished files of passes that were killed, and folders that were being filled, below what they hold.
    pub leftovers: Vec<RelativePath>,
    /// Folders that vanished while they were listed.
    pub gone: Vec<RelativePath>,
    /// Known leaves, of which no entries are here.
    pub leaves: BTreeMap<RelativePath, Names>,
    /// Files in leaves that are equal on both sides, which are not among the entries.
    pub unlisted: u64,
    /// As how many more than there are the entries count.
    pub heavy: usize,
}

/// What was told of a known leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Names {
    /// It is what it was.
    Same,
    /// Its names, each ended by a NUL.
    All(Vec<u8>),
}

impl Names {
    /// The names, as they were told; some file systems tell one twice when it is replaced meanwhile (btrfs).
    pub(crate) fn each(&self) -> impl Iterator<Item = &[u8]> {
        let joined: &[u8] = match self {
            Self::All(joined) => joined,
            Self::Same => b"",
        };
        joined.split(|&byte| byte == 0).filter(|name| !name.is_empty())
    }

    /// How many there are; of those that were told twice, both.
    pub(crate) fn count(&self) -> u64 {
        self.each().count() as u64
    }
}

/// So many names count as one entry: they take less memory, and hardly any time.
pub(crate) const NAMES_AN_ENTRY: usize = 8;

impl Listing {
    pub(crate) fn sort(&mut self) {
        self.entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    }

    /// The entry at `path`.
    pub(crate) fn find(&self, path: &[u8]) -> Option<usize> {
        self.entries.binary_search_by(|entry| entry.path.as_bytes().cmp(path)).ok()
    }

    /// Checks the answer to a question about one path.
    pub(crate) fn single(
        side: &str,
        asked: &RelativePath,
        folder: &[u8],
        entries: Vec<RawEntry>,
    ) -> Result<Entry, Error> {
        let mut collector = Collector::new(side, usize::MAX);
        collector.expect(folder, 1);
        collector.keep_own = true;
        collector.take(folder, entries)?;
        match collector.listing.entries.pop() {
            Some(entry) if entry.path == *asked && collector.listing.entries.is_empty() => Ok(entry),
            _ => Err(collector.refuse("another entry than was asked for", asked.as_bytes())),
        }
    }
}

/// Leaves, and what they were on one side; none: their names have to be told.
pub(crate) type Keys = HashMap<Vec<u8>, Option<FolderKey>>;

/// Takes answers until a listing is complete.
pub(crate) struct Collector {
    side: String,
    limit: usize,
    /// Folders that may be listed, with the levels below them.
    expected: HashMap<Vec<u8>, u32>,
    /// Folders that were told to hold nothing (more).
    ended: HashSet<Vec<u8>>,
    keep_own: bool,
    /// What the hand was told to know.
    known: Arc<Keys>,
    /// What those of them are now that were listed as folders.
    keys: HashMap<Vec<u8>, FolderKey>,
    /// Entries and names that were told, kept or not.
    told: usize,
    /// How many of these were names alone.
    told_names: usize,
    /// Bytes that all of it takes.
    kept: usize,
    listing: Listing,
}

impl Collector {
    pub(crate) fn new(side: &str, limit: usize) -> Self {
        Self {
            side: side.to_owned(),
            limit,
            expected: HashMap::new(),
            ended: HashSet::new(),
            keep_own: false,
            known: Arc::default(),
            keys: HashMap::new(),
            told: 0,
            told_names: 0,
            kept: 0,
            listing: Listing::default(),
        }
    }

    /// For the names of one folder that was asked for.
    pub(crate) fn for_names(side: &str, folder: &RelativePath) -> Self {
        let mut collector = Self::new(side, usize::MAX);
        let nothing = FolderKey { device: 0, inode: 0, changed: (0, 0) };
        collector.keys.insert(folder.as_bytes().to_vec(), nothing);
        collector
    }

    /// `folder` was asked for.
    pub(crate) fn expect(&mut self, folder: &[u8], depth: u32) {
        self.expected.insert(folder.to_vec(), depth);
        self.ended.remove(folder);
    }

    /// The hand knows these.
    pub(crate) fn know(&mut self, leaves: Arc<Keys>) {
        self.known = leaves;
    }

    /// How much was told so far, in entries.
    pub(crate) fn volume(&self) -> usize {
        self.told - self.told_names + self.told_names / NAMES_AN_ENTRY + self.listing.heavy
    }

    /// Known leaves below a folder whose names were told.
    pub(crate) fn leaves_below(&self, folder: &RelativePath) -> Vec<RelativePath> {
        let leaves = self.listing.leaves.range(folder.clone()..);
        // In byte order `a.b` comes between `a` and `a/b`.
        let leaves = leaves.take_while(|(leaf, _)| leaf.as_bytes().starts_with(folder.as_bytes()));
        let leaves = leaves.filter(|(leaf, names)| leaf.is_within(folder.as_bytes()) && **names != Names::Same);
        leaves.map(|(leaf, _)| leaf.clone()).collect()
    }

    /// Whether it was told to be what it was.
    pub(crate) fn is_same(&self, leaf: &RelativePath) -> bool {
        self.listing.leaves.get(leaf) == Some(&Names::Same)
    }

    /// The names of a leaf that was asked for by itself; none: it is gone by now, holds nothing, and the pass looks again before
    /// it deletes anything for it.
    pub(crate) fn set_names(&mut self, leaf: RelativePath, names: Option<Names>) {
        self.listing.leaves.insert(leaf, names.unwrap_or(Names::All(Vec::new())));
    }

    pub(crate) fn side(&self) -> &str {
        &self.side
    }

    /// A known leaf is what it was.
    pub(crate) fn same(&mut self, folder: &[u8]) -> Result<(), Error> {
        let known = self.known.get(folder).copied().flatten();
        let path = RelativePath::new(folder)?;
        if known.is_none() || known != self.keys.get(folder).copied() || self.listing.leaves.contains_key(&path) {
            return Err(self.refuse("as unchanged what has changed", folder));
        }
        self.listing.leaves.insert(path, Names::Same);
        Ok(())
    }

    /// Some of the names of a known leaf.
    pub(crate) fn names(&mut self, folder: &[u8], names: Vec<u8>) -> Result<(), Error> {
        if !self.keys.contains_key(folder) {
            return Err(self.refuse("the names of a folder that it had not listed", folder));
        }
        if names.last().is_some_and(|&byte| byte != 0) {
            return Err(self.refuse("a name without its end", folder));
        }
        let each = names.split(|&byte| byte == 0);
        for name in each.take(names.iter().filter(|&&byte| byte == 0).count()) {
            if path::name_fault(name).is_some() || name.contains(&b'/') {
                return Err(self.refuse("a name that is none", &path::join(folder, name)));
            }
            self.told += 1;
            self.told_names += 1;
        }
        let path = RelativePath::new(folder)?;
        self.weigh(&path, names.len())?;
        self.nothing(folder, names.is_empty())?;
        match self.listing.leaves.entry(path).or_insert(Names::All(Vec::new())) {
            Names::All(all) if all.is_empty() => *all = names,
            Names::All(all) => all.extend(names),
            Names::Same => return Err(self.refuse("the names of a folder that is unchanged", folder)),
        }
        Ok(())
    }

    /// An entry that was asked for by itself.
    pub(crate) fn add(&mut self, entry: Entry) {
        self.listing.entries.push(entry);
    }

    pub(crate) fn take(&mut self, folder: &[u8], entries: Vec<RawEntry>) -> Result<(), Error> {
        let Some(&depth) = self.expected.get(folder) else {
            return Err(self.refuse("the content of a folder that it had not listed", folder));
        };
        self.nothing(folder, entries.is_empty())?;
        for raw in entries {
            if let Some(why) = fault(&raw) {
                return Err(self.refuse(why, &path::join(folder, &raw.name)));
            }
            let bytes = path::join(folder, &raw.name);
            let Ok(path) = RelativePath::new(bytes.as_slice()) else {
                return Err(self.refuse("a path that is too long", &bytes));
            };
            self.keep(path, raw, depth)?;
        }
        Ok(())
    }

    pub(crate) fn gone(&mut self, folder: &[u8]) -> Result<(), Error> {
        if self.expected.remove(folder).is_none() {
            return Err(self.refuse("news of a folder that it had not listed", folder));
        }
        self.listing.gone.push(RelativePath::new(folder)?);
        Ok(())
    }

    fn keep(&mut self, path: RelativePath, raw: RawEntry, depth: u32) -> Result<(), Error> {
        self.told += 1;
        let points_to = raw.points_to.as_ref().map_or(0, |target| target.len());
        let names = path.as_bytes().len() + raw.owner.len() + raw.group.len() + points_to;
        let bytes = size_of::<Entry>() + names + raw.attributes.bytes().len();
        self.weigh(&path, bytes)?;
        if raw.kind == Kind::Folder && depth > 1 {
            self.expect(path.as_bytes(), depth - 1);
            if self.known.contains_key(path.as_bytes()) {
                let (device, inode) = raw.inode;
                self.keys.insert(path.as_bytes().to_vec(), FolderKey { device, inode, changed: raw.changed });
            }
        }
        if !self.keep_own {
            if path.is_within(ASIDE.as_bytes()) {
                return Ok(());
            }
            if is_temporary(path.name()) && raw.kind != Kind::Folder || is_staged(path.as_bytes()) {
                self.listing.leftovers.push(path);
                return Ok(());
            }
        }
        if self.listing.entries.len() >= self.limit {
            return Err(self.too_large(path, self.limit));
        }
        let RawEntry {
            name: _,
            kind,
            size,
            modified,
            changed,
            mode,
            owner,
            group,
            links,
            inode,
            attributes,
            points_to,
        } = raw;
        let entry =
            Entry { path, kind, size, modified, changed, mode, owner, group, links, inode, attributes, points_to };
        self.listing.entries.push(entry);
        self.listing.heavy += bytes / USUAL;
        Ok(())
    }

    /// What is told of a folder ends with nothing more at most once: a side that goes on for ever adds to something.
    fn nothing(&mut self, folder: &[u8], nothing: bool) -> Result<(), Error> {
        if nothing && !self.ended.insert(folder.to_vec()) {
            return Err(self.refuse("nothing, again and again", folder));
        }
        Ok(())
    }

    /// More was told, which takes so many bytes.
    fn weigh(&mut self, path: &RelativePath, bytes: usize) -> Result<(), Error> {
        self.kept += bytes;
        if self.told > MOST_ENTRIES {
            return Err(self.too_large(path.clone(), MOST_ENTRIES));
        }
        if self.kept > MOST_BYTES {
            let what = format!("its listing takes more than {} MiB", MOST_BYTES >> 20);
            return Err(Error::TooLarge { side: self.side.clone(), path: path.clone(), what });
        }
        Ok(())
    }

    /// # Errors
    /// [`Error::Protocol`] when a path came twice.
    pub(crate) fn finish(mut self) -> Result<Listing, Error> {
        self.listing.sort();
        self.listing.leftovers.sort_unstable_by(|one, other| other.cmp(one));
        let twice =
            self.listing.entries.windows(2).find(|pair| pair[0].path == pair[1].path).map(|pair| pair[0].path.clone());
        match twice {
            Some(path) => Err(self.refuse("the same path twice", path.as_bytes())),
            None => Ok(self.listing),
        }
    }

    fn too_large(&self, path: RelativePath, limit: usize) -> Error {
        Error::TooLarge { side: self.side.clone(), path, what: format!("more than {limit} entries") }
    }

    fn refuse(&self, what: &str, path: &[u8]) -> Error {
        Error::Protocol { side: self.side.clone(), what: format!("a listing told {what}: \"{}\"", escape(path)) }
    }
}

/// Why this is no entry of a folder.
fn fault(raw: &RawEntry) -> Option<&'static str> {
    if let Some(why) = path::name_fault(&raw.name) {
        return Some(why);
    }
    if raw.name.contains(&b'/') {
        return Some("a name with a `/`");
    }
    let times = [raw.modified, raw.changed];
    if raw.mode > 0o7777 || times.iter().any(|time| time.1 >= 1_000_000_000) || i64::try_from(raw.size).is_err() {
        return Some("a mode, time or size that does not exist");
    }
    if !good_owner(&raw.owner) || !good_owner(&raw.group) {
        return Some("an owner that is no name");
    }
    match (&raw.points_to, raw.kind) {
        (Some(target), Kind::Symlink) if !target.is_empty() && target.len() < 4096 && !target.contains(&0) => None,
        (None, Kind::Symlink) | (Some(_), _) => Some("a link that points to nothing"),
        (None, _) => None,
    }
}

/// Names as directories have them (`DOMAIN\user` too); not what would break a passwd line or a terminal.
fn good_owner(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 256
        && !name.starts_with('-')
        && !name.contains([':', '/'])
        && !name.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(name: &[u8], kind: Kind) -> RawEntry {
        RawEntry {
            name: name.to_vec(),
            kind,
            size: 1,
            modified: (1, 2),
            changed: (1, 2),
            mode: 0o644,
            owner: "vmail".into(),
            group: "vmail".into(),
            links: 1,
            inode: (1, 1),
            attributes: crate::attributes::Attributes::default(),
            points_to: (kind == Kind::Symlink).then(|| b"x"[..].into()),
        }
    }

    fn collect(answers: Vec<(&[u8], Vec<RawEntry>)>) -> Result<Vec<Entry>, Error> {
        let mut collector = Collector::new("old", 10);
        collector.expect(b"", u32::MAX);
        for (folder, entries) in answers {
            collector.take(folder, entries)?;
        }
        Ok(collector.finish()?.entries)
    }

    fn is_refused(answers: Vec<(&[u8], Vec<RawEntry>)>) -> bool {
        matches!(collect(answers), Err(Error::Protocol { .. }))
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [&b".."[..], b".", b"", b"/etc", b"a/b", b"../x", b"a\0"] {
            assert!(is_refused(vec![(b"", vec![raw(name, Kind::File)])]), "{}", escape(name));
        }
    }

    #[test]
    fn only_folders_that_were_listed_have_content() {
        assert!(is_refused(vec![(b"a", vec![raw(b"b", Kind::File)])]));
        assert!(is_refused(vec![(b"", vec![raw(b"a", Kind::File)]), (b"a", vec![raw(b"b", Kind::File)])]));
        assert!(is_refused(vec![(b"", vec![raw(b"a", Kind::Symlink)]), (b"a", vec![raw(b"b", Kind::File)])]));
        assert!(is_refused(vec![(b"../..", vec![])]));
        let good = collect(vec![(b"", vec![raw(b"a", Kind::Folder)]), (b"a", vec![raw(b"b", Kind::File)])]).unwrap();
        assert_eq!(good[1].path.as_bytes(), b"a/b");
    }

    #[test]
    fn the_same_path_twice_is_refused() {
        assert!(is_refused(vec![(b"", vec![raw(b"a", Kind::File), raw(b"a", Kind::Folder)])]));
        assert!(is_refused(vec![(b"", vec![raw(b"a", Kind::File)]), (b"", vec![raw(b"a", Kind::File)])]));
    }

    #[test]
    fn a_side_that_goes_on_without_telling_anything_is_stopped() {
        let mut collector = Collector::new("old", 10);
        collector.expect(b"", u32::MAX);
        collector.take(b"", vec![raw(b"a", Kind::Folder)]).unwrap();
        collector.take(b"", vec![]).unwrap();
        assert!(matches!(collector.take(b"", vec![]), Err(Error::Protocol { .. })));
        collector.take(b"a", vec![]).unwrap();
        collector.gone(b"a").unwrap();
        assert!(matches!(collector.gone(b"a"), Err(Error::Protocol { .. })));
        let folder = RelativePath::new(&b"a"[..]).unwrap();
        let mut collector = Collector::for_names("old", &folder);
        collector.names(b"a", vec![]).unwrap();
        assert!(matches!(collector.names(b"a", vec![]), Err(Error::Protocol { .. })));
    }

    #[test]
    fn what_a_listing_may_take_is_limited_and_what_is_heavy_counts_for_more() {
        let heavy = |number: usize| {
            let mut entry = raw(number.to_string().as_bytes(), Kind::File);
            entry.attributes = crate::attributes::Attributes::of(vec![(b"user.x".to_vec(), vec![7; 200_000])]);
            entry
        };
        let mut collector = Collector::new("old", usize::MAX);
        collector.expect(b"", 1);
        collector.take(b"", vec![heavy(0), raw(b"a", Kind::File)]).unwrap();
        assert!((200_000 / USUAL..200_000 / USUAL + 10).contains(&collector.volume()), "{}", collector.volume());
        let told = (1..10_000).map(|number| collector.take(b"", vec![heavy(number)])).find(Result::is_err);
        assert!(matches!(told, Some(Err(Error::TooLarge { .. }))), "{told:?}");
    }

    #[test]
    fn numbers_and_owners_that_do_not_exist_are_refused() {
        let bad: [fn(&mut RawEntry); 7] = [
            |entry| entry.mode = 0o10000,
            |entry| entry.modified.1 = 1_000_000_000,
            |entry| entry.size = u64::MAX,
            |entry| entry.owner = "".into(),
            |entry| entry.group = "a:b".into(),
            |entry| entry.owner = "\u{1b}[2J".into(),
            |entry| entry.points_to = Some(b"x"[..].into()),
        ];
        for change in bad {
            let mut entry = raw(b"a", Kind::File);
            change(&mut entry);
            assert!(is_refused(vec![(b"", vec![entry])]));
        }
    }

    #[test]
    fn more_entries_than_allowed_is_an_error() {
        let many = (0..11).map(|n: u8| raw(&[b'a' + n], Kind::File)).collect();
        assert!(matches!(collect(vec![(b"", many)]), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn an_answer_about_another_path_than_was_asked_for_is_refused() {
        let asked = RelativePath::new(&b"a/b"[..]).unwrap();
        assert!(Listing::single("old", &asked, b"a", vec![raw(b"b", Kind::File)]).is_ok());
        assert!(Listing::single("old", &asked, b"a", vec![raw(b"c", Kind::File)]).is_err());
        assert!(Listing::single("old", &asked, b"", vec![raw(b"b", Kind::File)]).is_err());
        assert!(Listing::single("old", &asked, b"a", vec![]).is_err());
    }
}
