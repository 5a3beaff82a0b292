//! Postfix: main.cf and master.cf of both sides, as Postfix itself reads them (`postconf -n`, `-d`, `-M`, `-P`), and the
//! queries of its database maps. What is set on old counts; a default of new is a value too.

use std::collections::BTreeMap;

use rehome_sdk::prelude::*;

use super::{changed, relay, value};
use crate::{heard, requests};

/// Settings that belong to a host, or to the migration itself: never compared.
const OWN: &[&str] = &[
    "alias_database",
    "compatibility_level",
    "inet_interfaces",
    "inet_protocols",
    "mail_version",
    "mydomain",
    "myhostname",
    "myorigin",
    "process_id",
    "proxy_interfaces",
    "readme_directory",
    "smtp_bind_address",
    "smtp_bind_address6",
    "smtpd_banner",
    "smtpd_milter_maps",
    "soft_bounce",
];

/// The ends of names that are paths of a host: certificates, caches, folders.
const OWN_ENDS: &[&str] =
    &["_cert_file", "_key_file", "_chain_files", "_CAfile", "_CApath", "_cache_database", "_cache_map", "_directory"];

/// Parts of names whose settings decide which mail is taken, where it goes, and who may send.
const WEIGHTY: &[&str] = &[
    "_restrictions",
    "_checks",
    "_maps",
    "_milters",
    "_transport",
    "_bcc",
    "_limit",
    "relayhost",
    "relay_domains",
    "mydestination",
    "mynetworks",
    "content_filter",
    "sasl",
    "recipient_delimiter",
    "virtual_",
];

/// Postfix on a side.
#[derive(Debug, Default)]
pub(super) struct Postfix {
    pub(super) version: String,
    /// what main.cf sets
    pub(super) set: BTreeMap<String, String>,
    /// what this version knows, with its defaults
    pub(super) known: BTreeMap<String, String>,
    /// what postconf said besides: parameters that nothing uses, obsolete ones
    said: Vec<String>,
    /// master.cf: "submission/inet" and its line
    services: BTreeMap<String, String>,
    /// master.cf: "submission/inet/smtpd_tls_security_level" and its value
    overrides: BTreeMap<String, String>,
    /// "mysql-virtual-alias-maps.cf" and its query
    queries: BTreeMap<String, String>,
}

impl Postfix {
    fn of(side: Side, found: &mut Findings) -> Result<Option<Postfix>, Failure> {
        let read = || -> Result<Postfix, Failure> {
            let set = requests::exec::POSTFIX_SET.on(side).run()?;
            Ok(Postfix {
                version: requests::exec::POSTFIX_VERSION.on(side).run()?.text(),
                said: lines(&set.stderr),
                set: pairs(&set.lines()),
                known: pairs(&requests::exec::POSTFIX_DEFAULTS.on(side).run()?.lines()),
                services: services(&requests::exec::POSTFIX_SERVICES.on(side).run()?.lines()),
                overrides: pairs(&requests::exec::POSTFIX_OVERRIDES.on(side).run()?.lines()),
                queries: queries(&requests::exec::POSTFIX_QUERIES.on(side).run()?.lines()),
            })
        };
        match heard(read())? {
            Ok(postfix) => Ok(Some(postfix)),
            Err(why) => {
                found.warning(format!("Postfix on {side}"), format!("its settings cannot be compared: {why}"));
                Ok(None)
            }
        }
    }

    /// What is in effect.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.set.get(name).or_else(|| self.known.get(name)).map(String::as_str)
    }

    fn neutral(&self, text: &str) -> String {
        let own = |name| self.value(name).unwrap_or_default();
        let domain = match own("mydomain") {
            // The default is made of the host's name: everything after its first dot.
            domain if domain.is_empty() || domain.starts_with('$') || domain == "localdomain" => {
                own("myhostname").split_once('.').map_or("", |(_, domain)| domain)
            }
            domain => domain,
        };
        value::neutral(text, own("myhostname"), domain)
    }
}

pub(super) fn check(found: &mut Findings) -> Result<(), Failure> {
    let (Some(old), Some(new)) = (Postfix::of(Side::Old, found)?, Postfix::of(Side::New, found)?) else {
        return Ok(());
    };
    for line in &new.said {
        let text = line.trim_start_matches("postconf: ").trim_start_matches("warning: ");
        found.warning("Postfix on new", text).hint("`postconf -n` on new says so: correct it in main.cf");
    }
    for (name, before) in &old.set {
        if !OWN.contains(&name.as_str()) && !OWN_ENDS.iter().any(|end| name.ends_with(end)) {
            setting(name, before, &old, &new, found);
        }
    }
    master(&old, &new, found);
    queries_differ(&old, &new, found);
    relay::check(&new, found);
    changed::postfix(&old, &new, found);
    Ok(())
}

