//! `rehome approve`: everything the phases ask for, verbatim, and one question.

use rehome_engine::{Approval, Error, Less, LetIn, StrongReader};

use super::requests::{self, Shown};
use crate::args::{Approve, Global};
use crate::exit::Exit;
use crate::ui::{Text, Ui, words};

/// Shows every request; writes the lock only after a yes.
pub async fn run(ui: &Ui, global: &Global, args: &Approve) -> Result<Exit, Error> {
    let migration = super::migration(global)?;
    let approval = migration.approval(&*super::loader(ui, &migration))?;
    let less = Less { only: args.only.clone(), deny: args.deny.clone(), older: args.older.clone() };
    approval.known(&less)?;
    show(ui, &migration.plan().name, &approval);
    if approval.complete() && !less.is_less() && denied(&approval) == 0 {
        ui.say(Text::green("nothing new: all of this is approved already").into());
        return Ok(Exit::Done);
    }
    approval.not_older(&less)?;
    match ui.confirm(&question(&approval, &less)) {
        Some(true) => {}
        Some(false) => {
            ui.say(Text::yellow("not approved; nothing was written").into());
            return Ok(Exit::NotApproved);
        }
        None => {
            ui.say(Text::yellow("not approved; nothing was written").into());
            ui.say(
                Text::new("hint: there is no terminal to ask on; once you have read it: `rehome approve --yes`").into(),
            );
            return Ok(Exit::NotApproved);
        }
    }
    let (granted, withheld) = migration.approve(&approval, &less)?;
    ui.event(&serde_json::json!({ "event": "approved", "granted": granted, "withheld": withheld }));
    let left = if withheld == 0 { String::new() } else { format!(", {withheld} not granted") };
    let path = approval.path().display();
    ui.say(
        Text::green(format!("granted {}{left}", words::count(granted, "request"))).plain(format!(": {path}")).into(),
    );
    ui.say(Text::dim("keep it with the plan; next: `rehome check`").into());
    Ok(Exit::Done)
}

fn show(ui: &Ui, name: &str, approval: &Approval) {
    let phases = words::count(approval.phases.len(), "phase");
    let total = approval.phases.iter().map(|asking| asking.requests.len()).sum();
    ui.out(Text::bold(name).plain(format!(": {phases}, {}", words::count(total, "request"))).into());
    ui.out(Text::dim("All that the phases can ever do on either side is listed here, word for word.").into());
    ui.gap();
    let mut shown = Shown::default();
    for asking in &approval.phases {
        requests::phase(ui, asking, &mut shown);
        for (request, standing) in &asking.requests {
            ui.event(&serde_json::json!({
                "event": "request", "phase": asking.phase.id(), "id": request.id, "effect": request.effect,
                "on": request.on, "verbs": request.verbs, "reason": request.reason, "text": request.text,
                "marks": request.marks, "digest": request.digest, "component": asking.phase.digest,
                "publisher": asking.phase.signed.publisher(),
                "approved": standing,
            }));
        }
    }
    for LetIn { side, other } in &approval.let_in {
        let text = format!(
            "rehome itself: what {other} copies from {side} it fetches by itself, with a key made for that. A line in \
             authorized_keys of {side} lets it in, to read one tree, and is gone again within about a second. `direct = false` \
             below `[{side}]` in the plan forbids it: then all passes through this machine."
        );
        ui.out(Text::yellow("! ").plain(text).at(0).hang(2));
        ui.event(&serde_json::json!({ "event": "let-in", "side": side, "other": other }));
    }
    for reader in &approval.strong_readers {
        let StrongReader { side, database, user } = reader;
        let text = format!(
            "`{database}` on {side} is read as `{user}`: where that account can do more than read, only a read-only transaction \
             and a lint hold what is requested as a read to that. `read-user` in [{side}.database.{database}] of the plan \
             names one that can only read."
        );
        ui.out(Text::yellow("! ").plain(text).at(0).hang(2));
        ui.event(&serde_json::json!({ "event": "strong-reader", "reader": reader }));
    }
    for id in &approval.left_over {
        ui.out(
            Text::yellow("note: ").plain(format!("phase `{id}` is in the lock and not in the plan any more")).into(),
        );
    }
}

fn denied(approval: &Approval) -> usize {
    let all = approval.phases.iter().flat_map(|asking| &asking.requests);
    all.filter(|(_, standing)| *standing == rehome_engine::Standing::Denied).count()
}

fn question(approval: &Approval, less: &Less) -> String {
    if less.is_less() {
        return "Grant this, but for what the command line leaves out?".into();
    }
    let total: usize = approval.phases.iter().map(|asking| asking.requests.len()).sum();
    format!("Grant {}?", if total == 1 { "this request".to_string() } else { format!("these {total} requests") })
}
