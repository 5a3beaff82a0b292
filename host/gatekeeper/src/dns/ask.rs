//! One question to one name server: over UDP, and over TCP where the answer did not fit. An answer is what that server
//! itself says: nothing is followed, nothing is cached.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_net::client::Client;
use hickory_net::proto::op::{DnsRequest, DnsResponse, Message, ResponseCode};
use hickory_net::proto::rr::{DNSClass, Name, RData, Record, RecordType, TSigner};
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::tcp::TcpClientStream;
use hickory_net::udp::UdpClientStream;
use hickory_net::xfer::{DnsHandle, DnsMultiplexer, FirstAnswer};

use crate::types::Failure;

/// How long a server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Why a server gave no answer that can be used.
#[derive(Debug)]
pub(super) enum Trouble {
    /// nothing came back
    Silent(String),
    /// it answered that it will not
    Refused(ResponseCode),
}

impl Trouble {
    pub(super) fn failure(self, server: &str, what: &str) -> Failure {
        match self {
            Trouble::Silent(why) => Failure::Unreachable(format!(
                "the name server {server} did not answer for {what}: {why}\nhint: is it up, and does a firewall let port 53 through?"
            )),
            Trouble::Refused(code) => {
                Failure::other("dns", format!("the name server {server} answered {code} for {what}"))
            }
        }
    }
}

/// The records of `owner` and `kind` as this server has them; empty where it has none.
pub(super) async fn ask(
    server: SocketAddr,
    owner: &Name,
    kind: RecordType,
    recursive: bool,
) -> Result<DnsResponse, Trouble> {
    let answer = exchange(server, query(owner, kind, recursive), false).await;
    let answer = match answer {
        Ok(answer) if answer.metadata.truncation => exchange(server, query(owner, kind, recursive), true).await,
        answer => answer,
    }?;
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(answer),
        code => Err(Trouble::Refused(code)),
    }
}

/// Those of an answer's records that are of `owner` and `kind`.
pub(super) fn matching<'a>(answer: &'a Message, owner: &'a Name, kind: RecordType) -> impl Iterator<Item = &'a Record> {
    answer.answers.iter().filter(move |record| record.record_type() == kind && record.name == *owner)
}

/// The serial of a SOA record, if it is one.
pub(super) fn serial(data: &RData) -> Option<u32> {
    match data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    }
}

fn query(owner: &Name, kind: RecordType, recursive: bool) -> Message {
    use hickory_net::proto::op::{Edns, Query};
    let mut message = Message::query();
    message.metadata.recursion_desired = recursive;
    let mut query = Query::query(owner.clone(), kind);
    query.set_query_class(DNSClass::IN);
    message.add_query(query);
    let mut edns = Edns::new();
    edns.set_max_payload(1232).set_version(0);
    message.set_edns(edns);
    message
}

async fn exchange(server: SocketAddr, message: Message, tcp: bool) -> Result<DnsResponse, Trouble> {
    let exchange = async {
        if tcp {
            send_tcp(server, message, None).await
        } else {
            let stream =
                UdpClientStream::builder(server, TokioRuntimeProvider::new()).with_timeout(Some(PATIENCE)).build();
            let (client, background) = Client::<TokioRuntimeProvider>::from_sender(stream);
            let background = tokio::spawn(background);
            let answer = client.send(DnsRequest::from(message)).first_answer().await;
            drop(client);
            background.abort();
            answer.map_err(|error| Trouble::Silent(error.to_string()))
        }
    };
    let answer = tokio::time::timeout(PATIENCE + Duration::from_secs(1), exchange).await;
    answer.unwrap_or_else(|_| Err(Trouble::Silent("no answer in time".into())))
}

async fn send_tcp(server: SocketAddr, message: Message, signer: Option<TSigner>) -> Result<DnsResponse, Trouble> {
    let silent = |error: hickory_net::NetError| Trouble::Silent(error.to_string());
    let (stream, handle) = TcpClientStream::new(server, None, Some(PATIENCE), TokioRuntimeProvider::new());
    let mut multiplexer = DnsMultiplexer::new(stream.await.map_err(silent)?, handle).with_timeout(PATIENCE);
    if let Some(signer) = signer {
        multiplexer = multiplexer.with_signer(signer);
    }
    let (client, background) = Client::<TokioRuntimeProvider>::from_sender(multiplexer);
    let background = tokio::spawn(background);
    let answer = client.send(DnsRequest::from(message)).first_answer().await;
    drop(client);
    background.abort();
    answer.map_err(silent)
}

/// Sends an update, signed, over TCP: it must not be lost without a word. Answers the server's verdict.
pub(super) async fn send_update(
    server: SocketAddr,
    message: Message,
    signer: TSigner,
) -> Result<ResponseCode, Trouble> {
    let sent = tokio::time::timeout(2 * PATIENCE, send_tcp(server, message, Some(signer))).await;
    let answer = sent.unwrap_or_else(|_| Err(Trouble::Silent("no answer in time".into())))?;
    Ok(answer.metadata.response_code)
}
