//! `preview`: how long services will stand still is the sum of what the phases of the cutover have measured, and not known
//! while none has.

use std::sync::Arc;

use crate::common::{Bench, Components, nothing, writer};
use rehome_engine::{Cancel, Preview};
use rehome_gatekeeper::types::{Answer, Forecast, Verb};

/// A plan whose phases forecast what `measured` says of each.
fn bench(measured: fn(&str) -> Option<u64>) -> Bench {
    let components = Components::default().with("writer", move |verb, context, _| async move {
        let cutover_milliseconds = measured(&context.phase);
        Ok(match verb {
            Verb::Preview => Answer::Forecast(Forecast { cutover_milliseconds, ..Forecast::default() }),
            verb => nothing(verb),
        })
    });
    let bench = Bench::new(components);
    bench.component("writer", &writer("writer"));
    bench.plan(&[("ahead", "writer", "copy"), ("cold", "writer", "cutover"), ("open", "writer", "cutover")]);
    bench.approve();
    bench
}

async fn preview(bench: &Bench) -> Preview {
    bench.migration().preview(bench.loader(), Arc::new(()), Cancel::never()).await.unwrap()
}

#[tokio::test]
async fn the_standstill_is_the_sum_of_what_phases_have_measured() {
    let bench = bench(|phase| match phase {
        "cold" => Some(240),
        "open" => Some(1100),
        _ => None,
    });
    let preview = preview(&bench).await;
    assert_eq!(preview.cutover_milliseconds(), Some(1340));
    assert_eq!(preview.standstills().collect::<Vec<_>>(), [("cold", 240), ("open", 1100)]);
    assert!(preview.cutover_pending());
}

#[tokio::test]
async fn a_standstill_that_nobody_has_measured_is_not_zero() {
    let bench = bench(|_| None);
    assert_eq!(preview(&bench).await.cutover_milliseconds(), None);
    bench.apply().await.unwrap();
    assert!(!preview(&bench).await.cutover_pending(), "nothing is left of the cutover");
}
