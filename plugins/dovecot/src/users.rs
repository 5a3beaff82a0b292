//! Who has mail. Dovecot says so itself where its `iterate_query` works; else the accounts' database does.
//! Either answer is also the host's proof that a user exists: holes take users from these reads alone.

use rehome_sdk::prelude::*;

use crate::requests;

/// Users of a side, with where they come from.
pub(crate) struct Users {
    pub(crate) names: Vec<String>,
    /// what was wrong with Dovecot's own list, if the database had to say it
    pub(crate) instead: Option<String>,
}

/// The users of a side. Call it in each call that names a user.
pub(crate) fn of(side: Side) -> Result<Users, Failure> {
    let why = match requests::exec::USERS.on(side).run() {
        Ok(output) if !output.lines().is_empty() => {
            return Ok(Users { names: plain(output.lines()), instead: None });
        }
        Ok(_) => "lists nobody".to_string(),
        Err(Failure::EndedBadly(tool)) => Failure::EndedBadly(tool).words(),
        Err(failure) => return Err(failure),
    };
    let names = plain(requests::sql::ACCOUNTS.on(side).rows()?.texts("email"));
    Ok(Users { names, instead: Some(why) })
}

/// Only whole addresses: folders are DOMAIN/USER. Dovecot's own accounts of the system are not the guide's.
fn plain(names: Vec<String>) -> Vec<String> {
    names.into_iter().filter(|name| name.contains('@')).collect()
}

/// What can be said about the users of a side before anything moves.
pub(crate) fn check(side: Side, found: &mut Findings) -> Result<(), Failure> {
    let subject = format!("users of Dovecot on {side}");
    if !crate::service::is_active(side)? {
        found.note(subject, "are not listed: Dovecot does not run");
        return Ok(());
    }
    match of(side) {
        Ok(Users { names, instead: None }) => {
            found.ok(subject, rehome_sdk::amount(names.len() as u64, "user", "users"));
        }
        Ok(Users { names, instead: Some(why) }) if !names.is_empty() => {
            let text = format!("`doveadm user '*'` {why}; the {} of the database are taken instead", names.len());
            found
                .warning(subject, text)
                .hint("set `iterate_query = SELECT email AS user FROM virtual_users` in dovecot-sql.conf.ext");
        }
        Ok(_) => {
            found.note(subject, "none yet");
        }
        Err(failure @ (Failure::EndedBadly(_) | Failure::Unreachable(_) | Failure::Other(_))) => {
            found
                .blocker(subject, format!("neither Dovecot nor the database lists them: {}", failure.words()))
                .hint("`doveadm user '*'` as root must list them, or `mysql` as root must reach the accounts");
        }
        Err(failure) => return Err(failure),
    }
    Ok(())
}

/// The user whose mail a folder holds: DOMAIN/USER/…
pub(crate) fn of_folder(folder: &[u8]) -> Option<String> {
    let mut parts = std::str::from_utf8(folder).ok()?.split('/');
    let (domain, user) = (parts.next()?, parts.next()?);
    (!domain.is_empty() && !user.is_empty()).then(|| format!("{user}@{domain}"))
}

/// Names of `users` that are in `wanted`, whatever their case: Dovecot's folders are in lower case.
pub(crate) fn among(users: &[String], wanted: &std::collections::BTreeSet<String>) -> Vec<String> {
    users.iter().filter(|user| wanted.contains(&user.to_ascii_lowercase())).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_names_its_user() {
        assert_eq!(of_folder(b"example.org/john/Maildir/.Sent").as_deref(), Some("john@example.org"));
        assert_eq!(of_folder(b"example.org/john").as_deref(), Some("john@example.org"));
        for strange in [&b"example.org"[..], b"", b"/john", b"example.org//x", b"ex\xff/john/Maildir"] {
            assert_eq!(of_folder(strange), None);
        }
    }
}
