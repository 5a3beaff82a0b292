//! One opened tree on a side: look, read, put, remove, set aside.
//! Invariant: every path is checked before it is sent to a hand, and what a hand answers before it is used (`listing`).
//! Whole passes over two trees are in `pass` and `compare`; who does the work on the side is in `hand`.

use crate::direct::{End, Ways};
use crate::hand::{Reply, Request, Session, explain, open_agent, open_local};
use crate::listing::Collector;
use crate::look::{collect, names_of, stat};
use crate::pass::WORKERS;
use crate::temporary::{Temporaries, is_temporary};
use crate::{Entry, Error, Kind, Owner, Pattern, RelativePath, Space, escape};
use rehome_remote::Side;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A folder on a side, opened. All paths are relative to it; none leads out of it, and no symbolic link in it is followed.
///
/// Each operation works through a hand on the side (a thread, or a perl over ssh), which is kept for the next one until the
/// tree is dropped: over ssh an open tree takes one of the places that a connection has for commands.
pub struct Tree {
    side: Side,
    root: PathBuf,
    shown_root: String,
    hand: Hand,
    /// Hands that wait for work. Few: over ssh each takes one of the places of its connection.
    idle: Mutex<Vec<Session>>,
    /// Ways to it that do not lead through this machine.
    ways: Ways,
}

/// So many hands wait at most: as many as a large pass takes.
const IDLE: usize = WORKERS;

/// Which kind of hand works in a tree.
#[derive(Clone, Copy)]
enum Hand {
    Local,
    Agent,
    OldAgent,
}

impl Tree {
    /// Opens the folder `root`, an absolute path as the side knows it. It may be reached through symbolic links: it is the
    /// operator who names it.
    ///
    /// # Errors
    /// [`Error::NoSuchTree`] when it does not exist or is not a folder; [`Error::Remote`] when the side is out of reach.
    pub async fn open(side: &Side, root: &Path) -> Result<Tree, Error> {
        // This machine's files as another user (root, through sudo) are only to be had from a program of that user's.
        let agent = !side.is_local() || side.uses_sudo();
        Self::open_with(side, root, if agent { Hand::Agent } else { Hand::Local }).await
    }

    /// The same with the hand that is used over ssh, also on this machine. For tests and measurements.
    #[doc(hidden)]
    pub async fn open_by_agent(side: &Side, root: &Path) -> Result<Tree, Error> {
        Self::open_with(side, root, Hand::Agent).await
    }

    /// The same on a machine whose system calls the agent does not know: times are whole seconds. For tests.
    #[doc(hidden)]
    pub async fn open_by_old_agent(side: &Side, root: &Path) -> Result<Tree, Error> {
        Self::open_with(side, root, Hand::OldAgent).await
    }

    async fn open_with(side: &Side, root: &Path, hand: Hand) -> Result<Tree, Error> {
        let shown_root = escape(root.as_os_str().as_bytes());
        if !root.is_absolute() {
            return Err(Error::Invalid {
                what: format!("tree \"{shown_root}\""),
                why: "it is not an absolute path".to_owned(),
                remedy: "begin it with `/`".to_owned(),
            });
        }
        let (side, root) = (side.clone(), root.to_owned());
        let tree = Self { side, root, shown_root, hand, idle: Mutex::default(), ways: Ways::default() };
        let session = tree.session().await?;
        tree.give_back(session);
        Ok(tree)
    }

    /// Opens as many hands as a large pass takes, so that the next one need not wait for them; passes keep theirs, too.
    ///
    /// # Errors
    /// As [`Tree::open`].
    pub async fn ready(&self) -> Result<(), Error> {
        let lacking = IDLE.saturating_sub(self.waiting());
        let opened = futures_util::future::try_join_all((0..lacking).map(|_| self.open_hand())).await?;
        opened.into_iter().for_each(|session| self.give_back(session));
        Ok(())
    }

