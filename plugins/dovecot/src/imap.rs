//! Reads what IMAP answers to `LIST … RETURN (STATUS …)` (RFC 3501, section 7.2; RFC 5819). The other end may be an old
//! server with strange names: names come quoted, as atoms, or as literals of any bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a mail program would see of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    #[serde(rename = "m")]
    pub(crate) messages: u64,
    #[serde(rename = "n")]
    pub(crate) uid_next: u64,
    #[serde(rename = "v")]
    pub(crate) uid_validity: u64,
}

/// By name; a byte of the name is a character, so that any name is kept.
pub(crate) type Mailboxes = BTreeMap<String, Status>;

/// The mailboxes, or what the server said instead.
pub(crate) fn mailboxes(answer: &[u8]) -> Result<Mailboxes, String> {
    let mut found = Mailboxes::new();
    for response in responses(answer) {
        if let Some(rest) = after(&response, b"* STATUS ") {
            let (name, status) = status(rest).ok_or_else(|| format!("a STATUS that is none: {}", shown(&response)))?;
            found.insert(name, status);
        } else if let Some(rest) = after(&response, b"a ") {
            return if after(rest, b"OK").is_some() { Ok(found) } else { Err(shown(&response)) };
        } else if after(&response, b"* BYE").is_some() {
            return Err(shown(&response));
        }
    }
    Err("it ended without an answer".into())
}

/// Responses: lines, with the literals that belong to them.
fn responses(answer: &[u8]) -> Vec<Vec<u8>> {
    let mut responses = Vec::new();
    let mut rest = answer;
    let mut response: Vec<u8> = Vec::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        let line = rest[..end].strip_suffix(b"\n").unwrap_or(&rest[..end]);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        rest = &rest[end..];
        response.extend(line);
        match literal(line) {
            Some(length) => {
                let (content, more) = rest.split_at(length.min(rest.len()));
                response.push(b'\n');
                response.extend(content);
                rest = more;
            }
            None => responses.push(std::mem::take(&mut response)),
        }
    }
    if !response.is_empty() {
        responses.push(response);
    }
    responses
}

/// `{12}` at the end of a line.
fn literal(line: &[u8]) -> Option<usize> {
    let number = line.strip_suffix(b"}")?;
    let at = number.iter().rposition(|byte| *byte == b'{')?;
    std::str::from_utf8(&number[at + 1..]).ok()?.parse().ok()
}

fn after<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

/// `NAME (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 5)`.
fn status(text: &[u8]) -> Option<(String, Status)> {
    let (name, rest) = name(text)?;
    let list = std::str::from_utf8(rest).ok()?.trim().strip_prefix('(')?.strip_suffix(')')?;
    let words: Vec<&str> = list.split_ascii_whitespace().collect();
    let value = |key: &str| words.windows(2).find(|pair| pair[0].eq_ignore_ascii_case(key))?[1].parse().ok();
    let status =
        Status { messages: value("MESSAGES")?, uid_next: value("UIDNEXT")?, uid_validity: value("UIDVALIDITY")? };
    Some((name.iter().map(|byte| char::from(*byte)).collect(), status))
}

/// An astring: quoted, literal or atom; and what follows it.
fn name(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    match text.first()? {
        b'"' => {
            let mut name = Vec::new();
            let mut bytes = text[1..].iter().enumerate();
            while let Some((at, byte)) = bytes.next() {
                match byte {
                    b'"' => return Some((name, &text[at + 2..])),
                    b'\\' => name.push(*bytes.next()?.1),
                    byte => name.push(*byte),
                }
            }
            None
        }
        b'{' => {
            let end = text.iter().position(|byte| *byte == b'\n')?;
            let length = literal(&text[..end])?;
            let content = text.get(end + 1..end + 1 + length)?;
            Some((content.to_vec(), &text[end + 1 + length..]))
        }
        _ => {
            let end = text.iter().position(|byte| *byte == b' ')?;
            Some((text[..end].to_vec(), &text[end..]))
        }
    }
}

fn shown(response: &[u8]) -> String {
    String::from_utf8_lossy(response).trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(messages: u64) -> Status {
        Status { messages, uid_next: messages + 1, uid_validity: 7 }
    }

    #[test]
    fn names_come_quoted_as_atoms_and_as_literals() {
        let answer = b"* PREAUTH [CAPABILITY IMAP4rev1] Logged in as john@example.org\r\n\
            * LIST (\\HasNoChildren) \".\" INBOX\r\n\
            * STATUS INBOX (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 7)\r\n\
            * LIST (\\HasNoChildren) \".\" \"A \\\"b\\\"\"\r\n\
            * STATUS \"A \\\"b\\\"\" (UIDVALIDITY 7 MESSAGES 0 UIDNEXT 1)\r\n\
            * LIST () \".\" {24}\r\nx\r\n* STATUS fake (y) z \xff\r\n\
            * STATUS {24}\r\nx\r\n* STATUS fake (y) z \xff (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 7)\r\n\
            a OK List completed.\r\n* BYE Logging out\r\nb OK Logout completed.\r\n";
        let found = mailboxes(answer).unwrap();
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["A \"b\"", "INBOX", "x\r\n* STATUS fake (y) z \u{ff}"]);
        assert_eq!(found["INBOX"], at(3));
        assert_eq!(found["A \"b\""], at(0));
    }

    #[test]
    fn a_refusal_a_broken_answer_and_an_early_end_are_errors() {
        for (answer, why) in [
            (&b"* BYE Internal error occurred\r\n"[..], "Internal error"),
            (b"a NO [SERVERBUG] Internal error\r\n", "SERVERBUG"),
            (b"* STATUS INBOX (MESSAGES x)\r\na OK\r\n", "none"),
            (b"* STATUS \"INBOX (MESSAGES 1)\r\na OK\r\n", "none"),
            (b"* STATUS {99}\r\nshort", "none"),
            (b"* LIST () \".\" INBOX\r\n", "without an answer"),
            (b"", "without an answer"),
        ] {
            let said = mailboxes(answer).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
