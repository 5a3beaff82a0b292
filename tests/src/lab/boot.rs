//! Starting machines: keys and small files each gets before its first boot, the boot itself, and waiting until its
//! systemd says `running`. The work inside the machine's own mount namespace is `tests/lab/machine.sh`.

use super::Lab;
use super::authority;
use super::cache;
use super::machine::Machine;
use super::network;
use super::registry;
use super::spec::{Base, Disk, LabSpec, MachineSpec, OUTSIDE_ADDRESS};
use crate::process::{run, tail};
use anyhow::{Context, Result, anyhow, bail};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a machine may take to be up. Seconds, normally; a loaded build machine takes longer.
const PATIENCE: Duration = Duration::from_secs(180);

/// `admin`'s user and group number in the root trees (`build.sh`).
const ADMIN: u32 = 1000;

/// The services of a mail server besides Postfix, masked on a machine that shall be quiet.
const MAIL_UNITS: &[&str] =
    &["dovecot.service", "dovecot.socket", "mariadb.service", "redis-server.service", "rspamd.service"];

/// In place of a service that a test does not need: it is there, and costs nothing.
const SLEEPS: &str = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n";

/// For each base the folders that a root is laid over, topmost first, as the overlay takes them. Builds what is
/// missing, all of them at once: a build is half waiting for the network.
pub(super) fn lower(bases: &[Base]) -> Result<Vec<String>> {
    std::thread::scope(|scope| {
        let builds: Vec<_> = bases.iter().map(|base| scope.spawn(|| lower_of(*base))).collect();
        let joined =
            builds.into_iter().map(|build| build.join().map_err(|_| anyhow!("building a root tree panicked"))?);
        // All have ended before the first error is reported.
        joined.collect::<Vec<_>>().into_iter().collect()
    })
}

fn lower_of(base: Base) -> Result<String> {
    Ok(match base {
        Base::Layer(layer) => format!("{}:{}", layer.path()?.display(), layer.suite().tree()?.display()),
        Base::Tree(_) | Base::Quiet(_) | Base::Sender => base.suite().tree()?.display().to_string(),
    })
}

/// The lab's own key, a host key for each machine, and the configuration that knows them all.
pub(super) fn make_keys(spec: &LabSpec, folder: &Path) -> Result<()> {
    let ssh = folder.join("ssh");
    fs::create_dir(&ssh)?;
    keygen(&ssh.join("id_ed25519"), "lab")?;
    let (mut known, mut config) = (String::new(), String::new());
    for machine in &spec.machines {
        let (name, address) = (&machine.name, machine.address());
        let key = ssh.join(format!("host-{name}"));
        keygen(&key, name)?;
        let public = fs::read_to_string(key.with_extension("pub"))?;
        writeln!(known, "{name},{name}.lab.test,{address} {}", public.trim())?;
        let user = if machine.root_login { "root" } else { "admin" };
        writeln!(config, "Host {name} {name}.lab.test {address}\n  HostName {address}\n  User {user}")?;
    }
    let (key, known_hosts) = (ssh.join("id_ed25519"), ssh.join("known_hosts"));
    writeln!(config, "Host *\n  IdentityFile {}\n  IdentitiesOnly yes", key.display())?;
    writeln!(config, "  UserKnownHostsFile {}\n  StrictHostKeyChecking yes", known_hosts.display())?;
    writeln!(config, "  BatchMode yes\n  ConnectTimeout 10\n  ServerAliveInterval 5")?;
    fs::write(known_hosts, known)?;
    fs::write(ssh.join("ssh_config"), config)?;
    Ok(())
}

fn keygen(path: &Path, comment: &str) -> Result<()> {
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"]).arg(path))?;
    Ok(())
}

/// What the outside namespace sees in /etc: the lab's name server and names, and ssh that knows the machines.
pub(super) fn write_outside_etc(spec: &LabSpec, id: &str, folder: &Path) -> Result<()> {
    let etc = network::etc(id);
    fs::create_dir_all(etc.join("ssh"))?;
    fs::write(etc.join("resolv.conf"), resolv_conf())?;
    fs::write(etc.join("hosts"), hosts(spec))?;
    fs::copy(folder.join("ssh/ssh_config"), etc.join("ssh/ssh_config"))?;
    Ok(())
}

fn resolv_conf() -> String {
    format!("nameserver {OUTSIDE_ADDRESS}\n")
}

