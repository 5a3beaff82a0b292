//! Scripted answers: a queue for each request and side; the last answer stays for ever.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use crate::exec::Output;
use crate::sql::{Rows, Value};
use crate::{Failure, Tool};

type Reply<T> = Box<dyn FnMut(&[String]) -> Result<T, Failure>>;

/// Answers of one kind, by request and side.
pub(crate) struct Table<T>(BTreeMap<String, VecDeque<Reply<T>>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table(BTreeMap::new())
    }
}

impl<T> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<T> Table<T> {
    pub(crate) fn of(&mut self, key: String) -> Replies<'_, T> {
        Replies { queue: self.0.entry(key).or_default() }
    }

    /// The next answer, if one was scripted.
    pub(crate) fn next(&mut self, key: &str, values: &[String]) -> Option<Result<T, Failure>> {
        let queue = self.0.get_mut(key)?;
        let answer = queue.front_mut()?(values);
        if queue.len() > 1 {
            queue.pop_front();
        }
        Some(answer)
    }
}

/// Answers to add for one request: one a call, the last one for ever. [`Replies::anew`] drops the former ones.
pub struct Replies<'a, T> {
    queue: &'a mut VecDeque<Reply<T>>,
}

impl<T> fmt::Debug for Replies<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answers", self.queue.len())
    }
}

impl<T: Clone + 'static> Replies<'_, T> {
    /// Drops the answers scripted so far.
    pub fn anew(self) -> Self {
        self.queue.clear();
        self
    }

    /// Answers this.
    pub fn gives(self, value: T) -> Self {
        self.by(move |_| Ok(value.clone()))
    }

    /// Fails like this.
    pub fn fails(self, failure: Failure) -> Self {
        self.by(move |_| Err(failure.clone()))
    }

    /// Answers according to the values (or the path) of the call.
    pub fn by(self, answer: impl FnMut(&[String]) -> Result<T, Failure> + 'static) -> Self {
        self.queue.push_back(Box::new(answer));
        self
    }

    /// This side has no such capability.
    pub fn is_unsupported(self) -> Self {
        self.fails(Failure::Unsupported("a folder runs no commands".into()))
    }
}

impl Replies<'_, Output> {
    /// Prints this and ends with status 0.
    pub fn says(self, stdout: &str) -> Self {
        self.gives(Output { status: 0, stdout: stdout.as_bytes().to_vec(), stderr: Vec::new() })
    }

    /// Prints this and ends with a status; one that the request does not list as success becomes
    /// [`Failure::EndedBadly`].
    pub fn ends(self, status: i32, stdout: &str, stderr: &str) -> Self {
        self.gives(Output { status, stdout: stdout.as_bytes().to_vec(), stderr: stderr.as_bytes().to_vec() })
    }
}

impl Replies<'_, Rows> {
    /// Rows of texts.
    pub fn holds<const N: usize>(self, columns: [&str; N], rows: &[[&str; N]]) -> Self {
        let text = |value: &&str| Value::Text(value.to_string());
        self.gives(Rows {
            columns: columns.iter().map(|name| name.to_string()).collect(),
            rows: rows.iter().map(|row| row.iter().map(text).collect()).collect(),
        })
    }

    /// One row with one number.
    pub fn counts(self, number: i64) -> Self {
        self.gives(Rows { columns: vec!["count".into()], rows: vec![vec![Value::Integer(number)]] })
    }
}

/// What the host makes of a status that the request does not list.
pub(crate) fn ended_badly(id: &str, output: &Output) -> Failure {
    let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    Failure::EndedBadly(Tool {
        request: id.to_string(),
        status: Some(output.status),
        diagnostic: String::from_utf8_lossy(said).into_owned(),
    })
}
