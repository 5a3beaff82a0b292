//! Text that a component answers, before anybody else sees it. Invariant: what comes out holds no control, bidirectional or
//! invisible character but the line feed, is not endless, and is unchanged if it was safe already (so that a failure of the
//! host's, which a phase lets pass, is not escaped twice).

use rehome_sync::escape;

/// Bytes of one text: a denial shows whole statements.
const MOST: usize = 64 << 10;

/// The text, safe to show.
pub(crate) fn shown(mut text: String) -> String {
    if text.len() > MOST {
        text.truncate(text.floor_char_boundary(MOST));
        text.push('…');
    }
    let plain = |character: char| matches!(character, '\n' | ' '..='~');
    if text.chars().all(plain) {
        return text;
    }
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if plain(character) {
            safe.push(character);
        } else {
            safe.push_str(&escape(character.encode_utf8(&mut [0; 4]).as_bytes()));
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_component_answers_cannot_draw_on_a_terminal() {
        let hostile = "a\x1b[2Jb\u{9b}31m\u{202e}c\rd\u{200b}".to_string();
        let safe = shown(hostile);
        assert_eq!(safe, "a\\u{1b}[2Jb\\u{9b}31m\\u{202e}c\\rd\\u{200b}");
        assert_eq!(shown(safe.clone()), safe, "safe text stays as it is");
    }

    #[test]
    fn lines_quotes_and_letters_stay() {
        let text = "Entwürfe \"a\" 'b' \\ 日本\nsecond line".to_string();
        assert_eq!(shown(text.clone()), text);
    }

    #[test]
    fn an_endless_text_ends() {
        let text = shown("ü".repeat(100_000));
        assert!(text.len() <= MOST + 3 && text.ends_with('…'));
    }
}
