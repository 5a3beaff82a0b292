//! Which servers are authoritative for a name: its zone is found by asking for SOA records upwards, its servers by the zone's
//! NS records (RFC 1034, section 4.2). The resolver is only asked for these; what a phase asks, the servers answer themselves.

use std::net::{IpAddr, SocketAddr};

use hickory_net::proto::rr::{Name, RData, RecordType};

use super::ask::{ask, matching, serial};
use crate::services::{DNS_PORT, DnsSpec};
use crate::types::Failure;

/// A zone as its records describe it.
pub(super) struct Zone {
    pub(super) name: Name,
    /// the primary server, as the SOA names it
    pub(super) primary: Name,
}

/// An authoritative server: its name, and the addresses it has.
pub(super) struct Server {
    name: Name,
    addresses: Vec<SocketAddr>,
}

/// One server's own answer.
pub(super) struct Told {
    pub(super) server: String,
    pub(super) serial: u32,
    pub(super) ttl: u32,
    pub(super) data: Vec<RData>,
}

/// The resolver that this machine uses, or the plan's.
pub(super) fn resolver(spec: &DnsSpec) -> Result<SocketAddr, Failure> {
    if let Some(resolver) = spec.resolver {
        return Ok(resolver);
    }
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let named = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok());
    named.map(|address| SocketAddr::new(address, DNS_PORT)).next().ok_or_else(|| {
        Failure::Unreachable(
            "no name server is known: /etc/resolv.conf names none\nhint: name one in the plan: [dns] with resolver = \"192.0.2.53\""
                .into(),
        )
    })
}

/// The zone that `owner` lies in.
pub(super) async fn zone_of(spec: &DnsSpec, owner: &Name) -> Result<Zone, Failure> {
    let resolver = resolver(spec)?;
    let mut name = owner.clone();
    while !name.is_root() {
        let answer = ask(resolver, &name, RecordType::SOA, true).await;
        let answer = answer.map_err(|trouble| trouble.failure(&resolver.to_string(), &format!("the SOA of {name}")))?;
        let primary = matching(&answer, &name, RecordType::SOA).find_map(|record| match &record.data {
            RData::SOA(soa) => Some(soa.mname.clone()),
            _ => None,
        });
        if let Some(primary) = primary {
            return Ok(Zone { name, primary });
        }
        name = name.base_name();
    }
    Err(Failure::NotFound(format!("{owner} lies in no zone that {resolver} knows")))
}

/// Every authoritative server of a zone.
pub(super) async fn servers(spec: &DnsSpec, zone: &Zone) -> Result<Vec<Server>, Failure> {
    let resolver = resolver(spec)?;
    let answer = ask(resolver, &zone.name, RecordType::NS, true).await;
    let answer = answer
        .map_err(|trouble| trouble.failure(&resolver.to_string(), &format!("the NS records of {}", zone.name)))?;
    let mut servers = Vec::new();
    for record in matching(&answer, &zone.name, RecordType::NS) {
        if let RData::NS(name) = &record.data {
            servers.push(server(spec, &name.0).await?);
        }
    }
    if servers.is_empty() {
        return Err(Failure::NotFound(format!("the zone {} has no NS records", zone.name)));
    }
    servers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(servers)
}

/// A server by its name. IPv4 first: many a machine has no way to the other.
pub(super) async fn server(spec: &DnsSpec, name: &Name) -> Result<Server, Failure> {
    let resolver = resolver(spec)?;
    let port = spec.port.unwrap_or(DNS_PORT);
    let mut addresses = Vec::new();
    for kind in [RecordType::A, RecordType::AAAA] {
        let answer = ask(resolver, name, kind, true).await;
        let answer =
            answer.map_err(|trouble| trouble.failure(&resolver.to_string(), &format!("the address of {name}")))?;
        addresses.extend(answer.answers.iter().filter_map(|record| match &record.data {
            RData::A(address) => Some(SocketAddr::new(IpAddr::V4(address.0), port)),
            RData::AAAA(address) => Some(SocketAddr::new(IpAddr::V6(address.0), port)),
            _ => None,
        }));
    }
    if addresses.is_empty() {
        return Err(Failure::NotFound(format!("the name server {name} has no address")));
    }
    Ok(Server { name: name.clone(), addresses })
}

impl Server {
    /// At an address the plan names.
    pub(super) fn at(address: SocketAddr) -> Server {
        Server { name: Name::root(), addresses: vec![address] }
    }

    pub(super) fn first_address(&self) -> Option<SocketAddr> {
        self.addresses.first().copied()
    }

    pub(super) fn shown(&self, address: SocketAddr) -> String {
        let address = if address.port() == DNS_PORT { address.ip().to_string() } else { address.to_string() };
        if self.name.is_root() {
            return address;
        }
        let name = self.name.to_ascii();
        format!("{} ({address})", name.trim_end_matches('.'))
    }

    /// What this server has of `owner` and `kind`, at the first of its addresses that answers.
    pub(super) async fn tell(&self, zone: &Zone, owner: &Name, kind: RecordType) -> Result<Told, Failure> {
        let mut last = None;
        for address in &self.addresses {
            match self.tell_at(*address, zone, owner, kind).await {
                Err(failure @ Failure::Unreachable(_)) => last = Some(failure),
                told => return told,
            }
        }
        Err(last.unwrap_or_else(|| Failure::NotFound(format!("the name server {} has no address", self.name))))
    }

    async fn tell_at(&self, address: SocketAddr, zone: &Zone, owner: &Name, kind: RecordType) -> Result<Told, Failure> {
        let server = self.shown(address);
        let what = format!("{kind} {owner}");
        let soa = ask(address, &zone.name, RecordType::SOA, false).await;
        let soa = soa.map_err(|trouble| trouble.failure(&server, &format!("the SOA of {}", zone.name)))?;
        let serial = matching(&soa, &zone.name, RecordType::SOA).find_map(|record| serial(&record.data));
        let Some(serial) = serial.filter(|_| soa.metadata.authoritative) else {
            return Err(Failure::other(
                "dns",
                format!("the name server {server} is named for the zone {} and does not serve it", zone.name),
            ));
        };
        let answer = ask(address, owner, kind, false).await.map_err(|trouble| trouble.failure(&server, &what))?;
        let records: Vec<_> = matching(&answer, owner, kind).collect();
        let ttl = records.iter().map(|record| record.ttl).min().unwrap_or_default();
        Ok(Told { server, serial, ttl, data: records.into_iter().map(|record| record.data.clone()).collect() })
    }
}
