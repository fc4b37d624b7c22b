//! The log: events of tracing on standard error.

use std::io::{self, StderrLock, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
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
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Line(io::stderr().lock()));
    // A line that cannot be written is lost. To say so on standard error would be a panic.
    let log = log.log_internal_errors(false);
    match format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Whoever reads the log may take so long before lines are lost.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// What a pipe takes as a whole, or not at all (`PIPE_BUF` of Linux), in bytes.
const WHOLE: usize = 4096;

/// A line of the log on its way to standard error. Where nobody takes it, it is lost: requests shall not
/// wait for whoever reads the log.
struct Line(StderrLock<'static>);

impl Line {
    /// Whether what is written next is taken at once, or so late.
    fn is_taken(&self, patience: Timespec) -> io::Result<bool> {
        Ok(retry_on_intr(|| poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], Some(&patience)))? > 0)
    }
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        /// How many lines were lost since one was taken.
        static LOST: AtomicU64 = AtomicU64::new(0);
        let lost = LOST.load(Ordering::Relaxed);
        if lost > 0 && self.is_taken(Timespec::default())? {
            LOST.store(0, Ordering::Relaxed);
            tracing::warn!("{lost} lines of the log were lost, as nobody read it");
        }
        let patience = if LOST.load(Ordering::Relaxed) == 0 { PATIENCE } else { Timespec::default() };
        for piece in line.chunks(WHOLE) {
            if !self.is_taken(patience)? {
                LOST.fetch_add(1, Ordering::Relaxed);
                break;
            }
            self.0.write_all(piece)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
