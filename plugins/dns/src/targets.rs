//! Which records move: the MX records of the domains, or the addresses of the names. Those that name neither the old server
//! nor the new one are none of our business.

use std::fmt;

use rehome_sdk::dns::{Answer, Record};
use rehome_sdk::prelude::*;

use crate::{Config, How, Part, look, requests};

/// One RRset that moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) owner: String,
    pub(crate) kind: &'static str,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.owner)
    }
}

/// The plan's domains, or all of the database's. Asked in each call: holes take only what was seen in it.
pub(crate) fn domains(config: &Config) -> Result<Vec<String>, Failure> {
    let all = requests::sql::DOMAINS.on(Side::Old).rows()?.texts("name");
    if config.domains.is_empty() {
        return Ok(all);
    }
    if let Some(missing) = config.domains.iter().find(|domain| !all.contains(domain)) {
        return Err(stopped(missing.as_str(), "is a domain of the plan, and not of the old server's database")
            .hint("look at `domains` in the plan, and at virtual_domains on old"));
    }
    Ok(config.domains.clone())
}

pub(crate) fn all(config: &Config) -> Result<Vec<Target>, Failure> {
    let domains = domains(config)?;
    let candidates: Vec<Target> = match config.how {
        How::Mx => domains.into_iter().map(|owner| Target { owner, kind: "MX" }).collect(),
        How::Address => {
            let of = |kind| config.names.iter().map(move |owner| Target { owner: owner.clone(), kind });
            of("A").chain(of("AAAA").filter(|_| config.ipv6)).collect()
        }
    };
    let mut targets = Vec::new();
    for target in candidates {
        let answers = look::now(&target)?;
        let names = |what: &str| answers.iter().any(|answer| look::names(answer, what));
        let (from, to) = target.ends(config);
        if names(from) || names(to) {
            targets.push(target);
        }
    }
    Ok(targets)
}

impl Target {
    /// What its records name before and after.
    pub(crate) fn ends<'a>(&self, config: &'a Config) -> (&'a str, &'a str) {
        if self.kind == "AAAA" { (&config.from6, &config.to6) } else { (&config.from, &config.to) }
    }

    /// The request that writes it in this part.
    pub(crate) fn record(&self, part: Part) -> Result<Record<1>, Failure> {
        use requests::record::*;
        Ok(match (part, self.kind) {
            (Part::Lower, "MX") => LOWER_MX,
            (Part::Lower, "A") => LOWER_A,
            (Part::Lower, _) => LOWER_AAAA,
            (Part::Switch, "MX") => SWITCH_MX,
            (Part::Switch, "A") => SWITCH_A,
            (Part::Switch, _) => SWITCH_AAAA,
            (Part::Restore, "MX") => RESTORE_MX,
            (Part::Restore, "A") => RESTORE_A,
            (Part::Restore, _) => RESTORE_AAAA,
            (Part::Wait, _) => return Err(stopped(self.to_string(), "nothing is written while the phase waits")),
        })
    }

    /// Whether every server names new, and none old.
    pub(crate) fn names_new(&self, config: &Config, answers: &[Answer]) -> Result<(), String> {
        let (from, to) = self.ends(config);
        let wrong = |answer: &&Answer| !look::names(answer, to) || look::names(answer, from);
        match answers.iter().find(wrong) {
            None => Ok(()),
            Some(answer) => Err(format!(
                "the name server {} says {}, and should name {to}",
                answer.server,
                answer.rrset.as_ref().map_or("nothing".into(), look::words)
            )),
        }
    }
}
