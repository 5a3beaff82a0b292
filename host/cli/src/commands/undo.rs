//! `rehome undo`: what it would take back, one question, and how it went.

use rehome_engine::{Error, ToUndo, UndoScope, UsageError, outcome::Undone};

use crate::args::{Global, Undo};
use crate::exit::Exit;
use crate::interrupt::listen;
use crate::ui::{Text, Ui, findings, words};

/// Asks first; an undo that was begun before goes on without a question.
pub async fn run(ui: &Ui, global: &Global, args: &Undo) -> Result<Exit, Error> {
    let migration = super::migration(global)?;
    let scope = UndoScope { down_to: args.down_to };
    let phases = migration.to_undo(&scope).await?;
    ui.event(&serde_json::json!({ "event": "to-undo", "phases": phases }));
    if phases.is_empty() {
        ui.say(Text::green("nothing to undo: no phase was begun").into());
        return Ok(Exit::Done);
    }
    if !phases.iter().any(|phase| phase.under_way) {
        show(ui, &phases);
        match ui.confirm(&format!("Take back {}?", words::count(phases.len(), "phase"))) {
            Some(true) => {}
            Some(false) => {
                ui.say(Text::yellow("nothing was taken back").into());
                return Ok(Exit::Done);
            }
            None => return Err(no_terminal().into()),
        }
    }
    let undone = migration.undo(&scope, super::loader(ui, &migration), ui.sink(), listen(ui)).await?;
    Ok(ended(ui, undone))
}

fn show(ui: &Ui, phases: &[ToUndo]) {
    ui.say(Text::bold("These phases are taken back, in this order:").into());
    for phase in phases {
        ui.say(Text::new(format!("{} ({}, {})", phase.phase, phase.component, phase.stage)).at(2));
    }
    let words = "Users are without mail from the first phase of the cutover that is taken back until Dovecot runs on old. \
                 Mail that arrived on new is copied back. What cannot be carried back, each phase says as it goes.";
    ui.say(Text::dim(words).at(0));
}

fn no_terminal() -> UsageError {
    UsageError {
        what: "`undo` asks before it begins, and there is no terminal to ask on".into(),
        more: vec!["nothing was taken back".into()],
        hint: Some("once you have read the list above: `rehome undo --yes`".into()),
    }
}

fn ended(ui: &Ui, undone: Undone) -> Exit {
    match undone {
        Undone::Finished { undone, left } => {
            ui.event(&serde_json::json!({ "event": "undone", "undone": undone, "left": left }));
            let next = match left.as_slice() {
                [] => "; the migration stands where it began".to_string(),
                left => format!("; still applied: {}", words::list(left)),
            };
            ui.say(Text::green(format!("took back {}", words::count(undone.len(), "phase"))).plain(next).at(0).hang(2));
            Exit::Done
        }
        Undone::Waiting { phase, question, .. } => {
            findings::question(ui, &phase, &question);
            Exit::Waiting
        }
    }
}
