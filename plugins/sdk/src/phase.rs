//! The trait that a phase is, and how it becomes the exports of a component.
//! Each call gets a fresh instance: nothing in memory lasts from one call to the next.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::bindings::exports::rehome::phase::lifecycle;
use crate::{Failure, Finding, Forecast, Stage, Tool};

/// What a phase does. `check`, `preview` and `verify` can only read: the host refuses anything else.
pub trait Phase {
    /// What a plan sets for it, as `[config.*]` of the manifest declares: durations in seconds, sizes in bytes.
    /// With `#[serde(rename_all = "kebab-case")]` the fields are named as the keys.
    type Config: DeserializeOwned;

    /// Looks for whatever would make `apply` fail, before anything is touched. A blocker stops the migration.
    fn check(_ctx: &Context<Self::Config>) -> Result<Vec<Finding>, Failure> {
        Ok(Vec::new())
    }

    /// What `apply` would change now. No changes: nothing left to do.
    fn preview(ctx: &Context<Self::Config>) -> Result<Forecast, Failure>;

    /// Does it. Idempotent: after a crash, a gate or a fault it is called again from the top, observes, and does what is left.
    fn apply(ctx: &Context<Self::Config>) -> Result<(), Failure>;

    /// Compares both sides after `apply`. A blocker is a mismatch.
    fn verify(_ctx: &Context<Self::Config>) -> Result<Vec<Finding>, Failure> {
        Ok(Vec::new())
    }

    /// Takes `apply` back as far as it can be, as the preview promised. There is no default: silence would be a promise.
    fn undo(ctx: &Context<Self::Config>) -> Result<(), Failure>;
}

/// What a phase is told when it is called.
#[derive(Debug, Clone)]
pub struct Context<C> {
    /// the phase's id in the plan
    pub phase: String,
    /// where in the migration it stands
    pub stage: Stage,
    /// 1 for the first deliberate run; a resumed one keeps its number
    pub run: u32,
    /// what the plan sets
    pub config: C,
}

impl<C: DeserializeOwned> TryFrom<lifecycle::Context> for Context<C> {
    type Error = Failure;

    fn try_from(raw: lifecycle::Context) -> Result<Context<C>, Failure> {
        // The host has checked the config against the manifest; what fails here is the phase's own struct.
        let config = serde_json::from_str(&raw.config).map_err(|error| {
            Failure::Other(Tool {
                request: "config".into(),
                status: None,
                diagnostic: format!("the phase cannot read its own config: {error}"),
            })
        })?;
        Ok(Context { phase: raw.phase, stage: raw.stage, run: raw.run, config })
    }
}

/// A [`Phase`] as a component exports it.
#[derive(Debug)]
pub struct Exported<P>(PhantomData<P>);

impl<P: Phase> lifecycle::Guest for Exported<P> {
    fn check(ctx: lifecycle::Context) -> Result<Vec<Finding>, Failure> {
        begin();
        P::check(&ctx.try_into()?)
    }
    fn preview(ctx: lifecycle::Context) -> Result<Forecast, Failure> {
        begin();
        P::preview(&ctx.try_into()?)
    }
    fn apply(ctx: lifecycle::Context) -> Result<(), Failure> {
        begin();
        P::apply(&ctx.try_into()?)
    }
    fn verify(ctx: lifecycle::Context) -> Result<Vec<Finding>, Failure> {
        begin();
        P::verify(&ctx.try_into()?)
    }
    fn undo(ctx: lifecycle::Context) -> Result<(), Failure> {
        begin();
        P::undo(&ctx.try_into()?)
    }
}

/// A panic in a component is only an `unreachable` to the host: its message and its place go ahead, as a line of the report.
#[cfg(target_arch = "wasm32")]
fn begin() {
    std::panic::set_hook(Box::new(|panic| crate::report::error(&format!("the phase {panic}"))));
}

/// In a unit test a panic is the test's own.
#[cfg(not(target_arch = "wasm32"))]
fn begin() {}
