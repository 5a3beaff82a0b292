//! Time and chance: a component has no other source of either. `SystemTime`, `Instant` and `thread::sleep` panic in it.

use crate::{Failure, host};

/// UTC, seconds since 1970.
pub fn now() -> u64 {
    host::clock::now()
}

/// Milliseconds since this call of the phase began. Unlike [`now`] it never jumps.
pub fn elapsed() -> u64 {
    host::clock::elapsed()
}

/// Does something, and answers how many milliseconds it took as well.
pub fn timed<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<(T, u64), Failure> {
    let begun = elapsed();
    let done = work()?;
    Ok((done, elapsed().saturating_sub(begun)))
}

/// At most 60,000 ms. To wait longer, return [`crate::Failure::Waiting`] with a moment.
pub fn sleep(milliseconds: u32) -> Result<(), Failure> {
    host::clock::sleep(milliseconds)
}

/// From the operating system; at most 4,096 bytes.
pub fn random(length: u32) -> Vec<u8> {
    host::clock::random(length)
}

/// Looks until it is so, at most for about `seconds`: what a service does after its start takes a moment.
/// Answers the last look.
pub fn wait_for(seconds: u32, mut look: impl FnMut() -> Result<bool, Failure>) -> Result<bool, Failure> {
    const PAUSE: u32 = 100;
    for _ in 0..seconds.saturating_mul(1000 / PAUSE) {
        if look()? {
            return Ok(true);
        }
        sleep(PAUSE)?;
    }
    look()
}

/// "2026-11-22 00:15:00 UTC", from seconds since 1970 (Howard Hinnant's `civil_from_days`).
pub fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86400, seconds % 86400);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_782_399), "2000-02-28 23:59:59 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(date(1_795_305_600), "2026-11-22 00:00:00 UTC");
    }
}
