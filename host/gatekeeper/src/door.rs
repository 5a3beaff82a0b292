//! The door. A session is one call of one phase; each capability's function comes through `pass` (requests) or `free`
//! (clock, report, recall: nothing leaves the host). Invariant: no `Permit`, no side; no permit for an effect before its intent
//! is durable and the fence has held.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Instant;

use rehome_manifest::{Filled, Request};
use rehome_remote::{Command, Side};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Clock;
use crate::host::{Event, Host, failure};
use crate::journal::{EffectKey, JournalError, State, now_ms};
use crate::receipts::Receipt;
use crate::types::{Effect, ExecOutput, Failure, SideName, Verb};

/// Whose call it is.
#[derive(Clone, Debug)]
pub struct Scope {
    /// the phase's id in the plan
    pub phase: String,
    /// the component's name: what it remembers is kept under it
    pub component: String,
    /// which deliberate run
    pub run: u32,
    /// what the phase is called for
    pub verb: Verb,
    /// how to approve what is not approved: shown with a denial
    pub approve: String,
}

/// One call of one phase.
pub struct Session {
    host: Arc<Host>,
    scope: Scope,
    filled: Arc<Filled>,
    /// ids of granted requests
    grants: BTreeSet<String>,
    /// what `yields` requests gave in this call, by request id
    observed: StdMutex<BTreeMap<String, BTreeSet<String>>>,
    begun: Instant,
    calls: AtomicU64,
    pub(crate) lines: AtomicU64,
}

/// What a capability is about to do.
pub(crate) struct Call<'a> {
    /// "exec.stop"
    pub request: &'a str,
    pub side: Option<SideName>,
    /// what fills its holes, as journaled and shown
    pub values: &'a [String],
    /// a hash of further input, if there is any
    pub input: Option<String>,
}

/// Leave to reach the sides for one request. Only the door makes one.
pub(crate) struct Permit {
    host: Arc<Host>,
    /// the number of an effect that must not be done twice
    once: Option<u64>,
    /// set when a side could not be reached at all, or was not ours any more: then nothing was begun there
    unreached: Arc<AtomicBool>,
}

impl Permit {
    pub(crate) fn host(&self) -> &Arc<Host> {
        &self.host
    }
    /// A command as it is to be run on a connected side: one that must not be run twice leaves a receipt there.
    pub(crate) fn for_good(&self, at: &Side, side: SideName, command: Command) -> Command {
        match (self.once, self.host.receipts()) {
            (Some(effect), Some(receipts)) => receipts.around(at, side, effect, command),
            _ => command,
        }
    }
    /// The side, connected. A capability asks for all it needs before it begins anything on one of them.
    pub(crate) async fn side(&self, side: SideName) -> Result<Side, Failure> {
        let reached = self.host.side(self, side).await;
        self.unreached.store(reached.is_err(), Ordering::Relaxed);
        reached
    }
}

impl Session {
    /// A session for one call. `grants` are the ids that `plan.lock` lists for this phase.
    pub fn new(host: Arc<Host>, scope: Scope, filled: Arc<Filled>, grants: BTreeSet<String>) -> Session {
        let observed = StdMutex::new(BTreeMap::new());
        let (begun, calls, lines) = (Instant::now(), AtomicU64::new(0), AtomicU64::new(0));
        Session { host, scope, filled, grants, observed, begun, calls, lines }
    }

