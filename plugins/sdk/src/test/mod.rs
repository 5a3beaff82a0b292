//! The test kit: a host for the unit tests of a phase. Answers are scripted per request; calls are recorded in order.
//!
//! ```ignore
//! let mut host = Host::new(requests::MANIFEST);
//! host.exec("active", Side::Old).says("active").says("inactive");     // one answer a call, the last one for ever
//! host.apply::<Greylist>(json!({ "unit": "postgrey.service" })).unwrap();
//! assert_eq!(host.effects(), ["exec.stop on old"]);
//! ```
//!
//! It keeps to the rules a real host keeps: the request must be in the manifest, allowed on that side and under that verb;
//! `check`, `preview` and `verify` only read; a value must fit its hole and come from what a read of the same call yielded.
//! A read without a scripted answer ends the test; an effect without one succeeds and answers nothing.
//! It is a fake, for the unit tests of a phase and nothing else: what a command really does, only a real side shows.

mod calls;
pub(crate) mod imports;
mod rules;
mod script;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;

use rehome_manifest::words::Verb;
use rehome_manifest::{Config, Filled, Manifest};
use serde_json::Value as Json;

pub use calls::Call;
pub use script::Replies;

use crate::bindings::exports::rehome::phase::lifecycle;
use crate::bindings::rehome::phase::operator::Answer;
use crate::bindings::rehome::phase::report::Level;
use crate::dns::{Answer as DnsAnswer, Rrset};
use crate::exec::{Moved, Output};
use crate::files::{Comparison, Entry, Path, Space, SyncReport};
use crate::redis::{Differences, Tally};
use crate::sql::{Copied, Description, Difference, Rows};
use crate::{Context, Failure, Finding, Forecast, Phase, Side, Stage};
use script::Table;

thread_local! {
    static CURRENT: RefCell<Option<State>> = const { RefCell::new(None) };
}

/// A host that answers as scripted.
#[derive(Debug)]
pub struct Host {
    manifest: Manifest,
    state: Option<State>,
    /// the phase's id in the plan; "test" unless set
    pub phase: String,
    /// the stage it stands in; `Stage::Copy` unless set
    pub stage: Stage,
    /// the run of the phase; 1 unless set
    pub run: u32,
}

/// What lasts from one call to the next, and what belongs to the current call.
#[derive(Debug, Default)]
pub(crate) struct State {
    verb: Option<Verb>,
    filled: Option<Filled>,
    calls: Vec<Call>,
    yielded: BTreeMap<String, Vec<String>>,
    journal: BTreeMap<String, Vec<u8>>,
    answers: BTreeMap<String, Answer>,
    milliseconds: u64,
    /// when the current call began
    begun: u64,
    /// how long each request takes
    each_takes: u64,
    log: Vec<(Level, String)>,
    outputs: Table<Output>,
    moved: Table<Moved>,
    reports: Table<SyncReport>,
    comparisons: Table<Comparison>,
    touched: Table<Vec<Path>>,
    entries: Table<Vec<Entry>>,
    contents: Table<Vec<u8>>,
    spaces: Table<Space>,
    done: Table<()>,
    counts: Table<u64>,
    descriptions: Table<Description>,
    rows: Table<Rows>,
    copied: Table<Copied>,
    differences: Table<Vec<Difference>>,
    names: Table<String>,
    answers_of_dns: Table<Vec<DnsAnswer>>,
    rrsets: Table<Rrset>,
    tallies: Table<Vec<Tally>>,
    compared: Table<Differences>,
}

impl Host {
    /// A host for the component with this manifest: `Host::new(requests::MANIFEST)`.
    ///
    /// # Panics
    /// When a real host would refuse the manifest.
    pub fn new(manifest: &str) -> Host {
        let manifest = Manifest::parse(manifest).unwrap_or_else(|why| panic!("the manifest is refused: {why}"));
        let state = State { milliseconds: 1_700_000_000_000, ..State::default() };
        Host { manifest, state: Some(state), phase: "test".into(), stage: Stage::Copy, run: 1 }
    }

    /// Calls `check`, with the plan's config as JSON; keys that are left out have the manifest's defaults.
    pub fn check<P: Phase>(&mut self, config: Json) -> Result<Vec<Finding>, Failure> {
        self.call(Verb::Check, config, P::check)
    }

    /// Calls `preview`.
    pub fn preview<P: Phase>(&mut self, config: Json) -> Result<Forecast, Failure> {
        self.call(Verb::Preview, config, P::preview)
    }

    /// Calls `apply`.
    pub fn apply<P: Phase>(&mut self, config: Json) -> Result<(), Failure> {
        self.call(Verb::Apply, config, P::apply)
    }

    /// Calls `verify`.
    pub fn verify<P: Phase>(&mut self, config: Json) -> Result<Vec<Finding>, Failure> {
        self.call(Verb::Verify, config, P::verify)
    }

