//! The values that a setting takes, and what is said of those that it does not.

use std::net::SocketAddr;
use std::path::PathBuf;

use chrono::{Datelike as _, NaiveDateTime};

pub use crate::duration::parse as duration;
use crate::timestamp::Timestamp;

/// A setting whose variable may be there and empty, which is as if it were not.
#[derive(Clone, Debug)]
pub struct Optional<T>(Option<T>);

/// The value of a setting that may be absent or empty.
pub fn given<T>(setting: Option<&Optional<T>>) -> Option<&T> {
    setting.and_then(|Optional(value)| value.as_ref())
}

pub fn address(value: &str) -> Result<SocketAddr, &'static str> {
    value.parse().map_err(|_| "an IP address and a port are accepted, such as 127.0.0.1:9292 or [::1]:0")
}

pub fn optional_address(value: &str) -> Result<Optional<SocketAddr>, &'static str> {
    if value.is_empty() { Ok(Optional(None)) } else { address(value).map(|address| Optional(Some(address))) }
}

pub fn page_size(value: &str) -> Result<u32, &'static str> {
    let size = value.parse().ok().filter(|size| (1..=10_000).contains(size));
    size.ok_or("a whole number from 1 to 10000 is accepted")
}

pub fn optional_page_size(value: &str) -> Result<Optional<u32>, &'static str> {
    if value.is_empty() { Ok(Optional(None)) } else { page_size(value).map(|size| Optional(Some(size))) }
}

pub fn connections(value: &str) -> Result<Optional<u32>, &'static str> {
    if value.is_empty() {
        return Ok(Optional(None));
    }
    let count = value.parse().ok().filter(|count| (1..=1000).contains(count));
    count.map(|count| Optional(Some(count))).ok_or("a whole number from 1 to 1000 is accepted")
}

#[expect(clippy::unnecessary_wraps, reason = "clap wants a parser that can fail")]
pub fn optional_path(value: &str) -> Result<Optional<PathBuf>, &'static str> {
    Ok(Optional((!value.is_empty()).then(|| PathBuf::from(value))))
}

pub fn until(value: &str) -> Result<Timestamp, &'static str> {
    let time = Timestamp::parse(value).filter(|time| NaiveDateTime::from(*time).year() > 10);
    time.ok_or("a time in the years 11 to 9999 is accepted, such as 2026-01-01 or 2026-01-01T12:00:00Z")
}
