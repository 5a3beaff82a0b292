//! `sql` for components: types are converted, the gatekeeper does the rest. The contract is in `wit/sql.wit`.

use rehome_gatekeeper::types as ours;
use wasmtime::Result as Trapping;

use crate::bindings::rehome::phase::sql::{Column, Copied, Description, Difference, Host, Rows, Table, Value};
use crate::bindings::rehome::phase::types::{Failure, Side};
use crate::convert::{answered, listed};
use crate::guest::Guest;

impl Host for Guest {
    async fn describe(&mut self, name: String, on: Side) -> Trapping<Result<Description, Failure>> {
        answered(self.session()?.describe(&name, on.into()).await)
    }

    async fn query(&mut self, name: String, on: Side, values: Vec<Value>) -> Trapping<Result<Rows, Failure>> {
        answered(self.session()?.query(&name, on.into(), &bound(values)).await)
    }

    async fn execute(&mut self, name: String, on: Side, values: Vec<Value>) -> Trapping<Result<u64, Failure>> {
        answered(self.session()?.execute(&name, on.into(), &bound(values)).await)
    }

    async fn copy(&mut self, name: String) -> Trapping<Result<Copied, Failure>> {
        answered(self.session()?.copy(&name).await)
    }

    async fn compare(&mut self, name: String) -> Trapping<Result<Vec<Difference>, Failure>> {
        listed(self.session()?.compare_rows(&name).await)
    }

    async fn snapshot(&mut self, name: String, on: Side) -> Trapping<Result<String, Failure>> {
        answered(self.session()?.snapshot(&name, on.into()).await)
    }

    async fn restore(&mut self, name: String, on: Side, snapshot: String) -> Trapping<Result<(), Failure>> {
        answered(self.session()?.restore_snapshot(&name, on.into(), &snapshot).await)
    }
}

fn bound(values: Vec<Value>) -> Vec<ours::SqlValue> {
    values.into_iter().map(Into::into).collect()
}

impl From<Value> for ours::SqlValue {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => ours::SqlValue::Null,
            Value::Integer(number) => ours::SqlValue::Integer(number),
            Value::Unsigned(number) => ours::SqlValue::Unsigned(number),
            Value::Real(number) => ours::SqlValue::Real(number),
            Value::Text(text) => ours::SqlValue::Text(text),
            Value::Bytes(bytes) => ours::SqlValue::Bytes(bytes),
        }
    }
}

impl From<ours::SqlValue> for Value {
    fn from(value: ours::SqlValue) -> Self {
        match value {
            ours::SqlValue::Null => Value::Null,
            ours::SqlValue::Integer(number) => Value::Integer(number),
            ours::SqlValue::Unsigned(number) => Value::Unsigned(number),
            ours::SqlValue::Real(number) => Value::Real(number),
            ours::SqlValue::Text(text) => Value::Text(text),
            ours::SqlValue::Bytes(bytes) => Value::Bytes(bytes),
        }
    }
}

impl From<ours::SqlRows> for Rows {
    fn from(ours::SqlRows { columns, rows }: ours::SqlRows) -> Self {
        Rows { columns, rows: rows.into_iter().map(|row| row.into_iter().map(Into::into).collect()).collect() }
    }
}

impl From<ours::SqlColumn> for Column {
    fn from(ours::SqlColumn { name, kind, nullable, default }: ours::SqlColumn) -> Self {
        Column { name, kind, nullable, default }
    }
}

impl From<ours::SqlTable> for Table {
    fn from(ours::SqlTable { name, columns }: ours::SqlTable) -> Self {
        Table { name, columns: columns.into_iter().map(Into::into).collect() }
    }
}

impl From<ours::SqlDescription> for Description {
    fn from(ours::SqlDescription { product, version, tables }: ours::SqlDescription) -> Self {
        Description { product, version, tables: tables.into_iter().map(Into::into).collect() }
    }
}

impl From<ours::SqlCopied> for Copied {
    fn from(ours::SqlCopied { tables, milliseconds }: ours::SqlCopied) -> Self {
        Copied { tables, milliseconds }
    }
}

impl From<ours::SqlDifference> for Difference {
    fn from(ours::SqlDifference { table, old_rows, new_rows, equal }: ours::SqlDifference) -> Self {
        Difference { table, old_rows, new_rows, equal }
    }
}
