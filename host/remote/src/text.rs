//! Untrusted bytes made fit for a message: what ssh, a command or a path says may hold terminal escapes.
//! Invariant: the result has no control, C1 or bidirectional formatting character. Used by `error.rs` and names.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Printable text: valid UTF-8 stays, newlines stay, everything a terminal could act on becomes `\xNN` or `\u{…}`.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => out.push(c),
                '\r' => {}
                '\t' => out.push(' '),
                c if c.is_control() && c.is_ascii() => _ = write!(out, "\\x{:02x}", c as u32),
                c if c.is_control() || formats(c) => _ = write!(out, "\\u{{{:x}}}", c as u32),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// A path for a message, on one line.
pub(crate) fn printable_path(path: &Path) -> String {
    printable(path.as_os_str().as_bytes()).replace('\n', "\\n")
}

/// Bidirectional controls and invisible formatting (Unicode UAX #9), which can make text read as something else.
fn formats(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_escapes_and_bidi_controls_are_shown_not_sent() {
        assert_eq!(printable(b"a\x1b[2Jb"), "a\\x1b[2Jb");
        assert_eq!(printable("\u{9b}31m\u{202e}x".as_bytes()), "\\u{9b}31m\\u{202e}x");
        assert_eq!(printable(b"\xff\xfe ok\r\n"), "\\xff\\xfe ok\n");
        assert_eq!(printable("grüße".as_bytes()), "grüße");
    }

    #[test]
    fn a_path_with_a_newline_stays_on_one_line() {
        assert_eq!(printable_path(Path::new("/a\nb")), "/a\\nb");
    }
}
