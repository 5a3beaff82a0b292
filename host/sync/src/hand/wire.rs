//! The bytes between rehome and `agent.pl`: frames of a length (4 bytes, big-endian), a letter, and fields; in answers the
//! letter comes last, so that no answer ends in a byte that `rehome_remote` holds back until it knows what follows.
//! Invariant: whatever comes in is checked for shape here (numbers, counts, limits); its meaning is checked by `listing`.
//! A field is a length (4 bytes, big-endian) and bytes; numbers are decimal text, so that a 32-bit perl can write them.

use super::{Fault, Hash, How, Pull, Pulled, RawEntry, Reply, Request, Time, Why};
use crate::attributes::Attributes;
use crate::{FolderKey, Kind, Owner, Space};
use std::collections::HashMap;
use std::sync::Arc;

/// A frame from the far side may have this many bytes at most.
pub(super) const LONGEST_FRAME: usize = 1 << 20;
/// So many names of owners are remembered: more than a tree has, if its side tells the truth.
const MOST_NAMES: usize = 10_000;
/// Fields of an entry in a listing.
const ENTRY_FIELDS: usize = 15;

/// A frame, length included.
pub(super) fn encode(request: &Request) -> Vec<u8> {
    match request {
        Request::Lock => frame(b'l', &[]),
        Request::Unlock => frame(b'u', &[]),
        Request::Space => frame(b'v', &[]),
        Request::Know(owner) => frame(b'k', &[owner.user.as_bytes(), owner.group.as_bytes()]),
        Request::Stat(path) => frame(b't', &[path]),
        Request::List { below, depth, pruned } => frame(b'L', &[below, &number(*depth), flag(*pruned)]),
        Request::Known { first, leaves } => {
            let mut fields = vec![flag(*first).to_vec()];
            for (folder, key) in leaves {
                fields.push(folder.clone());
                fields.push(key.map_or(Vec::new(), key_text));
            }
            frame(b'B', &slices(&fields))
        }
        Request::Names(folder) => frame(b'n', &[folder]),
        Request::Links { below, inodes } => {
            let inodes = inodes.iter().map(|(device, inode)| format!("{device} {inode}").into_bytes());
            frame(b'i', &slices(&std::iter::once(below.clone()).chain(inodes).collect::<Vec<_>>()))
        }
        Request::Clock => frame(b'C', &[]),
        Request::Fetch { file, most, ripen } => frame(b'R', &[file, &number(*most), flag(*ripen)]),
        Request::Message { file, most } => frame(b'm', &[file, &number(*most)]),
        Request::Put { path, content, mode, owner, attributes, modified } => {
            let mut fields = vec![number(*mode)];
            fields.extend(owner_fields(owner.as_ref()));
            fields.extend(attribute_fields(attributes.as_ref()));
            fields.extend(time_fields(Some(*modified)));
            let mut all = vec![path.as_slice(), content];
            all.extend(slices(&fields));
            frame(b'Q', &all)
        }
        Request::Reach { patience, mark, program } => {
            let mut fields = vec![number(*patience), mark.clone()];
            fields.extend(program.iter().cloned());
            frame(b'O', &slices(&fields))
        }
        Request::Pull(files) => frame(b'J', &slices(&files.iter().flat_map(pull_fields).collect::<Vec<_>>())),
        Request::Hash(files) => frame(b'G', &slices(files)),
        Request::Begin(path) => frame(b'W', &[path]),
        Request::Data(piece) => raw_frame(b'D', piece),
        Request::Finish { mode, owner, attributes, modified } => {
            let mut fields = vec![number(*mode)];
            fields.extend(owner_fields(owner.as_ref()));
            fields.extend(attribute_fields(attributes.as_ref()));
            fields.extend(time_fields(*modified));
            frame(b'E', &slices(&fields))
        }
        Request::Symlink { path, points_to, owner, modified } => {
            let mut fields = vec![path.clone(), points_to.clone()];
            fields.extend(owner_fields(owner.as_ref()));
            fields.extend(time_fields(Some(*modified)));
            frame(b'Y', &slices(&fields))
        }
        Request::Move { from, to, replace } => frame(b'M', &[from, to, flag(*replace)]),
        Request::Link { existing, new } => frame(b'H', &[existing, new]),
        Request::Folder { path, mode, owner } => {
            let mut fields = vec![path.clone(), number(*mode)];
            fields.extend(owner_fields(owner.as_ref()));
            frame(b'F', &slices(&fields))
        }
        Request::Meta { path, kind, mode, owner, attributes, modified } => {
            let mut fields = vec![path.clone(), vec![kind_letter(*kind)], mode.map_or(Vec::new(), number)];
            fields.extend(owner_fields(owner.as_ref()));
            fields.extend(attribute_fields(attributes.as_ref()));
            fields.extend(time_fields(*modified));
            frame(b'P', &slices(&fields))
        }
        Request::Aside { path, label } => frame(b'A', &[path, label.as_bytes()]),
        Request::Remove(path) => frame(b'X', &[path]),
        Request::RemoveFolder(path) => frame(b'Z', &[path]),
        Request::Sync => frame(b'S', &[]),
    }
}

