//! Whether there is anything to work with: rspamd runs on both sides, its configuration on new is sound, Redis answers, and
//! its keys are where they are looked for. Every trouble is told at once, with the setting that mends it.

use rehome_sdk::prelude::*;
use serde_json::Value;

use crate::{Config, requests, runs, told};

/// False: so much is wrong that looking further would only repeat it.
pub(crate) fn check(config: &Config, found: &mut Findings) -> Result<bool, Failure> {
    let mut ready = true;
    for side in SIDES {
        if runs(side)? {
            found.ok(format!("rspamd on {side}"), "runs");
        } else {
            found.blocker(format!("rspamd on {side}"), "does not run").hint("systemctl status rspamd");
            ready = false;
        }
    }
    if !config.learned.is_empty() {
        ready &= versions(found)?;
    }
    for side in SIDES {
        let sound = if side == Side::New { told(requests::exec::SOUND.on(side).run())?.map(drop) } else { Ok(()) };
        let classifier = match sound {
            Ok(()) => told(requests::exec::CLASSIFIER.on(side).run())?,
            Err(why) => Err(why),
        };
        match classifier {
            Err((why, _)) => {
                found
                    .blocker(format!("rspamd on {side}"), format!("its configuration is not sound: {why}"))
                    .hint(format!("`rspamadm configtest` on {side} says more"));
                ready = false;
            }
            Ok(_) if config.learned.is_empty() => {}
            Ok(classifier) => {
                backend(side, &section(&classifier.text()), found);
                place(config, side, found)?;
            }
        }
    }
    Ok(ready)
}

/// RESTORE takes what DUMP of the same or an older server made.
fn versions(found: &mut Findings) -> Result<bool, Failure> {
    let mut versions = Vec::new();
    for side in SIDES {
        match told(requests::redis_copy::LEARNED.server_version(side))? {
            Ok(version) => versions.push(version),
            Err((why, remedy)) => {
                let remedy = remedy.unwrap_or("systemctl status redis-server".into());
                found.blocker(format!("Redis on {side}"), why).hint(remedy);
            }
        }
    }
    let [old, new] = versions.as_slice() else { return Ok(false) };
    let major = |version: &str| version.split('.').next().and_then(|text| text.parse::<u32>().ok());
    if major(old) > major(new) {
        let text = format!("is {new}, and {old} on old: an older Redis does not take keys of a newer one");
        found.blocker("Redis on new", text).hint("install a Redis on new that is at least as new as the one on old");
        return Ok(false);
    }
    found.ok("Redis", format!("{old} on old, {new} on new"));
    Ok(true)
}

/// A section of the configuration in effect; `null` where there is none.
pub(crate) fn section(text: &str) -> Value {
    text.find('{').and_then(|at| serde_json::from_str(&text[at..]).ok()).unwrap_or(Value::Null)
}

/// Statistics in SQLite are files, and other ones in each version: they are not moved.
fn backend(side: Side, classifier: &Value, found: &mut Findings) {
    let subject = format!("Bayes classifier on {side}");
    let mut backends = Vec::new();
    texts_of(classifier, "backend", &mut backends);
    match backends.iter().find(|backend| *backend != "redis") {
        Some(other) => {
            let text = format!("keeps what it learned in `{other}`, and not in Redis: it is not moved");
            found.blocker(subject, text).hint(
                "set `backend = \"redis\"` in local.d/classifier-bayes.conf on both sides (`rspamadm statconvert` takes SQLite \
                 along), or leave the training behind with `learned = []` in the plan",
            );
        }
        None if backends.is_empty() => {
            found.warning(subject, "does not say where it keeps what it learned");
        }
        None => {
            found.ok(subject, "keeps what it learned in Redis");
        }
    }
}

/// Every text under this key, however deep: there may be several classifiers.
fn texts_of(value: &Value, key: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                match inner {
                    Value::String(text) if name == key => into.push(text.clone()),
                    Value::Number(number) if name == key => into.push(number.to_string()),
                    _ => texts_of(inner, key, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| texts_of(item, key, into)),
        _ => {}
    }
}

/// rspamd may use another server, or another database, than the ones that are copied.
fn place(config: &Config, side: Side, found: &mut Findings) -> Result<(), Failure> {
    let subject = format!("rspamd's Redis on {side}");
    for request in [requests::exec::REDIS, requests::exec::CLASSIFIER] {
        let section = section(&request.on(side).run()?.text());
        let (mut servers, mut numbers) = (Vec::new(), Vec::new());
        for key in ["servers", "write_servers"] {
            texts_of(&section, key, &mut servers);
        }
        for key in ["db", "dbname"] {
            texts_of(&section, key, &mut numbers);
        }
        if let Some(other) = servers.iter().find(|servers| !is_local(servers)) {
            let text = format!("is `{other}`, and not {side} itself");
            found.warning(subject.clone(), text).hint(format!(
                "keys are copied from the Redis that the plan names in [{side}.redis], by default the one of {side} itself"
            ));
        }
        let copied = |number: &&String| config.databases.iter().any(|copied| copied.to_string() == **number);
        if let Some(other) = numbers.iter().find(|number| !copied(number)) {
            let text = format!("uses database {other}, which is not copied");
            found
                .blocker(subject.clone(), text)
                .hint(format!("set `databases = [{other}]` for this phase in the plan"));
        }
    }
    Ok(())
}

/// "127.0.0.1:6379, localhost": each of them is this machine.
fn is_local(servers: &str) -> bool {
    servers
        .split([',', ';'])
        .map(str::trim)
        .all(|server| ["127.", "localhost", "[::1]", "::1", "/"].iter().any(|local| server.starts_with(local)))
}
