//! The lab: real Debian machines under systemd-nspawn, each in network namespaces, a cgroup and an overlay of its own.
//! Everything carries the lab's id and is gone when the handle is dropped; nothing of this machine is changed.
//! `spec.rs` says what to boot, `cache.rs` and `layer.rs` what from, `registry.rs` how leftovers are found.

mod authority;
mod available;
mod boot;
mod cache;
mod cgroup;
mod delay;
mod dns;
mod layer;
mod machine;
mod network;
mod registry;
mod spec;

pub use authority::authority;
pub use available::{PACKAGES, available, ensure, ensure_packages, ready};
pub use cache::{Layer, Suite, cache_dir, libc_link_arguments, libc_tree};
pub(crate) use cache::{script, scripts};
pub use cgroup::Cgroup;
pub use delay::Delay;
pub use machine::Machine;
pub use registry::{MachineState, State};
pub use spec::{Base, Disk, LabSpec, MachineSpec, OUTSIDE_ADDRESS};

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A running lab. Dropping it takes it down, unless it is persistent.
#[derive(Debug)]
pub struct Lab {
    id: String,
    machines: Vec<Machine>,
    /// Present while this handle owns the lab.
    owned: Option<registry::Claim>,
    persistent: bool,
}

/// Builds what labs boot from, as far as it is not there yet: root trees and layers, beside each other.
///
/// # Errors
/// A build failed.
pub fn prepare() -> Result<()> {
    boot::lower(&[Layer::Old, Layer::New, Layer::Other].map(Base::Layer))?;
    Ok(())
}

/// The labs on this machine, by name, with what they consist of.
///
/// # Errors
/// The run folders cannot be read.
pub fn list() -> Result<Vec<State>> {
    registry::all()
}

/// Takes a lab down by its name, whoever started it.
///
/// # Errors
/// There is none of that name, or something of it could not be removed.
pub fn take_down(id: &str) -> Result<()> {
    registry::load(id)?;
    registry::take_down(id)
}

/// What is left on this machine of the lab with this name: empty when it is wholly gone.
///
/// # Errors
/// /proc or the list of namespaces cannot be read.
pub fn traces(id: &str) -> Result<Vec<String>> {
    registry::traces(id)
}

impl Lab {
    /// Boots a lab, building first what it boots from; returns when every machine's systemd says `running`.
    /// Leftovers of labs whose owner is gone are removed on the way.
    ///
    /// # Errors
    /// A build, a boot or a unit on a machine failed; what was started is gone again.
    pub fn start(spec: &LabSpec) -> Result<Self> {
        ready().map_err(|reason| anyhow::anyhow!("no lab can run here: {reason}"))?;
        if let Err(error) = Self::sweep() {
            eprintln!("lab: a leftover of another one stays: {error:#}");
        }
        let id = spec.id.clone().unwrap_or_else(registry::free_id);
        let bases: Vec<Base> = spec.machines.iter().map(|machine| machine.base).collect();
        let lower = boot::lower(&bases)?;
        let states = spec.machines.iter().zip(lower).map(|(machine, lower)| MachineState {
            name: machine.name.clone(),
            address: machine.address(),
            root_login: machine.root_login,
            lower,
        });
        let (owner, persistent, machines) = (std::process::id(), spec.persistent, states.collect());
        let state = State { id, owner, persistent, machines };
        let owned = registry::claim(&state)?;
        let mut lab = Self::of(&state);
        lab.owned = Some(owned);
        // From here on dropping `lab` takes down whatever there is of it.
        if let Err(error) = lab.bring_up(spec) {
            lab.persistent = false;
            return Err(error.context(format!("lab {} did not come up", lab.id)));
        }
        Ok(lab)
    }

    fn of(state: &State) -> Self {
        let machine = |machine: &MachineState| Machine { lab: state.id.clone(), state: machine.clone() };
        Self {
            id: state.id.clone(),
            machines: state.machines.iter().map(machine).collect(),
            owned: None,
            persistent: state.persistent,
        }
    }

    fn bring_up(&self, spec: &LabSpec) -> Result<()> {
        let folder = self.folder();
        Cgroup::of_lab(&self.id)?.child("outside").create()?;
        network::create(&self.id)?;
        boot::make_keys(spec, &folder)?;
        boot::write_outside_etc(spec, &self.id, &folder)?;
        boot::start_dns(self, &folder)?;
        for (machine, handle) in spec.machines.iter().zip(&self.machines) {
            network::add_machine(&self.id, machine)?;
            boot::prepare(spec, machine, &folder)?;
            boot::start(handle)?;
        }
        self.machines.iter().try_for_each(boot::wait)?;
        for (machine, handle) in spec.machines.iter().zip(&self.machines) {
            if !spec.rspamd && matches!(machine.base, Base::Layer(_)) {
                handle.sh("postconf smtpd_milters= non_smtpd_milters= && postfix reload 2>/dev/null")?;
            }
        }
        Ok(())
    }

    /// A handle on a lab that is up already; dropping it changes nothing.
    ///
    /// # Errors
    /// There is no lab of that name.
    pub fn open(id: &str) -> Result<Self> {
        Ok(Self::of(&registry::load(id)?))
    }

    /// Removes labs whose owner is gone (a test killed with `kill -9`); gives their names.
    ///
    /// # Errors
    /// Something of a leftover could not be removed.
    pub fn sweep() -> Result<Vec<String>> {
        registry::sweep()
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its run folder: state, keys, consoles, the name server's files.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        registry::folder(&self.id)
    }

