//! `rehome check`.

use rehome_engine::Error;

use crate::args::{Check, Global};
use crate::exit::Exit;
use crate::interrupt::listen;
use crate::ui::{Text, Ui, findings};

/// Findings on standard output; the verdict as talk and as exit code.
pub async fn run(ui: &Ui, global: &Global, args: &Check) -> Result<Exit, Error> {
    let migration = super::migration(global)?;
    let found = migration.check(args.until, super::loader(ui, &migration), ui.sink(), listen(ui)).await?;
    findings::show(ui, &found);
    if !found.failures.is_empty() {
        ui.say(Text::red(findings::tally(&found, "blocker")).into());
        return Ok(Exit::Error);
    }
    if found.blockers().next().is_some() {
        let tally = findings::tally(&found, "blocker");
        ui.say(Text::red(tally).plain(": put right what is named, then run `rehome check` again").into());
        return Ok(Exit::Blocked);
    }
    ui.say(Text::green("nothing stands in the way").plain("; next: `rehome preview`, `rehome apply`").into());
    Ok(Exit::Done)
}
