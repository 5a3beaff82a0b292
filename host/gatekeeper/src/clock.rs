//! Time as phases see it: the machine's, or moved ahead by a test. Gates compare against this clock only.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::door::Session;
use crate::types::Failure;

/// UTC, moved ahead by as much as a test says.
#[derive(Debug, Default)]
pub struct Clock {
    ahead: AtomicU64,
}

impl Clock {
    /// A clock that is `ahead` of the machine's.
    pub fn ahead_by(ahead: Duration) -> Clock {
        Clock { ahead: AtomicU64::new(ahead.as_secs()) }
    }

    /// Seconds since 1970.
    pub fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
            + self.ahead.load(Ordering::Relaxed)
    }
}

/// "2026-11-22 03:04:05 UTC": the proleptic Gregorian calendar, from the days since 1970.
pub fn utc(seconds: u64) -> String {
    let (days, rest) = ((seconds / 86400) as i64, seconds % 86400);
    // Days are counted from 1 March of year 0, in eras of 400 years (146,097 days): leap days come last in a year.
    let from_march = days + 719_468;
    let (era, day_of_era) = (from_march.div_euclid(146_097), from_march.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", rest / 3600, rest / 60 % 60, rest % 60)
}

impl Session {
    /// `clock.now`: UTC, seconds since 1970.
    pub fn now(&self) -> u64 {
        self.free();
        self.clock().now()
    }

    /// `clock.elapsed`: milliseconds since this call began, by a clock that nobody moves.
    pub fn elapsed(&self) -> u64 {
        self.free();
        u64::try_from(self.begun().elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// `clock.sleep`: at most a minute.
    pub async fn sleep(&self, milliseconds: u32) -> Result<(), Failure> {
        self.free();
        if milliseconds > 60_000 {
            return Err(Failure::RefusedValue(format!(
                "clock.sleep: {milliseconds} ms is more than a minute; return `waiting` with a moment instead"
            )));
        }
        tokio::time::sleep(Duration::from_millis(milliseconds.into())).await;
        Ok(())
    }

    /// `clock.random`: at most 4,096 bytes from the operating system.
    pub fn random(&self, length: u32) -> Vec<u8> {
        self.free();
        let mut bytes = vec![0; length.min(4096) as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
                Ok(more) => filled += more,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        bytes.truncate(filled);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(1_709_251_199), "2024-02-29 23:59:59 UTC");
        assert_eq!(utc(4_107_542_400), "2100-03-01 00:00:00 UTC");
    }
}
