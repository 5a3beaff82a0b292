//! The lab's certificate authority, and what certbot would have left on each mail server: made once, by
//! `tests/lab/certificates.sh`, so that the certificates of all machines come from the same authority and all trust it.
//! `layer.rs` puts a tree on its machine, `boot.rs` lets every machine trust the authority.

use super::cache::{hash, made, scripts};
use crate::process::run;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder with the authority (`ca.pem`, `ca.key`) and each mail server's `/etc/letsencrypt` under the machine's
/// name; made now if it is not there yet.
///
/// # Errors
/// `tests/lab/certificates.sh` failed.
pub fn authority() -> Result<PathBuf> {
    let key = hash(&[&super::cache::script("certificates.sh")?])?;
    made("authority", "lab", &key, |out, _| {
        run(Command::new(scripts().join("certificates.sh")).arg(out))?;
        Ok(())
    })
}

/// What tells this authority from another one: a layer holds certificates of one.
pub(super) fn identity() -> Result<Vec<u8>> {
    let path = authority()?.join("ca.pem");
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Puts into `files` what makes a machine over the root tree `tree` trust the authority.
pub(super) fn trust(tree: &Path, files: &Path) -> Result<()> {
    let authority = authority()?;
    run(Command::new("cp").args(["-a", "--"]).arg(authority.join("trusted/.")).arg(files))?;
    let known = Path::new("etc/ssl/certs/ca-certificates.crt");
    let mut all = fs::read(tree.join(known)).context("the root tree knows no authorities")?;
    all.extend(identity()?);
    fs::write(files.join(known), all)?;
    Ok(())
}
