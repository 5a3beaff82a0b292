//! `rehome resolve`: what only the operator knows. Without arguments it shows what is asked.

use rehome_engine::status::OpenEffect;
use rehome_engine::{Error, MachineHere, Migration, Rebuilt, ToRebuild, UsageError};
use rehome_gatekeeper::types::SideName;

use crate::args::{Global, Resolve};
use crate::exit::Exit;
use crate::ui::{Text, Tone, Ui, words};

/// A phase may be called `machine` or `journal`: the second word tells them apart.
pub async fn run(ui: &Ui, global: &Global, args: &Resolve) -> Result<Exit, Error> {
    let migration = super::migration(global)?;
    match (args.what.as_deref(), args.answer.as_deref(), args.effect.as_deref()) {
        (None, ..) => asked(ui, &migration).await,
        (Some(phase), Some(word @ ("did" | "did-not")), effect) => {
            outcome(ui, &migration, phase, word == "did", effect).await
        }
        (Some("machine"), Some(word), None) => match word.parse() {
            Ok(side) => machine(ui, &migration, side).await,
            Err(_) => Err(UsageError::unknown("side", word, ["old", "new"]).into()),
        },
        (Some("journal"), None, None) => journal(ui, &migration).await,
        (Some(what), ..) => Err(usage(what).into()),
    }
}

fn usage(what: &str) -> UsageError {
    let more = [
        "`rehome resolve PHASE did` and `rehome resolve PHASE did-not`: an effect whose end nobody saw",
        "`rehome resolve machine old` and `rehome resolve machine new`: the machine that is there now is the side",
        "`rehome resolve journal`: a new state where the former one is damaged, gone or an older copy",
    ];
    let what = format!("`rehome resolve {what}` does not say what is to be resolved");
    UsageError {
        what,
        more: more.map(String::from).to_vec(),
        hint: Some("`rehome resolve` shows what is asked".into()),
    }
}

async fn asked(ui: &Ui, migration: &Migration) -> Result<Exit, Error> {
    let open = migration.to_resolve().await?;
    ui.event(&serde_json::json!({ "event": "to-resolve", "open": open }));
    if open.is_empty() {
        ui.say(Text::green("nothing to resolve").plain(": rehome knows how everything ended that it began").into());
    }
    for effect in &open {
        show(ui, effect);
    }
    Ok(Exit::Done)
}

/// An effect whose end nobody saw, what is known of it, and what to type.
pub(super) fn show(ui: &Ui, effect: &OpenEffect) {
    let at = words::moment(effect.begun_at / 1000);
    let text = format!("phase `{}`, {}, begun at {at}", effect.phase, effect.told());
    ui.out(Text::red("unknown: ").plain(text).at(0).hang(9));
    if let Some(known) = &effect.known {
        for line in known.lines() {
            ui.out(Text::dim(line).at(9).hang(11));
        }
    }
    for (when, command) in ["if it happened:", "if it did not:"].into_iter().zip(&effect.commands) {
        ui.out(Text::new(when).pad(16).with(Tone::Cyan, command).at(9).hang(11));
    }
}

async fn outcome(ui: &Ui, migration: &Migration, phase: &str, did: bool, effect: Option<&str>) -> Result<Exit, Error> {
    let resolved = migration.resolve_outcome(phase, did, effect).await?;
    ui.event(&serde_json::json!({ "event": "resolved", "resolved": resolved }));
    let how = if did { "happened" } else { "did not happen" };
    let text = format!("recorded: {} of phase `{phase}` {how}", resolved.effect.told());
    ui.say(Text::green(text).plain(format!("; next: `{}`", resolved.next)).at(0).hang(2));
    Ok(Exit::Done)
}

async fn machine(ui: &Ui, migration: &Migration, side: SideName) -> Result<Exit, Error> {
    let here = migration.machine_here(side).await?;
    ui.event(&serde_json::json!({ "event": "machine-here", "machine": here }));
    shown(ui, &here);
    if !yes(ui, &format!("Is this machine the {side} side from now on?"), "nothing was resolved")? {
        return Ok(Exit::Done);
    }
    migration.resolve_machine(&here).await?;
    ui.event(&serde_json::json!({ "event": "machine-resolved", "side": side }));
    ui.say(Text::green(format!("{} is {side}", here.name)).plain("; next: `rehome status`, `rehome verify`").into());
    Ok(Exit::Done)
}

