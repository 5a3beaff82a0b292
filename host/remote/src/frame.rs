//! Reads the wrapper's lines out of a stream and leaves exactly the command's bytes.
//! Invariant: every byte between `begin` and `end` comes out once, in order, however the stream is cut into pieces;
//! nothing before `begin` (a noisy login shell) or after `end` (a daemon left behind) does.
//! `wrapper.rs` writes the lines; `streams.rs` and `process.rs` use this.

use memchr::memmem::Finder;

use crate::wrapper::Token;

/// Longest line of ours after its prefix; more is not ours.
const LONGEST: usize = 32;

/// A line of the wrapper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// The command starts; on stderr with the wrapper's pid.
    Begin { pid: Option<u32> },
    /// There is no such program, and nothing was started.
    Missing,
    /// The command has ended; on stderr with its status.
    End { status: Option<i32> },
}

/// Finds the lines of one command's wrapper.
pub(crate) struct Frame {
    finder: Finder<'static>,
    held: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(token: &Token) -> Self {
        Self { finder: Finder::new(&token.prefix()).into_owned(), held: Vec::new() }
    }

    /// This one, leaving an empty one behind.
    pub(crate) fn take(&mut self) -> Self {
        Self { finder: self.finder.clone(), held: std::mem::take(&mut self.held) }
    }

    /// Takes the next piece of the stream.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        self.held.extend_from_slice(piece);
    }

    /// Moves what stands before the next line of ours to `data`, and returns that line once it is complete.
    /// `None` means that more of the stream is needed. Call it until then.
    pub(crate) fn next(&mut self, data: &mut Vec<u8>) -> Option<Line> {
        loop {
            let Some(start) = self.finder.find(&self.held) else {
                let keep = self.unfinished_prefix();
                self.release(self.held.len() - keep, data);
                return None;
            };
            self.release(start, data);
            let length = self.finder.needle().len();
            let rest = &self.held[length..];
            match rest.iter().take(LONGEST).position(|&byte| byte == b'\n').map(|end| (end, parse(&rest[..end]))) {
                Some((end, Some(line))) => {
                    self.held.drain(..=length + end);
                    return Some(line);
                }
                None if rest.len() < LONGEST => return None,
                // The prefix, but none of our lines: then it is the command's.
                _ => self.release(1, data),
            }
        }
    }

    /// The stream has ended: what was held back, waiting for the rest of a line, was data after all.
    pub(crate) fn finish(&mut self, data: &mut Vec<u8>) {
        self.release(self.held.len(), data);
    }

    fn release(&mut self, count: usize, data: &mut Vec<u8>) {
        data.extend_from_slice(&self.held[..count]);
        self.held.drain(..count);
    }

    /// How many bytes at the end could be the beginning of our prefix.
    fn unfinished_prefix(&self) -> usize {
        let needle = self.finder.needle();
        let longest = (needle.len() - 1).min(self.held.len());
        (1..=longest).rev().find(|&count| self.held.ends_with(&needle[..count])).unwrap_or(0)
    }
}

/// The words after the prefix.
fn parse(line: &[u8]) -> Option<Line> {
    let line = std::str::from_utf8(line).ok()?;
    let (word, number) = line.split_once(' ').map_or((line, None), |(word, number)| (word, Some(number)));
    match word {
        "begin" => Some(Line::Begin { pid: number.map(str::parse).transpose().ok()? }),
        "missing" if number.is_none() => Some(Line::Missing),
        "end" => Some(Line::End { status: number.map(|n| n.parse::<u8>()).transpose().ok()?.map(i32::from) }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All data and lines of a stream that arrives in pieces of `size` bytes.
    fn read(token: &Token, stream: &[u8], size: usize) -> (Vec<u8>, Vec<Line>) {
        let (mut frame, mut data, mut lines) = (Frame::new(token), Vec::new(), Vec::new());
        for piece in stream.chunks(size) {
            frame.feed(piece);
            while let Some(line) = frame.next(&mut data) {
                data.push(b'|');
                lines.push(line);
            }
        }
        frame.finish(&mut data);
        (data, lines)
    }

    fn stream(token: &Token, parts: &[&[u8]]) -> Vec<u8> {
        let mut stream = Vec::new();
        for part in parts {
            match part.strip_prefix(b"@") {
                Some(line) => {
                    stream.extend(token.prefix());
                    stream.extend(line);
                    stream.push(b'\n');
                }
                None => stream.extend(*part),
            }
        }
        stream
    }

    #[test]
    fn data_is_exact_however_the_stream_is_cut() {
        let token = Token::new().unwrap();
        let prefix = token.prefix();
        let half = &prefix[..20];
        let binary: Vec<u8> = (0..=255u8).cycle().take(3000).collect();
        let stream = stream(&token, &[b"noise", b"@begin 77", half, &binary, b"\x1e\x1erehome-", b"@end 3", b"late"]);
        let mut expected = b"noise|".to_vec();
        expected.extend(half);
        expected.extend(&binary);
        expected.extend(b"\x1e\x1erehome-|late");
        for size in 1..=97 {
            let (data, lines) = read(&token, &stream, size);
            assert_eq!(data, expected, "pieces of {size}");
            assert_eq!(lines, [Line::Begin { pid: Some(77) }, Line::End { status: Some(3) }], "pieces of {size}");
        }
    }

    #[test]
    fn lines_with_another_token_or_other_words_are_data() {
        let token = Token::new().unwrap();
        let other = Token::new().unwrap();
        for parts in [
            stream(&other, &[b"@begin 1", b"@end 0"]),
            stream(&token, &[b"@end 256"]),
            stream(&token, &[b"@end 0 0"]),
            stream(&token, &[b"@END 0"]),
            stream(&token, &[b"@end -1"]),
            stream(&token, &[b"@end and a long story that goes on and on and on"]),
        ] {
            for size in [1, 7, 4096] {
                assert_eq!(read(&token, &parts, size), (parts.clone(), vec![]));
            }
        }
    }

    #[test]
    fn a_stream_that_breaks_off_keeps_its_data() {
        let token = Token::new().unwrap();
        let mut stream = stream(&token, &[b"@begin", b"data"]);
        stream.extend(&token.prefix()[..9]);
        let (data, lines) = read(&token, &stream, 5);
        assert_eq!(lines, [Line::Begin { pid: None }]);
        assert_eq!(data, [b"|data", &token.prefix()[..9]].concat());
    }
}
