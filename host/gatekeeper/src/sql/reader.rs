//! Whether an account that the plan names for reading can only read. Invariant: what cannot be understood counts as more than
//! reading; nothing of a grant but the names of privileges is ever shown (SHOW GRANTS tells the hash of the password).

use super::place::At;
use crate::types::Failure;

/// Privileges of MariaDB and MySQL with which nothing can be changed.
const READING: [&str; 5] = ["USAGE", "SELECT", "SHOW VIEW", "SHOW DATABASES", "SHOW CREATE ROUTINE"];

/// A row with a name of each thing that the account can do beyond reading tables.
pub(super) const POSTGRES: &str = "
    SELECT what FROM (
        SELECT 'SUPERUSER' AS what FROM pg_roles WHERE rolname = current_user AND rolsuper
        UNION ALL SELECT 'CREATEROLE' FROM pg_roles WHERE rolname = current_user AND rolcreaterole
        UNION ALL SELECT 'CREATEDB' FROM pg_roles WHERE rolname = current_user AND rolcreatedb
        UNION ALL SELECT 'REPLICATION' FROM pg_roles WHERE rolname = current_user AND rolreplication
        UNION ALL SELECT 'the role ' || rolname FROM pg_roles WHERE pg_has_role(current_user, oid, 'MEMBER') AND rolname IN
            ('pg_execute_server_program', 'pg_write_server_files', 'pg_read_server_files', 'pg_write_all_data')
        UNION ALL SELECT DISTINCT p.what FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            CROSS JOIN (VALUES ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE')) AS p (what)
            WHERE c.relkind IN ('r', 'p', 'v', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
            AND n.nspname NOT LIKE 'pg_t%' AND has_table_privilege(c.oid, p.what)
    ) AS more ORDER BY what";

/// What a line of SHOW GRANTS allows beyond reading.
pub(super) fn beyond_reading(grant: &str) -> Vec<String> {
    let Some((privileges, rest)) = grant.strip_prefix("GRANT ").and_then(|grant| grant.split_once(" ON ")) else {
        // `GRANT role TO …`; a default role is granted by a line of its own.
        return if grant.starts_with("SET DEFAULT ROLE ") { vec![] } else { vec!["a role".to_owned()] };
    };
    let mut depth = 0;
    let without_columns: String = privileges
        .chars()
        .filter(|c| {
            depth += i32::from(*c == '(') - i32::from(*c == ')');
            depth == 0 && *c != ')'
        })
        .collect();
    let named = without_columns.split(',').map(str::trim).filter(|name| !READING.contains(name));
    let is_word = |name: &&str| name.chars().all(|c| c.is_ascii_uppercase() || c == ' ');
    let mut more: Vec<String> =
        named.map(|name| if is_word(&name) { name } else { "something else" }.to_owned()).collect();
    if rest.ends_with("WITH GRANT OPTION") {
        more.push("GRANT OPTION".to_owned());
    }
    more
}

/// Refuses an account that can do more.
pub(super) fn only_reads(at: &At, mut more: Vec<String>) -> Result<(), Failure> {
    more.sort();
    more.dedup();
    if more.is_empty() {
        return Ok(());
    }
    Err(at.not_only_reading(&more.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::beyond_reading;

    #[test]
    fn an_account_that_reads_may_read_and_nothing_else() {
        for (grant, more) in [
            ("GRANT USAGE ON *.* TO `r`@`localhost` IDENTIFIED BY PASSWORD '*ABC'", &[][..]),
            ("GRANT SELECT, SHOW VIEW ON `mail server`.* TO `r`@`localhost`", &[]),
            ("GRANT SELECT (a, b) ON `m`.`t` TO `r`@`localhost`", &[]),
            ("GRANT SELECT, UPDATE (a, b) ON `m`.`t` TO `r`@`localhost`", &["UPDATE"]),
            ("GRANT ALL PRIVILEGES ON *.* TO `r`@`localhost` WITH GRANT OPTION", &["ALL PRIVILEGES", "GRANT OPTION"]),
            ("GRANT SELECT, FILE ON *.* TO `r`@`localhost`", &["FILE"]),
            ("GRANT PROXY ON ''@'%' TO 'root'@'localhost'", &["PROXY"]),
            ("GRANT `writers` TO `r`@`localhost`", &["a role"]),
            ("SET DEFAULT ROLE `readers` FOR `r`@`localhost`", &[]),
            ("something new", &["a role"]),
            ("GRANT X\u{1b}[2J ON *.* TO `r`", &["something else"]),
        ] {
            assert_eq!(beyond_reading(grant), more, "{grant}");
        }
    }
}
