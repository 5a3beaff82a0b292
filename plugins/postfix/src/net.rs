//! The safety net: `net-on`, `net-off`. While it is on nothing bounces, and old keeps in its queue what it takes, so that no
//! mailbox changes while it is copied. Invariant: what was being delivered when the net was spread has its outcome before
//! Dovecot stops: a delivery that is cut off after the mailbox and before the answer would be made twice.

use rehome_sdk::prelude::*;

use crate::settings::{HELD, Setting, UNEXPANDED, aliases_can_travel, reload};
use crate::{FORWARDS, NET_OFF, NET_ON, queue, requests};

/// How long deliveries that have begun may take, in seconds.
const DELIVERIES: u32 = 60;

pub(crate) fn on() -> Result<(), Failure> {
    for side in SIDES {
        if Setting::Bounces(side).now()? != "yes" {
            requests::exec::BOUNCES_OFF.on(side).run()?;
        }
    }
    if Setting::Login.now()? != "no" {
        requests::exec::LOGIN_OFF.on(Side::Old).run()?;
    }
    let travel = aliases_can_travel()?;
    if Setting::Aliases(Side::Old).now()? != UNEXPANDED && travel {
        requests::exec::ALIASES_THERE.on(Side::Old).run()?;
    }
    // Applied again once old hands its mail to new: there is nothing to hold any more.
    let hold = journal::recall(FORWARDS)?.is_none();
    if Setting::Transport(Side::Old).now()? != HELD && hold {
        requests::exec::HOLD.on(Side::Old).run()?;
    }
    for side in SIDES {
        reload(side)?;
        Setting::Bounces(side).must_be("yes")?;
    }
    Setting::Login.must_be("no")?;
    if travel {
        Setting::Aliases(Side::Old).must_be(UNEXPANDED)?;
    }
    if journal::recall(NET_ON)?.is_none() {
        journal::remember(NET_ON, clock::now().to_string())?;
    }
    if !hold {
        return Ok(());
    }
    Setting::Transport(Side::Old).must_be(HELD)?;
    deliveries_end()
}

/// What was being delivered on old has arrived, or waits: nothing of it is half done.
fn deliveries_end() -> Result<(), Failure> {
    let begun: Vec<String> = active()?;
    let over = || {
        let active = active()?;
        Ok(!begun.iter().any(|id| active.contains(id)))
    };
    if !clock::wait_for(DELIVERIES, over)? {
        report::warning("a delivery on old takes long: if it is cut off when Dovecot stops, it is made again later");
    }
    Ok(())
}

fn active() -> Result<Vec<String>, Failure> {
    let busy = queue::of(Side::Old)?.into_iter().filter(|one| one.queue_name == "active");
    Ok(busy.map(|one| one.queue_id).collect())
}

/// Old delivers again, and expands what it took unexpanded; only then may anything bounce.
pub(crate) fn on_back() -> Result<(), Failure> {
    for setting in [Setting::Transport(Side::Old), Setting::Aliases(Side::Old), Setting::Login] {
        setting.now()?;
    }
    requests::exec::UNHELD.on(Side::Old).run()?;
    requests::exec::ALIASES_BACK.on(Side::Old).run()?;
    requests::exec::LOGIN_BACK.on(Side::Old).run()?;
    reload(Side::Old)?;
    anew(Side::Old)?;
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
    SIDES.into_iter().rev().try_for_each(|side| requests::exec::FLUSH.on(side).run().map(drop))?;
    journal::forget(NET_ON)
}

/// What waits goes through alias expansion again. A reload wakes pickup(8), which else looks once a minute.
pub(crate) fn anew(side: Side) -> Result<(), Failure> {
    if queue::of(side)?.is_empty() {
        return Ok(());
    }
    requests::exec::AGAIN.on(side).run()?;
    reload(side)
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