    /// Whose call it is.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// How many calls the phase has made so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.host.clock
    }
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }
    pub(crate) fn filled(&self) -> &Filled {
        &self.filled
    }
    pub(crate) fn tell(&self, event: Event) {
        self.host.observer.event(event);
    }
    pub(crate) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// For functions that reach no side: counted, never denied.
    pub(crate) fn free(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// What `yields` requests gave in this call.
    pub(crate) fn observed(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, BTreeSet<String>>> {
        self.observed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The one way to a side: granted? allowed under this verb? done already? intent → `act` → outcome.
    pub(crate) async fn pass<T, F, Act>(&self, call: Call<'_>, act: Act) -> Result<T, Failure>
    where
        T: Serialize + DeserializeOwned + Default + Send,
        F: Future<Output = Result<T, Failure>> + Send,
        Act: FnOnce(Permit) -> F + Send,
    {
        self.free();
        self.pass_for(call, None, act).await
    }

    /// `pass` for a call that only looks, whatever its request is for: comparing what a copy or a sync would change.
    pub(crate) async fn pass_as_read<T, F, Act>(&self, call: Call<'_>, act: Act) -> Result<T, Failure>
    where
        T: Serialize + DeserializeOwned + Default + Send,
        F: Future<Output = Result<T, Failure>> + Send,
        Act: FnOnce(Permit) -> F + Send,
    {
        self.free();
        self.pass_for(call, Some(Effect::Read), act).await
    }

    async fn pass_for<T, F, Act>(&self, call: Call<'_>, looks: Option<Effect>, act: Act) -> Result<T, Failure>
    where
        T: Serialize + DeserializeOwned + Default + Send,
        F: Future<Output = Result<T, Failure>> + Send,
        Act: FnOnce(Permit) -> F + Send,
    {
        let key = self.key(&call);
        let request = match self.admit(&call, looks) {
            Ok(request) => request,
            Err(failure) => {
                self.journaled(
                    self.host.journal.note(key, "refused", State::Refused, Some(failure.to_string()), now_ms()).await,
                )?;
                return Err(failure);
            }
        };
        let effect = looks.unwrap_or(request.effect);
        if effect == Effect::Once
            && let Some(answer) = self.already(&key, request).await?
        {
            return Ok(answer);
        }
        self.tell(Event::Began {
            phase: self.scope.phase.clone(),
            verb: self.scope.verb,
            request: call.request.to_string(),
            side: call.side,
            values: call.values.to_vec(),
            effect,
        });
        let (begun, at) = (Instant::now(), now_ms());
        let id = match effect {
            Effect::Read => None,
            effect => Some(self.journaled(self.host.journal.intent(&key, effect.as_str()).await)?),
        };
        let unreached = Arc::new(AtomicBool::new(false));
        let held = if id.is_some() { self.host.hold(effect).await } else { Ok(()) };
        let mut result = match held {
            Ok(()) => {
                let once = id.filter(|_| effect == Effect::Once);
                act(Permit { host: self.host.clone(), once, unreached: unreached.clone() }).await
            }
            Err(failure) => {
                unreached.store(true, Ordering::Relaxed);
                Err(failure)
            }
        };
        let ended = Event::Ended {
            phase: self.scope.phase.clone(),
            request: call.request.to_string(),
            milliseconds: begun.elapsed().as_millis() as u64,
            failure: result.as_ref().err().map(ToString::to_string),
        };
        match id {
            None => {
                let (state, failure) = match &result {
                    Ok(_) => (State::Done, None),
                    Err(failure) => (State::Failed, Some(failure.to_string())),
                };
                self.journaled(self.host.journal.note(key, "read", state, failure, at).await)?;
            }
            Some(id) => {
                let begun = !unreached.load(Ordering::Relaxed);
                result = self.record(id, request, &call, result, begun).await;
            }
        }
        self.tell(ended);
        result
    }

    /// Records that something was refused that needs no request; the answer to give.
    pub(crate) async fn refuse(&self, what: &str, failure: Failure) -> Failure {
        let key = self.key(&Call { request: what, side: None, values: &[], input: None });
        let noted = self.host.journal.note(key, "refused", State::Refused, Some(failure.to_string()), now_ms()).await;
        self.journaled(noted).err().unwrap_or(failure)
    }

    fn key(&self, call: &Call<'_>) -> EffectKey {
        let values = match &call.input {
            None => serde_json::json!(call.values),
            Some(hash) => serde_json::json!({ "values": call.values, "input": hash }),
        };
        EffectKey {
            phase: self.scope.phase.clone(),
            run: self.scope.run,
            verb: self.scope.verb,
            request: call.request.to_string(),
            side: call.side,
            values: values.to_string(),
        }
    }

    /// Granted, on this side, under this verb?
    fn admit(&self, call: &Call<'_>, looks: Option<Effect>) -> Result<&Request, Failure> {
        let Scope { phase, component, verb, .. } = &self.scope;
        if self.filled.left_out.contains(call.request) {
            return Err(Failure::Denied(format!(
                "phase `{phase}` asked for `{}`, which component `{component}` requests only under another config; \
                 nothing was done",
                call.request
            )));
        }
        let Some(request) = self.filled.requests.get(call.request) else {
            return Err(Failure::Denied(format!(
                "phase `{phase}` asked for `{}`, which is not in the manifest of component `{component}`\n\
                 nothing was done; no approval can grant it: the component itself must request it",
                call.request
            )));
        };
        if !self.grants.contains(&request.id) {
            return Err(Failure::Denied(format!(
                "phase `{phase}` asked for `{}`, which is not approved:\n  {}\nnothing was done; to approve it: {}",
                request.id,
                request.text.replace('\n', "\n  "),
                self.scope.approve
            )));
        }
        if let Some(side) = call.side
            && !request.on.contains(&side)
        {
            return Err(Failure::Denied(format!("`{}` is not requested for {side}", request.id)));
        }
        if looks == Some(Effect::Read) {
            return Ok(request);
        }
        if verb.only_reads() && request.effect != Effect::Read {
            return Err(Failure::ReadOnly(format!(
                "phase `{phase}` asked for `{}` under `{verb}`, and its effect is `{}`; nothing was done",
                request.id, request.effect
            )));
        }
        if !request.verbs.is_empty() && !request.verbs.contains(verb) {
            let verbs: Vec<&str> = request.verbs.iter().map(|verb| verb.as_str()).collect();
            return Err(Failure::ReadOnly(format!(
                "`{}` is only for {}, not for `{verb}`",
                request.id,
                verbs.join(" and ")
            )));
        }
        Ok(request)
    }

    /// What a `once` effect answered, if it was done in this run; an error if nobody knows.
    async fn already<T>(&self, key: &EffectKey, request: &Request) -> Result<Option<T>, Failure>
    where
        T: DeserializeOwned + Default,
    {
        let Some(effect) = self.journaled(self.host.journal.last_effect(key).await)? else { return Ok(None) };
        match effect.state {
            State::Done => Ok(Some(answered(effect.outcome.as_deref()))),
            State::Failed | State::Refused => Ok(None),
            State::Begun | State::Unknown => match self.by_receipt(effect.id, key, request).await? {
                Known::Done(outcome) => Ok(Some(answered(Some(&outcome)))),
                Known::Failed => Ok(None),
                Known::Nothing => Err(self.unknown(effect.id, key)),
            },
        }
    }

    /// What the side itself knows of a command of which nobody heard the end; the journal knows it then, too.
    async fn by_receipt(&self, id: u64, key: &EffectKey, request: &Request) -> Result<Known, Failure> {
        let exec = request.id.strip_prefix("exec.").and_then(|name| self.filled.manifest.exec.get(name));
        let (Some(exec), Some(side), Some(receipts)) = (exec, key.side, self.host.receipts()) else {
            return Ok(Known::Nothing);
        };
        self.host.hold(Effect::Once).await?;
        let at = self.host.connect(side).await.map_err(|error| failure(&request.id, error))?;
        let patience = crate::exec::time(&request.id, &exec.timeout)?;
        let journal = &self.host.journal;
        let failed = |why: String| async move {
            self.journaled(journal.outcome(id, State::Failed, None, Some(&why)).await)?;
            Ok(Known::Failed)
        };
        match receipts.look(&at, side, id, patience).await? {
            Some(Receipt::NotBegun) => failed(format!("{side} says that it never began")).await,
            Some(Receipt::Ended { status, .. }) if !exec.ok.contains(&status) => {
                failed(format!("{side} says that it ended with status {status}")).await
            }
            Some(Receipt::Ended { status, stdout: Some(stdout) }) => {
                let outcome = serde_json::to_string(&ExecOutput { status, stdout, stderr: Vec::new() });
                let outcome = outcome.map_err(|error| Failure::other("journal", error))?;
                self.journaled(journal.outcome(id, State::Done, Some(&outcome), None).await)?;
                Ok(Known::Done(outcome))
            }
            _ => Ok(Known::Nothing),
        }
    }

    fn unknown(&self, id: u64, key: &EffectKey) -> Failure {
        let values = serde_json::from_str(&key.values).unwrap_or_else(|_| vec![key.values.clone()]);
        Failure::OutcomeUnknown { effect_id: id, request: key.request.clone(), values }
    }

    async fn record<T: Serialize>(
        &self,
        id: u64,
        request: &Request,
        call: &Call<'_>,
        result: Result<T, Failure>,
        begun: bool,
    ) -> Result<T, Failure> {
        let journal = &self.host.journal;
        match result {
            Ok(answer) => {
                let outcome =
                    (request.effect == Effect::Once).then(|| serde_json::to_string(&answer).unwrap_or_default());
                self.journaled(journal.outcome(id, State::Done, outcome.as_deref(), None).await)?;
                Ok(answer)
            }
            // Only these leave it open whether a `once` effect is there; whatever a tool itself said is an answer.
            Err(failure @ (Failure::Unreachable(_) | Failure::OverLimit(_)))
                if request.effect == Effect::Once && begun =>
            {
                self.journaled(journal.outcome(id, State::Unknown, None, Some(&failure.to_string())).await)?;
                Err(self.unknown(id, &self.key(call)))
            }
            Err(failure) => {
                self.journaled(journal.outcome(id, State::Failed, None, Some(&failure.to_string())).await)?;
                Err(failure)
            }
        }
    }

    /// Without its journal rehome does nothing: what cannot be recorded is not done.
    pub(crate) fn journaled<T>(&self, result: Result<T, JournalError>) -> Result<T, Failure> {
        result.map_err(|error| Failure::other("journal", error))
    }
}

/// What is known of an effect whose end nobody heard.
enum Known {
    /// it answered this, as the journal has it
    Done(String),
    /// it was not done, or failed: it may be done again
    Failed,
    Nothing,
}

fn answered<T: DeserializeOwned + Default>(outcome: Option<&str>) -> T {
    outcome.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}
