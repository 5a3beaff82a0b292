//! A migration's two sides as the gatekeeper reaches them, and who is told what happens. Sides are private to this file:
//! only a `Permit`, which only the door hands out, opens them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rehome_remote::{Options, Side, Target};
use rehome_sync::Tree;
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::door::Permit;
use crate::fence::{Fence, age};
use crate::journal::{Journal, JournalError};
use crate::receipts::Receipts;
use crate::services::Services;
use crate::types::{Effect, Failure, Level, SideName, Verb};

/// Who logs in to a database server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// "root", "postgres"
    pub user: String,
    /// the name of a secret of the plan; none: the server knows the user by the socket (unix_socket, peer)
    pub password: Option<String>,
}

impl Account {
    /// One whom the server knows by the socket.
    pub fn by_socket(user: &str) -> Account {
        Account { user: user.into(), password: None }
    }
}

/// Where a database is on a side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabasePlace {
    /// MariaDB or MySQL behind a unix socket of the side
    MySql {
        /// "/run/mysqld/mysqld.sock"
        socket: PathBuf,
        /// who changes something, and reads where there is no `reader`
        account: Account,
        /// who only reads
        reader: Option<Account>,
    },
    /// PostgreSQL behind a unix socket of the side
    Postgres {
        /// "/run/postgresql/.s.PGSQL.5432"
        socket: PathBuf,
        /// who changes something, and reads where there is no `reader`
        account: Account,
        /// who only reads
        reader: Option<Account>,
    },
    /// a file of the side; only where the side's files are this machine's
    Sqlite {
        /// absolute on that side
        path: PathBuf,
    },
}

impl Default for DatabasePlace {
    /// What Debian's MariaDB has.
    fn default() -> DatabasePlace {
        let socket = "/run/mysqld/mysqld.sock".into();
        DatabasePlace::MySql { socket, account: Account::by_socket("root"), reader: None }
    }
}

/// Where Redis listens on a side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisDoor {
    /// a port of the side's loopback address
    Port(u16),
    /// a unix socket
    Socket(PathBuf),
}

impl Default for RedisDoor {
    /// What Debian's Redis has.
    fn default() -> RedisDoor {
        RedisDoor::Port(6379)
    }
}

/// Redis on a side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisPlace {
    /// where it listens
    pub door: RedisDoor,
    /// the user to log in as (Redis 6 and later); none: `default`
    pub user: Option<String>,
    /// the name of a secret of the plan
    pub password: Option<String>,
}

/// How a side is reached, as the plan says.
#[derive(Clone, Debug)]
pub struct SideSpec {
    /// this machine, ssh or a folder
    pub target: Target,
    /// sudo, control folder, time outs
    pub options: Options,
    /// databases that are not where Debian puts them, by name
    pub databases: BTreeMap<String, DatabasePlace>,
    /// where Redis is
    pub redis: RedisPlace,
}

/// Something that happened, for whoever shows it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named for what they are")]
pub enum Event {
    /// a request begins
    Began { phase: String, verb: Verb, request: String, side: Option<SideName>, values: Vec<String>, effect: Effect },
    /// and ends
    Ended { phase: String, request: String, milliseconds: u64, failure: Option<String> },
    /// a line from the phase, safe to show
    Log { phase: String, level: Level, text: String },
    /// how far a phase or a sync is
    Progress { phase: String, done: u64, total: Option<u64>, what: String },
}

/// Who is told. Must not block.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event);
}

impl Observer for () {
    fn event(&self, _: Event) {}
}

/// Why a side cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are those of their sources")]
pub enum HostError {
    #[error(transparent)]
    Side(#[from] rehome_remote::Error),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("{0}")]
    State(String),
}

/// Everything a session reaches the world through.
pub struct Host {
    sides: [Reached; 2],
    pub(crate) journal: Arc<Journal>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) services: Services,
    fence: OnceLock<Arc<dyn Fence>>,
    receipts: OnceLock<Receipts>,
    state: PathBuf,
    trees: Mutex<HashMap<(SideName, PathBuf), Arc<Tree>>>,
}

