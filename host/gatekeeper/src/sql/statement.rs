//! One statement of a manifest as a server takes it: `:name` becomes the server's own placeholder, comments become spaces.
//! Invariant: one statement, without executable comments, raw placeholders or quotes that servers read differently.
//! No grammar: what a statement may do is the account's to bound; the lints here are only a second fence.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::types::SqlValue;

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Dialect {
    MySql,
    Postgres,
    Sqlite,
}

/// A statement, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    dialect: Dialect,
    pieces: Vec<Piece>,
    /// placeholders, in the order of their first appearance
    names: Vec<String>,
    /// words outside quotes, in upper case
    words: Vec<String>,
    /// what stands in quotes of identifiers, as it is
    quoted: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Value(usize),
}

/// What a `read` statement begins with.
const READS: &[&str] =
    &["SELECT", "WITH", "VALUES", "TABLE", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "PRAGMA", "CHECKSUM"];
/// What no `read` statement of MariaDB or MySQL holds: files of the server, which READ ONLY does not stop.
const FILES: &[&str] = &["OUTFILE", "DUMPFILE", "LOAD_FILE", "INFILE"];
/// What no statement begins with: transactions are the host's, and a call has a session of its own.
const NEVER: &[&str] = &[
    "ABORT",
    "ATTACH",
    "BEGIN",
    "COMMIT",
    "COPY",
    "DEALLOCATE",
    "DETACH",
    "DO",
    "END",
    "EXECUTE",
    "HANDLER",
    "LOAD",
    "LOCK",
    "PREPARE",
    "RELEASE",
    "RESET",
    "ROLLBACK",
    "SAVEPOINT",
    "SET",
    "START",
    "UNLOCK",
    "USE",
    "XA",
];

impl Statement {
    /// Takes a statement apart; if that is not possible, why.
    pub(super) fn parse(text: &str, dialect: Dialect) -> Result<Statement, String> {
        let (statement, mut rest) = Statement::first(text, dialect)?;
        if statement.words.is_empty() {
            return Err("there is no statement in it".into());
        }
        while let Some(text) = rest {
            let (more, after) = Statement::first(text, dialect)?;
            if !more.is_blank() {
                return Err("has more than one statement".into());
            }
            rest = after;
        }
        Ok(statement)
    }

    /// The statement up to the first semicolon, which may be blank, and what comes after that.
    pub(super) fn first(text: &str, dialect: Dialect) -> Result<(Statement, Option<&str>), String> {
        let statement = Statement { dialect, pieces: vec![], names: vec![], words: vec![], quoted: vec![] };
        let mut scan = Scan { text, bytes: text.as_bytes(), at: 0, from: 0, statement };
        scan.run()?;
        Ok((scan.statement, text.get(scan.at + 1..)))
    }

    fn is_blank(&self) -> bool {
        self.words.is_empty() && self.quoted.is_empty() && self.sql().trim().is_empty()
    }

    /// Its words outside quotes, in upper case.
    pub(super) fn words(&self) -> &[String] {
        &self.words
    }

    /// The text with the server's placeholders: `?`, or `$1` for PostgreSQL.
    pub(super) fn sql(&self) -> String {
        let mut sql = String::new();
        for piece in &self.pieces {
            match (piece, self.dialect) {
                (Piece::Text(text), _) => sql.push_str(text),
                (Piece::Value(index), Dialect::Postgres) => sql.push_str(&format!("${}", index + 1)),
                (Piece::Value(_), _) => sql.push('?'),
            }
        }
        sql
    }

    /// The values in the order in which the server takes them. A placeholder used twice is one value.
    pub(super) fn bound<'v>(&self, values: &'v [SqlValue]) -> Result<Vec<&'v SqlValue>, String> {
        if values.len() != self.names.len() {
            let names: Vec<String> = self.names.iter().map(|name| format!(":{name}")).collect();
            let names = if names.is_empty() { "none".to_string() } else { names.join(", ") };
            return Err(format!("was given {} values and takes {}: {names}", values.len(), self.names.len()));
        }
        if self.dialect == Dialect::Postgres {
            return Ok(values.iter().collect());
        }
        let value = |piece: &Piece| match piece {
            Piece::Value(index) => values.get(*index),
            Piece::Text(_) => None,
        };
        Ok(self.pieces.iter().filter_map(value).collect())
    }

    /// Its placeholders, in the order of their first appearance.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether it names this table, or anything else of that name.
    pub(super) fn mentions(&self, name: &str) -> bool {
        self.words.iter().chain(&self.quoted).any(|word| word.eq_ignore_ascii_case(name))
    }

    /// The word it begins with, in upper case.
    pub(super) fn verb(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Whether it looks like a statement that only reads; if not, why.
    pub(super) fn only_reads(&self) -> Result<(), String> {
        if !READS.contains(&self.verb()) {
            return Err(format!("its effect is `read`, and it begins with {}", self.verb()));
        }
        match self.words.iter().find(|word| self.dialect == Dialect::MySql && FILES.contains(&word.as_str())) {
            Some(word) => Err(format!("its effect is `read`, and it has {word}, which reaches files of the server")),
            None => Ok(()),
        }
    }

    /// Whether a phase may have it run at all; if not, why.
    pub(super) fn may_run(&self) -> Result<(), String> {
        if NEVER.contains(&self.verb()) {
            return Err(format!("begins with {}: sessions and transactions are the host's", self.verb()));
        }
        // VACUUM INTO and its like write files that the operator was not shown.
        match self.verb() {
            "VACUUM" if self.words.iter().any(|word| word == "INTO") => Err("writes a file: VACUUM INTO".into()),
            _ => Ok(()),
        }
    }
}

