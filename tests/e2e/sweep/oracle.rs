//! Where every mail is, as the files of both sides say: mailboxes and queues, by content and by what the sender called it.

use anyhow::{Context, Result};
use rehome_tests::lab::Machine;
use rehome_tests::traffic::Sent;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Messages of all mailboxes by folder and content; and by its Message-ID the way each copy of a mail took: in mailboxes the IDs
/// that servers gave it in their Received lines (the last one is of the delivery itself), in queues the queue's own.
const LOOK: &str = r#"
import hashlib, json, os, re
name = re.compile(rb'^Message-ID: <([^@>\r\n]+)@', re.I | re.M)
received = re.compile(rb'^Received:.*(?:\n[ \t].*)*', re.I | re.M)
def way(content):
    ids = [re.search(rb'\bid ([\w+/=.-]+)', line) for line in received.findall(content.split(b'\n\n')[0])]
    return b' '.join(id.group(1) for id in ids if id).decode('ascii', 'replace')
found = {'messages': {}, 'mailboxes': {}, 'queues': {}, 'unfinished': []}
def count(where, key):
    found[where][key] = found[where].get(key, 0) + 1
def note(where, key, way):
    found[where].setdefault(key, []).append(way)
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
            note('mailboxes', token.decode('ascii', 'replace'), way(content))
def waits(records):
    # A recipient is R until it has the mail, and D from then on (rec_type.h of Postfix): what a queue manager that was replaced
    # had delivered stays as a file until the next one looks again, for minutes.
    at = 0
    while at < len(records):
        kind, length, shift = records[at:at + 1], 0, 0
        while at + 1 < len(records):
            at += 1
            length |= (records[at] & 127) << shift
            shift += 7
            if records[at] < 128:
                break
        if kind == b'R':
            return True
        at += 1 + length
    return False
for queue in ('incoming', 'active', 'deferred', 'hold', 'maildrop'):
    for folder, _, files in os.walk('/var/spool/postfix/' + queue):
        for file in files:
            try:
                content = open(os.path.join(folder, file), 'rb').read()
            except FileNotFoundError:
                continue
            if not waits(content):
                continue
            for token in set(re.findall(rb'Message-ID: <([^@>\r\n]+)@', content, re.I)):
                note('queues', token.decode('ascii', 'replace'), file)
print(json.dumps(found))
"#;

/// What one machine holds.
#[derive(Debug, Deserialize)]
pub(crate) struct Holdings {
    messages: BTreeMap<String, u64>,
    mailboxes: BTreeMap<String, Vec<String>>,
    queues: BTreeMap<String, Vec<String>>,
    /// files that are not finished, where a mail server looks
    pub(crate) unfinished: Vec<String>,
}

/// What became of the mail.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) lost: Vec<String>,
    pub(crate) doubled: Vec<String>,
    /// a mail server delivered them again, as it must when it was cut off before it had the answer (RFC 1047)
    pub(crate) redelivered: Vec<String>,
}

impl Holdings {
    /// A message that the other one has not, content for content, if there is one.
    pub(crate) fn is_not_in(&self, other: &Holdings) -> Option<&str> {
        let content = |message: &str| message.rsplit(' ').next().unwrap_or_default().to_owned();
        let known: BTreeSet<String> = other.messages.keys().map(|message| content(message)).collect();
        self.messages.keys().find(|message| !known.contains(&content(message))).map(String::as_str)
    }

    pub(crate) fn of(machine: &Machine) -> Result<Holdings> {
        let said = machine.ssh_with_input(&["python3", "-"], LOOK.as_bytes())?;
        serde_json::from_slice(&said.stdout)
            .with_context(|| format!("{}: {}", machine.name(), String::from_utf8_lossy(&said.stderr)))
    }
}

/// `before` is what old held before anything; `serves` the machine that users have now, `other` the one they had; whatever was
/// accepted meanwhile is in a mailbox of the former, or in a queue. A mail that is there twice, by ways that differ, is a server's
/// deed where servers lost power or their connection (`cut_off`); what rehome brings has the same way as what it was copied from.
pub(crate) fn judge(before: &Holdings, serves: &Holdings, other: &Holdings, sent: &Sent, cut_off: bool) -> Verdict {
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
        let places = [&serves.mailboxes, &serves.queues, &other.queues];
        let ways: Vec<&String> = places.iter().filter_map(|held| held.get(&mail.token)).flatten().collect();
        let differ = ways.iter().collect::<BTreeSet<_>>().len() == ways.len();
        match ways.len() {
            0 => verdict.lost.push(mail.token.clone()),
            1 => {}
            _ if cut_off && differ => verdict.redelivered.push(mail.token.clone()),
            _ => verdict.doubled.push(format!("{} by {ways:?}", mail.token)),
        }
    }
    verdict
}
