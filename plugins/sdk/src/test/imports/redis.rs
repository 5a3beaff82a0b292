//! `wit/redis.wit`.

use rehome_manifest::words::{Effect, SideName};

use super::super::rules::Allowed;
use super::super::{State, with};
use super::{answered, missing};
use crate::redis::{Differences, Tally};
use crate::{Failure, Side};

/// Checks a call of `[redis-copy.NAME]`, and records it.
fn request(state: &mut State, name: &str, side: Option<Side>, what: &str, effect: Effect) -> Result<String, Failure> {
    let id = format!("redis-copy.{name}");
    let Some(request) = state.manifest().redis_copy.get(name).cloned() else { return Err(missing(&id)) };
    let verbs = if effect == Effect::Read { vec![] } else { request.verbs };
    state.allow(&id, side, &Allowed { on: vec![SideName::Old, SideName::New], effect, verbs })?;
    let on = side.map(|side| format!(" on {side}")).unwrap_or_default();
    let key = format!("{id}{on}{what}");
    state.record(&key, &[], effect);
    Ok(key)
}

pub(crate) fn server_version(name: &str, on: Side) -> Result<String, Failure> {
    with(|state| {
        let key = request(state, name, Some(on), " version", Effect::Read)?;
        answered(&key, Effect::Read, state.names.next(&key, &[]), String::new)
    })
}

pub(crate) fn copy(name: &str) -> Result<Vec<Tally>, Failure> {
    with(|state| {
        let key = request(state, name, None, "", Effect::Repeatable)?;
        answered(&key, Effect::Repeatable, state.tallies.next(&key, &[]), Vec::new)
    })
}

pub(crate) fn count(name: &str, on: Side) -> Result<Vec<Tally>, Failure> {
    with(|state| {
        let key = request(state, name, Some(on), " count", Effect::Read)?;
        answered(&key, Effect::Read, state.tallies.next(&key, &[]), Vec::new)
    })
}

pub(crate) fn compare(name: &str) -> Result<Differences, Failure> {
    with(|state| {
        let key = request(state, name, None, " compare", Effect::Read)?;
        let none = || Differences { equal: 0, only_old: 0, only_new: 0, different: 0 };
        answered(&key, Effect::Read, state.compared.next(&key, &[]), none)
    })
}

pub(crate) fn restore(name: &str) -> Result<u64, Failure> {
    with(|state| {
        let key = request(state, name, None, " restore", Effect::Repeatable)?;
        answered(&key, Effect::Repeatable, state.counts.next(&key, &[]), || 0)
    })
}
