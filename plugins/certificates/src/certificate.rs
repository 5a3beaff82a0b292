//! A certificate (X.509, RFC 5280) as far as a mail server needs it: names, validity, public key.
//! Invariant: a name counts only as a subject alternative name; the common name does not (RFC 6125, section 6.4.4).
//! Where certificates come from: `lineage` (the tree) and `served` (a TLS handshake).

use rehome_sdk::prelude::*;
use x509_cert::Certificate as X509;
use x509_cert::der::{Decode, Encode, pem};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// DNS names, lower case, wildcards as `*.example.org`
    pub(crate) names: Vec<String>,
    /// UTC, seconds since 1970
    pub(crate) not_before: u64,
    /// UTC, seconds since 1970
    pub(crate) not_after: u64,
    /// hexadecimal: tells a renewed certificate from the one before
    pub(crate) serial: String,
    /// SubjectPublicKeyInfo, DER
    public_key: Vec<u8>,
    /// all of it
    der: Vec<u8>,
}

impl Certificate {
    /// The first certificate in what a tool printed; why there is none, in words that end a sentence.
    pub(crate) fn in_text(text: &str) -> Result<Certificate, String> {
        let der = block(text, "CERTIFICATE").ok_or("there is no certificate in what openssl printed")?;
        let parsed = X509::from_der(&der).map_err(|error| format!("it is no certificate: {error}"))?;
        let body = parsed.tbs_certificate();
        let alternative = body.get_extension::<SubjectAltName>();
        let alternative = alternative.map_err(|error| format!("its alternative names cannot be read: {error}"))?;
        let names = alternative.map(|(_, names)| names.0).unwrap_or_default();
        let public_key = body.subject_public_key_info().to_der();
        Ok(Certificate {
            names: names.iter().filter_map(dns_name).collect(),
            not_before: body.validity().not_before.to_unix_duration().as_secs(),
            not_after: body.validity().not_after.to_unix_duration().as_secs(),
            serial: body.serial_number().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect(),
            public_key: public_key.map_err(|error| format!("its public key cannot be read: {error}"))?,
            der,
        })
    }

    /// Whether a client that asked for `name` accepts it.
    pub(crate) fn covers(&self, name: &str) -> bool {
        self.names.iter().any(|pattern| matches(pattern, name))
    }

    /// Whether the public half of a key, as `openssl pkey -pubout` prints it, is this certificate's.
    pub(crate) fn has_key(&self, text: &str) -> bool {
        block(text, "PUBLIC KEY").is_some_and(|key| key == self.public_key)
    }

    /// Whether it is the same one, byte by byte.
    pub(crate) fn is(&self, other: &Certificate) -> bool {
        self.der == other.der
    }

    /// "mail.example.org, imap.example.org".
    pub(crate) fn shown_names(&self) -> String {
        if self.names.is_empty() { "no name at all".into() } else { self.names.join(", ") }
    }

    /// "mail.example.org, imap.example.org, until 2026-12-01 10:00:00 UTC".
    pub(crate) fn words(&self) -> String {
        format!("{}, until {}", self.shown_names(), clock::date(self.not_after))
    }
}

fn dns_name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        _ => None,
    }
}

/// RFC 6125, section 6.4.3: `*` is the whole leftmost label and stands for exactly one.
fn matches(pattern: &str, name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if pattern == name {
        return true;
    }
    let Some(rest) = pattern.strip_prefix("*.") else { return false };
    rest.contains('.') && name.split_once('.').is_some_and(|(first, parent)| !first.is_empty() && parent == rest)
}

/// The content of the first block of this label (RFC 7468).
fn block(text: &str, label: &str) -> Option<Vec<u8>> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let from = text.find(&begin)?;
    let to = from + text[from..].find(&end)? + end.len();
    pem::decode_vec(&text.as_bytes()[from..to]).ok().map(|(_, content)| content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_whole_label_and_no_more() {
        for (pattern, name) in
            [("mail.example.org", "MAIL.example.org."), ("*.example.org", "imap.example.org"), ("a.b", "a.b")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*.example.org", "example.org"),
            ("*.example.org", "a.b.example.org"),
            ("*.example.org", ".example.org"),
            ("m*.example.org", "mail.example.org"),
            ("*.org", "example.org"),
            ("mail.*.org", "mail.example.org"),
            ("mail.example.org", "mail.example.org.evil.test"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_said_so() {
        for text in
            ["", "-----BEGIN CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        {
            assert!(Certificate::in_text(text).is_err(), "{text}");
        }
    }
}
