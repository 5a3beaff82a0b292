//! One update (RFC 2136), signed (RFC 8945): the whole RRset is replaced, on condition that it is what was read before.

use hickory_net::proto::op::{Message, OpCode, Query, ResponseCode, UpdateMessage};
use hickory_net::proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_net::proto::rr::{DNSClass, Name, RData, Record, RecordType, TSigner};

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::ask::send_update;
use super::zone::{Server, Zone};
use crate::services::Secret;
use crate::types::Failure;

/// What time may differ between us and the server, in seconds (RFC 8945, section 10).
const FUDGE: u16 = 300;

/// What is there, or what shall be: the records' data with their common TTL.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) ttl: u32,
    pub(super) data: Vec<RData>,
}

/// Replaces an RRset. `conflict` if it is no longer `before`.
pub(super) async fn replace(
    server: &Server,
    zone: &Zone,
    (owner, kind): (&Name, RecordType),
    before: &Held,
    after: &Held,
    signer: TSigner,
) -> Result<(), Failure> {
    let Some(address) = server.first_address() else {
        return Err(Failure::NotFound(format!("the primary server of {} has no address", zone.name)));
    };
    let shown = server.shown(address);
    let what = format!("an update of {kind} {owner}");
    let message = message(&zone.name, owner, kind, before, after);
    let verdict = send_update(address, message, signer).await.map_err(|trouble| trouble.failure(&shown, &what))?;
    match verdict {
        ResponseCode::NoError => Ok(()),
        ResponseCode::NXRRSet | ResponseCode::YXRRSet | ResponseCode::NXDomain | ResponseCode::YXDomain => {
            Err(Failure::Conflict(format!(
                "{kind} {owner} was changed by somebody else meanwhile: the name server {shown} refused the update ({verdict})"
            )))
        }
        other => Err(Failure::other(
            "dns",
            format!(
                "the name server {shown} refused {what}: {other}\nhint: does it take updates of {} signed with this key? \
                 are the clocks of both machines right?",
                zone.name
            ),
        )),
    }
}

fn message(zone: &Name, owner: &Name, kind: RecordType, before: &Held, after: &Held) -> Message {
    let mut message = Message::query();
    message.metadata.op_code = OpCode::Update;
    message.metadata.recursion_desired = false;
    let mut query = Query::query(zone.clone(), RecordType::SOA);
    query.set_query_class(DNSClass::IN);
    message.add_zone(query);
    let empty = |class| {
        let mut record: Record = Record::update0(owner.clone(), 0, kind);
        record.dns_class = class;
        record
    };
    if before.data.is_empty() {
        // Section 2.4.3: the RRset does not exist.
        message.add_pre_requisite(empty(DNSClass::NONE));
    }
    for data in &before.data {
        // Section 2.4.2: the RRset exists, with just these values.
        message.add_pre_requisite(Record::from_rdata(owner.clone(), 0, data.clone()));
    }
    if !before.data.is_empty() {
        // Section 2.5.2: delete the RRset.
        message.add_update(empty(DNSClass::ANY));
    }
    for data in &after.data {
        message.add_update(Record::from_rdata(owner.clone(), after.ttl, data.clone()));
    }
    message
}

/// A key as knsupdate and nsupdate take it, `[ALGORITHM:]NAME:BASE64`, or as a BIND key file.
pub(super) fn signer(handle: &str, secret: &Secret) -> Result<TSigner, Failure> {
    let refused = |why: &str| {
        Failure::RefusedValue(format!(
            "the secret `{handle}` is no TSIG key: {why}\nhint: it is one line, hmac-sha256:NAME:BASE64, or a file as `tsig-keygen` writes it"
        ))
    };
    let (algorithm, name, key) = parts(secret.expose()).ok_or_else(|| refused("it has another form"))?;
    let algorithm = match algorithm.to_ascii_lowercase().as_str() {
        "hmac-sha256" => TsigAlgorithm::HmacSha256,
        "hmac-sha384" => TsigAlgorithm::HmacSha384,
        "hmac-sha512" => TsigAlgorithm::HmacSha512,
        _ => return Err(refused("its algorithm is none of hmac-sha256, hmac-sha384, hmac-sha512")),
    };
    let key = BASE64_STANDARD.decode(key).map_err(|_| refused("its last part is not base64"))?;
    let name = Name::from_ascii(name).map_err(|_| refused("its name is none"))?;
    TSigner::new(key, algorithm, name, FUDGE).map_err(|_| refused("this algorithm is not supported"))
}

fn parts(text: &str) -> Option<(String, String, String)> {
    if let Some(rest) = text.trim_start().strip_prefix("key") {
        let word = |after: &str| {
            let at = rest.find(after)? + after.len();
            let value = rest[at..].trim_start().trim_start_matches('"');
            value.split(['"', ';', ' ', '\n', '{']).next().map(String::from)
        };
        let name = rest.trim_start().trim_start_matches('"').split(['"', ' ', '{']).next()?.to_string();
        return Some((word("algorithm")?, name, word("secret")?));
    }
    match text.split(':').collect::<Vec<_>>().as_slice() {
        [algorithm, name, key] => Some((algorithm.to_string(), name.to_string(), key.to_string())),
        [name, key] => Some(("hmac-sha256".into(), name.to_string(), key.to_string())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_in_both_of_its_forms() {
        let whole = ("hmac-sha256".to_string(), "lab-key".to_string(), "c2VjcmV0".to_string());
        assert_eq!(parts("hmac-sha256:lab-key:c2VjcmV0"), Some(whole.clone()));
        assert_eq!(parts("lab-key:c2VjcmV0"), Some(whole.clone()));
        let bind = "key \"lab-key\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0\";\n};\n";
        assert_eq!(parts(bind), Some(whole));
        assert_eq!(parts("nonsense"), None);
    }
}
