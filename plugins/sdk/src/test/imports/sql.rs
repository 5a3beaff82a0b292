//! `wit/sql.wit`, answered by the test host: each call is recorded, held to the rules, then answered as scripted.
use super::*;
use crate::sql::{Copied, Description, Difference, Rows, Value};
use rehome_manifest::manifest::Sql;

pub(crate) fn describe(name: &str, on: Side) -> Result<Description, Failure> {
    with(|state| {
        let id = format!("schema.{name}");
        let request = state.manifest().schema.get(name).cloned().ok_or_else(|| missing(&id))?;
        state.allow(&id, Some(on), &Allowed { on: request.on, effect: Effect::Read, verbs: Vec::new() })?;
        let what = format!("{id} on {on}");
        state.record(&what, &[], Effect::Read);
        let scripted = state.descriptions.next(&what, &[]);
        answered(&what, Effect::Read, scripted, || unreachable!("a read needs a script"))
    })
}

fn request(state: &mut State, name: &str, on: Side, values: &[Value]) -> Result<(String, Sql), Failure> {
    let id = format!("sql.{name}");
    let request = state.manifest().sql.get(name).cloned().ok_or_else(|| missing(&id))?;
    let allowed = Allowed { on: request.on.clone(), effect: request.effect, verbs: request.verbs.clone() };
    state.allow(&id, Some(on), &allowed)?;
    let values: Vec<String> = values.iter().map(|value| value.to_text().unwrap_or("NULL".into())).collect();
    state.record(&format!("{id} on {on}"), &values, request.effect);
    Ok((id, request))
}

pub(crate) fn query(name: &str, on: Side, values: &[Value]) -> Result<Rows, Failure> {
    with(|state| {
        let (id, request) = request(state, name, on, values)?;
        let what = format!("{id} on {on}");
        let scripted = state.rows.next(&what, &[]);
        let rows = answered(&what, Effect::Read, scripted, || Rows { columns: Vec::new(), rows: Vec::new() })?;
        state.keep_rows(&id, request.yields.as_deref(), &rows);
        Ok(rows)
    })
}

pub(crate) fn execute(name: &str, on: Side, values: &[Value]) -> Result<u64, Failure> {
    with(|state| {
        let (id, request) = request(state, name, on, values)?;
        let what = format!("{id} on {on}");
        let scripted = state.counts.next(&what, &[]);
        answered(&what, request.effect, scripted, || 0)
    })
}

pub(crate) fn copy(name: &str) -> Result<Copied, Failure> {
    with(|state| {
        let id = format!("copy.{name}");
        let request = state.manifest().copy.get(name).cloned().ok_or_else(|| missing(&id))?;
        state.allow(&id, None, &Allowed { on: Vec::new(), effect: request.effect, verbs: request.verbs })?;
        state.record(&id, &[], request.effect);
        let scripted = state.copied.next(&id, &[]);
        answered(&id, request.effect, scripted, || Copied { tables: Vec::new(), milliseconds: 0 })
    })
}

pub(crate) fn compare(name: &str) -> Result<Vec<Difference>, Failure> {
    with(|state| {
        let id = format!("copy.{name}");
        let request = state.manifest().copy.get(name).cloned().ok_or_else(|| missing(&id))?;
        state.allow(&id, None, &Allowed { on: Vec::new(), effect: Effect::Read, verbs: request.verbs })?;
        let what = format!("{id} compare");
        state.record(&what, &[], Effect::Read);
        let scripted = state.differences.next(&what, &[]);
        answered(&what, Effect::Read, scripted, Vec::new)
    })
}

fn snapshot_request(state: &State, name: &str, on: Side) -> Result<String, Failure> {
    let id = format!("snapshot.{name}");
    let request = state.manifest().snapshot.get(name).cloned().ok_or_else(|| missing(&id))?;
    state.allow(&id, Some(on), &Allowed { on: request.on, effect: Effect::Repeatable, verbs: Vec::new() })?;
    Ok(id)
}

pub(crate) fn snapshot(name: &str, on: Side) -> Result<String, Failure> {
    with(|state| {
        let what = format!("{} on {on}", snapshot_request(state, name, on)?);
        state.record(&what, &[], Effect::Repeatable);
        let scripted = state.names.next(&what, &[]);
        answered(&what, Effect::Repeatable, scripted, || "snapshot-1".into())
    })
}

pub(crate) fn restore(name: &str, on: Side, snapshot: &str) -> Result<(), Failure> {
    with(|state| {
        let what = format!("{} on {on} restore", snapshot_request(state, name, on)?);
        let values = [snapshot.to_string()];
        state.record(&what, &values, Effect::Repeatable);
        let scripted = state.done.next(&what, &values);
        answered(&what, Effect::Repeatable, scripted, || ())
    })
}
