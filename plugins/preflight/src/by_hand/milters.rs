//! Programs beside the guide's: greylisting, DKIM by opendkim, virus scanners, mailing lists. What old has installed and new
//! has not is named once; and `RequireSafeKeys`, which kept a reader's opendkim from signing.

use rehome_sdk::prelude::*;

use crate::releases::packages;
use crate::{heard, requests};

/// Packages that a mail server's settings lean on, and what they are for.
const BESIDE: &[(&str, &str)] = &[
    ("amavisd-new", "filters mail"),
    ("clamav-daemon", "looks for viruses"),
    ("dovecot-fts-xapian", "searches mail"),
    ("dovecot-managesieved", "lets users edit their filters"),
    ("dovecot-pop3d", "gives mail to POP3 programs"),
    ("dovecot-solr", "searches mail"),
    ("fail2ban", "keeps out those who guess passwords"),
    ("mailman3", "runs mailing lists"),
    ("opendkim", "signs mail (the guide has rspamd for it)"),
    ("opendmarc", "checks DMARC (the guide has rspamd for it)"),
    ("postfix-policyd-spf-python", "checks SPF (the guide has rspamd for it)"),
    ("postgrey", "greylists (the guide has rspamd for it)"),
    ("postsrsd", "rewrites senders of forwarded mail"),
    ("spamassassin", "looks for spam (the guide has rspamd for it)"),
];

pub(super) fn check(found: &mut Findings) -> Result<(), Failure> {
    let (old, new) = (packages(Side::Old)?, packages(Side::New)?);
    for (package, what) in BESIDE {
        if old.contains_key(*package) && !new.contains_key(*package) {
            found.note(format!("package {package}"), format!("is installed on old alone; it {what}"));
        }
    }
    let [before, after] = [Side::Old, Side::New].map(safe_keys);
    let (before, after) = (before?, after?);
    if before.as_deref().is_some_and(is_no) && !after.as_deref().is_some_and(is_no) {
        let text =
            "RequireSafeKeys is off on old, and on by default: opendkim refuses a key that others may read or replace";
        found
            .warning("/etc/opendkim.conf", text)
            .hint("better than to switch it off on new: `chown opendkim: KEY; chmod 600 KEY`, and no folder above it writable for others");
    }
    Ok(())
}

fn safe_keys(side: Side) -> Result<Option<String>, Failure> {
    let Ok(output) = heard(requests::exec::SAFE_KEYS.on(side).run())? else { return Ok(None) };
    Ok(output.lines().last().and_then(|line| line.split_whitespace().nth(1)).map(str::to_ascii_lowercase))
}

fn is_no(word: &str) -> bool {
    ["no", "false", "0"].contains(&word)
}
