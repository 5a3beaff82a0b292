//! `rehome preview`.

use rehome_engine::{Error, PhasePreview, Preview, Previewed, Question};
use rehome_gatekeeper::types::{Change, Forecast, Stage};

use crate::args::{Global, Preview as Args};
use crate::exit::Exit;
use crate::interrupt::listen;
use crate::ui::{Text, Tone, Ui, findings, words};

/// What each phase would change, stage by stage; the sum as talk.
pub async fn run(ui: &Ui, global: &Global, args: &Args) -> Result<Exit, Error> {
    let migration = super::migration(global)?;
    let preview = migration.preview(super::loader(ui, &migration), ui.sink(), listen(ui)).await?;
    show(ui, &preview);
    let failed = preview.phases.iter().any(|phase| matches!(phase.what, Previewed::Failed(_)));
    Ok(match (failed, args.exit_code && preview.pending()) {
        (true, _) => Exit::Error,
        (_, true) => Exit::Pending,
        _ => Exit::Done,
    })
}

fn show(ui: &Ui, preview: &Preview) {
    let mut stage: Option<Stage> = None;
    for phase in &preview.phases {
        if stage != Some(phase.stage) {
            if stage.is_some() {
                ui.gap();
            }
            ui.out(Text::bold(phase.stage.as_str()).into());
            stage = Some(phase.stage);
        }
        one(ui, phase);
    }
    for phase in &preview.phases {
        if let Previewed::Failed(failed) = &phase.what {
            findings::failure(ui, failed);
        }
    }
    ui.event(&serde_json::json!({
        "event": "previewed", "pending": preview.pending(), "cutover_milliseconds": preview.cutover_milliseconds(),
    }));
    sum(ui, preview);
}

fn one(ui: &Ui, phase: &PhasePreview) {
    let name = Text::new(&phase.phase);
    match &phase.what {
        Previewed::Done(at) => {
            let at = at.map(|at| format!(" {}", words::moment(at))).unwrap_or_default();
            ui.out(name.with(Tone::Green, format!("  done{at}")).at(2));
        }
        Previewed::Failed(_) => ui.out(name.with(Tone::Red, "  could not answer; see below").at(2)),
        Previewed::Waiting(question) => {
            ui.out(name.and_dim(format!("  {}", phase.about)).at(2).hang(4));
            waits(ui, question);
        }
        Previewed::Forecast(forecast) => {
            ui.out(name.and_dim(format!("  {}", phase.about)).at(2).hang(4));
            changes(ui, forecast);
        }
    }
}

fn waits(ui: &Ui, question: &Question) {
    let text = match question {
        Question::Question { key, question, .. } if question.is_empty() => format!("waits for your answer to `{key}`"),
        Question::Question { question, .. } => format!("waits for your answer: {question}"),
        Question::Moment { until, .. } => format!("waits until {until}"),
    };
    ui.out(Text::yellow(text).at(4).hang(6));
}

fn changes(ui: &Ui, forecast: &Forecast) {
    if forecast.changes.is_empty() && forecast.not_known_yet.is_empty() {
        ui.out(Text::dim("nothing to change").at(4));
    }
    for change in &forecast.changes {
        ui.out(line(change).at(4).hang(6));
    }
    for text in &forecast.not_known_yet {
        ui.out(Text::yellow("not known yet: ").plain(text).at(4).hang(6));
    }
    if let Some(milliseconds) = forecast.cutover_milliseconds {
        ui.out(Text::dim(format!("services stand still for about {}", words::duration(milliseconds))).at(4));
    }
}

fn line(change: &Change) -> Text {
    let text = Text::new(format!("{}: ", change.subject));
    let text = match &change.before {
        Some(before) => text.and_dim(before).plain(" -> ").plain(&change.after),
        None => text.plain(&change.after),
    };
    if change.reversible { text } else { text.with(Tone::Red, "  irreversible") }
}

fn sum(ui: &Ui, preview: &Preview) {
    if !preview.pending() {
        ui.say(Text::green("nothing left to do").plain("; `rehome verify` compares both sides").into());
        return;
    }
    let irreversible = preview.phases.iter().any(|phase| match &phase.what {
        Previewed::Forecast(forecast) => forecast.changes.iter().any(|change| !change.reversible),
        _ => false,
    });
    if preview.cutover_pending() {
        ui.say(Text::new(standstill(preview)).into());
    }
    if irreversible {
        ui.say(Text::red("irreversible").plain(" changes cannot be taken back by `undo`").into());
    }
    ui.say(Text::dim("nothing was changed; next: `rehome apply`").into());
}

/// How long services will stand still, and which phases have measured it.
fn standstill(preview: &Preview) -> String {
    let Some(sum) = preview.cutover_milliseconds() else {
        return "how long services will stand still is not known yet: phases measure it while users still work".into();
    };
    let parts = preview.standstills().filter(|(_, milliseconds)| *milliseconds > 0);
    let parts: Vec<String> = parts.map(|(phase, took)| format!("{phase} {}", words::duration(took))).collect();
    match parts.as_slice() {
        [] => "services stand still for no time that could be measured".into(),
        parts => {
            format!("services stand still for about {}, as measured: {}", words::duration(sum), words::list(parts))
        }
    }
}
