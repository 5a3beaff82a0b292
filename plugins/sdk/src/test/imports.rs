//! The functions of the contract, answered by the test host: same names, same signatures as the generated ones.
//! Each one records the call, keeps the rules, then takes the scripted answer.

use rehome_manifest::words::Effect;

use super::rules::Allowed;
use super::{State, with};
use crate::{Failure, Side};

/// The answer that was scripted; a read needs one, an effect succeeds without.
fn answered<T>(
    what: &str,
    effect: Effect,
    scripted: Option<Result<T, Failure>>,
    nothing: impl FnOnce() -> T,
) -> Result<T, Failure> {
    match scripted {
        Some(answer) => answer,
        None if effect == Effect::Read => panic!("the test scripted no answer for `{what}`"),
        None => Ok(nothing()),
    }
}

fn missing(id: &str) -> Failure {
    Failure::Denied(format!("`{id}` is not in the manifest"))
}

pub(crate) mod exec {
    //! `wit/exec.wit`.
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

    pub(crate) fn run_each(
        name: &str,
        on: Side,
        rows: &[Vec<String>],
    ) -> Result<Vec<Result<Output, Failure>>, Failure> {
        with(|state| {
            request(state, name, on)?;
            Ok(rows.iter().map(|values| one(state, name, on, values)).collect())
        })
    }

    pub(crate) fn run_with_rows(
        name: &str,
        on: Side,
        values: &[String],
        rows: &[Vec<String>],
    ) -> Result<Output, Failure> {
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
}

pub(crate) mod files {
    //! `wit/files.wit`.
    use super::*;
    use crate::files::{Closeness, Comparison, Entry, Path, Space, SyncReport};

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

    pub(crate) fn compare(name: &str, _how: Closeness) -> Result<Comparison, Failure> {
        with(|state| {
            let id = format!("sync.{name}");
            let request = state.manifest().sync.get(name).cloned().ok_or_else(|| missing(&id))?;
            state.allow(&id, None, &Allowed { on: Vec::new(), effect: Effect::Read, verbs: request.verbs })?;
            let what = format!("{id} compare");
            state.record(&what, &[], Effect::Read);
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

    pub(crate) fn touched(name: &str, since: Option<&str>) -> Result<Vec<Path>, Failure> {
        with(|state| {
            let what = format!("{} touched", tree(state, name, None)?);
            let values: Vec<String> = since.map(String::from).into_iter().collect();
            state.record(&what, &values, Effect::Read);
            let scripted = state.touched.next(&what, &values);
            answered(&what, Effect::Read, scripted, Vec::new)
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
}

pub(crate) mod sql {
    //! `wit/sql.wit`.
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
}

pub(crate) mod redis {
    //! `wit/redis.wit`: unsupported, as in this version of the host.
    use super::*;
    use crate::redis::{Differences, Tally};

    fn unsupported<T>() -> Result<T, Failure> {
        Err(Failure::Unsupported("this version has no Redis client".into()))
    }

    pub(crate) fn server_version(_on: Side) -> Result<String, Failure> {
        unsupported()
    }
    pub(crate) fn copy(_name: &str) -> Result<Vec<Tally>, Failure> {
        unsupported()
    }
    pub(crate) fn count(_name: &str, _on: Side) -> Result<Vec<Tally>, Failure> {
        unsupported()
    }
    pub(crate) fn compare(_name: &str) -> Result<Differences, Failure> {
        unsupported()
    }
}

pub(crate) mod dns {
    //! `wit/dns.wit`: unsupported, as in this version of the host.
    use super::*;
    use crate::dns::{Answer, Rrset};

    fn unsupported<T>() -> Result<T, Failure> {
        Err(Failure::Unsupported("this version has no DNS client".into()))
    }

    pub(crate) fn look_up(_owner: &str, _kind: &str) -> Result<Vec<Answer>, Failure> {
        unsupported()
    }
    pub(crate) fn planned(_name: &str, _values: &[String]) -> Result<Rrset, Failure> {
        unsupported()
    }
    pub(crate) fn update(_name: &str, _values: &[String], _expected: Option<&Rrset>) -> Result<Rrset, Failure> {
        unsupported()
    }
    pub(crate) fn restore(_name: &str, _values: &[String]) -> Result<(), Failure> {
        unsupported()
    }
}

pub(crate) mod operator {
    //! `wit/operator.wit`.
    use super::*;
    use crate::operator::Answer;
    use crate::{Gate, stopped};

    fn answer(key: &str) -> Result<Answer, Failure> {
        with(|state| {
            let id = format!("question.{key}");
            if !state.manifest().question.contains_key(key) {
                return Err(missing(&id));
            }
            state.record(&id, &[], Effect::Read);
            state.answers.get(key).cloned().ok_or_else(|| Failure::Waiting(Gate::Question(key.to_string())))
        })
    }

    pub(crate) fn confirm(key: &str, _question: &str) -> Result<Answer, Failure> {
        let answer = answer(key)?;
        if answer.values == ["yes"] { Ok(answer) } else { Err(stopped(key, "the operator said no")) }
    }

    pub(crate) fn choose(key: &str, _question: &str, options: &[String]) -> Result<Answer, Failure> {
        let answer = answer(key)?;
        match answer.values.iter().find(|value| !options.contains(value)) {
            Some(value) => Err(Failure::RefusedValue(format!("`{value}` is none of the options of `{key}`"))),
            None => Ok(answer),
        }
    }

    pub(crate) fn wait_until(_key: &str, moment: u64) -> Result<(), Failure> {
        let now = super::clock::now();
        if now < moment { Err(Failure::Waiting(Gate::Moment(moment))) } else { Ok(()) }
    }
}

pub(crate) mod journal {
    //! `wit/journal.wit`.
    use super::*;
    use crate::journal::Settlement;

    pub(crate) fn remember(key: &str, value: &[u8]) -> Result<(), Failure> {
        with(|state| {
            state.allow_effect("journal.remember", Effect::Repeatable)?;
            if key.len() > 200 || value.len() > 64 * 1024 {
                return Err(Failure::OverLimit(format!("journal key `{key}`: {} bytes", value.len())));
            }
            state.journal.insert(key.to_string(), value.to_vec());
            Ok(())
        })
    }

    pub(crate) fn recall(key: &str) -> Result<Option<Vec<u8>>, Failure> {
        with(|state| Ok(state.journal.get(key).cloned()))
    }

    pub(crate) fn settle(effect_id: u64, _how: Settlement) -> Result<(), Failure> {
        Err(Failure::NotFound(format!("effect {effect_id} is not open in this phase")))
    }
}

pub(crate) mod report {
    //! `wit/report.wit`.
    use super::*;
    use crate::report::Level;

    pub(crate) fn log(level: Level, text: &str) {
        with(|state| state.log.push((level, text.to_string())));
    }

    pub(crate) fn progress(_done: u64, _total: Option<u64>, _what: &str) {}
}

pub(crate) mod clock {
    //! `wit/clock.wit`: time passes only when somebody sleeps.
    use super::*;

    pub(crate) fn now() -> u64 {
        with(|state| state.milliseconds / 1000)
    }

    pub(crate) fn sleep(milliseconds: u32) -> Result<(), Failure> {
        if milliseconds > 60_000 {
            return Err(Failure::RefusedValue(format!("sleep: {milliseconds} ms is more than 60,000")));
        }
        with(|state| state.milliseconds += u64::from(milliseconds));
        Ok(())
    }

    /// Always the same bytes: a test that passes once passes again.
    pub(crate) fn random(length: u32) -> Vec<u8> {
        (0..length.min(4096)).map(|at| at as u8).collect()
    }
}
