//! `rehome answer PHASE KEY VALUE…`.

use rehome_engine::Error;

use crate::args::{Answer, Global};
use crate::exit::Exit;
use crate::ui::{Text, Ui};

/// Records the answer, and says what to do next.
pub async fn run(ui: &Ui, global: &Global, args: &Answer) -> Result<Exit, Error> {
    let migration = super::migration(global)?;
    let loader = super::loader(ui, &migration);
    let answered = migration.answer(&args.phase, &args.key, &args.values, &*loader).await?;
    ui.event(&serde_json::json!({ "event": "answered", "answer": answered }));
    let text = format!(
        "recorded: {} for `{}` of phase `{}`, run {}",
        answered.values.join(" "),
        answered.key,
        answered.phase,
        answered.run
    );
    ui.say(Text::green(text).into());
    let next = if answered.asked {
        "next: `rehome apply`"
    } else {
        "it was not asked yet; the phase reads it when it comes to it"
    };
    ui.say(Text::dim(next).into());
    Ok(Exit::Done)
}
