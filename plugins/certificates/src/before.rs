//! `check`: what would go wrong with certificates, found while old still serves them: names that none is for, those that
//! run out, keys that do not fit, copies where certbot wants links, and what renewal needs on new.
//! `names` says which names, `lineage` which certificates, `renewal` looks at the method.

use rehome_sdk::prelude::*;

use crate::lineage::{self, Lineage};
use crate::names::{self, Names};
use crate::{Config, Tree, renewal, requests};

pub(crate) fn check(config: &Config, found: &mut Findings) -> Result<(), Failure> {
    if !tree_is_on_old(config, found)? {
        return Ok(());
    }
    let lineages = lineage::all(config, Side::Old)?;
    if lineages.is_empty() {
        found
            .warning(Tree(config, Side::Old).to_string(), "has no certificate in live/")
            .hint("certbot certificates, on old");
    }
    for one in &lineages {
        certificate(config, one, found)?;
    }
    all_names(config, &names::of(config)?, &lineages, found);
    accounts(found)?;
    renewal::check(found)
}

/// A plan may name the component on a server without certbot.
fn tree_is_on_old(config: &Config, found: &mut Findings) -> Result<bool, Failure> {
    let there = lineage::tree_is_there(Side::Old)?;
    if !there {
        found
            .note(Tree(config, Side::Old).to_string(), "is not there: old has no certbot, and no certificate is moved")
            .hint(
                "certificates from elsewhere (smtpd_tls_cert_file, ssl_cert) are yours to copy, or to request on new",
            );
    }
    Ok(there)
}

fn certificate(config: &Config, one: &Lineage, found: &mut Findings) -> Result<(), Failure> {
    let subject = format!("certificate {} on old", one.name);
    let certificate = match &one.certificate {
        Ok(certificate) => certificate,
        Err(why) => {
            found.warning(subject, format!("cannot be read: {why}")).hint("certbot certificates, on old");
            return Ok(());
        }
    };
    let (now, until) = (clock::now(), clock::date(certificate.not_after));
    if certificate.not_after <= now {
        found
            .warning(&subject, format!("ran out on {until}"))
            .hint("certbot renew, on old, or delete it: certbot delete");
    } else if certificate.not_after <= now + config.expires_soon {
        found.warning(&subject, format!("runs out on {until}")).hint("certbot renew, on old, before the migration");
    } else {
        found.ok(&subject, certificate.words());
    }
    for copy in &one.copies {
        let text = format!("{copy} is no link: somebody copied what it pointed to, and certbot will not renew it");
        found.warning(&subject, text).hint(format!("certbot update_symlinks, on old, or request {} again", one.name));
    }
    key(one, certificate, &subject, found)
}

fn key(
    one: &Lineage,
    certificate: &crate::certificate::Certificate,
    subject: &str,
    found: &mut Findings,
) -> Result<(), Failure> {
    let Some(path) = &one.key else {
        found.warning(subject, "has no privkey.pem: nobody can serve it");
        return Ok(());
    };
    let said = match requests::exec::PUBLIC_KEY.on(Side::Old).run_with([path]) {
        Ok(output) => output.text(),
        Err(failure @ (Failure::RefusedValue(_) | Failure::NotFound(_) | Failure::EndedBadly(_))) => {
            found.warning(subject, format!("its key cannot be read: {}", failure.words()));
            return Ok(());
        }
        Err(failure) => return Err(failure),
    };
    if !certificate.has_key(&said) {
        found
            .blocker(subject, format!("{path} is the key of another certificate: services would not start with it"))
            .hint(format!("certbot renew --force-renewal --cert-name {}, on old", one.name));
    }
    Ok(())
}

fn all_names(config: &Config, names: &Names, lineages: &[Lineage], found: &mut Findings) {
    for (domain, why) in &names.unknown {
        found.warning(domain, format!("its MX records could not be looked up: {why}"));
    }
    if config.names.is_empty() {
        found
            .note("names", "the plan names none that mail programs use: only those of MX records are looked at")
            .hint("set `names` to what users typed into their mail programs");
    }
    for name in &names.clients {
        one_name(name, Severity::Blocker, names, lineages, found);
    }
    for name in names.exchanges.iter().filter(|name| !names.clients.contains(name)) {
        one_name(name, Severity::Warning, names, lineages, found);
    }
}

/// A name that no certificate is for is the readers' trouble: every mail program warns, on the day of the move.
fn one_name(name: &str, severity: Severity, names: &Names, lineages: &[Lineage], found: &mut Findings) {
    let covering = |one: &&Lineage| one.certificate.as_ref().is_ok_and(|certificate| certificate.covers(name));
    let valid = |one: &&Lineage| one.certificate.as_ref().is_ok_and(|certificate| certificate.not_after > clock::now());
    if let Some(one) = lineages.iter().filter(covering).find(valid) {
        found.ok(name, format!("is in the certificate {}", one.name));
        return;
    }
    let text = match lineages.iter().find(covering) {
        Some(one) => format!("is only in the certificate {}, which has run out", one.name),
        None => "is in no certificate of old: whoever asks new for it gets a warning, or no connection".into(),
    };
    found.add(severity, name, text).hint(remedy(name, names, lineages));
}

/// `certbot certonly --cert-name … -d … -d …`: one certificate for all names, the ones it has included.
fn remedy(name: &str, names: &Names, lineages: &[Lineage]) -> String {
    let has_one_of_them = |one: &&Lineage| {
        let wanted = names.clients.iter().chain(&names.exchanges);
        one.certificate.as_ref().is_ok_and(|certificate| wanted.into_iter().any(|name| certificate.covers(name)))
    };
    let of = lineages.iter().find(has_one_of_them);
    let mut all: Vec<&str> = Vec::new();
    if let Some(Lineage { certificate: Ok(certificate), .. }) = of {
        all.extend(certificate.names.iter().map(String::as_str));
    }
    let covered = |name: &str| of.is_some_and(|one| one.certificate.as_ref().is_ok_and(|it| it.covers(name)));
    for wanted in names.clients.iter().map(String::as_str).chain([name]) {
        if !covered(wanted) && !all.contains(&wanted) {
            all.push(wanted);
        }
    }
    let cert_name = of.map(|one| format!(" --cert-name {}", one.name)).unwrap_or_default();
    let domains: String = all.iter().map(|name| format!(" -d {name}")).collect();
    format!("certbot certonly{cert_name}{domains}, on old, before the migration (RFC 6125: `*` stands for one label)")
}

/// With two accounts, certbot asks which one is meant; renewals know theirs.
fn accounts(found: &mut Findings) -> Result<(), Failure> {
    let has = |side| -> Result<bool, Failure> {
        match requests::tree::WHOLE.on(side).list(b"accounts", 1) {
            Ok(entries) => Ok(!entries.is_empty()),
            Err(Failure::NotFound(_)) => Ok(false),
            Err(failure) => Err(failure),
        }
    };
    if has(Side::Old)? && has(Side::New)? {
        found
            .note("ACME accounts", "both sides have one: both are kept, and renewals use the one their file names")
            .hint("certbot asks which one is meant when you request another certificate: --account");
    }
    Ok(())
}
