//! Which Glimpse this is.

/// The version, as in `Cargo.toml`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The beginning of the commit that it was built from; empty where the build could not know.
pub const COMMIT: &str = env!("GLIMPSE_COMMIT");

/// Both, as `--version` shows them.
pub const FULL: &str = env!("GLIMPSE_VERSION");
