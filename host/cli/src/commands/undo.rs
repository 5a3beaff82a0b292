//! `rehome undo`: what it would take back, and what nobody can take back; one question; and how it went.

use rehome_engine::{Error, Migration, ToUndo, UndoPlan, UndoScope, UsageError, outcome::Undone};

use crate::args::{Global, Undo};
use crate::exit::Exit;
use crate::interrupt::listen;
use crate::ui::{Text, Tone, Ui, findings, words};

/// Asks first; an undo that was begun before goes on without a question.
pub async fn run(ui: &Ui, global: &Global, args: &Undo) -> Result<Exit, Error> {
    let migration = super::migration(global)?;
    if args.stop_here {
        return stop_here(ui, &migration).await;
    }
    if let Some(phase) = &args.by_hand {
        return by_hand(ui, &migration, phase).await;
    }
    let scope = UndoScope { down_to: args.down_to, take_over: args.take_over };
    let plan = migration.to_undo(&scope).await?;
    ui.event(&serde_json::json!({ "event": "to-undo", "plan": plan }));
    if plan.phases.is_empty() {
        left_over(ui, &plan);
        ui.say(Text::green("nothing to undo").plain(nothing(args)).into());
        return Ok(Exit::Done);
    }
    if !plan.goes_on {
        show(ui, &plan);
        match ui.confirm(&format!("Take back {}?", words::count(plan.phases.len(), "phase"))) {
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

fn nothing(args: &Undo) -> String {
    match args.down_to {
        Some(stage) => format!(": no phase of stage {stage} or a later one was begun"),
        None => ": no phase was begun".to_string(),
    }
}

/// The phases in the order in which they are taken back, each with what of it nobody can take back.
fn show(ui: &Ui, plan: &UndoPlan) {
    if let Some(under_way) = plan.under_way {
        let text = format!(
            "an undo of other extent is under way ({} of {} phases are taken back); this one takes its place",
            under_way.taken_back, under_way.total
        );
        ui.say(Text::yellow("note: ").plain(text).at(0).hang(6));
    }
    ui.say(Text::bold("These phases are taken back, in this order:").into());
    for phase in &plan.phases {
        ui.say(Text::new(&phase.phase).and_dim(format!("  {}, {}", phase.component, phase.stage)).at(2).hang(4));
        for change in &phase.irreversible {
            let text = format!("{}: {}", change.subject, change.text);
            ui.say(Text::default().with(Tone::Red, "irreversible: ").plain(text).at(4).hang(6));
        }
    }
    let unseen: Vec<String> =
        plan.phases.iter().filter(|phase| !phase.previewed).map(|phase| phase.phase.clone()).collect();
    if !unseen.is_empty() {
        let text = format!(
            "no preview was made before these were applied, so what of them is irreversible is not listed: {}",
            words::list(&unseen)
        );
        ui.say(Text::yellow("note: ").plain(text).at(0).hang(6));
    }
    left_over(ui, plan);
    ui.say(Text::dim(service(&plan.phases)).at(0));
}

/// What users will notice.
fn service(phases: &[ToUndo]) -> &'static str {
    use rehome_gatekeeper::types::Stage;
    if phases.iter().any(|phase| phase.stage >= Stage::Cutover) {
        "Until it has ended, users may be without mail. Mail that arrived on new is copied back to old."
    } else {
        "Users work on old; they will notice nothing."
    }
}

fn left_over(ui: &Ui, plan: &UndoPlan) {
    if !plan.left_over.is_empty() {
        let text = format!("not in the plan any more, and not taken back: {}", words::list(&plan.left_over));
        ui.say(Text::yellow("note: ").plain(text).at(0).hang(6));
    }
}

fn no_terminal() -> UsageError {
    UsageError {
        what: "`undo` asks before it begins, and there is no terminal to ask on".into(),
        more: vec!["nothing was taken back".into()],
        hint: Some("once you have read the list above: the same command with `--yes`".into()),
    }
}

async fn stop_here(ui: &Ui, migration: &Migration) -> Result<Exit, Error> {
    let under_way = migration.undo_stop_here().await?;
    ui.event(
        &serde_json::json!({ "event": "undo-stopped", "taken_back": under_way.taken_back, "total": under_way.total }),
    );
    let text = format!("the undo ends here: {} of {} phases are taken back", under_way.taken_back, under_way.total);
    ui.say(Text::green(text).plain("; `rehome apply` goes forward again").at(0).hang(2));
    Ok(Exit::Done)
}

async fn by_hand(ui: &Ui, migration: &Migration, phase: &str) -> Result<Exit, Error> {
    migration.undo_by_hand(phase).await?;
    ui.event(&serde_json::json!({ "event": "undone-by-hand", "phase": phase }));
    ui.say(Text::green(format!("phase `{phase}` counts as taken back")).plain("; next: `rehome status`").into());
    Ok(Exit::Done)
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
