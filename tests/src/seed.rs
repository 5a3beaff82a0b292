//! The accounts that `old` and `other` are seeded with: domains, users, aliases, who uses Roundcube. One list for the
//! tests and for `seed.py` and `seed_system.py`, which make the rest: `tests/lab/accounts.json` and `other.json`.

use serde::Deserialize;
use std::sync::OnceLock;

/// The lists themselves, as the scripts read them.
const ACCOUNTS_JSON: &str = include_str!("../lab/accounts.json");
const OTHER_JSON: &str = include_str!("../lab/other.json");

/// Everything in the list.
#[derive(Debug, Deserialize)]
pub struct Accounts {
    /// Mail domains, in the order of their ids in `virtual_domains` (from 1).
    pub domains: Vec<String>,
    /// Mailboxes.
    pub users: Vec<User>,
    /// Rows of `virtual_aliases`.
    pub aliases: Vec<Alias>,
    /// Who has entries in Roundcube's database.
    pub webmail: Vec<Webmail>,
    /// What rspamd has learned.
    pub training: Training,
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

/// What one user has in Roundcube; deleted contacts not counted.
#[derive(Debug, Deserialize)]
pub struct Webmail {
    /// The address, which is Roundcube's `username`.
    pub email: String,
    /// How many contacts.
    pub contacts: usize,
    /// The names of the contact groups.
    pub groups: Vec<String>,
    /// How many identities.
    pub identities: usize,
}

/// How many messages rspamd was taught from.
#[derive(Debug, Deserialize)]
pub struct Training {
    /// By `rspamc learn_ham`.
    pub ham: u32,
    /// By `rspamc learn_spam`.
    pub spam: u32,
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

/// The accounts of `other`.
///
/// # Panics
/// When `other.json` is not what the types above say: an error of the source tree.
#[must_use]
pub fn other_accounts() -> &'static Accounts {
    static PARSED: OnceLock<Accounts> = OnceLock::new();
    PARSED.get_or_init(|| serde_json::from_str(OTHER_JSON).expect("tests/lab/other.json does not fit its types"))
}

/// The user of `old` with this address.
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

    #[test]
    fn the_second_server_is_small_and_has_no_address_of_the_first() {
        let other = other_accounts();
        assert_eq!(other.users.len(), 5);
        assert_eq!(other.users.iter().map(|user| user.mails).sum::<u32>(), 150);
        assert!(other.domains.iter().all(|domain| !accounts().domains.contains(domain)));
    }

    #[test]
    fn who_uses_roundcube_has_a_mailbox() {
        for list in [accounts(), other_accounts()] {
            for person in &list.webmail {
                assert!(list.users.iter().any(|user| user.email == person.email), "{}", person.email);
            }
        }
    }
}
