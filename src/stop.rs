//! The signals that ask a process to end.

use std::future::pending;
use std::io;
use std::process::ExitCode;

use tokio::signal::unix::{Signal as Heard, SignalKind, signal};

/// A signal that has come.
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    pub name: &'static str,
    number: u8,
}

impl From<Signal> for ExitCode {
    /// The status that shells give a process that a signal has ended.
    fn from(signal: Signal) -> Self {
        Self::from(128 + signal.number)
    }
}

/// SIGINT, SIGTERM or SIGHUP, heard from now on. A signal that nobody hears ends a process, too, but
/// not the first one of a container.
///
/// # Errors
/// Where signals cannot be heard.
pub fn signalled() -> io::Result<impl Future<Output = Signal>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hangup = if outlives_its_terminal() { None } else { Some(signal(SignalKind::hangup())?) };
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => Signal { name: "SIGTERM", number: 15 },
            _ = interrupt.recv() => Signal { name: "SIGINT", number: 2 },
            () = heard(hangup.as_mut()) => Signal { name: "SIGHUP", number: 1 },
        }
    })
}

async fn heard(signal: Option<&mut Heard>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => pending().await,
    }
}

/// Whether the process was started so that SIGHUP does nothing to it, as by `nohup`.
#[cfg(target_os = "linux")]
fn outlives_its_terminal() -> bool {
    procfs::process::Process::myself().and_then(|process| process.status()).is_ok_and(|status| status.sigign & 1 == 1)
}

#[cfg(not(target_os = "linux"))]
fn outlives_its_terminal() -> bool {
    true
}