    /// Hands that wait for work.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.idle.lock().map_or(0, |idle| idle.len())
    }

    /// Ends hands that wait, but for so many: those of all trees share the places of a connection.
    pub fn keep_waiting(&self, most: usize) {
        if let Ok(mut idle) = self.idle.lock() {
            idle.truncate(most);
        }
    }

    /// What lies below the folder `below` (empty: the root), itself not included, `depth` levels deep (1: only what it
    /// holds itself), in byte order of the paths. rehome's own folders and unfinished files are left out.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotAllowed`] (also for a symbolic link on the way); [`Error::TooLarge`] beyond `limit` entries.
    pub async fn list(&self, below: &[u8], depth: u32, limit: usize) -> Result<Vec<Entry>, Error> {
        let below = RelativePath::new(below)?;
        if depth == 0 {
            return Ok(Vec::new());
        }
        let mut session = self.session().await?;
        let mut collector = Collector::new(session.side(), limit);
        collect(&mut session, &mut collector, &below, depth).await?;
        let listing = collector.finish()?;
        self.give_back(session);
        Ok(listing.entries)
    }

    /// The content of a regular file of at most `max` bytes.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::TooLarge`], [`Error::NotAllowed`] for anything but a regular file.
    pub async fn read(&self, file: &[u8], max: u64) -> Result<Vec<u8>, Error> {
        let file = file_path(file)?;
        let mut session = self.session().await?;
        session.send(Request::Fetch { file: file.as_bytes().to_vec(), most: max, ripen: false }).await;
        let mut content = Vec::new();
        let mut opened = false;
        loop {
            match session.next().await? {
                Reply::Opened { .. } if !opened => opened = true,
                Reply::Data(piece) if !piece.is_empty() && (content.len() + piece.len()) as u64 <= max => {
                    content.extend_from_slice(&piece);
                }
                Reply::Data(_) => return Err(self.hostile("it sent more than was asked for")),
                Reply::Closed { .. } => break,
                Reply::Failed(fault) => {
                    self.give_back(session);
                    return Err(explain(self.side.name(), "read", file.as_bytes(), &fault));
                }
                other => return Err(crate::hand::unexpected(self.side.name(), &other)),
            }
        }
        self.give_back(session);
        Ok(content)
    }

    /// Puts a file: a temporary one is written and made durable, then renamed over `file`, then the folder is made durable.
    /// `mode` is at most 0o7777. With `owner` `None` it keeps the former file's owner; a new one belongs to the user who
    /// works there (root on a machine). The folder must exist.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the folder, [`Error::NotAllowed`] where a link, folder or device has that name,
    /// [`Error::DiskFull`], [`Error::UnknownOwner`]. The former file is then still there, untouched.
    pub async fn put(&self, file: &[u8], content: &[u8], mode: u32, owner: Option<&Owner>) -> Result<(), Error> {
        let file = file_path(file)?;
        if mode > 0o7777 {
            return Err(Error::Invalid {
                what: format!("mode {mode:o}"),
                why: "it is more than 7777".to_owned(),
                remedy: "write an octal mode such as 0644".to_owned(),
            });
        }
        let mut session = self.writer().await?;
        let former = stat(&mut session, &file).await?;
        if let Some(former) = former.as_ref().filter(|former| former.kind != Kind::File) {
            self.release(session).await?;
            return Err(not_a_file(self.side.name(), former));
        }
        sweep(&mut session, &file).await?;
        let kept = former.map(|former| Owner { user: former.owner.to_string(), group: former.group.to_string() });
        let written = write_file(&mut session, &file, content, mode, owner.or(kept.as_ref())).await;
        self.release(session).await?;
        written
    }

    /// Unlinks a file or a symbolic link (not what it points to), durably.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::NotAllowed`] for a folder.
    pub async fn remove(&self, file: &[u8]) -> Result<(), Error> {
        let file = file_path(file)?;
        let mut session = self.writer().await?;
        let removed = session.must(Request::Remove(file.as_bytes().to_vec()), "remove", file.as_bytes()).await;
        if removed.is_ok() {
            sweep(&mut session, &file).await?;
            session.must(Request::Sync, "make durable the folder of", file.as_bytes()).await?;
        }
        self.release(session).await?;
        removed
    }

    /// Moves the files and links with such names that lie directly in these folders away, and tells how many. A folder that
    /// does not exist holds none. Folders, devices and the like stay.
    ///
    /// They go to `.rehome-aside/NAME/LABEL/…` in the folder **beside** the tree (NAME: last component of the root; there no
    /// mail server looks), with their path in the tree; where that is another file system, or not writable, to
    /// `.rehome-aside/LABEL/…` in the root. Nothing that is already there is overwritten: the second one of a name goes below
    /// `LABEL~2`. The folders have mode 0700. Never removed here.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a path or label; what the side refuses. What was moved until then stays moved.
    pub async fn set_aside(&self, folders: &[Vec<u8>], names: &[Pattern], aside: &str) -> Result<u64, Error> {
        let folders =
            folders.iter().map(|folder| RelativePath::new(folder.as_slice())).collect::<Result<Vec<_>, _>>()?;
        check_label(aside)?;
        let mut session = self.writer().await?;
        let mut requests = Vec::new();
        for folder in &folders {
            let mut collector = Collector::new(session.side(), usize::MAX);
            match collect(&mut session, &mut collector, folder, 1).await {
                Err(Error::NotFound { .. }) => continue,
                other => other?,
            }
            let meant = collector.finish()?.entries.into_iter().filter(|entry| {
                matches!(entry.kind, Kind::File | Kind::Symlink)
                    && names.iter().any(|name| name.matches(entry.path.name()))
            });
            requests
                .extend(meant.map(|entry| Request::Aside { path: entry.path.into_bytes(), label: aside.to_owned() }));
        }
        let paths: Vec<Vec<u8>> = requests
            .iter()
            .map(|request| match request {
                Request::Aside { path, .. } => path.clone(),
                _ => Vec::new(),
            })
            .collect();
        let outcomes = session.each(requests).await?;
        let count = outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64;
        session.must(Request::Sync, "make durable", b"").await?;
        self.release(session).await?;
        match outcomes.into_iter().zip(paths).find_map(|(outcome, path)| outcome.err().map(|fault| (fault, path))) {
            Some((fault, path)) => Err(explain(self.side.name(), "set aside", &path, &fault)),
            None => Ok(count),
        }
    }

    /// Room on the file system of the root.
    ///
    /// # Errors
    /// What the side says.
    pub async fn free_space(&self) -> Result<Space, Error> {
        let mut session = self.session().await?;
        session.send(Request::Space).await;
        match session.next().await? {
            Reply::Space(space) => {
                self.give_back(session);
                Ok(space)
            }
            Reply::Failed(fault) => Err(explain(self.side.name(), "measure", b"", &fault)),
            other => Err(crate::hand::unexpected(self.side.name(), &other)),
        }
    }

    /// The side it is on, as messages call it.
    pub fn side(&self) -> &str {
        self.side.name()
    }

    /// Where it is, if that is another machine.
    pub(crate) fn far_end(&self) -> Option<End<'_>> {
        let Self { side, root, hand, .. } = self;
        (!side.is_local()).then(|| End { side, root, old: matches!(hand, Hand::OldAgent) })
    }

    pub(crate) fn ways(&self) -> &Ways {
        &self.ways
    }

    /// A hand for looking.
    pub(crate) async fn session(&self) -> Result<Session, Error> {
        if let Some(session) = self.idle() {
            return Ok(session);
        }
        self.open_hand().await
    }

    async fn open_hand(&self) -> Result<Session, Error> {
        // Beside the root of a machine, or of a folder that stands in for one, there is nothing of ours.
        let beside = self.root.file_name().map(|name| name.as_bytes().to_vec());
        match self.hand {
            Hand::Local => open_local(self.side.name(), self.side.root(), &self.root, beside).await,
            Hand::Agent => open_agent(&self.side, &self.root, beside, false).await,
            Hand::OldAgent => open_agent(&self.side, &self.root, beside, true).await,
        }
    }

    /// One that waits. One that died meanwhile (a lost link) is replaced without a word: it was doing nothing.
    fn idle(&self) -> Option<Session> {
        let mut idle = self.idle.lock().ok()?;
        while let Some(session) = idle.pop() {
            if session.is_alive() {
                return Some(session);
            }
        }
        None
    }

    /// A hand for changing: it holds the lock of the tree.
    pub(crate) async fn writer(&self) -> Result<Session, Error> {
        let mut session = self.session().await?;
        session.lock(&self.shown_root).await?;
        Ok(session)
    }

    /// Keeps a hand that has answered everything it was asked.
    pub(crate) fn give_back(&self, session: Session) {
        if let Ok(mut idle) = self.idle.lock()
            && idle.len() < IDLE
        {
            idle.push(session);
        }
    }

    pub(crate) async fn release(&self, mut session: Session) -> Result<(), Error> {
        session.must(Request::Unlock, "unlock", b"").await?;
        self.give_back(session);
        Ok(())
    }

    /// A tree is never synchronised with itself: every pass would undo what the one before did.
    pub(crate) fn check_different(&self, other: &Tree) -> Result<(), Error> {
        let same = std::ptr::eq(self, other) || self.side.name() == other.side.name() && self.root == other.root;
        if !same {
            return Ok(());
        }
        Err(Error::Invalid {
            what: format!("{} of {} as source and target", self.shown_root, self.side.name()),
            why: "it is one and the same tree".to_owned(),
            remedy: "name two trees".to_owned(),
        })
    }

    fn hostile(&self, what: &str) -> Error {
        Error::Protocol { side: self.side.name().to_owned(), what: what.to_owned() }
    }
}

