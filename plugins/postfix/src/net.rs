//! The safety net: `net-on`, `net-off`. While it is on nothing bounces, and old keeps in its queue what it takes, so that no
//! mailbox changes while it is copied. Invariants: what was being delivered when the net was spread has its outcome before
//! Dovecot stops (cut off between the mailbox and the answer it would be delivered twice); and old expands the aliases of a
//! mail exactly if it delivers it; if in doubt it does, as a copy too many is better than none.

use rehome_sdk::prelude::*;

use crate::quiet::{Waiting, obeyed, while_quiet};
use crate::settings::{HELD, PAUSED, Setting, UNEXPANDED, aliases_can_travel, reload};
use crate::{FORWARDS, NET_OFF, NET_ON, queue, requests};

pub(crate) fn on() -> Result<(), Failure> {
    for side in SIDES {
        if Setting::Bounces(side).now()? != "yes" {
            requests::exec::BOUNCES_OFF.on(side).run()?;
        }
        reload(side)?;
        Setting::Bounces(side).must_be("yes")?;
    }
    if journal::recall(NET_ON)?.is_none() {
        journal::remember(NET_ON, clock::now().to_string())?;
    }
    let travel = aliases_can_travel()?;
    // Applied again once old hands its mail to new: there is nothing to hold any more.
    let hold = journal::recall(FORWARDS)?.is_none();
    let login = Setting::Login.now()? != "no";
    let aliases = Setting::Aliases(Side::Old).now()? != UNEXPANDED && travel;
    let transport = Setting::Transport(Side::Old).now()? != HELD && hold;
    if login || aliases || transport || Setting::Intake(Side::Old).now()? == PAUSED {
        while_quiet(Side::Old, Waiting::Stays, || {
            if transport {
                requests::exec::HOLD.on(Side::Old).run()?;
                obeyed(Side::Old)?;
            }
            if aliases {
                requests::exec::ALIASES_THERE.on(Side::Old).run()?;
            }
            if login {
                requests::exec::LOGIN_OFF.on(Side::Old).run()?;
            }
            Ok(())
        })?;
    }
    Setting::Login.must_be("no")?;
    if travel {
        Setting::Aliases(Side::Old).must_be(UNEXPANDED)?;
    }
    if hold { Setting::Transport(Side::Old).must_be(HELD) } else { Ok(()) }
}

/// Old delivers again, and expands what it took unexpanded; only then may anything bounce.
pub(crate) fn on_back() -> Result<(), Failure> {
    for setting in [Setting::Transport(Side::Old), Setting::Aliases(Side::Old), Setting::Login] {
        setting.now()?;
    }
    while_quiet(Side::Old, Waiting::IsExpanded, || {
        requests::exec::ALIASES_BACK.on(Side::Old).run()?;
        requests::exec::LOGIN_BACK.on(Side::Old).run()?;
        obeyed(Side::Old)?;
        requests::exec::UNHELD.on(Side::Old).run().map(drop)
    })?;
    queue::drain(Side::Old)?;
    for side in SIDES {
        requests::exec::BOUNCES_BACK.on(side).run()?;
        if Setting::Bounces(side).now()? == "yes" {
            report::warning(&format!(
                "soft_bounce on {side} is `yes` again, as it was before: once no other migration needs it, `postconf soft_bounce=no`"
            ));
        }
        reload(side)?;
    }
    // What came while Dovecot was stopped waits, and Postfix would try it again only minutes later.
    SIDES.into_iter().rev().try_for_each(queue::drain)?;
    journal::forget(NET_ON)
}

pub(crate) fn off() -> Result<(), Failure> {
    for side in SIDES {
        Setting::Bounces(side).now()?;
        requests::exec::BOUNCES_BACK.on(side).run()?;
        // Another migration to the same new server may have spread its net before this one began.
        if Setting::Bounces(side).now()? == "yes" {
            report::warning(&format!(
                "soft_bounce on {side} was `yes` before this migration began; it is `no` from now on"
            ));
            requests::exec::BOUNCES_NO.on(side).run()?;
        }
        reload(side)?;
    }
    journal::remember(NET_OFF, "yes")
}

pub(crate) fn is_off(found: &mut Findings) -> Result<(), Failure> {
    for side in SIDES {
        let now = Setting::Bounces(side).now()?;
        let text = format!("soft_bounce is `{now}`");
        if now == "yes" {
            found.warning(format!("Postfix on {side}"), text)
        } else {
            found.ok(format!("Postfix on {side}"), text)
        };
    }
    Ok(())
}
