//! The table of value types: what may fill a hole or a config key. A value never begins with `-` and never holds a
//! control character, whatever its type. This is the one place in `host/` that knows what a mailbox or a queue ID looks like.

use std::fmt;

/// A type of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// Postfix queue ID: short, 6 to 20 upper-case hexadecimal digits, or long (postconf(5), enable_long_queue_ids)
    QueueId,
    /// mail domain: LDH labels (RFC 1123, section 2.1), as A-labels
    Domain,
    /// host name: LDH labels, at least two
    Hostname,
    /// `local-part@domain` of dot-atoms (RFC 5322, section 3.4.1), without `*`, `?` and `%`
    Mailbox,
    /// IPv4 or IPv6 address
    Address,
    /// `HOST:PORT` or `[IPv6]:PORT`
    Endpoint,
    /// decimal, at most 18 digits
    Integer,
    /// name of a database, a table, a unit: letters, digits, `_`, `-`, `.`
    Identifier,
    /// the name of a secret of the plan, a handle: letters, digits, `_`, `-`
    Secret,
    /// absolute path without `..`
    Folder,
    /// one line of printable text
    Text,
}

const TABLE: [(&str, ValueType); 11] = [
    ("queue-id", ValueType::QueueId),
    ("domain", ValueType::Domain),
    ("hostname", ValueType::Hostname),
    ("mailbox", ValueType::Mailbox),
    ("address", ValueType::Address),
    ("endpoint", ValueType::Endpoint),
    ("integer", ValueType::Integer),
    ("identifier", ValueType::Identifier),
    ("secret", ValueType::Secret),
    ("folder", ValueType::Folder),
    ("text", ValueType::Text),
];

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = TABLE.iter().find(|(_, kind)| kind == self).map_or("text", |(name, _)| name);
        f.write_str(name)
    }
}

impl ValueType {
    /// By its name in manifests.
    pub fn named(name: &str) -> Option<ValueType> {
        TABLE.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }

    /// All names, for messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        TABLE.iter().map(|(name, _)| *name)
    }

    /// Why `value` is not of this type, in words that end a sentence: "has a space".
    pub fn check(self, value: &str) -> Result<(), String> {
        printable(value)?;
        match self {
            ValueType::QueueId => queue_id(value),
            ValueType::Domain => labels(value, 1),
            ValueType::Hostname => labels(value, 2),
            ValueType::Mailbox => mailbox(value),
            ValueType::Address => {
                value.parse::<std::net::IpAddr>().map(drop).map_err(|_| "is not an IPv4 or IPv6 address".to_string())
            }
            ValueType::Endpoint => endpoint(value),
            ValueType::Integer => only(value, 18, |b| b.is_ascii_digit(), "decimal digits"),
            ValueType::Identifier => only(
                value,
                128,
                |b| b.is_ascii_alphanumeric() || b"_-.".contains(&b),
                "letters, digits, `_`, `-` and `.`",
            ),
            ValueType::Secret => only(
                value,
                64,
                |b| b.is_ascii_alphanumeric() || b"_-".contains(&b),
                "letters, digits, `_` and `-`: a secret is named here, and its file stands in `[secret.NAME]`",
            ),
            ValueType::Folder => absolute(value),
            ValueType::Text => Ok(()),
        }
    }
}

impl ValueType {
    /// A regular expression that every value of this type matches, for a place where nothing but regular expressions can be
    /// had (the gate on a side); [`printable`] holds there as well. What it takes beyond [`ValueType::check`] no program
    /// could take for anything else than one plain word.
    pub fn pattern(self) -> &'static str {
        match self {
            ValueType::QueueId => r"[0-9A-F]{6,20}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,20}",
            ValueType::Domain | ValueType::Hostname => r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?",
            ValueType::Mailbox => {
                r"[A-Za-z0-9!#$&'+\-./=^_`{|}~]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
            }
            ValueType::Address => r"[0-9A-Fa-f:.]{2,45}",
            ValueType::Endpoint => r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})):[0-9]{1,5}",
            ValueType::Integer => r"[0-9]{1,18}",
            ValueType::Identifier => r"[A-Za-z0-9_.-]{1,128}",
            ValueType::Secret => r"[A-Za-z0-9_-]{1,64}",
            ValueType::Folder => r"(?:/[^/\x00]+)+/*",
            ValueType::Text => r"[^\x00]+",
        }
    }
}

