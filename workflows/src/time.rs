//! Time as an argument: milliseconds since 1970-01-01T00:00:00Z, never read from a clock here.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment, in milliseconds of Unix time.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Timestamp(pub u64);

/// A text that is not an RFC 3339 moment between 1970 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 date and time between 1970 and 9999")]
pub struct Error;

impl Timestamp {
    /// Parses RFC 3339, for example `2026-11-22T09:00:00+09:00`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| Error)?;
        let ms = moment.unix_timestamp_nanos() / 1_000_000;
        u64::try_from(ms).map(Self).map_err(|_| Error)
    }

    /// RFC 3339 in UTC with milliseconds.
    pub fn rfc3339(self) -> String {
        let nanos = i128::from(self.0) * 1_000_000;
        match OffsetDateTime::from_unix_timestamp_nanos(nanos) {
            Ok(moment) => {
                let (h, m, s) = moment.to_hms();
                format!("{}T{h:02}:{m:02}:{s:02}.{:03}Z", moment.date(), self.0 % 1000)
            }
            Err(_) => format!("{} ms", self.0),
        }
    }

    /// This moment plus `ms` milliseconds, at the end of time at the most.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// The number of whole days since 1970-01-01 in a zone `offset_minutes` east of Greenwich.
    pub fn day(self, offset_minutes: i32) -> u32 {
        let minutes = i128::from(self.0 / 60_000) + i128::from(offset_minutes);
        u32::try_from(minutes.max(0) / 1440).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_korean_day_begins_nine_hours_before_the_utc_day() {
        let evening = Timestamp::parse("2026-11-22T15:30:00Z").unwrap();
        assert_eq!(evening.day(540), evening.day(0) + 1);
        assert_eq!(evening.rfc3339(), "2026-11-22T15:30:00.000Z");
    }

    #[test]
    fn absurd_dates_are_refused() {
        for text in ["", "yesterday", "1969-12-31T23:59:59Z", "2026-13-01T00:00:00Z", "99999-01-01"]
        {
            assert_eq!(Timestamp::parse(text), Err(Error), "{text}");
        }
    }

    #[test]
    fn time_has_milliseconds_and_an_end() {
        let moment = Timestamp::parse("2026-11-22T09:08:07.065+09:00").unwrap();
        assert_eq!(moment.rfc3339(), "2026-11-22T00:08:07.065Z");
        assert_eq!(moment.plus_ms(1_000).rfc3339(), "2026-11-22T00:08:08.065Z");
        assert_eq!(Timestamp(u64::MAX - 1).plus_ms(2), Timestamp(u64::MAX));
        assert_eq!(Timestamp(u64::MAX).rfc3339(), format!("{} ms", u64::MAX));
    }

    #[test]
    fn days_are_counted_from_1970_and_never_from_before() {
        assert_eq!(Timestamp(86_400_000 * 3 - 1).day(0), 2);
        assert_eq!(Timestamp(86_400_000 * 3).day(0), 3);
        assert_eq!((Timestamp(0).day(-540), Timestamp(0).day(1_440)), (0, 1));
    }
}
