//! Where every mail is, as the files of both sides say: mailboxes and queues, by content and by what the sender called it.

use anyhow::{Context, Result};
use rehome_tests::lab::Machine;
use rehome_tests::traffic::Sent;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Messages of all mailboxes by folder and content, and how often a Message-ID is in mailboxes and in queues.
const LOOK: &str = r#"
import hashlib, json, os, re
name = re.compile(rb'^Message-ID: <([^@>\r\n]+)@', re.I | re.M)
found = {'messages': {}, 'mailboxes': {}, 'queues': {}, 'unfinished': []}
def count(where, key):
    found[where][key] = found[where].get(key, 0) + 1
for folder, _, files in os.walk(b'/var/vmail'):
    if b'/.rehome-aside' in folder or os.path.basename(folder) not in (b'cur', b'new'):
        continue
    for file in files:
        if file.startswith(b'.'):
            found['unfinished'].append(os.fsdecode(os.path.join(folder, file)).encode('ascii', 'backslashreplace').decode())
            continue
        content = open(os.path.join(folder, file), 'rb').read()
        place = os.path.dirname(folder).decode('ascii', 'backslashreplace')
        count('messages', place + ' ' + hashlib.sha256(content).hexdigest())
        for token in name.findall(content):
            count('mailboxes', token.decode('ascii', 'replace'))
for queue in ('incoming', 'active', 'deferred', 'hold', 'maildrop'):
    for folder, _, files in os.walk('/var/spool/postfix/' + queue):
        for file in files:
            try:
                content = open(os.path.join(folder, file), 'rb').read()
            except FileNotFoundError:
                continue
            for token in set(re.findall(rb'Message-ID: <([^@>\r\n]+)@', content, re.I)):
                count('queues', token.decode('ascii', 'replace'))
print(json.dumps(found))
"#;

/// What one machine holds.
#[derive(Debug, Deserialize)]
pub(crate) struct Holdings {
    messages: BTreeMap<String, u64>,
    mailboxes: BTreeMap<String, u64>,
    queues: BTreeMap<String, u64>,
    /// files that are not finished, where a mail server looks
    pub(crate) unfinished: Vec<String>,
}

/// What became of the mail.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) lost: Vec<String>,
    pub(crate) doubled: Vec<String>,
}

impl Holdings {
    /// A message that the other one has not, content for content, if there is one.
    pub(crate) fn is_not_in(&self, other: &Holdings) -> Option<&str> {
        let content = |message: &str| message.rsplit(' ').next().unwrap_or_default().to_owned();
        let known: std::collections::BTreeSet<String> = other.messages.keys().map(|message| content(message)).collect();
        self.messages.keys().find(|message| !known.contains(&content(message))).map(String::as_str)
    }

    pub(crate) fn of(machine: &Machine) -> Result<Holdings> {
        let said = machine.ssh_with_input(&["python3", "-"], LOOK.as_bytes())?;
        serde_json::from_slice(&said.stdout)
            .with_context(|| format!("{}: {}", machine.name(), String::from_utf8_lossy(&said.stderr)))
    }
}

/// `before` is what old held before anything; `serves` the machine that users have now, `other` the one they had; whatever was
/// accepted meanwhile is in a mailbox of the former, or in a queue.
pub(crate) fn judge(before: &Holdings, serves: &Holdings, other: &Holdings, sent: &Sent) -> Verdict {
    let mut verdict = Verdict::default();
    for (message, count) in &before.messages {
        let now = serves.messages.get(message).copied().unwrap_or_default();
        if now < *count {
            verdict.lost.push(message.clone());
        } else if now > *count {
            verdict.doubled.push(message.clone());
        }
    }
    for mail in sent.accepted() {
        let at = |held: &BTreeMap<String, u64>| held.get(&mail.token).copied().unwrap_or_default();
        match at(&serves.mailboxes) + at(&serves.queues) + at(&other.queues) {
            0 => verdict.lost.push(mail.token.clone()),
            1 => {}
            _ => verdict.doubled.push(mail.token.clone()),
        }
    }
    verdict
}