fn hosts(spec: &LabSpec) -> String {
    let mut text = String::from("127.0.0.1 localhost\n");
    for machine in &spec.machines {
        text += &format!("{} {1}.lab.test {1}\n", machine.address(), machine.name);
    }
    text
}

/// A machine's run folder: its disk and the files it is given before its first boot.
pub(super) fn prepare(spec: &LabSpec, machine: &MachineSpec, folder: &Path) -> Result<()> {
    let home = folder.join(&machine.name);
    for name in ["root", "disk", "files"] {
        fs::create_dir_all(home.join(name))?;
    }
    match &spec.disk {
        Disk::Memory(mib) => {
            let options = format!("size={mib}m,mode=755");
            run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "rehome-lab"]).arg(home.join("disk")))?;
        }
        Disk::Images(folder, mib) => make_image(&folder.join(format!("{}.img", machine.name)), *mib, &home)?,
    }
    write_files(spec, machine, folder, &home.join("files"))
}

/// A blank file system in a file, which `machine.sh` mounts where nobody else sees it: it is unmounted with the machine's last
/// process, however that ends.
fn make_image(image: &Path, mib: u64, home: &Path) -> Result<()> {
    run(Command::new("fallocate").args(["-l", &format!("{mib}MiB")]).arg(image))?;
    // An inode for each block: mails are small. Its inode tables are zero already, as the file is.
    run(Command::new("mkfs.ext4").args(["-q", "-i", "4096", "-E", "lazy_itable_init=1,nodiscard"]).arg(image))?;
    symlink(image, home.join(registry::IMAGE))?;
    Ok(())
}

fn write_files(spec: &LabSpec, machine: &MachineSpec, folder: &Path, files: &Path) -> Result<()> {
    let ssh = folder.join("ssh");
    put(files, "etc/hostname", &format!("{}\n", machine.name), 0o644)?;
    put(files, "etc/hosts", &hosts(spec), 0o644)?;
    put(files, "etc/resolv.conf", &resolv_conf(), 0o644)?;
    let host_key = ssh.join(format!("host-{}", machine.name));
    put(files, "etc/ssh/ssh_host_ed25519_key", &fs::read_to_string(&host_key)?, 0o600)?;
    put(files, "etc/ssh/ssh_host_ed25519_key.pub", &fs::read_to_string(host_key.with_extension("pub"))?, 0o644)?;
    if !machine.root_login {
        put(files, "etc/ssh/sshd_config.d/rehome-lab.conf", "PermitRootLogin no\n", 0o644)?;
    }
    write_base(machine.base, files)?;
    if !spec.rspamd && matches!(machine.base, Base::Layer(_)) {
        put(files, "etc/systemd/system/rspamd.service", SLEEPS, 0o644)?;
    }
    write_stamps(machine.base, files)?;
    authority::trust(&machine.base.suite().tree()?, files)?;
    for home in ["root", "home/admin"] {
        write_ssh_home(machine, &ssh, files, home)?;
    }
    // `cp -a` gives these modes to the machine's own folders.
    fs::set_permissions(files.join("root"), fs::Permissions::from_mode(0o700))?;
    for entry in ["home/admin", "home/admin/.ssh"] {
        chown(files.join(entry), Some(ADMIN), Some(ADMIN))?;
    }
    for entry in fs::read_dir(files.join("home/admin/.ssh"))? {
        chown(entry?.path(), Some(ADMIN), Some(ADMIN))?;
    }
    Ok(())
}

/// What a machine is given that boots from more or less than a layer.
fn write_base(base: Base, files: &Path) -> Result<()> {
    let masked: &[&[&str]] = match base {
        Base::Layer(_) | Base::Tree(_) => &[],
        Base::Quiet(_) => &[MAIL_UNITS, &["postfix.service"]],
        Base::Sender => &[MAIL_UNITS],
    };
    for unit in masked.iter().copied().flatten() {
        let units = files.join("etc/systemd/system");
        fs::create_dir_all(&units)?;
        symlink("/dev/null", units.join(unit))?;
    }
    if base == Base::Sender {
        put(files, "etc/postfix/main.cf", &String::from_utf8(cache::script("sender.cf")?)?, 0o644)?;
    }
    Ok(())
}

/// The trees were made earlier, perhaps on another day: a timer that thinks it has missed its hour would run while the machine
/// boots (systemd.timer(5), Persistent=), before the services that it needs.
fn write_stamps(base: Base, files: &Path) -> Result<()> {
    const STAMPS: &str = "var/lib/systemd/timers";
    for tree in lower_of(base)?.split(':') {
        let Ok(stamps) = fs::read_dir(Path::new(tree).join(STAMPS)) else { continue };
        for stamp in stamps {
            put(files, &format!("{STAMPS}/{}", stamp?.file_name().to_string_lossy()), "", 0o644)?;
        }
    }
    Ok(())
}

