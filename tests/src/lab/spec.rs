//! What a lab shall consist of: a value, built before anything is started. Names and addresses are fixed here.
//! See `lab/mod.rs` for what is made of it.

use super::cache::{Layer, Suite};
use std::path::PathBuf;

/// The lab's network; each lab has its own, so all use the same addresses.
pub const OUTSIDE_ADDRESS: &str = "10.77.0.1";

/// Which machines a lab has, and how it lives.
#[derive(Debug, Clone)]
pub struct LabSpec {
    /// A name of 1 to 10 lower case letters and digits; without one, a name no other lab has.
    pub id: Option<String>,
    /// The machines to boot.
    pub machines: Vec<MachineSpec>,
    /// Lives until it is taken down by name, not just as long as the process that started it.
    pub persistent: bool,
    /// Where the machines' changes are kept.
    pub disk: Disk,
    /// Whether mail servers judge mail: rspamd takes a third of all that a lab costs.
    pub rspamd: bool,
}

/// Where a machine keeps what it writes; gone with the lab either way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disk {
    /// In memory, at most so many MiB for each machine: fast, and the size of its "disk".
    Memory(u32),
    /// On a real disk, in this folder, which must exist: a file system of so many MiB for each machine, in a file. For large
    /// trees, and where caches and syncing must cost something. Each is blank, so that no machine pays for files that another
    /// has deleted (ext4 leaves their inodes alone for minutes, and looks through them whenever a file is made). The files go
    /// away with the lab, the folder itself does not.
    Images(PathBuf, u64),
}

/// One machine.
#[derive(Debug, Clone)]
pub struct MachineSpec {
    /// Its host name: `old`, `new`, `third`, `sender`, `other` or `twin`.
    pub name: String,
    /// The last octet of its address, 10.77.0.x.
    pub octet: u8,
    /// What its root is made of.
    pub base: Base,
    /// Its root and admin get the lab's key and the host keys of the others, so that they can log in there.
    pub ssh_keys: bool,
    /// Whether sshd lets root in; `admin` with sudo always may.
    pub root_login: bool,
}

/// What a machine's root is made of, below its own changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// A configured mail server: a layer over its root tree.
    Layer(Layer),
    /// The bare root tree, with the packages as Debian installs them.
    Tree(Suite),
    /// The bare root tree with the mail system's services masked: a place to run rehome on.
    Quiet(Suite),
    /// The root tree of Debian 12 as a stranger's mail server: Postfix, set up by `tests/lab/sender.cf`, and nothing else.
    Sender,
}

impl Base {
    /// The Debian release of its root tree.
    #[must_use]
    pub fn suite(self) -> Suite {
        match self {
            Self::Layer(layer) => layer.suite(),
            Self::Tree(suite) | Self::Quiet(suite) => suite,
            Self::Sender => Suite::Bookworm,
        }
    }
}

impl LabSpec {
    fn with(machines: Vec<MachineSpec>) -> Self {
        Self { id: None, machines, persistent: false, disk: Disk::Memory(4096), rspamd: true }
    }

    /// `old` (Debian 11, with accounts and mail) and `new` (Debian 12, configured and empty).
    #[must_use]
    pub fn pair() -> Self {
        Self::with(vec![MachineSpec::old(), MachineSpec::new_side()])
    }

    /// `old` alone.
    #[must_use]
    pub fn old_only() -> Self {
        Self::with(vec![MachineSpec::old()])
    }

    /// `new` alone.
    #[must_use]
    pub fn new_only() -> Self {
        Self::with(vec![MachineSpec::new_side()])
    }

    /// One machine from a bare root tree; for making layers.
    #[must_use]
    pub fn bare(name: &str, octet: u8, suite: Suite) -> Self {
        Self::with(vec![MachineSpec::named(name, octet, Base::Tree(suite))])
    }

    /// Also `third`, a Debian 12 without running mail services.
    #[must_use]
    pub fn with_third(mut self) -> Self {
        let third = MachineSpec::named("third", 13, Base::Quiet(Suite::Bookworm));
        self.machines.push(third);
        self
    }

    /// Also `sender`, a mail server out in the world with a domain of its own, `elsewhere.lab.test`: it sends by MX
    /// look-up, keeps a queue, and tries again every few seconds. Bounces arrive in its `/var/mail/sender`.
    #[must_use]
    pub fn with_sender(mut self) -> Self {
        self.machines.push(MachineSpec::named("sender", 14, Base::Sender));
        self
    }

    /// Also `other`, a second old server (Debian 11) with a domain of its own, `other.example`, whose rows have the
    /// same ids as those of `old`.
    #[must_use]
    pub fn with_other(mut self) -> Self {
        self.machines.push(MachineSpec::named("other", 15, Base::Layer(Layer::Other)));
        self
    }

    /// Also `twin`, a Debian 12 like `new`: a second place for the same mail, to compare two ways of bringing it there.
    #[must_use]
    pub fn with_twin(mut self) -> Self {
        self.machines.push(MachineSpec::named("twin", 16, Base::Layer(Layer::New)));
        self
    }

    /// `machine` can log in to the others as root and as admin.
    #[must_use]
    pub fn ssh_keys_on(mut self, machine: &str) -> Self {
        self.find(machine).ssh_keys = true;
        self
    }

    /// sshd on `machine` refuses root; `admin` may use sudo there without a password.
    #[must_use]
    pub fn root_login_off(mut self, machine: &str) -> Self {
        self.find(machine).root_login = false;
        self
    }

    /// A name of the caller's choice.
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        self.id = Some(id.to_owned());
        self
    }

    /// Where changes are kept.
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disk = disk;
        self
    }

    /// What runs as rspamd only sleeps, and Postfix asks for none: for tests to which it does not matter how mail is judged.
    #[must_use]
    pub fn without_rspamd(mut self) -> Self {
        self.rspamd = false;
        self
    }

    /// Outlives the process.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        self.persistent = true;
        self
    }

    fn find(&mut self, name: &str) -> &mut MachineSpec {
        let found = self.machines.iter_mut().find(|m| m.name == name);
        found.unwrap_or_else(|| panic!("this lab has no machine {name}"))
    }
}

impl MachineSpec {
    fn named(name: &str, octet: u8, base: Base) -> Self {
        Self { name: name.to_owned(), octet, base, ssh_keys: false, root_login: true }
    }

    fn old() -> Self {
        Self::named("old", 11, Base::Layer(Layer::Old))
    }

    fn new_side() -> Self {
        Self::named("new", 12, Base::Layer(Layer::New))
    }

    /// Its IPv4 address in the lab's network.
    #[must_use]
    pub fn address(&self) -> String {
        format!("10.77.0.{}", self.octet)
    }
}