    /// Calls `undo`.
    pub fn undo<P: Phase>(&mut self, config: Json) -> Result<(), Failure> {
        self.call(Verb::Undo, config, P::undo)
    }

    fn call<C, T>(
        &mut self,
        verb: Verb,
        config: Json,
        work: impl FnOnce(&Context<C>) -> Result<T, Failure>,
    ) -> Result<T, Failure>
    where
        C: serde::de::DeserializeOwned,
    {
        let given = toml::Table::try_from(&config).expect("config: a JSON object without null");
        let config = Config::check(&self.manifest, &given).unwrap_or_else(|why| panic!("config: {why}"));
        let filled = rehome_manifest::fill(&self.manifest, config).unwrap_or_else(|why| panic!("config: {why}"));
        let raw = lifecycle::Context {
            phase: self.phase.clone(),
            stage: self.stage,
            run: self.run,
            config: filled.config.to_json(),
        };
        let state = self.state();
        state.begun = state.milliseconds;
        state.verb = Some(verb);
        state.filled = Some(filled);
        state.yielded.clear();
        CURRENT.with_borrow_mut(|current| *current = self.state.take());
        let back = Back(&mut self.state);
        let answer = raw.try_into().and_then(|ctx| work(&ctx));
        drop(back);
        answer
    }

    fn state(&mut self) -> &mut State {
        self.state.as_mut().expect("a host whose call panicked is not used again")
    }

    fn seen(&self) -> &State {
        self.state.as_ref().expect("a host whose call panicked is not used again")
    }

    /// Requests in the order they were called, as "exec.stop on old", "exec.resync on new: john@example.org".
    pub fn calls(&self) -> Vec<String> {
        self.seen().calls.iter().map(|call| call.text.clone()).collect()
    }

    /// Those of [`Host::calls`] that change something.
    pub fn effects(&self) -> Vec<String> {
        self.seen().calls.iter().filter(|call| call.is_effect).map(|call| call.text.clone()).collect()
    }

    /// Forgets the calls so far; answers, journal and clock stay.
    pub fn forget_calls(&mut self) {
        self.state().calls.clear();
    }

    /// What the phase reported, as "warning: …".
    pub fn reported(&self) -> Vec<String> {
        let word = |level: &Level| match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        self.seen().log.iter().map(|(level, text)| format!("{}: {text}", word(level))).collect()
    }

    /// What the component remembers under a key.
    pub fn remembered(&self, key: &str) -> Option<String> {
        self.seen().journal.get(key).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// Makes the component remember something, as if an earlier call had.
    pub fn remember(&mut self, key: &str, value: &str) {
        self.state().journal.insert(key.into(), value.as_bytes().to_vec());
    }

    /// Makes the component forget what it remembers under a key.
    pub fn forget(&mut self, key: &str) {
        self.state().journal.remove(key);
    }

    /// The operator answers a question: `host.answer("go-on", &["yes"])`.
    pub fn answer(&mut self, key: &str, values: &[&str]) {
        let at = self.seen().milliseconds / 1000;
        let values = values.iter().map(|value| value.to_string()).collect();
        self.state().answers.insert(key.into(), Answer { values, who: "root@test".into(), at });
    }

    /// Lets so many seconds pass.
    pub fn pass(&mut self, seconds: u64) {
        self.state().milliseconds += seconds * 1000;
    }

    /// From now on each request takes so many milliseconds: for what a phase measures.
    pub fn each_takes(&mut self, milliseconds: u64) {
        self.state().each_takes = milliseconds;
    }

    /// The clock: UTC, seconds since 1970.
    pub fn now(&self) -> u64 {
        self.seen().milliseconds / 1000
    }

    /// Answers of `[exec.NAME]`.
    pub fn exec(&mut self, name: &str, on: Side) -> Replies<'_, Output> {
        self.state().outputs.of(format!("exec.{name} on {on}"))
    }

