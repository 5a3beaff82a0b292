//! The lab's authoritative name server: Knot on 10.77.0.1, zones `lab.test` and the seeded mail domains, with the public
//! parts of the DKIM keys that the lab's machines hold. It takes RFC 2136 updates signed with the lab's TSIG key, and
//! answers everything else NXDOMAIN at once: rspamd waits ten seconds for each name it cannot resolve.

use super::machine::Machine;
use super::spec::OUTSIDE_ADDRESS;
use crate::process::run;
use crate::seed::{accounts, other_accounts};
use anyhow::{Context, Result};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The key for updates, as `hmac-sha256:NAME:SECRET` (what `knsupdate -y` takes).
pub(super) fn tsig_key(folder: &Path) -> Result<String> {
    let file = folder.join("tsig.key");
    fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
}

/// Writes configuration and zones into `folder`; gives the configuration file's path.
pub(super) fn write(folder: &Path, id: &str, machines: &[Machine]) -> Result<PathBuf> {
    fs::create_dir_all(folder.join("db"))?;
    // Not a secret worth the name: it is only ever good inside this lab.
    let digest: [u8; 32] = Sha256::digest(format!("{id} {:?}", std::time::SystemTime::now())).into();
    let secret = BASE64_STANDARD.encode(digest);
    fs::write(folder.join("tsig.key"), format!("hmac-sha256:lab-key:{secret}"))?;
    let mut keys = Vec::new();
    for machine in machines {
        keys.extend(dkim_records(machine)?);
    }
    let mut zones = String::new();
    let domains = accounts().domains.iter().chain(&other_accounts().domains);
    for zone in std::iter::once("lab.test").chain(domains.map(String::as_str)) {
        writeln!(zones, "  - domain: {zone}\n    file: {zone}.zone\n    acl: update")?;
        let of_zone = keys.iter().filter(|key| key.domain == zone);
        let records: String = of_zone.map(|key| key.record.as_str()).collect();
        fs::write(folder.join(format!("{zone}.zone")), zone_file(zone) + &records)?;
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
        "@ MX 10 mail\nns A 10.77.0.1\nmail 86400 A 10.77.0.11\nimap CNAME mail\nelsewhere MX 10 sender\n\
         old A 10.77.0.11\nnew A 10.77.0.12\nthird A 10.77.0.13\nsender A 10.77.0.14\nother A 10.77.0.15\n\
         twin A 10.77.0.16\n"
    } else if other_accounts().domains.iter().any(|domain| domain == zone) {
        "@ MX 10 other.lab.test.\n"
    } else {
        "@ MX 10 mail.lab.test.\n"
    };
    format!("{head}{rest}")
}

/// The TXT record that goes with a DKIM key.
struct DkimRecord {
    domain: String,
    record: String,
}

/// For each DKIM key in the layer that a machine boots from (`DOMAIN.SELECTOR.key`) its record, derived from the key.
fn dkim_records(machine: &Machine) -> Result<Vec<DkimRecord>> {
    let top = machine.state.lower.split(':').next().unwrap_or_default();
    let Ok(entries) = fs::read_dir(Path::new(top).join("var/lib/rspamd/dkim")) else { return Ok(Vec::new()) };
    let mut records = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let parts = name.strip_suffix(".key").and_then(|stem| stem.rsplit_once('.'));
        let (domain, selector) = parts.with_context(|| format!("{name} is no DOMAIN.SELECTOR.key"))?;
        let public = run(Command::new("openssl").args(["pkey", "-pubout", "-outform", "DER", "-in"]).arg(&path))?;
        records.push(DkimRecord { domain: domain.to_owned(), record: dkim_record(selector, &public.stdout) });
    }
    Ok(records)
}

/// RFC 6376, 3.6.1; a string of a TXT record holds 255 bytes at most, so a key of 2048 bits takes two.
fn dkim_record(selector: &str, public: &[u8]) -> String {
    let text = format!("v=DKIM1; k=rsa; p={}", BASE64_STANDARD.encode(public));
    let strings: Vec<String> =
        text.as_bytes().chunks(250).map(|part| format!("\"{}\"", String::from_utf8_lossy(part))).collect();
    format!("{selector}._domainkey TXT ( {} )\n", strings.join(" "))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_key_is_split_into_strings_that_a_txt_record_can_hold() {
        let record = dkim_record("2024", &[7; 294]);
        let strings: Vec<&str> = record.split('"').skip(1).step_by(2).collect();
        assert_eq!(strings.len(), 2);
        assert!(strings.iter().all(|string| string.len() <= 255));
        assert!(strings.concat().starts_with("v=DKIM1; k=rsa; p=BwcH"), "{record}");
    }
}
