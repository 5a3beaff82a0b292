//! What users see over IMAP: folders, messages byte for byte, flags, dates, UIDs, subscriptions.
//! Reading opens folders with EXAMINE: no flag changes, but Dovecot gives UIDs to mail it had not seen (in
//! `dovecot-uidlist`) and writes its index caches: take a [`super::listing`] without those. `tests/lab/imap_dump.py`.

use super::{diff_maps, field};
use crate::lab::{Lab, Machine, scripts};
use crate::process::run_with_input;
use crate::seed::User;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// All users of a server, by login name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct ServerDump(pub BTreeMap<String, UserDump>);

/// What one user sees.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UserDump {
    /// By name as IMAP lists it (modified UTF-7); bytes that are not printable ASCII, and `\`, as `\xNN`.
    #[serde(default)]
    pub folders: BTreeMap<String, Folder>,
    /// The answer to LSUB.
    #[serde(default)]
    pub subscriptions: BTreeSet<String>,
    /// Why the user could not be read.
    #[serde(default)]
    pub error: Option<String>,
}

/// One folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Folder {
    /// A name without a mailbox behind it.
    #[serde(default)]
    pub noselect: bool,
    /// RFC 3501, 2.3.1.1.
    #[serde(default)]
    pub uidvalidity: u32,
    /// The UID that the next message will get, at least.
    #[serde(default)]
    pub uidnext: u32,
    /// In the order of their UIDs.
    #[serde(default)]
    pub messages: Vec<Message>,
    /// Why the folder could not be read.
    #[serde(default)]
    pub error: Option<String>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Message {
    /// Its UID.
    pub uid: u32,
    /// System flags and keywords, without `\Recent`.
    pub flags: BTreeSet<String>,
    /// INTERNALDATE, in seconds since 1970.
    pub date: i64,
    /// Bytes of BODY[].
    pub size: u64,
    /// SHA-256 of BODY[HEADER].
    pub header: String,
    /// SHA-256 of BODY[TEXT].
    pub text: String,
    /// SHA-256 of BODY[].
    pub full: String,
    /// The header of that name, to know a message by.
    pub message_id: String,
    /// Likewise, undecoded.
    pub subject: String,
}

/// Reads every user given.
///
/// # Errors
/// The script failed, or a user could not log in; the message names the user and the server's words.
pub fn dump(lab: &Lab, machine: &Machine, users: &[User]) -> Result<ServerDump> {
    let logins: Vec<(&str, &str)> = users.iter().map(|u| (u.email.as_str(), u.password.as_str())).collect();
    let mut command = lab.command("python3")?;
    command.arg(scripts().join("imap_dump.py")).args([machine.address(), "143"]);
    let said = run_with_input(&mut command, &serde_json::to_vec(&logins)?)?;
    let dump: ServerDump = serde_json::from_slice(&said.stdout).context("imap_dump.py wrote something else")?;
    for (user, seen) in &dump.0 {
        if let Some(error) = &seen.error {
            bail!("{user} on {} over IMAP: {error}", machine.name());
        }
    }
    Ok(dump)
}

impl ServerDump {
    /// How many messages there are, in all folders of all users.
    #[must_use]
    pub fn count(&self) -> usize {
        self.messages().count()
    }

    /// Every message, with its user and folder.
    pub fn messages(&self) -> impl Iterator<Item = (&str, &str, &Message)> {
        self.0.iter().flat_map(|(user, seen)| {
            let folders = seen.folders.iter();
            folders
                .flat_map(move |(name, folder)| folder.messages.iter().map(move |m| (user.as_str(), name.as_str(), m)))
        })
    }

    /// How often a message with this subject is there: for the tokens of [`crate::traffic`].
    #[must_use]
    pub fn count_of_subject(&self, subject: &str) -> usize {
        self.messages().filter(|(_, _, message)| message.subject == subject).count()
    }

