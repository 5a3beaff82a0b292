//! One call of a phase: a fresh store, a fresh instance, one export. Invariant: nothing of a call survives it, and it ends
//! in an answer, in a failure of the contract, or in `CallError::Trap`; never in a panic of the host.

use std::sync::Arc;

use async_trait::async_trait;
use rehome_gatekeeper::types::{Answer, Context, Failure, Verb};
use rehome_gatekeeper::{CallError, Component, Session};
use wasmtime::Store;

use crate::bindings::exports::rehome::phase::lifecycle;
use crate::convert::findings;
use crate::guest::Guest;
use crate::limits;
use crate::load::Loaded;
use crate::trap::trapped;

#[async_trait]
impl Component for Loaded {
    async fn call(&self, verb: Verb, context: &Context, session: Arc<Session>) -> Result<Answer, CallError> {
        let mut store = Store::new(self.pre.engine(), Guest::new(session, self.limits));
        limits::apply(&mut store);
        match self.enter(&mut store, verb, &context.into()).await {
            Ok(answer) => answer.map_err(CallError::Failure),
            Err(error) => Err(trapped(&error, store.data().last_words())),
        }
    }
}

impl Loaded {
    async fn enter(
        &self,
        store: &mut Store<Guest>,
        verb: Verb,
        context: &lifecycle::Context,
    ) -> wasmtime::Result<Result<Answer, Failure>> {
        let phase = self.pre.instantiate_async(&mut *store).await?;
        let phase = phase.rehome_phase_lifecycle();
        let answer = match verb {
            Verb::Check => phase.call_check(store, context).await?.map(|found| Answer::Findings(findings(found))),
            Verb::Verify => phase.call_verify(store, context).await?.map(|found| Answer::Findings(findings(found))),
            Verb::Preview => {
                phase.call_preview(store, context).await?.map(|forecast| Answer::Forecast(forecast.into()))
            }
            Verb::Apply => phase.call_apply(store, context).await?.map(|()| Answer::Done),
            Verb::Undo => phase.call_undo(store, context).await?.map(|()| Answer::Done),
        };
        Ok(answer.map_err(Failure::from))
    }
}
