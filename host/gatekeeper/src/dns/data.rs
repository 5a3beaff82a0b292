//! Names and records as text: presentation format (RFC 1035, section 5.1), sorted, names in lower case with their last dot.

use std::net::IpAddr;

use hickory_net::proto::rr::{Name, RData, RecordType};

use crate::types::{Failure, Rrset};

/// A name; with or without its last dot.
pub(super) fn name(text: &str) -> Result<Name, Failure> {
    let refused =
        |why: String| Failure::RefusedValue(format!("`{}` is no name: {why}", rehome_sync::escape(text.as_bytes())));
    if text.is_empty() || text.len() > 255 || !text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
        return Err(refused("names are letters, digits, hyphens, underscores and dots".into()));
    }
    let mut name = Name::from_ascii(text).map_err(|error| refused(error.to_string()))?;
    name.set_fqdn(true);
    Ok(name.to_lowercase())
}

/// The owner of a look-up: for PTR records an address may stand for its name below in-addr.arpa or ip6.arpa.
pub(super) fn owner(text: &str, kind: RecordType) -> Result<Name, Failure> {
    match text.parse::<IpAddr>() {
        Ok(address) if kind == RecordType::PTR => Ok(Name::from(address)),
        _ => name(text),
    }
}

/// "MX".
pub(super) fn kind(text: &str) -> Result<RecordType, Failure> {
    text.parse::<RecordType>()
        .ok()
        .filter(|kind| !matches!(kind, RecordType::Unknown(_) | RecordType::ANY | RecordType::AXFR | RecordType::IXFR))
        .ok_or_else(|| {
            Failure::RefusedValue(format!("`{}` is no type of records", rehome_sync::escape(text.as_bytes())))
        })
}

/// A record's data as text.
pub(super) fn shown(data: &RData) -> String {
    match data {
        RData::TXT(text) => {
            let quoted = |part: &[u8]| {
                let inner: String = part
                    .iter()
                    .map(|byte| match byte {
                        b'"' | b'\\' => format!("\\{}", *byte as char),
                        b' '..=b'~' => (*byte as char).to_string(),
                        other => format!("\\{other:03}"),
                    })
                    .collect();
                format!("\"{inner}\"")
            };
            text.txt_data.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(" ")
        }
        RData::A(_) | RData::AAAA(_) => data.to_string(),
        // Read again where an RRset is written: a name has its own escapes already.
        RData::CNAME(_) | RData::MX(_) => data.to_string().to_lowercase(),
        // Data of some kinds is text of the owner's (CAA), which comes as it is.
        other => rehome_sync::escape(other.to_string().to_lowercase().as_bytes()),
    }
}

/// Data as text, read again.
pub(super) fn read(kind: RecordType, text: &str) -> Result<RData, Failure> {
    RData::try_from_str(kind, text)
        .map_err(|error| Failure::RefusedValue(format!("`{text}` is no data of {kind} records: {error}")))
}

/// What a record names: its last word, without the last dot. The source of later look-ups.
pub(super) fn named(data: &str) -> Option<String> {
    let last = data.split_whitespace().last()?;
    let plain = last.trim_end_matches('.');
    (!plain.is_empty() && !plain.contains('"')).then(|| plain.to_string())
}

pub(super) fn rrset(owner: &Name, kind: RecordType, ttl: u32, data: &[RData]) -> Rrset {
    let mut data: Vec<String> = data.iter().map(shown).collect();
    data.sort();
    Rrset { owner: owner.to_ascii(), kind: kind.to_string(), ttl, data }
}

/// One name or address for another in a record's text; preferences stay.
pub(super) fn swapped(data: &str, from: &str, to: &str) -> String {
    let is_address = to.parse::<IpAddr>().is_ok();
    let full = |name: &str| if is_address { name.to_string() } else { format!("{}.", name.trim_end_matches('.')) };
    let (lead, last) = data.rsplit_once(' ').map_or(("", data), |(lead, last)| (lead, last));
    let same = match (last.parse::<IpAddr>(), from.parse::<IpAddr>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => last.trim_end_matches('.').eq_ignore_ascii_case(from.trim_end_matches('.')),
    };
    match (same, lead) {
        (false, _) => data.to_string(),
        (true, "") => full(to),
        (true, lead) => format!("{lead} {}", full(to)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_takes_the_place_of_another_and_preferences_stay() {
        assert_eq!(swapped("10 mail.example.org.", "Mail.example.org", "new.example.org"), "10 new.example.org.");
        assert_eq!(swapped("20 backup.example.org.", "mail.example.org", "new.example.org"), "20 backup.example.org.");
        assert_eq!(swapped("192.0.2.1", "192.0.2.1", "192.0.2.2"), "192.0.2.2");
        assert_eq!(swapped("2001:db8::1", "2001:db8:0::1", "2001:db8::2"), "2001:db8::2");
    }

    #[test]
    fn names_that_could_mean_more_than_one_thing_are_refused() {
        for text in ["", "a b", "a\\.b.org", "a\nb", "\u{e9}.org", "a..b"] {
            assert!(name(text).is_err(), "{text:?}");
        }
        assert_eq!(name("_Dmarc.Example.ORG").unwrap().to_ascii(), "_dmarc.example.org.");
        assert_eq!(owner("192.0.2.7", RecordType::PTR).unwrap().to_ascii(), "7.2.0.192.in-addr.arpa.");
    }

    #[test]
    fn texts_are_written_as_they_are_read() {
        for text in ["\"v=spf1 mx -all\"", "\"v=DKIM1; k=rsa; p=ABC\" \"DEF\"", "\"a \\\"b\\\" \\\\ c\""] {
            assert_eq!(shown(&read(RecordType::TXT, text).unwrap()), text);
        }
    }
}