/// A path of a file: not the root.
fn file_path(file: &[u8]) -> Result<RelativePath, Error> {
    let path = RelativePath::new(file)?;
    if path.is_root() {
        return Err(Error::Invalid {
            what: "path \"\"".to_owned(),
            why: "it is the root of the tree".to_owned(),
            remedy: "name a file below it".to_owned(),
        });
    }
    Ok(path)
}

pub(crate) fn check_label(label: &str) -> Result<(), Error> {
    let good = !label.is_empty()
        && label.len() <= 100
        && !label.starts_with('.')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if good {
        return Ok(());
    }
    Err(Error::Invalid {
        what: format!("label \"{}\"", escape(label.as_bytes())),
        why: "it names a folder for what is set aside".to_owned(),
        remedy: "use 1 to 100 letters, digits, `-`, `_` and `.`, not beginning with `.`".to_owned(),
    })
}

fn not_a_file(side: &str, former: &Entry) -> Error {
    let (why, remedy) = match former.kind {
        Kind::Symlink => ("it is a symbolic link", "name the file it points to"),
        Kind::Folder => ("it is a folder", "name a file in it"),
        _ => ("it is a device, a pipe or a socket", "name a regular file"),
    };
    Error::NotAllowed {
        side: side.to_owned(),
        path: former.path.clone(),
        why: why.to_owned(),
        remedy: remedy.to_owned(),
    }
}

