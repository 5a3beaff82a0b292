//! The far hand by itself, spoken to in frames: what one that only reads refuses, and what one that fetches believes.
//! Invariant: whatever the other end of a link says, nothing is written but what was asked for, and an answer comes.

use crate::fixture::*;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// As it is sent to a side.
fn program() -> String {
    rehome_sync::programs::agent().to_owned()
}

/// A letter and fields.
type Answer = (u8, Vec<Vec<u8>>);

/// A far hand in a folder.
struct Hand {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Hand {
    /// With a mode, and what follows it.
    fn start(root: &Path, mode: &[&str]) -> Self {
        let mut perl = Command::new("/usr/bin/perl");
        perl.args(["-e", &program(), "--"]).arg(root).args(["", ""]).args(mode);
        let mut child = perl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut hand = Self { child, input, output };
        assert_eq!(hand.answer().unwrap().0, b'h');
        hand
    }

    fn ask(&mut self, letter: u8, fields: &[&[u8]]) {
        let content: Vec<u8> = fields.iter().flat_map(|field| [&length(field.len()), *field].concat()).collect();
        let frame = [&length(content.len() + 1)[..], &[letter], &content].concat();
        self.input.write_all(&frame).unwrap();
    }

    /// The letter and the fields of the next answer; nothing when the hand has ended.
    fn answer(&mut self) -> Option<Answer> {
        let mut size = [0; 4];
        self.output.read_exact(&mut size).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(size) as usize];
        self.output.read_exact(&mut frame).ok()?;
        let letter = frame.pop().unwrap();
        let (mut fields, mut rest) = (Vec::new(), frame.as_slice());
        if letter == b'w' {
            return Some((letter, vec![frame]));
        }
        while let Some((size, more)) = rest.split_first_chunk::<4>() {
            let (field, more) = more.split_at(u32::from_be_bytes(*size) as usize);
            fields.push(field.to_vec());
            rest = more;
        }
        Some((letter, fields))
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn length(of: usize) -> [u8; 4] {
    u32::try_from(of).unwrap().to_be_bytes()
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("rehome-sync-").tempdir().unwrap()
}

fn not_permitted() -> Answer {
    (b'f', vec![format!("E{}", libc::EPERM).into_bytes()])
}

#[test]
fn a_hand_that_looks_opens_no_content_and_one_that_reads_writes_nothing() {
    let folder = folder();
    write(folder.path(), b"d/file", b"content", 0);
    let before = snapshot(folder.path());
    for (mode, allowed) in [("list", "luktLBniC"), ("read", "luktLBniCRmG")] {
        for letter in (b'A'..=b'Z').chain(b'a'..=b'z').filter(|&letter| !b"ND".contains(&letter)) {
            let mut hand = Hand::start(folder.path(), &[mode]);
            let fields: [&[u8]; 9] = match letter {
                b'O' => [b"5", b"mark", b"/bin/touch", b"d/touched", b"", b"", b"", b"", b""],
                b'k' => [b"root", b"root", b"", b"", b"", b"", b"", b"", b""],
                _ => [b"d/file", b"420", b"", b"", b"0", b"", b"", b"", b""],
            };
            hand.ask(letter, &fields);
            let answer = hand.answer();
            if !allowed.contains(letter as char) && letter != b'v' {
                assert!(answer.is_none() || answer == Some(not_permitted()), "{mode} {}: {answer:?}", letter as char);
            } else if letter != b'v' {
                assert_ne!(answer, Some(not_permitted()), "{mode} {}", letter as char);
            }
            assert_eq!(snapshot(folder.path()), before, "{mode} {}", letter as char);
        }
    }
}

#[test]
fn a_hand_that_adds_replaces_and_takes_away_nothing_but_what_its_names_say() {
    let folder = folder();
    write(folder.path(), b"d/mail", b"content", 0);
    write(folder.path(), b"d/list.1", b"former", 0);
    let mut hand = Hand::start(folder.path(), &["add", "list.[0-9]/x*"]);
    let mut refused = |letter: u8, fields: &[&[u8]]| {
        hand.ask(letter, fields);
        assert_eq!(hand.answer(), Some(not_permitted()), "{} {fields:?}", letter as char);
    };
    let before = snapshot(folder.path());
    let temporary = b"d/.rehome-tmp-0123456789abcdef";
    refused(b'M', &[b"d/mail", b"d/other", b""]);
    refused(b'M', &[temporary, b"d/mail", b"1"]);
    refused(b'X', &[b"d/mail"]);
    refused(b'Z', &[b"d"]);
    refused(b'A', &[b"d/mail", b"label"]);
    refused(b'P', &[b"d/mail", b"f", b"511", b"", b"", b"0", b"", b"", b""]);
    refused(b'O', &[b"5", b"mark", b"/bin/touch", b"d/touched"]);
    refused(b'Q', &[temporary, b"content", b"2541", b"", b"", b"0", b"", b"1", b"1"]);
    std::fs::remove_file(folder.path().join("d/.rehome-tmp-0123456789abcdef")).unwrap();
    // Its folder was written to.
    assert_eq!(snapshot(folder.path())[1..], before[1..]);

    let mut done = |letter: u8, fields: &[&[u8]]| {
        hand.ask(letter, fields);
        assert_eq!(hand.answer(), Some((b'K', vec![])), "{} {fields:?}", letter as char);
    };
    done(b'F', &[b"new", b"493", b"", b""]);
    done(b'P', &[b"new", b"d", b"448", b"", b"", b"0", b"", b"", b""]);
    done(b'Q', &[temporary, b"content", b"420", b"", b"", b"0", b"", b"1", b"1"]);
    done(b'M', &[temporary, b"new/mail", b""]);
    done(b'A', &[b"d/list.1", b"label"]);
    assert_eq!(read(folder.path(), b"new/mail"), b"content");
    assert!(!folder.path().join("d/list.1").exists());
    assert_eq!(read(folder.path(), b".rehome-aside/label/d/list.1"), b"former");
}

#[test]
fn a_hand_with_a_scope_stays_in_it() {
    let folder = folder();
    for name in [&b"a/b/file"[..], b"a/c/file", b"aa/file"] {
        write(folder.path(), name, b"content", 0);
    }
    let mut hand = Hand::start(folder.path(), &["read", "", "a/b"]);
    for name in [&b"a/c/file"[..], b"aa/file", b"a/file", b"a/b/../c/file"] {
        hand.ask(b'm', &[name, b"100"]);
        let answer = hand.answer().unwrap();
        assert_eq!(answer.0, b'f', "{name:?}: {answer:?}");
    }
    hand.ask(b'm', &[b"a/b/file", b"100"]);
    assert_eq!(hand.answer(), Some((b'w', vec![b"content".to_vec()])));
}

#[test]
fn a_hand_that_only_reads_does_nothing_else() {
    let folder = folder();
    write(folder.path(), b"d/file", b"content", 0);
    let before = snapshot(folder.path());
    for letter in (b'A'..=b'Z').chain(b'a'..=b'z').filter(|letter| !b"mRN".contains(letter)) {
        let mut hand = Hand::start(folder.path(), &["fetch"]);
        // For each letter something that it would do: make, write, rename, remove, start a program.
        let fields: [&[u8]; 9] = match letter {
            b'O' => [b"5", b"mark", b"/bin/touch", b"d/touched", b"", b"", b"", b"", b""],
            b'Q' => [b"d/new", b"content", b"420", b"", b"", b"0", b"", b"1", b"1"],
            b'P' => [b"d/file", b"f", b"511", b"", b"", b"0", b"", b"", b""],
            b'M' | b'H' | b'A' | b'Y' => [b"d/file", b"d/new", b"1", b"", b"", b"", b"", b"", b""],
            _ => [b"d/file", b"420", b"", b"", b"0", b"", b"", b"", b""],
        };
        hand.ask(letter, &fields);
        let answer = hand.answer();
        assert!(answer.is_none() || answer == Some(not_permitted()), "{}: {answer:?}", letter as char);
        assert_eq!(snapshot(folder.path()), before, "{}", letter as char);
    }
    let mut hand = Hand::start(folder.path(), &["fetch"]);
    hand.ask(b'm', &[b"d/file", b"100"]);
    assert_eq!(hand.answer(), Some((b'w', vec![b"content".to_vec()])));
    hand.ask(b'm', &[b"d/../d/file", b"100"]);
    assert_eq!(hand.answer(), Some((b'f', vec![b"path".to_vec()])));
}

/// A hand that fetches, and at the far end of its link a perl that says `text` after the greeting, then reads for ever.
fn linked(root: &Path, text: &str) -> (Hand, Option<Answer>) {
    let mut hand = Hand::start(root, &[]);
    let script = format!(
        "$| = 1; binmode STDOUT; sub f {{ my $l = shift; my $c = join '', @_; pack('N', 1 + length $c) . $c . $l }} \
         sub n {{ map {{ pack('N/a*', $_) }} @_ }} print 'a banner', \"\\x1emark\\n\"; {text}; 1 while sysread STDIN, my $x, 9"
    );
    hand.ask(b'O', &[b"5", b"\x1emark\n", b"/usr/bin/perl", b"-e", script.as_bytes()]);
    let answer = hand.answer();
    (hand, answer)
}

/// What a hand says of three files, the second one read in pieces, when the far end answers so.
fn told(root: &Path, text: &str) -> Vec<String> {
    let (mut hand, reached) = linked(root, &format!("print f('h', n(1, 1)); {text}"));
    assert_eq!(reached, Some((b'j', vec![b"1".to_vec(), Vec::new()])), "{text}");
    let mut fields: Vec<&[u8]> = Vec::new();
    for (how, size, path) in [(&b"m"[..], &b"3"[..], &b"one"[..]), (b"r", b"", b"two"), (b"f", b"5", b"three")] {
        fields.extend([how, b"source", b"5", size, path, b"420", b"", b"", b"0", b"", b"7", b"8"]);
    }
    hand.ask(b'J', &fields);
    let (letter, told) = hand.answer().unwrap();
    assert_eq!(letter, b'q', "{text}");
    told.iter().map(|told| String::from_utf8_lossy(told).into_owned()).collect()
}

const GOOD: &str = "print f('w', 'abc'), f('o', n(4, 1000, 5)), f('d', 'de'), f('d', 'fg'), f('c', n(0)), \
                    f('o', n(5, 1000, 5)), f('d', 'hijkl'), f('c', n(0))";

#[test]
fn what_is_fetched_is_written_whole() {
    let folder = folder();
    assert_eq!(told(folder.path(), GOOD), ["w3", "w4", "w5"]);
    for (name, content) in [("one", "abc"), ("two", "defg"), ("three", "hijkl")] {
        assert_eq!(read(folder.path(), name.as_bytes()), content.as_bytes());
    }
}

#[test]
fn what_changed_vanished_or_cannot_be_written_is_told_for_each_file() {
    let folder = folder();
    let text = "print f('w', 'abcd'), f('f', n('E2')), f('o', n(4, 0, 0)), f('d', 'abcd'), f('c', n(0))";
    assert_eq!(told(folder.path(), text), ["c", "uE2", "c"]);
    let text = "print f('f', n('large')), f('o', n(4, 0, 0)), f('d', 'abc'), f('c', n(0)), \
                f('o', n(5, 0, 0)), f('d', 'abc'), f('f', n('E5'))";
    assert_eq!(told(folder.path(), text), ["ularge", "c", "uE5"]);
    assert_eq!(snapshot(folder.path()), [""; 0]);
    write(folder.path(), b"one", b"there", 0);
    write(folder.path(), b"two", b"there", 0);
    assert_eq!(told(folder.path(), GOOD), ["tE17", "tE17", "w5"]);
    assert_eq!((read(folder.path(), b"one"), read(folder.path(), b"two")), (b"there".to_vec(), b"there".to_vec()));
}

#[test]
fn lies_end_the_link_and_leave_nothing_half() {
    let lies = [
        ("print pack('N', 2_000_000), 'x' x 2_000_000", "length"),
        ("print pack('N', 0)", "length"),
        ("print f('o', n(3, 0, 0))", "something else than a message"),
        ("print f('K')", "something else than a message"),
        ("print f('f', n('bad'))", "failure"),
        ("print f('f', n('E2', 'path'))", "shape"),
        ("print f('w', 'abc'), f('w', 'abc')", "something else than content"),
        ("print f('w', 'abc'), f('o', 'x')", "shape"),
        ("print f('w', 'abc'), f('o', n(4, 0))", "shape"),
        ("print f('w', 'abc'), f('o', n(6, 0, 0))", "more content than was asked for"),
        ("print f('w', 'abc'), f('o', n('4x', 0, 0))", "number"),
        ("print f('w', 'abc'), f('o', n(4, 0, 1_000_000_000))", "time"),
        ("print f('w', 'abc'), f('o', n(4, 0, 0)), f('d', 'abcde')", "announced"),
        ("print f('w', 'abc'), f('o', n(4, 0, 0)), f('d', '')", "announced"),
        ("print f('w', 'abc'), f('o', n(4, 0, 0)), f('d', 'ab'), f('K')", "something else than content"),
    ];
    for (text, what) in lies {
        let folder = folder();
        let told = told(folder.path(), text);
        let lied = told.iter().skip_while(|told| *told == "w3").collect::<Vec<_>>();
        assert!(lied.iter().all(|told| told.starts_with('x') && told.contains(what)), "{text}: {told:?}");
        let left: Vec<String> = snapshot(folder.path());
        assert_eq!(left.len(), told.len() - lied.len(), "{text}: {left:?}");
    }
}

#[test]
fn a_link_that_ends_or_never_begins_is_told_with_its_last_words() {
    let folder = folder();
    let text = "print f('w', 'abc'), f('o', n(4, 0, 0)), f('d', 'ab'); print STDERR 'last words'; exit";
    assert_eq!(told(folder.path(), text), ["w3", "llast words", "llast words"]);
    assert_eq!(snapshot(folder.path()).len(), 1);
    // Also where it hears nothing any more by the time it is asked.
    let folder = self::folder();
    let text = format!("$| = 1; close STDIN; select(undef, undef, undef, 0.5); {text}");
    assert_eq!(told(folder.path(), &text), ["w3", "llast words", "llast words"]);
    // And a hand without a link.
    let mut hand = Hand::start(folder.path(), &[]);
    hand.ask(b'J', &[b"m", b"source", b"5", b"3", b"x", b"420", b"", b"", b"0", b"", b"7", b"8"]);
    assert_eq!(hand.answer().unwrap(), (b'q', vec![b"lthere is none".to_vec()]));
    let (_hand, answer) = linked(folder.path(), "print STDERR 'refused'; exit 1");
    assert_eq!(answer, Some((b'j', vec![b"0".to_vec(), b"refused".to_vec()])));
    let (_hand, answer) = linked(folder.path(), "print f('f', n('E2'))");
    assert!(String::from_utf8_lossy(&answer.unwrap().1[1]).contains("E2"));
    let (_hand, answer) = linked(folder.path(), "print 'x' x 100, f('h')");
    assert_eq!(answer.unwrap().1[0], b"0");
    let (_hand, answer) = linked(folder.path(), "1");
    assert_eq!(answer.unwrap().1[1], b"nothing was heard of it for too long");
}

/// Asks for much before it reads anything: neither end may wait for the other for ever.
#[test]
fn many_questions_and_much_content_do_not_block_each_other() {
    let (old, new) = (folder(), folder());
    for number in 0..2000 {
        write(old.path(), format!("{:0200}", number).as_bytes(), &vec![b'x'; 3000 + number], 0);
    }
    let mut hand = Hand::start(new.path(), &[]);
    let root = old.path().display().to_string();
    let serve = format!("printf 'mark\\n'; exec /usr/bin/perl -e \"$0\" -- '{root}' '' '' fetch");
    hand.ask(b'O', &[b"5", b"mark\n", b"/bin/sh", b"-c", serve.as_bytes(), program().as_bytes()]);
    assert_eq!(hand.answer().unwrap().1[0], b"1");
    let mut input = std::fs::File::from(hand.input.as_fd().try_clone_to_owned().unwrap());
    let asking = std::thread::spawn(move || {
        for frame in 0..20 {
            let mut content = Vec::new();
            for number in frame * 100..frame * 100 + 100 {
                let (name, size) = (format!("{number:0200}"), (3000 + number).to_string());
                let fields: [&str; 12] = ["m", &name, &size, &size, &name, "420", "", "", "0", "", "7", "8"];
                content.extend(fields.iter().flat_map(|field| [&length(field.len()), field.as_bytes()].concat()));
            }
            input.write_all(&[&length(content.len() + 1)[..], b"J", &content].concat()).unwrap();
        }
    });
    for frame in 0..20 {
        let told = hand.answer().unwrap().1;
        assert!(told.len() == 100 && told.iter().all(|told| told.starts_with(b"w")), "{frame}: {told:?}");
    }
    asking.join().unwrap();
    for number in 0..2000 {
        assert_eq!(read(new.path(), format!("{number:0200}").as_bytes()).len(), 3000 + number);
    }
}