struct Scan<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// where the text begins that is not in a piece yet
    from: usize,
    statement: Statement,
}

impl Scan<'_> {
    fn run(&mut self) -> Result<(), String> {
        use Dialect::{MySql, Postgres, Sqlite};
        let dialect = self.statement.dialect;
        while let Some(byte) = self.peek(0) {
            match (byte, self.peek(1)) {
                (0, _) => return Err("has a NUL".into()),
                (b'\'', _) => _ = self.quoted(b'\'')?,
                (b'"', _) => self.identifier(b'"')?,
                (b'`', _) if dialect != Postgres => self.identifier(b'`')?,
                (b'[', _) if dialect == Sqlite => self.identifier(b']')?,
                (b'-', Some(b'-')) => self.dashes()?,
                (b'#', _) if dialect == MySql => self.line_comment(),
                (b'/', Some(b'*')) => self.block_comment()?,
                (b';', _) => break,
                (b':', Some(b':' | b'=')) => self.at += 2,
                (b':', Some(next)) if begins_word(next) => self.placeholder(),
                (b'?', _) if dialect != Postgres => return Err("has a `?`: values are written as `:name`".into()),
                (b'$', _) if dialect != MySql => return Err("has a `$`: values are written as `:name`".into()),
                (b'@', _) if dialect == Sqlite => return Err("has a `@`: values are written as `:name`".into()),
                (byte, _) if begins_word(byte) => self.word(),
                (b'0'..=b'9', _) => _ = self.skip_word(),
                _ => self.at += 1,
            }
        }
        self.cut(self.at);
        Ok(())
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    /// Makes a piece of the text up to `end`.
    fn cut(&mut self, end: usize) {
        if self.from < end {
            self.statement.pieces.push(Piece::Text(self.text[self.from..end].to_string()));
        }
        self.from = end;
    }

    fn skip_word(&mut self) -> Range<usize> {
        let begin = self.at;
        while self.peek(0).is_some_and(|byte| begins_word(byte) || byte.is_ascii_digit() || byte == b'$') {
            self.at += 1;
        }
        begin..self.at
    }

    fn word(&mut self) {
        let range = self.skip_word();
        self.statement.words.push(self.text[range].to_uppercase());
    }

    fn placeholder(&mut self) {
        self.cut(self.at);
        self.at += 1;
        let range = self.skip_word();
        let name = &self.text[range];
        let names = &mut self.statement.names;
        let index = names.iter().position(|known| known == name).unwrap_or_else(|| {
            names.push(name.to_string());
            names.len() - 1
        });
        self.statement.pieces.push(Piece::Value(index));
        self.from = self.at;
    }

    fn identifier(&mut self, close: u8) -> Result<(), String> {
        let range = self.quoted(close)?;
        self.statement.quoted.push(self.text[range].to_string());
        Ok(())
    }

    /// Skips what is quoted; answers where its content is.
    fn quoted(&mut self, close: u8) -> Result<Range<usize>, String> {
        let begin = self.at + 1;
        self.at = begin;
        // A backslash is an escape to MariaDB, sometimes one to PostgreSQL and none to SQLite: a quote must not end
        // somewhere else than the operator reads it.
        let ambiguous = self.statement.dialect != Dialect::Sqlite && close != b'`';
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\\' if ambiguous => return Err("has a backslash in quotes".into()),
                0 => return Err("has a NUL".into()),
                _ if byte == close && self.peek(1) == Some(close) && close != b']' => self.at += 2,
                _ if byte == close => {
                    self.at += 1;
                    return Ok(begin..self.at - 1);
                }
                _ => self.at += 1,
            }
        }
        Err(format!("has a `{}` that is not closed", self.text[begin - 1..].chars().next().unwrap_or_default()))
    }

    fn dashes(&mut self) -> Result<(), String> {
        // To MariaDB `5--1` is 6, to others `--` begins a comment.
        let spaced = self.peek(2).is_none_or(|byte| byte.is_ascii_whitespace());
        if !spaced && self.statement.dialect == Dialect::MySql {
            return Err("has `--` without a space after it".into());
        }
        self.line_comment();
        Ok(())
    }

    fn line_comment(&mut self) {
        let begin = self.at;
        while self.peek(0).is_some_and(|byte| byte != b'\n') {
            self.at += 1;
        }
        self.blank(begin);
    }

    fn block_comment(&mut self) -> Result<(), String> {
        let begin = self.at;
        let rest = &self.text[begin + 2..];
        if rest.starts_with('!') || rest.starts_with("M!") {
            return Err("has an executable comment".into());
        }
        let Some(length) = rest.find("*/") else { return Err("has a comment that is not closed".into()) };
        // PostgreSQL nests comments, others do not.
        if rest[..length].contains("/*") {
            return Err("has a comment in a comment".into());
        }
        self.at = begin + 2 + length + 2;
        self.blank(begin);
        Ok(())
    }

    /// Puts a space where a comment was, from `begin` to here.
    fn blank(&mut self, begin: usize) {
        self.cut(begin);
        self.statement.pieces.push(Piece::Text(" ".into()));
        self.from = self.at;
    }
}

fn begins_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

/// A name as an identifier of that server, whatever is in it.
pub(super) fn identifier(name: &str, dialect: Dialect) -> String {
    match dialect {
        Dialect::MySql => format!("`{}`", name.replace('`', "``")),
        Dialect::Postgres | Dialect::Sqlite => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

#[cfg(test)]
mod tests;
