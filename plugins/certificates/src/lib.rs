//! The certificates phase: certbot's tree goes from old to new, and every name that is used is looked for in a certificate.
//! Invariant: private keys go from side to side and never come in here; what new had is kept until undo, or for good.
//! `before` is `check`, `copy` is `apply` and `undo`, `served` asks what new's services really serve.

mod before;
mod certificate;
mod copy;
mod lineage;
mod names;
mod renewal;
mod served;

use std::fmt;

use rehome_sdk::prelude::*;

use lineage::Lineage;

rehome_sdk::manifest!();
rehome_sdk::phase!(Certificates);

/// The phase.
#[derive(Debug)]
pub struct Certificates;

/// What a plan sets.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Config {
    path: String,
    names: Vec<String>,
    ports: Vec<u16>,
    smtp_ports: Vec<u16>,
    /// seconds
    expires_soon: u64,
    services: Vec<String>,
    kept: String,
    domains: Vec<String>,
}

/// Certbot's tree on a side, as messages call it.
struct Tree<'a>(&'a Config, Side);

impl fmt::Display for Tree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.0.path, self.1)
    }
}

impl Phase for Certificates {
    type Config = Config;

    fn check(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let mut found = Findings::new();
        before::check(&ctx.config, &mut found)?;
        Ok(found.into())
    }

    fn preview(ctx: &Context<Config>) -> Result<Forecast, Failure> {
        let mut forecast = Forecast::default();
        copy::preview(&ctx.config, &mut forecast)?;
        Ok(forecast)
    }

    fn apply(ctx: &Context<Config>) -> Result<(), Failure> {
        copy::apply(&ctx.config)
    }

    fn verify(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let config = &ctx.config;
        let mut found = Findings::new();
        if !lineage::tree_is_there(Side::Old)? {
            found.note(Tree(config, Side::Old).to_string(), "is not there: no certificate was moved");
            return Ok(found.into());
        }
        let of_new = lineage::all(config, Side::New)?;
        compared(config, &lineage::all(config, Side::Old)?, &of_new, &mut found)?;
        served::verify(config, &names::of(config)?, &of_new, &mut found)?;
        Ok(found.into())
    }

    fn undo(ctx: &Context<Config>) -> Result<(), Failure> {
        copy::undo(&ctx.config)
    }
}

const AGAIN: &str = "rehome apply --again, with the id of this phase";

/// Each certificate of old is on new, or a later one that new got by itself; and the rest of the tree is the same.
fn compared(config: &Config, of_old: &[Lineage], of_new: &[Lineage], found: &mut Findings) -> Result<(), Failure> {
    let mut renewed = Vec::new();
    for one in of_old {
        let subject = format!("certificate {} on new", one.name);
        let Some(own) = of_new.iter().find(|own| own.name == one.name) else {
            found.blocker(subject, "is not there").hint(AGAIN);
            continue;
        };
        if copy::was_renewed(own)? {
            let words = own.certificate.as_ref().map_or_else(Clone::clone, |it| it.words());
            found.ok(subject, format!("was renewed there since: {words}"));
            renewed.push(one.name.as_str());
        } else if copy::is_same(own, one) {
            found.ok(subject, "is that of old");
        } else {
            found.blocker(subject, "is another one than on old").hint(AGAIN);
        }
    }
    the_rest(config, &renewed, found)
}

/// How many differences a comparison names; beyond that, it only counts.
const NAMED: usize = 50;

/// The tree by its contents, but for what a renewal on new changes: links, archive and settings of its own name.
fn the_rest(config: &Config, renewed: &[&str], found: &mut Findings) -> Result<(), Failure> {
    let differ = requests::sync::CERTIFICATES.compare_contents()?;
    let of_renewed = |example: &str| {
        let place = |part: &str| renewed.iter().any(|name| example.starts_with(&format!("{part}/{name}")));
        ["live", "archive", "renewal"].into_iter().any(place)
    };
    let matters = |example: &&String| {
        // Another certificate of new's own changes the time of a folder, and nothing else.
        !example.ends_with(": time") && !example.ends_with("only on the target") && !of_renewed(example)
    };
    let wrong: Vec<&str> = differ.examples.iter().filter(matters).map(String::as_str).collect();
    let subject = Tree(config, Side::New).to_string();
    if wrong.is_empty() && differ.examples.len() < NAMED {
        let count = rehome_sdk::amount(differ.examined, "entry", "entries");
        found.ok(subject, format!("{count} compared by content: all of old's is there"));
    } else {
        let text = format!("{} missing, {} different: {}", differ.missing, differ.different, wrong.join("; "));
        found.blocker(subject, text).hint(AGAIN);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
