//! `rehome verify`.

use rehome_engine::Error;

use crate::args::Global;
use crate::exit::Exit;
use crate::interrupt::listen;
use crate::ui::{Text, Ui, findings, words};

/// Findings on standard output; the verdict as talk and as exit code.
pub async fn run(ui: &Ui, global: &Global) -> Result<Exit, Error> {
    let migration = super::migration(global)?;
    let found = migration.verify(super::loader(ui, &migration), ui.sink(), listen(ui)).await?;
    findings::show(ui, &found);
    if !found.skipped.is_empty() {
        let skipped = format!("not applied yet, so not compared: {}", words::list(&found.skipped));
        ui.say(Text::dim(skipped).at(0).hang(2));
    }
    if !found.failures.is_empty() {
        ui.say(Text::red(findings::tally(&found, "mismatch")).into());
        return Ok(Exit::Error);
    }
    if found.blockers().next().is_some() {
        ui.say(Text::red(mismatches(found.blockers().count())).into());
        return Ok(Exit::Mismatch);
    }
    if !found.called.is_empty() {
        let phases = words::count(found.called.len(), "phase");
        ui.say(Text::green("both sides are alike").plain(format!(", as {phases} see it")).into());
    }
    Ok(Exit::Done)
}

fn mismatches(number: usize) -> String {
    if number == 1 { "1 mismatch".into() } else { format!("{number} mismatches") }
}