struct Reached {
    spec: SideSpec,
    side: Mutex<Option<Side>>,
}

impl Host {
    /// A host for the two sides. Nothing is connected yet. `state` is the migration's own folder, where snapshots go.
    pub fn new(
        old: SideSpec,
        new: SideSpec,
        journal: Arc<Journal>,
        observer: Arc<dyn Observer>,
        clock: Arc<Clock>,
        state: &Path,
    ) -> Arc<Host> {
        Host::with_services(old, new, journal, observer, clock, (state, Services::default()))
    }

    /// The same, with name servers and secrets beside the sides.
    pub fn with_services(
        old: SideSpec,
        new: SideSpec,
        journal: Arc<Journal>,
        observer: Arc<dyn Observer>,
        clock: Arc<Clock>,
        (state, services): (&Path, Services),
    ) -> Arc<Host> {
        let reached = |spec| Reached { spec, side: Mutex::new(None) };
        Arc::new(Host {
            sides: [reached(old), reached(new)],
            journal,
            observer,
            clock,
            services,
            fence: OnceLock::new(),
            receipts: OnceLock::new(),
            state: state.to_path_buf(),
            trees: Mutex::new(HashMap::new()),
        })
    }

    fn reached(&self, side: SideName) -> &Reached {
        &self.sides[usize::from(side == SideName::New)]
    }

    /// Connects a side, or answers the connection that is there. For the engine, which looks at a side before phases run.
    pub async fn connect(&self, side: SideName) -> Result<Side, rehome_remote::Error> {
        let reached = self.reached(side);
        let mut guard = reached.side.lock().await;
        if let Some(side) = &*guard {
            return Ok(side.clone());
        }
        let connected = Side::connect(&reached.spec.target, &reached.spec.options).await?;
        *guard = Some(connected.clone());
        Ok(connected)
    }

    /// Puts up a fence, once: from now on no effect begins without it.
    pub fn fence(&self, fence: Arc<dyn Fence>) {
        // The first one stays.
        let _ = self.fence.set(fence);
    }

    /// From now on what must not be done twice leaves receipts.
    pub fn keep_receipts(&self, receipts: Receipts) {
        // The first ones stay.
        let _ = self.receipts.set(receipts);
    }

    pub(crate) fn receipts(&self) -> Option<&Receipts> {
        self.receipts.get()
    }

    /// Whether the sides are still ours to change.
    pub(crate) async fn hold(&self, effect: Effect) -> Result<(), Failure> {
        match self.fence.get() {
            Some(fence) => fence.hold(age(effect)).await,
            None => Ok(()),
        }
    }

    /// What messages call a side: `new (root@new.example.org)`.
    pub fn name(&self, side: SideName) -> String {
        format!("{side} ({})", self.reached(side).spec.target)
    }

    /// Ends the connections.
    pub async fn close(&self) {
        self.trees.lock().await.clear();
        for reached in &self.sides {
            if let Some(side) = reached.side.lock().await.take() {
                side.close().await;
            }
        }
    }

