//! Plots of the rows as SVG: seconds by messages, both logarithmic, readable on light and dark ground.
//! One plot for each bench; `draw` knows panels, series and nothing of benches.

mod draw;

use std::collections::BTreeMap;

use super::Kept;
use super::row::{PASSES, Row, SyncRow};
use draw::{Panel, Series, draw};

/// File names and drawings: one for each bench that has rows.
pub fn plots(rows: &[Kept]) -> Vec<(&'static str, String)> {
    [("sync.svg", sync(rows)), ("cutover.svg", cutover(rows))]
        .into_iter()
        .filter_map(|(name, panels)| (!panels.is_empty()).then(|| (name, draw(&panels))))
        .collect()
}

/// A panel for each pass, of the caches and the distance that matter most where there are several.
fn sync(rows: &[Kept]) -> Vec<Panel> {
    let rows: Vec<&SyncRow> = rows
        .iter()
        .filter_map(|kept| match &kept.row {
            Row::Sync(row) => Some(row),
            Row::Cutover(_) => None,
        })
        .collect();
    let Some(delay) = rows.iter().map(|row| row.delay_ms).min() else { return Vec::new() };
    let panel = |pass: &&str| {
        let rows: Vec<&&SyncRow> = rows.iter().filter(|row| row.pass == **pass && row.delay_ms == delay).collect();
        let cache = if rows.iter().any(|row| row.cache == "dropped") { "dropped" } else { "warm" };
        let rows = rows.into_iter().filter(|row| row.cache == cache);
        let mut ours: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        let mut peers: Vec<Series> = Vec::new();
        for row in rows {
            ours.entry(row.messages).or_default().push(row.ours_s);
            put(&mut peers, &row.peer, (row.messages, row.peer_s));
        }
        // Ours was measured beside each peer: the median of them all.
        let middle = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let points = ours.into_iter().map(|(messages, values)| (messages as f64, middle(values))).collect();
        let mut series = vec![Series { name: "rehome".into(), points }];
        series.extend(peers);
        let far = if delay == 0 { String::new() } else { format!(", {delay} ms away") };
        Panel { title: format!("{pass}, caches {cache}{far}"), series }
    };
    PASSES.iter().map(panel).filter(|panel| !panel.series[0].points.is_empty()).collect()
}

fn cutover(rows: &[Kept]) -> Vec<Panel> {
    let mut series: Vec<Series> = Vec::new();
    for kept in rows {
        if let Row::Cutover(row) = &kept.row {
            put(&mut series, "rehome", (row.messages, row.ours_s));
            put(&mut series, &row.peer, (row.messages, row.peer_s));
            put(&mut series, "floor: Dovecot's own stop and start", (row.messages, row.floor_s));
        }
    }
    if series.is_empty() { Vec::new() } else { vec![Panel { title: "downtime".into(), series }] }
}

/// One more point of the series of this name.
fn put(all: &mut Vec<Series>, name: &str, (messages, seconds): (u64, f64)) {
    let at = all.iter().position(|series| series.name == name).unwrap_or(all.len());
    if at == all.len() {
        all.push(Series::of(name));
    }
    all[at].points.push((messages as f64, seconds));
}
