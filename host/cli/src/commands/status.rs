//! `rehome status`.

use rehome_engine::status::{Next, PhaseStanding, PhaseStatus, Status};
use rehome_engine::{Error, Question};
use rehome_gatekeeper::types::Stage;

use crate::args::Global;
use crate::exit::Exit;
use crate::ui::{Text, Tone, Ui, words};

/// How the migration stands, stage by stage, and what is safe to do next.
pub async fn run(ui: &Ui, global: &Global) -> Result<Exit, Error> {
    let status = super::migration(global)?.status().await?;
    ui.event(&serde_json::json!({ "event": "status", "status": status }));
    show(ui, &status);
    Ok(Exit::Done)
}

fn show(ui: &Ui, status: &Status) {
    ui.out(Text::bold(&status.name).into());
    ui.out(Text::dim(format!("{} -> {}", status.old, status.new)).into());
    let width = status.phases.iter().map(|phase| phase.phase.chars().count()).max().unwrap_or_default();
    let next = status.phases.iter().find(|phase| !matches!(phase.standing, PhaseStanding::Done));
    // While an undo is under way, what is next is behind.
    let next = next.filter(|_| status.undo.is_none()).map(|phase| phase.phase.clone());
    let mut stage: Option<Stage> = None;
    for phase in &status.phases {
        if stage != Some(phase.stage) {
            ui.gap();
        }
        let heading = if stage == Some(phase.stage) { "" } else { phase.stage.as_str() };
        stage = Some(phase.stage);
        let is_next = next.as_ref() == Some(&phase.phase);
        one(ui, phase, heading, width, is_next);
    }
    ui.gap();
    for effect in &status.open {
        super::resolve::show(ui, effect);
    }
    if !status.left_over.is_empty() {
        let text = format!("in the journal, and not in the plan any more: {}", words::list(&status.left_over));
        ui.out(Text::yellow("note: ").plain(text).at(0).hang(6));
    }
    claim(ui, status);
    to_do(ui, &status.next);
}

/// A claim that nobody has let go of.
fn claim(ui: &Ui, status: &Status) {
    let Some(claim) = status.claim.as_ref().filter(|claim| claim.stale) else { return };
    let Some(working) = &claim.working else { return };
    let text = format!(
        "`rehome {}` of {} began at {}, and did not come to its end: the sides still count as at work for this migration; \
         this state goes on with it",
        working.verb,
        working.who,
        words::moment(working.since)
    );
    ui.out(Text::yellow("note: ").plain(text).at(0).hang(6));
}

fn to_do(ui: &Ui, next: &Next) {
    ui.out(Text::bold("next: ").plain(&next.text).at(0).hang(6));
    for command in &next.commands {
        ui.out(Text::default().with(Tone::Cyan, command).at(6).hang(8));
    }
}

fn one(ui: &Ui, phase: &PhaseStatus, heading: &str, width: usize, is_next: bool) {
    let line = Text::dim(heading).pad(9).plain(&phase.phase).pad(9 + width + 2);
    let hang = 9 + width + 2;
    let run = phase.run.filter(|run| *run > 1).map(|run| format!(", run {run}")).unwrap_or_default();
    let at = |moment: Option<u64>| moment.map(|at| format!(" {}", words::moment(at))).unwrap_or_default();
    let line = match &phase.standing {
        PhaseStanding::Done => line.with(Tone::Green, "done").and_dim(format!("{}{run}", at(phase.ended_at))),
        PhaseStanding::UnderWay => {
            line.with(Tone::Cyan, "under way").and_dim(format!(" since{}{run}", at(phase.begun_at)))
        }
        PhaseStanding::Interrupted => {
            line.with(Tone::Red, "interrupted").and_dim(format!(", begun{}{run}", at(phase.begun_at)))
        }
        PhaseStanding::Failed { said } => line.with(Tone::Red, "failed").plain(format!("{run}: {said}")),
        PhaseStanding::Waiting(question) => {
            line.with(Tone::Yellow, "waiting").plain(format!("{run}: {}", asks(question)))
        }
        PhaseStanding::Undoing { waits: Some(question), .. } => {
            line.with(Tone::Yellow, "being undone").plain(format!("{run}: {}", asks(question)))
        }
        PhaseStanding::Undoing { said: Some(said), .. } => {
            line.with(Tone::Red, "undo failed").plain(format!("{run}: {said}"))
        }
        PhaseStanding::Undoing { .. } => line.with(Tone::Red, "undone in part").and_dim(run),
        PhaseStanding::TakenBack if is_next => line.with(Tone::Bold, "next"),
        PhaseStanding::TakenBack => line.with(Tone::Yellow, "taken back").and_dim(at(phase.ended_at)),
        PhaseStanding::NotBegun if !phase.approved => line.with(Tone::Yellow, "not approved"),
        PhaseStanding::NotBegun if is_next => line.with(Tone::Bold, "next"),
        PhaseStanding::NotBegun => line.and_dim("-"),
    };
    ui.out(line.at(0).hang(hang));
}

fn asks(question: &Question) -> String {
    match question {
        Question::Moment { until, .. } => format!("until {until}"),
        Question::Question { answered: Some(values), question, .. } => {
            format!("{question} (answered: {})", values.join(" "))
        }
        Question::Question { question, options, .. } if options.is_empty() => question.clone(),
        Question::Question { question, options, .. } => format!("{question} ({})", options.join(", ")),
    }
}
