//! What the engine needs of a loaded component, whoever runs it: `host/runtime` for wasm, plain Rust in the engine's own tests.

use std::sync::Arc;

use crate::door::Session;
use crate::types::{Answer, Context, Failure, Verb};

/// How a call of a phase ended badly.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// the phase answered a failure
    #[error("{0}")]
    Failure(Failure),
    /// it did not answer: a panic, a limit, a bug; its instance is thrown away
    #[error("the component broke off: {why}")]
    Trap {
        /// one line: "its time is up", or the panic's message
        why: String,
        /// functions of the component, innermost first
        trace: Vec<String>,
    },
}

/// A component, ready to be called any number of times; each call gets a fresh instance.
#[async_trait::async_trait]
pub trait Component: Send + Sync {
    /// Calls the phase for one verb.
    async fn call(&self, verb: Verb, context: &Context, session: Arc<Session>) -> Result<Answer, CallError>;
}
