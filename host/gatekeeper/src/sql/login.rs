//! Who a connection logs in as: the plan's user of that database, with a password where the plan names a secret of it.
//! Invariant: a login that is refused names the side, the database, the user and what to put into the plan; a password is
//! never part of any message.

use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;

use super::place::{Use, server_words};
use crate::door::Permit;
use crate::host::Account;
use crate::services::Secret;
use crate::types::{Failure, SideName};

/// A login of a server, as the plan has it.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub user: String,
    /// the name of a secret of the plan
    secret: Option<String>,
    on: SideName,
    database: String,
    pub product: Product,
    /// it is the account that only reads
    reads: bool,
}

/// Whose login it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Product {
    MySql,
    Postgres,
}

/// Why a server said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// not this user, or not with this password
    Login,
    /// this user, but not this database
    Database,
}

impl Login {
    /// Whatever only reads does so as the `reader`, where the plan has one: the account is the boundary, not what a statement
    /// says of itself.
    pub(super) fn new(
        product: Product,
        on: SideName,
        database: &str,
        account: Account,
        reader: Option<Account>,
        use_for: Use,
    ) -> Login {
        let reader = reader.filter(|_| use_for.only_reads());
        let reads = reader.is_some();
        let Account { user, password: secret } = reader.unwrap_or(account);
        Login { user, secret, on, database: database.into(), product, reads }
    }

    /// It is the account that the plan names for reading.
    pub(super) fn reads(&self) -> bool {
        self.reads
    }

    /// What to do where it can do more.
    pub(super) fn only_reading(&self) -> String {
        let Login { user, on, database, .. } = self;
        format!(
            "on {on}, take all of that from `{user}`, so that it can SELECT and no more, or name another `read-user` in \
             [{on}.database.{database}] of the plan; without one rehome reads as `user`, and `approve` says so"
        )
    }

    /// The password, read now.
    pub(super) fn password(&self, permit: &Permit) -> Result<Option<Secret>, Failure> {
        self.secret.as_deref().map(|name| permit.host().services.secret(permit, name)).transpose()
    }

    /// What to say of an error that is a refused login or database; none for any other error.
    pub(super) fn explain(&self, error: &dyn DatabaseError, what: &str) -> Option<String> {
        let why = refusal(error)?;
        let with = match &self.secret {
            Some(name) => format!("with the password in the secret `{name}`"),
            None => "without a password".into(),
        };
        let words = server_words(error);
        Some(format!("{words}\n  {what}, as user `{}` {with}\nhint: {}", self.user, self.remedy(why)))
    }

    fn remedy(&self, why: Refusal) -> String {
        let Login { user, on, database, .. } = self;
        if self.reads && why == Refusal::Database {
            return format!(
                "on {on}, let `{user}` read `{database}` (MariaDB: GRANT SELECT, SHOW VIEW ON `{database}`.*), or name another \
                 `read-user` in [{on}.database.{database}] of the plan"
            );
        }
        match (why, &self.secret, self.product) {
            (Refusal::Database, _, Product::MySql) => {
                format!(
                    "on {on}, give `{user}` all rights on `{database}`.* (GRANT ALL PRIVILEGES), or name another `user` in [{on}.database.{database}] of the plan"
                )
            }
            (Refusal::Database, _, Product::Postgres) => {
                format!(
                    "on {on}, give `{user}` the right to CONNECT to `{database}`, or name another `user` in [{on}.database.{database}] of the plan"
                )
            }
            (Refusal::Login, Some(name), _) => format!(
                "the file of [secret.{name}] must hold the password that `{user}` has on {on}, and nothing else"
            ),
            (Refusal::Login, None, Product::MySql) => format!(
                "give the plan a login that {on} takes: [{on}.database.{database}] with user = \"root\" and password = \"NAME\", \
                 and [secret.NAME] with file = \"/root/NAME\", mode 600; \
                 or let root in over the socket on {on}: ALTER USER root@localhost IDENTIFIED VIA unix_socket"
            ),
            (Refusal::Login, None, Product::Postgres) => format!(
                "give the plan a login that {on} takes: [{on}.database.{database}] with user and password = \"NAME\", \
                 and [secret.NAME] with file = \"/root/NAME\", mode 600; or allow `peer` for `{user}` in pg_hba.conf on {on}"
            ),
        }
    }
}

/// MariaDB's errors 1044 (no right to the database), 1045 and 1698 (unix_socket said no), 1130 (host), 1862 and 1820
/// (password expired); PostgreSQL's class 28 and 42501.
fn refusal(error: &dyn DatabaseError) -> Option<Refusal> {
    if let Some(mysql) = error.try_downcast_ref::<MySqlDatabaseError>() {
        return match mysql.number() {
            1045 | 1130 | 1698 | 1820 | 1862 => Some(Refusal::Login),
            1044 => Some(Refusal::Database),
            _ => None,
        };
    }
    match error.code()?.as_ref() {
        "28000" | "28P01" => Some(Refusal::Login),
        "42501" => Some(Refusal::Database),
        _ => None,
    }
}
