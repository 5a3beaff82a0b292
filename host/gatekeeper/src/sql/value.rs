//! Values between servers, and what is computed of them. Invariant: integers, reals, bytes and NULL are what they are;
//! everything else (decimals, dates, enumerations) is text, exactly as its server writes it, which that server reads back.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream::BoxStream;
use sha2::{Digest as _, Sha256};

use crate::types::{Failure, SqlValue};

/// One row, with the names of its columns.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub columns: Arc<[String]>,
    pub values: Vec<SqlValue>,
}

/// Rows as they come; nobody holds them all.
pub(super) type Rows<'a> = BoxStream<'a, Result<Row, Failure>>;

impl SqlValue {
    /// Bytes it takes, about.
    pub(super) fn size(&self) -> usize {
        16 + match self {
            SqlValue::Text(text) => text.len(),
            SqlValue::Bytes(bytes) => bytes.len(),
            _ => 0,
        }
    }

    /// As the source of a hole: text and numbers can be, the rest cannot.
    pub(super) fn word(&self) -> Option<String> {
        match self {
            SqlValue::Integer(number) => Some(number.to_string()),
            SqlValue::Unsigned(number) => Some(number.to_string()),
            SqlValue::Text(text) => Some(text.clone()),
            SqlValue::Null | SqlValue::Real(_) | SqlValue::Bytes(_) => None,
        }
    }

    /// What tells it from other values when sides are compared: an integer is equal to its text, bytes to a text of the
    /// same bytes (columns may have other types on the new side), NULL only to NULL.
    fn canonical(&self, hasher: &mut Sha256) {
        let mut part = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64 + 1).to_le_bytes());
            hasher.update(bytes);
        };
        match self {
            SqlValue::Null => hasher.update(0_u64.to_le_bytes()),
            SqlValue::Integer(number) => part(number.to_string().as_bytes()),
            SqlValue::Unsigned(number) => part(number.to_string().as_bytes()),
            SqlValue::Real(number) => part(format!("{number:?}").as_bytes()),
            SqlValue::Text(text) => part(text.as_bytes()),
            SqlValue::Bytes(bytes) => part(bytes),
        }
    }

    /// For files of ours: JSON of which every value comes back as it was.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match self {
            SqlValue::Null => serde_json::Value::Null,
            SqlValue::Integer(number) => (*number).into(),
            SqlValue::Unsigned(number) => (*number).into(),
            // As text: a JSON reader may round the last digit.
            SqlValue::Real(number) => serde_json::json!({ "real": format!("{number:?}") }),
            SqlValue::Text(text) => text.as_str().into(),
            SqlValue::Bytes(bytes) => serde_json::json!({ "bytes": STANDARD.encode(bytes) }),
        }
    }

    /// The reverse of `to_json`.
    pub(super) fn from_json(json: serde_json::Value) -> Option<SqlValue> {
        use serde_json::Value;
        match json {
            Value::Null => Some(SqlValue::Null),
            Value::Number(number) => {
                number.as_i64().map(SqlValue::Integer).or_else(|| number.as_u64().map(SqlValue::Unsigned))
            }
            Value::String(text) => Some(SqlValue::Text(text)),
            Value::Object(object) => match (object.get("real"), object.get("bytes")) {
                (Some(Value::String(real)), None) => real.parse().ok().map(SqlValue::Real),
                (None, Some(Value::String(bytes))) => STANDARD.decode(bytes).ok().map(SqlValue::Bytes),
                _ => None,
            },
            Value::Bool(_) | Value::Array(_) => None,
        }
    }
}

/// A number from a server's own tables, however it sends it.
pub(super) fn integer(value: Option<&SqlValue>) -> i64 {
    match value {
        Some(SqlValue::Integer(number)) => *number,
        Some(SqlValue::Unsigned(number)) => i64::try_from(*number).unwrap_or(i64::MAX),
        Some(SqlValue::Text(text)) => text.parse().unwrap_or_default(),
        _ => 0,
    }
}

/// A text from a server's own tables, however it sends it. NULL is none.
pub(super) fn text(value: Option<&SqlValue>) -> Option<String> {
    match value? {
        SqlValue::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        SqlValue::Real(number) => Some(format!("{number:?}")),
        SqlValue::Null => None,
        other => other.word(),
    }
}

/// A hash of values, for the journal, which never holds the values themselves.
pub(super) fn hash(values: &[SqlValue]) -> String {
    hex(&row_hash(values))
}

fn row_hash(values: &[SqlValue]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for value in values {
        value.canonical(&mut hasher);
    }
    hasher.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Rows as a multiset: how many, and the sum of their SHA-256 modulo 2^256, which no order changes and which, other than
/// an exclusive or, counts a row as often as it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Multiset {
    pub rows: u64,
    sum: [u64; 4],
}

impl Multiset {
    pub(super) fn add(&mut self, values: &[SqlValue]) {
        self.rows += 1;
        let hash = row_hash(values);
        let mut carry = false;
        for (limb, bytes) in self.sum.iter_mut().zip(hash.chunks_exact(8)) {
            let mut word = [0; 8];
            word.copy_from_slice(bytes);
            let (sum, over) = limb.overflowing_add(u64::from_le_bytes(word));
            let (sum, over_again) = sum.overflowing_add(u64::from(carry));
            (*limb, carry) = (sum, over || over_again);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(rows: &[&[SqlValue]]) -> Multiset {
        let mut set = Multiset::default();
        rows.iter().for_each(|row| set.add(row));
        set
    }

    #[test]
    fn multisets_know_counts_and_no_order() {
        let (a, b) = ([SqlValue::Text("a".into())], [SqlValue::Integer(7)]);
        assert_eq!(set(&[&a, &b, &b]), set(&[&b, &a, &b]));
        assert_ne!(set(&[&a, &b, &b]), set(&[&a, &a, &b]));
        assert_ne!(set(&[&a, &a]), set(&[&b, &b]));
    }

    #[test]
    fn null_empty_and_shifted_borders_differ() {
        let text = |text: &str| SqlValue::Text(text.into());
        assert_ne!(set(&[&[SqlValue::Null]]), set(&[&[text("")]]));
        assert_ne!(set(&[&[text("ab"), text("c")]]), set(&[&[text("a"), text("bc")]]));
        assert_eq!(set(&[&[text("18446744073709551615")]]), set(&[&[SqlValue::Unsigned(u64::MAX)]]));
        assert_eq!(set(&[&[text("x")]]), set(&[&[SqlValue::Bytes(b"x".into())]]));
    }

    #[test]
    fn json_brings_every_value_back() {
        let values = [
            SqlValue::Null,
            SqlValue::Integer(i64::MIN),
            SqlValue::Unsigned(u64::MAX),
            SqlValue::Real(0.1 + 0.2),
            SqlValue::Real(f64::INFINITY),
            SqlValue::Real(-0.0),
            SqlValue::Text("\u{1F600}\n\u{0}'\"\\".into()),
            SqlValue::Bytes(vec![0, 255, 10]),
        ];
        for value in values {
            let line = value.to_json().to_string();
            let back = SqlValue::from_json(serde_json::from_str(&line).unwrap()).unwrap();
            assert_eq!(format!("{back:?}"), format!("{value:?}"));
        }
    }
}
