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

pub(crate) mod exec;

pub(crate) mod files;

pub(crate) mod sql;

pub(crate) mod redis;

pub(crate) mod dns;

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
    //! `wit/clock.wit`: time passes only when somebody sleeps, or as the test says.
    use super::*;

    pub(crate) fn now() -> u64 {
        with(|state| state.milliseconds / 1000)
    }

    pub(crate) fn elapsed() -> u64 {
        with(|state| state.milliseconds - state.begun)
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