    /// Answers of `[pipe.NAME]`.
    pub fn pipe(&mut self, name: &str) -> Replies<'_, Moved> {
        self.state().moved.of(format!("pipe.{name}"))
    }

    /// Answers of `[sync.NAME]` when it runs.
    pub fn sync(&mut self, name: &str) -> Replies<'_, SyncReport> {
        self.state().reports.of(format!("sync.{name}"))
    }

    /// Answers of `[sync.NAME]` when it compares.
    pub fn comparison(&mut self, name: &str) -> Replies<'_, Comparison> {
        self.state().comparisons.of(format!("sync.{name} compare"))
    }

    /// What syncs of `[tree.NAME]` touched.
    pub fn touched(&mut self, name: &str) -> Replies<'_, Vec<Path>> {
        self.state().touched.of(format!("tree.{name} touched"))
    }

    /// Entries of `[tree.NAME]`.
    pub fn list(&mut self, name: &str, on: Side) -> Replies<'_, Vec<Entry>> {
        self.state().entries.of(format!("tree.{name} on {on} list"))
    }

    /// Contents of files of `[tree.NAME]`; the closure of [`Replies::by`] gets the path.
    pub fn read(&mut self, name: &str, on: Side) -> Replies<'_, Vec<u8>> {
        self.state().contents.of(format!("tree.{name} on {on} read"))
    }

    /// Space left where `[tree.NAME]` lies.
    pub fn free(&mut self, name: &str, on: Side) -> Replies<'_, Space> {
        self.state().spaces.of(format!("tree.{name} on {on} free"))
    }

    /// Answers of `[file.NAME]`: `what` is "put" or "restore".
    pub fn file(&mut self, name: &str, on: Side, what: &str) -> Replies<'_, ()> {
        self.state().done.of(format!("file.{name} on {on} {what}"))
    }

    /// Answers of `[aside.NAME]`.
    pub fn aside(&mut self, name: &str, on: Side) -> Replies<'_, u64> {
        self.state().counts.of(format!("aside.{name} on {on}"))
    }

    /// Answers of `[schema.NAME]`.
    pub fn schema(&mut self, name: &str, on: Side) -> Replies<'_, Description> {
        self.state().descriptions.of(format!("schema.{name} on {on}"))
    }

    /// Answers of a `[sql.NAME]` that reads.
    pub fn query(&mut self, name: &str, on: Side) -> Replies<'_, Rows> {
        self.state().rows.of(format!("sql.{name} on {on}"))
    }

    /// Answers of a `[sql.NAME]` that changes something: rows changed.
    pub fn statement(&mut self, name: &str, on: Side) -> Replies<'_, u64> {
        self.state().counts.of(format!("sql.{name} on {on}"))
    }

    /// Answers of `[copy.NAME]` when it runs.
    pub fn copy(&mut self, name: &str) -> Replies<'_, Copied> {
        self.state().copied.of(format!("copy.{name}"))
    }

    /// Answers of `[copy.NAME]` when it compares.
    pub fn difference(&mut self, name: &str) -> Replies<'_, Vec<Difference>> {
        self.state().differences.of(format!("copy.{name} compare"))
    }

    /// Answers of `[snapshot.NAME]` when it is taken.
    pub fn snapshot(&mut self, name: &str, on: Side) -> Replies<'_, String> {
        self.state().names.of(format!("snapshot.{name} on {on}"))
    }

    /// The version of Redis on a side, asked with `[redis-copy.NAME]`.
    pub fn redis_version(&mut self, name: &str, on: Side) -> Replies<'_, String> {
        self.state().names.of(format!("redis-copy.{name} on {on} version"))
    }

    /// Answers of `[redis-copy.NAME]` when it copies.
    pub fn redis_copy(&mut self, name: &str) -> Replies<'_, Vec<Tally>> {
        self.state().tallies.of(format!("redis-copy.{name}"))
    }

    /// Answers of `[redis-copy.NAME]` when it counts.
    pub fn redis_count(&mut self, name: &str, on: Side) -> Replies<'_, Vec<Tally>> {
        self.state().tallies.of(format!("redis-copy.{name} on {on} count"))
    }

    /// Answers of `[redis-copy.NAME]` when it compares.
    pub fn redis_difference(&mut self, name: &str) -> Replies<'_, Differences> {
        self.state().compared.of(format!("redis-copy.{name} compare"))
    }

    /// Answers of `[lookup.NAME]`; the closure of [`Replies::by`] gets the values of its holes.
    pub fn lookup(&mut self, name: &str) -> Replies<'_, Vec<DnsAnswer>> {
        self.state().answers_of_dns.of(format!("lookup.{name}"))
    }

    /// Answers of `[record.NAME]`: `what` is "planned" or "update".
    pub fn rrset(&mut self, name: &str, what: &str) -> Replies<'_, Rrset> {
        self.state().rrsets.of(format!("record.{name} {what}"))
    }

    /// Answers of `[record.NAME]` when it is put back.
    pub fn record_restored(&mut self, name: &str) -> Replies<'_, ()> {
        self.state().done.of(format!("record.{name} restore"))
    }

    /// Answers of `[snapshot.NAME]` when it is put back.
    pub fn restored(&mut self, name: &str, on: Side) -> Replies<'_, ()> {
        self.state().done.of(format!("snapshot.{name} on {on} restore"))
    }
}

/// Gives the state back to its host, also when the phase panics.
struct Back<'a>(&'a mut Option<State>);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        *self.0 = CURRENT.with_borrow_mut(Option::take);
    }
}

/// The host whose call is under way on this thread.
pub(crate) fn with<T>(work: impl FnOnce(&mut State) -> T) -> T {
    CURRENT.with_borrow_mut(|current| {
        work(current.as_mut().expect("a phase calls the host only within a call of `test::Host`"))
    })
}
