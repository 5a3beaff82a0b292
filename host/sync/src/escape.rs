//! The one function that makes bytes from a side fit to be shown.
//! Invariant: its result holds no control character, no C1, no bidirectional or invisible format character.
//! Used by every `Display` of a path and every error; never used to build a name that goes to a disk.

/// Bytes as text that is safe on a terminal and in a log: printable UTF-8 stays, everything else is escaped.
///
/// Bytes that are not UTF-8 become `\xNN`; control, format (bidirectional overrides, zero-width), private and
/// separator characters become `\u{N}`; newline, tab, carriage return and the backslash itself `\n`, `\t`, `\r`, `\\`.
/// So two different names never look the same.
pub fn escape(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            push(&mut shown, character);
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

fn push(shown: &mut String, character: char) {
    match character {
        '\\' => shown.push_str("\\\\"),
        '\n' => shown.push_str("\\n"),
        '\t' => shown.push_str("\\t"),
        '\r' => shown.push_str("\\r"),
        ' '..='~' => shown.push(character),
        // `escape_debug` knows which characters are printable (it escapes C1, format, private and unassigned ones,
        // and combining marks); the bidirectional ones are format characters, named here so that nobody has to trust that.
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{061c}' | '\u{feff}' => {
            shown.push_str(&format!("\\u{{{:x}}}", u32::from(character)));
        }
        _ => shown.extend(character.escape_debug()),
    }
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn printable_text_stays_as_it_is() {
        assert_eq!(escape("Entwürfe &- 日本 'a'\"".as_bytes()), "Entwürfe &- 日本 'a'\"");
    }

    #[test]
    fn terminal_escapes_c1_and_bidi_never_come_through() {
        assert_eq!(escape(b"a\x1b[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(escape("x\u{9b}31m".as_bytes()), "x\\u{9b}31m");
        assert_eq!(escape("a\u{202e}txt.exe\u{200b}".as_bytes()), "a\\u{202e}txt.exe\\u{200b}");
        assert_eq!(escape(b"line\nline\r\t\x7f"), "line\\nline\\r\\t\\u{7f}");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_shown_by_number() {
        assert_eq!(escape(b"caf\xe9"), "caf\\xe9");
        assert_ne!(escape(b"caf\xe9"), escape(b"caf\\xe9"));
    }

    #[test]
    fn no_character_in_unicode_comes_through_as_a_control() {
        for character in (0..=0x10ffff).filter_map(char::from_u32) {
            let shown = escape(character.to_string().as_bytes());
            assert!(!shown.chars().any(char::is_control), "{:x} came through", u32::from(character));
        }
    }
}
