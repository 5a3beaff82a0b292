//! `rehome apply`.

use rehome_engine::{Applied, ApplyScope, Error};

use crate::args::{Apply, Global};
use crate::exit::Exit;
use crate::interrupt::listen;
use crate::ui::{Text, Ui, findings, words};

/// What happens is shown as it does; how it ended, as exit code too.
pub async fn run(ui: &Ui, global: &Global, args: &Apply) -> Result<Exit, Error> {
    let migration = super::migration(global)?;
    let scope = ApplyScope { until: args.until, again: args.again.clone(), take_over: args.take_over };
    let applied = migration.apply(&scope, super::loader(ui, &migration), ui.sink(), listen(ui)).await?;
    Ok(show(ui, applied))
}

fn show(ui: &Ui, applied: Applied) -> Exit {
    match applied {
        Applied::Finished { applied, left } => {
            ui.event(&serde_json::json!({ "event": "applied", "applied": applied, "left": left }));
            let done = match applied.as_slice() {
                [] if left.is_empty() => "nothing to do: every phase is done".to_string(),
                [] => "nothing to do here".to_string(),
                applied => format!("applied {}", words::count(applied.len(), "phase")),
            };
            let next = match left.as_slice() {
                [] => "; next: `rehome verify`".to_string(),
                left => format!("; left: {}", words::list(left)),
            };
            ui.say(Text::green(done).plain(next).at(0).hang(2));
            Exit::Done
        }
        Applied::Blocked(found) => {
            findings::show(ui, &found);
            let tally = findings::tally(&found, "blocker");
            ui.say(
                Text::red(tally)
                    .plain(": nothing was changed; put right what is named, then run `rehome apply` again")
                    .at(0)
                    .hang(2),
            );
            Exit::Blocked
        }
        Applied::Waiting { phase, question, .. } => {
            findings::question(ui, &phase, &question);
            Exit::Waiting
        }
    }
}
