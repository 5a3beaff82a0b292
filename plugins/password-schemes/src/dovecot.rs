//! What Dovecot on new can check: since 2.4 it refuses MD5 and a few other schemes unless it is told not to
//! (<https://doc.dovecot.org/main/core/config/auth/schemes.html>), and a scheme it does not know lets nobody in.

use std::collections::BTreeSet;

use rehome_sdk::amount;
use rehome_sdk::prelude::*;

use crate::requests;
use crate::schemes::{BARE, PLAIN_MD5, Schemes};

/// Schemes that 2.4 calls weak, and the beginning of MD5-CRYPT.
const WEAK: [&str; 10] =
    [PLAIN_MD5, "PLAIN-MD4", "MD5", "MD5-CRYPT", "LDAP-MD5", "SMD5", "DES-CRYPT", "LANMAN", "NTLM", "$1$"];

/// Whether it can check these schemes. A side that is a folder, or has no Dovecot yet, is only noted.
pub(crate) fn check(schemes: &Schemes, found: &mut Findings) -> Result<(), Failure> {
    let version = match requests::exec::VERSION.on(Side::New).run() {
        Ok(output) => output.text(),
        Err(
            failure @ (Failure::Unsupported(_) | Failure::EndedBadly(_) | Failure::Other(_) | Failure::NotFound(_)),
        ) => {
            let text = format!("what schemes it knows cannot be seen: {}", failure.words());
            found.note("Dovecot on new", text);
            return Ok(());
        }
        Err(failure) => return Err(failure),
    };
    unknown(schemes, found)?;
    let weak: Vec<(&str, u64)> = schemes.iter().filter(|(scheme, _)| WEAK.contains(&base(scheme))).collect();
    let users: u64 = weak.iter().map(|(_, users)| users).sum();
    let release = release(&version);
    if users == 0 || release < (2, 4) {
        found.ok("Dovecot on new", format!("is {version}: it checks what there is"));
    } else if requests::exec::WEAK.on(Side::New).run()?.text() == "yes" {
        let text = format!("is {version}, and allows weak schemes: {} of {}", names(&weak), words(users));
        found.warning("Dovecot on new", text).hint("let these users set new passwords, then set it to `no` again");
    } else {
        let text =
            format!("is {version}, and refuses weak schemes: {} of {} cannot log in", names(&weak), words(users));
        found.blocker("Dovecot on new", text).hint(
            "set `auth_allow_weak_schemes = yes` in /etc/dovecot/conf.d/10-auth.conf on new, and reload Dovecot, \
             until these users have set new passwords",
        );
    }
    Ok(())
}

/// Schemes that new does not know: those users are locked out, whatever this phase does.
fn unknown(schemes: &Schemes, found: &mut Findings) -> Result<(), Failure> {
    let known: BTreeSet<String> = match requests::exec::KNOWN.on(Side::New).run() {
        Ok(output) => output.text().split_whitespace().map(str::to_ascii_uppercase).collect(),
        Err(failure @ Failure::EndedBadly(_)) => {
            found.note("password schemes of Dovecot on new", format!("are not listed: {}", failure.words()));
            return Ok(());
        }
        Err(failure) => return Err(failure),
    };
    for (scheme, users) in schemes.iter() {
        let subject = format!("password scheme {scheme}");
        let of = words(users);
        match scheme {
            BARE => {}
            "empty" => {
                found.warning("empty passwords", format!("{of} cannot log in"));
            }
            "unnamed" => {
                let text =
                    format!("passwords of {of} have no scheme's name: Dovecot takes them for its default scheme");
                found.warning("unnamed passwords", text).hint(
                    "compare `default_pass_scheme` (2.4: `passdb_default_password_scheme`) of both sides: it must be the same",
                );
            }
            crypt if crypt.starts_with('$') => {
                let text =
                    format!("{of}: without a name in braces; right where Dovecot's default scheme is a CRYPT one");
                found.note(subject, text);
            }
            named if !known.contains(base(named)) => {
                found
                    .warning(subject, format!("Dovecot on new does not know it: {of} cannot log in"))
                    .hint("`doveadm pw -l` on new lists what it knows; these users need new passwords");
            }
            _ => {}
        }
    }
    Ok(())
}

/// `SSHA.HEX` is SSHA: the ending names the encoding.
fn base(scheme: &str) -> &str {
    [".HEX", ".B64", ".BASE64"].iter().find_map(|ending| scheme.strip_suffix(ending)).unwrap_or(scheme)
}

/// "2.3.19.1 (9b53102964)".
fn release(version: &str) -> (u32, u32) {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}

fn names(schemes: &[(&str, u64)]) -> String {
    schemes.iter().map(|(scheme, _)| *scheme).collect::<Vec<_>>().join(", ")
}

fn words(users: u64) -> String {
    amount(users, "user", "users")
}
