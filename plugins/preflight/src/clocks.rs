//! The clocks of both sides: dates of mail, lifetimes of names and certificates depend on them.

use rehome_sdk::prelude::*;

use crate::requests;

/// How far a side's clock is ahead of rehome's, in seconds; none for a side that runs no commands.
pub(crate) fn look() -> Result<[Option<i64>; 2], Failure> {
    Ok([ahead(Side::Old)?, ahead(Side::New)?])
}

fn ahead(side: Side) -> Result<Option<i64>, Failure> {
    let before = clock::now();
    let answer = requests::exec::CLOCK.on(side).run();
    let after = clock::now();
    match answer {
        Ok(output) => {
            let seconds: i64 = output.text().parse().map_err(|_| {
                stopped(format!("the clock of {side}"), format!("`date +%s` printed `{}`", output.text()))
            })?;
            // The answer is from some moment between: the middle is off by half the way there and back.
            let here = i64::try_from(before + (after - before) / 2).unwrap_or(i64::MAX);
            Ok(Some(seconds - here))
        }
        Err(Failure::Unsupported(_)) => Ok(None),
        Err(failure) => Err(failure),
    }
}

pub(crate) fn check(allowed: u64, seen: &[Option<i64>; 2], found: &mut Findings) {
    let [Some(old), Some(new)] = seen else { return };
    let apart = old.abs_diff(*new);
    if apart > allowed {
        let (ahead, behind) = if new > old { (Side::New, Side::Old) } else { (Side::Old, Side::New) };
        found
            .warning("clocks", format!("{ahead} is {apart} s ahead of {behind}"))
            .hint("let systemd-timesyncd or chrony set both: `timedatectl set-ntp true`");
    } else {
        found.ok("clocks", format!("both sides are {apart} s apart"));
    }
}