/// Removes what was left beside a file by those who were killed while they put one there: nobody else would. The tree is
/// locked, so that nobody is writing one now.
async fn sweep(session: &mut Session, file: &RelativePath) -> Result<(), Error> {
    let folder = file.parent();
    let Some(names) = names_of(session, std::slice::from_ref(&folder)).await?.pop().flatten() else { return Ok(()) };
    let left = names.each().filter(|name| is_temporary(name));
    let requests = left.map(|name| Request::Remove(folder.join(name).into_bytes())).collect();
    session.each(requests).await.map(drop)
}

async fn write_file(
    session: &mut Session,
    file: &RelativePath,
    content: &[u8],
    mode: u32,
    owner: Option<&Owner>,
) -> Result<(), Error> {
    let temporary = Temporaries::new().beside(file);
    session.send(Request::Begin(temporary.clone())).await;
    for piece in content.chunks(crate::hand::PIECE) {
        session.send(Request::Data(piece.to_vec())).await;
    }
    let mut outcome =
        session.ask(Request::Finish { mode, owner: owner.cloned(), attributes: None, modified: None }).await?;
    if outcome.is_ok() {
        outcome = session.ask(Request::Sync).await?;
    }
    if outcome.is_ok() {
        let rename = Request::Move { from: temporary.clone(), to: file.as_bytes().to_vec(), replace: true };
        outcome = session.ask(rename).await?;
    }
    if let Err(fault) = outcome {
        let _ = session.ask(Request::Remove(temporary)).await?;
        return Err(name_owner(explain(session.side(), "write", file.as_bytes(), &fault), owner));
    }
    session.must(Request::Sync, "make durable the folder of", file.as_bytes()).await
}

/// A hand tells that a user or group is missing; the request knows which.
pub(crate) fn name_owner(error: Error, owner: Option<&Owner>) -> Error {
    match (error, owner) {
        (Error::UnknownOwner { side, what, .. }, Some(owner)) => {
            let name = if what == "user" { &owner.user } else { &owner.group };
            Error::UnknownOwner { side, what, name: escape(name.as_bytes()) }
        }
        (error, _) => error,
    }
}
