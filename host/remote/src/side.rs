//! A side of a migration, reached: the one type that the rest of rehome uses.
//! Invariant: what a folder cannot do (run commands, have a network) it refuses; what a machine does, it does the same
//! way here and over ssh. `machine.rs` and `master.rs` are underneath.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use tokio::time::timeout;

use crate::forward::{self, Forward};
use crate::machine::Machine;
use crate::master::Master;
use crate::{
    Command, Ended, Endpoint, Error, Options, Output, Process, Route, Target, process, route, run, ssh_config,
};

/// One of the two machines of a migration, reached. Cheap to clone; all clones share one connection, which ends with
/// the last of them (and the last forward), or with [`close`](Self::close).
#[derive(Clone)]
pub struct Side(Arc<Kind>);

impl std::fmt::Debug for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Side").field(&self.name()).finish()
    }
}

enum Kind {
    Machine(Arc<Machine>),
    Folder { name: String, root: PathBuf },
}

impl Side {
    /// Reaches a side and looks who we are there, within [`Options::connect_timeout`]. Nothing is changed there.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::HostKey`], [`Error::Login`], [`Error::Shell`], [`Error::Sudo`],
    /// [`Error::ControlDir`], [`Error::TimedOut`]; [`Error::Refused`] for a destination or path that cannot be used.
    pub async fn connect(target: &Target, options: &Options) -> Result<Self, Error> {
        let name = target.to_string();
        if let Target::Folder(path) = target {
            return Self::folder(name, path);
        }
        let reach = async {
            let master = match target {
                Target::Ssh { destination } => Some(reach(destination, &name, options).await?),
                _ => None,
            };
            let machine = Machine::new(name.clone(), options, master);
            machine.look().await?;
            Ok(Self(Arc::new(Kind::Machine(Arc::new(machine)))))
        };
        let after = options.connect_timeout;
        timeout(after, reach).await.unwrap_or_else(|_| {
            let what = format!("connecting to {name}");
            Err(Error::TimedOut { side: name.clone(), what, after, ended: Ended::NotStarted })
        })
    }

    fn folder(name: String, path: &Path) -> Result<Self, Error> {
        let root = path.canonicalize().and_then(|root| match root.is_dir() {
            true => Ok(root),
            false => Err(std::io::ErrorKind::NotADirectory.into()),
        });
        match root {
            Ok(root) => Ok(Self(Arc::new(Kind::Folder { name, root }))),
            Err(source) => Err(Error::Io { side: name, doing: "use it as a side".into(), source }),
        }
    }

    /// What messages call it: `root@old.example.org`, `this machine`, `the folder /tmp/demo/old`.
    pub fn name(&self) -> &str {
        match &*self.0 {
            Kind::Machine(machine) => &machine.name,
            Kind::Folder { name, .. } => name,
        }
    }

    /// Its files are this machine's: [`Target::Local`] or [`Target::Folder`].
    pub fn is_local(&self) -> bool {
        match &*self.0 {
            Kind::Machine(machine) => machine.master.is_none(),
            Kind::Folder { .. } => true,
        }
    }

    /// The folder that stands in for the machine, without symbolic links in its path.
    pub fn root(&self) -> Option<&Path> {
        match &*self.0 {
            Kind::Machine(_) => None,
            Kind::Folder { root, .. } => Some(root),
        }
    }