    /// The migration's own folder.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    pub(crate) async fn side(&self, _: &Permit, side: SideName) -> Result<Side, Failure> {
        self.connect(side).await.map_err(|error| failure("", error))
    }

    pub(crate) fn database(&self, _: &Permit, side: SideName, name: &str) -> DatabasePlace {
        self.reached(side).spec.databases.get(name).cloned().unwrap_or_default()
    }

    pub(crate) fn redis(&self, _: &Permit, side: SideName) -> RedisPlace {
        self.reached(side).spec.redis.clone()
    }

    /// An opened tree; kept open for the calls to come.
    pub(crate) async fn tree(&self, permit: &Permit, side: SideName, path: &Path) -> Result<Arc<Tree>, Failure> {
        let key = (side, path.to_path_buf());
        let mut trees = self.trees.lock().await;
        let others = trees.iter().filter(|((other, path), _)| *other == side && path != &key.1);
        make_room(others.map(|(_, tree)| &**tree));
        if let Some(tree) = trees.get(&key) {
            return Ok(tree.clone());
        }
        let connected = self.side(permit, side).await?;
        let tree = Arc::new(Tree::open(&connected, path).await.map_err(|error| tree_failure("", error))?);
        trees.insert(key, tree.clone());
        Ok(tree)
    }

    /// Forgets opened trees: after one of them failed, the next call opens it anew.
    pub(crate) async fn forget_trees(&self) {
        self.trees.lock().await.clear();
    }
}

/// Hands that trees which are not in use may keep, on each side.
const WAITING: usize = 2;

/// Hands that wait take places of a connection, which the tree that is used next needs, and commands. Those of the busiest
/// trees stay.
fn make_room<'a>(trees: impl Iterator<Item = &'a Tree>) {
    let mut trees: Vec<&Tree> = trees.collect();
    trees.sort_by_key(|tree| std::cmp::Reverse(tree.waiting()));
    let mut left = WAITING;
    for tree in trees {
        tree.keep_waiting(left);
        left -= tree.waiting().min(left);
    }
}

/// A trouble with a side, as a phase sees it; with the remedy, which the operator needs.
pub(crate) fn failure(request: &str, error: rehome_remote::Error) -> Failure {
    use rehome_remote::Error;
    let said = format!("{}\nhint: {}", chain(&error), error.remedy());
    match &error {
        Error::TimedOut { .. } | Error::OverLimit { .. } => Failure::OverLimit(said),
        Error::NotFound { .. } => Failure::NotFound(said),
        Error::Unsupported { .. } => Failure::Unsupported(said),
        Error::Refused { .. } => Failure::RefusedValue(said),
        Error::Killed { .. } | Error::Io { .. } | Error::ControlDir { .. } => Failure::other(request, said),
        _ => Failure::Unreachable(said),
    }
}

/// A trouble with a tree, as a phase sees it.
pub(crate) fn tree_failure(request: &str, error: rehome_sync::Error) -> Failure {
    use rehome_sync::Error;
    let said = chain(&error);
    match error {
        Error::Remote(error) => failure(request, error),
        Error::NoSuchTree { .. } | Error::NotFound { .. } => Failure::NotFound(said),
        Error::NotAllowed { .. } => Failure::RefusedValue(said),
        Error::DiskFull { .. } | Error::TooLarge { .. } => Failure::OverLimit(said),
        Error::TooManyDeletes { .. } => Failure::Stopped(crate::types::Finding {
            severity: crate::types::Severity::Blocker,
            subject: request.to_string(),
            text: said,
            hint: Some(
                "look at what the source lost; if it is right, raise the limit in the plan and approve again".into(),
            ),
        }),
        Error::Busy { .. } => Failure::Conflict(said),
        _ => Failure::other(request, said),
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rehome_remote::{Options, Target};

    #[tokio::test]
    async fn hands_that_wait_leave_places_for_the_tree_in_use_and_for_commands() {
        let folder = tempfile::tempdir().unwrap();
        let side = Side::connect(&Target::Folder(folder.path().into()), &Options::default()).await.unwrap();
        let mut trees = Vec::new();
        for name in ["etc", "mail", "keys", "spool"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            trees.push(Tree::open(&side, &Path::new("/").join(name)).await.unwrap());
        }
        trees[1].ready().await.unwrap();
        make_room(trees.iter());
        let waiting: Vec<usize> = trees.iter().map(Tree::waiting).collect();
        assert_eq!(waiting, [0, WAITING, 0, 0]);
        // One that gave up its hands works as before.
        assert!(trees[0].list(b"", 1, 10).await.unwrap().is_empty());
    }
}
