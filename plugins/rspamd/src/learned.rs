//! What rspamd has learned: keys of Redis. `learned` is what must not be lost, and is compared; `passing` changes with each
//! mail, and is brought along so that new does not begin as a stranger.
//! Invariant: old is only read; what new held under a key is the host's to put back.

use std::collections::BTreeMap;

use rehome_sdk::amount;
use rehome_sdk::prelude::*;
use rehome_sdk::redis::Differences;
use serde_json::Value;

use crate::{Config, changing, ready, requests, severity, told};

/// Remembered: what old had learned when it was last copied.
const BROUGHT: &str = "learned-by-old";
/// A pass that finds nothing new ends them: old may learn meanwhile.
const PASSES: u32 = 3;
/// rspamd counts anew every half minute or so, each class at its own time; how often it is asked, and how long between.
const ROUNDS: u32 = 18;
const PAUSE_MS: u32 = 5000;

/// How many mails were learned, by class, as `rspamc stat` tells it.
type Learned = BTreeMap<String, u64>;

fn learned(side: Side) -> Result<Learned, Failure> {
    let stat = ready::section(&requests::exec::STAT.on(side).run()?.text());
    let classes = stat.get("statfiles").and_then(Value::as_array).cloned().unwrap_or_default();
    let class = |class: &Value| Some((class.get("symbol")?.as_str()?.to_string(), class.get("revision")?.as_u64()?));
    Ok(classes.iter().filter_map(class).collect())
}

fn words(learned: &Learned) -> String {
    let words: Vec<String> = learned.iter().map(|(class, count)| format!("{class} {count}")).collect();
    if words.is_empty() { "nothing".into() } else { words.join(", ") }
}

fn total(learned: &Learned) -> u64 {
    learned.values().sum()
}

/// What old has, and new has not or has otherwise.
fn behind(differences: &Differences) -> u64 {
    differences.only_old + differences.different
}

pub(crate) fn check(config: &Config, found: &mut Findings) -> Result<(), Failure> {
    if config.learned.is_empty() {
        found.note("what rspamd learned", "is not moved: `learned` is empty in the plan");
        return Ok(());
    }
    let mut counts = Vec::new();
    for side in SIDES {
        match told(learned(side))? {
            Ok(count) => counts.push(count),
            Err((why, _)) => {
                found
                    .warning(format!("rspamd on {side}"), format!("does not tell what it learned: {why}"))
                    .hint("`rspamc stat` asks the controller worker on port 11334: does it listen there?");
            }
        }
    }
    let [old, new] = counts.as_slice() else { return Ok(()) };
    let tallies = requests::redis_copy::LEARNED.count(Side::Old)?;
    let keys: u64 = tallies.iter().map(|tally| tally.keys).sum();
    let subject = "what rspamd learned";
    if keys == 0 && total(old) > 0 {
        found
            .blocker(
                subject,
                format!("old knows {}, but no key there matches {}", words(old), config.learned.join(" ")),
            )
            .hint("`redis-cli -n NUMBER --scan` on old shows its keys: set `databases` or `learned` in the plan");
        return Ok(());
    }
    found.ok(subject, format!("{} on old, in {}; {} on new", words(old), amount(keys, "key", "keys"), words(new)));
    let of_new: u64 = requests::redis_copy::LEARNED.count(Side::New)?.iter().map(|tally| tally.keys).sum();
    let copied_before = journal::recall(BROUGHT)?.is_some();
    if of_new > 0 && !copied_before && behind(&requests::redis_copy::LEARNED.compare()?) > 0 {
        let text =
            format!("new was taught by itself ({}): what old learned takes its place", amount(of_new, "key", "keys"));
        found.warning(subject, text).hint(
            "two trainings cannot be added up. Leave old's behind with `learned = []`, or let it win: undo brings new's back",
        );
    }
    Ok(())
}

pub(crate) fn preview(ctx: &Context<Config>, forecast: &mut Forecast) -> Result<(), Failure> {
    let mut changes = 0;
    if !ctx.config.learned.is_empty() {
        let differences = requests::redis_copy::LEARNED.compare()?;
        changes = behind(&differences);
        if changes > 0 {
            let before = format!("{} as on old", amount(differences.equal, "key", "keys"));
            let after = format!("{} more from old", amount(changes, "key", "keys"));
            forecast.change("what rspamd learned, in Redis on new", before, after);
        }
    }
    if !ctx.config.passing.is_empty() {
        let count = behind(&requests::redis_copy::PASSING.compare()?);
        if count > 0 {
            let text = format!("{} from old: greylisting, replies, reputation", amount(count, "key", "keys"));
            forecast.change("what rspamd knows for a while, in Redis on new", "", text);
        }
        changes += count;
    }
    if ctx.stage == Stage::Cutover && changes > 0 {
        let text = "undo puts back what new knew before, and does not carry it to old";
        forecast.change("what users teach rspamd on new after the cutover", "", text).irreversible();
    }
    Ok(())
}