fn pull_fields(pull: &Pull) -> Vec<Vec<u8>> {
    let (how, most, size) = match pull.how {
        How::Message(size) => (b"m", size, number(size)),
        How::Pieces(size) => (b"f", size, number(size)),
        How::Ripe(most) => (b"r", most, Vec::new()),
    };
    let mut fields = vec![how.to_vec(), pull.file.clone(), number(most), size, pull.path.clone(), number(pull.mode)];
    fields.extend(owner_fields(pull.owner.as_ref()));
    fields.extend(attribute_fields(pull.attributes.as_ref()));
    fields.extend(time_fields(Some(pull.modified)));
    fields
}

/// A key as the agent writes it, to be compared as text.
fn key_text(key: FolderKey) -> Vec<u8> {
    let FolderKey { device, inode, changed: (seconds, nanoseconds) } = key;
    format!("{device} {inode} {seconds} {nanoseconds}").into_bytes()
}

/// Tells the agent that somebody is still there. No reply.
pub(super) fn heartbeat() -> Vec<u8> {
    frame(b'N', &[])
}

fn raw_frame(letter: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(5 + content.len());
    bytes.extend(u32::try_from(content.len() + 1).unwrap_or(u32::MAX).to_be_bytes());
    bytes.push(letter);
    bytes.extend_from_slice(content);
    bytes
}

fn frame(letter: u8, fields: &[&[u8]]) -> Vec<u8> {
    let mut content = Vec::new();
    for field in fields {
        content.extend(u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
        content.extend_from_slice(field);
    }
    raw_frame(letter, &content)
}

fn slices(fields: &[Vec<u8>]) -> Vec<&[u8]> {
    fields.iter().map(Vec::as_slice).collect()
}

fn number(value: impl ToString) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn flag(value: bool) -> &'static [u8] {
    if value { b"1" } else { b"0" }
}

/// User and group; both empty for "leave it".
fn owner_fields(owner: Option<&Owner>) -> [Vec<u8>; 2] {
    owner.map_or([Vec::new(), Vec::new()], |owner| [owner.user.clone().into_bytes(), owner.group.clone().into_bytes()])
}

/// Whether they are set, and what they are.
fn attribute_fields(attributes: Option<&Attributes>) -> [Vec<u8>; 2] {
    let set = flag(attributes.is_some()).to_vec();
    [set, attributes.map_or(Vec::new(), |attributes| attributes.bytes().to_vec())]
}

/// Seconds and nanoseconds; both empty for "leave it".
fn time_fields(time: Option<Time>) -> [Vec<u8>; 2] {
    time.map_or([Vec::new(), Vec::new()], |(seconds, nanoseconds)| [number(seconds), number(nanoseconds)])
}

fn kind_letter(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'f',
        Kind::Folder => b'd',
        Kind::Symlink => b'l',
        Kind::Other => b'o',
    }
}

/// Understands frames of one agent; remembers names, which repeat all the time.
#[derive(Default)]
pub(crate) struct Decoder {
    names: HashMap<Vec<u8>, Arc<str>>,
}

type Refused = &'static str;

