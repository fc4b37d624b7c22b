//! Times as the API writes them, and every form in which a client may write one.

use std::fmt;
use std::time::SystemTime;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, SubsecRound as _, TimeDelta, Utc};

/// A moment in UTC with microseconds, in the years 1 to 9999.
///
/// Displayed as in the answers of the API: `2016-05-22T06:04:20.425843`, always with six
/// decimals, never with a zone. SQLite stores this very text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(NaiveDateTime);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.format("%Y-%m-%dT%H:%M:%S%.6f"))
    }
}

impl From<Timestamp> for NaiveDateTime {
    fn from(time: Timestamp) -> Self {
        time.0
    }
}

impl From<NaiveDateTime> for Timestamp {
    fn from(time: NaiveDateTime) -> Self {
        Self(time)
    }
}

/// What [`Timestamp::parse`] accepts, for messages and documents.
pub const ACCEPTED: &str = "an ISO 8601 time in the years 1 to 9999 such as \
    2016-05-22T06:04:22Z, 2016-05-22T14:04:22.719791+08:00 (the + sent as %2B) or 2016-05-22; \
    without a zone it is UTC";

impl Timestamp {
    /// This moment, by the clock of the machine.
    pub fn now() -> Self {
        Self(DateTime::<Utc>::from(SystemTime::now()).naive_utc().trunc_subsecs(6))
    }

    /// The same time of day some days before; `None` before the year 1.
    pub fn days_before(self, days: u64) -> Option<Self> {
        let time = self.0.checked_sub_days(Days::new(days))?;
        (time.year() >= 1).then_some(Self(time))
    }

    /// The moment before this one.
    #[must_use]
    pub fn microsecond_before(self) -> Self {
        Self(self.0 - TimeDelta::microseconds(1))
    }

    /// Reads an ISO 8601 time; `None` for anything else.
    ///
    /// The forms are those of the reference, but for accidents of its pattern (`T06:4` as second 4,
    /// `2016-122` as 22 January): `T` or one space before the time of day; any tail
    /// may be missing and is then the smallest possible; the basic form (`20160522T060422Z`);
    /// one-digit months and days after a dash; a fraction after `.` or `,`, cut to microseconds;
    /// a zone as `Z`, `+08:00`, `+0800` or `+08`, and UTC without one; a final line feed.
    /// Beyond the reference, a blank before a final `hh:mm` is read as the `+` that a query
    /// string turns into a blank. Times outside the years 1 to 9999 and offsets of 24 hours or
    /// more are refused.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = Scanner(text.strip_suffix('\n').unwrap_or(text).as_bytes());
        let year = rest.digits(4, 4)?;
        let (month, day) = rest.month_and_day()?;
        let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
        let (time, offset) = if rest.take(b"T ").is_some() {
            (rest.time_of_day(date)?, rest.zone()?)
        } else {
            (date.and_hms_opt(0, 0, 0)?, TimeDelta::zero())
        };
        let utc = time.checked_sub_signed(offset)?;
        (rest.is_empty() && (1..=9999).contains(&utc.year())).then_some(Self(utc))
    }
}

/// What is left of a time that is being read.
struct Scanner<'a>(&'a [u8]);

