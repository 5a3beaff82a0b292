//! Grants as literals of perl. Invariant: every text is in single quotes, where only `\` and `'` mean anything (perlop,
//! "Quote and Quote-like Operators"); but for control characters, which are spelt: of a line that ends in CR LF perl drops the
//! CR, also within quotes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::grants::{Command, Input, Mode, Place, Redis, Source, Tree, Word};

/// The inside of a single-quoted text.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}

/// A text.
pub(crate) fn text(text: &str) -> String {
    let is_spelt = |c: char| c.is_ascii_control() && c != '\n';
    if !text.contains(is_spelt) {
        return format!("'{}'", escaped(text));
    }
    let pieces: Vec<String> = text
        .split_inclusive(is_spelt)
        .map(|piece| match piece.chars().next_back().filter(|&c| is_spelt(c)) {
            Some(last) => format!("'{}' . \"\\x{:02x}\"", escaped(&piece[..piece.len() - 1]), u32::from(last)),
            None => format!("'{}'", escaped(piece)),
        })
        .collect();
    format!("({})", pieces.join(" . "))
}

/// Items with a comma after each, a line each.
pub(crate) fn list(items: impl Iterator<Item = String>) -> String {
    items.fold(String::new(), |text, item| format!("{text}\n    {item},"))
}

fn array<'a>(items: impl IntoIterator<Item = &'a String>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| text(item)).collect();
    format!("[{}]", items.join(", "))
}

/// A row of `@COMMANDS`.
pub(crate) fn command(command: &Command) -> String {
    let words: Vec<String> = command.words.iter().map(word).collect();
    let input = match &command.input {
        Input::Nothing => "''".to_owned(),
        Input::Text(input) => text(&format!("={input}")),
        Input::Stream => "'stream'".to_owned(),
        Input::Lines(pieces) => format!("[{}]", pieces.iter().map(word).collect::<Vec<_>>().join(", ")),
    };
    let ok: Vec<String> = command.ok.iter().map(i32::to_string).collect();
    let mut row = format!("{{id => {}, words => [{}], input => {input}", text(&command.id), words.join(", "));
    row.push_str(&format!(", ok => [{}]", ok.join(", ")));
    for (key, value) in [("yields", &command.yields), ("kept", &command.kept)] {
        if let Some(value) = value {
            row.push_str(&format!(", {key} => {}", text(value)));
        }
    }
    row.push('}');
    row
}

fn word(word: &Word) -> String {
    let Word::Hole { place, all, sources } = word else {
        let Word::Literal(literal) = word else { return String::new() };
        return text(literal);
    };
    let sources: Vec<String> = sources.iter().map(source).collect();
    let place = match place {
        Place::Value(pattern) => format!("pattern => {}", text(pattern)),
        Place::PathIn(root) => format!("root => {}", text(root)),
        Place::FirstSeen(request) => format!("first => {}", text(request)),
    };
    format!("{{{place}, all => {}, of => [{}]}}", u8::from(*all), sources.join(", "))
}

fn source(source: &Source) -> String {
    match source {
        Source::Yielded(id) => text(id),
        Source::Set(values) => array(values),
    }
}

/// A row of `%TREES`.
pub(crate) fn tree((root, tree): (&PathBuf, &Tree)) -> String {
    let mode = match tree.mode {
        Mode::List => "list",
        Mode::Read => "read",
        Mode::Add => "add",
    };
    let names = tree.names.iter().cloned().collect::<Vec<_>>().join("/");
    let all = BTreeSet::new();
    let scope = array(tree.scope.as_ref().unwrap_or(&all));
    let root = text(&root.to_string_lossy());
    format!("{root} => {{mode => '{mode}', names => {}, scope => {scope}}}", text(&names))
}

/// `$REDIS`.
pub(crate) fn redis(redis: &Redis) -> String {
    let door = match (&redis.socket, redis.port) {
        (Some(socket), _) => format!("socket => {}", text(socket)),
        (None, port) => format!("port => {}", port.unwrap_or_default()),
    };
    let databases: Vec<String> = redis.databases.iter().map(u32::to_string).collect();
    format!("{{{door}, databases => {}, patterns => {}}}", array(&databases), array(&redis.patterns))
}
