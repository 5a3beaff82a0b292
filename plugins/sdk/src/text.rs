//! Small things that many phases do with what a tool printed, and with numbers that a person reads.
//! Everything from a side is bytes in any encoding: it is read as UTF-8 where it is, and marked where it is not.

/// The lines of what a tool printed, without those that are empty; what is not UTF-8 becomes U+FFFD.
pub fn lines(output: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(output)
        .lines()
        .map(|line| line.trim_end_matches('\r').trim())
        .filter(|line| !line.is_empty())
        .map(String::from)
        .collect()
}

/// `0 bytes`, `4.5 MB`: decimal units, as disks are sold and `df -H` prints them.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return amount(count, "byte", "bytes");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `1 mailbox`, `2 mailboxes`.
pub fn amount(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// `40 ms`, `1.2 s`, `3 min 20 s`, `2 h 5 min`: what something took.
pub fn span(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0 => format!("{milliseconds} ms"),
        1..60 => format!("{seconds}.{} s", milliseconds % 1000 / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_other_encodings_and_line_ends() {
        assert_eq!(lines(b"a\r\n\n  b \nM\xfcller"), ["a", "b", "M\u{fffd}ller"]);
    }

    #[test]
    fn numbers_are_written_as_people_say_them() {
        assert_eq!(bytes(1), "1 byte");
        assert_eq!(bytes(999), "999 bytes");
        assert_eq!(bytes(4_500_000), "4.5 MB");
        assert_eq!(bytes(999_999), "1.0 MB");
        assert_eq!(amount(1, "mailbox", "mailboxes"), "1 mailbox");
        assert_eq!(amount(0, "mailbox", "mailboxes"), "0 mailboxes");
        assert_eq!([0, 950, 1200, 61_000, 7_500_000].map(span), ["0 ms", "950 ms", "1.2 s", "1 min 1 s", "2 h 5 min"]);
    }
}
