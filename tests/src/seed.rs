//! The accounts that `old` is seeded with: 3 domains, 30 users, aliases. One list for the tests and for `seed.py`,
//! which makes the mail: `tests/lab/accounts.json`.

use serde::Deserialize;
use std::sync::OnceLock;

/// The list itself, as `seed.py` reads it.
pub const ACCOUNTS_JSON: &str = include_str!("../lab/accounts.json");

/// Everything in the list.
#[derive(Debug, Deserialize)]
pub struct Accounts {
    /// Mail domains, in the order of their ids in `virtual_domains` (from 1).
    pub domains: Vec<String>,
    /// Mailboxes.
    pub users: Vec<User>,
    /// Rows of `virtual_aliases`.
    pub aliases: Vec<Alias>,
}

/// One mailbox and how to log in to it.
#[derive(Debug, Clone, Deserialize)]
pub struct User {
    /// The address, which is also the login name.
    pub email: String,
    /// In the clear: what the user types.
    pub password: String,
    /// Dovecot's name of the hash scheme it is stored with.
    pub scheme: String,
    /// `virtual_users.quota`, in bytes; 0 is none.
    pub quota: u64,
    /// How many mails are appended over IMAP (copies, deliveries and expunged ones change the final number).
    pub mails: u32,
}

/// One row of `virtual_aliases`.
#[derive(Debug, Deserialize)]
pub struct Alias {
    /// The address that is rewritten.
    pub source: String,
    /// Where to: addresses, separated by commas.
    pub destination: String,
}

/// The accounts of `old`.
///
/// # Panics
/// When `accounts.json` is not what the types above say: an error of the source tree.
#[must_use]
pub fn accounts() -> &'static Accounts {
    static PARSED: OnceLock<Accounts> = OnceLock::new();
    PARSED.get_or_init(|| serde_json::from_str(ACCOUNTS_JSON).expect("tests/lab/accounts.json does not fit its types"))
}

/// The user with this address.
///
/// # Panics
/// When there is none: an error of the test.
#[must_use]
pub fn user(email: &str) -> &'static User {
    accounts()
        .users
        .iter()
        .find(|user| user.email == email)
        .unwrap_or_else(|| panic!("{email} is not in tests/lab/accounts.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_as_large_as_the_first_migration_must_move() {
        let list = accounts();
        assert_eq!(list.domains.len(), 3);
        assert_eq!(list.users.len(), 30);
        assert!(list.users.iter().map(|user| user.mails).sum::<u32>() >= 3000);
    }
}