fn setting(name: &str, before: &str, old: &Postfix, new: &Postfix, found: &mut Findings) {
    let subject = format!("Postfix setting {name}");
    let Some(after) = new.value(name) else {
        // A name that neither version knows is old's own, and means something where another setting uses it.
        if old.known.contains_key(name) {
            gone(name, before, new, found);
        }
        return;
    };
    let (before_neutral, after_neutral) = (old.neutral(before), new.neutral(after));
    if value::is_same(&before_neutral, &after_neutral) || is_as_by_default(name, before, old, new) {
        return;
    }
    // Old may take less than new: that needs no warning.
    if let (Ok(smaller), Ok(larger)) = (before.parse::<u64>(), after.parse::<u64>())
        && (larger == 0 || (smaller != 0 && smaller < larger))
        && name.ends_with("_limit")
    {
        found.note(subject, format!("is {smaller} on old and {larger} on new"));
        return;
    }
    let by_default = if new.set.contains_key(name) { "" } else { ", its default," };
    let mut text =
        format!("is {} on old, and {}{by_default} on new", value::shown(name, before), value::shown(name, after));
    let lacking = value::only_in(&before_neutral, &after_neutral);
    if !after.is_empty() && lacking.len() < value::elements(before).len() && !value::is_secret(name, before) {
        let lacking = lacking.join(", ");
        text = match lacking.as_str() {
            "" => format!("has the same elements in another order: {text}"),
            lacking => format!("has {} on old, and not on new: {text}", value::shown(name, lacking)),
        };
    }
    let severity = if WEIGHTY.iter().any(|part| name.contains(part)) { Severity::Warning } else { Severity::Note };
    let finding = found.add(severity, subject, text);
    if severity == Severity::Warning {
        finding.hint(relay::hint(name, before).unwrap_or_else(|| how_to_set(name, before)));
    }
}

/// Both sides leave it at what Debian's package or their own version sets.
fn is_as_by_default(name: &str, before: &str, old: &Postfix, new: &Postfix) -> bool {
    old.known.get(name).is_some_and(|default| value::is_same(default, before)) && !new.set.contains_key(name)
}

fn gone(name: &str, before: &str, new: &Postfix, found: &mut Findings) {
    // The default of the setting that took its place refers to the former one: `${FORMER?{…}:{…}}`.
    let mentions = |default: &str| default.contains(&format!("${{{name}?")) || default.contains(&format!("${{{name}:"));
    let successor = new.known.iter().find(|(_, default)| mentions(default)).map(|(successor, _)| successor);
    let subject = format!("Postfix setting {name}");
    match successor {
        Some(successor) => {
            let text =
                format!("is {} on old; Postfix {} calls it `{successor}`", value::shown(name, before), new.version);
            found.warning(subject, text).hint(how_to_set(successor, before));
        }
        None => {
            let text = format!("is {} on old; Postfix {} has no such setting", value::shown(name, before), new.version);
            found
                .warning(subject, text)
                .hint("https://www.postfix.org/DEPRECATION_README.html says what took its place");
        }
    }
}

fn how_to_set(name: &str, value: &str) -> String {
    let with = if value.contains(":/") { ", with the file that it names" } else { "" };
    if value.contains('\'') || value::is_secret(name, value) || value.len() > 300 {
        return format!("if you still want it, set {name} on new as it is on old{with}; then `postfix reload`");
    }
    format!("if you still want it, on new: `postconf '{name} = {value}'`{with}; then `postfix reload`")
}

fn master(old: &Postfix, new: &Postfix, found: &mut Findings) {
    for (service, line) in &old.services {
        if !new.services.contains_key(service) {
            found
                .warning(
                    format!("Postfix service {service}"),
                    format!("is in master.cf on old, and not on new: `{line}`"),
                )
                .hint("mail programs that use its port, or mail that is routed through it, find nobody on new");
        }
    }
    for (name, before) in &old.overrides {
        // Of a service that new lacks everything is said already.
        let service: Vec<&str> = name.splitn(3, '/').take(2).collect();
        if !new.services.contains_key(&service.join("/")) {
            continue;
        }
        match new.overrides.get(name) {
            Some(after) if value::is_same(&old.neutral(before), &new.neutral(after)) => {}
            after => {
                let after = after.map_or("not set".to_string(), |after| value::shown(name, after));
                let text = format!("is {} in master.cf on old, and {after} on new", value::shown(name, before));
                found.warning(format!("Postfix setting {name}"), text).hint("see `postconf -P` on both sides");
            }
        }
    }
}

fn queries_differ(old: &Postfix, new: &Postfix, found: &mut Findings) {
    for (file, before) in &old.queries {
        // A map that new lacks shows as a difference of the setting that names it.
        if let Some(after) = new.queries.get(file).filter(|after| words(after) != words(before)) {
            found
                .warning(format!("/etc/postfix/{file}"), format!("asks `{before}` on old, and `{after}` on new"))
                .hint("try an address on both sides: `postmap -q ADDRESS mysql:/etc/postfix/…`");
        }
    }
}

fn words(query: &str) -> Vec<String> {
    query.split_whitespace().map(str::to_ascii_lowercase).collect()
}

/// `name = value`, as postconf prints it.
fn pairs(lines: &[String]) -> BTreeMap<String, String> {
    let pair = |line: &String| {
        let (name, value) = line.split_once('=')?;
        Some((name.trim().to_string(), value.trim().to_string()))
    };
    lines.iter().filter_map(pair).collect()
}

/// master(5): service, type, private, unprivileged, chroot, wake-up, processes, command.
fn services(lines: &[String]) -> BTreeMap<String, String> {
    let service = |line: &String| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [name, kind, ..] = fields[..] else { return None };
        Some((format!("{name}/{kind}"), fields.join(" ")))
    };
    lines.iter().filter_map(service).collect()
}

/// `grep -r` prints `/etc/postfix/FILE:query = …`.
fn queries(lines: &[String]) -> BTreeMap<String, String> {
    let query = |line: &String| {
        let (file, rest) = line.split_once(':')?;
        let (_, query) = rest.split_once('=')?;
        Some((file.trim_start_matches("/etc/postfix/").to_string(), query.trim().to_string()))
    };
    lines.iter().filter_map(query).collect()
}
