//! Settings and defaults whose meaning is not the same in the two versions. From Postfix's release notes and its
//! COMPATIBILITY_README and DEPRECATION_README, and from `postconf -d` and `doveconf` of Debian 11 and 12 side by side.

use rehome_sdk::prelude::*;

use super::dovecot::Dovecot;
use super::postfix::Postfix;
use super::{release, value};

/// A default that old relies on and new does not have any more.
struct Default {
    since: (u32, u32),
    name: &'static str,
    /// whether it matters to this old server
    matters: fn(&Postfix) -> bool,
    text: &'static str,
    hint: &'static str,
}

const DEFAULTS: &[Default] = &[
    Default {
        since: (3, 6),
        name: "smtpd_tls_fingerprint_digest",
        matters: |old| old.set.contains_key("relay_clientcerts") || uses(old, "check_ccert_access"),
        text: "was md5 by default, and is sha256 now: fingerprints in old's tables match nothing on new",
        hint: "make the fingerprints anew, or on new: `postconf 'smtpd_tls_fingerprint_digest = md5'`",
    },
    Default {
        since: (3, 6),
        name: "smtpd_relay_before_recipient_restrictions",
        matters: |old| old.set.contains_key("smtpd_recipient_restrictions"),
        text: "is yes now: smtpd_relay_restrictions is obeyed before smtpd_recipient_restrictions, not after it",
        hint: "only a rule that lets strangers relay, or a policy that counts them, can notice",
    },
    Default {
        since: (3, 9),
        name: "smtpd_forbid_bare_newline",
        matters: |old| !old.set.contains_key("smtpd_forbid_bare_newline"),
        text: "is `normalize` now: mail whose lines end without a carriage return is refused or corrected",
        hint: "old programs and devices that send so: smtpd_forbid_bare_newline_exclusions",
    },
];

/// Words of restrictions that a version does not know any more: the server then answers "configuration error".
const WORDS_GONE: &[((u32, u32), &str, &str)] = &[
    ((3, 9), "permit_naked_ip_address", "permit_mynetworks or permit_sasl_authenticated"),
    ((3, 9), "check_relay_domains", "permit_mynetworks, reject_unauth_destination"),
    ((3, 9), "reject_maps_rbl", "reject_rbl_client NAME"),
];

/// Settings that still work, and will go away.
const GOING: &[((u32, u32), &str, &str)] = &[
    ((3, 9), "smtpd_use_tls", "smtpd_tls_security_level = may"),
    ((3, 9), "smtpd_enforce_tls", "smtpd_tls_security_level = encrypt"),
    ((3, 9), "smtp_use_tls", "smtp_tls_security_level = may"),
    ((3, 9), "smtp_enforce_tls", "smtp_tls_security_level = encrypt"),
    ((3, 9), "smtp_tls_per_site", "smtp_tls_policy_maps"),
    ((3, 9), "disable_dns_lookups", "smtp_dns_support_level = disabled"),
];

fn uses(postfix: &Postfix, word: &str) -> bool {
    postfix.set.values().any(|text| value::elements(text).iter().any(|element| element == word))
}

pub(super) fn postfix(old: &Postfix, new: &Postfix, found: &mut Findings) {
    let (before, after) = (release(&old.version), release(&new.version));
    let between = |since: (u32, u32)| before < since && since <= after;
    for default in DEFAULTS.iter().filter(|default| between(default.since) && (default.matters)(old)) {
        // Whoever has set it knows it.
        if !new.set.contains_key(default.name) && !old.set.contains_key(default.name) {
            let text = format!("{} (since Postfix {}.{})", default.text, default.since.0, default.since.1);
            found.note(format!("Postfix setting {}", default.name), text).hint(default.hint);
        }
    }
    for (since, word, instead) in WORDS_GONE {
        if after >= *since && uses(old, word) {
            let text = format!(
                "stands in old's restrictions; Postfix {} answers with an error where it meets it",
                new.version
            );
            found.warning(format!("Postfix restriction {word}"), text).hint(format!("on new it is: {instead}"));
        }
    }
    for (since, name, instead) in GOING {
        if after >= *since && old.set.contains_key(*name) {
            let text = format!("is set on old, and obsolete in Postfix {}", new.version);
            found.note(format!("Postfix setting {name}"), text).hint(format!("on new it is: {instead}"));
        }
    }
    networks(old, new, found);
}

/// Without mynetworks, the compatibility level decides whom a server trusts (COMPATIBILITY_README).
fn networks(old: &Postfix, new: &Postfix, found: &mut Findings) {
    let level = |postfix: &Postfix| release(postfix.value("compatibility_level").unwrap_or("0"));
    let unset =
        |postfix: &Postfix| ["mynetworks", "mynetworks_style"].iter().all(|name| !postfix.set.contains_key(*name));
    if unset(old) && unset(new) && level(old) < (2, 0) && level(new) >= (2, 0) {
        found
            .warning(
                "Postfix setting mynetworks",
                "old trusts every host of its subnet, as the compatibility level says; new itself alone",
            )
            .hint("if others send through this server, name them: `postconf 'mynetworks = 127.0.0.0/8 …'` on new");
    }
}

/// A default of Dovecot that both sides leave as it is, and that is another one on new.
const DOVECOT: &[(&str, &str)] = &[
    ("ssl_min_protocol", "a mail program that cannot speak the newer one does not get in any more"),
    ("disable_plaintext_auth", "decides whether a password may travel unencrypted"),
    ("auth_mechanisms", "mail programs that log in by another mechanism do not get in any more"),
];

/// Dovecot's defaults: not by version, but by what each side says of itself.
pub(super) fn dovecot(old: &Dovecot, new: &Dovecot, found: &mut Findings) {
    for (name, what) in DOVECOT {
        let (Some(before), Some(after)) = (old.all.get(*name), new.all.get(*name)) else { continue };
        if before != after && !old.set.contains_key(*name) && !new.set.contains_key(*name) {
            let text = format!("is {before} by default on old, and {after} on new: {what}");
            found
                .note(format!("Dovecot setting {name}"), text)
                .hint(format!("if you need it: `{name} = {before}` on new"));
        }
    }
}