impl Scanner<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the next byte if it is one of `set`.
    fn take(&mut self, set: &[u8]) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        set.contains(&first).then(|| {
            self.0 = rest;
            first
        })
    }

    /// Takes between `least` and `most` digits, as many as there are.
    fn digits(&mut self, least: usize, most: usize) -> Option<u32> {
        let count = self.0.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        if count < least {
            return None;
        }
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        Some(digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
    }

    /// Takes `part` after an optional colon, or nothing at all.
    fn after_colon(&mut self, part: impl Fn(&mut Self) -> Option<u32>) -> Option<u32> {
        let before = self.0;
        self.take(b":");
        let found = part(self);
        if found.is_none() {
            self.0 = before;
        }
        found
    }

    /// `-5-2`, `-05-22`, `-05`, `0522` or nothing; `05` alone is refused, as it may mean a day.
    fn month_and_day(&mut self) -> Option<(u32, u32)> {
        if self.is_empty() {
            return Some((1, 1));
        }
        let dashed = self.take(b"-").is_some();
        let month = if dashed { self.digits(1, 2)? } else { self.digits(2, 2)? };
        if dashed && self.is_empty() {
            return Some((month, 1));
        }
        let day = if self.take(b"-").is_some() { self.digits(1, 2)? } else { self.digits(2, 2)? };
        Some((month, day))
    }

    /// `06:04:22.719791`, `060422`, or any beginning of it that ends after a whole part.
    fn time_of_day(&mut self, date: NaiveDate) -> Option<NaiveDateTime> {
        let hour = self.digits(2, 2)?;
        let minute = self.after_colon(|rest| rest.digits(2, 2));
        let second = minute.and_then(|_| self.after_colon(|rest| rest.digits(1, 2)));
        let mut micro = 0;
        if second.is_some() && self.take(b".,").is_some() {
            let kept = self.0.len();
            micro = self.digits(1, 6)?;
            let taken = kept - self.0.len();
            micro *= 10_u32.pow(6 - u32::try_from(taken).ok()?);
            while self.take(b"0123456789").is_some() {}
        }
        date.and_hms_micro_opt(hour, minute.unwrap_or(0), second.unwrap_or(0), micro)
    }

    /// `Z`, `+08:00`, `+0800`, `+08`, ` 08:00` (an unescaped plus) or nothing, which is UTC.
    fn zone(&mut self) -> Option<TimeDelta> {
        if self.is_empty() || self.take(b"Z").is_some() {
            return Some(TimeDelta::zero());
        }
        let sign = self.take(b"+- ")?;
        if sign == b' ' && !matches!(self.0, [_, _, b':', _, _]) {
            return None;
        }
        let hours = self.digits(2, 2)?;
        self.take(b":");
        let minutes = if self.is_empty() { 0 } else { self.digits(2, 2)? };
        let offset = i64::from(hours * 60 + minutes);
        (offset < 24 * 60).then(|| TimeDelta::minutes(if sign == b'-' { -offset } else { offset }))
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn every_accepted_form_is_read_as_utc() {
        for (text, expected) in [
            ("2016", "2016-01-01T00:00:00.000000"),
            ("2016-05", "2016-05-01T00:00:00.000000"),
            ("2016-5-2", "2016-05-02T00:00:00.000000"),
            ("2016-05-22", "2016-05-22T00:00:00.000000"),
            ("20160522", "2016-05-22T00:00:00.000000"),
            ("2016-05-22T06", "2016-05-22T06:00:00.000000"),
            ("2016-05-22T06:04", "2016-05-22T06:04:00.000000"),
            ("2016-05-22T0604", "2016-05-22T06:04:00.000000"),
            ("2016-05-22T06:04:22", "2016-05-22T06:04:22.000000"),
            ("2016-05-22T06:04:2", "2016-05-22T06:04:02.000000"),
            ("2016-05-22 06:04:22Z", "2016-05-22T06:04:22.000000"),
            ("20160522T060422Z", "2016-05-22T06:04:22.000000"),
            ("2016-05-22T06:04:22.5", "2016-05-22T06:04:22.500000"),
            ("2016-05-22T06:04:22,719790Z", "2016-05-22T06:04:22.719790"),
            ("2016-05-22T06:04:22.7197909999Z", "2016-05-22T06:04:22.719790"),
            ("2016-05-22T14:04:22+08:00", "2016-05-22T06:04:22.000000"),
            ("2016-05-22T14:04:22+0800", "2016-05-22T06:04:22.000000"),
            ("2016-05-22T14:04:22+08", "2016-05-22T06:04:22.000000"),
            ("2016-05-22T00:34:22-05:30", "2016-05-22T06:04:22.000000"),
            ("2016-05-22T06+01", "2016-05-22T05:00:00.000000"),
            ("2016-05-22T06:04:22+08:99", "2016-05-21T20:25:22.000000"),
            ("2016-05-22T14:04:22 08:00", "2016-05-22T06:04:22.000000"),
            ("2016-05-22 14:04:22 08:00", "2016-05-22T06:04:22.000000"),
            ("2016-05-22 08:00", "2016-05-22T08:00:00.000000"),
            ("2016-05-22T06:04:22Z\n", "2016-05-22T06:04:22.000000"),
            ("2016-02-29T23:59:59.999999Z", "2016-02-29T23:59:59.999999"),
            ("0001-01-01", "0001-01-01T00:00:00.000000"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999"),
        ] {
            let read = Timestamp::parse(text).map(|time| time.to_string());
            assert_eq!(read.as_deref(), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            " ",
            "0",
            "null",
            "now",
            "201605",
            "16-05-22",
            "99999-01-01",
            "0000-01-01",
            "1463897062",
            "1463897062.5",
            "22/05/2016",
            "2015-02-29",
            "2016-13-01",
            "2016-00-10",
            "2016-01-00",
            "2016-143",
            "2016-W21",
            " 2016-05-22",
            "2016-05-22 ",
            "+2016-05-22",
            "gt:2016-05-22",
            "2016-05-22'",
            "2016-05-22\0",
            "2016-05-22T",
            "2016-05-22T6:04:22",
            "2016-05-22T06:4:22",
            "2016-05-22t06:04:22",
            "2016-05-22_06:04:22",
            "2016-05-22T06:04:22z",
            "2016-05-22T06:04:22Zjunk",
            "2016-05-22T06:04:22 Z",
            "2016-05-22T06:04:22.",
            "2016-05-22T06:04.5",
            "2016-05-22T06:04:60Z",
            "2016-05-22T24:00:00Z",
            "2016-05-22T06:04:22+8",
            "2016-05-22T06:04:22+8:00",
            "2016-05-22T06:04:22 +08:00",
            "2016-05-22T06:04:22 0800",
            "2016-05-22T06:04:22-24:00",
            "2016-05-22T06:04:22+99:99",
            "2016-05-22T06:04:22 UTC",
            "9999-12-31T23:59:59-01:00",
            "0001-01-01T00:00:00+01:00",
            "２０１６-05-22",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text:?}");
        }
    }
}
