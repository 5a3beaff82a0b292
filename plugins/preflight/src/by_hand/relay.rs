//! smtpd_relay_restrictions: carried over from an old main.cf, it kept a reader's server from sending. It must let the
//! server's own programs and those who log in send to the world, and nobody else.

use rehome_sdk::prelude::*;

use super::postfix::Postfix;
use super::value;

const NAME: &str = "smtpd_relay_restrictions";

/// Any of these keeps a server from being an open relay; without one Postfix takes no mail at all (postconf(5)).
const CLOSES: [&str; 5] =
    ["reject_unauth_destination", "defer_unauth_destination", "reject", "defer", "defer_if_permit"];

/// What new would do with mail to the world.
pub(super) fn check(new: &Postfix, found: &mut Findings) {
    let Some(is) = in_effect(new) else { return };
    let elements = value::elements(&is);
    let has = |what: &str| elements.iter().any(|element| element == what);
    if elements.is_empty() {
        let recipients = value::elements(new.value("smtpd_recipient_restrictions").unwrap_or_default());
        if !recipients.iter().any(|element| CLOSES.contains(&element.as_str())) {
            let text =
                format!("{NAME} is empty, and smtpd_recipient_restrictions closes nothing: Postfix takes no mail");
            found.blocker("Postfix on new", text).hint(format!("`postconf -X {NAME}` on new gives back its default"));
        }
        return;
    }
    if !has("permit_mynetworks") {
        let text = format!(
            "{NAME} has no permit_mynetworks: programs on the server itself (webmail, cron, a content filter) \
             cannot send to the world"
        );
        found.warning("Postfix on new", text).hint(remedy());
    }
    if !has("permit_sasl_authenticated") {
        let text = format!("{NAME} has no permit_sasl_authenticated: users who log in cannot send to the world");
        found.warning("Postfix on new", text).hint(remedy());
    }
    if !elements.iter().any(|element| CLOSES.contains(&element.as_str())) {
        let recipients = value::elements(new.value("smtpd_recipient_restrictions").unwrap_or_default());
        let closed = recipients.iter().any(|element| CLOSES.contains(&element.as_str()));
        let text = format!("{NAME} lacks reject_unauth_destination");
        if closed {
            found.note("Postfix on new", format!("{text}; smtpd_recipient_restrictions has it"));
        } else {
            found.blocker("Postfix on new", format!("{text}: Postfix takes no mail like that")).hint(remedy());
        }
    }
}

/// The value, with the default's condition on the compatibility level resolved: every supported level gives the list.
fn in_effect(new: &Postfix) -> Option<String> {
    let value = new.value(NAME)?;
    if !value.starts_with("${{$compatibility_level}") {
        return Some(value.to_string());
    }
    let level = super::release(new.value("compatibility_level").unwrap_or("0"));
    let list = "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination";
    Some(if level >= (1, 0) { list.to_string() } else { String::new() })
}

fn remedy() -> String {
    format!(
        "on new: `postconf '{NAME} = permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination'`; \
             other rules belong into smtpd_recipient_restrictions"
    )
}

/// Instead of "set it as on old", where that would break sending.
pub(super) fn hint(name: &str, before: &str) -> Option<String> {
    if name != NAME {
        return None;
    }
    let lacking: Vec<&str> = ["permit_mynetworks", "permit_sasl_authenticated"]
        .into_iter()
        .filter(|what| !value::elements(before).iter().any(|element| element == what))
        .collect();
    let rules = "put old's own rules into smtpd_recipient_restrictions on new, and leave this one as it is there";
    if lacking.is_empty() {
        return Some(format!("{rules}: a rule here holds for the server's own programs too"));
    }
    Some(format!("do not carry it over: it lacks {}, and sending breaks; {rules}", lacking.join(" and ")))
}
