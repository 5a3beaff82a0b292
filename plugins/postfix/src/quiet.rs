//! A pause of some seconds in which a side takes no mail, to change settings that belong together. Postfix's processes read
//! main.cf each at its own time, a new one when it starts: without the pause a mail is taken under the old settings and delivered
//! under the new ones, or the other way round.
//! Invariants: no mail comes by SMTP until everything obeys the new settings; and whatever happens in between, mail comes in again
//! afterwards, if the side can be reached at all.

use rehome_sdk::prelude::*;

use crate::settings::{PAUSED, Setting, reload};
use crate::{queue, requests};

/// How long deliveries that have begun may take, in seconds.
const DELIVERIES: u32 = 60;
/// How often in a row nothing may be under way until it counts as quiet: a client may send one more in its session.
const LOOKS: u32 = 3;
/// How long processes that a reload replaces may take to notice: master(8) does not wait for them.
/// Measured under load: of thirty flushes right after a reload two were obeyed by the old ones, of thirty after this time none.
const REPLACED_MS: u32 = 500;

/// What becomes of mail that waits in the queue while settings change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// it stays as it was taken
    Stays,
    /// it was taken unexpanded: it goes through alias expansion again
    IsExpanded,
}

/// Takes no mail, waits until what came in is delivered or waits, changes, and takes mail again.
pub(crate) fn while_quiet(
    side: Side,
    waiting: Waiting,
    change: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    if Setting::Intake(side).now()? != PAUSED {
        requests::exec::PAUSE.on(side).run()?;
    }
    reload(side)?;
    // Obeyed before mail comes in: an smtpd(8) that starts once the pause is taken out of main.cf has the new settings, while
    // the queue manager would have the old ones until the next reload.
    let outcome = come_to_rest(side).and_then(|()| change()).and_then(|()| obeyed(side));
    requests::exec::RESUME.on(side).run()?;
    if outcome.is_ok() && waiting == Waiting::IsExpanded && !queue::of(side)?.is_empty() {
        requests::exec::AGAIN.on(side).run()?;
    }
    // It wakes pickup(8) too, which takes up what was put back.
    reload(side)?;
    outcome?;
    if Setting::Intake(side).now()? == PAUSED {
        return Err(stopped(format!("Postfix on {side}"), "takes no mail: smtpd_data_restrictions was not put back")
            .hint("run `rehome apply` again"));
    }
    Ok(())
}

/// Everything obeys the settings as they are now. Between two of them where one alone does no harm, and the other would: mail
/// from the side itself, by pickup(8), comes in during a pause, too.
pub(crate) fn obeyed(side: Side) -> Result<(), Failure> {
    reload(side)?;
    clock::sleep(REPLACED_MS)
}

/// What was being delivered to the mailboxes has arrived, or waits: nothing of it is half done.
fn come_to_rest(side: Side) -> Result<(), Failure> {
    let domains = requests::sql::DOMAINS.on(side).rows()?.texts("name");
    let mut quiet = 0;
    let over = clock::wait_for(DELIVERIES, || {
        let all = queue::of(side)?;
        let busy =
            all.iter().any(|one| one.queue_name != "deferred" && one.queue_name != "hold" && one.is_for(&domains));
        quiet = if busy { 0 } else { quiet + 1 };
        Ok(quiet >= LOOKS)
    })?;
    if !over {
        report::warning(&format!("a delivery on {side} takes long: if it is cut off it is made again later"));
    }
    Ok(())
}
