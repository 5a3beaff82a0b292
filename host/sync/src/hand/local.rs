//! The local hand: works in a tree of this machine as this user, on a thread of its own.
//! Invariant: every path is opened component by component from the root's handle with O_NOFOLLOW, and only bare names
//! are acted on; so a symbolic link swapped in on the way leads nowhere. What each request does: `local_list`, `local_write`, `local_hash`, `local_files`, `local_durable`.

use super::local_durable::Durable;
use super::local_write::Writing;
use super::names::Names;
use super::session::{Replies, Requests, Session};
use super::{Fault, PIECE, Reply, Request, Why};
use crate::{Error, FolderKey, Space, escape, path};
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags, ResolveFlags, flock, fstatvfs, open, openat, openat2};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// How folders are opened on the way: never through a link.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

pub(super) struct Local {
    pub(super) root: OwnedFd,
    /// Last component of the root, for the folder beside it where things are set aside; `None`: that folder lies inside.
    pub(super) beside: Option<Vec<u8>>,
    pub(super) names: Names,
    pub(super) writing: Option<Writing>,
    pub(super) durable: Durable,
    /// Leaves, and what they were, see `Request::Known`.
    pub(super) known: HashMap<Vec<u8>, Option<FolderKey>>,
    /// The folder that was opened last and those above it, from the top: most requests stay there or near.
    here: Vec<(Vec<u8>, Rc<OwnedFd>)>,
}

/// Opens `root` and starts a thread for it. `within`: the folder that stands in for a machine, which no link leads out of.
/// `beside` as in [`Local`].
pub(crate) async fn open_local(
    side: &str,
    within: Option<&Path>,
    root: &Path,
    beside: Option<Vec<u8>>,
) -> Result<Session, Error> {
    let handle = match within {
        None => open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()),
        Some(machine) => open_within(machine, root),
    };
    let handle = handle.map_err(|errno| Error::NoSuchTree {
        side: side.to_owned(),
        root: escape(root.as_os_str().as_bytes()),
        why: std::io::Error::from(errno).to_string(),
    })?;
    let (session, requests, replies, stop) = Session::new(side, true);
    tokio::task::spawn_blocking(move || {
        let local = Local {
            root: handle,
            beside,
            names: Names::default(),
            writing: None,
            durable: Durable::default(),
            known: HashMap::new(),
            here: Vec::new(),
        };
        local.serve(requests, replies, &stop);
    });
    Ok(session)
}

