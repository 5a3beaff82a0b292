//! The user that owns the mail. Another number on new, and Dovecot there cannot read what is copied by number, or the mail
//! belongs to a stranger.

use rehome_sdk::prelude::*;

use crate::{heard, requests};

struct Account {
    uid: String,
    gid: String,
}

pub(crate) fn check(user: &str, found: &mut Findings) -> Result<(), Failure> {
    let old = look(Side::Old, user, found)?;
    let new = look(Side::New, user, found)?;
    let (Some(old), Some(new)) = (old, new) else { return Ok(()) };
    if old.uid == new.uid && old.gid == new.gid {
        found.ok(format!("user {user}"), format!("is {}:{} on both sides", old.uid, old.gid));
        return Ok(());
    }
    let mut remedy = Vec::new();
    if old.gid != new.gid {
        remedy.push(format!("groupmod -g {} {user}", old.gid));
    }
    if old.uid != new.uid {
        remedy.push(format!("usermod -u {} {user}", old.uid));
    }
    found
        .blocker(format!("user {user}"), format!("is {}:{} on old and {}:{} on new", old.uid, old.gid, new.uid, new.gid))
        .hint(format!(
            "on new, with Dovecot stopped: `{}`, then give its files to it again, and correct the numbers in Dovecot's settings",
            remedy.join("` and `")
        ));
    Ok(())
}

fn look(side: Side, user: &str, found: &mut Findings) -> Result<Option<Account>, Failure> {
    let answer = heard(requests::exec::ACCOUNT.on(side).run())?;
    let line = match &answer {
        Ok(output) => output.text(),
        Err(why) => {
            found.blocker(format!("user {user} on {side}"), format!("cannot be looked at: {why}"));
            return Ok(None);
        }
    };
    // passwd(5): name:password:uid:gid:…
    let fields: Vec<&str> = line.split(':').collect();
    if let [_, _, uid, gid, ..] = fields[..] {
        return Ok(Some(Account { uid: uid.into(), gid: gid.into() }));
    }
    let finding = found.blocker(format!("user {user} on {side}"), "is not there");
    if side == Side::New {
        finding.hint(format!(
            "the guide makes it: `groupadd -g 5000 {user}`, `useradd -g {user} -u 5000 {user}` (with old's numbers)"
        ));
    } else {
        finding.hint("set `user` in the plan to the user that owns the mail");
    }
    Ok(None)
}
