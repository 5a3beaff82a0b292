//! `wit/exec.wit`, answered by the test host: each call is recorded, held to the rules, then answered as scripted.
use super::*;
use crate::exec::{Moved, Output};
use crate::test::script::ended_badly;
use rehome_manifest::manifest::Exec;

fn request(state: &State, name: &str, on: Side) -> Result<(String, Exec), Failure> {
    let id = format!("exec.{name}");
    let request = state.manifest().exec.get(name).cloned().ok_or_else(|| missing(&id))?;
    let allowed = Allowed { on: request.on.clone(), effect: request.effect, verbs: request.verbs.clone() };
    state.allow(&id, Some(on), &allowed)?;
    Ok((id, request))
}

fn one(state: &mut State, name: &str, on: Side, values: &[String]) -> Result<Output, Failure> {
    let (id, request) = request(state, name, on)?;
    state.holes(&id, &request.argv, values)?;
    let what = format!("{id} on {on}");
    state.record(&what, values, request.effect);
    let nothing = || Output { status: 0, stdout: Vec::new(), stderr: Vec::new() };
    let scripted = state.outputs.next(&what, values);
    let output = answered(&what, request.effect, scripted, nothing)?;
    if !request.ok.contains(&output.status) {
        return Err(ended_badly(&id, &output));
    }
    state.keep_output(&id, request.yields.as_deref(), &output.stdout);
    Ok(output)
}

pub(crate) fn run(name: &str, on: Side, values: &[String]) -> Result<Output, Failure> {
    with(|state| one(state, name, on, values))
}

pub(crate) fn run_each(name: &str, on: Side, rows: &[Vec<String>]) -> Result<Vec<Result<Output, Failure>>, Failure> {
    with(|state| {
        request(state, name, on)?;
        Ok(rows.iter().map(|values| one(state, name, on, values)).collect())
    })
}

pub(crate) fn run_with_rows(name: &str, on: Side, values: &[String], rows: &[Vec<String>]) -> Result<Output, Failure> {
    with(|state| {
        let (id, request) = request(state, name, on)?;
        state.rows(&id, request.rows.as_deref(), rows)?;
        one(state, name, on, values)
    })
}

pub(crate) fn pipe(name: &str) -> Result<Moved, Failure> {
    with(|state| {
        let id = format!("pipe.{name}");
        let request = state.manifest().pipe.get(name).cloned().ok_or_else(|| missing(&id))?;
        state.allow(&id, None, &Allowed { on: Vec::new(), effect: request.effect, verbs: request.verbs })?;
        state.record(&id, &[], request.effect);
        let scripted = state.moved.next(&id, &[]);
        answered(&id, request.effect, scripted, || Moved { bytes: 0, source_status: 0, sink_status: 0 })
    })
}
