//! Whether this machine can run a lab, and installing what that takes.
//! A reason is always one line that says what is missing and what to do.

use crate::process::{output, run, tail};
use anyhow::{Result, anyhow, bail};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Debian packages that the lab uses, and those (an ssh daemon, MariaDB and Redis without their services) that other tests start
/// for themselves.
pub const PACKAGES: &[&str] = &[
    "acl",
    "ca-certificates",
    "e2fsprogs",
    "iproute2",
    "knot",
    "knot-dnsutils",
    "mariadb-client",
    "mariadb-server-core",
    "mmdebstrap",
    "openssh-client",
    "openssh-server",
    "openssl",
    "python3",
    "redis-tools",
    "rsync",
    "strace",
    "systemd-container",
    "util-linux",
];

/// `Ok` where a lab can run once its packages are there ([`ensure_packages`]); else why not, in one line.
///
/// # Errors
/// Not root, not Debian, or a kernel or container that cannot do it.
pub fn available() -> Result<(), String> {
    static ANSWER: OnceLock<Result<(), String>> = OnceLock::new();
    ANSWER.get_or_init(look).clone()
}

/// `Ok` where a lab can run now; else why not, in one line. The environment variable `REHOME_LAB_OFF`, set to a reason,
/// turns the lab off.
///
/// # Errors
/// As [`available`], or a Debian package is missing.
pub fn ready() -> Result<(), String> {
    if let Some(reason) = std::env::var("REHOME_LAB_OFF").ok().filter(|reason| !reason.is_empty()) {
        return Err(reason);
    }
    available()?;
    match missing(PACKAGES)?.as_slice() {
        [] => Ok(()),
        missing => Err(format!("Debian packages are missing (apt-get install {})", missing.join(" "))),
    }
}

fn look() -> Result<(), String> {
    host()?;
    if cgroup_root().is_none() {
        return Err(
            "no cgroup2 file system with cgroup.kill is mounted (Linux 5.14; mount -t cgroup2 cgroup2 DIR)".into()
        );
    }
    let kernel = Path::new("/proc/self/ns/cgroup").exists() && file_system("overlay");
    if !kernel {
        return Err("the kernel has no cgroup namespaces or no overlay file system".into());
    }
    // The one real test of the privileges that a container may have taken away.
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--mount", "--", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]);
    match output(&mut unshare, b"") {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => Err(format!(
            "root here may not make namespaces and mounts: {}",
            tail(&String::from_utf8_lossy(&done.stderr), 1)
        )),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether it is worth installing anything: root, on Debian.
fn host() -> Result<(), String> {
    let root = fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0);
    if !root {
        return Err("a lab needs root (namespaces, mounts)".into());
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let debian = release.lines().any(|line| line.trim_matches('"') == "ID=debian");
    if !debian {
        return Err("a lab is built with Debian's tools, and this is not a Debian".into());
    }
    Ok(())
}

fn missing<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>, String> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${Package} ${db:Status-Status}\n"]);
    let listed = output(query.args(packages), b"").map_err(|error| error.to_string())?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let installed = |name: &str| {
        let wanted = format!("{name} installed");
        listed.lines().any(|line| line == wanted)
    };
    Ok(packages.iter().copied().filter(|name| !installed(name)).collect())
}

fn file_system(name: &str) -> bool {
    let known = || {
        let list = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        list.lines().any(|line| line.split_whitespace().last() == Some(name))
    };
    // As a module it is listed only once loaded.
    known() || (Command::new("modprobe").arg(name).status().is_ok_and(|s| s.success()) && known())
}

/// Where cgroup2 is mounted, when its kernel can end a whole cgroup at once (Linux 5.14).
pub(super) fn cgroup_root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let found = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (folder, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(folder))
    })?;
    // `cgroup.kill` is in every cgroup but the root: look in one that is there, if any is.
    let children = fs::read_dir(&found).ok()?.flatten();
    let mut groups = children.filter(|child| child.path().join("cgroup.procs").exists());
    let able = groups.next().is_none_or(|group| group.path().join("cgroup.kill").exists());
    able.then_some(found)
}

/// Installs the Debian packages the lab uses that are not there yet.
///
/// # Errors
/// Not root, not Debian, or apt's own words.
pub fn ensure_packages() -> Result<()> {
    ensure(PACKAGES)
}

/// Installs those of these Debian packages that are not there yet.
///
/// # Errors
/// As [`ensure_packages`]; where nothing is missing, anybody may ask.
pub fn ensure(packages: &[&str]) -> Result<()> {
    let missing = missing(packages).map_err(|error| anyhow!("cannot ask which packages are installed: {error}"))?;
    if missing.is_empty() {
        return Ok(());
    }
    if let Err(reason) = host() {
        bail!("cannot install the Debian packages {}: {reason}", missing.join(" "));
    }
    eprintln!("installing {}", missing.join(" "));
    let quiet = NoServices::begin()?;
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(args);
        run(&mut command)
    };
    apt(&["update"])?;
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(&missing);
    apt(&install)?;
    drop(quiet);
    Ok(())
}

/// While this lives, packages that are installed start no services (invoke-rc.d(8), policy-rc.d): the daemons that tests
/// use are started by tests, for themselves.
struct NoServices(Option<&'static Path>);

impl NoServices {
    fn begin() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let policy = Path::new("/usr/sbin/policy-rc.d");
        if policy.exists() {
            return Ok(Self(None));
        }
        fs::write(policy, "#!/bin/sh\nexit 101\n")?;
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755))?;
        Ok(Self(Some(policy)))
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(policy) = self.0 {
            drop(fs::remove_file(policy));
        }
    }
}
