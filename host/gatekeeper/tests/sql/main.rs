//! The SQL capability, through real sessions: SQLite files in folders, and MariaDB and PostgreSQL servers that the tests
//! start themselves, each in a folder of its own, reached by a socket only.

mod lab;
mod mariadb;
mod postgres;
mod speed;
mod sqlite;
