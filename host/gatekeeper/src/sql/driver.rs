//! What the capability needs of a server, whichever it is. Invariant: everything a server says comes through here as
//! rows or as a `Failure` that holds no row contents. `mysql.rs`, `postgres.rs` and `sqlite.rs` do it.

use async_trait::async_trait;

use super::statement::{Dialect, Statement};
use super::value::Rows;
use crate::types::{Failure, SqlDescription, SqlValue};

/// A connection to one database.
#[async_trait]
pub(super) trait Driver: Send {
    /// Whose SQL it takes.
    fn dialect(&self) -> Dialect;

    /// From here on only reads, all of the same moment where the engine can do that.
    ///
    /// The account is the boundary: as root, READ ONLY stops neither files nor what ends a transaction. This is a second
    /// fence, against mistakes.
    async fn begin_reading(&mut self) -> Result<(), Failure>;

    /// Begins a transaction that `commit` or `roll_back` ends. `statements` are those to come: refuses those that write
    /// tables that no transaction protects.
    async fn begin(&mut self, statements: &[&Statement]) -> Result<(), Failure>;

    async fn commit(&mut self) -> Result<(), Failure>;

    /// Takes a transaction back, as far as the server still answers; one that does not takes it back by itself.
    async fn roll_back(&mut self);

    /// Runs a statement and hands its rows over one by one.
    fn rows<'a>(&'a mut self, statement: &'a Statement, values: &'a [SqlValue]) -> Rows<'a>;

    /// The columns a statement would answer.
    async fn columns(&mut self, statement: &Statement) -> Result<Vec<String>, Failure>;

    /// Runs a statement; answers the rows it changed (MariaDB and MySQL: that it found, for an UPDATE).
    async fn execute(&mut self, statement: &Statement, values: &[SqlValue]) -> Result<u64, Failure>;

    /// Server and schema.
    async fn describe(&mut self) -> Result<SqlDescription, Failure>;

    /// Itself as a place of whole tables.
    fn whole(&mut self) -> Result<&mut dyn Whole, Failure>;
}

/// A table, and how to make it again.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Table {
    pub name: String,
    /// the statement that makes it
    pub create: String,
    /// those that hold values; generated ones make their own
    pub columns: Vec<String>,
    /// what makes two tables alike, one line a column or index, without what servers merely write differently
    pub shape: Vec<String>,
    /// the last number that AUTOINCREMENT gave out, where `create` does not say
    pub counter: Option<i64>,
}

/// An index, a view, a trigger: made when the rows are in.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Made {
    /// "index", "view", "trigger", "pragma"
    pub kind: String,
    pub name: String,
    /// the statement that makes it
    pub create: String,
    /// the `sql_mode` it was made under
    pub mode: Option<String>,
    /// whose rights it runs with
    pub definer: Option<String>,
    /// another server says how it is made; in a snapshot, the same one did
    #[serde(skip)]
    pub foreign: bool,
}

/// Whole tables, before their rows.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Inventory {
    pub tables: Vec<Table>,
    pub after: Vec<Made>,
    /// what is there and does not move: "procedure `x`"
    pub left_out: Vec<String>,
}

/// Where whole tables come from.
#[async_trait]
pub(super) trait Origin: Send {
    /// Whose SQL makes its tables.
    fn written_in(&self) -> Dialect;

    /// The tables of these names (none: all) and what belongs to them.
    async fn inventory(&mut self, names: &[String]) -> Result<Inventory, Failure>;

    /// The rows of a table, in the order of its `columns`.
    fn table_rows<'a>(&'a mut self, table: &'a Table) -> Rows<'a>;
}

/// Where whole tables come from and go to.
#[async_trait]
pub(super) trait Whole: Origin {
    /// Everything up to `end_loading` is without foreign key checks.
    async fn begin_loading(&mut self) -> Result<(), Failure>;

    /// All tables and views that are there.
    async fn names(&mut self) -> Result<Vec<String>, Failure>;

    /// Writes itself into an empty file, if it has a way of its own to do that: answers whether it has.
    async fn keep_in(&mut self, _path: &str) -> Result<bool, Failure> {
        Ok(false)
    }

    /// Begins a transaction and takes all rows out of all tables, for `insert` to put others there, so that nobody ever sees
    /// a table missing or half full; if what is there is made just as `inventory` says, and allows it. Answers whether it has.
    async fn begin_replacing(&mut self, _inventory: &Inventory) -> Result<bool, Failure> {
        Ok(false)
    }

    /// All rows are in: everybody sees them from now on.
    async fn end_replacing(&mut self, _inventory: &Inventory) -> Result<(), Failure> {
        Ok(())
    }

    /// Drops a table or view, if it is there.
    async fn drop(&mut self, name: &str) -> Result<(), Failure>;

    /// Makes a table that is not there, empty.
    async fn make(&mut self, table: &Table) -> Result<(), Failure>;

    /// Writes rows of a table, in the order of its `columns`.
    async fn insert(&mut self, table: &Table, rows: &[Vec<SqlValue>]) -> Result<(), Failure>;

    /// All rows of a table are in.
    async fn finish(&mut self, table: &Table) -> Result<(), Failure>;

    /// Makes what comes after the rows.
    async fn make_after(&mut self, made: &Made) -> Result<(), Failure>;

    async fn end_loading(&mut self) -> Result<(), Failure>;
}
