//! What goes wrong in the database, and whether it may pass.

use std::any::Any;
use std::fmt::Write as _;

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgDatabaseError, PgErrorPosition};
use thiserror::Error;
use uuid::Uuid;

/// Why the catalog gave no answer.
#[derive(Debug, Error)]
pub enum StoreError {
    /// No image with the marker's id is there for this caller to name.
    #[error("The value '{0}' of marker is not accepted: no image that you can see has this id.")]
    MarkerNotFound(Uuid),
    /// The database cannot be reached, is overloaded, or took too long; a later try may succeed.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    /// The query took too long, or somebody had the database end it; its connection can be used again.
    #[error("the database ended the query: {0}")]
    Interrupted(String),
    /// Anything else, which a later try would meet again.
    #[error("the database failed: {0}")]
    Internal(String),
}

impl StoreError {
    /// The library panics where a broken wire has changed the length of what PostgreSQL says.
    pub fn of_panic(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let said = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
        Self::Unavailable(format!("its answer cannot be understood: {said}"))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            // The last is an answer that cannot be understood.
            sqlx::Error::WorkerCrashed | sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
                Self::Unavailable(said(&error))
            }
            sqlx::Error::Database(database) => match database.code() {
                Some(code) if is_interrupt(&code) => Self::Interrupted(said(&error)),
                Some(code) if is_passing(&code) || is_of_the_file(&code) || is_outdated(database.as_ref()) => {
                    Self::Unavailable(said(&error))
                }
                _ => Self::Internal(said(&error)),
            },
            _ => Self::Internal(said(&error)),
        }
    }
}

/// A statement that was cancelled (57014), or interrupted (9).
fn is_interrupt(code: &str) -> bool {
    ["57014", "9"].contains(&code)
}

/// PostgreSQL: lost connections (08), a transaction that a time-out of the role's has ended (25P03, 25P04),
/// conflicts such as with the recovery of a standby (40), out of resources (53), a lock that a time-out of the
/// role's waits for no longer (55P03), operator intervention such as a shutdown (57), files that cannot be
/// read (58) or are broken (XX001, XX002), which somebody has to mend, and a snapshot that is too old (72).
/// SQLite: interrupted (9) or locked, its extended codes keeping the plain ones in the lowest byte.
fn is_passing(code: &str) -> bool {
    if code.len() == 5 {
        let passing = ["08", "25P03", "25P04", "40", "53", "55P03", "57", "58", "72", "XX001", "XX002"];
        return passing.iter().any(|class| code.starts_with(class));
    }
    code.parse::<u32>().is_ok_and(|code| code & 0xff == 9) || is_locked(code)
}

/// PostgreSQL has prepared the statement before somebody changed a table; another connection prepares it anew.
fn is_outdated(error: &dyn DatabaseError) -> bool {
    let error = error.try_downcast_ref::<PgDatabaseError>();
    error.is_some_and(|error| error.routine() == Some("RevalidateCachedQuery"))
}

/// Another process has locked SQLite's file, or has so often that its turn never came (15).
pub fn is_locked(code: &str) -> bool {
    code.len() != 5 && code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 15))
}

/// What SQLite says where something is the matter with its file: it may not be written (8), cannot be
/// read (10), is broken (11), has no room (13), cannot be opened (14), is no database (26). Somebody has
/// to mend it, and then queries are answered again.
fn is_of_the_file(code: &str) -> bool {
    code.len() != 5 && code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 8 | 10 | 11 | 13 | 14 | 26))
}

/// What the database did to long work, in a sentence.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Failed(pub String);

/// What the database says of an error, once; on PostgreSQL with details, and the line of a seed.
pub fn said(error: &sqlx::Error) -> String {
    let sqlx::Error::Database(error) = error else { return error.to_string() };
    let mut message = error.message().to_owned();
    if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
        if let Some(detail) = error.detail() {
            write!(message, " ({detail})").expect("a String takes all that is written");
        }
        if let Some(PgErrorPosition::Internal { position, query }) = error.position() {
            let line = query.chars().take(position).filter(|&character| character == '\n').count() + 1;
            write!(message, " at line {line}").expect("a String takes all that is written");
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::{is_of_the_file, is_passing};

    #[test]
    fn what_is_the_matter_with_a_file_is_told_by_its_code() {
        for code in ["8", "1032", "10", "778", "11", "13", "14", "1038", "26"] {
            assert!(is_of_the_file(code), "{code}");
        }
        for code in ["1", "5", "9", "19", "20", "42P01", "00010", "00026"] {
            assert!(!is_of_the_file(code), "{code}");
        }
    }

    #[test]
    fn what_may_pass_is_told_by_its_code() {
        for code in [
            "08006", "25P03", "40001", "53300", "55P03", "57014", "57P01", "58030", "72000", "XX001", "5", "261", "6",
            "9",
        ] {
            assert!(is_passing(code), "{code}");
        }
        for code in ["42P01", "22021", "XX000", "55000", "1", "11", "26"] {
            assert!(!is_passing(code), "{code}");
        }
    }
}