    /// How `after` differs, one line each; empty when users would see no difference.
    #[must_use]
    pub fn diff(&self, after: &Self) -> Vec<String> {
        diff_maps(&self.0, &after.0, |a, b| {
            let mut lines = field("error", &a.error, &b.error);
            lines.extend(diff_maps(&a.folders, &b.folders, diff_folders));
            lines.extend(field("subscriptions", &a.subscriptions, &b.subscriptions));
            lines
        })
    }

    /// Like [`ServerDump::diff`], but mail may have been added: only what was there before must be there, unchanged.
    #[must_use]
    pub fn lost(&self, after: &Self) -> Vec<String> {
        let mut kept = after.clone();
        for (user, seen) in &mut kept.0 {
            let before = self.0.get(user);
            for (name, folder) in &mut seen.folders {
                let Some(old) = before.and_then(|b| b.folders.get(name)) else { continue };
                let uids: BTreeSet<u32> = old.messages.iter().map(|m| m.uid).collect();
                folder.messages.retain(|message| uids.contains(&message.uid));
                folder.uidnext = old.uidnext;
            }
            seen.folders.retain(|name, _| before.is_some_and(|b| b.folders.contains_key(name)));
        }
        self.diff(&kept)
    }
}

fn diff_folders(a: &Folder, b: &Folder) -> Vec<String> {
    let mut lines = field("error", &a.error, &b.error);
    lines.extend(field("noselect", &a.noselect, &b.noselect));
    lines.extend(field("UIDVALIDITY", &a.uidvalidity, &b.uidvalidity));
    lines.extend(field("UIDNEXT", &a.uidnext, &b.uidnext));
    let by_uid = |folder: &Folder| -> BTreeMap<u32, Message> {
        folder.messages.iter().map(|message| (message.uid, message.clone())).collect()
    };
    lines.extend(field("number of messages", &a.messages.len(), &b.messages.len()));
    lines.extend(diff_maps(&by_uid(a), &by_uid(b), diff_messages).iter().map(|line| format!("UID {line}")));
    lines
}

fn diff_messages(a: &Message, b: &Message) -> Vec<String> {
    let fields = [
        field("flags", &a.flags, &b.flags),
        field("INTERNALDATE", &a.date, &b.date),
        field("size", &a.size, &b.size),
        field("BODY[HEADER]", &a.header, &b.header),
        field("BODY[TEXT]", &a.text, &b.text),
        field("BODY[]", &a.full, &b.full),
        field("Message-ID", &a.message_id, &b.message_id),
        field("Subject", &a.subject, &b.subject),
    ];
    fields.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(uids: &[u32], flag: &str) -> ServerDump {
        let message = |uid: &u32| {
            format!(
                r#"{{"uid":{uid},"flags":["{flag}"],"date":0,"size":1,"header":"h","text":"t","full":"f","message_id":"","subject":"s{uid}"}}"#
            )
        };
        let messages: Vec<String> = uids.iter().map(message).collect();
        let text = format!(
            r#"{{"a@b":{{"folders":{{"INBOX":{{"uidvalidity":7,"uidnext":9,"messages":[{}]}}}},"subscriptions":[]}}}}"#,
            messages.join(",")
        );
        serde_json::from_str(&text).expect("the dump's own form")
    }

    #[test]
    fn a_lost_message_and_a_changed_flag_are_each_one_line() {
        let lines = dump(&[1, 2], "Seen").diff(&dump(&[1], "Flagged"));
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("UID 2: missing afterwards")), "{lines:?}");
    }

    #[test]
    fn lost_ignores_mail_that_was_added() {
        assert!(dump(&[1], "Seen").lost(&dump(&[1, 2], "Seen")).is_empty());
        assert!(!dump(&[1, 2], "Seen").lost(&dump(&[2], "Seen")).is_empty());
        assert_eq!(dump(&[1, 2], "x").count_of_subject("s2"), 1);
    }
}
