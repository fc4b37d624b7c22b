//! How many files the process may have open, each connection among them.

/// More than any server here has use for.
const ENOUGH: u64 = 1 << 20;

/// Lets the process have as many files open as it may allow itself: shells and service managers
/// give the least that old programs can cope with. How many those are, where the system tells.
pub fn allow_many() -> Option<usize> {
    match rlimit::increase_nofile_limit(ENOUGH) {
        Ok(files) => usize::try_from(files).ok(),
        Err(error) => {
            tracing::warn!("the limit to open files stays as it is: {error}");
            None
        }
    }
}
