//! Who in the domain name system still leads to old: MX records of all domains, and the names of mail programs.
//! Invariant: every authoritative server is asked by itself, and an alias is followed one step. `gates` uses it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rehome_sdk::dns::Answer;
use rehome_sdk::prelude::*;

use crate::{Config, requests};

/// The plan's domains, or all of the database's.
pub(crate) fn domains(config: &Config) -> Result<Vec<String>, Failure> {
    let mut all = requests::sql::DOMAINS.on(Side::Old).rows()?.texts("name");
    all.retain(|domain| config.domains.is_empty() || config.domains.contains(domain));
    Ok(all)
}

/// Names whose address is one of old's, with the server that says so: "mail.example.org (10.0.0.1 at ns1)".
pub(crate) fn by_dns(config: &Config) -> Result<Vec<String>, Failure> {
    let mut names: BTreeSet<String> = config.names.iter().cloned().collect();
    for domain in domains(config)? {
        names.extend(named(&asked(requests::lookup::MX.ask([&domain]))?));
    }
    let mut reached = Vec::new();
    for name in names {
        for host in with_its_alias(&name)? {
            let mut answers = asked(requests::lookup::A.ask([&host]))?;
            answers.extend(asked(requests::lookup::AAAA.ask([&host]))?);
            let of_old = answers.iter().find_map(|answer| old_address(config, answer));
            if let Some((address, server)) = of_old {
                reached.push(format!("{name} ({address}, says {server})"));
                break;
            }
        }
    }
    Ok(reached)
}

/// A name that is in no zone, or that is none, leads nowhere.
fn asked(answer: Result<Vec<Answer>, Failure>) -> Result<Vec<Answer>, Failure> {
    match answer {
        Err(Failure::NotFound(_) | Failure::RefusedValue(_)) => Ok(Vec::new()),
        answer => answer,
    }
}

fn with_its_alias(name: &str) -> Result<Vec<String>, Failure> {
    let mut hosts = named(&asked(requests::lookup::ALIAS.ask([name]))?);
    // A name with an alias has no address of its own (RFC 1034, section 3.6.2).
    if hosts.is_empty() {
        hosts.push(name.to_string());
    }
    hosts.sort();
    hosts.dedup();
    Ok(hosts)
}

/// The hosts that records name, without the last dot; a single dot names none (RFC 7505).
fn named(answers: &[Answer]) -> Vec<String> {
    let data = answers.iter().filter_map(|answer| answer.rrset.as_ref()).flat_map(|set| &set.data);
    let last = |data: &String| data.split_whitespace().next_back().map(|name| name.trim_end_matches('.').to_string());
    data.filter_map(last).filter(|name| !name.is_empty()).collect()
}

fn old_address(config: &Config, answer: &Answer) -> Option<(String, String)> {
    let is_old = |text: &&String| {
        let address = text.parse::<IpAddr>().ok();
        address.is_some() && config.old_addresses.iter().any(|old| old.parse::<IpAddr>().ok() == address)
    };
    let found = answer.rrset.as_ref()?.data.iter().find(is_old)?;
    Some((found.clone(), answer.server.clone()))
}
