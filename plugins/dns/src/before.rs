//! What could be wrong before a name moves: an MX that points to an alias, a host without address, and records elsewhere
//! that name the old server.

use std::net::IpAddr;

use rehome_sdk::dns::Answer;
use rehome_sdk::prelude::*;

use crate::{Config, How, Part, look, requests, targets};

/// What can be said without asking anybody.
pub(crate) fn config(config: &Config, found: &mut Findings) {
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
    let (kind, fits) = match config.how {
        How::Address => ("an address", is_address(&config.from) && is_address(&config.to)),
        How::Mx => ("a host name", !is_address(&config.from) && !is_address(&config.to)),
    };
    if !fits {
        found.blocker("dns", format!("`from` and `to` must each be {kind}")).hint("see `how` in the plan");
    }
    if config.how == How::Address && config.names.is_empty() {
        found.blocker("dns", "`names` is empty: no name would move").hint("name the host that your MX records name");
    }
    if config.how == How::Address && config.ipv6 && !(is_address(&config.from6) && is_address(&config.to6)) {
        found.blocker("dns", "`ipv6` is set, and `from6` and `to6` are no addresses");
    }
}

pub(crate) fn check(config: &Config, found: &mut Findings) -> Result<(), Failure> {
    let domains = targets::domains(config)?;
    let mut exchanges: Vec<String> = Vec::new();
    for domain in &domains {
        let answers = requests::lookup::MX.ask([domain])?;
        let hosts = hosts(&answers);
        if hosts.is_empty() {
            found
                .warning(domain, "has no MX record: mail goes to its address, if it has one")
                .hint("RFC 5321, section 5.1");
        }
        exchanges.extend(hosts.into_iter().filter(|host| !host.is_empty()));
    }
    exchanges.sort();
    exchanges.dedup();
    for host in &exchanges {
        aliases(host, &requests::lookup::EXCHANGE_ALIAS.ask([host])?, found);
    }
    let moving = targets::all(config)?;
    if moving.is_empty() {
        let text = format!("no record names {}, nor {}", config.from, config.to);
        found
            .blocker("dns", text)
            .hint("`from` is what the records name today: look at `how`, `from` and `names` in the plan");
    }
    for target in &moving {
        found.ok(target.to_string(), look::shown(&look::now(target)?));
    }
    if config.part == Part::Switch {
        destination(config, found)?;
        others(config, &domains, &exchanges, found)?;
    }
    Ok(())
}

/// RFC 2181, section 10.3.
fn aliases(host: &str, answers: &[Answer], found: &mut Findings) {
    if let Some(set) = answers.iter().find_map(|answer| answer.rrset.as_ref()) {
        let text = format!("an MX record names it, and it is an alias (CNAME) of {}", set.data.join(" and "));
        found
            .blocker(host, text)
            .hint("let the MX record name the host itself: senders may refuse an alias (RFC 2181, section 10.3)");
    }
}

fn destination(config: &Config, found: &mut Findings) -> Result<(), Failure> {
    match config.how {
        How::Mx => {
            aliases(&config.to, &requests::lookup::TO_ALIAS.ask([])?, found);
            if hosts(&requests::lookup::TO_ADDRESS.ask([])?).is_empty() {
                found.blocker(&config.to, "has no address: no mail would arrive").hint("add its A record first");
            }
        }
        How::Address => {
            for name in &config.names {
                aliases(name, &requests::lookup::NAME_ALIAS.ask([name])?, found);
            }
            // Reverse zones are the provider's; that they cannot be asked is no reason to stop.
            match requests::lookup::REVERSE.ask([]) {
                Ok(answers) if hosts(&answers).iter().any(|host| config.names.contains(host)) => {
                    found.ok(format!("PTR {}", config.to), look::shown(&answers));
                }
                Ok(answers) => {
                    let is = hosts(&answers).join(", ");
                    let is = if is.is_empty() { "no name".to_string() } else { is };
                    let text = format!("is {is}, and none of {}", config.names.join(", "));
                    found.warning(format!("PTR {}", config.to), text).hint(
                        "many servers refuse mail from an address whose name does not lead back: ask your provider to set it",
                    );
                }
                Err(failure) => {
                    found.warning(format!("PTR {}", config.to), format!("could not be looked up: {}", failure.words()));
                }
            }
        }
    }
    Ok(())
}

/// Records that name a host too: each that will not fit is reported, none is changed.
fn others(config: &Config, domains: &[String], exchanges: &[String], found: &mut Findings) -> Result<(), Failure> {
    for domain in domains {
        let texts = texts(&requests::lookup::SPF.ask([domain])?);
        match texts.iter().find(|text| text.starts_with("v=spf1")) {
            Some(spf) if fits(spf, config) => drop(found.ok(format!("SPF {domain}"), spf)),
            Some(spf) => {
                let text = format!("`{spf}` does not name {} (nor `mx`)", config.to);
                found
                    .warning(format!("SPF {domain}"), text)
                    .hint("mail from new would fail SPF: add it before the switch");
            }
            None => drop(found.note(format!("SPF {domain}"), "there is none")),
        }
        if !self::texts(&requests::lookup::MTA_STS.ask([domain])?).is_empty() && config.how == How::Mx {
            found
                .warning(format!("MTA-STS {domain}"), "is there: senders refuse an MX that its policy does not name")
                .hint(format!(
                    "add `mx: {}` to https://mta-sts.{domain}/.well-known/mta-sts.txt, and change its id (RFC 8461)",
                    config.to
                ));
        }
    }
    for host in exchanges {
        if requests::lookup::TLSA.ask([host])?.iter().any(|answer| answer.rrset.is_some()) {
            found
                .warning(format!("TLSA _25._tcp.{host}"), "is there: senders refuse another certificate than it names")
                .hint("new must have the same key, or its record must be there before the switch (RFC 7672)");
        }
    }
    Ok(())
}

fn fits(spf: &str, config: &Config) -> bool {
    let bare = |word: &str| word.trim_start_matches(['+', '?', '~']).to_ascii_lowercase();
    let named = |word: &str| {
        let to = config.to.to_ascii_lowercase();
        let names = config.names.iter().map(|name| format!("a:{}", name.to_ascii_lowercase()));
        word == "mx"
            || word == format!("ip4:{to}")
            || word == format!("a:{to}")
            || names.into_iter().any(|name| name == word)
    };
    spf.split_whitespace().any(|word| named(&bare(word)))
}

fn texts(answers: &[Answer]) -> Vec<String> {
    let all = answers.first().and_then(|answer| answer.rrset.as_ref());
    let joined = |data: &String| data.split("\" \"").collect::<String>().trim_matches('"').to_string();
    all.map(|set| set.data.iter().map(joined).collect()).unwrap_or_default()
}

/// What records name, without the last dot.
fn hosts(answers: &[Answer]) -> Vec<String> {
    let data = answers.iter().filter_map(|answer| answer.rrset.as_ref()).flat_map(|set| &set.data);
    let mut hosts: Vec<String> = data
        .filter_map(|data| data.split(' ').next_back())
        .map(|name| name.trim_end_matches('.').to_string())
        .collect();
    hosts.sort();
    hosts.dedup();
    hosts
}
