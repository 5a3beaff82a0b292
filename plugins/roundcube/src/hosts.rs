//! `users.mail_host`: Roundcube knows a user by name and IMAP server (UNIQUE in its schema). The right value on new is the
//! server in Roundcube's own configuration there, without scheme and port, as its login writes it: `default_host` until 1.5,
//! `imap_host` since.

use rehome_sdk::amount;
use rehome_sdk::prelude::*;
use rehome_sdk::sql::Value;

use crate::ledger::Ledger;
use crate::{Config, requests};

/// The plan's word for "find it out".
const AUTO: &str = "auto";
/// What an entry gets that makes room.
pub(crate) const FORMER: &str = ".former";

/// The IMAP server as each side's Roundcube calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hosts {
    pub(crate) old: String,
    pub(crate) new: String,
}

/// Both, or the blocker that says which one is to be put into the plan.
pub(crate) fn find(config: &Config, users: &Ledger) -> Result<Result<Hosts, Finding>, Failure> {
    let new = match config.mail_host.as_str() {
        AUTO => match in_settings(Side::New)? {
            Ok(host) => host,
            Err(why) => return Ok(Err(unknown(Side::New, &config.settings, &why, "mail-host"))),
        },
        host => host.to_string(),
    };
    let old = match config.old_mail_host.as_str() {
        AUTO => match of_old(users)? {
            Ok(host) => host,
            Err(why) => return Ok(Err(unknown(Side::Old, &config.settings, &why, "old-mail-host"))),
        },
        host => host.to_string(),
    };
    Ok(Ok(Hosts { old, new }))
}

pub(crate) fn must_find(config: &Config, users: &Ledger) -> Result<Hosts, Failure> {
    find(config, users)?.map_err(Failure::Stopped)
}

fn unknown(side: Side, settings: &str, why: &str, key: &str) -> Finding {
    let mut finding = Finding {
        severity: Severity::Blocker,
        subject: format!("Roundcube's IMAP server on {side}"),
        text: why.to_string(),
        hint: None,
    };
    finding.hint(format!(
        "set `{key}` in the plan to what `default_host` or `imap_host` in {settings} on {side} means, \
         without scheme and port: the value of users.mail_host"
    ));
    finding
}

/// What the users of old have: as configured there, if any of them has it; else the only one that there is.
fn of_old(users: &Ledger) -> Result<Result<String, String>, Failure> {
    let hosts = users.hosts();
    let configured = in_settings(Side::Old)?;
    if let Ok(host) = &configured
        && hosts.iter().any(|(known, _)| known.eq_ignore_ascii_case(host))
    {
        return Ok(Ok(host.clone()));
    }
    if let [(host, _)] = hosts.as_slice() {
        return Ok(Ok(host.clone()));
    }
    let known: Vec<String> = hosts.iter().map(|(host, users)| format!("{host} ({users})")).collect();
    let configured = match configured {
        Ok(host) => format!("the configuration says {host}, which none of its users has"),
        Err(why) => why,
    };
    Ok(Err(format!("{configured}; its users have {}", known.join(", "))))
}

/// From the one line of Roundcube's configuration, or why not.
fn in_settings(side: Side) -> Result<Result<String, String>, Failure> {
    match requests::exec::IMAP_HOST.on(side).run() {
        Ok(output) => match output.lines().last() {
            Some(line) => Ok(in_line(line)),
            None if output.status == 2 => Ok(Err(format!("the configuration cannot be read: {}", output.last_words()))),
            None => Ok(Err("the configuration does not name it".into())),
        },
        Err(failure @ (Failure::Unsupported(_) | Failure::EndedBadly(_))) => Ok(Err(failure.words())),
        Err(failure) => Err(failure),
    }
}

/// `$config['imap_host'] = ["tls://mail.example.org:143"];` is mail.example.org.
fn in_line(line: &str) -> Result<String, String> {
    let value = line.split_once('=').map(|(_, value)| value.trim()).unwrap_or_default();
    let value = strip_comment(value);
    let named = quoted(value);
    let host = match named.as_slice() {
        [] => return Err("the configuration does not name it in one line".into()),
        [host] if host.is_empty() => return Err("the configuration lets users name it themselves".into()),
        [host] => host,
        several => return Err(format!("the configuration names several: {}", several.join(", "))),
    };
    if host.contains('%') {
        return Err(format!("the configuration makes it out of the web server's name: {host}"));
    }
    let bare = host.split_once("://").map_or(host.as_str(), |(_, rest)| rest);
    let bare = match bare.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => bare,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if bare.is_empty() || !bare.bytes().all(plain) {
        return Err(format!("the configuration names `{host}`, which is no host"));
    }
    Ok(bare.to_string())
}

/// Up to the semicolon that ends the statement.
fn strip_comment(value: &str) -> &str {
    let mut quote = None;
    for (at, c) in value.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ';') => return &value[..at],
            _ => {}
        }
    }
    value
}

