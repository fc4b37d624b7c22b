//! A duration as people write it: `5s`, `200ms`, `1m`.

use std::time::Duration;

/// The duration that is written.
///
/// # Errors
/// What is accepted.
pub fn parse(value: &str) -> Result<Duration, &'static str> {
    // PostgreSQL takes whole milliseconds, and 0 for no limit.
    let accepted = Duration::from_millis(1)..=Duration::from_hours(24);
    let duration = humantime::parse_duration(value).ok().filter(|duration| accepted.contains(duration));
    duration.ok_or("a duration from 1ms to 1day is accepted, such as 5s, 200ms or 1m")
}
