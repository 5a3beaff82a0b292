//! What users have in Roundcube: contacts, groups with their members, identities, saved searches, settings; read from its
//! tables by content, for the numbers of rows are a server's own affair. Works for the schemas of 1.4 and 1.6.

use super::{diff_maps, field};
use crate::lab::Machine;
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The users that Roundcube knows under one IMAP server (`mail_host`), by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct People(pub BTreeMap<String, Person>);

/// One user. Rows are the JSON of their columns, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Person {
    /// Language, settings, first and last login.
    pub user: Vec<String>,
    /// Contacts that are not deleted.
    pub contacts: Vec<String>,
    /// Contacts that the user has deleted: Roundcube keeps their rows.
    pub deleted_contacts: Vec<String>,
    /// Contact groups: the name, and the addresses in them.
    pub groups: Vec<String>,
    /// Identities.
    pub identities: Vec<String>,
    /// Saved searches.
    pub searches: Vec<String>,
}

/// One line of the query's answer.
#[derive(Deserialize)]
struct Row {
    user: String,
    kind: String,
    row: Value,
}

/// `mail_host` stands for `:host`. JSON_OBJECT escapes whatever is in a text, so a row is a line.
const QUERY: &str = "
SELECT JSON_OBJECT('user', u.username, 'kind', 'user', 'row', JSON_OBJECT('language', u.language,
  'preferences', u.preferences, 'created', CAST(u.created AS CHAR), 'last_login', CAST(u.last_login AS CHAR)))
  FROM users u WHERE u.mail_host = :host;
SELECT JSON_OBJECT('user', u.username, 'kind', IF(c.del, 'deleted', 'contact'), 'row', JSON_OBJECT('name', c.name,
  'email', c.email, 'firstname', c.firstname, 'surname', c.surname, 'vcard', c.vcard, 'words', c.words,
  'changed', CAST(c.changed AS CHAR))) FROM contacts c JOIN users u USING (user_id) WHERE u.mail_host = :host;
SELECT JSON_OBJECT('user', u.username, 'kind', 'group', 'row', JSON_OBJECT('name', g.name, 'changed',
  CAST(g.changed AS CHAR), 'members', (SELECT GROUP_CONCAT(c.email ORDER BY BINARY c.email) FROM contactgroupmembers m
  JOIN contacts c USING (contact_id) WHERE m.contactgroup_id = g.contactgroup_id)))
  FROM contactgroups g JOIN users u USING (user_id) WHERE u.mail_host = :host AND g.del = 0;
SELECT JSON_OBJECT('user', u.username, 'kind', 'identity', 'row', JSON_OBJECT('standard', i.standard, 'name', i.name,
  'organization', i.organization, 'email', i.email, 'reply-to', i.`reply-to`, 'bcc', i.bcc, 'signature', i.signature,
  'html', i.html_signature)) FROM identities i JOIN users u USING (user_id) WHERE u.mail_host = :host AND i.del = 0;
SELECT JSON_OBJECT('user', u.username, 'kind', 'search', 'row', JSON_OBJECT('type', s.type, 'name', s.name,
  'data', s.data)) FROM searches s JOIN users u USING (user_id) WHERE u.mail_host = :host;
";

const MYSQL: &[&str] = &["mysql", "--default-character-set=utf8mb4", "--skip-column-names", "--raw", "roundcube"];

/// Everybody who uses Roundcube with the IMAP server `mail_host`.
///
/// # Errors
/// There is no database `roundcube`, or it is not Roundcube's.
pub fn people(machine: &Machine, mail_host: &str) -> Result<People> {
    // The default of GROUP_CONCAT would cut long groups off without a word.
    let query = format!("SET group_concat_max_len = 1000000;{QUERY}").replace(":host", &format!("'{mail_host}'"));
    let mut all: BTreeMap<String, Person> = BTreeMap::new();
    for line in ask(machine, &query)?.lines() {
        let row: Row = serde_json::from_str(line).with_context(|| format!("not a row: {line}"))?;
        let person = all.entry(row.user).or_default();
        let rows = match row.kind.as_str() {
            "user" => &mut person.user,
            "contact" => &mut person.contacts,
            "deleted" => &mut person.deleted_contacts,
            "group" => &mut person.groups,
            "identity" => &mut person.identities,
            _ => &mut person.searches,
        };
        rows.push(row.row.to_string());
        rows.sort();
    }
    Ok(People(all))
}

/// The IMAP servers that Roundcube knows users under, with their number.
///
/// # Errors
/// As [`people`].
pub fn hosts(machine: &Machine) -> Result<BTreeMap<String, usize>> {
    let said = ask(machine, "SELECT mail_host, COUNT(*) FROM users GROUP BY mail_host")?;
    let line = |line: &str| {
        let (host, count) = line.split_once('\t').with_context(|| format!("not a host and a number: {line}"))?;
        Ok((host.to_owned(), count.parse()?))
    };
    said.lines().map(line).collect()
}

fn ask(machine: &Machine, query: &str) -> Result<String> {
    let done = machine.ssh_with_input(MYSQL, query.as_bytes())?;
    let said = String::from_utf8(done.stdout)?;
    anyhow::ensure!(
        done.status.success(),
        "Roundcube's database on {}: {}",
        machine.name(),
        String::from_utf8_lossy(&done.stderr).trim()
    );
    Ok(said)
}

impl People {
    /// How `after` differs.
    #[must_use]
    pub fn diff(&self, after: &Self) -> Vec<String> {
        diff_maps(&self.0, &after.0, |a, b| {
            let fields = [
                field("user", &a.user, &b.user),
                rows("contact", &a.contacts, &b.contacts),
                rows("deleted contact", &a.deleted_contacts, &b.deleted_contacts),
                rows("group", &a.groups, &b.groups),
                rows("identity", &a.identities, &b.identities),
                rows("search", &a.searches, &b.searches),
            ];
            fields.concat()
        })
    }
}

/// How two sorted lists differ; what is there twice counts twice.
fn rows(what: &str, before: &[String], after: &[String]) -> Vec<String> {
    let mut gone = before.to_vec();
    let mut new = Vec::new();
    for row in after {
        match gone.iter().position(|other| other == row) {
            Some(place) => drop(gone.remove(place)),
            None => new.push(row),
        }
    }
    let gone = gone.iter().map(|row| format!("{what} gone: {row}"));
    gone.chain(new.iter().map(|row| format!("{what} new: {row}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::rows;

    #[test]
    fn a_row_that_is_there_twice_counts_twice() {
        let [one, two] = [vec!["a".to_owned()], vec!["a".to_owned(), "a".to_owned()]];
        assert_eq!(rows("contact", &two, &one), ["contact gone: a"]);
        assert_eq!(rows("contact", &one, &two), ["contact new: a"]);
        assert!(rows("contact", &two, &two).is_empty());
    }
}
