//! Databases: `requests::sql::ACCOUNTS.on(Side::Old).rows()?`. Statements are the manifest's, values are bound; whole
//! tables move between the sides without entering the sandbox. The number of values is part of the type.

pub use crate::bindings::rehome::phase::sql::{Column, Copied, Description, Difference, Rows, Table, Value};
use crate::{Failure, Side, host};

/// `[schema.NAME]`.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    name: &'static str,
}

impl Schema {
    /// For the generated constants.
    pub const fn named(name: &'static str) -> Self {
        Self { name }
    }

    /// Server and schema on that side. A refused login is [`Failure::EndedBadly`] with the server's words.
    pub fn describe(self, side: Side) -> Result<Description, Failure> {
        host::sql::describe(self.name, side)
    }
}

/// `[sql.NAME]` with the effect `read` and so many bound values.
#[derive(Debug, Clone, Copy)]
pub struct Query<const VALUES: usize> {
    name: &'static str,
}

/// `[sql.NAME]` with any other effect and so many bound values.
#[derive(Debug, Clone, Copy)]
pub struct Statement<const VALUES: usize> {
    name: &'static str,
}

impl<const VALUES: usize> Query<VALUES> {
    /// For the generated constants.
    pub const fn named(name: &'static str) -> Self {
        Self { name }
    }

    /// The side to ask.
    pub fn on(self, side: Side) -> QueryOn<VALUES> {
        QueryOn { name: self.name, side }
    }
}

/// A query on a side.
#[derive(Debug, Clone, Copy)]
pub struct QueryOn<const VALUES: usize> {
    name: &'static str,
    side: Side,
}

impl QueryOn<0> {
    /// At most 100,000 rows and 16 MiB.
    pub fn rows(self) -> Result<Rows, Failure> {
        host::sql::query(self.name, self.side, &[])
    }
}

impl<const VALUES: usize> QueryOn<VALUES> {
    /// With a value for each `:name`, in the order of their first appearance.
    pub fn rows_with(self, values: [Value; VALUES]) -> Result<Rows, Failure> {
        host::sql::query(self.name, self.side, &values)
    }
}

impl<const VALUES: usize> Statement<VALUES> {
    /// For the generated constants.
    pub const fn named(name: &'static str) -> Self {
        Self { name }
    }

    /// The side to change.
    pub fn on(self, side: Side) -> StatementOn<VALUES> {
        StatementOn { name: self.name, side }
    }
}

/// A statement on a side.
#[derive(Debug, Clone, Copy)]
pub struct StatementOn<const VALUES: usize> {
    name: &'static str,
    side: Side,
}

impl StatementOn<0> {
    /// Answers the rows it changed.
    pub fn execute(self) -> Result<u64, Failure> {
        host::sql::execute(self.name, self.side, &[])
    }
}

impl<const VALUES: usize> StatementOn<VALUES> {
    /// With a value for each `:name`, in the order of their first appearance. Answers the rows it changed.
    pub fn execute_with(self, values: [Value; VALUES]) -> Result<u64, Failure> {
        host::sql::execute(self.name, self.side, &values)
    }
}

/// `[copy.NAME]`, from old to new.
#[derive(Debug, Clone, Copy)]
pub struct Copy {
    name: &'static str,
}

impl Copy {
    /// For the generated constants.
    pub const fn named(name: &'static str) -> Self {
        Self { name }
    }

    /// Copies. Rows in one transaction; whole tables not: take a [`Snapshot`] first.
    pub fn run(self) -> Result<Copied, Failure> {
        host::sql::copy(self.name)
    }

    /// What [`Copy::run`] would move against what new has. Reads only.
    pub fn compare(self) -> Result<Vec<Difference>, Failure> {
        host::sql::compare(self.name)
    }
}

/// `[snapshot.NAME]`.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot {
    name: &'static str,
}

impl Snapshot {
    /// For the generated constants.
    pub const fn named(name: &'static str) -> Self {
        Self { name }
    }

    /// Keeps the database as it is now, until retire; once a run of the phase, then the same answer again.
    pub fn take(self, side: Side) -> Result<String, Failure> {
        host::sql::snapshot(self.name, side)
    }

    /// Puts a snapshot back. What came since is kept as a snapshot of its own first.
    pub fn restore(self, side: Side, snapshot: &str) -> Result<(), Failure> {
        host::sql::restore(self.name, side, snapshot)
    }
}

impl Rows {
    /// The texts of a column, in the rows' order; no NULLs; bytes that are UTF-8 count as text. Empty without such a column.
    pub fn texts(&self, column: &str) -> Vec<String> {
        let Some(at) = self.columns.iter().position(|name| name.eq_ignore_ascii_case(column)) else {
            return Vec::new();
        };
        self.rows.iter().filter_map(|row| row.get(at)?.to_text()).collect()
    }

    /// The value of the only row and column, as a number.
    pub fn number(&self) -> Option<i64> {
        self.rows.first()?.first()?.to_i64()
    }
}

impl Value {
    /// As text; none for NULL and for bytes that are not UTF-8.
    pub fn to_text(&self) -> Option<String> {
        match self {
            Value::Null => None,
            Value::Integer(number) => Some(number.to_string()),
            Value::Unsigned(number) => Some(number.to_string()),
            Value::Real(number) => Some(number.to_string()),
            Value::Text(text) => Some(text.clone()),
            Value::Bytes(bytes) => String::from_utf8(bytes.clone()).ok(),
        }
    }

    /// As a whole number, where it is one.
    pub fn to_i64(&self) -> Option<i64> {
        match self {
            Value::Integer(number) => Some(*number),
            Value::Unsigned(number) => i64::try_from(*number).ok(),
            Value::Text(text) => text.parse().ok(),
            Value::Null | Value::Real(_) | Value::Bytes(_) => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_string())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Integer(number)
    }
}
