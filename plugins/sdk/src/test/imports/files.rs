//! `wit/files.wit`, answered by the test host: each call is recorded, held to the rules, then answered as scripted.
use super::*;
use crate::files::{Closeness, Comparison, Entry, Path, Space, SyncReport, TouchedFolders};

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

pub(crate) fn sync(name: &str) -> Result<SyncReport, Failure> {
    with(|state| {
        let id = format!("sync.{name}");
        let request = state.manifest().sync.get(name).cloned().ok_or_else(|| missing(&id))?;
        let effect = Effect::Repeatable;
        state.allow(&id, None, &Allowed { on: Vec::new(), effect, verbs: request.verbs })?;
        state.record(&id, &[], effect);
        let scripted = state.reports.next(&id, &[]);
        answered(&id, effect, scripted, || SyncReport {
            examined: 0,
            copied: 0,
            bytes: 0,
            renamed: 0,
            set_aside: 0,
            vanished: 0,
            milliseconds: 0,
            mark: "1".into(),
        })
    })
}

pub(crate) fn compare(name: &str, how: Closeness) -> Result<Comparison, Failure> {
    with(|state| {
        let id = format!("sync.{name}");
        let request = state.manifest().sync.get(name).cloned().ok_or_else(|| missing(&id))?;
        state.allow(&id, None, &Allowed { on: Vec::new(), effect: Effect::Read, verbs: request.verbs })?;
        let what = format!("{id} compare");
        let closely = if how == Closeness::Contents { " contents" } else { "" };
        state.record(&format!("{what}{closely}"), &[], Effect::Read);
        let scripted = state.comparisons.next(&what, &[]);
        answered(&what, Effect::Read, scripted, || unreachable!("a read needs a script"))
    })
}

fn tree(state: &State, name: &str, on: Option<Side>) -> Result<String, Failure> {
    let id = format!("tree.{name}");
    let request = state.manifest().tree.get(name).cloned().ok_or_else(|| missing(&id))?;
    state.allow(&id, on, &Allowed { on: request.on, effect: Effect::Read, verbs: Vec::new() })?;
    Ok(id)
}

pub(crate) fn touched(name: &str, since: Option<&str>) -> Result<TouchedFolders, Failure> {
    with(|state| {
        let what = format!("{} touched", tree(state, name, None)?);
        let values: Vec<String> = since.map(String::from).into_iter().collect();
        state.record(&what, &values, Effect::Read);
        let scripted = state.touched.next(&what, &values);
        let folders = answered(&what, Effect::Read, scripted, Vec::new)?;
        Ok(TouchedFolders { folders, mark: "1".into() })
    })
}

pub(crate) fn list(name: &str, on: Side, below: &[u8], _depth: u32) -> Result<Vec<Entry>, Failure> {
    with(|state| {
        let what = format!("{} on {on} list", tree(state, name, Some(on))?);
        let values = [shown(below)];
        state.record(&what, &values, Effect::Read);
        let scripted = state.entries.next(&what, &values);
        answered(&what, Effect::Read, scripted, Vec::new)
    })
}

pub(crate) fn read(name: &str, on: Side, file: &[u8]) -> Result<Vec<u8>, Failure> {
    with(|state| {
        let what = format!("{} on {on} read", tree(state, name, Some(on))?);
        let values = [shown(file)];
        state.record(&what, &values, Effect::Read);
        let scripted = state.contents.next(&what, &values);
        answered(&what, Effect::Read, scripted, Vec::new)
    })
}

pub(crate) fn free(name: &str, on: Side) -> Result<Space, Failure> {
    with(|state| {
        let what = format!("{} on {on} free", tree(state, name, Some(on))?);
        state.record(&what, &[], Effect::Read);
        let scripted = state.spaces.next(&what, &[]);
        answered(&what, Effect::Read, scripted, || Space { bytes: 0, inodes: 0 })
    })
}

fn file(name: &str, on: Side, verb: &str, rows: &[Vec<String>]) -> Result<(), Failure> {
    with(|state| {
        let id = format!("file.{name}");
        let request = state.manifest().file.get(name).cloned().ok_or_else(|| missing(&id))?;
        let effect = Effect::Repeatable;
        state.allow(&id, Some(on), &Allowed { on: request.on, effect, verbs: request.verbs })?;
        state.rows(&id, request.line.as_deref(), rows)?;
        let what = format!("{id} on {on} {verb}");
        state.record(&what, &[], effect);
        let scripted = state.done.next(&what, &[]);
        answered(&what, effect, scripted, || ())
    })
}

pub(crate) fn put(name: &str, on: Side, rows: &[Vec<String>]) -> Result<(), Failure> {
    file(name, on, "put", rows)
}

pub(crate) fn restore(name: &str, on: Side) -> Result<(), Failure> {
    file(name, on, "restore", &[])
}

pub(crate) fn set_aside(name: &str, on: Side, folders: &[Path]) -> Result<u64, Failure> {
    with(|state| {
        let id = format!("aside.{name}");
        let request = state.manifest().aside.get(name).cloned().ok_or_else(|| missing(&id))?;
        let effect = Effect::Repeatable;
        state.allow(&id, Some(on), &Allowed { on: request.on, effect, verbs: request.verbs })?;
        let what = format!("{id} on {on}");
        let values: Vec<String> = folders.iter().map(|folder| shown(folder)).collect();
        state.record(&what, &values, effect);
        let scripted = state.counts.next(&what, &values);
        answered(&what, effect, scripted, || 0)
    })
}
