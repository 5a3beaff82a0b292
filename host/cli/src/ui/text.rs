//! Text for a terminal: pieces in tones. Invariant: whatever is put into a `Text` is made safe there, so that nothing a
//! component, a side or a plan says can reach the terminal as a control sequence. Colours are added when it is drawn.

use unicode_width::UnicodeWidthChar;

/// How a piece looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Bold,
    Dim,
    Red,
    Yellow,
    Green,
    Cyan,
}

impl Tone {
    /// The SGR parameters of ECMA-48, section 8.3.117.
    fn code(self) -> &'static str {
        match self {
            Tone::Plain => "",
            Tone::Bold => "1",
            Tone::Dim => "2",
            Tone::Red => "1;31",
            Tone::Yellow => "33",
            Tone::Green => "32",
            Tone::Cyan => "36",
        }
    }
}

/// One line of text, before it is wrapped.
#[derive(Clone, Debug, Default)]
pub struct Text(Vec<(Tone, String)>);

/// A line with its place: how far it is indented, and how far what does not fit.
#[derive(Clone, Debug)]
pub struct Line {
    text: Text,
    indent: usize,
    hang: usize,
}

impl Text {
    pub fn new(text: impl AsRef<str>) -> Text {
        Text::default().plain(text)
    }
    pub fn bold(text: impl AsRef<str>) -> Text {
        Text::default().with(Tone::Bold, text)
    }
    pub fn dim(text: impl AsRef<str>) -> Text {
        Text::default().with(Tone::Dim, text)
    }
    pub fn red(text: impl AsRef<str>) -> Text {
        Text::default().with(Tone::Red, text)
    }
    pub fn yellow(text: impl AsRef<str>) -> Text {
        Text::default().with(Tone::Yellow, text)
    }
    pub fn green(text: impl AsRef<str>) -> Text {
        Text::default().with(Tone::Green, text)
    }
    pub fn plain(self, text: impl AsRef<str>) -> Text {
        self.with(Tone::Plain, text)
    }
    pub fn and_dim(self, text: impl AsRef<str>) -> Text {
        self.with(Tone::Dim, text)
    }

    /// The one way in: made safe here.
    pub fn with(mut self, tone: Tone, text: impl AsRef<str>) -> Text {
        self.0.push((tone, safe(text.as_ref())));
        self
    }

    /// Fills up with spaces to a width, with at least one.
    pub fn pad(self, width: usize) -> Text {
        let missing = width.saturating_sub(self.width()).max(1);
        self.plain(" ".repeat(missing))
    }

    /// At a distance from the margin; what does not fit hangs as far.
    pub fn at(self, indent: usize) -> Line {
        Line { text: self, indent, hang: indent }
    }

    fn width(&self) -> usize {
        self.0.iter().flat_map(|(_, text)| text.chars()).map(columns).sum()
    }
}

impl From<Text> for Line {
    fn from(text: Text) -> Line {
        text.at(0)
    }
}

impl Line {
    /// What does not fit hangs this far from the margin.
    pub fn hang(self, hang: usize) -> Line {
        Line { hang, ..self }
    }

    /// As lines of at most `width` columns, with colours or without, without a line feed at the end.
    pub fn draw(&self, width: usize, color: bool) -> String {
        let cells: Vec<(Tone, char)> =
            self.text.0.iter().flat_map(|(tone, text)| text.chars().map(|c| (*tone, c))).collect();
        let breaks = breaks(&cells);
        let mut lines = Vec::new();
        let mut from = 0;
        loop {
            let indent = if lines.is_empty() { self.indent } else { self.hang };
            let (end, next) = split(&cells[from..], &breaks[from..], width.saturating_sub(indent).max(20));
            lines.push(format!("{}{}", " ".repeat(indent), painted(&cells[from..from + end], color)));
            from += next;
            if from >= cells.len() {
                break;
            }
        }
        lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
    }
}

/// Longest text between backticks that is kept in one piece: people copy commands from there.
const IN_ONE_PIECE: usize = 60;

/// Where a line may end: at spaces, but for those within `a command`.
fn breaks(cells: &[(Tone, char)]) -> Vec<bool> {
    let mut breaks: Vec<bool> = cells.iter().map(|(_, c)| *c == ' ').collect();
    let ticks: Vec<usize> = cells.iter().enumerate().filter(|(_, (_, c))| *c == '`').map(|(at, _)| at).collect();
    for pair in ticks.chunks_exact(2) {
        if pair[1] - pair[0] <= IN_ONE_PIECE {
            breaks[pair[0]..pair[1]].fill(false);
        }
    }
    breaks
}

