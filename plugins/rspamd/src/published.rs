//! What the world checks signatures with: the TXT record of each domain's key (RFC 6376, section 3.6.2), at each authoritative
//! server of its zone, against the public half of the key file. Private halves never come here.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rehome_sdk::prelude::*;

use crate::keys::{files, name};
use crate::selectors::Map;
use crate::signing::{Key, Signing};
use crate::{Config, requests, told};

/// The keys of this side, each against DNS.
pub(crate) fn check(config: &Config, side: Side, found: &mut Findings) -> Result<(), Failure> {
    let there: BTreeSet<String> = files(side)?.unwrap_or_default().iter().map(name).collect();
    if there.is_empty() {
        return Ok(());
    }
    let domains: BTreeSet<String> =
        requests::sql::DOMAINS.on(Side::Old).rows()?.texts("name").iter().map(|name| name.to_lowercase()).collect();
    let (map, signing) = (Map::of(side)?.selectors, Signing::of(side)?);
    let folder = format!("{}/", config.dkim_folder.trim_end_matches('/'));
    let mut alike = 0;
    let used = if signing.selector_map().is_some() { map } else { Default::default() };
    for key in signing.keys(&domains, &used) {
        let Some(file) = key.path.strip_prefix(&folder) else { continue };
        if there.contains(file) {
            alike += u64::from(key_agrees(config, side, &key, file, &used.values().collect(), found)?);
        } else if used.contains_key(&key.domain) {
            let text = format!("{} is in the selector map, and {} is not there", key.selector, key.path);
            found.warning(subject(&key), text).hint(format!("mail of {} is not signed", key.domain));
        } else {
            found.note(format!("DKIM of {}", key.domain), "has no key: its mail is not signed");
        }
    }
    if alike > 0 {
        let text = match alike {
            1 => "the key of one domain is what its TXT record says".to_string(),
            _ => format!("the keys of {alike} domains are what their TXT records say"),
        };
        found.ok("DKIM in DNS", text);
    }
    Ok(())
}

fn subject(key: &Key) -> String {
    format!("DKIM of {}, selector {}", key.domain, key.selector)
}

/// Whether each server says what the file is; if not, it is told.
fn key_agrees(
    config: &Config,
    side: Side,
    key: &Key,
    file: &str,
    mapped: &Vec<&String>,
    found: &mut Findings,
) -> Result<bool, Failure> {
    if !mapped.contains(&&key.selector) && !config.selectors.contains(&key.selector) {
        found
            .warning(subject(key), "is not compared with DNS: this selector stands neither in the map nor in the plan")
            .hint(format!("add it to `selectors` for this phase: `selectors = [\"{}\"]`", key.selector));
        return Ok(false);
    }
    let public = match told(requests::exec::PUBLIC.on(side).run_with([file]))? {
        Ok(output) => pem(&output.text()),
        Err((why, _)) => {
            let text = format!("openssl cannot read {} on {side}, so it is not compared with DNS: {why}", key.path);
            found.warning(subject(key), text);
            return Ok(false);
        }
    };
    let answers = match told(requests::lookup::PUBLISHED.ask([&key.selector, &key.domain]))? {
        Ok(answers) => answers,
        Err((why, remedy)) => {
            let finding = found.warning(subject(key), format!("its TXT record cannot be looked up: {why}"));
            finding.hint = remedy;
            return Ok(false);
        }
    };
    for answer in &answers {
        let texts = answer.rrset.as_ref().map(|rrset| rrset.data.as_slice()).unwrap_or_default();
        let record = format!("{}._domainkey.{}", key.selector, key.domain);
        if texts.is_empty() {
            let text = format!("{} has no TXT record {record}: nobody can check what is signed", answer.server);
            found.warning(subject(key), text).hint("publish the key, or leave it: old signs in vain today as well");
            return Ok(false);
        }
        if !texts
            .iter()
            .any(|text| public.is_some() && published(text).is_some_and(|told| same(public.as_deref(), &told)))
        {
            let text = format!("{} publishes another key than {} on {side}", answer.server, key.path);
            found.blocker(subject(key), text).hint(format!(
                "what is signed with it fails everywhere. `openssl pkey -in {} -pubout` shows what the TXT record {record} \
                 has to say after `p=`",
                key.path
            ));
            return Ok(false);
        }
    }
    Ok(!answers.is_empty())
}

/// The body of a PEM file: SubjectPublicKeyInfo (RFC 5280) in DER.
fn pem(text: &str) -> Option<Vec<u8>> {
    let body: String = text.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(body).ok().filter(|bytes| !bytes.is_empty())
}

/// What a TXT record in presentation format has after `p=`. Empty: the key is revoked.
fn published(text: &str) -> Option<Vec<u8>> {
    let whole: String = text.split('"').skip(1).step_by(2).collect();
    let tag = |tag: &str| tag.trim_start().strip_prefix("p").map(str::trim_start)?.strip_prefix('=').map(String::from);
    let value = whole.split(';').find_map(tag)?;
    STANDARD.decode(value.split_whitespace().collect::<String>()).ok()
}

/// RSA keys are published as SubjectPublicKeyInfo, Ed25519 keys as their last 32 bytes (RFC 8463, section 4).
fn same(file: Option<&[u8]>, published: &[u8]) -> bool {
    let Some(file) = file else { return false };
    file == published || (published.len() == 32 && file.len() == 44 && file.ends_with(published))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_in_several_strings_is_one_key() {
        assert_eq!(published("\"v=DKIM1; k=rsa; \" \"p=AQ\" \"ID\""), Some(vec![1, 2, 3]));
        assert_eq!(published("\"v=DKIM1; p = AQ ID ; t=s\""), Some(vec![1, 2, 3]));
        assert_eq!(published("\"v=DKIM1; p=\""), Some(vec![]));
        assert_eq!(published("\"v=spf1 -all\""), None);
    }

    #[test]
    fn an_ed25519_key_is_published_without_its_frame() {
        let mut file = vec![0x30; 12];
        file.extend([7; 32]);
        assert!(same(Some(&file), &[7; 32]));
        assert!(!same(Some(&file), &[8; 32]));
        assert!(!same(None, &[]));
        assert!(!same(Some(&[1, 2, 3]), &[]));
    }
}
