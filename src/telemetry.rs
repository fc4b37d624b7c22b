//! The log: events of tracing on standard error.

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts the log.
///
/// # Errors
/// Where `RUST_LOG` is not a list of tracing's directives.
pub fn start(directives: &str, format: LogFormat) -> anyhow::Result<()> {
    let directives = if directives.is_empty() { "info" } else { directives };
    let filter = EnvFilter::builder().parse(directives).with_context(|| {
        format!("The value '{directives}' of RUST_LOG is not accepted; it takes directives such as warn or info,glimpse=debug")
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A line that cannot be written is lost. To say so on standard error would be a panic.
    let log = log.log_internal_errors(false);
    match format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}