/// Compares first: what is alike is not copied. Only whether a key expires is compared, not when: times to live that old has
/// moved on since the last copy come with the next key that differs.
pub(crate) fn bring(ctx: &Context<Config>) -> Result<(), Failure> {
    if !ctx.config.learned.is_empty() {
        bring_learned(ctx.stage == Stage::Cutover)?;
    }
    if !ctx.config.passing.is_empty() && behind(&requests::redis_copy::PASSING.compare()?) > 0 {
        changing()?;
        requests::redis_copy::PASSING.run()?;
    }
    Ok(())
}

fn bring_learned(for_good: bool) -> Result<(), Failure> {
    let mut left = behind(&requests::redis_copy::LEARNED.compare()?);
    if left == 0 && !for_good && journal::recall(BROUGHT)?.is_some() {
        return Ok(());
    }
    for _ in 0..PASSES {
        if left == 0 {
            break;
        }
        changing()?;
        let keys: u64 = requests::redis_copy::LEARNED.run()?.iter().map(|tally| tally.keys).sum();
        report::info(&format!("{} of what rspamd learned copied", amount(keys, "key", "keys")));
        left = behind(&requests::redis_copy::LEARNED.compare()?);
    }
    if left > 0 {
        report::warning(&format!(
            "old goes on learning: {} changed while they were copied",
            amount(left, "key", "keys")
        ));
    }
    // Only to judge later differences by: a controller that does not answer is no reason to stop.
    if let Ok(count) = told(learned(Side::Old))? {
        journal::remember(BROUGHT, serde_json::to_string(&count).unwrap_or_default())?;
    }
    Ok(())
}

pub(crate) fn verify(ctx: &Context<Config>, found: &mut Findings) -> Result<(), Failure> {
    if ctx.config.learned.is_empty() {
        return Ok(());
    }
    let differences = requests::redis_copy::LEARNED.compare()?;
    let in_use = ctx.stage == Stage::Cutover && requests::exec::DOVECOT.on(Side::New).run()?.text() == "active";
    let brought: Learned =
        journal::recall_text(BROUGHT)?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let alike = behind(&differences) == 0;
    let (old, new) = counted(|old, new| has(new, &brought) && (in_use || !alike || old == new))?;
    let said = format!(
        "{} alike, {} missing on new, {} different; old knows {}, new {}",
        amount(differences.equal, "key", "keys"),
        differences.only_old,
        differences.different,
        words(&old),
        words(&new)
    );
    let subject = "what rspamd learned";
    let since = !has(&brought, &old);
    if !has(&new, &brought) {
        let text = format!("{said}; old knew {} when it was copied", words(&brought));
        found.add(severity(ctx), subject, text).hint(AGAIN);
    } else if alike && (in_use || old == new) {
        found.ok(subject, said);
    } else if in_use && (since || differences.only_old == 0) {
        found.ok(subject, format!("nothing that was copied is lost on new, which is in use: {said}"));
    } else if in_use || since {
        found.warning(subject, said).hint(AGAIN);
    } else {
        found.add(severity(ctx), subject, said).hint(AGAIN);
    }
    Ok(())
}

const AGAIN: &str = "`rehome apply --again` with this phase copies it once more";

/// Whether a count is nowhere below another.
fn has(count: &Learned, least: &Learned) -> bool {
    least.iter().all(|(class, n)| count.get(class).unwrap_or(&0) >= n)
}

/// What both sides tell, asked until it is as it should be: rspamd is late with its counts.
fn counted(is_right: impl Fn(&Learned, &Learned) -> bool) -> Result<(Learned, Learned), Failure> {
    // A rspamd that was just started does not answer yet: it knows nothing until it does.
    let known = |side| told(learned(side)).map(Result::unwrap_or_default);
    let mut counts = (known(Side::Old)?, known(Side::New)?);
    for _ in 0..ROUNDS {
        if is_right(&counts.0, &counts.1) {
            break;
        }
        clock::sleep(PAUSE_MS)?;
        counts = (known(Side::Old)?, known(Side::New)?);
    }
    Ok(counts)
}

pub(crate) fn back(config: &Config) -> Result<(), Failure> {
    let mut keys = 0;
    if !config.learned.is_empty() {
        keys += requests::redis_copy::LEARNED.restore()?;
    }
    if !config.passing.is_empty() {
        keys += requests::redis_copy::PASSING.restore()?;
    }
    report::info(&format!("{} of Redis on new are what they were", amount(keys, "key", "keys")));
    journal::forget(BROUGHT)
}
