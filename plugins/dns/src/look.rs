//! What the authoritative servers say, each by itself.

use rehome_sdk::dns::{Answer, Rrset};
use rehome_sdk::prelude::*;

use crate::requests;
use crate::targets::Target;

/// How often servers are asked whether they agree, and how long between: secondary servers learn of a change by NOTIFY
/// (RFC 1996) within seconds.
const ROUNDS: u32 = 30;
const PAUSE_MS: u32 = 2000;

pub(crate) fn now(target: &Target) -> Result<Vec<Answer>, Failure> {
    let lookup = match target.kind {
        "MX" => requests::lookup::MX,
        "A" => requests::lookup::NAME_A,
        _ => requests::lookup::NAME_AAAA,
    };
    lookup.ask([&target.owner])
}

/// Whether an answer's records name this host or address.
pub(crate) fn names(answer: &Answer, what: &str) -> bool {
    let plain = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
    let last = |data: &String| data.split(' ').next_back().map(plain);
    answer.rrset.as_ref().is_some_and(|set| set.data.iter().any(|data| last(data) == Some(plain(what))))
}

pub(crate) fn any_differs(answers: &[Answer], planned: &Rrset) -> bool {
    answers.iter().any(|answer| !is(answer, planned))
}

fn is(answer: &Answer, planned: &Rrset) -> bool {
    answer.rrset.as_ref().is_some_and(|set| set.data == planned.data && set.ttl == planned.ttl)
}

pub(crate) fn largest_ttl(answers: &[Answer]) -> u32 {
    answers.iter().filter_map(|answer| answer.rrset.as_ref()).map(|set| set.ttl).max().unwrap_or_default()
}

pub(crate) fn ttl_is(answers: &[Answer], ttl: Option<u32>) -> Result<(), String> {
    let Some(ttl) = ttl else { return Ok(()) };
    match answers.iter().find(|answer| answer.rrset.as_ref().is_none_or(|set| set.ttl != ttl)) {
        None => Ok(()),
        Some(answer) => Err(format!("the name server {} gives another TTL than {ttl} s", answer.server)),
    }
}

/// "10 mail.example.org., TTL 60".
pub(crate) fn words(set: &Rrset) -> String {
    format!("{}, TTL {}", set.data.join(" and "), set.ttl)
}

/// What they say, once if it is the same.
pub(crate) fn shown(answers: &[Answer]) -> String {
    let mut all: Vec<String> =
        answers.iter().map(|answer| answer.rrset.as_ref().map_or("nothing".into(), words)).collect();
    all.dedup();
    match all.as_slice() {
        [one] => one.clone(),
        _ => answers
            .iter()
            .map(|answer| format!("{} at {}", answer.rrset.as_ref().map_or("nothing".into(), words), answer.server))
            .collect::<Vec<_>>()
            .join("; "),
    }
}

pub(crate) fn servers(answers: &[Answer]) -> String {
    answers.iter().map(|answer| answer.server.as_str()).collect::<Vec<_>>().join(" and ")
}

/// Asks again until each server has what was written.
pub(crate) fn until_all_agree(target: &Target, planned: &Rrset) -> Result<(), Failure> {
    for round in 0..ROUNDS {
        let answers = now(target)?;
        let Some(behind) = answers.iter().find(|answer| !is(answer, planned)) else { return Ok(()) };
        if round == 0 {
            report::info(&format!("waiting for the name server {} to follow", behind.server));
        }
        if round + 1 == ROUNDS {
            let says = behind.rrset.as_ref().map_or("nothing".into(), words);
            return Err(stopped(
                target.to_string(),
                format!("the name server {} still says {says}, and {} was written", behind.server, words(planned)),
            )
            .hint("is it told of changes (NOTIFY), and may it transfer the zone? then run `rehome apply` again"));
        }
        clock::sleep(PAUSE_MS)?;
    }
    Ok(())
}
