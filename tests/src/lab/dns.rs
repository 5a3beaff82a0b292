//! The lab's authoritative name server: Knot on 10.77.0.1, zones `lab.test` and the seeded mail domains.
//! It takes RFC 2136 updates signed with the lab's TSIG key, and answers everything else NXDOMAIN at once:
//! rspamd waits ten seconds for each name it cannot resolve.

use super::spec::OUTSIDE_ADDRESS;
use crate::seed::accounts;
use anyhow::{Context, Result};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The key for updates, as `hmac-sha256:NAME:SECRET` (what `knsupdate -y` takes).
pub(super) fn tsig_key(folder: &Path) -> Result<String> {
    let file = folder.join("tsig.key");
    fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
}

/// Writes configuration and zones into `folder`; gives the configuration file's path.
pub(super) fn write(folder: &Path, id: &str) -> Result<PathBuf> {
    fs::create_dir_all(folder.join("db"))?;
    // Not a secret worth the name: it is only ever good inside this lab.
    let digest: [u8; 32] = Sha256::digest(format!("{id} {:?}", std::time::SystemTime::now())).into();
    let secret = BASE64_STANDARD.encode(digest);
    fs::write(folder.join("tsig.key"), format!("hmac-sha256:lab-key:{secret}"))?;
    let mut zones = String::new();
    for zone in std::iter::once("lab.test").chain(accounts().domains.iter().map(String::as_str)) {
        writeln!(zones, "  - domain: {zone}\n    file: {zone}.zone\n    acl: update")?;
        fs::write(folder.join(format!("{zone}.zone")), zone_file(zone))?;
    }
    let root = ". 60 SOA ns.lab.test. admin.lab.test. 1 3600 600 86400 60\n. 60 NS ns.lab.test.\n";
    fs::write(folder.join("root.zone"), root)?;
    let path = folder.join("knot.conf");
    fs::write(&path, configuration(&folder.display().to_string(), &secret, &zones))?;
    Ok(path)
}

fn zone_file(zone: &str) -> String {
    let head = "$TTL 3600\n@ SOA ns.lab.test. admin.lab.test. 1 3600 600 86400 60\n@ NS ns.lab.test.\n";
    let rest = if zone == "lab.test" {
        "@ MX 10 mail\nns A 10.77.0.1\nmail 86400 A 10.77.0.11\nold A 10.77.0.11\nnew A 10.77.0.12\nthird A 10.77.0.13\n"
    } else {
        "@ MX 10 mail.lab.test.\n"
    };
    format!("{head}{rest}")
}

fn configuration(folder: &str, secret: &str, zones: &str) -> String {
    format!(
        r#"server:
    rundir: "{folder}"
    listen: {OUTSIDE_ADDRESS}@53
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: "{folder}/db"
    journal-db-max-size: 50M
key:
  - id: lab-key
    algorithm: hmac-sha256
    secret: {secret}
acl:
  - id: update
    key: lab-key
    action: [update, transfer]
template:
  - id: default
    storage: "{folder}"
    zonefile-sync: 0
zone:
{zones}  - domain: .
    file: root.zone
"#
    )
}
