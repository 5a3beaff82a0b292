//! `rehome gate`: a script for a side, on standard output; what to know about it, on standard error.

use rehome_engine::{Error, SideGate};

use crate::args::{Gate, Global};
use crate::exit::Exit;
use crate::ui::{Text, Ui, words};

/// Prints it. Nothing is reached, nothing is written.
pub async fn run(ui: &Ui, global: &Global, args: &Gate) -> Result<Exit, Error> {
    let migration = super::migration(global)?;
    let user = args.user.as_deref();
    let Some(file) = args.key.as_ref().filter(|_| !args.remove) else {
        let script = migration.without_gate(args.side, user)?;
        ui.raw("gate", &script);
        how(ui, args, "takes the gate away");
        return Ok(Exit::Done);
    };
    let key = std::fs::read_to_string(file).map_err(|error| rehome_engine::UsageError {
        what: format!("cannot read the public key {}: {error}", file.display()),
        more: vec![],
        hint: Some("make one for this: `ssh-keygen -t ed25519 -f rehome-key`, and give rehome-key.pub".into()),
    })?;
    let loader = super::loader(ui, &migration);
    let SideGate { side, script, beyond, without_reader } = migration.gate(&*loader, args.side, &key, user)?;
    ui.raw("gate", &script);
    how(ui, args, "lets that key in for what is approved, and nothing else");
    for line in &beyond {
        ui.say(Text::yellow("! ").plain(format!("no gate lets this pass: {line}")).at(0).hang(2));
    }
    if !without_reader.is_empty() {
        let text = format!(
            "a gate reaches databases as nobody, and a server lets nobody in without a password: name an account that can \
             only read in the plan, with `read-user` and `read-password` in [{side}.database.NAME], for {}",
            words::list(&without_reader)
        );
        ui.say(Text::yellow("! ").plain(text).at(0).hang(2));
    }
    Ok(Exit::Done)
}

fn how(ui: &Ui, args: &Gate, what: &str) {
    let side = args.side;
    ui.say(Text::new(format!("a script for root on {side}: it {what}")).into());
    ui.say(
        Text::dim(format!("read it, then: `rehome gate {side} … | ssh root@{side} sh`, with a key of yours")).into(),
    );
}