impl Decoder {
    /// A frame without its length. The error says what is wrong with it.
    pub(crate) fn decode(&mut self, mut content: Vec<u8>) -> Result<Reply, Refused> {
        let letter = content.pop().ok_or("an empty frame")?;
        match letter {
            b'd' => return Ok(Reply::Data(content)),
            b'w' => return Ok(Reply::Whole(content)),
            _ => {}
        }
        let fields = split(&content)?;
        match (letter, fields.as_slice()) {
            (b'K', []) => Ok(Reply::Done),
            (b'f', [why, rest @ ..]) if rest.len() <= 1 => {
                Ok(Reply::Failed(Fault { why: parse_why(why)?, path: rest.first().map(|path| path.to_vec()) }))
            }
            (b'e', [folder, rest @ ..]) if rest.len().is_multiple_of(ENTRY_FIELDS) => {
                let entries = rest.chunks(ENTRY_FIELDS).map(|fields| self.entry(fields)).collect::<Result<_, _>>()?;
                Ok(Reply::Listed { folder: folder.to_vec(), entries })
            }
            (b'g', [folder]) => Ok(Reply::Gone { folder: folder.to_vec() }),
            (b's', [folder]) => Ok(Reply::Same { folder: folder.to_vec() }),
            (b'n', [folder, names]) => Ok(Reply::Names { folder: folder.to_vec(), names: names.to_vec() }),
            (b't', [seconds, nanoseconds]) => Ok(Reply::Clock((parse(seconds)?, parse(nanoseconds)?))),
            (b'o', [size, seconds, nanoseconds]) => {
                Ok(Reply::Opened { size: parse(size)?, modified: (parse(seconds)?, parse(nanoseconds)?) })
            }
            (b'c', [changed]) => Ok(Reply::Closed { changed: *changed != b"0" }),
            (b'v', [bytes, inodes, all]) => {
                let inodes = if parse::<u64>(all)? == 0 { u64::MAX } else { parse(inodes)? };
                Ok(Reply::Space(Space { bytes: parse(bytes)?, inodes }))
            }
            (b'j', [reached, words]) => Ok(Reply::Reached(if *reached == b"1" { Ok(()) } else { Err(words.to_vec()) })),
            (b'q', pulled) => {
                Ok(Reply::Pulled(pulled.iter().map(|field| parse_pulled(field)).collect::<Result<_, _>>()?))
            }
            (b'x', hashes) => {
                Ok(Reply::Hashes(hashes.iter().map(|field| parse_hash(field)).collect::<Result<_, _>>()?))
            }
            _ => Err("a frame of unknown shape"),
        }
    }

    fn entry(&mut self, fields: &[&[u8]]) -> Result<RawEntry, Refused> {
        let [
            name,
            kind,
            size,
            seconds,
            nanoseconds,
            changed_seconds,
            changed_nanoseconds,
            mode,
            owner,
            group,
            links,
            device,
            inode,
            attributes,
            points_to,
        ] = fields
        else {
            return Err("an entry with too few fields");
        };
        let kind = match *kind {
            b"f" => Kind::File,
            b"d" => Kind::Folder,
            b"l" => Kind::Symlink,
            b"o" => Kind::Other,
            _ => return Err("an entry of unknown kind"),
        };
        Ok(RawEntry {
            name: name.to_vec(),
            kind,
            size: parse(size)?,
            modified: (parse(seconds)?, parse(nanoseconds)?),
            changed: (parse(changed_seconds)?, parse(changed_nanoseconds)?),
            mode: parse(mode)?,
            owner: self.name(owner)?,
            group: self.name(group)?,
            links: parse(links)?,
            inode: (parse(device)?, parse(inode)?),
            attributes: Attributes::told(attributes)?,
            points_to: (kind == Kind::Symlink).then(|| points_to.to_vec().into_boxed_slice()),
        })
    }

    fn name(&mut self, bytes: &[u8]) -> Result<Arc<str>, Refused> {
        if let Some(name) = self.names.get(bytes) {
            return Ok(name.clone());
        }
        if self.names.len() >= MOST_NAMES {
            self.names.clear();
        }
        let name: Arc<str> = std::str::from_utf8(bytes).map_err(|_| "the name of an owner that is not UTF-8")?.into();
        self.names.insert(bytes.to_vec(), name.clone());
        Ok(name)
    }
}

pub(crate) fn split(mut content: &[u8]) -> Result<Vec<&[u8]>, Refused> {
    let mut fields = Vec::new();
    while !content.is_empty() {
        let (length, rest) = content.split_first_chunk::<4>().ok_or("a field without its length")?;
        let length = u32::from_be_bytes(*length) as usize;
        if length > rest.len() {
            return Err("a field that is longer than its frame");
        }
        let (field, rest) = rest.split_at(length);
        fields.push(field);
        content = rest;
    }
    Ok(fields)
}