/// What every value keeps to: not empty, no leading `-`, no control characters, no bidirectional overrides.
pub fn printable(value: &str) -> Result<(), String> {
    if value.is_empty() {
        return Err("is empty".into());
    }
    if value.len() > 4096 {
        return Err("is longer than 4096 bytes".into());
    }
    if value.starts_with('-') {
        return Err("begins with `-`, which a program would take for an option".into());
    }
    match value.chars().find(|c| c.is_control() || is_bidi(*c)) {
        Some(c) => Err(format!("holds the control character U+{:04X}", c as u32)),
        None => Ok(()),
    }
}

/// Absolute, without `..`, `.` or empty components.
pub fn absolute(value: &str) -> Result<(), String> {
    let Some(rest) = value.strip_prefix('/') else { return Err("is not an absolute path".into()) };
    if rest.is_empty() {
        return Err("is the root of the whole file system".into());
    }
    match rest.trim_end_matches('/').split('/').find(|part| matches!(*part, "" | "." | "..")) {
        Some(part) => Err(format!("has the component `{part}`")),
        None => Ok(()),
    }
}

fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn only(value: &str, longest: usize, allowed: impl Fn(u8) -> bool, what: &str) -> Result<(), String> {
    if value.len() > longest {
        return Err(format!("is longer than {longest} characters"));
    }
    if value.bytes().all(allowed) { Ok(()) } else { Err(format!("may hold only {what}")) }
}

fn queue_id(value: &str) -> Result<(), String> {
    let short =
        (6..=20).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
    // Long form: seconds and inode in base 52 with the vowels left out, six characters of time, `z` before the inode.
    let long = (10..=20).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() && !b"AEIOUaeiou".contains(&b))
        && value[4..].contains('z');
    if short || long { Ok(()) } else { Err("is not a queue ID".into()) }
}

fn labels(value: &str, least: usize) -> Result<(), String> {
    if value.len() > 253 {
        return Err("is longer than 253 characters".into());
    }
    let parts: Vec<&str> = value.split('.').collect();
    if parts.len() < least {
        return Err("has no dot: give the full name".into());
    }
    for part in parts {
        let fits = (1..=63).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-');
        if !fits {
            return Err(format!("has the label `{part}`; labels are 1 to 63 letters, digits and inner hyphens"));
        }
    }
    Ok(())
}

fn mailbox(value: &str) -> Result<(), String> {
    let Some((local, domain)) = value.rsplit_once('@') else { return Err("has no `@`".into()) };
    if local.is_empty() || local.len() > 64 {
        return Err("needs a local part of 1 to 64 characters".into());
    }
    if local.split('.').any(str::is_empty) {
        return Err("has an empty part between dots".into());
    }
    if let Some(c) = local.chars().find(|c| !(c.is_ascii_alphanumeric() || "!#$&'+-./=^_`{|}~".contains(*c))) {
        return Err(format!("has `{c}` in its local part"));
    }
    labels(domain, 1)
}