fn write_ssh_home(machine: &MachineSpec, ssh: &Path, files: &Path, home: &str) -> Result<()> {
    let public = fs::read_to_string(ssh.join("id_ed25519.pub"))?;
    put(files, &format!("{home}/.ssh/authorized_keys"), &public, 0o600)?;
    if machine.ssh_keys {
        put(files, &format!("{home}/.ssh/id_ed25519"), &fs::read_to_string(ssh.join("id_ed25519"))?, 0o600)?;
        put(files, &format!("{home}/.ssh/id_ed25519.pub"), &public, 0o644)?;
        put(files, &format!("{home}/.ssh/known_hosts"), &fs::read_to_string(ssh.join("known_hosts"))?, 0o644)?;
    }
    fs::set_permissions(files.join(home).join(".ssh"), fs::Permissions::from_mode(0o700))?;
    Ok(())
}

fn put(files: &Path, name: &str, text: &str, mode: u32) -> Result<()> {
    let path = files.join(name);
    fs::create_dir_all(path.parent().context("a file has a folder")?)?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// Starts a machine: it has a run folder and a network; whether it has run before makes no difference.
pub(super) fn start(machine: &Machine) -> Result<()> {
    let group = machine.cgroup()?;
    group.create()?;
    let home = machine.folder();
    let console = File::options().create(true).append(true).open(home.join("console"))?;
    let mut command = Command::new("setsid");
    // The machine joins its cgroup before anything else; --fork leaves no child of ours to be waited for.
    let join = group.command("unshare");
    command.args(["--fork", "--"]).arg(join.get_program()).args(join.get_args());
    // "slave": when a namespace is deleted here, no machine's mount namespace keeps it.
    command.args(["--mount", "--propagation", "slave", "--"]).arg(cache::scripts().join("machine.sh"));
    command.arg(machine.name()).arg(&home).arg(&machine.state.lower).arg(network::inside(&machine.lab, machine.name()));
    let status = command.stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console).status()?;
    if !status.success() {
        bail!("cannot start {}: setsid ended with {status}", machine.name());
    }
    let begun = Instant::now();
    while !group.populated() {
        if begun.elapsed() > Duration::from_secs(10) {
            bail!("{} did not start:\n{}", machine.name(), tail(&machine.console(), 20));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Waits until the machine answers and every unit of it has started.
pub(super) fn wait(machine: &Machine) -> Result<()> {
    let begun = Instant::now();
    while !machine.port_is_open(22)? {
        if !machine.is_on()? {
            bail!("{} stopped while booting:\n{}", machine.name(), tail(&machine.console(), 30));
        }
        if begun.elapsed() > PATIENCE {
            bail!("{} did not answer on port 22:\n{}", machine.name(), tail(&machine.console(), 30));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let state = loop {
        // pam_nologin refuses logins for a moment while the boot goes on: ssh answers 255.
        let said = machine.ssh(&["systemctl", "is-system-running", "--wait"])?;
        if said.status.code() != Some(255) || begun.elapsed() > PATIENCE {
            break String::from_utf8_lossy(&said.stdout).trim().to_owned();
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    if state != "running" {
        let failed = machine.ssh(&["systemctl", "--failed", "--no-legend", "--plain"])?;
        let failed = String::from_utf8_lossy(&failed.stdout).into_owned();
        bail!(
            "{} is `{state}` after its boot, not `running`:\n{failed}{}",
            machine.name(),
            tail(&machine.console(), 20)
        );
    }
    Ok(())
}

/// The name server, in the lab's outside namespace.
pub(super) fn start_dns(lab: &Lab, folder: &Path) -> Result<()> {
    let id = &lab.id;
    let configuration = super::dns::write(&folder.join("dns"), id, &lab.machines)?;
    let log = File::create(folder.join("dns/log"))?;
    let inner = super::machine::outside(id, "knotd")?;
    let mut command = Command::new("setsid");
    command.args(["--fork", "--"]).arg(inner.get_program()).args(inner.get_args()).arg("-c").arg(configuration);
    let status = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).status()?;
    if !status.success() {
        bail!(
            "cannot start the lab's name server: setsid ended with {status} (see {})",
            registry::folder(id).display()
        );
    }
    Ok(())
}