pub(super) fn parse<T: std::str::FromStr>(field: &[u8]) -> Result<T, Refused> {
    let text = std::str::from_utf8(field).map_err(|_| "a number that is not text")?;
    text.parse().map_err(|_| "a number that is none, or too large")
}

/// 32 bytes; none for a file that has no hash.
fn parse_hash(field: &[u8]) -> Result<Option<Hash>, Refused> {
    if field.is_empty() {
        return Ok(None);
    }
    field.try_into().map(Some).map_err(|_| "a hash of another length than SHA-256 has")
}

/// A letter, and what belongs to it.
fn parse_pulled(field: &[u8]) -> Result<Pulled, Refused> {
    let (letter, rest) = field.split_first().ok_or("a file of which nothing is told")?;
    Ok(match letter {
        b'w' => Pulled::Written(parse(rest)?),
        b'c' => Pulled::Changed,
        b'u' => Pulled::Unreadable(parse_why(rest)?.into()),
        b't' => Pulled::Refused(parse_why(rest)?.into()),
        b'l' => Pulled::Lost(rest.to_vec()),
        b'x' => Pulled::Lie(rest.to_vec()),
        _ => return Err("a file of which something unknown is told"),
    })
}

/// `E` and an errno, or a word.
pub(super) fn parse_why(field: &[u8]) -> Result<Why, Refused> {
    Ok(match field {
        [b'E', errno @ ..] => Why::System(parse(errno)?),
        b"user" => Why::NoUser,
        b"group" => Why::NoGroup,
        b"regular" => Why::NotRegular,
        b"large" => Why::TooLarge,
        b"busy" => Why::Busy,
        b"path" => Why::BadPath,
        _ => return Err("a failure of unknown kind"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer without its length.
    fn answer(letter: u8, fields: &[&[u8]]) -> Vec<u8> {
        [&frame(letter, fields)[5..], &[letter]].concat()
    }

    fn entry(changes: &[(usize, &[u8])]) -> Vec<u8> {
        let mut fields: Vec<&[u8]> = vec![
            b"cur", b"name", b"f", b"3", b"1", b"2", b"5", b"6", b"420", b"root", b"root", b"1", b"8", b"9", b"", b"",
        ];
        for (at, value) in changes {
            fields[*at] = value;
        }
        answer(b'e', &fields)
    }

    #[test]
    fn an_entry_arrives_as_it_was_sent() {
        let reply = Decoder::default().decode(entry(&[(1, b"-\n\xff")])).unwrap();
        let Reply::Listed { folder, entries } = reply else { panic!("{reply:?}") };
        assert_eq!((folder.as_slice(), entries[0].name.as_slice()), (&b"cur"[..], &b"-\n\xff"[..]));
        assert_eq!((entries[0].size, entries[0].modified, entries[0].inode), (3, (1, 2), (8, 9)));
    }

    #[test]
    fn a_hash_has_32_bytes_or_none() {
        let decode = |fields: &[&[u8]]| Decoder::default().decode(answer(b'x', fields));
        assert_eq!(decode(&[b"", &[7; 32]]), Ok(Reply::Hashes(vec![None, Some([7; 32])])));
        for wrong in [31, 33, 64] {
            assert!(decode(&[&vec![7; wrong]]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn broken_frames_are_refused_and_never_panic() {
        let mut decoder = Decoder::default();
        for change in [(2, &b"b"[..]), (3, b"-1"), (3, b"99999999999999999999"), (4, b"x"), (9, b"\xff"), (8, b"")] {
            assert!(decoder.decode(entry(&[change])).is_err(), "{change:?}");
        }
        let whole = entry(&[]);
        let content = &whole[..whole.len() - 1];
        for end in 0..content.len() {
            let cut = decoder.decode([&content[..end], b"e"].concat());
            // Cut between the folder and the entry, it is a listing of nothing.
            assert!(cut.is_err() || end == 7, "{end}");
        }
        for letter in 0..=255 {
            let _ = decoder.decode(vec![0, 0, 0, 200, 1, letter]);
            let _ = decoder.decode(vec![letter]);
        }
    }
}