fn endpoint(value: &str) -> Result<(), String> {
    let Some((host, port)) = value.rsplit_once(':') else { return Err("has no port: write HOST:PORT".into()) };
    if port.parse::<u16>().is_err() || port.starts_with('+') {
        return Err(format!("has the port `{port}`; ports are 1 to 65535"));
    }
    match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(v6) => {
            v6.parse::<std::net::Ipv6Addr>().map(drop).map_err(|_| "has no IPv6 address in its brackets".into())
        }
        None if host.parse::<std::net::Ipv4Addr>().is_ok() => Ok(()),
        None => labels(host, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_takes_what_it_is_made_for() {
        for (kind, values) in [
            ("queue-id", &["4F2A1B3C4D", "3pt2mN2VXxznjll", "ABCDEF"][..]),
            ("domain", &["example.org", "localhost", "xn--bcher-kva.example"]),
            ("hostname", &["mail.example.org"]),
            ("mailbox", &["john@example.org", "o'neil+x@example.org", "a.b@xn--p1ai"]),
            ("address", &["192.0.2.1", "2001:db8::1"]),
            ("endpoint", &["mail.example.org:25", "[2001:db8::1]:53", "192.0.2.1:6379"]),
            ("integer", &["0", "123"]),
            ("identifier", &["mailserver", "dovecot.service"]),
            ("folder", &["/var/vmail"]),
            ("text", &["anything printable, ü too"]),
        ] {
            let kind = ValueType::named(kind).expect("a type of the table");
            for value in values {
                assert_eq!(kind.check(value), Ok(()), "{kind}: {value}");
            }
        }
    }

    #[test]
    fn the_pattern_of_a_type_takes_what_the_type_takes_and_nothing_that_reaches_further() {
        let matches = |kind: ValueType, value: &str| {
            regex_lite::Regex::new(&format!(r"\A(?:{})\z", kind.pattern())).unwrap().is_match(value)
        };
        for (name, takes, refuses) in [
            ("queue-id", &["4F2A1B3C4D", "3pt2mN2VXxznjll"][..], &["ALL", "-", "../../x", "abcdef", "a b"][..]),
            ("domain", &["example.org", "localhost", "xn--bcher-kva.example"], &["-x.org", "*.org", "a/b", ".org"]),
            ("hostname", &["mail.example.org"], &["-d", "a b"]),
            ("mailbox", &["o'neil+x@example.org", "a.b@xn--p1ai"], &["*@example.org", "j?@x.org", "a b@c", "x"]),
            ("address", &["192.0.2.1", "2001:db8::1"], &["x", "1 2"]),
            ("endpoint", &["mail.example.org:25", "[2001:db8::1]:53"], &["x", "a/b:1"]),
            ("integer", &["0", "123"], &["1e3", "-1"]),
            ("identifier", &["dovecot.service"], &["a b", "a/b", "a;b"]),
            ("secret", &["key"], &["a.b"]),
            ("folder", &["/var/vmail"], &["/", "var", "/var//x"]),
            ("text", &["anything printable, ü too"], &[""]),
        ] {
            let kind = ValueType::named(name).expect("a type of the table");
            for value in takes {
                assert!(kind.check(value).is_ok() && matches(kind, value), "{kind}: {value}");
            }
            for value in refuses {
                assert!(!matches(kind, value), "{kind}: {value}");
            }
        }
        assert_eq!(ValueType::names().count(), 11, "each type has its row above");
    }

    #[test]
    fn no_type_takes_an_option_a_control_character_or_nothing() {
        for name in ValueType::names() {
            let kind = ValueType::named(name).expect("a type of the table");
            for value in ["", "-d", "--all", "a\nb", "a\0b", "a\u{1b}[2J", "\u{202e}evil"] {
                assert!(kind.check(value).is_err(), "{kind}: {value:?}");
            }
        }
    }

    #[test]
    fn what_would_reach_further_than_meant_is_refused() {
        for (kind, values) in [
            (ValueType::QueueId, &["ALL", "all", "-", "abcdef", "12345", "../../x"][..]),
            (
                ValueType::Mailbox,
                &["*@example.org", "john", "@example.org", "a b@example.org", "j%@example.org", "j?@x.org"],
            ),
            (ValueType::Domain, &["example..org", "exa mple.org", "-x.org", "x-.org", "*.org"]),
            (ValueType::Hostname, &["mail"]),
            (ValueType::Folder, &["/", "var/vmail", "/var/../etc", "/var//x"]),
            (ValueType::Endpoint, &["x", "x:0x1", "x:99999", "[::1:25"]),
            (ValueType::Integer, &["1e3", "1234567890123456789"]),
        ] {
            for value in values {
                assert!(kind.check(value).is_err(), "{kind}: {value:?}");
            }
        }
    }
}