/// Opens a path of the machine that the folder `machine` stands in for: absolute links mean that folder as their root.
fn open_within(machine: &Path, root: &Path) -> Result<OwnedFd, Errno> {
    let base = open(machine, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let inside = root.strip_prefix("/").unwrap_or(root);
    match openat2(&base, root, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS) {
        // Linux before 5.6, or a sandbox without it: then no links at all.
        Err(Errno::NOSYS | Errno::PERM) => {
            inside.components().try_fold(base, |folder, part| openat(&folder, part.as_os_str(), FOLDER, Mode::empty()))
        }
        other => other,
    }
}

impl Local {
    fn serve(mut self, mut requests: Requests, mut replies: Replies, stop: &Arc<AtomicBool>) {
        while let Some(burst) = requests.blocking_recv() {
            for request in burst {
                // What is still queued when the session is dropped must not be done: its lock is about to be free.
                if stop.load(Ordering::Acquire) {
                    return;
                }
                let quiet = matches!(request, Request::Begin(_) | Request::Data(_));
                let reply = match self.act(request, &mut replies) {
                    Ok(reply) => reply,
                    Err(fault) => Reply::Failed(fault),
                };
                if !quiet && replies.tell(reply).is_err() {
                    return;
                }
            }
            if replies.flush().is_err() {
                return;
            }
            // Until more is asked for somebody may move these folders.
            self.here.clear();
        }
    }

    fn act(&mut self, request: Request, replies: &mut Replies) -> Result<Reply, Fault> {
        match request {
            Request::Lock => self.lock()?,
            Request::Unlock => flock(&self.root, FlockOperation::Unlock)?,
            Request::Space => return self.space(),
            Request::Know(owner) => {
                self.ids(Some(&owner))?;
            }
            Request::Stat(path) => self.stat(&path, replies)?,
            Request::List { below, depth, pruned } => self.list(&below, depth, pruned, replies)?,
            Request::Known { first, leaves } => self.know(first, leaves),
            Request::Names(folder) => self.tell_names(&folder, replies)?,
            Request::Links { below, inodes } => self.find_links(&below, &inodes, replies)?,
            Request::Clock => return clock(),
            Request::Fetch { file, most, ripen } => return self.fetch(&file, most, ripen, replies),
            Request::Hash(files) => return Ok(self.hash(&files)),
            Request::Message { file, most } => return self.message(&file, most),
            Request::Put { path, content, mode, owner, attributes, modified } => {
                self.begin(&path, mode);
                self.more(&content);
                self.finish(mode, owner.as_ref(), attributes.as_ref(), Some(modified))?;
            }
            // Only asked of hands on other machines: whoever has a local one is there already.
            Request::Reach { .. } | Request::Pull(_) => return Err(Why::System(libc::ENOSYS).into()),
            Request::Begin(path) => self.begin(&path, 0o600),
            Request::Data(piece) => self.more(&piece),
            Request::Finish { mode, owner, attributes, modified } => {
                self.finish(mode, owner.as_ref(), attributes.as_ref(), modified)?
            }
            Request::Symlink { path, points_to, owner, modified } => {
                self.symlink(&path, &points_to, owner.as_ref(), modified)?
            }
            Request::Move { from, to, replace } => self.rename(&from, &to, replace)?,
            Request::Link { existing, new } => self.link(&existing, &new)?,
            Request::Folder { path, mode, owner } => self.make_folder(&path, mode, owner.as_ref())?,
            Request::Meta { path, kind, mode, owner, attributes, modified } => {
                self.correct(&path, kind, mode, owner.as_ref(), attributes.as_ref(), modified)?
            }
            Request::Aside { path, label } => self.set_aside(&path, &label)?,
            Request::Remove(path) => self.remove(&path)?,
            Request::RemoveFolder(path) => self.remove_folder(&path)?,
            Request::Sync => self.sync()?,
        }
        Ok(Reply::Done)
    }

    fn lock(&self) -> Result<(), Fault> {
        match flock(&self.root, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Err(Why::Busy.into()),
            other => Ok(other?),
        }
    }

    fn space(&self) -> Result<Reply, Fault> {
        let free = fstatvfs(&self.root)?;
        let inodes = if free.f_files == 0 { u64::MAX } else { free.f_favail };
        Ok(Reply::Space(Space { bytes: free.f_bavail.saturating_mul(free.f_frsize), inodes }))
    }

    /// A folder below the root, opened without following a link anywhere.
    pub(super) fn folder(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, Fault> {
        while self.here.pop_if(|(here, _)| !path::is_within(path, here)).is_some() {}
        if self.here.is_empty() {
            let root = openat(&self.root, ".", FOLDER, Mode::empty())?;
            self.here.push((Vec::new(), Rc::new(root)));
        }
        loop {
            let Some((here, handle)) = self.here.last() else { return Err(Why::BadPath.into()) };
            let rest = &path[here.len()..];
            let rest = rest.strip_prefix(b"/").unwrap_or(rest);
            if rest.is_empty() && here.len() == path.len() {
                return Ok(handle.clone());
            }
            let part = rest.split(|&byte| byte == b'/').next().unwrap_or_default();
            if path::name_fault(part).is_some() {
                return Err(Why::BadPath.into());
            }
            let next = (path::join(here, part), Rc::new(openat(&**handle, part, FOLDER, Mode::empty())?));
            self.here.push(next);
        }
    }

    /// The folder that holds `path`, and the bare name in it.
    pub(super) fn place<'path>(&mut self, path: &'path [u8]) -> Result<(Rc<OwnedFd>, &'path [u8]), Fault> {
        let name = path::name_of(path);
        if path::name_fault(name).is_some() {
            return Err(Why::BadPath.into());
        }
        Ok((self.folder(path::parent_of(path))?, name))
    }

    /// What was at `path` moved: what lies in it is opened from the root again.
    pub(super) fn forget_place(&mut self, path: &[u8]) {
        self.here.retain(|(here, _)| !path::is_within(here, path));
    }
}

fn clock() -> Result<Reply, Fault> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Reply::Clock((i64::try_from(now.as_secs()).unwrap_or(i64::MAX), now.subsec_nanos())))
}

/// Sends one of several replies; fails when nobody listens any more, which ends the request.
pub(super) fn tell(replies: &mut Replies, reply: Reply) -> Result<(), Fault> {
    replies.tell(reply).map_err(|_| Why::System(libc::ECANCELED).into())
}

/// Reads until `buffer` is full or the file ends.
pub(super) fn read_piece(file: &OwnedFd, most: usize) -> Result<Vec<u8>, Fault> {
    let mut piece = vec![0; most.min(PIECE)];
    let mut filled = 0;
    while filled < piece.len() {
        match rustix::io::read(file, &mut piece[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    piece.truncate(filled);
    Ok(piece)
}
