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
        let mut peers: BTreeMap<&str, Series> = BTreeMap::new();
        for row in rows {
            ours.entry(row.messages).or_default().push(row.ours_s);
            let series = peers.entry(&row.peer).or_insert_with(|| Series::of(&row.peer));
            series.points.push((row.messages as f64, row.peer_s));
        }
        // Ours was measured beside each peer: the median of them all.
        let middle = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let points = ours.into_iter().map(|(messages, values)| (messages as f64, middle(values))).collect();
        let mut series = vec![Series { name: "rehome".into(), points }];
        series.extend(peers.into_values());
        let far = if delay == 0 { String::new() } else { format!(", {delay} ms away") };
        Panel { title: format!("{pass}, caches {cache}{far}"), series }
    };
    PASSES.iter().map(panel).filter(|panel| !panel.series[0].points.is_empty()).collect()
}

fn cutover(rows: &[Kept]) -> Vec<Panel> {
    let mut series: Vec<Series> = Vec::new();
    let mut put = |name: &str, x: u64, y: f64| {
        let at = series.iter().position(|series| series.name == name).unwrap_or_else(|| {
            series.push(Series::of(name));
            series.len() - 1
        });
        series[at].points.push((x as f64, y));
    };
    for kept in rows {
        if let Row::Cutover(row) = &kept.row {
            put("rehome", row.messages, row.ours_s);
            put(&row.peer, row.messages, row.peer_s);
            put("floor: Dovecot's own stop and start", row.messages, row.floor_s);
        }
    }
    if series.is_empty() { Vec::new() } else { vec![Panel { title: "downtime".into(), series }] }
}
