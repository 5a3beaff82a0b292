//! What services of new really serve: a TLS handshake for each name, with SNI (RFC 6066), at new's address.
//! Invariant: only what came over the wire counts, not what a configuration says. `lib.rs` calls this under `verify`.

use rehome_sdk::prelude::*;

use crate::certificate::Certificate;
use crate::lineage::Lineage;
use crate::names::Names;
use crate::{Config, requests};

/// One question: a port, and the name that a client would have typed.
struct Question<'a> {
    port: u16,
    starttls: bool,
    name: &'a str,
    /// whether mail programs ask so; they refuse what does not fit, other mail servers do not
    by_clients: bool,
}

/// What openssl says of a port that is closed (ECONNREFUSED, errno(3)).
const REFUSED: &str = "errno=111";

pub(crate) fn verify(
    config: &Config,
    names: &Names,
    lineages: &[Lineage],
    found: &mut Findings,
) -> Result<(), Failure> {
    let silent = silent_services(config)?;
    if !silent.is_empty() {
        found.warning(silent.join(", "), "does not run on new: asked for its certificate once it does");
    }
    for question in questions(config, names) {
        let subject = format!("port {} of new, as {}", question.port, question.name);
        let answer = question.ask()?;
        match answer {
            // While Dovecot is closed for the cutover, nobody answers, and nobody should.
            Err(_) if !silent.is_empty() => {}
            // It runs, and listens to nobody until the cutover: whether it does then, its own phase looks.
            Err(said) if said.contains(REFUSED) => {
                found
                    .warning(subject, format!("nobody listens there, so its certificate was not looked at ({said})"))
                    .hint("right until Dovecot on new is opened; from then on: `rehome verify` once more");
            }
            Err(said) => {
                found.blocker(subject, format!("serves no certificate: {said}")).hint("is it open, and is TLS set up?");
            }
            Ok(served) => question.judge(&subject, &served, lineages, found),
        }
    }
    Ok(())
}

/// Services of the plan that do not run.
fn silent_services(config: &Config) -> Result<Vec<String>, Failure> {
    let mut silent = Vec::new();
    for unit in &config.services {
        if requests::exec::ACTIVE.on(Side::New).run_with([unit])?.text() != "active" {
            silent.push(unit.clone());
        }
    }
    Ok(silent)
}

fn questions<'a>(config: &Config, names: &'a Names) -> Vec<Question<'a>> {
    let mut questions = Vec::new();
    let mut add = |port: u16, starttls: bool, by_clients: bool, of: &'a [String]| {
        questions.extend(of.iter().map(|name| Question { port, starttls, name, by_clients }));
    };
    for &port in &config.ports {
        add(port, false, true, &names.clients);
    }
    for &port in &config.smtp_ports {
        let by_servers = port == 25;
        add(port, true, !by_servers, if by_servers { &names.exchanges } else { &names.clients });
    }
    questions
}

impl Question<'_> {
    fn ask(&self) -> Result<Result<Certificate, String>, Failure> {
        let port = self.port.to_string();
        let command = if self.starttls { requests::exec::SERVED_STARTTLS } else { requests::exec::SERVED };
        let output = match command.on(Side::New).run_with([port.as_str(), self.name]) {
            Err(Failure::OverLimit(_)) => return Ok(Err("it did not answer in time".into())),
            output => output?,
        };
        let certificate = Certificate::in_text(&output.text());
        Ok(certificate.map_err(|why| if output.status == 0 { why } else { output.last_words() }))
    }

    fn judge(&self, subject: &str, served: &Certificate, lineages: &[Lineage], found: &mut Findings) {
        let severity = if self.by_clients { Severity::Blocker } else { Severity::Warning };
        let of = lineages.iter().find(|one| one.certificate.as_ref().is_ok_and(|certificate| certificate.is(served)));
        let hint = "smtpd_tls_cert_file in main.cf, ssl_cert in Dovecot's 10-ssl.conf: which file do they name?";
        if !served.covers(self.name) {
            let text = format!("serves a certificate for {}: not for {}", served.shown_names(), self.name);
            found.add(severity, subject, text).hint(hint);
        } else if served.not_after <= clock::now() {
            found.add(severity, subject, format!("serves one that ran out on {}", clock::date(served.not_after)));
        } else {
            match of {
                Some(lineage) => found.ok(subject, format!("serves {}: {}", lineage.name, served.words())),
                None => found
                    .add(
                        severity,
                        subject,
                        format!("serves a certificate that is none of the tree's: {}", served.words()),
                    )
                    .hint(format!("a service that was not reloaded, or another file: {hint}")),
            };
        }
    }
}
