//! Where a database of a side is and how it lets one in, if it is not MariaDB at its socket as root.
//! Invariant: a password is the name of a secret that the plan has.

use std::path::{Path, PathBuf};

use rehome_gatekeeper::{Account, DatabasePlace};
use toml::Spanned;

use super::Source;
use super::error::{PlanError, Refused};
use super::raw::{RawDatabase, RawPlan};

/// Exactly one of `socket`, `postgres` and `sqlite`; none: MariaDB's own place.
pub(super) fn place(source: &Source, name: &str, raw: &Spanned<RawDatabase>) -> Result<DatabasePlace, PlanError> {
    let refuse = |what: String| Refused::at(source, raw.span(), what);
    let database = raw.as_ref();
    let kinds = [&database.socket, &database.postgres, &database.sqlite];
    if kinds.iter().filter(|kind| kind.is_some()).count() > 1 {
        return Err(refuse(format!("database `{name}` is said to be in more than one place"))
            .more("it has one of: socket (MariaDB or MySQL), postgres, sqlite")
            .into());
    }
    let text = |value: &Option<Spanned<String>>| value.as_ref().map(|value| value.as_ref().clone());
    let account = |default: &str| Account {
        user: text(&database.user).unwrap_or_else(|| default.to_string()),
        password: text(&database.password),
    };
    if let (None, Some(password)) = (&database.read_user, &database.read_password) {
        let what = "`read-password` without `read-user`: whose is it?";
        return Err(Refused::at(source, password.span(), what).into());
    }
    let reader = text(&database.read_user).map(|user| Account { user, password: text(&database.read_password) });
    if let Some(socket) = &database.postgres {
        let socket = absolute(source, "postgres", socket)?;
        return Ok(DatabasePlace::Postgres { socket, account: account("postgres"), reader });
    }
    if let Some(file) = &database.sqlite {
        let logins = [&database.user, &database.password, &database.read_user, &database.read_password];
        if let Some(login) = logins.into_iter().find_map(Option::as_ref) {
            let what = "`user`, `password`, `read-user`: a SQLite file has no users";
            return Err(Refused::at(source, login.span(), what).into());
        }
        return Ok(DatabasePlace::Sqlite { path: absolute(source, "sqlite", file)? });
    }
    let socket = match &database.socket {
        Some(socket) => absolute(source, "socket", socket)?,
        None => PathBuf::from("/run/mysqld/mysqld.sock"),
    };
    Ok(DatabasePlace::MySql { socket, account: account("root"), reader })
}

/// Every password is a secret of the plan: a plan holds no password itself.
pub(super) fn passwords_are_secrets(source: &Source, raw: &RawPlan) -> Result<(), PlanError> {
    for (side, databases) in [("old", &raw.old.as_ref().database), ("new", &raw.new.as_ref().database)] {
        for (name, database) in databases {
            let raw_database = database.as_ref();
            let passwords = [("password", &raw_database.password), ("read-password", &raw_database.read_password)];
            let wrong = passwords.into_iter().find(|(_, password)| {
                password.as_ref().is_some_and(|password| !raw.secrets.contains_key(password.as_ref()))
            });
            if let Some((key, _)) = wrong {
                // The whole table is pointed at, not the value: an operator may have put the password itself there.
                let what = format!("`{key}` of [{side}.database.{name}] names no secret of the plan");
                let refused = Refused::at(source, database.span(), what);
                let accepted =
                    "it is the name of a table [secret.NAME] with file = \"/root/NAME\", a file that holds it";
                return Err(refused.more(accepted).into());
            }
        }
    }
    Ok(())
}

fn absolute(source: &Source, key: &str, path: &Spanned<PathBuf>) -> Result<PathBuf, PlanError> {
    let value: &Path = path.as_ref();
    if value.is_absolute() {
        return Ok(value.to_path_buf());
    }
    let refused = Refused::at(source, path.span(), format!("`{key}`: `{}` is not an absolute path", value.display()));
    Err(refused.more("it is a path on that side, so it begins with `/`").into())
}