fn shown(ui: &Ui, here: &MachineHere) {
    for line in &here.why {
        ui.say(Text::new(line).at(0).hang(2));
    }
    let id = |id: &Option<String>| id.clone().unwrap_or_else(|| "none".into());
    ui.say(Text::dim(format!("machine-id known: {}", id(&here.known))).at(2));
    ui.say(Text::dim(format!("machine-id found: {}", id(&here.found))).at(2));
    let text = "phases that are done count as done, whatever of them is not on that machine: `rehome verify` shows it, \
                `rehome apply --again PHASE` does a phase once more";
    ui.say(Text::yellow("note: ").plain(text).at(0).hang(6));
}

async fn journal(ui: &Ui, migration: &Migration) -> Result<Exit, Error> {
    let lost = migration.to_rebuild().await?;
    ui.event(&serde_json::json!({ "event": "to-rebuild", "journal": lost }));
    consequences(ui, &lost);
    if !yes(ui, "Rebuild it from what is left and from both sides?", "nothing was changed")? {
        return Ok(Exit::Done);
    }
    let rebuilt = migration.rebuild().await?;
    ui.event(&serde_json::json!({ "event": "rebuilt", "rebuilt": rebuilt }));
    taken_over(ui, &rebuilt);
    Ok(Exit::Done)
}

fn consequences(ui: &Ui, lost: &ToRebuild) {
    ui.say(Text::red(&lost.headline).into());
    for line in &lost.lines {
        ui.say(Text::new(line).at(2).hang(4));
    }
    ui.say(Text::bold("What a new one means:").into());
    for line in [
        "no phase counts as done: `apply` calls each again, and each looks first at what is there",
        "an effect that is to be done once is not repeated where its record can still be read; one whose record is lost is \
         done again unless its phase sees that it was",
        "`undo` puts back what things were before as far as that can still be read; the rest it cannot put back",
        "answers that are lost are asked for again",
        "whoever goes on with another copy of this state is refused from then on",
    ] {
        ui.say(Text::new(line).at(2).hang(4));
    }
}

fn taken_over(ui: &Ui, rebuilt: &Rebuilt) {
    let salvaged = &rebuilt.salvaged;
    let effects = format!(
        "{} of {}",
        words::thousands(salvaged.effects),
        words::count(salvaged.effects_known as usize, "effect")
    );
    let text = format!(
        "taken over: {effects}, {}, {} of what was before, {} that components remember, {} with answers",
        words::count(salvaged.runs as usize, "run"),
        words::count(salvaged.before as usize, "image"),
        words::count(salvaged.memory as usize, "value"),
        words::count(salvaged.questions as usize, "question"),
    );
    ui.say(Text::green("rebuilt").plain("; next: `rehome status`, `rehome preview`, `rehome apply`").at(0).hang(2));
    ui.say(Text::new(text).at(2).hang(4));
    if salvaged.refused > 0 || !salvaged.torn.is_empty() {
        let torn = match salvaged.torn.as_slice() {
            [] => String::new(),
            torn => format!("; not read to their end: {}", words::list(torn)),
        };
        let text = format!("{} meant nothing{torn}", words::count(salvaged.refused as usize, "row"));
        ui.say(Text::yellow("note: ").plain(text).at(0).hang(6));
    }
    if let Some(aside) = &rebuilt.aside {
        ui.say(Text::dim(format!("the former journal is {}", aside.display())).at(2).hang(4));
    }
}

fn yes(ui: &Ui, question: &str, not: &str) -> Result<bool, UsageError> {
    match ui.confirm(question) {
        Some(true) => Ok(true),
        Some(false) => {
            ui.say(Text::yellow(not).into());
            Ok(false)
        }
        None => Err(UsageError {
            what: "`resolve` asks before it does that, and there is no terminal to ask on".into(),
            more: vec![not.into()],
            hint: Some("once you have read the lines above: the same command with `--yes`".into()),
        }),
    }
}
