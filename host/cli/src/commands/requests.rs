//! Requests as an operator reads them before granting: what changes something first, verbatim, with its reason; what was
//! shown already is only named; what rehome cannot vouch for stands out.

use std::collections::BTreeMap;

use rehome_engine::publisher::Signed;
use rehome_engine::{Asking, Standing, short};
use rehome_manifest::Request;
use rehome_manifest::words::Effect;

use crate::ui::{Text, Tone, Ui, words};

/// What was shown already: by component, id and digest of the request, in which phase.
#[derive(Default)]
pub struct Shown(BTreeMap<(String, String, String), String>);

/// One phase with everything it asks for.
pub fn phase(ui: &Ui, asking: &Asking, shown: &mut Shown) {
    let phase = &asking.phase;
    heading(ui, asking);
    ui.out(Text::new(&phase.filled.manifest.about).at(2));
    for remark in &phase.remarks {
        ui.out(Text::yellow("! ").plain(remark).at(2).hang(4));
    }
    let mut as_before: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut asks, mut reads, mut changes) = (vec![], vec![], vec![]);
    for (request, standing) in &asking.requests {
        let key = (phase.filled.manifest.name.clone(), request.id.clone(), request.digest.clone());
        let before = shown.0.get(&key).filter(|_| !matches!(standing, Standing::Changed { .. }));
        match before {
            Some(earlier) => as_before.entry(earlier.clone()).or_default().push(request.id.clone()),
            None if request.id.starts_with("question.") => asks.push((request, standing)),
            None if only_reads(request) => reads.push((request, standing)),
            None => changes.push((request, standing)),
        }
        shown.0.entry(key).or_insert_with(|| phase.id().to_string());
    }
    for (title, group) in [("changes", &changes), ("reads", &reads), ("asks you", &asks)] {
        if !group.is_empty() {
            ui.out(Text::dim(title).at(2));
        }
        for (request, standing) in group {
            one(ui, request, standing, asking.first);
        }
    }
    for (earlier, ids) in &as_before {
        ui.out(Text::dim(format!("the same as in `{earlier}`: ")).plain(words::list(ids)).at(2).hang(4));
    }
    marks(ui, asking);
    for (id, text) in &asking.gone {
        ui.out(Text::default().with(Tone::Green, "no longer asked for: ").plain(id).at(2));
        verbatim(ui, text);
    }
    if asking.requests.is_empty() {
        ui.out(Text::dim("asks for nothing").at(2));
    }
    ui.gap();
}

/// Whether it cannot change anything, whatever its effect: under `check`, `preview` and `verify` the host lets it look only.
fn only_reads(request: &Request) -> bool {
    let looks = !request.verbs.is_empty() && request.verbs.iter().all(|verb| verb.only_reads());
    request.effect == Effect::Read || looks
}

fn heading(ui: &Ui, asking: &Asking) {
    let phase = &asking.phase;
    let line = Text::bold(phase.id()).plain(format!("  {}", phase.plan.stage)).and_dim(format!(
        "  {}  {}",
        phase.component(),
        short(&phase.digest)
    ));
    let line = match (asking.first, &asking.former_digest, asking.approved()) {
        (true, _, _) => line,
        (_, Some(former), _) => {
            let same = |(_, standing): &(Request, Standing)| matches!(standing, Standing::Granted | Standing::Denied);
            let only = if asking.requests.iter().all(same) { "; it asks for the same" } else { "" };
            line.with(Tone::Yellow, format!("  its code changed, was {}{only}", short(former)))
        }
        (_, _, true) => line.with(Tone::Green, "  approved"),
        (_, _, false) => line.with(Tone::Yellow, "  not approved as it is now"),
    };
    ui.out(line.at(0).hang(2));
    match &phase.signed {
        Signed::By(publisher) => ui.out(Text::dim(format!("signed by {}", publisher.name)).at(2)),
        Signed::Not(doubt) => ui.out(Text::yellow("! ").plain(doubt.to_string()).at(2).hang(4)),
        Signed::No => {}
    }
    if let Some(former) = &asking.former_publisher {
        ui.out(Text::yellow("! ").plain(format!("{} had signed what was approved", former.name)).at(2).hang(4));
    }
    if let Some(newer) = &asking.newer {
        ui.out(Text::yellow("! ").plain(format!("it is older than what was approved: {newer}")).at(2).hang(4));
    }
}

fn one(ui: &Ui, request: &Request, standing: &Standing, first: bool) {
    let effect = rehome_engine::lock::effect_of(request);
    let tone = match request.effect {
        _ if only_reads(request) => Tone::Plain,
        Effect::Read => Tone::Plain,
        Effect::Repeatable => Tone::Cyan,
        Effect::Once => Tone::Red,
    };
    let mut line = Text::default().with(tone, &request.id);
    if !request.id.starts_with("question.") {
        line = line.and_dim(format!("  {effect}"));
    }
    if !request.marks.is_empty() {
        line = line.with(Tone::Yellow, "  !");
    }
    line = match standing {
        Standing::New if !first => line.with(Tone::Yellow, "  new"),
        Standing::Changed { .. } => line.with(Tone::Yellow, "  changed"),
        Standing::Denied => line.with(Tone::Red, "  not granted last time"),
        Standing::New | Standing::Granted => line,
    };
    ui.out(line.at(4).hang(8));
    if let Standing::Changed { effect, text } = standing {
        ui.out(Text::default().with(Tone::Red, "was: ").and_dim(effect).at(6));
        verbatim(ui, text);
        ui.out(Text::green("is now:").at(6));
    }
    verbatim(ui, &request.text);
    if let Some(reason) = &request.reason {
        ui.out(Text::dim(format!("why: {reason}")).at(6).hang(11));
    }
}

/// A request's text, word for word; its own indentation is kept.
fn verbatim(ui: &Ui, text: &str) {
    for line in text.lines() {
        let own = line.len() - line.trim_start().len();
        ui.out(Text::new(line.trim_start()).at(6 + own).hang(6 + own + 2));
    }
}

/// What to look at twice, each kind once, with the requests it is about.
fn marks(ui: &Ui, asking: &Asking) {
    let mut by_mark: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (request, _) in &asking.requests {
        for mark in &request.marks {
            by_mark.entry(mark).or_default().push(request.id.clone());
        }
    }
    if by_mark.is_empty() {
        return;
    }
    ui.out(Text::yellow("! rehome cannot vouch for these reads:").at(2));
    for (mark, ids) in by_mark {
        ui.out(Text::new(words::list(&ids)).and_dim(format!(": {mark}")).at(4).hang(6));
    }
}
