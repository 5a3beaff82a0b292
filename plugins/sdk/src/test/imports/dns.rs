//! `wit/dns.wit`.

use rehome_manifest::words::Effect;

use super::super::rules::Allowed;
use super::super::{State, with};
use super::{answered, missing};
use crate::Failure;
use crate::dns::{Answer, Rrset};

fn allowed(effect: Effect, verbs: &[rehome_manifest::words::Verb]) -> Allowed {
    Allowed { on: vec![], effect, verbs: verbs.to_vec() }
}

/// Checks a call of `[record.NAME]`, and records it.
fn record(state: &mut State, name: &str, values: &[String], what: &str, effect: Effect) -> Result<String, Failure> {
    let id = format!("record.{name}");
    let Some(request) = state.manifest().record.get(name).cloned() else { return Err(missing(&id)) };
    let verbs = if effect == Effect::Read { vec![] } else { request.verbs.clone() };
    state.allow(&id, None, &allowed(effect, &verbs))?;
    state.rows(&id, Some(&request.owner), &[values.to_vec()])?;
    let key = format!("{id} {what}");
    state.record(&key, values, effect);
    Ok(key)
}

pub(crate) fn look_up(name: &str, values: &[String]) -> Result<Vec<Answer>, Failure> {
    with(|state| {
        let id = format!("lookup.{name}");
        let Some(request) = state.manifest().lookup.get(name).cloned() else { return Err(missing(&id)) };
        state.rows(&id, Some(&request.owner), &[values.to_vec()])?;
        state.record(&id, values, Effect::Read);
        let scripted = state.answers_of_dns.next(&id, values);
        let answers: Vec<Answer> = answered(&id, Effect::Read, scripted, Vec::new)?;
        let data = answers.iter().filter_map(|answer| answer.rrset.as_ref()).flat_map(|rrset| &rrset.data);
        let last = |data: &String| data.split_whitespace().last().map(|name| name.trim_end_matches('.').to_string());
        let named: Vec<String> = data.filter_map(last).collect();
        state.yielded.entry(id).or_default().extend(named);
        Ok(answers)
    })
}

pub(crate) fn planned(name: &str, values: &[String]) -> Result<Rrset, Failure> {
    with(|state| {
        let key = record(state, name, values, "planned", Effect::Read)?;
        let scripted = state.rrsets.next(&key, values);
        answered(&key, Effect::Read, scripted, nothing)
    })
}

pub(crate) fn update(name: &str, values: &[String], _expected: Option<&Rrset>) -> Result<Rrset, Failure> {
    with(|state| {
        let key = record(state, name, values, "update", Effect::Repeatable)?;
        let scripted = state.rrsets.next(&key, values);
        answered(&key, Effect::Repeatable, scripted, nothing)
    })
}

pub(crate) fn restore(name: &str, values: &[String]) -> Result<(), Failure> {
    with(|state| {
        let key = record(state, name, values, "restore", Effect::Repeatable)?;
        let scripted = state.done.next(&key, values);
        answered(&key, Effect::Repeatable, scripted, || ())
    })
}

fn nothing() -> Rrset {
    Rrset { owner: String::new(), kind: String::new(), ttl: 0, data: vec![] }
}
