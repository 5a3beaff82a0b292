//! Commands on a side: `requests::exec::STOP.on(Side::Old).run()?`. The argv, its time and its output limits are the
//! manifest's; a phase only fills the holes. The number of holes is part of the type.

pub use crate::bindings::rehome::phase::exec::{Moved, Output};
use crate::{Failure, Side, host, lines};

/// `[exec.NAME]` with so many holes.
#[derive(Debug, Clone, Copy)]
pub struct Request<const HOLES: usize> {
    name: &'static str,
}

/// A request on a side, ready to run.
#[derive(Debug, Clone, Copy)]
pub struct Command<const HOLES: usize> {
    name: &'static str,
    side: Side,
}

impl<const HOLES: usize> Request<HOLES> {
    /// For the generated constants.
    pub const fn named(name: &'static str) -> Self {
        Self { name }
    }

    /// Where it shall run.
    pub fn on(self, side: Side) -> Command<HOLES> {
        Command { name: self.name, side }
    }
}

impl Command<0> {
    /// Runs it. An exit status proves little: after an effect, look.
    pub fn run(self) -> Result<Output, Failure> {
        host::exec::run(self.name, self.side, &[])
    }
}

impl<const HOLES: usize> Command<HOLES> {
    /// Runs it with a value for each hole, in their order.
    pub fn run_with(self, values: [&str; HOLES]) -> Result<Output, Failure> {
        host::exec::run(self.name, self.side, &values.map(String::from))
    }

    /// Runs it for many rows of values, as parallel as the host finds good: one result a row, in the rows' order.
    pub fn run_each<V: AsRef<str>>(
        self,
        rows: impl IntoIterator<Item = [V; HOLES]>,
    ) -> Result<Vec<Result<Output, Failure>>, Failure> {
        let rows: Vec<Vec<String>> =
            rows.into_iter().map(|row| row.iter().map(|value| value.as_ref().to_string()).collect()).collect();
        host::exec::run_each(self.name, self.side, &rows)
    }
}

/// `[exec.NAME]` with a template of standard input (`rows = …`): so many holes in its argv, so many in a row.
#[derive(Debug, Clone, Copy)]
pub struct Fed<const HOLES: usize, const COLUMNS: usize> {
    name: &'static str,
}

impl<const HOLES: usize, const COLUMNS: usize> Fed<HOLES, COLUMNS> {
    /// For the generated constants.
    pub const fn named(name: &'static str) -> Self {
        Self { name }
    }

    /// Runs it on `side` with one line of standard input a row.
    pub fn run<V: AsRef<str>>(
        self,
        side: Side,
        values: [&str; HOLES],
        rows: impl IntoIterator<Item = [V; COLUMNS]>,
    ) -> Result<Output, Failure> {
        let rows: Vec<Vec<String>> =
            rows.into_iter().map(|row| row.iter().map(|value| value.as_ref().to_string()).collect()).collect();
        host::exec::run_with_rows(self.name, side, &values.map(String::from), &rows)
    }
}

/// `[pipe.NAME]`: stdout of one request into stdin of another. The bytes never enter the sandbox.
#[derive(Debug, Clone, Copy)]
pub struct Pipe {
    name: &'static str,
}

impl Pipe {
    /// For the generated constants.
    pub const fn named(name: &'static str) -> Self {
        Self { name }
    }

    /// Runs both ends.
    pub fn run(self) -> Result<Moved, Failure> {
        host::exec::pipe(self.name)
    }
}

impl Output {
    /// All of stdout as text, without white space around it.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_string()
    }

    /// The lines of stdout that are not empty.
    pub fn lines(&self) -> Vec<String> {
        lines(&self.stdout)
    }

    /// What the tool said last: the end of stderr, else of stdout.
    pub fn last_words(&self) -> String {
        lines(&self.stderr).pop().or_else(|| self.lines().pop()).unwrap_or_default()
    }
}