/// How much fits on a line, and where the next one begins.
fn split(cells: &[(Tone, char)], breaks: &[bool], width: usize) -> (usize, usize) {
    let mut used = 0;
    let mut last = None;
    for (at, (_, c)) in cells.iter().enumerate() {
        used += columns(*c);
        // A space that falls off the edge is a place to break, too.
        if breaks[at] && cells[..at].iter().any(|(_, c)| *c != ' ') {
            last = Some(at);
        }
        if used > width {
            return last.map_or((at, at), |space| (space, space + 1));
        }
    }
    (cells.len(), cells.len())
}

fn columns(c: char) -> usize {
    c.width().unwrap_or(0)
}

fn painted(cells: &[(Tone, char)], color: bool) -> String {
    let mut out = String::new();
    let mut now = Tone::Plain;
    for (tone, c) in cells {
        if color && *tone != now {
            if now != Tone::Plain {
                out.push_str("\x1b[0m");
            }
            if *tone != Tone::Plain {
                out.push_str(&format!("\x1b[{}m", tone.code()));
            }
            now = *tone;
        }
        out.push(*c);
    }
    if now != Tone::Plain {
        out.push_str("\x1b[0m");
    }
    out
}

/// Whether it turns or hides other text.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// JSON that means the same and can be shown: it holds no control characters anyway, but for those above ASCII and DEL.
pub fn safe_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_control() || is_invisible(c) {
            // They are of the basic plane: one unit each (RFC 8259, section 7).
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Everything that is not printable as an escape; what was escaped before stays as it is.
pub fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '"' | '\'' => out.push(c),
            _ if is_invisible(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            // `escape_debug` knows what is printable, but for marks that combine with a letter.
            '\u{300}'..='\u{36f}' => out.push(c),
            _ if c.is_alphanumeric() => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_comes_through() {
        let hostile = "a\x1b[2Jb\u{9b}31m\r\n\t\x07\u{202e}evil\u{200b}";
        let drawn = Text::new(hostile).with(Tone::Red, hostile).at(2).draw(80, false);
        assert!(!drawn.chars().any(|c| c.is_control() && c != '\n'), "{drawn:?}");
        assert!(drawn.contains("a\\u{1b}[2Jb") && drawn.contains("\\u{202e}evil"), "{drawn}");
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            assert!(!safe(&c.to_string()).chars().any(char::is_control), "{:x}", u32::from(c));
        }
    }

    #[test]
    fn json_keeps_its_meaning_and_loses_what_a_terminal_obeys() {
        let hostile = "a\x1b[2J\u{9b}31m\x7f\u{202e}evil\u{200b}\n\"\\ü";
        let json = serde_json::to_string(hostile).unwrap();
        let shown = safe_json(&json);
        assert!(!shown.chars().any(|c| c.is_control() || is_invisible(c)), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), hostile);
    }

    #[test]
    fn what_was_made_safe_stays_as_it_is() {
        let once = safe("Entwürfe\\u{1b} 日本 'a' \"b\" C:\\x");
        assert_eq!(once, "Entwürfe\\u{1b} 日本 'a' \"b\" C:\\x");
        assert_eq!(safe(&once), once);
    }

    #[test]
    fn lines_break_at_spaces_and_hang_below_their_beginning() {
        let line = Text::new("one two three four five six seven").at(2).hang(4);
        assert_eq!(line.draw(24, false), "  one two three four\n    five six seven");
        let command = Text::new("then do `rehome answer` and so on").at(0);
        assert_eq!(command.draw(20, false), "then do\n`rehome answer` and\nso on");
        let long = Text::new("x".repeat(50)).at(0);
        assert!(long.draw(24, false).lines().all(|line| line.len() <= 24));
        assert_eq!(long.draw(24, false).replace('\n', ""), "x".repeat(50));
    }

    #[test]
    fn colours_begin_and_end_on_their_line() {
        let drawn = Text::red("one two three four five six seven").at(0).draw(20, true);
        for line in drawn.lines() {
            assert!(line.starts_with("\x1b[1;31m") && line.ends_with("\x1b[0m"), "{line:?}");
        }
    }

    #[test]
    fn wide_characters_count_as_two_columns() {
        let drawn = Text::new("日本 ".repeat(10)).at(0).draw(20, false);
        assert!(drawn.lines().all(|line| line.chars().map(columns).sum::<usize>() <= 20), "{drawn}");
    }
}
