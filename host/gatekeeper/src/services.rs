//! What a plan names beside its two sides: name servers, and secrets as handles. Invariant: a secret's bytes are read when
//! they are used, leave this process only as what they are for, and have no `Debug`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::door::Permit;
use crate::types::Failure;

/// The port of the domain name system (RFC 1035, section 4.2).
pub const DNS_PORT: u16 = 53;

/// Beside the sides.
#[derive(Clone, Debug, Default)]
pub struct Services {
    /// who is asked for names
    pub dns: DnsSpec,
    /// files, by the names that plans give them
    pub secrets: BTreeMap<String, PathBuf>,
}

/// Who is asked for names.
#[derive(Clone, Debug, Default)]
pub struct DnsSpec {
    /// the resolver that finds authoritative servers; none: the first of /etc/resolv.conf
    pub resolver: Option<SocketAddr>,
    /// where updates of a zone go, if not to the primary server that its SOA names
    pub primaries: BTreeMap<String, SocketAddr>,
    /// where authoritative servers listen, if not on port 53
    pub port: Option<u16>,
}

/// What a secret's file holds, without the white space around it.
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl Services {
    /// Reads a secret. Its file must be the user's own, and nobody else may read it.
    pub(crate) fn secret(&self, _: &Permit, name: &str) -> Result<Secret, Failure> {
        let Some(path) = self.secrets.get(name) else {
            return Err(Failure::NotFound(format!(
                "the plan has no secret `{name}`\nhint: add it to the plan: [secret.{name}] with file = \"/root/{name}\""
            )));
        };
        let text =
            read(path).map_err(|why| Failure::NotFound(format!("the secret `{name}`, {}: {why}", path.display())))?;
        Ok(Secret(text.trim().to_string()))
    }
}

fn read(path: &Path) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("is not a file".into());
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(format!(
            "others may read it (mode {:o})\nhint: chmod 600 {}",
            metadata.mode() & 0o777,
            path.display()
        ));
    }
    if metadata.len() > 65_536 {
        return Err("is longer than 64 KiB".into());
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}
