//! The names that certificates must be for: those of mail programs, by the plan, and those of MX records, by DNS.
//! Invariant: each was yielded in this call, so that it may be asked for. `before` and `served` use them.

use rehome_sdk::prelude::*;

use crate::{Config, requests};

/// Names by who uses them.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// mail programs: a name that does not fit is refused, or warned of, in front of every user
    pub(crate) clients: Vec<String>,
    /// other mail servers (MX records): most of them take any certificate (RFC 7672, section 1.3)
    pub(crate) exchanges: Vec<String>,
    /// domains that could not be looked up, and why
    pub(crate) unknown: Vec<(String, String)>,
}

pub(crate) fn of(config: &Config) -> Result<Names, Failure> {
    let mut names = Names { clients: config.names.clone(), ..Names::default() };
    let all = requests::sql::DOMAINS.on(Side::Old).rows()?.texts("name");
    let meant = |domain: &&String| config.domains.is_empty() || config.domains.contains(domain);
    for domain in all.iter().filter(meant) {
        match requests::lookup::MX.ask([domain]) {
            Ok(answers) => {
                let sets = answers.iter().filter_map(|answer| answer.rrset.as_ref());
                let hosts = sets.flat_map(|set| &set.data).filter_map(|data| data.split_whitespace().next_back());
                // A single dot: the domain takes no mail (RFC 7505).
                names
                    .exchanges
                    .extend(hosts.map(|host| host.trim_end_matches('.').to_string()).filter(|h| !h.is_empty()));
            }
            Err(failure @ (Failure::NotFound(_) | Failure::Unreachable(_) | Failure::RefusedValue(_))) => {
                names.unknown.push((domain.clone(), failure.words()));
            }
            Err(failure) => return Err(failure),
        }
    }
    names.exchanges.sort();
    names.exchanges.dedup();
    if names.clients.is_empty() {
        names.clients = names.exchanges.clone();
    }
    Ok(names)
}
