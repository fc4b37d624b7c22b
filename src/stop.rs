//! What ends long work early.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// SIGINT or SIGTERM, heard from now on: the status of a process that ends because of it.
///
/// # Errors
/// Where signals cannot be heard.
pub fn signalled() -> io::Result<impl Future<Output = u8>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
        }
    })
}
