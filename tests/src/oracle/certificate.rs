//! The certificate that a server shows to who asks for a name (SNI), as a mail program or another server sees it.
//! For the files see [`super::listing`]: it knows where links lead.

use crate::lab::{Lab, Machine, authority};
use crate::process::{output, run_with_input};
use anyhow::{Context, Result};
use std::collections::BTreeSet;

/// How to come to speak TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Port 25, STARTTLS.
    Smtp,
    /// Port 143, STARTTLS.
    Imap,
    /// Port 993, TLS from the first byte.
    Imaps,
}

/// What was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The names it is for (subjectAltName).
    pub names: BTreeSet<String>,
    /// SHA-256 of the certificate, as openssl writes it.
    pub fingerprint: String,
    /// `openssl x509 -enddate`.
    pub not_after: String,
    /// openssl's verdict on chain, time and the name asked for: `ok`, or why not.
    pub verdict: String,
}

/// Asks a machine for the certificate of `name`; the lab's authority is trusted.
///
/// # Errors
/// Nothing that speaks TLS answers there; the message holds openssl's words.
pub fn served(lab: &Lab, machine: &Machine, service: Service, name: &str) -> Result<Served> {
    let (port, starttls): (u16, &[&str]) = match service {
        Service::Smtp => (25, &["-starttls", "smtp"]),
        Service::Imap => (143, &["-starttls", "imap"]),
        Service::Imaps => (993, &[]),
    };
    let mut client = lab.command("timeout")?;
    client.args(["20", "openssl", "s_client", "-connect", &format!("{}:{port}", machine.address())]);
    client.args(["-servername", name, "-verify_hostname", name, "-CAfile"]).arg(authority()?.join("ca.pem"));
    let done = output(client.args(starttls), b"")?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let pem = part(&said, "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----").with_context(|| {
        format!("{service:?} on {} shows no certificate: {}", machine.name(), String::from_utf8_lossy(&done.stderr))
    })?;
    let verdict = said.lines().rev().find_map(|line| line.trim().strip_prefix("Verify return code: "));
    let verdict =
        verdict.and_then(|line| line.split_once('(')).map_or("none", |(_, words)| words.trim_end_matches(')'));
    let mut read = lab.command("openssl")?;
    read.args(["x509", "-noout", "-fingerprint", "-sha256", "-enddate", "-ext", "subjectAltName"]);
    let text = String::from_utf8(run_with_input(&mut read, pem.as_bytes())?.stdout)?;
    let value = |key: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(key));
        found.map(str::to_owned).with_context(|| format!("openssl x509 says no {key}\n{text}"))
    };
    let names =
        text.split([',', '\n']).filter_map(|word| word.trim().strip_prefix("DNS:")).map(str::to_owned).collect();
    Ok(Served {
        names,
        fingerprint: value("sha256 Fingerprint=")?,
        not_after: value("notAfter=")?,
        verdict: verdict.to_owned(),
    })
}

/// From `begin` to `end`, both included.
fn part<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let from = text.find(begin)?;
    let to = from + text[from..].find(end)? + end.len();
    Some(&text[from..to])
}
