//! A figure: many pairs of measurements, and the line they make. Each value is a median; the ratio is the median of the
//! pairs' ratios, so that what slowed both of a pair down does not count.

use crate::group::Cost;
use crate::settings::{Pass, Settings};

/// Costs of ours and of the peer, pair by pair.
#[derive(Default)]
pub struct Figure {
    pub ours: Vec<Cost>,
    pub peer: Vec<Cost>,
}

impl Figure {
    pub fn tell(&self, settings: &Settings, pass: Pass, cache: &str, peer: &str, delay_ms: u128) {
        let seconds = |costs: &[Cost]| costs.iter().map(|cost| cost.seconds).collect::<Vec<_>>();
        let (ours, theirs) = (seconds(&self.ours), seconds(&self.peer));
        let durable: Vec<f64> = self.peer.iter().map(|cost| cost.durable_seconds).collect();
        let ratio = |theirs: &[f64]| median(ours.iter().zip(theirs).map(|(ours, theirs)| theirs / ours).collect());
        let rounded = |values: &[f64]| values.iter().map(|value| round(*value)).collect::<Vec<_>>();
        let cpu = |costs: &[Cost]| costs.iter().map(|cost| cost.cpu_seconds).collect::<Option<Vec<_>>>().map(median);
        let peak = |costs: &[Cost]| costs.iter().map(|cost| cost.peak_mb).collect::<Option<Vec<_>>>().map(median);
        let line = serde_json::json!({
            "bench": "sync", "messages": settings.messages, "pass": pass.name(), "cache": cache, "peer": peer,
            "delay_ms": delay_ms, "ours_s": median(ours.clone()), "peer_s": median(theirs.clone()),
            "ratio": ratio(&theirs), "pairs": settings.pairs,
            "peer_durable_s": median(durable.clone()), "ratio_durable": ratio(&durable),
            "ours_cpu_s": cpu(&self.ours), "peer_cpu_s": cpu(&self.peer),
            "ours_peak_mb": peak(&self.ours), "peer_peak_mb": peak(&self.peer),
            "ours_each_s": rounded(&ours), "peer_each_s": rounded(&theirs),
        });
        println!("{line}");
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    round(if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 })
}

/// Four digits: more are noise.
fn round(value: f64) -> f64 {
    format!("{value:.3e}").parse().expect("a number that was just written")
}
