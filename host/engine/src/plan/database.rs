//! Where a database of a side is, if it is not at MariaDB's socket as root.

use std::path::{Path, PathBuf};

use rehome_gatekeeper::DatabasePlace;
use toml::Spanned;

use super::Source;
use super::error::{PlanError, Refused};
use super::raw::RawDatabase;

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
    let user = |default: &str| database.user.as_ref().map_or(default.to_string(), |user| user.as_ref().clone());
    if let Some(socket) = &database.postgres {
        return Ok(DatabasePlace::Postgres { socket: absolute(source, "postgres", socket)?, user: user("postgres") });
    }
    if let Some(file) = &database.sqlite {
        if let Some(user) = &database.user {
            return Err(Refused::at(source, user.span(), "`user`: a SQLite file has no users").into());
        }
        return Ok(DatabasePlace::Sqlite { path: absolute(source, "sqlite", file)? });
    }
    let socket = match &database.socket {
        Some(socket) => absolute(source, "socket", socket)?,
        None => PathBuf::from("/run/mysqld/mysqld.sock"),
    };
    Ok(DatabasePlace::MySql { socket, user: user("root") })
}

fn absolute(source: &Source, key: &str, path: &Spanned<PathBuf>) -> Result<PathBuf, PlanError> {
    let value: &Path = path.as_ref();
    if value.is_absolute() {
        return Ok(value.to_path_buf());
    }
    let refused = Refused::at(source, path.span(), format!("`{key}`: `{}` is not an absolute path", value.display()));
    Err(refused.more("it is a path on that side, so it begins with `/`").into())
}