    /// The ssh configuration that knows its machines by name. In the outside namespace it is the default one.
    #[must_use]
    pub fn ssh_config(&self) -> PathBuf {
        machine::ssh_config(&self.id)
    }

    /// The private key that every machine lets in.
    #[must_use]
    pub fn ssh_key(&self) -> PathBuf {
        self.folder().join("ssh/id_ed25519")
    }

    /// The key for DNS updates, `hmac-sha256:lab-key:SECRET`.
    ///
    /// # Errors
    /// The lab is down.
    pub fn tsig_key(&self) -> Result<String> {
        dns::tsig_key(&self.folder().join("dns"))
    }

    /// Its machines.
    #[must_use]
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// The machine of this name.
    ///
    /// # Panics
    /// When the lab has none: an error of the test. See [`Lab::find`].
    #[must_use]
    pub fn machine(&self, name: &str) -> &Machine {
        self.find(name).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The machine of this name.
    ///
    /// # Errors
    /// When the lab has none.
    pub fn find(&self, name: &str) -> Result<&Machine> {
        let found = self.machines.iter().find(|machine| machine.name() == name);
        found.with_context(|| {
            let names: Vec<&str> = self.machines.iter().map(Machine::name).collect();
            format!("lab {} has no machine {name} (it has {})", self.id, names.join(", "))
        })
    }

    /// The machine `old`.
    #[must_use]
    pub fn old(&self) -> &Machine {
        self.machine("old")
    }

    /// The machine `new`.
    #[must_use]
    #[expect(clippy::new_ret_no_self, reason = "the sides are called old and new everywhere")]
    pub fn new(&self) -> &Machine {
        self.machine("new")
    }

    /// The machine `third`.
    #[must_use]
    pub fn third(&self) -> &Machine {
        self.machine("third")
    }

    /// The machine `twin`.
    #[must_use]
    pub fn twin(&self) -> &Machine {
        self.machine("twin")
    }

    /// The machine `sender`.
    #[must_use]
    pub fn sender(&self) -> &Machine {
        self.machine("sender")
    }

    /// The machine `other`.
    #[must_use]
    pub fn other(&self) -> &Machine {
        self.machine("other")
    }

    /// A command on the lab's outside, 10.77.0.1: it reaches the machines by name, resolves names at the lab's
    /// name server, its ssh knows every machine, and it ends with the lab.
    ///
    /// # Errors
    /// This machine has no cgroup2.
    pub fn command(&self, program: &str) -> Result<Command> {
        machine::outside(&self.id, program)
    }

    /// `command`, but on the lab's outside: program, arguments, environment and folder are taken over; its standard
    /// streams are to be set on what is returned.
    ///
    /// # Errors
    /// As [`Lab::command`].
    pub fn in_namespace(&self, command: &Command) -> Result<Command> {
        let mut inside = machine::outside(&self.id, "env")?;
        inside.arg("--");
        inside.arg(command.get_program()).args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove::<&OsStr>(name),
            };
        }
        Ok(inside)
    }

    /// Pulls the plug: every process of the machine ends at once. Its disk stays; see [`Lab::boot`].
    ///
    /// # Errors
    /// No such machine, or its processes did not end.
    pub fn power_off(&self, name: &str) -> Result<()> {
        self.find(name)?.cgroup()?.kill()
    }

    /// Shuts a machine down as its operator would, and waits until it is off.
    ///
    /// # Errors
    /// No such machine, or it did not go off.
    pub fn shut_down(&self, name: &str) -> Result<()> {
        let machine = self.find(name)?;
        // The answer is lost with the machine: whether it went off is looked at.
        machine.ssh(&["systemctl", "poweroff"])?;
        machine.cgroup()?.wait_until_empty(Duration::from_secs(120))
    }

    /// Boots a machine that is off, with the disk it had; waits until it is `running`.
    ///
    /// # Errors
    /// It is on already, or did not come up.
    pub fn boot(&self, name: &str) -> Result<()> {
        let machine = self.find(name)?;
        if machine.is_on()? {
            bail!("{name} is on");
        }
        machine.cgroup()?.remove()?;
        boot::start(machine)?;
        boot::wait(machine)
    }

    /// Cuts a machine's link: silence both ways, as when a cable is pulled somewhere between.
    ///
    /// # Errors
    /// No such machine.
    pub fn link_cut(&self, name: &str) -> Result<()> {
        network::cut(&self.id, self.find(name)?.name())
    }

    /// Ends [`Lab::link_cut`].
    ///
    /// # Errors
    /// No such machine.
    pub fn link_heal(&self, name: &str) -> Result<()> {
        network::heal(&self.id, self.find(name)?.name())
    }

    /// Ends every TCP connection that a machine has over the lab's network, once, with an RST.
    ///
    /// # Errors
    /// No such machine.
    pub fn link_reset(&self, name: &str) -> Result<()> {
        network::reset(&self.id, self.find(name)?.name())
    }

    /// Takes it down now, with an error to look at; dropping the handle does the same and only prints it.
    ///
    /// # Errors
    /// Something of it could not be removed.
    pub fn down(mut self) -> Result<()> {
        let done = registry::take_down(&self.id);
        self.owned = None;
        done
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.owned.is_some() && !self.persistent {
            if std::thread::panicking() {
                eprintln!("lab {}: taken down after a panic", self.id);
            }
            if let Err(error) = registry::take_down(&self.id) {
                eprintln!("lab {}: {error:#}", self.id);
            }
        }
    }
}
