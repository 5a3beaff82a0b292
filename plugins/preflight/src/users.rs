//! Whether Dovecot can list its users: without `iterate_query`, `doveadm … -A` and `doveadm user '*'` do nothing, or fail.

use rehome_sdk::prelude::*;

use crate::{heard, requests};

/// `accounts`: users in the database, where it could be asked.
pub(crate) fn check(side: Side, accounts: Option<i64>, found: &mut Findings) -> Result<(), Failure> {
    let subject = format!("Dovecot on {side}");
    let wrong = match heard(requests::exec::USERS.on(side).run())? {
        Ok(output) => {
            let listed = output.lines().len();
            match accounts {
                Some(accounts) if accounts > 0 && listed == 0 => {
                    format!("`doveadm user '*'` lists nobody, and the database has {accounts} users")
                }
                _ => {
                    found.ok(subject, format!("lists {listed} users"));
                    return Ok(());
                }
            }
        }
        Err(why) => format!("cannot list its users: {why}"),
    };
    found.warning(subject, format!("{wrong}; its `iterate_query` is missing or wrong")).hint(
        "set `iterate_query = SELECT email AS user FROM virtual_users` in dovecot-sql.conf.ext; \
         until then the dovecot phase takes the users of the database",
    );
    Ok(())
}