/// What stands in quotes, in order.
fn quoted(value: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = value;
    while let Some(at) = rest.find(['\'', '"']) {
        let quote = rest[at..].chars().next().unwrap_or('\'');
        let Some(end) = rest[at + 1..].find(quote) else { break };
        found.push(rest[at + 1..at + 1 + end].to_string());
        rest = &rest[at + 1 + end + 1..];
    }
    found
}

impl Hosts {
    fn change(&self) -> bool {
        !self.old.eq_ignore_ascii_case(&self.new)
    }

    /// Whether `host` is the one that Roundcube on old looks for.
    pub(crate) fn is_current(&self, host: &str) -> bool {
        self.old.eq_ignore_ascii_case(host)
    }

    /// Users of old who have an entry under new's name already, beside the one they use.
    pub(crate) fn former(&self, users: &Ledger) -> Vec<String> {
        let is_in_use = |user: &str| users.0.iter().any(|entry| entry.user == user && self.is_current(&entry.host));
        let entries = users.0.iter().filter(|entry| self.change() && entry.host.eq_ignore_ascii_case(&self.new));
        entries.filter(|entry| is_in_use(&entry.user)).map(|entry| entry.user.clone()).collect()
    }

    pub(crate) fn check(&self, users: &Ledger, found: &mut Findings) {
        found.ok("Roundcube's IMAP server", format!("is {} on old and {} on new", self.old, self.new));
        for (host, users) in users.hosts().iter().filter(|(host, _)| !self.is_current(host)) {
            let text = format!("{} of old have it, and do not see them there: kept as they are", entries(*users));
            found.note(format!("users.mail_host {host}"), text);
        }
        for user in self.former(users) {
            let text = format!("has an entry for {} and one for {}", self.old, self.new);
            found.warning(format!("webmail user {user}"), text).hint(format!(
                "the one for {}, which is in use on old, will be the one on new; the other is kept as {}{FORMER}",
                self.old, self.new
            ));
        }
    }

    pub(crate) fn preview(&self, users: &Ledger, forecast: &mut Forecast) {
        let current = users.0.iter().filter(|entry| self.is_current(&entry.host)).count();
        if self.change() && current > 0 {
            forecast.change(format!("users.mail_host of {} on new", entries(current)), &self.old, &self.new);
        }
        for user in self.former(users) {
            let subject = format!("users.mail_host of a former entry of {user} on new");
            forecast.change(subject, &self.new, format!("{}{FORMER}", self.new));
        }
    }

    /// Writes new's name where old's stands. Nothing happens the second time.
    pub(crate) fn write(&self, ctx: &Context<Config>) -> Result<(), Failure> {
        if !self.change() {
            return Ok(());
        }
        let (keep, set) = match ctx.config.domains.as_slice() {
            [] => (requests::sql::KEEP_FORMER, requests::sql::SET_HOST),
            _ => (requests::sql::KEEP_FORMER_OF_DOMAINS, requests::sql::SET_HOST_OF_DOMAINS),
        };
        let (old, new) = (|| Value::from(self.old.as_str()), || Value::from(self.new.as_str()));
        let kept = keep.on(Side::New).execute_with([old(), new()])?;
        if kept > 0 {
            report::warning(&format!("{} kept as {}{FORMER}", entries(kept as usize), self.new));
        }
        let set = set.on(Side::New).execute_with([new(), old()])?;
        if set > 0 {
            report::info(&format!("users.mail_host: {} on new now have {}", entries(set as usize), self.new));
        }
        Ok(())
    }
}

fn entries(users: usize) -> String {
    amount(users as u64, "user", "users")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_what_roundcubes_login_makes_of_its_configuration() {
        for (line, host) in [
            ("$config['default_host'] = 'tls://webmail.example.org';", "webmail.example.org"),
            ("$config['imap_host'] = [\"localhost:143\"];", "localhost"),
            ("  $config[\"imap_host\"] = 'ssl://mail.example.org:993'; // was 'localhost'", "mail.example.org"),
            ("$rcmail_config['default_host'] = array('mail.example.org');", "mail.example.org"),
            ("$config['default_host'] = 'ssl://[2001:db8::1]:993';", "[2001:db8::1]"),
        ] {
            assert_eq!(in_line(line).as_deref(), Ok(host), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_known_says_why() {
        for (line, why) in [
            ("$config['default_host'] = '';", "themselves"),
            ("$config['default_host'] = array('ssl://a.example' => 'A', 'b.example' => 'B');", "several"),
            ("$config['imap_host'] = 'tls://%n:143';", "web server's name"),
            ("$config['imap_host'] = [", "in one line"),
            ("$config['imap_host'] = 'a b';", "no host"),
        ] {
            let said = in_line(line).unwrap_err();
            assert!(said.contains(why), "{line}: {said}");
        }
    }
}
