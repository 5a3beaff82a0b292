//! Numbers, times and counts as people read them.

/// "1 request", "2 requests".
pub fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{} {what}s", thousands(number as u64)) }
}

/// "12,345".
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// "40 ms", "1.2 s", "3 min 20 s", "2 h 5 min".
pub fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0 => format!("{milliseconds} ms"),
        1..60 => format!("{}.{} s", seconds, milliseconds % 1000 / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// "a", "a and b", "a, b and c".
pub fn list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// "2026-11-22 03:04 UTC".
pub fn moment(seconds: u64) -> String {
    let full = rehome_gatekeeper::clock::utc(seconds);
    format!("{} UTC", &full[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_read_well() {
        assert_eq!(count(1, "phase"), "1 phase");
        assert_eq!(count(3012, "mail"), "3,012 mails");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(
            [0, 950, 1200, 61_000, 7_500_000].map(duration),
            ["0 ms", "950 ms", "1.2 s", "1 min 1 s", "2 h 5 min"]
        );
        assert_eq!(list(&["a".into(), "b".into(), "c".into()]), "a, b and c");
        assert_eq!(moment(1_800_000_000), "2027-01-15 08:00 UTC");
    }
}
