//! The demo's accounts, in the tables of the ISPmail guide, as SQLite.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use super::random::Random;

pub const DOMAINS: [&str; 3] = ["example.org", "example.net", "verein.example"];
const NAMES: [&str; 10] = ["john", "jane", "info", "postmaster", "anna", "bjoern", "carla", "dmitri", "eve", "o'neil"];

const SCHEMA: [&str; 3] = [
    "CREATE TABLE virtual_domains (id INTEGER PRIMARY KEY AUTOINCREMENT, name VARCHAR(50) NOT NULL)",
    "CREATE TABLE virtual_users (id INTEGER PRIMARY KEY AUTOINCREMENT, \
     domain_id INT NOT NULL REFERENCES virtual_domains (id) ON DELETE CASCADE, email VARCHAR(100) NOT NULL UNIQUE, \
     password VARCHAR(150) NOT NULL, quota BIGINT NOT NULL DEFAULT 0)",
    "CREATE TABLE virtual_aliases (id INTEGER PRIMARY KEY AUTOINCREMENT, \
     domain_id INT NOT NULL REFERENCES virtual_domains (id) ON DELETE CASCADE, source VARCHAR(100) NOT NULL, \
     destination VARCHAR(100) NOT NULL)",
];

/// Every user's local part and domain.
pub fn users() -> Vec<(&'static str, &'static str)> {
    DOMAINS.iter().flat_map(|domain| NAMES.iter().map(move |name| (*name, *domain))).collect()
}

/// The tables; and on old what is in them.
pub async fn make(path: &Path, filled: bool) -> Result<(), sqlx::Error> {
    let mut connection = SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await?;
    for statement in SCHEMA {
        sqlx::query(statement).execute(&mut connection).await?;
    }
    if filled {
        fill(&mut connection).await?;
    }
    connection.close().await
}

async fn fill(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut random = Random::new(7);
    let mut transaction = connection.begin().await?;
    // Gaps in the ids, as years leave them: new gives other ids.
    for (at, domain) in DOMAINS.iter().enumerate() {
        let insert = sqlx::query("INSERT INTO virtual_domains (id, name) VALUES (?, ?)");
        insert.bind(at as i64 * 3 + 2).bind(domain).execute(&mut *transaction).await?;
    }
    for (name, domain) in users() {
        let insert = sqlx::query(
            "INSERT INTO virtual_users (domain_id, email, password, quota) VALUES ((SELECT id FROM virtual_domains WHERE name = ?), ?, ?, ?)",
        );
        let quota = if random.below(3) == 0 { 1_073_741_824_i64 } else { 0 };
        insert
            .bind(domain)
            .bind(format!("{name}@{domain}"))
            .bind(password(&mut random))
            .bind(quota)
            .execute(&mut *transaction)
            .await?;
    }
    for domain in DOMAINS {
        for (source, destination) in [("webmaster", "info"), ("abuse", "postmaster")] {
            let insert = sqlx::query(
                "INSERT INTO virtual_aliases (domain_id, source, destination) VALUES ((SELECT id FROM virtual_domains WHERE name = ?), ?, ?)",
            );
            let (source, destination) = (format!("{source}@{domain}"), format!("{destination}@{domain}"));
            insert.bind(domain).bind(source).bind(destination).execute(&mut *transaction).await?;
        }
    }
    transaction.commit().await
}

/// Somebody gets an account while the migration waits. Answers who.
pub async fn one_more(path: &Path) -> Result<String, sqlx::Error> {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await?;
    let email = format!("newcomer@{}", DOMAINS[0]);
    sqlx::query("INSERT INTO virtual_users (domain_id, email, password) VALUES ((SELECT id FROM virtual_domains WHERE name = ?), ?, ?)")
        .bind(DOMAINS[0])
        .bind(&email)
        .bind(password(&mut Random::new(8)))
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Ok(email)
}

/// Looks like crypt(5) bcrypt; nobody knows a password for it.
fn password(random: &mut Random) -> String {
    const ALPHABET: &[u8] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let hash: String = (0..53).map(|_| char::from(ALPHABET[random.below(ALPHABET.len())])).collect();
    format!("{{BLF-CRYPT}}$2y$05${hash}")
}
