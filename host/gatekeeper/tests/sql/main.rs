//! The SQL capability, through real sessions: SQLite files in folders, and MariaDB and PostgreSQL servers that the tests
//! start themselves, each in a folder of its own, reached by a socket only.
#![expect(clippy::disallowed_methods, reason = "the tests run servers and their clients themselves")]
#![expect(clippy::disallowed_macros, reason = "the tests say what they skip, and how fast it was")]

mod lab;
mod login;
mod mariadb;
mod phases;
mod postgres;
mod roundcube;
mod servers;
mod speed;
mod sqlite;
