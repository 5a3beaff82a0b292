//! Values of the binary protocol of MariaDB and MySQL, as their text protocol would write them, but for a fraction of 0,
//! which is left out.
//! <https://mariadb.com/kb/en/resultset-row/#binary-resultset-row>. None: not of that shape.

use crate::types::SqlValue;

/// TINYINT to BIGINT, YEAR: little endian, of as many bytes as they need.
pub(super) fn integer(bytes: &[u8], unsigned: bool) -> Option<SqlValue> {
    let (last, mut wide) = (*bytes.last()?, [0; 8]);
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    if unsigned {
        let number = u64::from_le_bytes(wide);
        return Some(i64::try_from(number).map_or(SqlValue::Unsigned(number), SqlValue::Integer));
    }
    if last & 0x80 != 0 {
        wide[bytes.len()..].fill(0xff);
    }
    Some(SqlValue::Integer(i64::from_le_bytes(wide)))
}

/// FLOAT and DOUBLE.
pub(super) fn real(bytes: &[u8]) -> Option<SqlValue> {
    let number = match bytes.len() {
        4 => f64::from(f32::from_le_bytes(bytes.try_into().ok()?)),
        _ => f64::from_le_bytes(bytes.try_into().ok()?),
    };
    Some(SqlValue::Real(number))
}

/// Text, or what was to be text and is no UTF-8.
pub(super) fn text(bytes: &[u8]) -> SqlValue {
    match std::str::from_utf8(bytes) {
        Ok(text) => SqlValue::Text(text.to_string()),
        Err(_) => SqlValue::Bytes(bytes.to_vec()),
    }
}

/// DATE: its length, then year and month and day unless all are 0.
pub(super) fn date(bytes: &[u8]) -> Option<SqlValue> {
    day(bytes.get(1..)?).map(SqlValue::Text)
}

/// DATETIME and TIMESTAMP: a date, then what of the time is not 0.
pub(super) fn date_time(bytes: &[u8]) -> Option<SqlValue> {
    let bytes = bytes.get(1..)?;
    let clock = match bytes.len() {
        0 | 4 => "00:00:00".to_string(),
        _ => format!("{:02}:{:02}:{:02}", bytes.get(4)?, bytes.get(5)?, bytes.get(6)?),
    };
    Some(SqlValue::Text(format!("{} {clock}{}", day(bytes)?, fraction(bytes.get(7..))?)))
}

/// TIME: its length, then sign, days, hours, minutes, seconds, microseconds unless all are 0.
pub(super) fn time(bytes: &[u8]) -> Option<SqlValue> {
    let bytes = bytes.get(1..)?;
    if bytes.is_empty() {
        return Some(SqlValue::Text("00:00:00".into()));
    }
    let days = u32::from_le_bytes(bytes.get(1..5)?.try_into().ok()?);
    let hours = u64::from(days) * 24 + u64::from(*bytes.get(5)?);
    let sign = if bytes.first() == Some(&1) { "-" } else { "" };
    let (minutes, seconds) = (bytes.get(6)?, bytes.get(7)?);
    Some(SqlValue::Text(format!("{sign}{hours:02}:{minutes:02}:{seconds:02}{}", fraction(bytes.get(8..))?)))
}

fn day(bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return Some("0000-00-00".into());
    }
    let year = u16::from_le_bytes(bytes.get(..2)?.try_into().ok()?);
    Some(format!("{year:04}-{:02}-{:02}", bytes.get(2)?, bytes.get(3)?))
}

fn fraction(bytes: Option<&[u8]>) -> Option<String> {
    match bytes {
        None | Some([]) => Some(String::new()),
        Some(bytes) => Some(format!(".{:06}", u32::from_le_bytes(bytes.try_into().ok()?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(value: Option<SqlValue>) -> String {
        match value {
            Some(SqlValue::Text(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn integers_keep_sign_and_size() {
        assert_eq!(integer(&[0xff], false), Some(SqlValue::Integer(-1)));
        assert_eq!(integer(&[0xff], true), Some(SqlValue::Integer(255)));
        assert_eq!(integer(&[0xff; 8], true), Some(SqlValue::Unsigned(u64::MAX)));
        assert_eq!(integer(&[0, 0x80], false), Some(SqlValue::Integer(-32768)));
        assert_eq!(integer(&[0; 9], false), None);
    }

    #[test]
    fn dates_of_zero_are_dates() {
        assert_eq!(text_of(date(&[0])), "0000-00-00");
        assert_eq!(text_of(date_time(&[0])), "0000-00-00 00:00:00");
        assert_eq!(text_of(date_time(&[4, 0xe4, 0x07, 2, 0])), "2020-02-00 00:00:00");
        assert_eq!(text_of(date_time(&[11, 0xe4, 0x07, 2, 29, 23, 59, 59, 1, 0, 0, 0])), "2020-02-29 23:59:59.000001");
    }

    #[test]
    fn times_are_longer_than_a_day_and_negative() {
        assert_eq!(text_of(time(&[0])), "00:00:00");
        assert_eq!(text_of(time(&[8, 1, 34, 0, 0, 0, 22, 59, 59])), "-838:59:59");
        assert_eq!(time(&[8, 1, 34]), None);
    }
}