    /// Where an absolute path of the side is: itself, or below the folder. `..` never leads above the folder; symbolic
    /// links inside are not looked at (whoever opens the path does that).
    pub fn resolve(&self, absolute: &Path) -> PathBuf {
        let Some(root) = self.root() else { return absolute.to_owned() };
        let mut below: Vec<_> = Vec::new();
        for component in absolute.components() {
            match component {
                Component::Normal(name) => below.push(name),
                Component::ParentDir => _ = below.pop(),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        root.join(below.into_iter().collect::<PathBuf>())
    }

    /// Commands run as root there: the login is root, or sudo made it so. For a folder, whether rehome is root.
    pub fn privileged_here(&self) -> bool {
        match &*self.0 {
            Kind::Machine(machine) => machine.login().root,
            Kind::Folder { .. } => rustix::process::geteuid().is_root(),
        }
    }

    /// Whether that is by sudo, not by the login itself.
    pub fn uses_sudo(&self) -> bool {
        matches!(&*self.0, Kind::Machine(machine) if machine.login().sudo)
    }

    /// The digest of what a gate lets pass there (`rehome-gate`), if this login ends at one: nothing can be forwarded then,
    /// and nobody else be let in.
    pub fn gate(&self) -> Option<&str> {
        match &*self.0 {
            Kind::Machine(machine) => machine.login().gate.as_deref(),
            Kind::Folder { .. } => None,
        }
    }

    /// Whether [`Options::direct`] lets another side in here.
    pub fn may_let_in(&self) -> bool {
        matches!(&*self.0, Kind::Machine(machine) if machine.options.direct && machine.login().gate.is_none())
    }

    /// How another machine can reach this one, or in words why that is not known: only what ssh reaches in one step from
    /// here, and by whose key this machine knows it.
    ///
    /// # Errors
    /// Why not, for people.
    pub async fn route(&self) -> Result<Route, String> {
        match &*self.0 {
            Kind::Machine(machine) => route::route(machine).await,
            Kind::Folder { .. } => Err("it is a folder of this machine".to_owned()),
        }
    }

    /// See [`Options::authorized_keys`].
    pub fn authorized_keys(&self) -> Option<&Path> {
        match &*self.0 {
            Kind::Machine(machine) => machine.options.authorized_keys.as_deref(),
            Kind::Folder { .. } => None,
        }
    }

    /// Runs a command to its end: its input in, its status and output out. Any status is an `Ok`.
    ///
    /// # Errors
    /// Ask [`Error::outcome_unknown`] whether it may have had an effect.
    pub async fn run(&self, command: &Command) -> Result<Output, Error> {
        run::run(self.machine(|| format!("run `{}`", command.program()))?, command).await
    }

    /// Starts a command and hands over its streams. [`Command::stdin`] and `max_output` for stdout are the caller's then.
    ///
    /// # Errors
    /// As [`run`](Self::run), for what can happen until it has started.
    pub async fn spawn(&self, command: &Command) -> Result<Process, Error> {
        process::spawn(self.machine(|| format!("run `{}`", command.program()))?, command, None).await
    }

    /// Brings a socket of the side here, within [`Options::control_timeout`]. A unix socket of this machine is just its
    /// own path, unless sudo is needed to open it as root.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no such socket or ssh may not forward it; [`Error::Unreachable`],
    /// [`Error::TimedOut`], [`Error::ControlDir`]; [`Error::Unsupported`] for a TCP port of a folder.
    pub async fn forward(&self, endpoint: &Endpoint) -> Result<Forward, Error> {
        if let (Kind::Folder { .. }, Endpoint::Unix(path)) = (&*self.0, endpoint) {
            return Ok(Forward::itself(self.resolve(path)));
        }
        forward::forward(self.machine(|| format!("connect to {endpoint}"))?, endpoint).await
    }

    /// Ends the connection, for all clones, and waits a few seconds at most for that. Commands that still run over it
    /// are lost ([`Error::Lost`]), and so are forwards.
    pub async fn close(&self) {
        if let Kind::Machine(machine) = &*self.0
            && let Some(master) = &machine.master
        {
            _ = timeout(machine.options.control_timeout, master.close()).await;
        }
    }

    fn machine(&self, what: impl FnOnce() -> String) -> Result<&Arc<Machine>, Error> {
        match &*self.0 {
            Kind::Machine(machine) => Ok(machine),
            Kind::Folder { name, .. } => Err(Error::Unsupported { side: name.clone(), what: what() }),
        }
    }
}

async fn reach(destination: &str, name: &str, options: &Options) -> Result<Master, Error> {
    if let Some(reason) = ssh_config::objection(destination) {
        return Err(Error::Refused { side: format!("`{name}`"), reason: reason.into() });
    }
    Master::connect(destination, name, options).await
}
